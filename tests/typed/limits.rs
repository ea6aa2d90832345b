//! Limits: of time, of bodies, and of what a short text may stand for.

use serde_json::json;

use super::{server, under};

#[test]
fn a_trap_and_a_loop_are_errors_of_their_own_request() {
    let reply = server().post("/c/types/calls/fall", &json!({}));
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (500, &json!("component_failed")));
    let server = under("[limits]\ncpu_ms_max = 200\n");
    let reply = server.post("/c/types/calls/spin", &json!({}));
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (504, &json!("cpu_time")));
    assert_eq!(server.post("/c/types/calls/seven", &json!({})).text(), "7");
}

#[test]
fn a_longer_body_than_the_policy_allows_is_refused() {
    let server = under("[limits]\nrequest_body_bytes_max = 1000\n");
    let reply = server.post("/c/types/echo/text", &json!({"value": "a".repeat(1000)}));
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (413, &json!("body_too_large")));
    assert_eq!(server.post("/c/types/echo/text", &json!({"value": "a".repeat(900)})).status, 200);
}

#[test]
fn long_lists_are_taken_up_to_what_their_values_may_take() {
    let server = under("[limits]\nrequest_body_bytes_max = 20000000\nmemory_bytes_max = 268435456\n");
    let ones = |count: usize| format!("{{\"value\": [{}1]}}", "1,".repeat(count - 1));
    let json = [("content-type", "application/json")];
    let reply = server.send("POST", "/c/types/calls/sum", &json, ones(500_000).as_bytes());
    assert_eq!((reply.status, reply.text().as_str()), (200, "500000"));
    let reply = server.send("POST", "/c/types/calls/sum", &json, ones(9_000_000).as_bytes());
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("invalid_argument")));
    let error = &reply.json()["error"];
    assert!(error["param"].as_str().is_some_and(|path| path.starts_with("$.value[")), "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("send less at once")), "{error}");
}

#[test]
fn a_longer_answer_than_the_policy_allows_is_told() {
    let server = under("[limits]\nresponse_body_bytes_max = 1500\n");
    assert_eq!(server.post("/c/types/calls/long-text", &json!({"length": 900})).body.len(), 902);
    let reply = server.post("/c/types/calls/long-text", &json!({"length": 2000}));
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (502, &json!("answer_too_long")));
}
