//! `tessera:embed`: what a guest gets, and what reaches the engine.

use std::sync::Arc;

use engine::JobError;
use serde_json::{Value, json};
use tests::{FakeInference, Setup, TestServer, Wire};

/// A probe that may use one of the fake engine's two models, and one that isn't loaded.
const POLICY: &str = "schema = 1\n[embed]\nmodels = [\"fake\", \"absent\"]\n[rerank]\nmodels = [\"fake\"]\n[config]\n[log]\n";

fn start(fake: &Arc<FakeInference>) -> TestServer {
    start_with(fake, "", |manifest| manifest)
}

fn start_with(fake: &Arc<FakeInference>, more_policy: &str, change: impl FnOnce(String) -> String) -> TestServer {
    let server =
        Setup::new(fake.clone()).guest_as("probe", "probe", change).policy("probe", &format!("{POLICY}{more_policy}")).start();
    assert_eq!(server.failures, []);
    server
}

fn post_embed(server: &TestServer) -> tests::Reply {
    server.post("/c/probe/embed", &json!({"text": "abc"}))
}

/// A request on a connection of its own, to be dropped with it.
fn embed_on_a_wire(server: &TestServer) -> Wire {
    let body = "{\"text\": \"abc\"}";
    let mut wire = Wire::request(server.address, "POST /c/probe/embed", &[&format!("content-length: {}", body.len())]);
    wire.send(body.as_bytes());
    wire
}

#[test]
fn a_granted_model_embeds_and_the_first_is_the_default() {
    let fake = Arc::new(FakeInference::default());
    let server = start(&fake);
    let expected = json!({"ok": {"model": "fake", "dimensions": 3, "values": [3.0, 0.0, 1.0], "usage": [{"tokens": 1, "truncated": false}]}});
    for model in [Value::Null, json!("fake")] {
        let reply = server.post("/c/probe/embed", &json!({"text": "abc", "model": model}));
        assert_eq!((reply.status, reply.json()), (200, expected.clone()));
    }
    assert_eq!(fake.counts().jobs, 2);
}

#[test]
fn a_model_that_is_not_granted_does_not_exist_and_nothing_reaches_the_engine() {
    let fake = Arc::new(FakeInference::default());
    let server = start(&fake);
    for model in ["other", "no-such", "", "fake\n", "FAKE", "../fake"] {
        let reply = server.post("/c/probe/embed", &json!({"text": "abc", "model": model}));
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!("unknown-model")), "{model:?}");
    }
    assert_eq!(fake.counts().jobs, 0);
}

#[test]
fn a_loaded_model_and_an_unknown_one_are_denied_in_the_same_words() {
    let server = start(&Arc::default());
    let message = |model: &str| {
        let reply = server.post("/c/probe/embed", &json!({"text": "abc", "model": model}));
        reply.json()["error"]["message"].as_str().expect("a message").replace(model, "X")
    };
    assert_eq!(message("other"), message("thing"));
}

#[test]
fn models_lists_what_is_granted_and_loaded() {
    assert_eq!(start(&Arc::default()).get("/c/probe/embed/models").json(), json!(["fake"]));
}

#[test]
fn an_empty_list_of_models_grants_none() {
    let fake = Arc::new(FakeInference::default());
    let policy = POLICY.replacen("[\"fake\", \"absent\"]", "[]", 1);
    let server = Setup::new(fake.clone()).guest("probe").policy("probe", &policy).start();
    assert_eq!((post_embed(&server).status, fake.counts().jobs), (404, 0));
    assert_eq!(server.get("/c/probe/embed/models").json(), json!([]));
}

#[test]
fn two_embeds_of_one_guest_are_in_the_engine_at_the_same_time() {
    let fake = FakeInference::gated();
    let server = start(&fake);
    std::thread::scope(|scope| {
        let two = scope.spawn(|| server.post("/c/probe/embed-two", &json!({"a": {"text": "a"}, "b": {"text": "bb"}})));
        fake.wait_for(|counts| counts.inside == 2);
        fake.release(2);
        let reply = two.join().expect("answers").json();
        assert_eq!((&reply[0]["ok"]["values"][0], &reply[1]["ok"]["values"][0]), (&json!(1.0), &json!(2.0)));
    });
}

#[test]
fn an_instance_that_waits_for_the_engine_serves_others_meanwhile() {
    let fake = FakeInference::gated();
    // There is room for one instance only, so all three requests are in it.
    let server =
        Setup::new(fake.clone()).guest("probe").policy("probe", POLICY).configure(|config| config.instances_max = 1).start();
    std::thread::scope(|scope| {
        let waiting = [scope.spawn(|| post_embed(&server)), scope.spawn(|| post_embed(&server))];
        fake.wait_for(|counts| counts.inside == 2);
        assert_eq!(server.get("/c/probe/config").status, 200);
        fake.release(2);
        assert_eq!(waiting.map(|waiting| waiting.join().expect("answers").status), [200, 200]);
    });
}

#[test]
fn an_embed_that_takes_longer_than_the_request_may_ends_at_the_deadline() {
    let fake = FakeInference::gated();
    let server = start_with(&fake, "[limits]\nwall_ms_max = 200\n", |manifest| manifest);
    let reply = post_embed(&server);
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (504, &json!("deadline")));
    fake.wait_for(|counts| counts.dropped == 1);
    fake.release(1);
    assert_eq!(post_embed(&server).status, 200);
}

#[test]
fn a_client_that_goes_away_takes_its_job_out_of_the_engine() {
    let alone = |manifest: String| manifest.replacen("concurrency_max = 16", "concurrency_max = 1", 1);
    let shared = |manifest: String| manifest;
    for change in [alone as fn(String) -> String, shared] {
        let fake = FakeInference::gated();
        let server = start_with(&fake, "", change);
        let wire = embed_on_a_wire(&server);
        fake.wait_for(|counts| counts.inside == 1);
        drop(wire);
        fake.wait_for(|counts| counts.dropped == 1);
        fake.release(1);
        assert_eq!(post_embed(&server).status, 200);
    }
}

#[test]
fn the_neighbours_of_a_client_that_goes_away_get_their_answers() {
    let fake = FakeInference::gated();
    let server = start(&fake);
    std::thread::scope(|scope| {
        let neighbour = scope.spawn(|| post_embed(&server));
        fake.wait_for(|counts| counts.inside == 1);
        let wire = embed_on_a_wire(&server);
        fake.wait_for(|counts| counts.inside == 2);
        drop(wire);
        fake.wait_for(|counts| counts.dropped == 1);
        fake.release(1);
        assert_eq!(neighbour.join().expect("answers").status, 200);
    });
}

#[test]
fn errors_of_the_engine_reach_the_guest_with_their_code_and_without_their_cause() {
    for (failure, status, code) in [
        (JobError::UnknownModel("fake".into()), 404, "unknown-model"),
        (JobError::NoTokenizer, 400, "unsupported"),
        (JobError::InvalidInput("input 0 is bad".into()), 400, "invalid-input"),
        (JobError::TooLong { index: 0, tokens_max: 256 }, 400, "too-long"),
        (JobError::Overloaded, 429, "overloaded"),
        (JobError::Stopped, 429, "overloaded"),
        (JobError::Failed("secret of the device".into()), 500, "internal"),
    ] {
        let reply = post_embed(&start(&FakeInference::failing(failure.clone())));
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (status, &json!(code)), "{failure:?}");
        assert!(!reply.text().contains("secret"), "{}", reply.text());
    }
}

#[test]
fn tokens_and_the_whole_come_in_one_answer() {
    let fake = Arc::default();
    let reply = start(&fake).post("/c/probe/embed-tokens", &json!({"text": "ab"}));
    let expected = json!({"ok": {
        "model": "fake", "dimensions": 3, "tokens": [2], "values": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], "pooled": [2.0, 0.0, 1.0],
        "usage": [{"tokens": 2, "truncated": false}],
    }});
    assert_eq!((reply.status, reply.json(), fake.counts().jobs), (200, expected, 1));
}

#[test]
fn token_vectors_that_no_host_call_may_carry_are_refused_before_any_work() {
    let fake = Arc::default();
    let server = start_with(&fake, "[limits]\nhostcall_bytes_max = 4096\n", |manifest| manifest);
    let embed = |bytes: usize| server.post("/c/probe/embed-tokens", &json!({"text": "a".repeat(bytes)}));
    let refused = embed(400);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("invalid-input")), "{}", refused.text());
    assert_eq!((fake.counts().jobs, embed(100).status), (0, 200));
}
