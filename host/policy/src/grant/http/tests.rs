use std::net::IpAddr;

use super::*;
use crate::testing::{FakeFacts, World};

fn url(text: &str) -> Url {
    text.parse().expect("a URL")
}

fn ask(world: &World, method: &str, to: &str) -> Result<(), Reason> {
    let method = method.parse().expect("a method");
    world.authority().http(&method, &url(to), 1).map(drop).map_err(|denial| denial.reason)
}

/// Asks with an entry of `allow`; addresses on this machine may be reached.
fn with(entry: &str, method: &str, to: &str) -> bool {
    let world = World::new(&format!("[http]\nallow = [{entry}]\nprivate_networks = [\"127.0.0.1/32\", \"::1/128\"]"));
    match ask(&world, method, to) {
        Ok(()) => true,
        Err(reason) => {
            assert_eq!(reason, Reason::NotListed, "{entry} {to}");
            false
        }
    }
}

#[test]
fn hosts_are_matched_as_urls_name_them() {
    let cases = [
        ("api.example.com", "https://api.example.com/x", true),
        ("api.example.com", "https://API.Example.COM/x", true),
        ("API.example.com.", "https://api.example.com./x", true),
        ("api.example.com", "https://api.example.com.evil.net/", false),
        ("api.example.com", "https://evil-api.example.com/", false),
        ("api.example.com", "https://example.com/", false),
        ("api.example.com", "https://evil.net/?api.example.com", false),
        ("api.example.com", "https://evil.net#@api.example.com/", false),
        ("api.example.com", "https://evil.net\\@api.example.com/", false),
        ("*.example.com", "https://a.example.com/", true),
        ("*.example.com", "https://a.b.example.com./", true),
        ("*.example.com", "https://example.com/", false),
        ("*.example.com", "https://badexample.com/", false),
        ("*.example.com", "https://a.example.com.evil.net/", false),
        ("*", "https://anything.example/", true),
        ("*", "https://1.1.1.1/", true),
        ("bücher.example", "https://xn--bcher-kva.example/", true),
        ("xn--bcher-kva.example", "https://BÜCHER.example/", true),
        ("*.bücher.example", "https://a.xn--bcher-kva.example/", true),
        // A Cyrillic а is another letter.
        ("paypal.example", "https://p\u{430}ypal.example/", false),
        ("127.0.0.1", "https://127.0.0.1/", true),
        ("127.0.0.1", "https://2130706433/", true),
        ("127.0.0.1", "https://0x7f000001/", true),
        ("127.0.0.1", "https://0x7f.1/", true),
        ("127.0.0.1", "https://0177.0.0.1/", true),
        ("127.0.0.1", "https://127.1./", true),
        ("0x7f.1", "https://127.0.0.1/", true),
        ("127.0.0.1", "https://１２７.0.0.1/", true),
        ("127.0.0.1", "https://[::1]/", false),
        ("::1", "https://[::1]/", true),
        ("[::1]", "https://[0:0::0001]/", true),
        ("localhost", "https://127.0.0.1/", false),
    ];
    for (host, to, is_allowed) in cases {
        assert_eq!(with(&format!("{{ host = \"{host}\" }}"), "GET", to), is_allowed, "{host} {to}");
    }
}

#[test]
fn schemes_ports_methods_and_paths_all_have_to_match() {
    let cases = [
        ("", "GET", "https://a.example/", true),
        ("", "HEAD", "https://a.example/", true),
        ("", "POST", "https://a.example/", false),
        ("", "GET", "http://a.example/", false),
        ("", "GET", "https://a.example:443/", true),
        ("", "GET", "https://a.example:8443/", false),
        ("schemes = [\"http\"]", "GET", "http://a.example/", true),
        ("schemes = [\"http\"]", "GET", "http://a.example:80/", true),
        ("schemes = [\"http\"]", "GET", "https://a.example/", false),
        ("schemes = [\"http\"]", "GET", "http://a.example:443/", false),
        ("schemes = [\"http\", \"https\"]", "GET", "https://a.example/", true),
        ("ports = [8443]", "GET", "https://a.example:8443/", true),
        ("ports = [8443]", "GET", "https://a.example/", false),
        ("ports = [443, 8443]", "GET", "https://a.example/", true),
        ("methods = [\"POST\"]", "POST", "https://a.example/", true),
        ("methods = [\"POST\"]", "GET", "https://a.example/", false),
        ("methods = [\"POST\"]", "post", "https://a.example/", false),
        ("methods = [\"*\"]", "PURGE", "https://a.example/", true),
        ("methods = []", "GET", "https://a.example/", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v1", true),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v1/", true),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v1?x=/v2", true),
        ("paths = [\"/v1/\"]", "GET", "https://a.example/v1/x/y", true),
        ("paths = [\"/v1/\"]", "GET", "https://a.example/v1", true),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v10", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example/", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example//v1", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example/V1", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example/x/../v1/y", true),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v1/../admin", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v1/%2e%2e/admin", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v1/.%2E/admin", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v1/%2E%2E%2Fadmin", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v1/x%2f..%2fadmin", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v1/x%5c..%5cadmin", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v1\\..\\admin", false),
        ("paths = [\"/v1\"]", "GET", "https://a.example/v1/a%20b", true),
        ("paths = [\"/\"]", "GET", "https://a.example/x%2fy", true),
        ("paths = [\"/a\", \"/b\"]", "GET", "https://a.example/b/c", true),
        ("paths = []", "GET", "https://a.example/", false),
    ];
    for (keys, method, to, is_allowed) in cases {
        let comma = if keys.is_empty() { "" } else { ", " };
        assert_eq!(with(&format!("{{ host = \"a.example\"{comma}{keys} }}"), method, to), is_allowed, "{keys} {method} {to}");
    }
}

#[test]
fn one_entry_has_to_match_whole() {
    let entries = "{ host = \"a.example\", methods = [\"POST\"] }, { host = \"b.example\", paths = [\"/b\"] }";
    assert!(with(entries, "POST", "https://a.example/x") && with(entries, "GET", "https://b.example/b"));
    assert!(!with(entries, "GET", "https://a.example/b") && !with(entries, "POST", "https://b.example/b"));
}

#[test]
fn what_no_policy_can_allow_is_denied_in_every_mode() {
    let cases = [
        ("https://user@a.example/", Reason::Malformed),
        ("https://:secret@a.example/", Reason::Malformed),
        ("ftp://a.example/", Reason::Malformed),
        ("file:///etc/passwd", Reason::Malformed),
        ("data:text/plain,x", Reason::Malformed),
        ("https://metadata.google.internal/", Reason::Metadata),
        ("https://METADATA.google.internal./", Reason::Metadata),
        ("http://169.254.169.254/latest", Reason::Metadata),
        ("http://2852039166/latest", Reason::Metadata),
        ("http://0xa9fea9fe/latest", Reason::Metadata),
        ("http://0251.0376.0251.0376/latest", Reason::Metadata),
        ("http://169.254.43518/latest", Reason::Metadata),
        ("http://[::ffff:169.254.169.254]/", Reason::Metadata),
        ("http://[64:ff9b::a9fe:a9fe]/", Reason::Metadata),
        ("http://[fd00:ec2::254]/", Reason::Metadata),
        ("http://[fe80::1]/", Reason::Metadata),
    ];
    for mode in ["enforce", "observe"] {
        let allow = "allow = [{ host = \"*\", schemes = [\"http\", \"https\"] }]\nprivate_networks = [\"0.0.0.0/0\", \"::/0\"]";
        let world = World::new(&format!("mode = \"{mode}\"\n[http]\n{allow}"));
        for (to, reason) in cases {
            assert_eq!(ask(&world, "GET", to), Err(reason), "{to}");
            assert!(world.told_once().is_enforced, "{to}");
        }
        assert_eq!(ask(&world, "GET", "http://a.example/"), Ok(()));
    }
}

#[test]
fn private_addresses_need_an_entry_and_their_network() {
    let http = |keys: &str| World::new(&format!("[http]\n{keys}"));
    let any = "allow = [{ host = \"*\", schemes = [\"http\"] }]\n";
    for to in ["http://127.0.0.1/", "http://0/", "http://10.1.2.3/", "http://[::1]/", "http://[::ffff:10.1.2.3]/"] {
        assert_eq!(ask(&http(any), "GET", to), Err(Reason::Private), "{to}");
        let networks = "private_networks = [\"0.0.0.0/0\", \"::1/128\"]\n";
        assert_eq!(ask(&http(&format!("{any}{networks}")), "GET", to), Ok(()), "{to}");
        assert_eq!(ask(&http(networks), "GET", to), Err(Reason::NotListed), "{to}");
    }
}

#[test]
fn the_addresses_of_a_name_are_checked_by_themselves() {
    let world = World::new("[http]\nallow = [{ host = \"*\" }]\nprivate_networks = [\"10.1.0.0/16\"]");
    let to = url("https://a.example/");
    let reach = |address: &str| {
        let address: IpAddr = address.parse().expect("an address");
        world.authority().reach(&Method::GET, &to, address).map_err(|denial| denial.reason)
    };
    assert_eq!((reach("1.1.1.1"), reach("10.1.2.3"), reach("::ffff:10.1.2.3")), (Ok(()), Ok(()), Ok(())));
    assert_eq!(world.told(), []);
    assert_eq!((reach("10.2.0.1"), reach("169.254.169.254")), (Err(Reason::Private), Err(Reason::Metadata)));
    let told = world.told();
    assert!(told[0].explanation.contains("names no network that holds 10.2.0.1"), "{}", told[0].explanation);
    assert!(told.iter().all(|told| told.is_enforced));
}

#[test]
fn a_permit_holds_the_url_as_it_was_checked() {
    let world = World::new("[http]\nallow = [{ host = \"a.example\", paths = [\"/v1\"] }]");
    let permit = world.authority().http(&Method::GET, &url("https://A.example:443/x/../v1"), 1).expect("granted").redeem();
    assert_eq!((permit.url.as_str(), permit.method), ("https://a.example/v1", Method::GET));
}

#[test]
fn bytes_are_counted_and_bounded() {
    let world = World::new("[http]\nallow = [{ host = \"a.example\" }]\n[quota]\negress_bytes_per_min_max = 100");
    let send = |bytes| world.authority().http(&Method::GET, &url("https://a.example/"), bytes);
    send(60).expect("room");
    let denial = send(60).expect_err("no more room");
    assert_eq!((denial.code(), denial.capability), ("quota", "http"));
    assert_eq!(world.ledger.usage().egress_bytes, 60);
    let denial = world.authority().http(&Method::GET, &url("https://b.example/"), 1).expect_err("not listed");
    assert_eq!((denial.reason, world.ledger.usage().egress_bytes), (Reason::NotListed, 60));
}

#[test]
fn without_the_section_nothing_is_sent() {
    assert_eq!(ask(&World::new(""), "GET", "https://a.example/"), Err(Reason::NoSection));
    let text = "schema = 1\n[http]\nallow = [{ host = \"*\" }]";
    let world = World::of(text, &["log"], &FakeFacts::default()).expect("a good policy");
    assert_eq!(ask(&world, "GET", "https://a.example/"), Err(Reason::Undeclared));
    assert!(world.policy.http().is_none());
}

#[test]
fn in_the_mode_observe_what_is_not_listed_is_told_and_sent() {
    let world = World::new("mode = \"observe\"");
    assert_eq!(ask(&world, "GET", "https://a.example/"), Ok(()));
    assert!(!world.told_once().is_enforced);
}

#[test]
fn entries_that_could_never_match_are_refused() {
    let entries = [
        "host = \"https://a.example\"",
        "host = \"a.example:443\"",
        "host = \"a.example/v1\"",
        "host = \"\"",
        "host = \"a.*.example\"",
        "host = \"*example\"",
        "host = \"*.\"",
        "host = \"*.127.0.0.1\"",
        "host = \"a b\"",
        "host = \"a@b\"",
        "host = \"*\", methods = [\"get\"]",
        "host = \"*\", methods = [\"\"]",
        "host = \"*\", methods = [\"A B\"]",
        "host = \"*\", schemes = [\"ftp\"]",
        "host = \"*\", ports = [65536]",
        "host = \"*\", paths = [\"v1\"]",
        "host = \"*\", paths = [\"\"]",
        "host = \"*\", paths = [\"/v1/*\"]",
        "host = \"*\", paths = [\"/a/../b\"]",
        "host = \"*\", paths = [\"/a b\"]",
        "host = \"*\", paths = [\"/é\"]",
        "host = \"*\", paths = [\"/a?b=c\"]",
        "host = \"*\", paths = [\"/a#b\"]",
        "host = \"*\", paths = [\"//evil.example/a\"]",
    ];
    for entry in entries {
        let text = format!("schema = 1\n[http]\nallow = [{{ {entry} }}]");
        assert!(World::of(&text, &[], &FakeFacts::default()).is_err(), "{entry}");
    }
    let text = "schema = 1\n[http]\nprivate_networks = [\"10.0.0.1/33\"]";
    assert!(World::of(text, &[], &FakeFacts::default()).is_err());
}

#[test]
fn a_pattern_is_read_back_as_it_was_written() {
    for text in ["*", "*.example.com", "a.example.com", "127.0.0.1", "[::1]"] {
        let pattern: HostPattern = text.parse().expect("a pattern");
        assert_eq!(pattern.to_string(), text);
        assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
}
