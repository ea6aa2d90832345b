//! The shapes of requests and answers (GenAIComps, `comps/chathistory`).

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use tessera_sdk::{Error, json, messages};

/// Longest name of a chat, in characters: a list has a thousand of them.
const NAME_CHARS_MAX: usize = 200;

/// A chat as it is kept.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chat {
    /// What the user said first, by which the chat is known in lists.
    first_query: String,
    /// The request as the client sent it.
    pub(crate) data: Data,
}

/// The part of a chat that lists show.
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    /// Cut here as well: chats that were kept before names were cut have all of their first message.
    #[serde(deserialize_with = "name")]
    first_query: String,
}

/// A ChatCompletionRequest: all of it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Data {
    messages: Value,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// OPEA's ChatMessage: a chat to keep, or what becomes of one that is kept.
#[derive(Debug, PartialEq)]
pub(crate) struct Create {
    pub(crate) user: String,
    pub(crate) id: Option<String>,
    /// What the client calls the chat.
    pub(crate) first_query: Option<String>,
    pub(crate) data: Data,
}

/// OPEA's ChatId, and which part of a list is wanted.
#[derive(Debug, Deserialize)]
pub(crate) struct Which {
    pub(crate) user: String,
    pub(crate) id: Option<String>,
    pub(crate) limit: Option<u32>,
    pub(crate) after: Option<String>,
}

/// One chat of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Listed<'a> {
    first_query: &'a str,
    id: &'a str,
    /// The id again, as newer clients call it.
    doc_id: &'a str,
    user: &'a str,
}

impl<'a> Listed<'a> {
    pub(crate) fn new(id: &'a str, head: &'a Head, user: &'a str) -> Self {
        Self { first_query: &head.first_query, id, doc_id: id, user }
    }
}

impl Create {
    /// Reads a request.
    ///
    /// # Errors
    /// 400 that names the field at fault.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Body {
            data: Data,
            first_query: Option<String>,
            id: Option<String>,
        }
        let Body { data, first_query, id } = json::parse(body)?;
        let is_message = |message: &Value| message.is_object();
        let is_good = match &data.messages {
            Value::String(_) => true,
            Value::Array(messages) => messages.iter().all(is_message),
            _ => false,
        };
        if !is_good {
            let message = "`data.messages` must be a string or a list of messages";
            return Err(Error::bad_request(message).with_param("data.messages"));
        }
        let user = match data.others.get("user") {
            Some(Value::String(user)) => user.clone(),
            Some(Value::Null) | None => return Err(Error::missing("data.user")),
            Some(_) => return Err(Error::invalid("data.user", "must be a string")),
        };
        Ok(Self { user, id: id.filter(|id| !id.is_empty()), first_query, data })
    }

    /// A new chat. One that the client does not call anything is called by what the user said first.
    pub(crate) fn into_chat(self) -> Chat {
        let first_query = self.first_query.or_else(|| messages::first_of_user(&self.data.messages)).unwrap_or_default();
        Chat { first_query: cut(&first_query), data: self.data }
    }
}

impl Chat {
    /// Puts another request in the place of this one. A name stays if there is no new one.
    pub(crate) fn replace(&mut self, data: &Data, first_query: Option<&str>) {
        self.data = data.clone();
        if let Some(first_query) = first_query {
            self.first_query = cut(first_query);
        }
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(|name| cut(&name))
}

/// As much of a name as is kept.
fn cut(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: &Value) -> Result<Create, Error> {
        Create::parse(body.to_string().as_bytes())
    }

    #[test]
    fn a_chat_is_called_by_what_the_user_said_first() {
        let messages =
            json!([{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}]);
        for (data, first_query) in [
            (json!({"messages": "hello", "user": "ann"}), "hello"),
            (json!({"messages": messages, "user": "ann"}), "a"),
            (json!({"messages": [], "user": "ann"}), ""),
        ] {
            assert_eq!(parse(&json!({"data": data})).expect("fits").into_chat().first_query, first_query);
        }
        let body = json!({"data": {"messages": "hello", "user": "ann"}, "first_query": "a name"});
        assert_eq!(parse(&body).expect("fits").into_chat().first_query, "a name");
    }

    #[test]
    fn a_long_name_is_cut_when_it_is_kept_and_when_it_is_listed() {
        let long = "é".repeat(NAME_CHARS_MAX + 1);
        let cut = &long[..long.len() - 2];
        let body = json!({"data": {"messages": long, "user": "ann"}});
        let mut chat = parse(&body).expect("fits").into_chat();
        assert_eq!((chat.first_query.as_str(), chat.data.messages.as_str()), (cut, Some(long.as_str())));
        let data = chat.data.clone();
        chat.replace(&data, Some(&long));
        assert_eq!(chat.first_query, cut);
        let before = json!({"first_query": long, "data": data}).to_string();
        assert_eq!(serde_json::from_str::<Head>(&before).expect("a chat's head").first_query, cut);
    }

    #[test]
    fn all_that_was_sent_is_kept_with_the_messages_first() {
        let body = json!({"data": {"a": 1, "messages": "hello", "user": "ann", "model": "m"}});
        let chat = parse(&body).expect("fits").into_chat();
        let kept = serde_json::to_string(&chat.data).expect("JSON");
        assert_eq!(kept, r#"{"messages":"hello","a":1,"model":"m","user":"ann"}"#);
        let text = serde_json::to_vec(&chat).expect("JSON");
        assert_eq!(serde_json::from_slice::<Chat>(&text).expect("a chat"), chat);
        assert_eq!(serde_json::from_slice::<Head>(&text).expect("a chat's head").first_query, "hello");
    }

    #[test]
    fn a_chat_that_is_replaced_keeps_its_name_if_there_is_no_new_one() {
        let create = |text: &str| parse(&json!({"data": {"messages": text, "user": "ann"}})).expect("fits");
        let mut chat = create("hello").into_chat();
        chat.replace(&create("again").data, None);
        assert_eq!((chat.first_query.as_str(), &chat.data), ("hello", &create("again").data));
        chat.replace(&create("again").data, Some("a name"));
        assert_eq!(chat.first_query, "a name");
    }

    #[test]
    fn an_empty_id_is_none() {
        let body = json!({"data": {"messages": "hello", "user": "ann"}, "id": ""});
        assert_eq!(parse(&body).expect("fits").id, None);
    }

    #[test]
    fn bad_requests_name_the_field() {
        let cases = [
            (json!({}), "data"),
            (json!({"data": {"user": "ann"}}), "messages"),
            (json!({"data": {"messages": 5, "user": "ann"}}), "data.messages"),
            (json!({"data": {"messages": ["hello"], "user": "ann"}}), "data.messages"),
            (json!({"data": {"messages": "hello"}}), "data.user"),
            (json!({"data": {"messages": "hello", "user": 5}}), "data.user"),
            (json!({"data": {"messages": "hello", "user": "ann"}, "id": 5}), "id"),
            (json!({"data": {"messages": "hello", "user": "ann"}, "first_query": 5}), "first_query"),
        ];
        for (body, param) in cases {
            let error = parse(&body).expect_err(param);
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{body}: {error}");
        }
    }
}
