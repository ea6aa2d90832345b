//! What does not fit is refused with its place, whatever it is.

use serde_json::{Value, json};

use super::{call, everything, server};

#[track_caller]
fn assert_refused(function: &str, text: &str, path: &str, words: &str) {
    let reply =
        server().send("POST", &format!("/c/types/{function}"), &[("content-type", "application/json")], text.as_bytes());
    let shown: String = text.chars().take(200).collect();
    assert_eq!(reply.status, 400, "{function} {shown}: {}", reply.text());
    let error = &reply.json()["error"];
    assert_eq!((&error["code"], &error["param"]), (&json!("invalid_argument"), &json!(path)), "{function} {shown}: {error}");
    let message = error["message"].as_str().expect("a message");
    assert!(message.starts_with(path) && message.contains(words) && message.len() < 700, "{function} {shown}: {message}");
}

#[test]
fn a_value_of_another_type_is_refused_where_it_stands() {
    let wrong = [json!(null), json!(true), json!(1), json!(1.5), json!("ab"), json!(["a"]), json!({"a": 1})];
    let takes = |function: &str, value: &Value| match function {
        "bool" => value.is_boolean(),
        "s8" | "u8" | "s16" | "u16" | "s32" | "u32" | "s64" | "u64" => value.is_u64(),
        "f32" | "f64" => value.is_number(),
        "text" => value.is_string(),
        "maybe" => value.is_u64() || value.is_null(),
        "nested" => value.is_null(),
        _ => false,
    };
    let functions = [
        "bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "text", "bytes", "numbers", "pair",
        "points", "paint", "rights", "figure", "maybe", "nested", "results", "all",
    ];
    let mut refused = 0;
    for function in functions {
        for value in wrong.iter().filter(|value| !takes(function, value)) {
            let reply = call(&format!("echo/{function}"), &json!({"value": value}));
            let error = &reply.json()["error"];
            assert_eq!((reply.status, &error["code"]), (400, &json!("invalid_argument")), "{function} {value}: {error}");
            assert!(error["param"].as_str().is_some_and(|path| path.starts_with("$.value")), "{function} {value}: {error}");
            refused += 1;
        }
    }
    assert!(refused > 130, "{refused}");
}

#[test]
fn the_place_of_what_does_not_fit_is_told() {
    for (function, text, path, words) in [
        ("echo/u8", r#"{"value": 256}"#, "$.value", "from 0 to 255 (u8), found 256"),
        ("echo/u8", r#"{"value": -1}"#, "$.value", "found -1"),
        ("echo/u8", r#"{"value": 1.5}"#, "$.value", "found 1.5"),
        ("echo/s64", r#"{"value": 9223372036854775808}"#, "$.value", "found 9223372036854775808"),
        ("echo/u64", r#"{"value": 18446744073709551616}"#, "$.value", "found 18446744073709551616"),
        ("echo/u64", r#"{"value": "18446744073709551616"}"#, "$.value", "found a string"),
        ("echo/f32", r#"{"value": 1e39}"#, "$.value", "(f32), found 1"),
        ("echo/f64", r#"{"value": 1e400}"#, "$.value", "found 1e400"),
        ("echo/f64", r#"{"value": "NaN"}"#, "$.value", "found a string"),
        ("echo/f64", r#"{"value": NaN}"#, "$.value", "no JSON"),
        ("echo/char", r#"{"value": "ab"}"#, "$.value", "one character"),
        ("echo/char", r#"{"value": ""}"#, "$.value", "an empty string"),
        ("echo/text", r#"{"value": "\ud800"}"#, "$.value", "no JSON"),
        ("echo/bytes", r#"{"value": "A"}"#, "$.value", "base64"),
        ("echo/bytes", r#"{"value": "AA"}"#, "$.value", "base64"),
        ("echo/bytes", r#"{"value": [1, 2]}"#, "$.value", "found a list"),
        ("echo/numbers", r#"{"value": [1, 2, "3", 4]}"#, "$.value[2]", "found a string"),
        ("echo/pair", r#"{"value": ["x"]}"#, "$.value", "a list of 2 items"),
        ("echo/pair", r#"{"value": ["x", 1, 2]}"#, "$.value", "a longer one"),
        ("echo/points", r#"{"value": [{"x": 1, "y": 2}, {"x": "1", "y": 2}]}"#, "$.value[1].x", "found a string"),
        ("echo/points", r#"{"value": [{"x": 1}]}"#, "$.value[0].y", "is missing"),
        ("echo/points", r#"{"value": [{"x": 1, "y": 2, "z": 3}]}"#, "$.value[0].z", "not known; there are [x, y]"),
        ("echo/points", r#"{"value": [{"x": 1, "y": 2, "x": 3}]}"#, "$.value[0].x", "twice"),
        ("echo/paint", r#"{"value": "green"}"#, "$.value", "one of `deep_blue`, `red`, found `green`"),
        ("echo/rights", r#"{"value": ["run", "fly"]}"#, "$.value[1]", "found `fly`"),
        ("echo/rights", r#"{"value": ["run", "run"]}"#, "$.value[1]", "twice"),
        ("echo/rights", r#"{"value": [1]}"#, "$.value[0]", "string"),
        ("echo/figure", r#"{"value": "circle"}"#, "$.value", "carries a value"),
        ("echo/figure", r#"{"value": {"empty": 1}}"#, "$.value.empty", "carries no value"),
        ("echo/figure", r#"{"value": {"square": 1}}"#, "$.value", "found `square`"),
        ("echo/figure", r#"{"value": {"circle": 1, "empty": null}}"#, "$.value", "several keys"),
        ("echo/figure", r#"{"value": {}}"#, "$.value", "an empty object"),
        ("echo/figure", r#"{"value": {"poly_line": [{"x": 1, "y": null}]}}"#, "$.value.poly_line[0].y", "found null"),
        ("echo/nested", r#"{"value": 7}"#, "$.value", "`some`"),
        ("echo/nested", r#"{"value": {"some": "7"}}"#, "$.value.some", "found a string"),
        ("echo/results", r#"{"value": [{"maybe": 1}]}"#, "$.value[0]", "found `maybe`"),
        ("calls/divide", r#"{"dividend": 1}"#, "$.the_divisor", "is missing"),
        ("calls/divide", r#"{"dividend": 1, "the_divisor": 1, "the-divisor": 1}"#, r#"$["the-divisor"]"#, "twice"),
        ("calls/seven", r#"{"a b\n": 1}"#, r#"$["a b\n"]"#, "not known"),
        ("calls/seven", "[]", "$", "an object"),
        ("calls/seven", "7", "$", "an object"),
        ("calls/seven", "null", "$", "an object"),
        ("calls/seven", "{", "$", "no JSON"),
        ("calls/seven", "{} {}", "$", "no JSON"),
        ("calls/seven", "{} x", "$", "no JSON"),
        ("calls/seven", "x", "$", "no JSON"),
    ] {
        assert_refused(function, text, path, words);
    }
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    let deep = |open: &str, close: &str| format!("{{\"value\": {}{}}}", open.repeat(100_000), close.repeat(100_000));
    assert_refused("echo/numbers", &deep("[", "]"), "$.value[0]", "found a list");
    assert_refused("echo/all", &deep("{\"place\":", "}"), "$.value.place.place", "not known");
    assert_refused("calls/seven", &format!("{{\"x\": {}", "[".repeat(100_000)), "$.x", "not known");
    assert_refused("echo/figure", &format!("{{\"value\": {{\"empty\": {}", "[".repeat(100_000)), "$.value.empty", "");
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let json = [("content-type", "application/json")];
    let reply = server().send("POST", "/c/types/echo/text", &json, b"{\"value\": \"\xff\"}");
    assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!("$.value")));
}

#[test]
fn a_body_that_is_not_declared_as_json_is_refused() {
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"] {
        let reply = server().send("POST", "/c/types/calls/seven", &[("content-type", kind)], b"{}");
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (415, &json!("not_json")), "{kind}");
    }
    for kind in ["application/json", "Application/JSON; charset=UTF-8", "application/x+json"] {
        assert_eq!(server().send("POST", "/c/types/calls/seven", &[("content-type", kind)], b"{}").status, 200, "{kind}");
    }
    let compressed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(server().send("POST", "/c/types/calls/seven", &compressed, b"{}").status, 415);
}

#[test]
fn every_cut_of_a_good_text_is_refused_and_harms_nobody() {
    let text = json!({"value": everything()}).to_string();
    for length in (1..text.len()).step_by(7) {
        let json = [("content-type", "application/json")];
        let reply = server().send("POST", "/c/types/echo/all", &json, &text.as_bytes()[..length]);
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!("invalid_argument")), "{length}");
    }
    assert_eq!(call("echo/all", &json!({"value": everything()})).status, 200);
}

#[test]
fn a_web_page_of_another_origin_calls_no_function() {
    let own = server().url("");
    let from = |headers: &[(&str, &str)]| server().send("POST", "/c/types/calls/seven", headers, b"{}").status;
    let json = ("content-type", "application/json");
    assert_eq!(from(&[json, ("origin", "https://page.example")]), 403);
    assert_eq!(from(&[json, ("origin", &own)]), 200);
    assert_eq!(from(&[]), 415, "what a page could send without asking first");
}
