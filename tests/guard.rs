//! Guards: what they let pass, change and block on the way into components and out of them, and that nobody gets around them.

mod evasion;
mod failure;
mod guardrails;
mod output;

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer, eventually};

/// Both ways guarded, with little held back.
const BOTH: &str = "schema = 1\n[guard]\ninput = [\"guard\"]\noutput = [\"guard\"]\nhold_back_chars = 16\n";

/// The guest `echo` under a policy, with the guard beside it.
pub(crate) fn echo(policy: &str) -> TestServer {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo").guest("guard");
    let server = setup.policy("echo", policy).start();
    assert_eq!(server.failures, []);
    server
}

/// How often a guard of `echo` said so.
pub(crate) fn verdicts(server: &TestServer, guard: &str, direction: &str, verdict: &str) -> f64 {
    let labels = format!("component=\"echo\",guard=\"{guard}\",direction=\"{direction}\",verdict=\"{verdict}\"");
    server.metric(&format!("tessera_guard_verdicts_total{{{labels}}}"))
}

/// Fails unless the guard has blocked it, and nothing of the text is told.
#[track_caller]
pub(crate) fn assert_blocked(reply: &Reply, thing: &str) {
    let error = &reply.json()["error"];
    assert_eq!((reply.status, &error["code"]), (400, &json!("content_blocked")), "{}", reply.text());
    let message = error["message"].as_str().expect("a message");
    let reasons = ["banned-word", "other"].map(|reason| format!("The {thing} was blocked by the guard `guard`: {reason}."));
    assert!(reasons.iter().any(|expected| message == expected), "{message}");
    assert!(!reply.text().contains("forbidden"));
}

#[test]
fn what_a_guard_allows_passes_as_it_was() {
    let server = echo(BOTH);
    let body = json!({"z": "a plain text", "a": [1, 2.5, null, true, {"é": "\u{2028}\n"}], "empty": ""});
    let reply = server.post("/c/echo/echo", &body);
    assert_eq!((reply.status, reply.json()), (200, body));
    let ordered = "{\"z\":\"a\",\"a\":{\"c\":1,\"b\":2}}";
    let reply = server.send("POST", "/c/echo/upload?type=application/json", &[], ordered.as_bytes());
    assert_eq!((reply.status, reply.text().as_str()), (200, ordered), "keys keep their order");
    assert_eq!(server.get("/c/echo/hello").text(), "hello");
    assert!(verdicts(&server, "guard", "input", "allow") > 0.0 && verdicts(&server, "guard", "output", "allow") > 0.0);
}

#[test]
fn the_component_sees_a_request_without_what_a_guard_redacts() {
    let server = echo("schema = 1\n[guard]\ninput = [\"guard\"]\n");
    let body = json!({"to": "call 555-1234 or 555-9876", "deep": [{"x": "secret007é"}], "other": "555"});
    let seen = server.post("/c/echo/echo", &body).json();
    assert_eq!(seen, json!({"to": "call [phone] or [phone]", "deep": [{"x": "[secret]é"}], "other": "555"}));
    assert_eq!(verdicts(&server, "guard", "input", "redact"), 1.0, "the texts of a body are checked together");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let reply = server.send("POST", "/c/echo/upload", &form, b"a=1+555-1234&b=%C3%A9");
    assert_eq!(reply.text(), "a=1+%5Bphone%5D&b=%C3%A9");
    let reply = server.send("POST", "/c/echo/upload", &[("content-type", "text/plain")], b"call 555-1234");
    assert_eq!(reply.text(), "call [phone]");
}

#[test]
fn the_client_sees_an_answer_without_what_a_guard_redacts() {
    let server = echo("schema = 1\n[guard]\noutput = [\"guard\"]\n");
    let body = json!({"choices": [{"message": {"content": "call 555-1234"}, "logprobs": {"content": [{"token": "555"}]}}]});
    let reply = server.post("/c/echo/echo", &body);
    let seen = json!({"choices": [{"message": {"content": "call [phone]"}, "logprobs": null}]});
    assert_eq!((reply.status, reply.json()), (200, seen));
    assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
}

#[test]
fn what_a_guard_blocks_reaches_nobody() {
    let server = echo("schema = 1\n[guard]\ninput = [\"guard\"]\n");
    let body = json!({"a": "this is forbidden here"});
    assert_blocked(&server.post("/c/echo/echo", &body), "request");
    assert_eq!(verdicts(&server, "guard", "input", "block"), 1.0);
    let server = echo("schema = 1\n[guard]\noutput = [\"guard\"]\n");
    assert_blocked(&server.post("/c/echo/echo", &body), "answer");
    assert_eq!(verdicts(&server, "guard", "output", "block"), 1.0);
}

#[test]
fn what_is_in_two_parts_of_one_message_is_found() {
    let server = echo("schema = 1\n[guard]\ninput = [\"guard\"]\n");
    let parts = |texts: &[&str]| {
        let parts: Vec<Value> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
        json!({"messages": [{"role": "user", "content": parts}]})
    };
    assert_blocked(&server.post("/c/echo/echo", &parts(&["for", "bid", "den"])), "request");
    let seen = server.post("/c/echo/echo", &parts(&["call 555", "-12", "34 now", "secret001"])).json();
    assert_eq!(seen, parts(&["call [phone]", "", " now", "[secret]"]));
}

#[test]
fn a_redaction_that_can_not_be_made_blocks() {
    let server = echo("schema = 1\n[guard]\ninput = [\"guard\"]\n");
    for (path, body) in [
        ("/c/echo/echo", json!({"555-1234": 1})),
        ("/c/echo/echo?tel=555-1234", json!({})),
        ("/c/echo/555-1234", json!({})),
        ("/c/echo/echo", json!({"arguments": "{\"tel\": \"\\u0035\\u0035\\u0035-1234\"}"})),
    ] {
        let reply = server.post(path, &body);
        assert_blocked(&reply, "request");
        assert!(reply.text().contains("other"), "{path}");
    }
}

#[test]
fn guards_see_what_the_one_before_them_left() {
    let policy = "schema = 1\n[guard]\ninput = [\"guard\", \"bad-guard\"]\n";
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo").guest("guard").guest("bad-guard");
    let server = setup.policy("echo", policy).start();
    let reply = server.post("/c/echo/echo", &json!({"a": "call 555-1234 now"}));
    assert_eq!(reply.json(), json!({"a": "call [phone] now"}));
    let reply = server.post("/c/echo/echo", &json!({"a": "declared"}));
    let message = "The request was blocked by the guard `bad-guard`: declared.";
    assert_eq!((reply.status, &reply.json()["error"]["message"]), (400, &json!(message)));
    assert_blocked(&server.post("/c/echo/echo", &json!({"a": "declared forbidden"})), "request");
}

#[test]
fn routes_that_the_policy_excepts_are_not_checked_and_no_others() {
    let policy = format!("{BOTH}except = [\"POST /upload\"]\n");
    let server = echo(&policy);
    assert_eq!(server.send("POST", "/c/echo/upload", &[], b"forbidden \xff").body, b"forbidden \xff");
    let text = [("content-type", "text/plain")];
    for (method, path) in
        [("PUT", "/c/echo/upload"), ("POST", "/c/echo/upload/"), ("POST", "/c/echo//upload"), ("POST", "/c/echo/echo")]
    {
        assert_blocked(&server.send(method, path, &text, b"forbidden"), "request");
    }
}

#[test]
fn a_guard_alone_serves_no_http_and_one_with_a_handler_does() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("guard").guest("bad-guard");
    let server = setup.start();
    assert_eq!(server.failures, []);
    assert_eq!((server.get("/c/guard/").status, server.get("/c/bad-guard/hello").text()), (404, "hello".into()));
    let services = server.get("/v1/list_service").json();
    let routes = |name: &str| {
        let services = services["services"].as_array().expect("a list");
        services.iter().find(|service| service["name"] == name).expect("is listed")["routes"].clone()
    };
    assert_eq!((routes("guard"), routes("bad-guard")), (json!([]), json!(["* /c/bad-guard/*"])));
}

#[test]
fn a_component_that_is_not_what_it_says_does_not_load() {
    let cut = |manifest: String| manifest.replacen("[guard]\nreasons = [\"banned-word\"]", "", 1);
    let add = |manifest: String| manifest + "[guard]\n";
    let guarded = "schema = 1\n[guard]\ninput = [\"guard\"]\n";
    let setup = Setup::new(Arc::new(FakeInference::default()));
    let setup = setup.guest_as("silent", "guard", cut).guest_as("boasting", "echo", add);
    let server = setup.guest("guard").policy("guard", guarded).start();
    assert!(server.failure("silent").contains("add to component.toml\n\n[guard]"), "{}", server.failure("silent"));
    assert!(server.failure("boasting").contains("does not export `tessera:guard/guard`"), "{}", server.failure("boasting"));
    assert!(server.failure("guard").contains("nobody guards a guard"), "{}", server.failure("guard"));
}

#[test]
fn a_policy_that_names_a_guard_counts_while_the_server_runs() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("echo").guest("guard");
    let files = ["echo", "guard"].map(|name| setup.config.policies.join(format!("{name}.toml")));
    let server = setup.start();
    let status = || server.post("/c/echo/echo", &json!({"a": "forbidden"})).status;
    assert_eq!(status(), 200);
    std::fs::write(&files[0], "schema = 1\n[guard]\ninput = [\"guard\"]\n").expect("writes");
    eventually(|| (status() == 400).then_some(()));
    // A guard keeps the policy that it had where its new one would have it guarded.
    std::fs::write(&files[1], "schema = 1\n[quota]\nrequests_per_min_max = 0\n[guard]\ninput = [\"guard\"]\n").expect("writes");
    std::fs::write(&files[0], "schema = 1\n").expect("writes");
    eventually(|| (status() == 200).then_some(()));
    std::fs::write(&files[0], "schema = 1\n[guard]\ninput = [\"guard\"]\n").expect("writes");
    eventually(|| (status() == 400).then_some(()));
}
