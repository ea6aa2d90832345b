//! `tessera:config`: a component reads its own settings and no others.

use std::sync::Arc;

use serde_json::json;
use tests::{FakeInference, Setup, TestServer};

const OTHERS: &str = "schema = 1\n[embed]\nmodels = []\n[rerank]\nmodels = []\n[log]\n";

fn setup(config: &str) -> Setup {
    Setup::new(Arc::new(FakeInference::default())).guest("probe").policy("probe", &format!("{OTHERS}{config}"))
}

fn start(config: &str) -> TestServer {
    let server = setup(config).start();
    assert_eq!(server.failures, []);
    server
}

#[test]
fn the_operators_settings_are_read_sorted_by_key() {
    let server = start("[config]\nz = \"last\"\na = \"first\"\n\"strange key\" = \"\\n\\u0000\"\n");
    assert_eq!(server.get("/c/probe/config").json(), json!([["a", "first"], ["strange key", "\n\0"], ["z", "last"]]));
    assert_eq!(server.get("/c/probe/config/z").json(), json!({"value": "last"}));
}

#[test]
fn a_key_that_is_not_set_has_no_value() {
    let server = start("[config]\na = \"first\"\n");
    for key in ["b", "A", "a%20", "schema", &"k".repeat(5000)] {
        assert_eq!(server.get(&format!("/c/probe/config/{key}")).status, 404, "{key}");
    }
}

#[test]
fn an_empty_section_lets_a_component_load_and_holds_nothing() {
    assert_eq!(start("[config]\n").get("/c/probe/config").json(), json!([]));
}

#[test]
fn a_component_does_not_see_the_settings_of_another() {
    let server = setup("[config]\nmine = \"1\"\n")
        .guest_as("other", "probe", |manifest| manifest)
        .policy("other", &format!("{OTHERS}[config]\ntheirs = \"2\"\n"))
        .start();
    assert_eq!(server.get("/c/probe/config").json(), json!([["mine", "1"]]));
    assert_eq!(server.get("/c/other/config").json(), json!([["theirs", "2"]]));
}

#[test]
fn a_value_that_is_no_text_is_refused_when_the_policy_is_read() {
    let server = setup("[config]\na = 1\n").start();
    assert!(server.failure("probe").contains("expected a string"), "{}", server.failure("probe"));
}
