//! Environment variables by standard `wasi:cli/environment`: what the policy says, and nothing of the server's own.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{FakeInference, Setup, TestServer};

use super::outside::{govern, used};

/// What the guest needs to load.
const OTHERS: &str = "schema = 1\n[http]\n[secret]\n";

/// A variable that every system has.
const SERVERS: &str = "PATH";

fn setup(policy: &str) -> Setup {
    Setup::new(Arc::new(FakeInference::default())).guest("outbound").policy("outbound", policy)
}

#[track_caller]
fn start(section: &str) -> TestServer {
    let server = setup(&format!("{OTHERS}{section}")).start();
    assert_eq!(server.failures, []);
    server
}

/// All variables, as Rust's std gives them.
fn variables(server: &TestServer) -> Value {
    server.get("/c/outbound/env").json()
}

/// What a function of `wasi:cli/environment` gives.
fn call(server: &TestServer, interface: u32, function: &str) -> Value {
    server.post(&format!("/c/outbound/wasi/{interface}"), &json!({"function": function})).json()["ok"].clone()
}

#[test]
fn a_component_sees_the_values_of_its_policy() {
    let server = start("[env]\nvalues = { GREETING = \"hello\", EMPTY = \"\", \"with space\" = \"ä=1\" }\n");
    assert_eq!(variables(&server), json!({"GREETING": "hello", "EMPTY": "", "with space": "ä=1"}));
    let expected = json!([["EMPTY", ""], ["GREETING", "hello"], ["with space", "ä=1"]]);
    assert_eq!([call(&server, 2, "get-environment"), call(&server, 3, "get-environment")], [expected.clone(), expected]);
}

#[test]
fn of_the_servers_own_it_sees_those_that_are_named_and_set() {
    let path = std::env::var(SERVERS).expect("every system has one");
    let server = start(&format!("[env]\nfrom_server = [\"{SERVERS}\", \"NOT_SET_ANYWHERE\"]\n"));
    assert_eq!(variables(&server), json!({SERVERS: path}));
}

#[test]
fn it_sees_no_other_of_the_servers_and_no_arguments_and_no_folder() {
    assert!(std::env::vars().count() > 1 && std::env::args().count() > 0, "the server has some");
    for section in ["", "[env]\n", "[env]\nfrom_server = []\n"] {
        let server = start(section);
        assert_eq!(variables(&server), json!({}), "{section:?}");
        for (interface, folder) in [(2, "initial-cwd"), (3, "get-initial-cwd")] {
            let seen = ["get-environment", "get-arguments", folder].map(|function| call(&server, interface, function));
            assert_eq!(seen, [json!([]), json!([]), Value::Null], "{section:?}, interface {interface}");
        }
        assert_eq!(used(&server, "outbound", "denied"), 0, "there is nothing to deny");
    }
}

#[test]
fn a_placeholder_stands_in_the_variable_that_its_secret_names() {
    let secret = format!(
        "[secret.KEY]\nsource = {{ env = \"{SERVERS}\" }}\nhosts = [\"a.example\"]\nheaders = [\"x\"]\nenv = \"API_KEY\"\n"
    );
    for section in ["", "[env]\nvalues = { GREETING = \"hello\" }\n"] {
        let server = start(&format!("{section}{secret}"));
        let placeholder = server.get("/c/outbound/secret/KEY").json()["value"].clone();
        let seen = variables(&server);
        assert!(seen["API_KEY"] == placeholder && placeholder.as_str().is_some_and(|it| it.starts_with("tessera-secret-")));
        assert_eq!(seen["GREETING"].is_null(), section.is_empty());
        assert!(!seen.to_string().contains(&std::env::var(SERVERS).expect("is set")), "{seen}");
    }
}

#[test]
fn what_the_manifest_does_not_want_is_not_seen() {
    let change = |manifest: String| manifest.replacen("\"env\", ", "", 1);
    let setup = Setup::new(Arc::new(FakeInference::default())).guest_as("outbound", "outbound", change);
    let server = setup.policy("outbound", &format!("{OTHERS}[env]\nvalues = {{ GREETING = \"hello\" }}\n")).start();
    assert_eq!((server.failures.len(), variables(&server)), (0, json!({})));
}

#[test]
fn a_component_does_not_see_the_variables_of_another() {
    let section = "[env]\nvalues = { MINE = \"1\" }\n";
    let server = setup(&format!("{OTHERS}{section}"))
        .guest_as("other", "outbound", |manifest| manifest)
        .policy("other", &format!("{OTHERS}{}", section.replace("MINE", "THEIRS")))
        .start();
    assert_eq!(variables(&server), json!({"MINE": "1"}));
    assert_eq!(server.get("/c/other/env").json(), json!({"THEIRS": "1"}));
}

#[test]
fn another_policy_counts_for_the_next_request() {
    let policy = |value| format!("{OTHERS}[env]\nvalues = {{ GREETING = \"{value}\" }}\n");
    let setup = setup(&policy("hello"));
    let file = setup.config.policies.join("outbound.toml");
    let server = setup.start();
    assert_eq!(variables(&server), json!({"GREETING": "hello"}));
    govern(&server, &file, &policy("goodbye"));
    assert_eq!(variables(&server), json!({"GREETING": "goodbye"}));
    govern(&server, &file, OTHERS);
    assert_eq!(variables(&server), json!({}));
}

#[test]
fn what_is_no_variable_is_refused_when_the_policy_is_read() {
    for section in
        ["[env]\nvalues = { A = 1 }\n", "[env]\nvalues = [\"A\"]\n", "[env]\nfrom_server = \"A\"\n", "[env]\nA = \"1\"\n"]
    {
        let server = setup(&format!("{OTHERS}{section}")).start();
        assert!(server.failure("outbound").contains("is refused"), "{section}: {}", server.failure("outbound"));
    }
}
