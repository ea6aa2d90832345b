//! The `messages` of chat requests: a list as OpenAI has it, or a single string as OPEA's clients send it.

use serde_json::Value;

/// What a message's `content` says: a string, or the text parts of a list, a line each.
pub fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// What the user said first; none if the user said nothing.
pub fn first_of_user(messages: &Value) -> Option<String> {
    of_user(messages).next()
}

/// What the user said last: the question that is to be answered. None if the user said nothing.
pub fn last_of_user(messages: &Value) -> Option<String> {
    of_user(messages).next_back()
}

fn of_user(messages: &Value) -> impl DoubleEndedIterator<Item = String> {
    let alone = messages.as_str().map(str::to_owned);
    let listed = messages.as_array().map(Vec::as_slice).unwrap_or_default();
    let said = listed.iter().filter(|message| message["role"] == "user").map(|message| text_of(&message["content"]));
    alone.into_iter().chain(said)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_string_is_first_and_last() {
        let messages = json!("hello");
        assert_eq!((first_of_user(&messages), last_of_user(&messages)), (Some("hello".into()), Some("hello".into())));
    }

    #[test]
    fn only_what_the_user_said_counts() {
        let parts = json!([{"type": "text", "text": "x"}, {"type": "image_url"}, {"type": "text", "text": "y"}]);
        let messages = json!([
            {"role": "system", "content": "s"},
            {"role": "user", "content": "a"},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "z"},
        ]);
        assert_eq!((first_of_user(&messages), last_of_user(&messages)), (Some("a".into()), Some("x\ny".into())));
    }

    #[test]
    fn nothing_of_the_user_is_none() {
        for messages in [json!([]), json!([{"role": "system", "content": "s"}]), json!([7, null]), json!(null), json!({})] {
            assert_eq!((first_of_user(&messages), last_of_user(&messages)), (None, None), "{messages}");
        }
    }
}
