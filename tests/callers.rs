//! Who may call a server that asks for credentials, and what each may do: keys, tokens, tenants and operators.

mod edge;
mod fixtures;
mod issuer;
mod matrix;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::{Keys, Labels, NewKey, Selection};
use runtime::AuthMode;
use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer, eventually};

/// A policy of the guest `probe` with both fake models.
const PROBE: &str = "schema = 1\n[embed]\nmodels = [\"fake\", \"other\"]\n[rerank]\nmodels = []\n[config]\n[log]\n";

/// A policy of the guest `echo` with two routes.
const ECHO: &str = "schema = 1\n[routes]\nallow = [\"GET /hello\", \"GET /headers\"]\n";

/// A server that asks for credentials, before it starts.
struct Guarded {
    setup: Setup,
    keys: PathBuf,
}

/// A key that a test has made.
#[derive(Debug, Clone)]
struct TestKey {
    id: policy::KeyId,
    text: String,
}

impl TestKey {
    /// The public part and what is secret.
    fn secret(&self) -> &str {
        self.text.rsplit_once(self.id.as_str()).expect("a key holds its id").1
    }
}

fn new_key(tenant: &str) -> NewKey {
    NewKey {
        name: String::new(),
        tenant: tenant.parse().expect("a name"),
        components: Selection::All,
        models: Selection::All,
        is_admin: false,
        labels: Labels::default(),
        seconds: None,
    }
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Makes a key as `tessera key create` does.
fn add(file: &Path, new: NewKey, made: u64) -> TestKey {
    let (key, text) = new.make(made).expect("a key");
    let id = key.id.clone();
    Keys::change(file, |keys| keys.add(key)).expect("the file takes it");
    TestKey { id, text }
}

impl Guarded {
    /// With the guests `echo` and `probe`.
    fn new() -> Guarded {
        let setup = Setup::new(Arc::new(FakeInference::default())).configure(|config| config.auth.mode = AuthMode::Required);
        let routes = |manifest: String| manifest.replace("routes = []", "routes = [\"GET /hello\", \"GET /headers\"]");
        let setup = setup.guest_as("echo", "echo", routes).policy("echo", ECHO).guest("probe").policy("probe", PROBE);
        let keys = setup.config.keys_file();
        Guarded { setup, keys }
    }

    fn key(&self, new: NewKey) -> TestKey {
        add(&self.keys, new, now())
    }

    /// Writes a tenant's policy.
    fn tenant(self, name: &str, text: &str) -> Guarded {
        let folder = self.setup.config.policies.join("tenants");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.toml")), text).expect("writes");
        self
    }

    fn configure(self, change: impl FnOnce(&mut runtime::ServerConfig)) -> Guarded {
        Guarded { setup: self.setup.configure(change), ..self }
    }

    fn start(self) -> TestServer {
        let server = self.setup.start();
        assert_eq!(server.failures, []);
        server
    }
}

fn get(server: &TestServer, path: &str, key: &str) -> Reply {
    server.send("GET", path, &[("authorization", &format!("Bearer {key}"))], b"")
}

fn embed(server: &TestServer, model: &str, key: &str) -> Reply {
    let body = json!({"text": "abc", "model": model}).to_string();
    let headers = [("x-api-key", key), ("content-type", "application/json")];
    server.send("POST", "/c/probe/embed", &headers, body.as_bytes())
}

fn code(reply: &Reply) -> Value {
    reply.json()["error"]["code"].clone()
}

/// Asks again and again for as long as the server takes to look at its files twice: to see that nothing changes.
fn for_two_looks(ask: impl Fn()) {
    let start = std::time::Instant::now();
    while start.elapsed() < std::time::Duration::from_millis(1200) {
        ask();
    }
}

#[test]
fn who_is_not_let_in_is_told_so_as_openai_does_and_learns_nothing_else() {
    let guarded = Guarded::new();
    let admin = guarded.key(NewKey { is_admin: true, ..new_key("ops") });
    let server = guarded.start();
    for path in ["/v1/models", "/c/echo/hello", "/c/nobody/x", "/nothing", "/admin/usage", "/admin/nothing"] {
        let reply = server.get(path);
        let body = reply.json();
        let error = (&body["error"]["code"], &body["error"]["type"]);
        assert_eq!((reply.status, error), (401, (&json!("invalid_api_key"), &json!("authentication_error"))), "{path}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        assert!(reply.header("x-request-id").is_some());
        let wrong = get(&server, path, "tessera_aaaaaaaa_x");
        assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, Some("Bearer error=\"invalid_token\"")));
    }
    assert_eq!(server.get("/health").status, 200);
    let metrics = get(&server, "/metrics", &admin.text).text();
    assert!(metrics.contains("tessera_auth_refusals_total{reason=\"missing\"} 6"), "{metrics}");
    assert!(metrics.contains("tessera_auth_refusals_total{reason=\"invalid\"} 6"), "{metrics}");
}

#[test]
fn a_body_that_is_sent_without_a_credential_is_refused_before_it_is_read() {
    let server = Guarded::new().start();
    let body = vec![b'x'; 8 << 20];
    let reply = server.send("POST", "/c/echo/upload", &[], &body);
    assert_eq!(reply.status, 401);
}

#[test]
fn a_key_may_come_in_three_headers_but_two_keys_may_not_come_at_once() {
    let guarded = Guarded::new();
    let (one, two) = (guarded.key(new_key("acme")), guarded.key(new_key("acme")));
    let server = guarded.start();
    let bearer = |key: &TestKey| format!("Bearer {}", key.text);
    let ask = |headers: &[(&str, &str)]| server.send("GET", "/c/echo/hello", headers, b"").status;
    for name in ["x-api-key", "api-key"] {
        assert_eq!(ask(&[(name, &one.text)]), 200);
        assert_eq!(ask(&[(name, &one.text), ("authorization", &bearer(&one))]), 200);
        assert_eq!(ask(&[(name, &one.text), ("authorization", &bearer(&two))]), 401);
        assert_eq!(ask(&[(name, "x"), ("authorization", &bearer(&two))]), 401);
    }
    assert_eq!(ask(&[("authorization", "Basic dTpw")]), 401);
}

#[test]
fn a_component_sees_no_credential_and_all_other_headers() {
    let guarded = Guarded::new();
    let key = guarded.key(new_key("acme"));
    let server = guarded.start();
    let bearer = format!("Bearer {}", key.text);
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-api-key", &key.text),
        ("api-key", &key.text),
        ("proxy-authorization", "Basic dTpw"),
        ("cookie", "a=b"),
        ("x-other", "c"),
    ];
    for path in ["/c/echo/headers", "/headers"] {
        let reply = server.send("GET", path, &headers, b"");
        let seen = reply.json();
        assert_eq!((reply.status, &seen["cookie"], &seen["x-other"]), (200, &json!(["a=b"]), &json!(["c"])));
        for name in ["authorization", "x-api-key", "api-key", "proxy-authorization"] {
            assert_eq!(seen.get(name), None, "{name}");
        }
        assert!(!reply.text().contains(key.secret()));
    }
}

#[test]
fn a_key_counts_and_ends_on_the_running_server() {
    let guarded = Guarded::new();
    let file = guarded.keys.clone();
    let kept = guarded.key(new_key("acme"));
    let server = guarded.start();
    let key = add(&file, new_key("acme"), now());
    let until = |status| eventually(|| (get(&server, "/c/echo/hello", &key.text).status == status).then_some(()));
    until(200);
    Keys::change(&file, |keys| keys.revoke(&key.id, now())).expect("revoked");
    until(401);
    assert_eq!(get(&server, "/c/echo/hello", &kept.text).status, 200);
    std::fs::write(&file, "schema = 1\n[[key]]\nid = \"torn").expect("writes");
    let later = add(&file.with_file_name("other.toml"), new_key("acme"), now());
    for_two_looks(|| assert_eq!(get(&server, "/c/echo/hello", &kept.text).status, 200, "what held before still holds"));
    std::fs::rename(file.with_file_name("other.toml"), &file).expect("renames");
    eventually(|| (get(&server, "/c/echo/hello", &later.text).status == 200).then_some(()));
    assert_eq!(get(&server, "/c/echo/hello", &kept.text).status, 401, "it is not in the new file");
}

#[test]
fn keys_are_nowhere_to_be_read() {
    let guarded = Guarded::new();
    let file = guarded.keys.clone();
    let admin = guarded.key(NewKey { is_admin: true, name: "ops".into(), ..new_key("ops") });
    let user = guarded.key(new_key("acme"));
    let server = guarded.start();
    assert_eq!(embed(&server, "fake", &user.text).status, 200);
    let mut told = vec![std::fs::read_to_string(&file).expect("the file")];
    for path in ["/admin/usage", "/metrics", "/v1/models", "/v1/list_service"] {
        told.push(get(&server, path, &admin.text).text());
    }
    for text in told {
        assert!(!text.contains(admin.secret()) && !text.contains(user.secret()), "{text}");
    }
}

#[test]
fn lists_hold_what_the_caller_may_use_and_nothing_else() {
    let guarded = Guarded::new().tenant("narrow", "schema = 1\ncomponents = [\"probe\"]\nmodels = [\"other\"]\n");
    let (wide, narrow) = (guarded.key(new_key("acme")), guarded.key(new_key("narrow")));
    let limited = guarded.key(NewKey { models: "fake".parse().expect("a list"), ..new_key("acme") });
    let server = guarded.start();
    let names = |list: &Value, key: &str| -> Vec<String> {
        let entries = list.as_array().expect("a list").iter();
        entries.map(|entry| entry[key].as_str().expect("a name").into()).collect()
    };
    for (key, models, services) in [
        (&wide, &["fake", "other"][..], &["echo", "probe"][..]),
        (&narrow, &["other"], &["probe"]),
        (&limited, &["fake"], &["echo", "probe"]),
    ] {
        assert_eq!(names(&get(&server, "/v1/models", &key.text).json()["data"], "id"), models);
        let listed = get(&server, "/v1/list_service", &key.text).json();
        assert_eq!(names(&listed["services"], "name"), services);
        let seen_by_guest = get(&server, "/c/probe/embed/models", &key.text).json();
        assert_eq!(seen_by_guest, json!(models));
        for model in ["fake", "other"] {
            let status = get(&server, &format!("/v1/models/{model}"), &key.text).status;
            assert_eq!(status, if models.contains(&model) { 200 } else { 404 }, "{model}");
        }
    }
}

#[test]
fn a_tenant_that_has_used_up_its_quota_holds_up_nobody_else() {
    let quota = "schema = 1\n[quota]\nrequests_per_min_max = 3\n";
    let guarded = Guarded::new().tenant("small", quota);
    let keys = [guarded.key(new_key("small")), guarded.key(new_key("small"))];
    let (other, admin) = (guarded.key(new_key("acme")), guarded.key(NewKey { is_admin: true, ..new_key("ops") }));
    let server = guarded.start();
    let statuses: Vec<u16> = (0..4).map(|turn| get(&server, "/c/echo/hello", &keys[turn % 2].text).status).collect();
    assert_eq!(statuses, [200, 200, 200, 429], "all keys of a tenant together");
    let refused = get(&server, "/hello", &keys[0].text);
    assert_eq!((refused.status, code(&refused)), (429, json!("quota_exceeded")));
    assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0)));
    assert_eq!(get(&server, "/c/echo/hello", &other.text).status, 200);
    let usage = get(&server, "/admin/usage", &admin.text).json();
    assert_eq!((&usage["tenants"]["small"]["requests"], &usage["tenants"]["acme"]["requests"]), (&json!(3), &json!(1)));
    assert_eq!(usage["components"]["echo"]["requests"], json!(4), "what the tenant was refused is not counted there");
    let metrics = get(&server, "/metrics", &admin.text).text();
    assert!(metrics.contains("tessera_tenant_requests_total{tenant=\"small\"} 3"), "{metrics}");
}

#[test]
fn tokens_count_for_tenant_and_component_and_the_rest_comes_back_to_both() {
    let guarded = Guarded::new().tenant("small", "schema = 1\n[quota]\ninput_tokens_per_min_max = 2\n");
    let (small, other) = (guarded.key(new_key("small")), guarded.key(new_key("acme")));
    let admin = guarded.key(NewKey { is_admin: true, ..new_key("ops") });
    let server = guarded.start();
    let statuses: Vec<u16> = (0..3).map(|_| embed(&server, "fake", &small.text).status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(embed(&server, "fake", &other.text).status, 200);
    let usage = get(&server, "/admin/usage", &admin.text).json();
    let tokens = |of: &str, name: &str| usage[of][name]["input_tokens"].clone();
    assert_eq!(
        (tokens("tenants", "small"), tokens("tenants", "acme"), tokens("components", "probe")),
        (json!(2), json!(1), json!(3))
    );
}

#[test]
fn what_a_tenant_may_do_changes_with_its_file() {
    let guarded = Guarded::new().tenant("acme", "schema = 1\n");
    let folder = guarded.setup.config.policies.join("tenants");
    let key = guarded.key(new_key("acme"));
    let server = guarded.start();
    let replace = |text: &str| {
        std::fs::write(folder.join("draft"), text).expect("writes");
        std::fs::rename(folder.join("draft"), folder.join("acme.toml")).expect("renames");
    };
    let until = |path: &str, status| eventually(|| (get(&server, path, &key.text).status == status).then_some(()));
    assert_eq!(get(&server, "/c/echo/hello", &key.text).status, 200);
    replace("schema = 1\ncomponents = [\"probe\"]\n");
    until("/c/echo/hello", 403);
    assert_eq!(code(&get(&server, "/hello", &key.text)), json!("component_not_allowed"));
    replace("schema = 1\ncomponents = [\"echo\"]\n[quota]\nrequests_per_min_max = 0\n");
    until("/c/echo/hello", 429);
    replace("schema = 1\ncomponent = [\"echo\"]\n");
    for_two_looks(|| assert_eq!(get(&server, "/c/echo/hello", &key.text).status, 429, "a slip of the pen changes nothing"));
    std::fs::remove_file(folder.join("acme.toml")).expect("deleted");
    until("/c/echo/hello", 200);
}
