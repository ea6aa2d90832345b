//! The strings of JSON values.

use std::collections::BTreeSet;

use serde_json::Value;

use super::piece::{Pieces, TEXTS_MAX};

/// How deep JSON may stand inside of the strings of JSON.
const NESTED_MAX: usize = 4;

/// Keys of the usual interfaces, which are no text of anybody.
#[rustfmt::skip]
const KEYS: [&str; 64] = [
    "arguments", "best_of", "choices", "code", "completion_tokens", "content", "created", "data", "delta", "description",
    "dimensions", "documents", "embedding", "encoding_format", "error", "finish_reason", "frequency_penalty", "function", "id",
    "index", "input", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "message", "messages", "metadata", "model",
    "n", "name", "object", "owned_by", "param", "parameters", "presence_penalty", "prompt", "prompt_tokens", "properties", "query",
    "reasoning_content", "refusal", "required", "response_format", "role", "schema", "score", "seed", "stop", "stream",
    "stream_options", "strict", "system_fingerprint", "temperature", "text", "tool_calls", "tool_choice", "tools", "top_k",
    "top_logprobs", "top_p", "total_tokens", "type", "usage",
];

/// Takes out the strings of values, those that are not empty, in order; after them their keys, and the strings of JSON that stands
/// in strings. None if there are too many.
pub(super) fn collect(values: &[Value], pieces: &mut Pieces) -> Option<()> {
    let first = pieces.all.len();
    let mut keys = BTreeSet::new();
    for value in values {
        let mut reader = Reader { pieces, keys: &mut keys };
        reader.strings(value)?;
    }
    for at in first..pieces.all.len() {
        let text = pieces.all[at].text.clone();
        nested(&text, pieces, NESTED_MAX)?;
    }
    for key in keys {
        pieces.push(key, true);
    }
    Some(())
}

/// Puts texts in the places of the strings that [`collect`] took out, in the same order.
pub(super) fn replace(values: &mut [Value], texts: &mut impl Iterator<Item = String>) {
    for value in values {
        match value {
            Value::String(text) if !text.is_empty() => *text = texts.next().unwrap_or_default(),
            Value::Array(items) => replace(items, texts),
            Value::Object(entries) => entries.values_mut().for_each(|value| replace(std::slice::from_mut(value), texts)),
            _ => {}
        }
    }
}

/// Where the usual interfaces have tokens with their probabilities.
const LOGPROBS: [&str; 3] = ["completion_probabilities", "logprobs", "top_logprobs"];

/// Takes the tokens of what a model wrote out of an answer: they would tell the text, piece by piece, that guards take away.
pub(super) fn without_logprobs(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_logprobs),
        Value::Object(entries) => entries.iter_mut().for_each(|(key, value)| match LOGPROBS.contains(&key.as_str()) {
            true => *value = Value::Null,
            false => without_logprobs(value),
        }),
        _ => {}
    }
}

struct Reader<'a, 'v> {
    pieces: &'a mut Pieces,
    keys: &'a mut BTreeSet<&'v str>,
}

impl<'v> Reader<'_, 'v> {
    /// Takes out the strings of a value. Gives the place of the one that its key `text` has.
    fn strings(&mut self, value: &'v Value) -> Option<Option<usize>> {
        if self.pieces.all.len() > TEXTS_MAX {
            return None;
        }
        match value {
            Value::String(text) if !text.is_empty() => self.pieces.push(text.as_str(), false),
            Value::Array(items) => {
                let mut run = Vec::new();
                for item in items {
                    run.extend(self.strings(item)?);
                }
                if run.len() > 1 {
                    self.pieces.runs.push(run);
                }
            }
            Value::Object(entries) => {
                let mut text = None;
                for (key, value) in entries {
                    if KEYS.binary_search(&key.as_str()).is_err() {
                        self.keys.insert(key);
                    }
                    let at = self.pieces.all.len();
                    self.strings(value)?;
                    let is_text = key == "text" && value.as_str().is_some_and(|text| !text.is_empty());
                    text = text.or(is_text.then_some(at));
                }
                return Some(text);
            }
            _ => {}
        }
        Some(None)
    }
}

/// The strings of JSON in a string, where they may read otherwise than the string itself.
fn nested(text: &str, pieces: &mut Pieces, depth: usize) -> Option<()> {
    if !(text.contains('\\') && text.trim_start().starts_with(['{', '['])) {
        return Some(());
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else { return Some(()) };
    if depth == 0 {
        return None;
    }
    let mut inner = Pieces::default();
    let mut keys = BTreeSet::new();
    Reader { pieces: &mut inner, keys: &mut keys }.strings(&value)?;
    for piece in &inner.all {
        pieces.push(piece.text.as_str(), true);
        nested(&piece.text, pieces, depth - 1)?;
    }
    keys.into_iter().for_each(|key| pieces.push(key, true));
    (pieces.all.len() <= TEXTS_MAX).then_some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pieces(value: Value) -> Pieces {
        let mut pieces = Pieces::default();
        collect(&[value], &mut pieces).expect("not too many");
        pieces
    }

    fn texts(value: Value) -> Vec<String> {
        pieces(value).all.into_iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn the_keys_that_are_no_text_are_sorted() {
        assert!(KEYS.is_sorted());
    }

    #[test]
    fn every_string_is_taken_and_every_key_that_is_not_usual() {
        let value = json!({"messages": [{"role": "user", "content": "hi"}], "my key": {"deep": ["x", 1, null, true]}, "n": ""});
        assert_eq!(texts(value), ["user", "hi", "x", "deep", "my key"]);
    }

    #[test]
    fn parts_of_one_message_are_a_run() {
        let part = |text: &str| json!({"type": "text", "text": text});
        let pieces = pieces(json!({"content": [part("for"), part(""), part("bidden")], "other": [part("one")]}));
        assert_eq!(pieces.runs, [[1, 4]]);
        assert_eq!((pieces.all[1].text.as_str(), pieces.all[4].text.as_str()), ("for", "bidden"));
    }

    #[test]
    fn json_in_a_string_is_read_where_it_hides_something() {
        let inner = json!({"query": "\\u0066oo \"x\""}).to_string().replace("\\\\u", "\\u");
        let found = pieces(json!({"arguments": inner.clone()}));
        assert_eq!(found.all.iter().map(|piece| piece.text.as_str()).collect::<Vec<_>>(), [inner.as_str(), "foo \"x\""]);
        assert!(found.all[1].is_fixed);
        assert_eq!(texts(json!("{\"a\": \"b\"}")).len(), 1, "it reads the same");
        let mut deep = json!("\\");
        for _ in 0..=NESTED_MAX {
            deep = json!([deep.to_string()]);
        }
        assert_eq!(collect(&[json!([deep.to_string()])], &mut Pieces::default()), None, "nobody needs as many");
    }

    #[test]
    fn too_many_strings_are_not_taken() {
        assert_eq!(collect(&[json!(vec!["a"; TEXTS_MAX + 2])], &mut Pieces::default()), None);
    }

    #[test]
    fn log_probabilities_are_left_out() {
        let mut value = json!({"choices": [{"text": "a", "logprobs": {"tokens": ["a"]}}, {"logprobs": null}, {}]});
        without_logprobs(&mut value);
        assert_eq!(value, json!({"choices": [{"text": "a", "logprobs": null}, {"logprobs": null}, {}]}));
    }
}
