//! Places in the events of a stream where texts stand that are written piece by piece.

use serde_json::{Map, Value};

/// Any item of a list.
const ANY: &str = "*";

/// Where the usual interfaces write their texts: OpenAI's chats and completions, and the ones that others have made.
const PLACES: [&[&str]; 16] = [
    &["choices", ANY, "delta", "content"],
    &["choices", ANY, "delta", "reasoning_content"],
    &["choices", ANY, "delta", "reasoning"],
    &["choices", ANY, "delta", "refusal"],
    &["choices", ANY, "delta", "tool_calls", ANY, "function", "arguments"],
    &["choices", ANY, "delta", "function_call", "arguments"],
    &["choices", ANY, "text"],
    &["delta"],
    &["delta", "text"],
    &["delta", "thinking"],
    &["delta", "partial_json"],
    &["message", "content"],
    &["response"],
    &["content"],
    &["text"],
    &["token", "text"],
];

/// Numbers that tell one text of an event from another.
const NUMBERS: [&str; 3] = ["index", "output_index", "content_index"];

/// A step from a value to one within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Key(&'static str),
    Item(usize),
}

/// A text in an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the stream's texts this is a piece of.
    pub(super) key: String,
    /// Where it stands.
    pub(super) path: Vec<Step>,
}

/// The pieces of texts in an event.
pub(super) fn find(event: &Value) -> Vec<Place> {
    let numbers: String = NUMBERS.iter().filter_map(|name| Some(format!("{}.", event.get(name)?.as_u64()?))).collect();
    let mut places = Vec::new();
    for pattern in PLACES {
        let key = if pattern[0] == "choices" { String::new() } else { numbers.clone() };
        walk(event, pattern, Place { key, path: Vec::new() }, &mut places);
    }
    places
}

fn walk(value: &Value, pattern: &[&'static str], so_far: Place, places: &mut Vec<Place>) {
    let Some((&first, rest)) = pattern.split_first() else {
        if value.as_str().is_some_and(|text| !text.is_empty()) {
            places.push(so_far);
        }
        return;
    };
    let step = |name: String, step: Step| {
        let mut place = so_far.clone();
        place.key.push_str(&name);
        place.key.push('.');
        place.path.push(step);
        place
    };
    if first != ANY {
        if let Some(value) = value.get(first) {
            walk(value, rest, step(first.into(), Step::Key(first)), places);
        }
        return;
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        walk(item, rest, step(identity(item, at), Step::Item(at)), places);
    }
}

/// What tells an item of a list from the others in all events: its number, or else its place.
fn identity(item: &Value, at: usize) -> String {
    item.get("index").and_then(Value::as_u64).map_or(at.to_string(), |index| index.to_string())
}

/// Beginnings of the keys of those texts that end with an event.
pub(super) fn ended(event: &Value) -> Vec<String> {
    let word = event.get("type").and_then(Value::as_str).unwrap_or_default();
    let is_last = ["stop", "done", "completed"].iter().any(|end| word.ends_with(end));
    if is_last || event.get("done") == Some(&Value::Bool(true)) {
        return vec![String::new()];
    }
    let choices = event.get("choices").and_then(Value::as_array).into_iter().flatten().enumerate();
    let is_finished = |choice: &Value| choice.get("finish_reason").is_some_and(|reason| !reason.is_null() && reason != "");
    choices.filter(|(_, choice)| is_finished(choice)).map(|(at, choice)| format!("choices.{}.", identity(choice, at))).collect()
}

/// The string at a place; none if there is another thing.
pub(super) fn at<'v>(value: &'v mut Value, path: &[Step]) -> Option<&'v mut String> {
    let mut value = value;
    for step in path {
        value = match *step {
            Step::Key(key) => value.get_mut(key)?,
            Step::Item(at) => value.get_mut(at)?,
        };
    }
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// An event with one of its texts alone, for an event that has several: what else it says is said once.
pub(super) fn alone(event: &Value, path: &[Step]) -> Value {
    let Some((step, rest)) = path.split_first() else { return event.clone() };
    match (*step, event) {
        (Step::Item(at), Value::Array(items)) => {
            Value::Array(items.get(at).map(|item| alone(item, rest)).into_iter().collect())
        }
        (Step::Key(key), Value::Object(entries)) => {
            let is_top = key == "choices";
            let mut kept = Map::new();
            for (name, value) in entries {
                if name == key {
                    kept.insert(name.clone(), alone(value, rest));
                } else if is_top && !(value.is_object() || value.is_array()) || NUMBERS.contains(&name.as_str()) {
                    kept.insert(name.clone(), value.clone());
                } else if name == "finish_reason" {
                    kept.insert(name.clone(), Value::Null);
                }
            }
            Value::Object(kept)
        }
        _ => event.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(event: &Value) -> Vec<String> {
        find(event).into_iter().map(|place| place.key).collect()
    }

    #[test]
    fn each_text_of_each_choice_is_one_of_its_own() {
        let call = |index: u32| json!({"index": index, "function": {"arguments": "{"}});
        let event = json!({"id": "x", "choices": [
            {"index": 2, "delta": {"content": "a", "reasoning_content": "b"}, "finish_reason": null},
            {"index": 0, "delta": {"tool_calls": [call(1), call(0)]}},
            {"text": "c"},
            {"delta": {"content": ""}},
        ]});
        let expected = [
            "choices.2.delta.content.",
            "choices.2.delta.reasoning_content.",
            "choices.0.delta.tool_calls.1.function.arguments.",
            "choices.0.delta.tool_calls.0.function.arguments.",
            "choices.2.text.",
        ];
        assert_eq!(keys(&event), expected);
        assert_eq!(keys(&json!({"index": 1, "delta": {"type": "text_delta", "text": "a"}})), ["1.delta.text."]);
        assert_eq!(keys(&json!({"response": "a", "done": false})), ["response."]);
        assert_eq!(keys(&json!(["a"])), [""; 0]);
    }

    #[test]
    fn a_text_ends_with_its_choice_or_with_all() {
        let choice = |index: u32, reason: Value| json!({"index": index, "delta": {}, "finish_reason": reason});
        let event = json!({"choices": [choice(1, json!("stop")), choice(0, Value::Null)]});
        assert_eq!(ended(&event), ["choices.1."]);
        for event in [json!({"done": true}), json!({"type": "content_block_stop"}), json!({"type": "response.completed"})] {
            assert_eq!(ended(&event), [""]);
        }
        assert_eq!(ended(&json!({"done": false, "type": "x"})), [""; 0]);
    }

    #[test]
    fn an_event_can_be_told_with_one_of_its_texts() {
        let event = json!({"id": "x", "usage": {"a": 1}, "choices": [
            {"index": 0, "delta": {"role": "r", "content": "a"}, "finish_reason": "stop"},
            {"index": 1, "delta": {"content": "b"}},
        ]});
        let place = &find(&event)[0];
        let expected = json!({"id": "x", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": null}]});
        assert_eq!(alone(&event, &place.path), expected);
    }

    #[test]
    fn a_text_is_found_by_its_place() {
        let mut event = json!({"choices": [{"delta": {"content": "a"}}]});
        let place = find(&event).remove(0);
        *at(&mut event, &place.path).expect("a text") = "b".into();
        assert_eq!(event, json!({"choices": [{"delta": {"content": "b"}}]}));
        assert_eq!(at(&mut json!({"choices": [1]}), &place.path), None);
    }
}
