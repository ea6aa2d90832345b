//! Where a request comes from, when proxies are between.

use std::net::IpAddr;

use ::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client of the nearest proxy that is not trusted: the peer, or if that is a trusted proxy, the one whom it names, and so on.
///
/// What a proxy does not write it may hand on from its client. So where a request has both headers, they count only if they
/// agree.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let plain = walk(peer, list(headers, &X_FORWARDED_FOR).rev().map(|entry| node(&entry)), trusted);
    let standard = walk(peer, list(headers, &header::FORWARDED).rev().map(|entry| forwarded_for(&entry)), trusted);
    match (headers.contains_key(X_FORWARDED_FOR), headers.contains_key(header::FORWARDED)) {
        (true, false) => plain,
        (false, true) => standard,
        (true, true) if plain == standard => plain,
        _ => peer,
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The entries of a header, all its lines together.
fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> std::vec::IntoIter<String> {
    let lines: Vec<&'h str> = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default()).collect();
    lines.iter().flat_map(|line| line.split(',')).map(String::from).collect::<Vec<_>>().into_iter()
}

/// From the nearest entry to the farthest, as long as who has written it is trusted.
fn walk(peer: IpAddr, entries: impl Iterator<Item = Option<IpAddr>>, trusted: &[IpNet]) -> IpAddr {
    let mut nearest = peer;
    for entry in entries {
        let Some(address) = entry.filter(|_| is_trusted(nearest, trusted)) else { break };
        nearest = address;
    }
    nearest
}

/// An address as proxies write it, perhaps in quotes, in brackets or with a port.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let address = bracketed.unwrap_or(text).parse().ok();
    address.or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip())).map(|address: IpAddr| address.to_canonical())
}

/// The client of one element of `Forwarded` ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let client = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    client.and_then(|(_, value)| node(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), value.parse().expect("a value"));
        }
        let trusted = ["10.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network"));
        address(peer.parse().expect("an address"), &map, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let spoofed = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=1.1.1.1")];
        assert_eq!(client("192.0.2.1", &spoofed), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &spoofed), "1.1.1.1");
        assert_eq!(client("::1", &spoofed[..1]), "1.1.1.1");
        assert_eq!(client("::ffff:10.0.0.1", &spoofed[1..]), "1.1.1.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_an_untrusted_proxy_says_of_others_is_not_believed() {
        let cases = [
            ("9.9.9.9, 1.1.1.1", "1.1.1.1"),
            ("9.9.9.9, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
            ("10.0.0.3,10.0.0.2", "10.0.0.3"),
            ("1.1.1.1, nobody, 10.0.0.2", "10.0.0.2"),
            ("nobody", "10.0.0.1"),
            ("", "10.0.0.1"),
            ("1.1.1.1:80", "1.1.1.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ];
        for (header, expected) in cases {
            assert_eq!(client("10.0.0.1", &[("x-forwarded-for", header)]), expected, "{header}");
        }
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "1.1.1.1")]), "1.1.1.1");
    }

    #[test]
    fn the_standard_header_says_the_same_in_other_words() {
        for (header, expected) in [
            ("for=1.1.1.1", "1.1.1.1"),
            ("For=\"[2001:db8::1]:80\";proto=https", "2001:db8::1"),
            ("for=9.9.9.9, proto=https;for=1.1.1.1", "1.1.1.1"),
            ("for=_hidden", "10.0.0.1"),
            ("by=1.1.1.1", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[("forwarded", header)]), expected, "{header}");
        }
    }

    #[test]
    fn a_header_that_the_proxy_only_handed_on_does_not_count() {
        let both = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=9.9.9.9")];
        assert_eq!(client("10.0.0.1", &both), "10.0.0.1");
    }
}
