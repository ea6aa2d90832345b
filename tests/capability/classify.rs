//! `tessera:classify`: what a guest gets, and what reaches the engine.

use std::sync::Arc;

use engine::JobError;
use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer};

fn start(fake: &Arc<FakeInference>, more_policy: &str) -> TestServer {
    let policy = format!("schema = 1\n[classify]\nmodels = [\"fake\", \"absent\"]\n{more_policy}");
    let server = Setup::new(fake.clone()).guest("classifier").policy("classifier", &policy).start();
    assert_eq!(server.failures, []);
    server
}

fn classify(server: &TestServer, model: Value) -> Reply {
    server.post("/c/classifier/classify", &json!({"texts": ["four", "ten bytes!"], "model": model}))
}

fn find_entities(server: &TestServer, model: Value) -> Reply {
    server.post("/c/classifier/find-entities", &json!({"texts": ["", "é ADA and BOB"], "model": model}))
}

fn assert_error(reply: &Reply, status: u16, code: &str) {
    let text = reply.text();
    assert!(reply.status == status && text.contains(code), "{}: {text}", reply.status);
}

#[test]
fn a_granted_model_labels_texts_and_the_first_is_the_default() {
    let fake = Arc::default();
    let server = start(&fake, "");
    for model in [Value::Null, json!("fake")] {
        let reply = classify(&server, model).json();
        let short = json!([["short", 0.6], ["long", 0.4]]);
        let scores = |value: &Value| value.as_array().expect("labels").iter().map(|label| label[0].clone()).collect::<Vec<_>>();
        assert_eq!(scores(&reply["ok"]["texts"][0]), scores(&short), "{reply}");
        assert_eq!(reply["ok"]["texts"][1][0], json!(["long", 1.0]), "the best comes first");
        assert_eq!((&reply["ok"]["model"], reply["ok"]["usage"].as_array().map(Vec::len)), (&json!("fake"), Some(2)));
    }
    assert_eq!(fake.counts().jobs, 2);
    assert_eq!(server.get("/c/classifier/models").json(), json!(["fake"]));
}

#[test]
fn parts_of_texts_are_told_by_their_bytes() {
    let fake = Arc::default();
    let reply = find_entities(&start(&fake, ""), Value::Null).json();
    let expected = json!([[], [["CAPITALS", 3, 6, 0.5], ["CAPITALS", 11, 14, 0.5]]]);
    assert_eq!((&reply["ok"]["texts"], fake.counts().jobs), (&expected, 1));
}

#[test]
fn a_model_that_is_not_granted_does_not_exist_and_nothing_reaches_the_engine() {
    let fake = Arc::default();
    let server = start(&fake, "");
    for model in ["other", "no-such", "", "fake\n", "../fake"] {
        assert_error(&classify(&server, json!(model)), 404, "UnknownModel");
        assert_error(&find_entities(&server, json!(model)), 404, "UnknownModel");
    }
    assert_eq!(fake.counts().jobs, 0);
}

#[test]
fn without_a_section_the_component_does_not_load_and_the_lines_to_add_are_told() {
    let server = Setup::new(Arc::<FakeInference>::default()).guest("classifier").policy("classifier", "schema = 1\n").start();
    let failure = server.failure("classifier");
    assert!(failure.contains("[classify]"), "{failure}");
}

#[test]
fn texts_cost_tokens_of_the_components_quota() {
    let fake = Arc::default();
    let server = start(&fake, "[quota]\ninput_tokens_per_min_max = 0\n");
    for route in ["classify", "find-entities"] {
        assert_error(&server.post(&format!("/c/classifier/{route}"), &json!({"texts": ["a text"]})), 429, "Quota");
    }
    assert_eq!(fake.counts().jobs, 0);
}

#[test]
fn texts_beyond_what_a_host_call_may_copy_end_the_request_and_no_other() {
    let fake = Arc::default();
    let server = start(&fake, "[limits]\nhostcall_bytes_max = 65536\n");
    let hostile = json!({"texts": ["a".repeat(100_000)]});
    assert!(server.post("/c/classifier/classify", &hostile).status >= 500);
    assert_eq!((fake.counts().jobs, classify(&server, Value::Null).status), (0, 200));
}

#[test]
fn what_takes_longer_than_the_request_may_ends_at_the_deadline() {
    for ask in [classify, find_entities] {
        let fake = FakeInference::gated();
        let server = start(&fake, "[limits]\nwall_ms_max = 200\n");
        let reply = ask(&server, Value::Null);
        let told = reply.text();
        // The guest says so, or the host where the guest does not in time.
        assert!(
            reply.status == 504 && (told.contains("Deadline") || told.contains("\"deadline\"")),
            "{}: {told}",
            reply.status
        );
        fake.wait_for(|counts| counts.inside == 0 && counts.dropped == counts.jobs);
    }
}

#[test]
fn a_model_of_another_kind_is_told_in_the_engines_words() {
    let fake = FakeInference::failing(JobError::Unsupported("this model labels whole texts: use `classify`".into()));
    let reply = find_entities(&start(&fake, ""), Value::Null);
    assert_error(&reply, 400, "Unsupported");
    assert!(reply.text().contains("use `classify`"));
}
