//! `tessera:log`: what passes the limits. The lines themselves are tested where they are made, in `runtime`; from outside one
//! sees which were dropped, by the metric.

use std::sync::Arc;

use serde_json::json;
use tests::{FakeInference, Setup, TestServer};

fn start(log: &str) -> TestServer {
    let policy = format!("schema = 1\n[embed]\nmodels = []\n[rerank]\nmodels = []\n[config]\n[log]\n{log}");
    let server = Setup::new(Arc::new(FakeInference::default())).guest("probe").policy("probe", &policy).start();
    assert_eq!(server.failures, []);
    server
}

fn write(server: &TestServer, level: &str, message: &str) {
    let reply = server.post("/c/probe/log", &json!({"level": level, "message": message}));
    assert!(reply.status < 300, "{}", reply.text());
}

fn dropped(server: &TestServer) -> f64 {
    server.metric("tessera_component_log_lines_dropped_total{component=\"probe\"}")
}

#[test]
fn lines_within_the_limits_are_written() {
    let server = start("");
    for level in ["debug", "info", "warn", "error"] {
        write(&server, level, "a usual line");
    }
    assert_eq!(dropped(&server), 0.0);
}

#[test]
fn lines_beyond_a_minutes_bytes_are_dropped_and_counted() {
    let server = start("bytes_per_min_max = 10\n");
    write(&server, "info", "123456");
    write(&server, "info", "123456");
    assert_eq!(dropped(&server), 1.0);
    write(&server, "info", "1234");
    assert_eq!(dropped(&server), 1.0, "what fits is still written");
    write(&server, "info", "1");
    assert_eq!(dropped(&server), 2.0);
}

#[test]
fn lines_below_the_level_cost_nothing() {
    let server = start("level_min = \"warn\"\nbytes_per_min_max = 5\n");
    write(&server, "debug", "123456");
    write(&server, "info", "123456");
    write(&server, "warn", "12345");
    assert_eq!(dropped(&server), 0.0);
    write(&server, "error", "1");
    assert_eq!(dropped(&server), 1.0);
}

#[test]
fn a_control_character_counts_as_long_as_it_is_escaped() {
    let server = start("bytes_per_min_max = 9\n");
    write(&server, "info", "\u{1b}\n\u{1b}"); // `\u{1b}\n\u{1b}` is 14 bytes
    assert_eq!(dropped(&server), 1.0);
    write(&server, "info", "abcdefghi");
    assert_eq!(dropped(&server), 1.0);
}

#[test]
fn a_long_line_is_cut_before_it_is_counted() {
    let server = start("line_bytes_max = 5\nbytes_per_min_max = 8\n");
    write(&server, "info", &"x".repeat(100_000)); // five bytes and the three of an ellipsis
    assert_eq!(dropped(&server), 0.0);
    write(&server, "info", "1");
    assert_eq!(dropped(&server), 1.0);
}

#[test]
fn a_component_that_logs_without_end_is_held_to_its_limit_and_answers() {
    let server = TestServer::with_guest("naughty");
    let reply = server.get("/c/naughty/sleepless");
    assert_eq!((reply.status, reply.text().as_str()), (200, "logged a million lines"));
    let dropped = server.metric("tessera_component_log_lines_dropped_total{component=\"naughty\"}");
    assert!((990_000.0..1_000_000.0).contains(&dropped), "64 KiB are a few thousand lines, not {}", 1e6 - dropped);
}
