//! Fields that ask for what this service does not do. They are refused by name: to ignore one would answer something else
//! than was asked.

use serde_json::Value;
use tessera_sdk::Error;

/// A field, and whether a value of it asks for nothing.
type Refused = (&'static str, fn(&Value) -> bool);

const REFUSED: [Refused; 16] = [
    ("audio", never),
    ("best_of", is_one),
    ("echo", is_false),
    ("function_call", is_none),
    ("functions", is_empty),
    ("grammar", never),
    ("guided_json", never),
    ("guided_regex", never),
    ("modalities", is_text_only),
    ("n", is_one),
    ("prediction", never),
    ("response_format", is_text),
    ("suffix", is_empty),
    ("tool_choice", is_none),
    ("tools", is_empty),
    ("web_search_options", never),
];

/// Refuses a body with a field that asks for more than there is. What is no object is refused by who reads it next.
pub(crate) fn check(body: &[u8]) -> Result<(), Error> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else { return Ok(()) };
    let asks =
        |(name, asks_nothing): &&Refused| fields.get(*name).is_some_and(|value| !value.is_null() && !asks_nothing(value));
    match REFUSED.iter().find(asks) {
        Some((name, _)) => Err(unsupported(name, &format!("`{name}` is not supported with this value: leave it out"))),
        None => Ok(()),
    }
}

/// 400, naming the field.
pub(crate) fn unsupported(param: &str, message: &str) -> Error {
    Error::new(400, "unsupported_parameter", message).with_param(param)
}

fn never(_: &Value) -> bool {
    false
}

fn is_one(value: &Value) -> bool {
    value.as_f64() == Some(1.0)
}

fn is_false(value: &Value) -> bool {
    value == &Value::Bool(false)
}

fn is_none(value: &Value) -> bool {
    value == "none" || value == "auto"
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value == ""
}

fn is_text(value: &Value) -> bool {
    value.get("type").is_some_and(|kind| kind == "text")
}

fn is_text_only(value: &Value) -> bool {
    value.as_array().is_some_and(|kinds| kinds.iter().all(|kind| kind == "text"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_asks_for_more_is_named() {
        for (body, param) in [
            (json!({"tools": [{"type": "function"}]}), "tools"),
            (json!({"tool_choice": "required"}), "tool_choice"),
            (json!({"functions": [{}]}), "functions"),
            (json!({"n": 2}), "n"),
            (json!({"best_of": 3}), "best_of"),
            (json!({"echo": true}), "echo"),
            (json!({"suffix": "x"}), "suffix"),
            (json!({"response_format": {"type": "json_object"}}), "response_format"),
            (json!({"response_format": "json"}), "response_format"),
            (json!({"modalities": ["text", "audio"]}), "modalities"),
            (json!({"audio": {}}), "audio"),
        ] {
            let error = check(body.to_string().as_bytes()).expect_err("is refused");
            assert_eq!((error.status(), error.code(), error.param()), (400, "unsupported_parameter", Some(param)), "{body}");
        }
    }

    #[test]
    fn a_field_that_asks_for_nothing_is_taken() {
        let body = json!({
            "tools": [], "tool_choice": "none", "functions": null, "n": 1, "best_of": 1, "echo": false, "suffix": null,
            "response_format": {"type": "text"}, "modalities": ["text"], "user": "u", "store": true, "anything": {}
        });
        assert_eq!(check(body.to_string().as_bytes()), Ok(()));
        assert_eq!(check(b"[1]"), Ok(()), "is refused by who reads it next");
    }
}
