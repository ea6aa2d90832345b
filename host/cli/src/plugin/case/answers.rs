//! What the requests before a case's own were answered, put where a later request names it.

use serde_json::Value;

/// Answers in the order of their requests.
#[derive(Debug, Default)]
pub(crate) struct Answers(Vec<Value>);

impl Answers {
    /// Adds the body of an answer; one that is not JSON is null.
    pub(crate) fn push(&mut self, body: &[u8]) {
        self.0.push(serde_json::from_slice(body).unwrap_or(Value::Null));
    }

    /// A value with answers in the place of the texts that name them: `"$1"` the first, `"$1/data/0"` a part of it.
    pub(super) fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.named(text).cloned().unwrap_or_else(|| value.clone()),
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), self.fill(value))).collect(),
            other => other.clone(),
        }
    }

    /// A path with answers that are texts in the place of the segments that name them.
    pub(super) fn fill_path(&self, path: &str) -> String {
        let segment = |text| self.named(text).and_then(Value::as_str).unwrap_or(text);
        path.split('/').map(segment).collect::<Vec<_>>().join("/")
    }

    fn named(&self, text: &str) -> Option<&Value> {
        let name = text.strip_prefix('$')?;
        let (number, pointer) = name.split_at(name.find('/').unwrap_or(name.len()));
        self.0.get(number.parse::<usize>().ok()?.checked_sub(1)?)?.pointer(pointer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_put_where_they_are_named() {
        let mut answers = Answers::default();
        for body in [r#""id""#, r#"{"data": [{"id": 7}]}"#, "no JSON"] {
            answers.push(body.as_bytes());
        }
        let body = json!({"a": "$1", "b": ["$2/data/0/id"], "c": "$3", "d": ["$4", "$0", "$", "$1/x"], "e": "costs $1"});
        let expected = json!({"a": "id", "b": [7], "c": null, "d": ["$4", "$0", "$", "$1/x"], "e": "costs $1"});
        assert_eq!(answers.fill(&body), expected);
        assert_eq!(answers.fill_path("/things/$1?x=$1"), "/things/$1?x=$1");
        assert_eq!(answers.fill_path("/things/$1/$2"), "/things/id/$2");
    }
}
