//! Which addresses on the network a component may reach at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

use crate::denial::{Detail, Reason};

/// Names that cloud providers give to their metadata services.
const METADATA_HOSTS: [&str; 4] =
    ["metadata.google.internal", "metadata.goog", "metadata.azure.internal", "instance-data.ec2.internal"];

/// Addresses of metadata services, which hand out credentials of the machine: never reachable, whatever a policy names.
/// AWS, Google, Azure and most others; over IPv6 AWS, Google and Oracle; Alibaba; Oracle; Azure's wire server.
const METADATA: [IpAddr; 7] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Whether a host's name is that of a metadata service.
pub(crate) fn is_metadata_host(host: &str) -> bool {
    METADATA_HOSTS.contains(&host)
}

/// Whether an address may be reached: a public one may, one of the private ranges only where a network that holds it is named,
/// metadata services never.
pub(crate) fn check(address: IpAddr, private_networks: &[IpNet]) -> Result<(), Reason> {
    let address = embedded(address);
    if is_translated_locally(address) {
        return Err(Reason::Metadata); // where it leads is known to the translator alone
    }
    // All of 169.254/16 and fe80::/10: cloud providers answer on several of them.
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if METADATA.contains(&address) || is_link_local {
        return Err(Reason::Metadata);
    }
    let is_named = || private_networks.iter().any(|network| network.contains(&address));
    if is_public(address) || is_named() { Ok(()) } else { Err(Reason::Private) }
}

/// The network to name for an address to be reached: of one that was told, or of the URL's own.
pub(crate) fn network(detail: Detail<'_>, url: &Url) -> Option<IpNet> {
    let address = match (detail, url.host()?) {
        (Detail::Address(address), _) => address,
        (_, Host::Ipv4(v4)) => v4.into(),
        (_, Host::Ipv6(v6)) => v6.into(),
        (_, Host::Domain(_)) => return None,
    };
    Some(embedded(address).into())
}

/// The IPv4 address inside an IPv6 one, where a translator or tunnel would take the packet there.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let segments = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // ::ffff:a.b.c.d, and the older ::a.b.c.d; `::` and `::1` are themselves.
        [0, 0, 0, 0, 0, 0xffff, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        // SIIT, RFC 7915, and NAT64, RFC 6052.
        [0, 0, 0, 0, 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // 6to4.
        [0x2002, high, low, ..] => v4(high, low),
        // Teredo, whose client address is inverted.
        [0x2001, 0, _, _, _, _, high, low] => v4(!high, !low),
        _ => address,
    }
}

/// Whether an address is of the network for translators within an organisation, RFC 8215. They put an IPv4 address in one of
/// several places of it.
fn is_translated_locally(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[..3] == [0x64, 0xff9b, 1])
}

/// Whether an address is one that anybody on the internet can have.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let is_special = v4.is_private() // 10/8, 172.16/12, 192.168/16
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_multicast()
                || v4.is_broadcast()
                || a == 0
                || a == 100 && (64..128).contains(&b) // shared by carriers
                || a == 192 && b == 0 && c == 0
                || a == 192 && b == 88 && c == 99
                || a == 198 && (18..20).contains(&b) // benchmarks
                || a >= 240;
            !is_special
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            // Global unicast is 2000::/3, less documentation, benchmarks and ORCHID.
            a & 0xe000 == 0x2000 && !(a == 0x2001 && (b < 0x200 || b == 0xdb8)) && a != 0x3fff
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(address: &str, private: &[&str]) -> Result<(), Reason> {
        let networks: Vec<IpNet> = private.iter().map(|network| network.parse().expect("a network")).collect();
        check(address.parse().expect("an address"), &networks)
    }

    #[test]
    fn public_addresses_can_be_reached() {
        for address in ["1.1.1.1", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "2606:4700::1111"]
        {
            assert_eq!(reach(address, &[]), Ok(()), "{address}");
        }
    }

    #[test]
    fn private_addresses_need_their_network_to_be_named() {
        for address in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:10.1.2.3",
            "::ffff:127.0.0.1",
            "::10.1.2.3",
            "64:ff9b::a01:203",
            "2002:a01:203::1",
            "2001:0:0:0:0:0:f5fe:fdfc",
            "fec0::1",
        ] {
            assert_eq!(reach(address, &[]), Err(Reason::Private), "{address}");
        }
        assert_eq!(reach("10.1.2.3", &["10.1.0.0/16"]), Ok(()));
        assert_eq!(reach("::ffff:10.1.2.3", &["10.1.0.0/16"]), Ok(()));
        assert_eq!(reach("10.2.2.3", &["10.1.0.0/16"]), Err(Reason::Private));
        assert_eq!(reach("::1", &["::1/128"]), Ok(()));
    }

    #[test]
    fn metadata_services_are_never_reached() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "fd00:ec2::254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00:808:808",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "::ffff:0:a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "2001:0:0:0:0:0:5601:5601",
        ] {
            assert_eq!(reach(address, &["0.0.0.0/0", "::/0"]), Err(Reason::Metadata), "{address}");
        }
    }
}
