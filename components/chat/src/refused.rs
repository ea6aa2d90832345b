//! Fields that ask for what this service does not do. They are refused by name: to ignore one would answer something else
//! than was asked.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use tessera_sdk::Error;

/// A field, and whether a value of it asks for nothing.
type Refused = (&'static str, fn(&Value) -> bool);

const REFUSED: [Refused; 24] = [
    ("audio", never),
    ("best_of", is_one),
    ("continue_final_message", is_false),
    ("echo", is_false),
    ("function_call", is_none),
    ("functions", is_empty),
    ("grammar", never),
    ("guided_choice", never),
    ("guided_grammar", never),
    ("guided_json", never),
    ("guided_regex", never),
    ("ignore_eos", is_false),
    ("json_schema", never),
    ("min_tokens", is_zero),
    ("modalities", is_text_only),
    ("n", is_one),
    ("prediction", never),
    ("response_format", is_text),
    ("stop_token_ids", is_empty),
    ("structured_outputs", never),
    ("suffix", is_empty),
    ("tool_choice", is_none),
    ("tools", is_empty),
    ("web_search_options", never),
];

/// Refuses a body with a field that asks for more than there is. What is no object is refused by who reads it next.
pub(crate) fn check(body: &[u8]) -> Result<(), Error> {
    match serde_json::from_slice(body) {
        Ok(Found(Some(name))) => Err(unsupported(name, &format!("`{name}` is not supported with this value: leave it out"))),
        Ok(Found(None)) | Err(_) => Ok(()),
    }
}

/// The first field of a body that asks for more than there is. Of all others nothing is kept: a body may be large.
struct Found(Option<&'static str>);

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Found, A::Error> {
        let mut found = None;
        while let Some(name) = fields.next_key::<String>()? {
            match REFUSED.iter().find(|(refused, _)| *refused == name) {
                Some((name, asks_nothing)) if found.is_none() => {
                    let value: Value = fields.next_value()?;
                    found = (!value.is_null() && !asks_nothing(&value)).then_some(*name);
                }
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Found(found))
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

fn is_zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
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
            (json!({"guided_choice": ["a"]}), "guided_choice"),
            (json!({"guided_grammar": "root ::= \"a\""}), "guided_grammar"),
            (json!({"structured_outputs": {"regex": "a"}}), "structured_outputs"),
            (json!({"json_schema": {}}), "json_schema"),
            (json!({"stop_token_ids": [2]}), "stop_token_ids"),
            (json!({"min_tokens": 1}), "min_tokens"),
            (json!({"ignore_eos": true}), "ignore_eos"),
            (json!({"continue_final_message": true}), "continue_final_message"),
        ] {
            let error = check(body.to_string().as_bytes()).expect_err("is refused");
            assert_eq!((error.status(), error.code(), error.param()), (400, "unsupported_parameter", Some(param)), "{body}");
        }
    }

    #[test]
    fn a_field_that_asks_for_nothing_is_taken() {
        let body = json!({
            "tools": [], "tool_choice": "none", "functions": null, "n": 1, "best_of": 1, "echo": false, "suffix": null,
            "response_format": {"type": "text"}, "modalities": ["text"], "stop_token_ids": [], "min_tokens": 0,
            "ignore_eos": false, "continue_final_message": false, "user": "u", "store": true, "anything": {}
        });
        assert_eq!(check(body.to_string().as_bytes()), Ok(()));
        assert_eq!(check(b"[1]"), Ok(()), "is refused by who reads it next");
    }
}
