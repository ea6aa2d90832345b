//! The `chat` component on a fake engine: what its cases can't show, as it takes an engine that waits or fails.

use std::sync::Arc;

use engine::JobError;
use serde_json::{Value, json};
use tests::{FakeInference, Setup, TestServer, Wire};

fn start(fake: &Arc<FakeInference>) -> TestServer {
    let server = Setup::new(fake.clone()).bundled("chat").start();
    assert_eq!(server.failures, []);
    server
}

fn request(more: Value) -> Value {
    let mut request = json!({"messages": [{"role": "user", "content": "one two"}], "stream": true});
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    request
}

/// The data of each event of a stream.
fn events(text: &str) -> Vec<&str> {
    text.split("\n\n").filter(|event| !event.is_empty()).map(|event| event.strip_prefix("data: ").expect("only data")).collect()
}

fn json_of(event: &str) -> Value {
    serde_json::from_str(event).unwrap_or_else(|error| panic!("{error}: {event}"))
}

fn on_a_wire(server: &TestServer, body: &Value) -> Wire {
    let body = body.to_string();
    let length = format!("content-length: {}", body.len());
    let mut wire = Wire::request(server.address, "POST /v1/chat/completions", &[&length, "connection: close"]);
    wire.send(body.as_bytes());
    wire
}

#[test]
fn a_stream_has_a_role_pieces_a_reason_its_usage_and_a_mark() {
    let server = start(&Arc::default());
    let reply = server.post("/v1/chat/completions", &request(json!({"stream_options": {"include_usage": true}})));
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let text = reply.text();
    let mut events = events(&text);
    assert_eq!(events.pop(), Some("[DONE]"));
    let events: Vec<Value> = events.into_iter().map(json_of).collect();
    let same = ["id", "created", "model", "object", "system_fingerprint"];
    for key in same {
        assert!(events.iter().all(|event| event[key] == events[0][key] && !event[key].is_null()), "{key}: {text}");
    }
    assert_eq!(events[0]["object"], "chat.completion.chunk");
    let choice = |delta: Value, reason: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]);
    let choices: Vec<&Value> = events.iter().map(|event| &event["choices"]).collect();
    let expected = [
        choice(json!({"role": "assistant", "content": ""}), Value::Null),
        choice(json!({"content": "one "}), Value::Null),
        choice(json!({"content": "two"}), Value::Null),
        choice(json!({}), json!("stop")),
        json!([]),
    ];
    assert_eq!(choices, expected.iter().collect::<Vec<_>>());
    assert_eq!(events[4]["usage"], json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}));
    assert!(events[..4].iter().all(|event| event.get("usage").is_none()));
}

#[test]
fn a_completion_streams_its_text() {
    let server = start(&Arc::default());
    let reply = server.post("/v1/completions", &json!({"prompt": "one two", "stream": true, "max_tokens": 1, "logprobs": 1}));
    let text = reply.text();
    let events = events(&text);
    let choice = &json_of(events[0])["choices"][0];
    assert_eq!((&choice["text"], &choice["logprobs"]["tokens"]), (&json!("one "), &json!(["one "])));
    assert_eq!(json_of(events[1])["choices"][0]["finish_reason"], "length");
    assert_eq!(events[2..], ["[DONE]"]);
}

#[test]
fn whole_answers_hold_all_of_the_text() {
    let server = start(&Arc::default());
    let reply =
        server.post("/v1/chat/completions", &request(json!({"stream": false, "logprobs": true, "top_logprobs": 1}))).json();
    assert_eq!(reply["choices"][0]["message"], json!({"role": "assistant", "content": "one two", "refusal": null}));
    assert_eq!(reply["choices"][0]["logprobs"]["content"][1]["top_logprobs"][0]["token"], "two0");
    let reply = server.post("/v1/completions", &json!({"prompt": [3, 4]})).json();
    assert_eq!((&reply["object"], &reply["choices"][0]["text"]), (&json!("text_completion"), &json!("3 4 ")));
}

#[test]
fn events_arrive_while_the_generation_runs() {
    let fake = Arc::new(FakeInference::scripted(["first", "second"]).behind_a_gate());
    let server = start(&fake);
    let mut wire = on_a_wire(&server, &request(json!({})));
    for piece in ["first", "second"] {
        fake.release(1);
        wire.read_until(piece);
        assert_eq!(fake.counts().inside, 1);
    }
    fake.release(1);
    assert!(wire.read_to_end().contains("[DONE]"));
}

#[test]
fn a_client_that_goes_away_stops_its_generation_and_no_other() {
    let fake = Arc::new(FakeInference::scripted(["a", "b"]).behind_a_gate());
    let server = start(&fake);
    let mut gone = on_a_wire(&server, &request(json!({})));
    fake.release(1);
    gone.read_until("\"a\"");
    let mut stays = on_a_wire(&server, &request(json!({})));
    fake.wait_for(|counts| counts.inside == 2);
    drop(gone);
    fake.wait_for(|counts| counts.dropped == 1);
    fake.release(4);
    stays.read_until("\"b\"");
    assert!(stays.read_to_end().contains("[DONE]"));
    assert_eq!(fake.counts().dropped, 1);
}

#[test]
fn a_failure_in_the_middle_is_an_error_event_and_no_good_end() {
    let fake = Arc::new(FakeInference::scripted(["a"]).breaking(JobError::Failed("secret of the device".into())));
    let text = start(&fake).post("/v1/chat/completions", &request(json!({}))).text();
    let events = events(&text);
    assert!(json_of(events[1])["choices"][0]["delta"]["content"] == "a", "{text}");
    let error = &json_of(events[2])["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("server_error"), &json!("internal_error")));
    assert!(events.len() == 3 && !text.contains("[DONE]") && !text.contains("secret"), "{text}");
}

#[test]
fn a_stream_that_takes_too_long_is_no_good_end() {
    let fake = Arc::new(FakeInference::scripted(["a", "b"]).behind_a_gate());
    let policy = std::fs::read_to_string(tests::root().join("policies/chat.toml")).expect("a bundled policy");
    let policy = policy.replacen("wall_ms_max = 600000", "wall_ms_max = 500", 1);
    let server = Setup::new(fake.clone()).bundled("chat").policy("chat", &policy).start();
    let mut wire = on_a_wire(&server, &request(json!({})));
    fake.release(1);
    wire.read_until("\"a\"");
    let answer = wire.read_to_end();
    assert!(!answer.contains("[DONE]") && !answer.contains("finish_reason\":\"stop"), "{answer}");
    fake.wait_for(|counts| counts.dropped == 1);
}

#[test]
fn a_failure_before_the_first_event_has_a_status() {
    for (failure, status, code) in [
        (JobError::ContextOverflow { prompt_tokens: 200, wanted: Some(100), tokens_max: 256 }, 400, "context_length_exceeded"),
        (JobError::Overloaded, 429, "overloaded"),
        (JobError::Unsupported("this model has no chat template".into()), 400, "unsupported"),
    ] {
        let server = start(&FakeInference::failing(failure));
        for stream in [false, true] {
            let reply = server.post("/v1/chat/completions", &request(json!({"stream": stream})));
            assert_eq!((reply.status, &reply.json()["error"]["code"]), (status, &json!(code)), "{}", reply.text());
        }
    }
    let broken = Arc::new(FakeInference::scripted([""; 0]).breaking(JobError::Failed("x".into())));
    assert_eq!(start(&broken).post("/v1/chat/completions", &request(json!({}))).status, 500);
}

#[test]
fn the_hosts_list_of_models_is_there_where_no_component_lists_them() {
    let server = Setup::new(Arc::new(FakeInference::default())).start();
    assert_eq!(server.get("/v1/models").json()["data"][0]["id"], "fake");
    let policy = "schema = 1\n[routes]\nallow = [\"* /v1/*\"]\n[generate]\nmodels = [\"other\"]\n[embed]\nmodels = []\n[rerank]\nmodels = []\n[log]\n";
    let server = Setup::new(Arc::new(FakeInference::default())).bundled("chat").policy("chat", policy).start();
    assert_eq!(server.failures, []);
    let models = server.get("/v1/models").json();
    assert_eq!(
        models,
        json!({"object": "list", "data": [{"id": "other", "object": "model", "created": 0, "owned_by": "tessera"}]})
    );
    assert_eq!(server.get("/v1/models/other").json(), models["data"][0]);
    let reply = server.get("/v1/models/fake");
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!("model_not_found")));
}
