//! Bodies and streams that don't end, or that nobody reads.

use std::sync::Arc;

use tests::{FakeInference, Wire};

use crate::hostile::{
    Attack, Seen, Stopped, answered, assert_answered, assert_done, assert_neighbour, assert_serves, get, start, start_with,
    with_neighbour,
};

const LIMIT: &str = "limits.wall_ms_max = 500";
const LIFTED: &str = "limits.wall_ms_max = 600000";

#[test]
fn an_answer_that_is_not_finished_breaks_off_at_the_deadline() {
    let path = "response-unfinished?size=2000";
    Attack { path, limit: LIMIT, lifted: LIFTED, stopped: Stopped::BrokenOff, seen: Seen::Status(200) }.run();
}

#[test]
fn an_answer_that_dribbles_breaks_off_at_the_deadline() {
    let path = "response-dribble?size=20"; // two seconds
    Attack { path, limit: LIMIT, lifted: LIFTED, stopped: Stopped::BrokenOff, seen: Seen::Status(200) }.run();
}

#[test]
fn an_answer_that_is_too_long_breaks_off() {
    Attack {
        path: "response-endless?size=4096", // 4 MiB
        limit: "limits.response_body_bytes_max = 1048576",
        lifted: "limits.response_body_bytes_max = 1073741824",
        stopped: Stopped::BrokenOff,
        seen: Seen::Status(200),
    }
    .run();
}

#[test]
fn an_answer_of_the_longest_length_is_whole() {
    let reply = get(&start("limits.response_body_bytes_max = 1048576"), "response-endless?size=1024");
    assert_eq!((reply.status, reply.is_broken, reply.body.len()), (200, false, 1 << 20));
}

/// A request with a long body, of which the client sends what it can.
fn with_unread_body(server: &tests::TestServer, ms: u64) -> String {
    let line = format!("POST /c/hostile/request-unread?size={ms}");
    let mut wire = Wire::request(server.address, &line, &["content-length: 1000000", "connection: close"]);
    wire.send(&[b'x'; 1000]);
    wire.read_to_end()
}

#[test]
fn a_request_whose_body_is_not_read_ends_at_the_deadline() {
    let server = start(LIMIT);
    for answer in with_neighbour(&server, 3, || with_unread_body(&server, 20_000)) {
        let head = answer.lines().next().unwrap_or_default();
        assert!(head.starts_with("HTTP/1.1 504 ") || head.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    assert_serves(&server);
    let answer = with_unread_body(&start(LIFTED), 1000);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"done\""), "{answer}");
}

#[test]
fn a_generation_that_is_not_read_makes_the_device_wait_and_ends_with_its_request() {
    let words: Vec<String> = (0..100).map(|place| format!("{place} ")).collect();
    let fake = Arc::new(FakeInference::scripted(words.clone()));
    let server = start_with(fake.clone(), LIMIT);
    for reply in with_neighbour(&server, 3, || get(&server, "generation-unread?size=20000")) {
        assert_answered(&reply, 504, "deadline");
    }
    fake.wait_for(|counts| counts.inside == 0);
    let counts = fake.counts();
    assert_eq!(counts.dropped, 3, "{counts:?}");
    assert!(counts.pieces < 3 * 50, "the device went on without a reader: {counts:?}");
    assert_serves(&server);

    let fake = Arc::new(FakeInference::scripted(words));
    assert_done(&get(&start_with(fake.clone(), LIFTED), "generation-unread?size=1000"));
    fake.wait_for(|counts| counts.dropped == 1);
}

#[test]
fn requests_beyond_the_queue_are_told_to_come_back() {
    let path = "response-unfinished?size=1500";
    let server = start("limits.concurrency_max = 2\nlimits.queue_max = 2");
    let statuses: Vec<u16> = with_neighbour(&server, 8, || {
        let reply = get(&server, path);
        if reply.status != 200 {
            assert_answered(&reply, 503, "busy");
        }
        reply.status
    });
    let refused = statuses.iter().filter(|status| **status == 503).count();
    assert!((1..=6).contains(&refused), "two are inside and two wait at one time: {statuses:?}");
    assert_eq!(answered(&server, 503), refused as f64);
    assert_serves(&server);

    let server = start("limits.concurrency_max = 2\nlimits.queue_max = 100");
    let statuses = with_neighbour(&server, 8, || get(&server, path).status);
    assert_eq!(statuses, [200; 8], "all of them have their turn");
}

#[test]
fn clients_that_go_away_from_endless_answers_leave_nothing_behind() {
    let server = start("limits.concurrency_max = 4\nlimits.queue_max = 0");
    for _ in 0..20 {
        assert_serves(&server);
        let mut wire = Wire::request(server.address, "GET /c/hostile/response-endless?size=100000000", &[]);
        wire.read_until("xxx");
        drop(wire);
    }
    assert_neighbour(&server);
    assert_serves(&server);
}
