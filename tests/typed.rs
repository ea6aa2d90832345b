//! Typed functions: what a component exports in WIT, called as JSON over HTTP.

mod limits;
mod malformed;
mod openapi;
mod round_trip;
mod streams;

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use tests::{FakeInference, Reply, Setup, TestServer};

/// The one server with the guest `types`, shared by what changes nothing.
fn server() -> &'static TestServer {
    static SERVER: OnceLock<TestServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = TestServer::with_guest("types");
        assert_eq!(server.failures, []);
        server
    })
}

/// The guest `types` under a policy, with a guard beside it.
fn under(policy: &str) -> TestServer {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("types").guest("guard");
    let server = setup.policy("types", &format!("schema = 1\n{policy}")).start();
    assert_eq!(server.failures, []);
    server
}

/// Calls a function of the guest `types`.
fn call(function: &str, arguments: &Value) -> Reply {
    server().post(&format!("/c/types/{function}"), arguments)
}

/// A record with a value in each of its fields.
fn everything() -> Value {
    json!({
        "flag": true, "tiny": -128, "byte": 255, "short": -32768, "word": 65535, "int": i32::MIN, "natural": u32::MAX,
        "long": i64::MIN, "count_of_all": u64::MAX, "ratio": 0.5, "exact": 1e300, "letter": "😀", "text": "a\n\"é\u{2028}",
        "data": "AAEC/w==", "numbers": [-1, 0, 1], "pair": ["x", 7], "place": {"x": 1.5, "y": -2.0}, "paint": "deep_blue",
        "rights": ["may_read", "run"],
        "figures": ["empty", {"circle": 2.5}, {"poly_line": [{"x": 0.0, "y": 1.0}]}],
        "maybe": null, "nested": {"some": null}, "checked": {"err": "no"}, "bare": {"ok": null},
    })
}

#[test]
fn functions_and_what_they_say_of_failing() {
    assert_eq!(call("calls/seven", &json!({})).text(), "7");
    assert_eq!(call("calls/nothing", &json!({})).text(), "null");
    assert_eq!(call("hello", &json!({"name": "Ada"})).json(), json!("hello Ada"), "a function of the world itself");
    assert_eq!(call("hello", &json!({})).json(), json!("hello you"));
    let reply = server().send("POST", "/c/types/calls/seven", &[], b"");
    assert_eq!((reply.status, reply.text().as_str()), (200, "7"), "no body is an empty object");
    assert_eq!(call("calls/divide", &json!({"dividend": 7, "the_divisor": 2})).json(), json!(3));
    assert_eq!(call("calls/divide", &json!({"dividend": 7, "the-divisor": 2})).json(), json!(3), "WIT's own spelling");
    let reply = call("calls/divide", &json!({"dividend": 7, "the_divisor": 0}));
    let error = json!({
        "message": "7 can't be divided by 0", "type": "invalid_request_error", "param": null, "code": "function_failed",
        "value": "7 can't be divided by 0",
    });
    assert_eq!((reply.status, reply.json()), (422, json!({"error": error})));
    assert_eq!(call("calls/is-good", &json!({"value": true})).text(), "null");
    let reply = call("calls/is-good", &json!({"value": false}));
    assert_eq!((reply.status, &reply.json()["error"]["value"]), (422, &Value::Null));
}

#[test]
fn an_error_in_usual_words_has_its_usual_status() {
    let codes = [("denied", 403), ("quota", 429), ("invalid", 400), ("not_found", 404), ("unavailable", 503), ("odd", 422)];
    for (code, status) in codes {
        let reply = call("calls/fail", &json!({"code": code}));
        let value = json!({"code": code, "message": "it was asked to fail"});
        assert_eq!((reply.status, &reply.json()["error"]["value"]), (status, &value));
        assert_eq!(reply.json()["error"]["message"], "it was asked to fail");
    }
}

#[test]
fn only_post_to_an_exact_path_calls_a_function() {
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let reply = server().send(method, "/c/types/calls/seven", &[], b"");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{method}");
    }
    for path in ["/c/types/calls/eight", "/c/types/calls", "/c/types", "/c/types/calls/seven/", "/c/types/things/take"] {
        let reply = server().post(path, &json!({}));
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!("unknown_function")), "{path}");
        assert!(reply.text().contains("/c/types/openapi.json"), "{}", reply.text());
    }
}

#[test]
fn a_component_may_have_functions_and_a_handler() {
    let setup = Setup::new(Arc::new(FakeInference::default())).guest("mixed");
    let server = setup.policy("mixed", "schema = 1\n[routes]\nallow = [\"POST /mixed/hello\"]\n").start();
    assert_eq!(server.failures, []);
    let post = |path: &str, body: &Value| server.post(path, body).text();
    assert_eq!(
        post("/c/mixed/hello", &json!({})),
        "\"from the function\"",
        "an exact path of a function goes before the handler"
    );
    assert_eq!(post("/c/mixed/ops/twice", &json!({"value": 21})), "42");
    assert_eq!(server.get("/c/mixed/hello").status, 405);
    assert_eq!(post("/c/mixed/ops/thrice", &json!({})), "from the handler");
    assert_eq!(post("/mixed/hello", &json!({})), "from the handler", "functions have no other routes");
    assert_eq!(server.get("/c/mixed/openapi.json").json()["openapi"], "3.1.0", "the host's goes before the handler's");
}

#[test]
fn what_has_no_form_in_json_is_told_and_not_served() {
    let services = server().get("/v1/list_service").json();
    let service = &services["services"][0];
    let reason = service["unexposed"]["things/take"].as_str().expect("a reason");
    assert!(reason.contains("resource"), "{reason}");
    assert!(service["functions"].as_array().is_some_and(|functions| functions.contains(&json!("echo/points"))));
    assert_eq!(service["routes"], json!(["* /c/types/*"]));
}

#[test]
fn a_stream_of_what_the_host_can_not_read_is_refused_at_load() {
    let code = component("(type $pair (tuple u32 u32)) (type $pairs (stream $pair))", "(result $pairs)");
    let server = Setup::new(Arc::new(FakeInference::default())).made("odd", &code).start();
    let failure = server.failure("odd");
    assert!(failure.contains("`f` can't be served") && failure.contains("`string`"), "{failure}");
}

/// A component whose only function has this result; it is never called.
fn component(types: &str, result: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func (export "f") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            {types}
            (func $f {result} (canon lift (core func $i "f") (memory $i "memory")))
            (export "f" (func $f)))"#
    );
    wat::parse_str(text).expect("a component")
}

#[test]
fn guards_look_at_arguments_and_answers() {
    let server = under("[guard]\ninput = [\"guard\"]\n");
    let reply = server.post("/c/types/echo/text", &json!({"value": "this is forbidden here"}));
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("content_blocked")));
    let reply = server.post("/c/types/hello", &json!({"name": "555-1234"}));
    assert_eq!(reply.json(), json!("hello [phone]"));
    let server = under("[guard]\noutput = [\"guard\"]\n");
    let reply = server.post("/c/types/hello", &json!({"name": "555-1234"}));
    assert_eq!((reply.status, reply.json()), (200, json!("hello [phone]")));
    let reply = server.post("/c/types/echo/text", &json!({"value": "this is forbidden here"}));
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("content_blocked")));
    let reply = server.post("/c/types/streams/words", &json!({"text": "call 555-1234 or not"}));
    assert!(reply.text().contains("[phone]") && !reply.text().contains("555-1234"), "{}", reply.text());
}
