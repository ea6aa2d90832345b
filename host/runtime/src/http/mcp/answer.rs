//! What a function answers, as a tool's result.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value, json};

use crate::typed::schema::{Schemas, Way};
use crate::typed::stream::Element;
use crate::typed::types::{Kind, Type};
use crate::typed::{Function, Streamed, Success};

/// How an answer becomes the one object that a tool's result is.
#[derive(Clone, Copy)]
pub(super) enum Shape<'a> {
    /// There is nothing: `{"result": null}`.
    Nothing,
    /// A record is the object itself.
    Record,
    /// Another value is its `result`.
    Value(&'a Type),
    /// A stream's items are its `result`, all together; what stands at the end of the stream is its `end`.
    Stream(&'a Streamed, Joined),
}

/// How the items of a stream come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    /// As a list.
    List,
    /// Texts and characters as one text.
    Text,
    /// Bytes as one base64.
    Bytes,
}

impl Shape<'_> {
    /// The one of a function's answer.
    pub(super) fn of(function: &Function) -> Shape<'_> {
        match &function.outcome.success {
            Success::Nothing => Shape::Nothing,
            Success::Value(ty) if matches!(ty.kind, Kind::Record(_)) => Shape::Record,
            Success::Value(ty) => Shape::Value(ty),
            Success::Stream(streamed) => Shape::Stream(
                streamed,
                match streamed.element {
                    Element::String | Element::Char => Joined::Text,
                    Element::U8 => Joined::Bytes,
                    _ => Joined::List,
                },
            ),
        }
    }

    /// JSON Schema of the result's object.
    pub(super) fn schema(self, function: &Function) -> Value {
        let mut schemas = Schemas::at("#/$defs/", "");
        let mut properties = Map::new();
        match self {
            Shape::Record => {
                let mut schema = function.output_schema.clone();
                schema["type"] = "object".into(); // a reference, too, says so itself, because clients look for it
                return schema;
            }
            Shape::Nothing => drop(properties.insert("result".into(), json!({"type": "null"}))),
            Shape::Value(ty) => drop(properties.insert("result".into(), schemas.of(ty, Way::Out))),
            Shape::Stream(streamed, joined) => {
                let result = match joined {
                    Joined::List => json!({"type": "array", "items": schemas.of(&streamed.ty, Way::Out)}),
                    Joined::Text => json!({"type": "string"}),
                    Joined::Bytes => schemas.of(&Type::new(Kind::Bytes), Way::Out),
                };
                properties.insert("result".into(), result);
                if let Some((ty, _)) = streamed.end.as_ref().and_then(|end| end.ok.as_ref()) {
                    properties.insert("end".into(), schemas.of(ty, Way::Out));
                }
            }
        }
        let required: Vec<&String> = properties.keys().collect();
        let mut schema =
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
        let kept = schemas.kept();
        if !kept.is_empty() {
            schema["$defs"] = kept.into_iter().collect();
        }
        schema
    }

    /// The result of an answer that came at once, from its value and the JSON that this was read from.
    pub(super) fn whole(self, value: Value, json: &[u8]) -> CallToolResult {
        let text = match &value {
            Value::String(text) => text.clone(),
            _ => String::from_utf8_lossy(json).into_owned(),
        };
        result(text, if matches!(self, Shape::Record) { value } else { json!({"result": value}) })
    }
}

/// The items of a stream, as far as they have come.
pub(super) struct Items {
    joined: Joined,
    has_end: bool,
    list: Vec<Value>,
    text: String,
    bytes: Vec<u8>,
}

impl Items {
    /// None yet.
    pub(super) fn new(streamed: &Streamed, joined: Joined) -> Items {
        let has_end = streamed.end.as_ref().is_some_and(|end| end.ok.is_some());
        Items { joined, has_end, list: Vec::new(), text: String::new(), bytes: Vec::new() }
    }

    /// Adds an item.
    pub(super) fn add(&mut self, item: Value) {
        match (self.joined, item) {
            (Joined::Text, Value::String(text)) => self.text.push_str(&text),
            (Joined::Bytes, Value::String(text)) => self.bytes.extend(BASE64_STANDARD.decode(text).unwrap_or_default()),
            (_, item) => self.list.push(item),
        }
    }

    /// The result, with what stands at the end of the stream.
    pub(super) fn end(self, end: Value) -> CallToolResult {
        let items = match self.joined {
            Joined::List => Value::Array(self.list),
            Joined::Text => Value::String(self.text),
            Joined::Bytes => Value::String(BASE64_STANDARD.encode(self.bytes)),
        };
        let mut object = json!({"result": items});
        if self.has_end {
            object["end"] = end;
            return result(object.to_string(), object);
        }
        result(text(&items), object)
    }
}

/// A value as people and models read it: texts as they are.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn result(text: String, structured: Value) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(structured);
    result
}

/// The result of an answer that is an error, from its body; of a function's own error also what it says besides its message.
pub(super) fn failure(body: &[u8]) -> CallToolResult {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let message = error["message"].as_str().unwrap_or("The call failed.");
    let mut content = vec![ContentBlock::text(message)];
    if !error["value"].is_null() && error["value"] != message {
        content.push(ContentBlock::text(error["value"].to_string()));
    }
    CallToolResult::error(content)
}
