//! `tessera:tokenize`: what a guest gets, and what reaches the engine.

use std::sync::Arc;

use engine::JobError;
use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer};

fn start(fake: &Arc<FakeInference>, more_policy: &str) -> TestServer {
    let policy = "schema = 1\n[generate]\nmodels = [\"other\"]\n[tokenize]\nmodels = [\"fake\", \"absent\"]\n[log]\n";
    let server = Setup::new(fake.clone()).guest("scribe").policy("scribe", &format!("{policy}{more_policy}")).start();
    assert_eq!(server.failures, []);
    server
}

fn post(server: &TestServer, path: &str, request: Value) -> Reply {
    server.post(&format!("/c/scribe/{path}"), &request)
}

#[test]
fn text_becomes_tokens_and_tokens_text() {
    let server = start(&Arc::default(), "");
    for model in [Value::Null, json!("fake")] {
        let ok = |path: &str, mut request: Value| {
            request["model"] = model.clone();
            post(&server, path, request).json()["ok"].clone()
        };
        assert_eq!(ok("tokenize", json!({"text": "ab"})), json!([97, 98]));
        assert_eq!(ok("tokenize", json!({"text": "a", "whole": true})), json!([1, 97, 2]));
        assert_eq!(ok("tokenize", json!({"messages": [["u", "a"]]})), json!([60, 117, 62, 97]));
        assert_eq!(ok("count", json!({"text": "abc", "whole": true})), json!(5));
        assert_eq!(ok("detokenize", json!({"tokens": [97, 98]})), json!("ab"));
    }
    assert_eq!(server.get("/c/scribe/tokenize/models").json(), json!(["fake"]));
}

#[test]
fn many_are_counted_at_once_in_their_order() {
    let fake = Arc::new(FakeInference::default());
    let server = start(&fake, "");
    let inputs = json!([{"text": "abc"}, {"text": ""}, {"text": "a", "whole": true}, {"messages": [["u", "a"]]}]);
    assert_eq!(post(&server, "count/each", inputs).json(), json!({"ok": [3, 0, 3, 4]}));
    assert_eq!(post(&server, "count/each", json!([])).json(), json!({"ok": []}));
}

#[test]
fn a_model_that_is_not_granted_does_not_exist_and_nothing_reaches_the_engine() {
    let fake = Arc::new(FakeInference::default());
    let server = start(&fake, "");
    for path in ["tokenize", "count", "detokenize"] {
        for model in ["other", "no-such", ""] {
            let reply = post(&server, path, json!({"text": "a", "tokens": [1], "model": model}));
            assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!("unknown-model")), "{path} {model:?}");
        }
    }
    assert_eq!(fake.counts().jobs, 0);
}

#[test]
fn errors_of_the_engine_reach_the_guest_with_their_code() {
    for (failure, status, code) in [
        (JobError::NoTokenizer, 400, "unsupported"),
        (JobError::InvalidInput("token 9 is beyond the vocabulary".into()), 400, "invalid-input"),
        (JobError::Overloaded, 429, "overloaded"),
    ] {
        let server = start(&FakeInference::failing(failure), "");
        for path in ["tokenize", "count", "detokenize"] {
            let reply = post(&server, path, json!({"text": "a", "tokens": [9]}));
            assert_eq!((reply.status, &reply.json()["error"]["code"]), (status, &json!(code)), "{path}");
        }
    }
}

#[test]
fn it_ends_at_the_deadline() {
    let fake = FakeInference::gated();
    let reply = post(&start(&fake, "[limits]\nwall_ms_max = 200\n"), "tokenize", json!({"text": "a"}));
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (504, &json!("deadline")));
    fake.wait_for(|counts| counts.dropped == 1);
}
