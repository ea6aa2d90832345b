//! `tessera:generate`: what a guest gets as it comes, what stops the device's work, and the same by polling.

use std::sync::Arc;

use engine::JobError;
use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer, Wire};

/// A scribe that may use one of the fake engine's two models, and one that isn't loaded.
const POLICY: &str = "schema = 1\n[generate]\nmodels = [\"fake\", \"absent\"]\n[tokenize]\nmodels = []\n[log]\n";

fn start(fake: &Arc<FakeInference>) -> TestServer {
    start_with(fake, "", |manifest| manifest)
}

fn start_with(fake: &Arc<FakeInference>, more_policy: &str, change: impl FnOnce(String) -> String) -> TestServer {
    let policy = format!("{POLICY}{more_policy}");
    let server = Setup::new(fake.clone()).guest_as("scribe", "scribe", change).policy("scribe", &policy).start();
    assert_eq!(server.failures, []);
    server
}

fn alone(manifest: String) -> String {
    manifest.replacen("concurrency_max = 16", "concurrency_max = 1", 1)
}

fn shared(manifest: String) -> String {
    manifest
}

fn generate(server: &TestServer, request: &Value) -> Reply {
    server.post("/c/scribe/generate", request)
}

/// A request on a connection of its own, to be read while it is answered, or dropped.
fn on_a_wire(server: &TestServer, line: &str, body: &str) -> Wire {
    let mut wire = Wire::request(server.address, line, &[&format!("content-length: {}", body.len()), "connection: close"]);
    wire.send(body.as_bytes());
    wire
}

fn error_code(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["error"]["code"].as_str().unwrap_or_default().into())
}

#[test]
fn a_granted_model_generates_and_the_first_is_the_default() {
    let fake = Arc::new(FakeInference::default());
    let server = start(&fake);
    let outcome = json!({"reason": "stop", "prompt_tokens": 5, "generated_tokens": 2});
    for model in [Value::Null, json!("fake")] {
        let reply = generate(&server, &json!({"text": "two words", "model": model}));
        let expected = json!({"ok": {"model": "fake", "text": "two words", "tokens": [], "outcome": outcome}});
        assert_eq!((reply.status, reply.json()), (200, expected));
    }
    assert_eq!(server.get("/c/scribe/models").json(), json!(["fake"]));
}

#[test]
fn every_kind_of_prompt_reaches_the_engine() {
    let server = start(&Arc::default());
    let text = |request: Value| generate(&server, &request).json()["ok"]["text"].clone();
    assert_eq!(text(json!({"tokens": [3, 4]})), json!("3 4 "));
    assert_eq!(text(json!({"messages": [["system", "a"], ["user", "b c"]]})), json!("b c"));
    assert_eq!(text(json!({"text": ""})), json!(""));
}

#[test]
fn the_most_tokens_end_a_generation_for_length() {
    let reply = generate(&start(&Arc::default()), &json!({"text": "a b c d", "tokens_max": 2})).json();
    assert_eq!((&reply["ok"]["text"], &reply["ok"]["outcome"]["reason"]), (&json!("a b "), &json!("length")));
}

#[test]
fn log_probabilities_come_with_their_tokens() {
    let reply = generate(&start(&Arc::default()), &json!({"text": "a", "logprobs": 1})).json();
    assert_eq!(reply["ok"]["tokens"], json!([{"picked": [7, "a", -0.5], "top": [[7, "a0", -0.5]]}]));
}

#[test]
fn more_than_a_generation_may_ask_for_is_refused_before_the_engine() {
    let fake = Arc::new(FakeInference::default());
    let server = start(&fake);
    for request in [
        json!({"text": "a", "stop": vec!["x"; 17]}),
        json!({"text": "a", "stop": [""]}),
        json!({"text": "a", "logprobs": 21}),
        json!({"text": "a", "biases": 1025}),
    ] {
        assert_eq!(error_code(&generate(&server, &request)), (400, "invalid-input".into()), "{request}");
    }
    assert_eq!(fake.counts().jobs, 0);
}

#[test]
fn a_model_that_is_not_granted_does_not_exist_and_nothing_reaches_the_engine() {
    let fake = Arc::new(FakeInference::default());
    let server = start(&fake);
    for model in ["other", "no-such", "", "fake\n"] {
        let reply = generate(&server, &json!({"text": "a", "model": model}));
        assert_eq!(error_code(&reply), (404, "unknown-model".into()), "{model:?}");
    }
    assert_eq!(fake.counts().jobs, 0);
}

#[test]
fn events_arrive_while_the_device_still_works() {
    let fake = Arc::new(FakeInference::scripted(["a", "b"]).behind_a_gate());
    let server = start(&fake);
    let mut wire = on_a_wire(&server, "POST /c/scribe/stream", "{}");
    for piece in ["[a]", "[b]"] {
        fake.release(1);
        wire.read_until(piece);
        assert_eq!(fake.counts().inside, 1);
    }
    fake.release(1);
    assert!(wire.read_to_end().contains("done"));
}

#[test]
fn two_generations_of_one_guest_run_at_the_same_time() {
    let fake = Arc::new(FakeInference::scripted(["x"]).behind_a_gate());
    let server = start(&fake);
    std::thread::scope(|scope| {
        let two = scope.spawn(|| server.post("/c/scribe/generate-two", &json!([{}, {}])));
        fake.wait_for(|counts| counts.inside == 2);
        fake.release(4);
        let reply = two.join().expect("answers").json();
        assert_eq!((&reply[0]["ok"]["text"], &reply[1]["ok"]["text"]), (&json!("x"), &json!("x")));
    });
}

#[test]
fn a_client_that_goes_away_takes_its_generation_out_of_the_engine() {
    for change in [alone as fn(String) -> String, shared] {
        let fake = Arc::new(FakeInference::scripted(["a", "b"]).behind_a_gate());
        let server = start_with(&fake, "", change);
        let mut wire = on_a_wire(&server, "POST /c/scribe/stream", "{}");
        fake.release(1);
        wire.read_until("[a]");
        drop(wire);
        fake.wait_for(|counts| counts.dropped == 1);
        assert_eq!((fake.counts().inside, fake.counts().pieces), (0, 1));
    }
}

#[test]
fn a_guest_that_drops_its_stream_stops_the_work() {
    let fake = Arc::new(FakeInference::scripted(["a", "b"]).behind_a_gate());
    let server = start(&fake);
    fake.release(1);
    assert_eq!(server.post("/c/scribe/first", &json!({})).text(), "a");
    fake.wait_for(|counts| counts.dropped == 1);
    assert_eq!(fake.counts().pieces, 1);
}

#[test]
fn a_generation_that_a_guest_leaves_behind_ends_with_its_request() {
    let fake = Arc::new(FakeInference::scripted(["a", "b"]).behind_a_gate());
    // Neither the deadline nor the end of an idle instance ends it in time for the test.
    let stays = |manifest: String| manifest.replacen("idle_ms_max = 10000", "idle_ms_max = 600000", 1);
    let server = start_with(&fake, "[limits]\nwall_ms_max = 600000\n", stays);
    assert_eq!(server.post("/c/scribe/leave", &json!({})).text(), "left");
    fake.wait_for(|counts| counts.dropped == 1);
    assert_eq!(fake.counts().pieces, 0);
}

#[test]
fn a_generation_ends_at_the_deadline_whether_it_is_read_or_not() {
    let fake = Arc::new(FakeInference::scripted(["a", "b"]).behind_a_gate());
    let server = start_with(&fake, "[limits]\nwall_ms_max = 300\n", shared);
    fake.release(1);
    for path in ["generate", "unread"] {
        let reply = server.post(&format!("/c/scribe/{path}"), &json!({}));
        assert_eq!(error_code(&reply), (504, "deadline".into()), "{path}");
    }
    fake.wait_for(|counts| counts.dropped == 2);
}

#[test]
fn a_reader_that_does_not_read_makes_the_device_wait() {
    let fake = Arc::new(FakeInference::scripted(vec!["x"; 10_000]));
    let server = start_with(&fake, "[limits]\nwall_ms_max = 1000\n", shared);
    let reply = server.post("/c/scribe/unread", &json!({}));
    assert_eq!(error_code(&reply), (504, "deadline".into()));
    let pieces = fake.counts().pieces;
    assert!((1..=32).contains(&pieces), "{pieces} pieces were made for nobody");
}

#[test]
fn a_stream_that_breaks_off_is_never_a_good_end() {
    for (failure, code) in [(JobError::Failed("secret of the device".into()), "internal"), (JobError::Stopped, "overloaded")] {
        let fake = Arc::new(FakeInference::scripted(["a"]).breaking(failure));
        let server = start(&fake);
        assert_eq!(server.post("/c/scribe/stream", &json!({})).text(), format!("[a]{code}"));
        let reply = generate(&server, &json!({}));
        assert_eq!(reply.json()["error"]["code"], code);
        assert!(!reply.text().contains("secret"), "{}", reply.text());
    }
}

#[test]
fn errors_before_the_first_event_are_the_functions_own() {
    for (wanted, words) in [
        (Some(100), "However, you requested 300 tokens (200 in the messages, 100 in the completion). Please reduce the length"),
        (None, "However, your messages resulted in 200 tokens. Please reduce the length of the messages."),
    ] {
        let failure = JobError::ContextOverflow { prompt_tokens: 200, wanted, tokens_max: 256 };
        let reply = generate(&start(&FakeInference::failing(failure)), &json!({"text": "a"}));
        assert_eq!(error_code(&reply), (400, "too-long".into()));
        let words = format!("This model's maximum context length is 256 tokens. {words}");
        assert!(reply.text().contains(&words), "{}", reply.text());
    }
}

mod polled {
    use super::*;

    const POLICY: &str = "schema = 1\n[generate]\nmodels = [\"fake\"]\n[log]\n";

    fn start(fake: FakeInference, more_policy: &str) -> (TestServer, Arc<FakeInference>) {
        let fake = Arc::new(fake);
        let setup = Setup::new(fake.clone()).guest("generate-poll");
        let server = setup.policy("generate-poll", &format!("{POLICY}{more_policy}")).start();
        assert_eq!(server.failures, []);
        (server, fake)
    }

    fn post(server: &TestServer, path: &str) -> String {
        server.send("POST", &format!("/c/generate-poll{path}"), &[], b"three small words").text()
    }

    #[test]
    fn a_guest_of_wasi_02_gets_the_same_text() {
        let (server, _) = start(FakeInference::default(), "");
        assert_eq!(post(&server, "/"), "fake: three small words (3 tokens)");
        assert_eq!(post(&server, "/?fake"), "fake: three small words (3 tokens)");
        assert_eq!(post(&server, "/models"), "fake");
    }

    #[test]
    fn it_is_denied_the_same() {
        let (server, fake) = start(FakeInference::default(), "");
        assert!(post(&server, "/?other").contains("`other` does not exist"));
        assert_eq!(fake.counts().jobs, 0);
    }

    #[test]
    fn what_the_engine_refuses_comes_with_the_first_events() {
        let fake = Arc::try_unwrap(FakeInference::failing(JobError::Overloaded)).expect("nobody else has it");
        assert!(post(&start(fake, "").0, "/").contains("queue is full"));
    }

    #[test]
    fn a_generation_that_breaks_off_is_an_error_after_its_events() {
        let (server, _) = start(FakeInference::scripted(["a"]).breaking(JobError::Failed("secret".into())), "");
        let text = post(&server, "/");
        assert!(text.starts_with("fake: a ErrorCode::Internal") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn cancelling_and_dropping_stop_the_work() {
        for (path, end) in [("/cancel", "a ErrorCode::Cancelled: the generation was dropped before its end"), ("/drop", "a")] {
            let (server, fake) = start(FakeInference::scripted(["a", "b"]).behind_a_gate(), "");
            fake.release(1);
            assert_eq!(post(&server, path), end);
            fake.wait_for(|counts| counts.dropped == 1);
        }
    }

    #[test]
    fn it_ends_at_the_deadline() {
        let (server, fake) = start(FakeInference::scripted(["a"]).behind_a_gate(), "[limits]\nwall_ms_max = 300\n");
        let answer = on_a_wire(&server, "POST /c/generate-poll/", "x").read_to_end();
        // The guest says so itself, or the host does where the guest is too slow for it.
        let is_told = answer.contains("ErrorCode::Deadline") || answer.starts_with("HTTP/1.1 504 ");
        assert!(is_told && !answer.contains("tokens)"), "{answer}");
        fake.wait_for(|counts| counts.dropped == 1);
    }
}
