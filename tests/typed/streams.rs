//! What comes bit by bit: server-sent events of values.

use serde_json::{Value, json};
use tests::{Reply, Wire, eventually};

use super::{server, under};

/// The events of an answer: their names, where they have any, and their data.
fn events(reply: &Reply) -> Vec<(String, Value)> {
    let event = |text: &str| {
        let (mut name, mut data) = (String::new(), Value::Null);
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("event", text)) => name = text.into(),
                Some(("data", text)) => data = serde_json::from_str(text).expect("data is JSON"),
                _ => panic!("{line:?} is no line of an event"),
            }
        }
        (name, data)
    };
    reply.text().split("\n\n").filter(|text| !text.is_empty()).map(event).collect()
}

fn stream(function: &str, arguments: &Value) -> Reply {
    let reply = server().post(&format!("/c/types/streams/{function}"), arguments);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")), "{}", reply.text());
    reply
}

fn item(value: Value) -> (String, Value) {
    (String::new(), value)
}

fn done(value: Value) -> (String, Value) {
    ("done".into(), value)
}

#[test]
fn a_stream_comes_whole_and_says_that_it_is_done() {
    let reply = stream("words", &json!({"text": "one two three"}));
    let words = ["one", "two", "three"].map(|word| item(json!(word)));
    assert!(!reply.is_broken);
    assert_eq!(events(&reply), [&words[..], &[done(json!({}))]].concat());
    let reply = stream("count", &json!({"until": 5000}));
    let numbers = events(&reply);
    assert_eq!(numbers.len(), 5001);
    assert!(numbers.iter().zip(1..=5000).all(|(event, number)| *event == item(json!(number))));
    assert_eq!(stream("count", &json!({"until": 0})).text(), "event: done\ndata: {}\n\n");
}

#[test]
fn bytes_come_in_base64() {
    let reply = stream("lists", &json!({"count": 2, "length": 3}));
    assert_eq!(events(&reply), [item(json!("BwcH")), item(json!("BwcH")), done(json!({}))]);
    let reply = stream("bytes", &json!({"text": "hello"}));
    assert_eq!(events(&reply), [item(json!("aGVsbG8=")), done(json!({}))]);
}

#[test]
fn a_stream_tells_what_its_function_says_of_its_end() {
    let reply = stream("story", &json!({"text": "a b", "fails": false}));
    assert_eq!(events(&reply), [item(json!("a")), item(json!("b")), done(json!(2))]);
    assert!(!reply.is_broken);
    let reply = stream("story", &json!({"text": "a b", "fails": true}));
    let last = events(&reply).pop().expect("events");
    assert_eq!((last.0.as_str(), &last.1["error"]["value"]), ("error", &json!("the end is lost")));
    assert!(reply.is_broken, "nobody takes it for complete");
}

#[test]
fn a_stream_that_does_not_begin_is_an_error() {
    assert_eq!(events(&stream("attempt", &json!({"until": 1}))), [item(json!(1)), done(json!({}))]);
    let reply = server().post("/c/types/streams/attempt", &json!({"until": 0}));
    assert_eq!((reply.status, &reply.json()["error"]["value"]), (422, &json!("there is nothing to count")));
}

#[test]
fn a_trap_in_the_middle_breaks_the_stream_off() {
    let reply = stream("fall", &json!({"after": 3}));
    assert!(reply.is_broken);
    let events = events(&reply);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.ends_with(&["error"]) && !names.contains(&"done"), "{names:?}");
    assert_eq!(server().post("/c/types/calls/seven", &json!({})).text(), "7");
}

#[test]
fn a_client_that_leaves_stops_the_stream() {
    let server = under("[limits]\nconcurrency_max = 1\nqueue_max = 0\n");
    let body = json!({"until": u32::MAX}).to_string();
    let length = format!("content-length: {}", body.len());
    let mut client = Wire::request(server.address, "POST /c/types/streams/count", &["content-type: application/json", &length]);
    client.send(body.as_bytes());
    client.read_until("data: 1\n");
    assert_eq!(server.post("/c/types/calls/seven", &json!({})).status, 503, "the stream takes the only place");
    drop(client);
    eventually(|| (server.post("/c/types/calls/seven", &json!({})).status == 200).then_some(()));
}
