//! `tessera:handler`: bodies in and out, whole and streamed, their limits, and what a guest can't make of them.

use std::sync::Arc;

use serde_json::json;
use tests::{FakeInference, Reply, Setup, TestServer, Wire};

/// The mark at the end of a complete chunked body.
const CLEAN_END: &str = "\r\n0\r\n\r\n";

fn start(guest: &str, limits: &str) -> TestServer {
    let policy = format!("schema = 1\n[log]\n[limits]\n{limits}");
    let server = Setup::new(Arc::new(FakeInference::default())).guest(guest).policy(guest, &policy).start();
    assert_eq!(server.failures, []);
    server
}

/// Bytes that differ from place to place.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|place| u8::try_from(place % 251).expect("is below 251")).collect()
}

fn assert_json_error(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (status, &json!(code)));
    assert!(reply.json()["error"]["message"].is_string());
}

#[test]
fn a_body_of_any_length_comes_back_as_it_was() {
    let server = start("echo", "");
    for length in [0, 1, 256 << 10, (256 << 10) + 1, 1 << 20, 2 << 20] {
        let reply = server.send("POST", "/c/echo/upload", &[], &bytes(length));
        assert_eq!((reply.status, reply.is_broken), (200, false), "{length} bytes");
        assert!(reply.body == bytes(length), "{length} bytes came back as {}", reply.body.len());
    }
}

#[test]
fn a_body_is_streamed_both_ways_while_the_client_still_sends() {
    let server = start("echo", "");
    let mut wire = Wire::request(server.address, "POST /c/echo/upload", &["transfer-encoding: chunked", "connection: close"]);
    for piece in ["first", "second", "third"] {
        wire.send_chunk(piece.as_bytes());
        wire.read_until(piece);
    }
    wire.send_chunk(b"");
    assert!(wire.read_to_end().ends_with(CLEAN_END));
}

#[test]
fn a_stream_of_many_pieces_arrives_whole_and_in_order() {
    let reply = start("echo", "").get("/c/echo/stream?n=5000");
    let expected: String = (0..5000).map(|place| format!("chunk {place}\n")).collect();
    assert!(!reply.is_broken && reply.text() == expected, "{} bytes came", reply.body.len());
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn the_guest_sees_what_follows_its_name_and_the_clients_headers() {
    let server = start("echo", "");
    assert_eq!(server.get("/c/echo/stream/?n=1").text(), "chunk 0\n");
    assert_eq!(server.get("/c/echo/stream?n=-1").status, 400);
    let headers = server.send("GET", "/c/echo/headers", &[("x-a", "1"), ("x-a", "2"), ("X-B", "ü")], b"").json();
    assert_eq!((&headers["x-a"], &headers["x-b"]), (&json!(["1", "2"]), &json!(["ü"])));
}

#[test]
fn a_body_beyond_the_limit_is_refused_by_its_announced_length() {
    let server = start("echo", "request_body_bytes_max = 1000\n");
    assert_eq!(server.send("POST", "/c/echo/upload", &[], &bytes(1000)).status, 200);
    assert_json_error(&server.send("POST", "/c/echo/upload", &[], &bytes(1001)), 413, "body_too_large");
}

#[test]
fn a_body_beyond_the_limit_breaks_off_where_its_length_was_not_announced() {
    let server = start("echo", "request_body_bytes_max = 1000\n");
    let mut wire = Wire::request(server.address, "POST /c/echo/upload", &["transfer-encoding: chunked"]);
    wire.send_chunk(&[b'x'; 900]);
    wire.read_until("xxx");
    wire.send_chunk(&[b'x'; 900]);
    let answer = wire.read_to_end();
    assert!(!answer.ends_with(CLEAN_END), "{answer}");
    assert_eq!(server.get("/c/echo/hello").text(), "hello");
}

#[test]
fn a_json_body_beyond_the_limit_is_answered_413_where_its_length_was_not_announced() {
    let server = start("echo", "request_body_bytes_max = 1000\n");
    let mut wire = Wire::request(server.address, "POST /c/echo/echo", &["transfer-encoding: chunked", "connection: close"]);
    wire.send_chunk(&[b' '; 2000]);
    wire.send_chunk(b"");
    let answer = wire.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\"error\""), "{answer}");
}

#[test]
fn a_body_that_does_not_arrive_in_time_is_answered_408() {
    let server = start("echo", "wall_ms_max = 200\n");
    let mut wire = Wire::request(server.address, "POST /c/echo/echo", &["content-length: 10"]);
    wire.send(b"12345");
    wire.read_until("body_timeout");
    wire.read_until("}");
    assert!(wire.read_to_end().starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_stream_that_is_not_finished_in_time_breaks_off() {
    let server = start("echo", "wall_ms_max = 500\n");
    let mut wire = Wire::request(server.address, "POST /c/echo/upload", &["transfer-encoding: chunked"]);
    wire.send_chunk(b"first");
    wire.read_until("first");
    let answer = wire.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.ends_with(CLEAN_END), "{answer}");
    assert_eq!(server.get("/c/echo/hello").text(), "hello");
}

#[test]
fn more_requests_than_a_component_may_have_inside_are_told_to_come_back() {
    let server = start("echo", "concurrency_max = 1\n");
    let mut wire = Wire::request(server.address, "POST /c/echo/upload", &["transfer-encoding: chunked"]);
    wire.send_chunk(b"first");
    wire.read_until("first");
    let reply = server.get("/c/echo/hello");
    assert_json_error(&reply, 503, "busy");
    assert_eq!(reply.header("retry-after"), Some("1"));
    // The client goes away in the middle of its stream: its place is free at the next step.
    drop(wire);
    let is_free = |reply: Reply| (reply.status != 503).then_some(reply.text());
    assert_eq!(tests::eventually(|| is_free(server.get("/c/echo/hello"))), "hello");
}

#[test]
fn a_guest_that_fails_in_its_body_never_gives_it_a_clean_end() {
    let server = TestServer::with_guest("naughty");
    for path in ["/c/naughty/stream-then-trap", "/c/naughty/stream-unfinished"] {
        let answer = Wire::request(server.address, &format!("GET {path}"), &[]).read_to_end();
        // What came before the failure may still have been on its way out: then there is no answer at all.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert!(!answer.ends_with(CLEAN_END) && !answer.contains("content-length"), "{path}: {answer}");
        assert_eq!(server.get("/c/naughty/nothing").status, 404);
    }
}

#[test]
fn a_status_that_is_none_is_a_bad_response() {
    assert_json_error(&TestServer::with_guest("naughty").get("/c/naughty/bad-status"), 502, "bad_response");
}
