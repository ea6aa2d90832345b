//! What calls answer.

use serde_json::{Value, json};

use super::{Rpc, server, text};

fn call(tool: &str, arguments: &Value) -> Value {
    Rpc::new(server()).call(&format!("types__{tool}"), arguments)
}

#[test]
fn a_record_is_the_result_and_another_value_is_in_it() {
    let seven = call("calls__seven", &json!({}));
    assert_eq!((&seven["structuredContent"], text(&seven), &seven["isError"]), (&json!({"result": 7}), "7", &json!(false)));
    let said = call("echo__text", &json!({"value": "é \"quoted\""}));
    assert_eq!((&said["structuredContent"]["result"], text(&said)), (&json!("é \"quoted\""), "é \"quoted\""));
    let points = json!([{"x": 1.5, "y": -2.0}]);
    let said = call("echo__points", &json!({"value": points}));
    assert_eq!(said["structuredContent"]["result"], points);
    assert_eq!(call("calls__nothing", &json!({}))["structuredContent"], json!({"result": null}));
    assert_eq!(call("hello", &json!({"name": "Ada"}))["structuredContent"], json!({"result": "hello Ada"}));
    let everything = crate::typed::everything();
    let said = call("echo__all", &json!({"value": everything}));
    assert_eq!(said["structuredContent"], everything);
    assert_eq!(serde_json::from_str::<Value>(text(&said)).expect("JSON"), everything);
}

#[test]
fn arguments_reach_the_function_as_they_were_written() {
    for number in ["9007199254740993.1", "2.2250738585072011e-308", "123456789.12345678901234567890"] {
        let call = format!(r#"{{"name": "types__echo__f64", "arguments": {{"value": {number}}}}}"#);
        let message = format!(r#"{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {call}}}"#);
        let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        let answer = server().send("POST", "/mcp", &headers, message.as_bytes()).json();
        let (said, meant): (f64, f64) = (text(&answer["result"]).parse().expect("a number"), number.parse().expect("a number"));
        assert_eq!(said.to_bits(), meant.to_bits(), "{number}: {answer}");
    }
    let twice = r#"{"name": "types__echo__u8", "arguments": {"value": 1, "value": 2}}"#;
    let message = format!(r#"{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {twice}}}"#);
    let headers = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
    let answer = server().send("POST", "/mcp", &headers, message.as_bytes()).json();
    assert_eq!(answer["result"]["isError"], true, "{answer}");
}

#[test]
fn arguments_that_do_not_fit_are_told_with_their_place() {
    for (arguments, place) in [
        (json!({"value": [{"x": 1, "y": 2}, {"x": 1, "y": "no"}]}), "$.value[1].y"),
        (json!({"value": [{"x": 1}]}), "$.value[0]"),
        (json!({}), "$"),
        (json!({"value": [], "other": 1}), "$"),
    ] {
        let refused = call("echo__points", &arguments);
        assert_eq!(refused["isError"], true, "{refused}");
        assert!(text(&refused).starts_with(place), "{refused}");
        assert!(refused["structuredContent"].is_null());
    }
}

#[test]
fn what_a_function_says_of_failing_is_an_error_of_its_tool() {
    let divided = call("calls__divide", &json!({"dividend": 7, "the_divisor": 0}));
    assert_eq!((&divided["isError"], text(&divided)), (&json!(true), "7 can't be divided by 0"));
    let failed = call("calls__fail", &json!({"code": "not_found"}));
    assert_eq!((&failed["isError"], text(&failed)), (&json!(true), "it was asked to fail"));
    let value: Value = serde_json::from_str(failed["content"][1]["text"].as_str().expect("more")).expect("JSON");
    assert_eq!(value, json!({"code": "not_found", "message": "it was asked to fail"}));
    let fallen = call("calls__fall", &json!({}));
    assert_eq!((&fallen["isError"], fallen["content"].as_array().map(Vec::len)), (&json!(true), Some(1)), "{fallen}");
}

#[test]
fn an_answer_too_long_for_a_tool_is_an_error_that_says_where_it_is_to_be_had() {
    let long = call("calls__long-text", &json!({"length": 5 << 20}));
    assert_eq!(long["isError"], true);
    assert!(text(&long).contains("POST /c/types/calls/long-text"), "{}", text(&long));
    let counted = call("streams__lists", &json!({"count": 100, "length": 60_000}));
    assert_eq!(counted["isError"], true);
    assert!(text(&counted).contains("POST /c/types/streams/lists"), "{}", text(&counted));
}
