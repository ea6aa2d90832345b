use super::*;
use crate::testing::{FakeFacts, World};

const SECRETS: &str = r#"
    [secret.KEY]
    source = { env = "KEY" }
    hosts = ["a.example", "*.b.example"]
    headers = ["Authorization", "x-key"]
    [secret.OTHER]
    source = { env = "OTHER" }
    hosts = ["a.example"]
    headers = ["x-key"]
    env = "OTHER_KEY"
    plaintext = true
    [secret.UNSET]
    source = { env = "UNSET" }
    hosts = ["a.example"]
    headers = ["x-key"]
"#;

/// What a header says after its secrets were filled in.
fn fill(world: &World, url: &str, header: &str, value: &str) -> Result<String, Reason> {
    let name: HeaderName = header.parse().expect("a header");
    let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_str(value).expect("a value"))]);
    let filled = world.authority().fill_secrets(&url.parse().expect("a URL"), &mut headers);
    filled.map_err(|denial| denial.reason)?;
    Ok(headers[name].to_str().expect("text").into())
}

fn placeholder(name: &str) -> String {
    format!("tessera-secret-<chat.{name}>")
}

#[test]
fn a_component_sees_a_placeholder_and_never_the_value() {
    let world = World::new(SECRETS);
    assert_eq!(world.authority().secret("KEY"), Ok(placeholder("KEY").as_str()));
    let env: Vec<_> = world.policy.secret_env().collect();
    assert_eq!(env, [("OTHER_KEY", placeholder("OTHER").as_str())]);
    let unset: Vec<_> = world.policy.unset_secrets().map(|(name, source)| format!("{name}: {source}")).collect();
    assert_eq!(unset, ["UNSET: the environment variable UNSET"]);
    assert!(!format!("{:?}", world.policy).contains("sesame"));
}

#[test]
fn a_value_goes_to_its_hosts_in_its_headers_only() {
    let world = World::new(SECRETS);
    let key = placeholder("KEY");
    let cases = [
        ("https://a.example/", "authorization", Ok("Bearer sesame")),
        ("https://A.EXAMPLE./x", "Authorization", Ok("Bearer sesame")),
        ("https://c.b.example/", "X-Key", Ok("Bearer sesame")),
        ("https://b.example/", "x-key", Err(Reason::NotListed)),
        ("https://a.example.evil.net/", "x-key", Err(Reason::NotListed)),
        ("https://evil.net/", "authorization", Err(Reason::NotListed)),
        ("https://a.example/", "cookie", Err(Reason::NotListed)),
        ("https://a.example/", "x-key-2", Err(Reason::NotListed)),
        ("http://a.example/", "authorization", Err(Reason::Plaintext)),
    ];
    for (url, header, expected) in cases {
        assert_eq!(fill(&world, url, header, &format!("Bearer {key}")), expected.map(String::from), "{url} {header}");
    }
}

#[test]
fn a_header_may_hold_several_secrets_and_each_has_to_be_allowed() {
    let world = World::new(SECRETS);
    let both = format!("{}:{}:{}", placeholder("KEY"), placeholder("OTHER"), placeholder("KEY"));
    assert_eq!(fill(&world, "https://a.example/", "x-key", &both), Ok("sesame:open:sesame".into()));
    assert_eq!(fill(&world, "https://a.example/", "authorization", &both), Err(Reason::NotListed));
    assert_eq!(fill(&world, "https://c.b.example/", "x-key", &both), Err(Reason::NotListed));
    assert_eq!(fill(&world, "http://a.example/", "x-key", &both), Err(Reason::Plaintext));
}

#[test]
fn only_who_says_so_sends_a_secret_unencrypted() {
    let world = World::new(SECRETS);
    assert_eq!(fill(&world, "http://a.example/", "x-key", &placeholder("OTHER")), Ok("open".into()));
    assert_eq!(fill(&world, "http://a.example/", "x-key", &placeholder("KEY")), Err(Reason::Plaintext));
}

#[test]
fn what_is_no_placeholder_of_its_own_stays_as_it_is() {
    let world = World::new(SECRETS);
    for value in
        ["plain", "tessera-secret-", "tessera-secret-<other.KEY>", "tessera-secret-<chat.NONE>", "TESSERA-SECRET-<chat.KEY>"]
    {
        assert_eq!(fill(&world, "https://evil.net/", "x-key", value), Ok(value.into()));
    }
    let not_granted = World::new("[log]");
    assert_eq!(fill(&not_granted, "https://a.example/", "x-key", &placeholder("KEY")), Ok(placeholder("KEY")));
    assert_eq!(world.told(), []);
}

#[test]
fn a_secret_without_a_value_is_not_sent() {
    let world = World::new(SECRETS);
    assert_eq!(fill(&world, "https://a.example/", "x-key", &placeholder("UNSET")), Err(Reason::NoValue));
}

#[test]
fn a_value_that_no_header_can_hold_is_not_sent_and_told() {
    let facts = FakeFacts { secrets: [("KEY", "a\r\nx-evil: b")].into(), ..FakeFacts::default() };
    let world = World::of(&format!("schema = 1\n{SECRETS}"), &["secret"], &facts).expect("a good policy");
    assert_eq!(fill(&world, "https://a.example/", "x-key", &placeholder("KEY")), Err(Reason::Malformed));
    assert!(!world.told_once().explanation.contains("evil"));
}

#[test]
fn a_value_is_marked_as_not_to_be_shown() {
    let world = World::new(SECRETS);
    let mut headers = HeaderMap::new();
    headers.append("x-key", placeholder("KEY").parse().expect("a value"));
    headers.append("x-key", "plain".parse().expect("a value"));
    headers.append("x-key", placeholder("OTHER").parse().expect("a value"));
    world.authority().fill_secrets(&"https://a.example/".parse().expect("a URL"), &mut headers).expect("granted");
    let shown = format!("{headers:?}");
    assert!(!shown.contains("sesame") && !shown.contains("open") && shown.contains("plain"), "{shown}");
    let values: Vec<_> = headers.get_all("x-key").iter().map(|value| value.to_str().expect("text")).collect();
    assert_eq!(values, ["sesame", "plain", "open"]);
}

#[test]
fn secrets_that_are_not_named_are_denied() {
    let world = World::new(SECRETS);
    assert_eq!(world.authority().secret("key").expect_err("another").reason, Reason::NotListed);
    assert_eq!(World::new("").authority().secret("KEY").expect_err("no section").reason, Reason::NoSection);
    let world = World::of(&format!("schema = 1\n{SECRETS}"), &["http"], &FakeFacts::default()).expect("a good policy");
    assert_eq!(world.authority().secret("KEY").expect_err("not wanted").reason, Reason::Undeclared);
    assert_eq!(fill(&world, "https://a.example/", "x-key", &placeholder("KEY")), Ok(placeholder("KEY")));
    assert_eq!(world.policy.secret_env().count(), 0);
}

#[test]
fn the_mode_observe_lets_no_secret_go_astray() {
    let world = World::new(&format!("mode = \"observe\"\n{SECRETS}"));
    for (url, header) in [("https://evil.net/", "x-key"), ("https://a.example/", "cookie"), ("http://a.example/", "x-key")] {
        fill(&world, url, header, &placeholder("KEY")).expect_err("denied");
        assert!(world.told_once().is_enforced, "{url} {header}");
    }
    world.authority().secret("NONE").expect_err("there is none");
    assert!(world.told_once().is_enforced);
    assert_eq!((world.ledger.usage().denied, world.ledger.usage().would_deny), (4, 0));
}

#[test]
fn a_header_that_is_none_is_refused_with_its_secret() {
    let text = SECRETS.replace("\"Authorization\"", "\"not a header\"");
    let error =
        World::of(&format!("schema = 1\n{text}"), &["secret"], &FakeFacts::default()).err().expect("refused").to_string();
    assert!(error.contains("`[secret.KEY] headers`: `not a header` is no header"), "{error}");
}
