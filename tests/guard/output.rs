//! Answers, and above all streams: wherever they are cut, nobody sees what a guard blocks or redacts.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer, Wire};

use super::{assert_blocked, echo, verdicts};

const OUTPUT: &str = "schema = 1\n[guard]\noutput = [\"guard\"]\nhold_back_chars = 16\n";
pub(super) const EVENTS: &str = "/c/echo/upload?type=text/event-stream";

/// Events of a chat that says these pieces, with all that OpenAI's have.
pub(super) fn chat(pieces: &[&str]) -> String {
    let event = |delta: Value, reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason});
        format!(
            "data: {}\n\n",
            json!({"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})
        )
    };
    let mut text = event(json!({"role": "assistant", "content": ""}), Value::Null);
    text.extend(pieces.iter().map(|piece| event(json!({"content": piece}), Value::Null)));
    text + &event(json!({}), json!("stop")) + "data: {\"choices\":[],\"usage\":{\"total_tokens\":7}}\n\ndata: [DONE]\n\n"
}

/// The data of each event.
pub(super) fn data(text: &str) -> Vec<String> {
    let lines = text.split("\n\n").filter(|event| !event.is_empty() && *event != ":");
    lines.map(|event| event.lines().filter_map(|line| line.strip_prefix("data: ")).collect::<Vec<_>>().join("\n")).collect()
}

/// What the events of a chat say, put together.
pub(super) fn said(events: &[String]) -> String {
    let content = |event: &String| -> Option<String> {
        let event: Value = serde_json::from_str(event).ok()?;
        Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())
    };
    events.iter().filter_map(content).collect()
}

fn send(server: &TestServer, path: &str, body: &str) -> Reply {
    server.send("POST", path, &[], body.as_bytes())
}

/// Every way to cut a text in two between characters, and one piece for each character.
pub(super) fn cuts(text: &str) -> Vec<Vec<&str>> {
    let borders = text.char_indices().map(|(at, _)| at).filter(|at| *at > 0);
    let halves = borders.map(|at| vec![&text[..at], &text[at..]]);
    let single = text.char_indices().map(|(at, character)| &text[at..at + character.len_utf8()]).collect();
    halves.chain([vec![text], single]).collect()
}

#[test]
fn a_streamed_text_is_redacted_wherever_it_is_cut() {
    let server = echo(OUTPUT);
    let text = "Please call 555-1234 today, é, or say secret007: that is all that there is to say about 555-12.";
    let expected = "Please call [phone] today, é, or say [secret]: that is all that there is to say about 555-12.";
    for pieces in cuts(text) {
        let reply = send(&server, EVENTS, &chat(&pieces));
        let events = data(&reply.text());
        assert_eq!((reply.status, said(&events).as_str(), reply.is_broken), (200, expected, false), "{pieces:?}");
        let json = |at: usize| serde_json::from_str::<Value>(&events[at]).expect("JSON");
        assert_eq!(json(0)["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
        let last = events.len() - 1;
        assert_eq!(json(last - 2)["choices"][0]["finish_reason"], "stop", "{events:?}");
        assert_eq!((&json(last - 1)["usage"], events[last].as_str()), (&json!({"total_tokens": 7}), "[DONE]"));
    }
}

#[test]
fn a_streamed_text_is_blocked_wherever_it_is_cut() {
    let server = echo(OUTPUT);
    let before = "It is a long way to the word that is not to be seen by anybody, which is ";
    let text = format!("{before}forbidden here, and what comes after it.");
    for pieces in cuts(&text) {
        let reply = send(&server, EVENTS, &chat(&pieces));
        let events = data(&reply.text());
        assert!(before.starts_with(&said(&events)), "{pieces:?}: {}", reply.text());
        let error: Value = serde_json::from_str(events.last().expect("an event")).expect("JSON");
        assert_eq!(error["error"]["code"], "content_blocked", "{}", reply.text());
        assert!(!reply.text().contains("[DONE]") && !reply.text().contains("\"stop\""), "{}", reply.text());
    }
    assert!(verdicts(&server, "guard", "output", "block") > 100.0);
}

#[test]
fn a_streamed_text_with_nothing_in_it_arrives_event_by_event() {
    let server = echo(OUTPUT);
    let text = "Nothing in this text is anything that a guard would mind: 555, 1234, secret, forbid.";
    for pieces in cuts(text) {
        let sent = chat(&pieces);
        let reply = send(&server, EVENTS, &sent);
        assert_eq!((data(&reply.text()), reply.is_broken), (data(&sent), false));
    }
}

#[test]
fn a_stream_is_read_wherever_its_bytes_are_cut() {
    let server = echo(OUTPUT);
    let events = "data: {\"choices\":[{\"index\":0,\"text\":\"é 555-\"}]}\r\n\r\ndata: {\"choices\":[{\"index\":0,\"text\":\"1234\"}]}\r\n\r\n";
    for cut in 1..events.len() {
        let headers = ["transfer-encoding: chunked", "connection: close"];
        let mut wire = Wire::request(server.address, &format!("POST {EVENTS}"), &headers);
        wire.send_chunk(&events.as_bytes()[..cut]);
        wire.send_chunk(&events.as_bytes()[cut..]);
        wire.send_chunk(b"");
        let answer = wire.read_to_end();
        assert!(answer.contains("\"text\":\"é [phone]\"") && answer.contains("\"text\":\"\""), "{cut}: {answer}");
    }
}

#[test]
fn each_text_of_a_stream_is_one_of_its_own() {
    let server = echo(OUTPUT);
    let choice = |index: u32, key: &str, text: &str| json!({"index": index, "delta": {key: text}});
    let event = |choices: Vec<Value>| format!("data: {}\n\n", json!({"choices": choices}));
    let tools = |text: &str| {
        let call = json!({"index": 0, "id": "a", "function": {"arguments": text}});
        event(vec![json!({"index": 0, "delta": {"tool_calls": [call]}})])
    };
    for halves in [
        [
            event(vec![choice(0, "content", "for"), choice(1, "content", "x")]),
            event(vec![choice(1, "content", "y"), choice(0, "content", "bidden")]),
        ],
        [
            event(vec![choice(0, "reasoning_content", "for")]),
            event(vec![choice(0, "content", "x"), choice(0, "reasoning_content", "bidden")]),
        ],
        [tools("{\"a\": \"for"), tools("bidden\"}")],
        [
            "data: {\"index\":1,\"delta\":{\"text\":\"for\"}}\n\n".into(),
            "data: {\"index\":1,\"delta\":{\"text\":\"bidden\"}}\n\n".into(),
        ],
        ["event: a\ndata: for\n\n".into(), ": comment\n\ndata: bidden\n\n".into()],
        ["data: \"for\"\n\n".into(), "data: \"bidden\"\n\n".into()],
    ] {
        let reply = send(&server, EVENTS, &halves.concat());
        assert!(reply.text().contains("content_blocked") && !reply.text().contains("bidden\""), "{halves:?}: {}", reply.text());
    }
    let apart =
        event(vec![choice(0, "content", "for"), choice(1, "content", "bidden")]) + &event(vec![choice(1, "content", "!")]);
    let reply = send(&server, EVENTS, &apart);
    let events: Vec<Value> = data(&reply.text()).iter().map(|event| serde_json::from_str(event).expect("JSON")).collect();
    let of = |index: u64| -> String {
        let choices = events.iter().flat_map(|event| event["choices"].as_array().expect("a list").clone());
        choices
            .filter(|choice| choice["index"] == index)
            .filter_map(|choice| Some(choice["delta"]["content"].as_str()?.to_owned()))
            .collect()
    };
    assert_eq!((of(0).as_str(), of(1).as_str()), ("for", "bidden!"), "{}", reply.text());
}

#[test]
fn whatever_else_an_event_says_is_checked() {
    let server = echo(OUTPUT);
    for event in [
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"forbidden\"}}]}\n\n",
        "data: {\"forbidden\":1}\n\n",
        "data: {\"a\":[\"\\u0066orbidden\"]}\n\n",
        "event: forbidden\ndata: 1\n\n",
        "id: forbidden\n\n",
        "data: for\ndata: forbidden\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":[\"forbidden\"]}}]}\n\n",
    ] {
        let reply = send(&server, EVENTS, event);
        assert!(reply.text().contains("content_blocked") && !reply.text().contains("forbidden"), "{event}: {}", reply.text());
    }
    let reply = send(&server, EVENTS, ": forbidden\n\nretry: 10\nforbidden: 1\ndata: 1\n\n");
    assert_eq!(reply.text(), ":\n\nretry: 10\ndata: 1\n\n", "nobody needs what a comment says");
    let tokens = "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"logprobs\":{\"tokens\":[\"a\"]}}]}\n\n";
    assert_eq!(
        send(&server, EVENTS, tokens).text(),
        "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"logprobs\":null}]}\n\n"
    );
}

#[test]
fn other_streams_of_text_are_held_back_and_break_off() {
    let server = echo(OUTPUT);
    let filler = "x".repeat(100);
    for kind in ["text/plain", "application/x-ndjson", "text/html; charset=utf-8"] {
        let path = format!("/c/echo/upload?type={}", kind.replace(' ', "").replace(';', "%3b"));
        let line =
            |text: &str| if kind.contains("json") { format!("{}\n", json!({"response": text})) } else { text.to_owned() };
        let reply = send(&server, &path, &[line(&filler), line("call 555-"), line("1234")].concat());
        assert!(
            !reply.is_broken && reply.text().contains("[phone]") && !reply.text().contains("1234"),
            "{kind}: {}",
            reply.text()
        );
        let reply = send(&server, &path, &[line(&filler), line("this is for"), line("bidden"), line(&filler)].concat());
        assert!(reply.is_broken && !reply.text().contains("bidden"), "{kind}: {}", reply.text());
    }
    let reply = server.get("/c/echo/stream?n=1000");
    let expected: String = (0..1000).map(|count| format!("chunk {count}\n")).collect();
    assert_eq!((reply.text(), reply.is_broken), (expected, false));
}

#[test]
fn an_answer_that_can_not_be_read_is_refused_or_passes() {
    let server = echo(OUTPUT);
    for (query, body) in
        [("type=image/png", "x"), ("", "x"), ("type=application/json&encoding=gzip", "{}"), ("type=application/json", "{,}")]
    {
        let reply = send(&server, &format!("/c/echo/upload?{query}"), body);
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("uninspectable_body")), "{query}");
    }
    assert_eq!(verdicts(&server, "-", "output", "uninspectable"), 4.0);
    let server = echo(&format!("{OUTPUT}uninspectable = \"pass\"\n"));
    assert_eq!(server.send("POST", "/c/echo/upload?type=image/png", &[], b"\x89PNG").body, b"\x89PNG");
    assert_blocked(&send(&server, "/c/echo/upload?type=application/json", "{\"a\":\"forbidden\"}"), "answer");
}

#[test]
fn a_component_is_not_asked_for_answers_that_can_not_be_read() {
    let server = echo(OUTPUT);
    let headers = [("accept-encoding", "gzip"), ("range", "bytes=0-1"), ("x-other", "1")];
    let seen = server.send("GET", "/c/echo/headers", &headers, b"").json();
    assert_eq!((&seen["accept-encoding"], &seen["range"], &seen["x-other"]), (&Value::Null, &Value::Null, &json!(["1"])));
}

/// The real chat component under a guard.
fn chatting(fake: &Arc<FakeInference>, hold_back_chars: usize) -> TestServer {
    let policy = std::fs::read_to_string(tests::root().join("policies/chat.toml")).expect("a bundled policy");
    let policy = format!("{policy}\n[guard]\noutput = [\"guard\"]\nhold_back_chars = {hold_back_chars}\n");
    let server = Setup::new(fake.clone()).bundled("chat").guest("guard").policy("chat", &policy).start();
    assert_eq!(server.failures, []);
    server
}

fn question(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "one two"}], "stream": stream, "logprobs": true})
}

#[test]
fn a_chat_is_guarded_token_by_token() {
    let text = "Call 555-1234, or say secret007 to the one who has been asking for it, it is no longer forbid.";
    let characters = text.chars().map(String::from);
    let server = chatting(&Arc::new(FakeInference::scripted(characters)), 16);
    let reply = server.post("/v1/chat/completions", &question(true));
    let expected = "Call [phone], or say [secret] to the one who has been asking for it, it is no longer forbid.";
    assert_eq!(said(&data(&reply.text())), expected);
    assert!(reply.text().ends_with("data: [DONE]\n\n") && !reply.text().contains("top_logprobs"), "{}", reply.text());
    let whole = server.post("/v1/chat/completions", &question(false)).json();
    assert_eq!(
        (&whole["choices"][0]["message"]["content"], &whole["choices"][0]["logprobs"]),
        (&json!(expected), &Value::Null)
    );
    let characters = "So it is what nobody may see, as it is forbidden to all of them.".chars().map(String::from);
    let server = chatting(&Arc::new(FakeInference::scripted(characters)), 16);
    let reply = server.post("/v1/chat/completions", &question(true));
    assert!("So it is what nobody may see, as it is ".starts_with(&said(&data(&reply.text()))), "{}", reply.text());
    assert!(reply.text().contains("content_blocked"));
    assert_blocked(&server.post("/v1/chat/completions", &question(false)), "answer");
}

fn on_a_wire(server: &TestServer, body: &Value) -> Wire {
    let body = body.to_string();
    let length = format!("content-length: {}", body.len());
    let headers = ["content-type: application/json", &length, "connection: close"];
    let mut wire = Wire::request(server.address, "POST /v1/chat/completions", &headers);
    wire.send(body.as_bytes());
    wire
}

#[test]
fn no_more_than_the_window_is_held_back() {
    let fake = Arc::new(FakeInference::scripted(["0123456789", "abcdefghij", "ABCDEFGHIJ", "end"]).behind_a_gate());
    let server = chatting(&fake, 10);
    let mut wire = on_a_wire(&server, &question(true));
    fake.release(2);
    wire.read_until("0123456789");
    fake.release(1);
    wire.read_until("abcdefghij");
    assert_eq!(fake.counts().inside, 1, "it is still being written");
    fake.release(2);
    let rest = wire.read_to_end();
    assert!(rest.contains("ABCDEFGHIJ") && rest.contains("end") && rest.contains("[DONE]"), "{rest}");
}

#[test]
fn a_block_stops_the_work_behind_the_answer() {
    let fake = Arc::new(FakeInference::scripted(["forbidden and more", "x", "y"]).behind_a_gate());
    let server = chatting(&fake, 10);
    let wire = on_a_wire(&server, &question(true));
    fake.release(1);
    assert!(wire.read_to_end().contains("content_blocked"));
    fake.wait_for(|counts| counts.dropped == 1);
}

#[test]
fn a_client_that_goes_away_stops_the_work_behind_a_guarded_answer() {
    let fake = Arc::new(FakeInference::scripted(["a", "b"]).behind_a_gate());
    let server = chatting(&fake, 100);
    let wire = on_a_wire(&server, &question(true));
    fake.release(1);
    fake.wait_for(|counts| counts.inside == 1 && counts.pieces == 1);
    drop(wire);
    fake.wait_for(|counts| counts.dropped == 1);
}

#[test]
fn an_answer_that_breaks_off_is_no_good_end() {
    let fake = Arc::new(FakeInference::scripted(["a"]).breaking(engine::JobError::Failed("x".into())));
    let text = chatting(&fake, 16).post("/v1/chat/completions", &question(true)).text();
    assert!(text.contains("internal_error") && !text.contains("[DONE]"), "{text}");
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("naughty").guest("guard");
    let server = setup.policy("naughty", OUTPUT).start();
    for path in ["/c/naughty/stream-then-trap", "/c/naughty/stream-unfinished"] {
        let reply = server.get(path);
        assert!(reply.is_broken || reply.status >= 400, "{path}: {} {}", reply.status, reply.text());
    }
}
