//! Heads of answers that are no HTTP, or too much of it; and of requests.

use crate::hostile::{answered, assert_answered, assert_done, assert_serves, exchange, get, start, with_neighbour};

const LIFTED: &str = "limits.header_bytes_max = 16777216";

/// An answer whose head is too long for a limit and goes out whole without it.
#[track_caller]
fn assert_too_long(path: &str, limit: &str) {
    let server = start(limit);
    for reply in with_neighbour(&server, 3, || get(&server, path)) {
        assert_answered(&reply, 502, "bad_response");
    }
    assert_eq!(answered(&server, 502), 3.0);
    assert_serves(&server);
    // More than most clients take.
    let answer = exchange(&start(LIFTED), path);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"done\""), "{answer:.300}");
}

#[test]
fn many_headers_are_a_bad_response() {
    assert_too_long("headers-many?size=1000", "limits.header_bytes_max = 8192");
}

#[test]
fn a_header_of_a_megabyte_is_a_bad_response() {
    assert_too_long("header-long?size=1000000", "limits.header_bytes_max = 16384");
}

#[test]
fn more_headers_than_a_head_can_hold_are_a_bad_response_under_any_policy() {
    let server = start(LIFTED);
    for reply in with_neighbour(&server, 3, || get(&server, "headers-many?size=100000")) {
        assert_answered(&reply, 502, "bad_response");
    }
    assert_serves(&server);
}

#[test]
fn what_no_header_may_have_is_a_bad_response_under_any_policy() {
    let server = start(LIFTED);
    for place in 0..8 {
        let path = format!("header-invalid?size={place}");
        for answer in with_neighbour(&server, 3, || exchange(&server, &path)) {
            assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("bad_response"), "{path}: {answer}");
            assert!(!answer.contains("stolen"), "{path}: {answer}");
        }
    }
    assert_eq!(get(&server, "header-invalid?size=8").status, 404, "there are eight of them");
    assert_serves(&server);
}

#[test]
fn a_status_that_is_none_is_a_bad_response_under_any_policy() {
    let server = start(LIFTED);
    for status in [0, 1, 99, 100, 101, 103, 199, 600, 999, 65535] {
        for reply in with_neighbour(&server, 3, || get(&server, &format!("status?size={status}"))) {
            assert_answered(&reply, 502, "bad_response");
        }
    }
    assert_eq!(answered(&server, 502), 30.0);
    assert_done(&get(&server, "status?size=200"));
}

#[test]
fn a_status_without_a_body_has_none_whatever_the_guest_sends() {
    let server = start("");
    for status in [204, 304] {
        let answer = exchange(&server, &format!("status?size={status}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(!answer.contains("transfer-encoding") && !answer.contains("achieved"), "{answer}");
    }
}

#[test]
fn headers_of_the_connection_are_the_hosts() {
    let answer = exchange(&start(""), "headers-of-the-connection");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 ") && head.contains("\r\nx-kept: 1"), "{head}");
    for dropped in ["transfer-encoding", "keep-alive", "upgrade", "trailer", "\r\nte:"] {
        assert!(!head.contains(dropped), "{dropped}: {head}");
    }
    let lengths: Vec<&str> = head.lines().filter(|line| line.starts_with("content-length")).collect();
    assert_eq!(lengths, [format!("content-length: {}", body.len())]);
}

#[test]
fn a_request_whose_head_is_too_long_is_refused() {
    let value = "x".repeat(10_000);
    let send = |lines: &str| start(lines).send("GET", "/c/hostile/nothing", &[("x-long", &value)], b"");
    assert_answered(&send("limits.header_bytes_max = 8192"), 431, "headers_too_large");
    assert_done(&send("limits.header_bytes_max = 32768"));
}
