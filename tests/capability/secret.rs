//! `tessera:secret`: a guest uses a credential that it never sees.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{FakeInference, Reply, Setup, TestServer};

use super::outside::{denials, denied_once, govern, used};
use crate::attack::upstream::Upstream;

/// What nobody but the other host may see.
const VALUE: &str = "hush-8d1f";

/// Hosts that a component with a secret may ask, and what it may send to one of them.
struct World {
    /// The host of the secret, by its address.
    upstream: Upstream,
    /// Another port of the same host.
    neighbour: Upstream,
    folder: TempDir,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("value"), format!("{VALUE}\n")).expect("writes");
        World { upstream: Upstream::start(), neighbour: Upstream::start(), folder }
    }

    /// A policy that lets the secret go to the address in two headers, and requests to the name `localhost` as well. Requests
    /// go to the first port only.
    fn policy(&self) -> String {
        let rule = format!("schemes = [\"http\"], ports = [{}], methods = [\"GET\", \"POST\"]", self.upstream.port());
        let source = self.folder.path().join("value").display().to_string();
        format!(
            "schema = 1
            [http]
            allow = [{{ host = \"127.0.0.1\", {rule} }}, {{ host = \"localhost\", {rule} }}]
            private_networks = [\"127.0.0.1/32\", \"::1/128\"]
            [secret.KEY]
            source = {{ file = {source:?} }}
            hosts = [\"127.0.0.1\"]
            headers = [\"authorization\", \"X-Key\"]
            plaintext = true
            "
        )
    }

    fn setup(&self, policy: &str) -> Setup {
        Setup::new(Arc::new(FakeInference::default())).guest("outbound").policy("outbound", policy)
    }

    #[track_caller]
    fn start(&self) -> TestServer {
        started(self.setup(&self.policy()))
    }

    /// Heads that both ports were sent, one after the other.
    fn sent(&self) -> String {
        self.upstream.heads().concat() + &self.neighbour.heads().concat()
    }
}

#[track_caller]
fn started(setup: Setup) -> TestServer {
    let server = setup.start();
    assert_eq!(server.failures, []);
    server
}

fn placeholder(server: &TestServer, component: &str, name: &str) -> Option<String> {
    let reply = server.get(&format!("/c/{component}/secret/{name}")).json();
    reply["value"].as_str().map(String::from)
}

/// The placeholder of the one secret that there is.
#[track_caller]
fn key(server: &TestServer) -> String {
    placeholder(server, "outbound", "KEY").expect("it is granted")
}

fn send(server: &TestServer, url: &str, header: (&str, &str)) -> Reply {
    server.post("/c/outbound/http", &json!({"url": url, "headers": [header]}))
}

#[track_caller]
fn assert_denied(reply: &Reply) {
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (502, &json!("denied")), "{}", reply.text());
}

#[test]
fn the_guest_sees_a_placeholder_and_the_host_that_is_named_the_value() {
    let world = World::new();
    let server = world.start();
    let key = key(&server);
    assert!(key.starts_with("tessera-secret-") && key.len() > 40 && !key.contains(VALUE), "{key}");
    let url = world.upstream.url("/ok");
    for (header, text, sent) in [
        ("authorization", key.clone(), format!("authorization: {VALUE}\r\n")),
        ("Authorization", format!("Bearer {key}"), format!("authorization: Bearer {VALUE}\r\n")),
        ("x-key", format!("<{key}{key}>"), format!("x-key: <{VALUE}{VALUE}>\r\n")),
    ] {
        let reply = send(&server, &url, (header, &text));
        assert_eq!((reply.status, &reply.json()["body"]), (200, &json!("ok")), "{}", reply.text());
        let head = world.upstream.heads().pop().expect("it was asked");
        assert!(head.contains(&sent) && !head.contains("tessera-secret-"), "{head}");
    }
    assert_eq!(used(&server, "outbound", "denied"), 0);
}

#[test]
fn a_value_goes_into_no_other_header_and_to_no_other_host() {
    let world = World::new();
    let server = world.start();
    let key = key(&server);
    let (url, by_name) = (world.upstream.url("/ok"), world.upstream.url("/ok").replace("127.0.0.1", "localhost"));
    assert_eq!(send(&server, &by_name, ("authorization", "mine")).status, 200, "the name may be asked without it");
    let before = world.sent();
    for (url, header) in [
        (&url, "x-other"),
        (&url, "cookie"),
        (&url, "x-key2"),
        (&url, "user-agent"),
        (&by_name, "authorization"),
        (&by_name, "x-key"),
        (&by_name, "x-other"),
    ] {
        let ask = || send(&server, url, (header, &format!("Bearer {key}")));
        assert_denied(&denied_once(&server, ("outbound", "secret", "not_listed"), ask));
    }
    assert_eq!(world.sent(), before, "nothing is sent, without the header neither");
}

#[test]
fn a_value_goes_to_the_ports_that_requests_may_go_to() {
    let world = World::new();
    let server = world.start();
    let key = key(&server);
    // `hosts` names no port: `[http]` says which are asked at all.
    let ask = || send(&server, &world.neighbour.url("/ok"), ("authorization", &key));
    assert_denied(&denied_once(&server, ("outbound", "http", "not_listed"), ask));
    assert_eq!(world.sent(), "");
    let ports = format!("[{}, {}]", world.upstream.port(), world.neighbour.port());
    let server = started(world.setup(&world.policy().replace(&format!("[{}]", world.upstream.port()), &ports)));
    assert_eq!(send(&server, &world.neighbour.url("/ok"), ("authorization", &self::key(&server))).status, 200);
    assert!(world.sent().contains(&format!("authorization: {VALUE}\r\n")), "{}", world.sent());
}

#[test]
fn a_value_does_not_travel_unencrypted_unless_the_policy_says_so() {
    let world = World::new();
    let server = started(world.setup(&world.policy().replace("plaintext = true", "")));
    let key = key(&server);
    let ask = || send(&server, &world.upstream.url("/ok"), ("authorization", &key));
    assert_denied(&denied_once(&server, ("outbound", "secret", "plaintext"), ask));
    assert_eq!(world.sent(), "");
}

#[test]
fn a_placeholder_is_only_a_word_where_no_header_is() {
    let world = World::new();
    let server = world.start();
    let key = key(&server);
    let url = world.upstream.url(&format!("/ok?key={key}"));
    let request = json!({"method": "POST", "url": url, "body": key, "headers": [["x-plain", "1"]]});
    let reply = server.post("/c/outbound/http", &request);
    assert_eq!((reply.status, used(&server, "outbound", "denied")), (200, 0), "{}", reply.text());
    let sent = world.sent();
    assert!(sent.contains(&key) && !sent.contains(VALUE), "{sent}");
    // Nor does one stand for anything that is cut or changed.
    let url = world.upstream.url("/ok");
    for text in [&key[..key.len() - 1], &key.to_uppercase(), "tessera-secret-", "tessera-secret-KEY"] {
        assert_eq!(send(&server, &url, ("authorization", text)).status, 200);
    }
    assert!(!world.sent().contains(VALUE), "{}", world.sent());
}

#[test]
fn a_redirect_takes_no_value_to_another_host() {
    let world = World::new();
    let server = world.start();
    let key = key(&server);
    let by_name = world.upstream.url("/ok").replace("127.0.0.1", "localhost");
    let url = world.upstream.url(&format!("/redirect?to={by_name}"));
    let request = json!({"url": url, "headers": [["x-key", key]], "redirects_max": 1});
    let ask = || server.post("/c/outbound/http", &request);
    assert_denied(&denied_once(&server, ("outbound", "secret", "not_listed"), ask));
    assert_eq!(world.upstream.heads().len(), 1);
    // What a browser drops is dropped before: there is nothing left to fill in.
    let request = json!({"url": url, "headers": [["authorization", key]], "redirects_max": 1});
    assert_eq!(server.post("/c/outbound/http", &request).status, 200);
    let heads = world.upstream.heads();
    assert!(heads[1].contains(VALUE) && !heads[2].contains(VALUE) && !heads[2].contains("authorization"), "{heads:?}");
}

#[test]
fn a_secret_that_is_not_granted_is_none_and_told_once() {
    let world = World::new();
    let server = world.start();
    for name in ["OTHER", "key", "KEY%20", "PATH"] {
        let asked = denied_once(&server, ("outbound", "secret", "not_listed"), || placeholder(&server, "outbound", name));
        assert_eq!(asked, None, "{name}");
    }
}

#[test]
fn without_a_section_the_component_does_not_load_and_an_empty_one_holds_nothing() {
    let world = World::new();
    let policy = world.policy();
    let (http, _) = policy.split_once("[secret.KEY]").expect("is there");
    let server = world.setup(http).start();
    assert!(server.failure("outbound").contains("[secret.API_KEY]\nsource ="), "{}", server.failure("outbound"));
    let server = started(world.setup(&format!("{http}[secret]\n")));
    let asked = denied_once(&server, ("outbound", "secret", "not_listed"), || placeholder(&server, "outbound", "KEY"));
    assert_eq!(asked, None);
}

#[test]
fn a_placeholder_stays_the_same_and_is_another_for_each_secret_and_component() {
    let world = World::new();
    let second = world.policy().split_once("[secret.KEY]").expect("is there").1.to_owned();
    let policy = format!("{}[secret.SECOND]{second}", world.policy());
    let setup = world.setup(&policy).guest_as("other", "outbound", |manifest| manifest).policy("other", &policy);
    let server = started(setup);
    let each = |component, name| placeholder(&server, component, name).expect("it is granted");
    let mut all = [each("outbound", "KEY"), each("outbound", "SECOND"), each("other", "KEY"), each("other", "SECOND")];
    assert_eq!(all[0], each("outbound", "KEY"));
    // Another component's is only a word.
    assert_eq!(send(&server, &world.upstream.url("/ok"), ("x-key", &all[2])).status, 200);
    assert!(world.sent().contains(&all[2]) && !world.sent().contains(VALUE), "{}", world.sent());
    // Two of the same component fit into one header.
    let both = format!("{} {}", all[0], all[1]);
    assert_eq!(send(&server, &world.upstream.url("/ok"), ("x-key", &both)).status, 200);
    assert!(world.sent().contains(&format!("x-key: {VALUE} {VALUE}\r\n")), "{}", world.sent());
    all.sort();
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
    // Another server has others: nobody can keep one.
    assert_ne!(key(&started(world.setup(&policy))), each("outbound", "KEY"));
}

#[test]
fn a_secret_without_a_value_is_denied_where_it_would_be_sent() {
    let world = World::new();
    std::fs::remove_file(world.folder.path().join("value")).expect("removes");
    let server = world.start();
    let key = key(&server);
    let ask = || send(&server, &world.upstream.url("/ok"), ("authorization", &key));
    assert_denied(&denied_once(&server, ("outbound", "secret", "no_value"), ask));
    assert_eq!(world.sent(), "");
}

#[test]
fn a_value_that_would_break_a_header_is_denied() {
    let world = World::new();
    std::fs::write(world.folder.path().join("value"), "a\r\nx-smuggled: 1").expect("writes");
    let server = world.start();
    let key = key(&server);
    let ask = || send(&server, &world.upstream.url("/ok"), ("authorization", &key));
    assert_denied(&denied_once(&server, ("outbound", "secret", "malformed"), ask));
    assert_eq!(world.sent(), "");
}

#[test]
fn a_value_may_come_from_the_servers_environment() {
    let world = World::new();
    let path = std::env::var("PATH").expect("every system has one");
    let policy = world.policy();
    let source = policy.lines().find(|line| line.contains("source =")).expect("is there");
    let server = started(world.setup(&policy.replace(source, "source = { env = \"PATH\" }")));
    assert_eq!(send(&server, &world.upstream.url("/ok"), ("x-key", &key(&server))).status, 200);
    assert!(world.sent().contains(&format!("x-key: {path}\r\n")), "{}", world.sent());
}

#[test]
fn a_component_that_knows_only_standards_uses_a_secret_by_its_environment() {
    for guest in ["wasi-http-02", "wasi-http-03"] {
        let world = World::new();
        let change = |manifest: String| manifest.replacen("[\"http\"]", "[\"http\", \"secret\"]", 1);
        let policy = format!("{}env = \"AUTHORIZATION\"\n", world.policy());
        let setup = Setup::new(Arc::new(FakeInference::default())).guest_as(guest, guest, change);
        let server = started(setup.policy(guest, &policy));
        let ask = |url: String| server.get(&format!("/c/{guest}/outgoing?url={url}"));
        assert_eq!(ask(world.upstream.url("/ok")).status, 200, "{guest}");
        assert!(world.sent().contains(&format!("authorization: {VALUE}\r\n")), "{guest}: {}", world.sent());
        let by_name = || ask(world.upstream.url("/ok").replace("127.0.0.1", "localhost"));
        let reply = denied_once(&server, (guest, "secret", "not_listed"), by_name);
        assert!(reply.text().contains("HttpRequestDenied"), "{guest}: {}", reply.text());
        assert_eq!(world.upstream.heads().len(), 1, "{guest}");
    }
}

#[test]
fn a_rule_forbids_a_secret_to_be_told_and_to_be_sent() {
    let world = World::new();
    let setup = world.setup(&world.policy());
    let (rules, file) = (setup.config.policies.join("rules.cedar"), setup.config.policies.join("outbound.toml"));
    let server = started(setup);
    let key = key(&server);
    let rule = "forbid (principal, action == Action::\"secret\", resource == Secret::\"KEY\");";
    std::fs::write(rules, rule).expect("writes");
    govern(&server, &file, &world.policy());
    let ask = || send(&server, &world.upstream.url("/ok"), ("authorization", &key));
    assert_denied(&denied_once(&server, ("outbound", "secret", "rule"), ask));
    assert_eq!(placeholder(&server, "outbound", "KEY"), None);
    assert_eq!((world.sent().as_str(), denials(&server, "outbound", "secret", "rule")), ("", 2));
}

#[test]
fn in_the_mode_observe_a_value_goes_nowhere_else_neither() {
    let world = World::new();
    let server = started(world.setup(&world.policy().replace("schema = 1", "schema = 1\nmode = \"observe\"")));
    let key = key(&server);
    let ask = || send(&server, &world.upstream.url("/ok"), ("x-other", &key));
    assert_denied(&denied_once(&server, ("outbound", "secret", "not_listed"), ask));
    assert_eq!((world.sent().as_str(), placeholder(&server, "outbound", "OTHER")), ("", None));
}

#[test]
fn the_value_is_in_nothing_that_the_server_says() {
    let world = World::new();
    let server = started(world.setup(&format!("{}env = \"SECRET\"\n", world.policy())));
    let key = key(&server);
    let (url, closed) = (world.upstream.url("/ok"), "http://127.0.0.1:1/");
    let mut said = vec![
        send(&server, &url, ("authorization", &key)),
        send(&server, &url, ("x-other", &key)),
        send(&server, closed, ("authorization", &key)),
        send(&server, &format!("{url}#{key}"), ("authorization", &key)),
        server.post("/c/outbound/http", &json!({"method": "TRACE", "url": url, "headers": [["authorization", key]]})),
        server.post("/c/outbound/http", &json!({"url": url, "headers": [["authorization", format!("{key}\n")]]})),
    ];
    assert!(world.sent().contains(VALUE), "it was sent: {}", world.sent());
    let paths =
        ["/c/outbound/env", "/c/outbound/secret/KEY", "/metrics", "/admin/usage", "/v1/list_service", "/ready", "/c/none"];
    said.extend(paths.map(|path| server.get(path)));
    for reply in said {
        let headers: Value = json!(reply.headers);
        assert!(!reply.text().contains(VALUE) && !headers.to_string().contains(VALUE), "{headers} {}", reply.text());
    }
}

#[test]
fn a_value_that_is_set_later_counts_with_the_next_policy() {
    let world = World::new();
    let value = world.folder.path().join("value");
    std::fs::remove_file(&value).expect("removes");
    let setup = world.setup(&world.policy());
    let file: PathBuf = setup.config.policies.join("outbound.toml");
    let server = started(setup);
    let key = key(&server);
    let ask = || send(&server, &world.upstream.url("/ok"), ("authorization", &key)).status;
    assert_eq!(ask(), 502);
    std::fs::write(&value, VALUE).expect("writes");
    govern(&server, &file, &world.policy());
    assert_eq!(ask(), 200, "and the placeholder is the same");
    assert!(world.sent().contains(VALUE));
}
