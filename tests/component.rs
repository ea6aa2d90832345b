//! Which components load, and where they answer.

use std::sync::Arc;

use serde_json::json;
use tests::{FakeInference, Setup, TestServer, root};

fn setup() -> Setup {
    Setup::new(Arc::new(FakeInference::default()))
}

/// A manifest with this line instead of its empty routes.
fn with_routes(routes: &str) -> impl FnOnce(String) -> String {
    let line = format!("routes = [{routes}]");
    move |manifest| manifest.replacen("routes = []", &line, 1)
}

/// A policy that allows routes.
fn allow(routes: &str) -> String {
    format!("schema = 1\n[routes]\nallow = [{routes}]\n")
}

#[test]
fn without_sections_a_component_does_not_load_and_the_text_shows_the_lines_to_add() {
    let server = setup().guest("probe").guest("echo").start();
    let failure = server.failure("probe");
    for line in ["probe.toml", "[embed]\nmodels = [", "[rerank]\nmodels = [", "[config]"] {
        assert!(failure.contains(line), "{line:?} is not in:\n{failure}");
    }
    assert!(!failure.contains("[log]"), "default.toml grants the log:\n{failure}");
    assert_eq!((server.get("/c/probe/config").status, server.get("/c/echo/hello").status), (404, 200));
    let services = server.get("/v1/list_service").json()["services"].clone();
    assert_eq!((&services[1]["name"], &services[1]["status"]), (&json!("probe"), &json!("not loaded")));
}

#[test]
fn the_lines_to_add_are_all_that_was_missing() {
    let failure = setup().guest("probe").start().failure("probe").to_owned();
    let lines = failure.split_once(":\n\n").expect("the lines come after a colon").1;
    let policy = format!("{lines}\n[log]\n");
    assert_eq!(setup().guest("probe").policy("probe", &policy).start().failures, []);
}

#[test]
fn an_import_that_the_manifest_does_not_declare_keeps_a_component_out() {
    let undeclared = |manifest: String| manifest.replacen("\"embed\", ", "", 1);
    let policy = "schema = 1\n[embed]\nmodels = [\"fake\"]\n[rerank]\nmodels = []\n[config]\n[log]\n";
    let server = setup().guest_as("probe", "probe", undeclared).policy("probe", policy).start();
    let failure = server.failure("probe");
    assert!(failure.contains("`embed`") && failure.contains("capabilities = ["), "{failure}");
}

#[test]
fn a_manifest_that_is_wrong_keeps_a_component_out_and_says_why() {
    let change = |from: &'static str, to: &'static str| move |manifest: String| manifest.replacen(from, to, 1);
    let server = setup()
        .guest_as("unknown-key", "echo", change("routes = []", "routes = []\nroute = []"))
        .guest_as("unknown-capability", "echo", change("capabilities = []", "capabilities = [\"teleport\"]"))
        .guest_as("other-name", "echo", change("name = \"other-name\"", "name = \"echo\""))
        .guest_as("bad-route", "echo", change("routes = []", "routes = [\"get /x\"]"))
        .guest_as("bad-name", "echo", change("name = \"bad-name\"", "name = \"../bad\""))
        .start();
    for (name, reason) in [
        ("unknown-key", "unknown field `route`"),
        (
            "unknown-capability",
            "`teleport`; there are blob, call, classify, config, embed, env, fs, generate, http, kv, log, nn, rerank, secret, \
             tokenize, vector",
        ),
        ("other-name", "give both the same name"),
        ("bad-route", "not in upper case"),
        ("bad-name", "../bad"),
    ] {
        let failure = server.failure(name);
        assert!(failure.contains(reason), "{name}: {failure}");
        assert_eq!(server.get(&format!("/c/{name}/hello")).status, 404);
    }
}

#[test]
fn a_policy_that_is_wrong_keeps_its_component_out_and_no_other() {
    let server = setup()
        .guest("echo")
        .guest_as("second", "echo", |manifest| manifest)
        .policy("second", "schema = 1\n[limit]\nwall_ms_max = 1\n")
        .guest_as("third", "echo", |manifest| manifest)
        .policy("third", "schema = 2\n")
        .start();
    assert!(server.failure("second").contains("unknown field `limit`"), "{}", server.failure("second"));
    assert!(server.failure("third").contains("schema 2"), "{}", server.failure("third"));
    assert_eq!(server.get("/c/echo/hello").text(), "hello");
}

#[test]
fn code_that_is_missing_damaged_or_no_component_is_refused() {
    let setup =
        setup().guest("echo").guest_as("missing", "echo", |m| m).guest_as("cut", "echo", |m| m).guest_as("text", "echo", |m| m);
    let code = |name: &str| setup.component_folder(name).join("component.wasm");
    std::fs::remove_file(code("missing")).expect("removes");
    let whole = std::fs::read(code("cut")).expect("reads");
    std::fs::write(code("cut"), &whole[..whole.len() / 2]).expect("writes");
    std::fs::write(code("text"), "(component)").expect("writes");
    let server = setup.start();
    assert!(server.failure("missing").contains("make components"), "{}", server.failure("missing"));
    for name in ["cut", "text"] {
        assert!(server.failure(name).contains("component.wasm is refused"), "{}", server.failure(name));
    }
    assert_eq!(server.get("/c/echo/hello").text(), "hello");
}

#[test]
fn a_route_beyond_its_own_is_served_only_where_the_policy_allows_it() {
    let refused = setup().guest_as("echo", "echo", with_routes("\"GET /hello\"")).start();
    let failure = refused.failure("echo");
    assert!(failure.contains("[routes]\nallow = [\"GET /hello\"]"), "{failure}");
    let server = setup().guest_as("echo", "echo", with_routes("\"GET /hello\"")).policy("echo", &allow("\"GET /*\"")).start();
    assert_eq!(server.failures, []);
    assert_eq!(server.get("/hello").text(), "hello");
    assert_eq!(server.get("/headers").status, 404, "what the component does not want is not routed to it");
}

#[test]
fn no_policy_gives_a_component_a_path_of_the_host() {
    for path in ["/health", "/ready", "/metrics", "/v1/health_check", "/v1/list_service"] {
        let route = format!("\"GET {path}\"");
        let server = setup().guest_as("echo", "echo", with_routes(&route)).policy("echo", &allow(&route)).start();
        let failure = server.failure("echo");
        assert!(failure.contains("tessera itself"), "{path}: {failure}");
    }
    let everything = "\"* /*\"";
    let server = setup().guest_as("echo", "echo", with_routes(everything)).policy("echo", &allow(everything)).start();
    assert_eq!(server.failures, []);
    assert_eq!(server.get("/ready").json(), json!({"status": "ready"}));
    assert_eq!(server.get("/v1/models/fake").json()["object"], "model");
    assert_eq!(server.get("/hello").text(), "hello");
}

#[test]
fn of_two_components_with_one_route_the_first_has_it_and_the_second_is_refused() {
    let route = "\"GET /hello\"";
    let server = setup()
        .guest_as("a", "echo", with_routes(route))
        .policy("a", &allow(route))
        .guest_as("b", "echo", with_routes("\"* /hello\""))
        .policy("b", &allow("\"* /hello\""))
        .start();
    assert!(server.failure("b").contains("taken by component `a`"), "{}", server.failure("b"));
    assert_eq!(server.get("/hello").text(), "hello");
}

#[test]
fn two_components_may_share_a_path_by_method() {
    let server = setup()
        .guest_as("a", "echo", with_routes("\"GET /hello\""))
        .policy("a", &allow("\"GET /hello\""))
        .guest_as("b", "echo", with_routes("\"POST /hello\""))
        .policy("b", &allow("\"POST /hello\""))
        .start();
    assert_eq!(server.failures, []);
    assert_eq!(server.get("/hello").text(), "hello");
    assert_eq!(server.post("/hello", &json!({})).status, 405, "`b` has no such handler");
    let reply = server.send("DELETE", "/hello", &[], b"");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, POST")));
}

#[test]
fn a_component_answers_below_its_name_whatever_prefixes_others_have() {
    let get = with_routes(r#""GET /*""#);
    let post = with_routes(r#""POST /api/*""#);
    let server = setup()
        .guest_as("front", "echo", get)
        .policy("front", &allow(r#""GET /*""#))
        .guest_as("api", "echo", post)
        .policy("api", &allow(r#""POST /api/*""#))
        .guest("naughty")
        .start();
    assert_eq!(server.failures, []);
    assert_eq!(server.get("/c/naughty/state").text(), "1");
    assert_eq!(server.get("/hello").text(), "hello");
    // The longest prefix takes POST only; GET goes on to the next that takes it, and DELETE to nobody.
    assert_eq!(server.get("/api/x").json()["error"]["code"], "not_found");
    let refused = server.send("DELETE", "/api/x", &[], b"");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("POST, GET")));
}

#[test]
fn the_bundled_components_load_under_their_bundled_policies() {
    for name in
        ["chat", "chathistory", "dataprep", "embeddings", "feedback", "prompt-template", "prompts", "reranking", "retriever"]
    {
        assert!(root().join("components").join(name).join("component.wasm").is_file(), "run `make components` first");
        assert_eq!(setup().bundled(name).start().failures, []);
    }
}

#[test]
fn compiled_code_is_taken_from_the_cache_at_the_second_start() {
    let data = tempfile::tempdir().expect("a folder");
    let entries = || -> Vec<(std::path::PathBuf, u64)> {
        let entries = std::fs::read_dir(data.path().join("compiled")).expect("the cache is there");
        let with_inode = |entry: std::fs::DirEntry| {
            let inode = std::os::unix::fs::MetadataExt::ino(&entry.metadata().expect("is a file"));
            (entry.path(), inode)
        };
        entries.map(|entry| with_inode(entry.expect("lists"))).collect()
    };
    let start = || -> TestServer {
        let path = data.path().to_owned();
        setup().guest("echo").configure(|config| config.data = path).start()
    };
    drop(start());
    let first = entries();
    assert_eq!(first.len(), 1);
    // To compile again would write the entry again, as a new file.
    assert_eq!(start().get("/c/echo/hello").text(), "hello");
    assert_eq!(entries(), first);
    std::fs::write(&first[0].0, "damaged").expect("writes");
    assert_eq!(start().get("/c/echo/hello").text(), "hello", "a damaged entry is compiled again");
    assert_ne!(std::fs::read(&first[0].0).expect("reads"), b"damaged");
}
