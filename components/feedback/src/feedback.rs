//! The shapes of requests and answers (GenAIComps, `comps/feedback_management`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tessera_sdk::{Error, json};

/// The best rating; the worst is 0.
const RATING_MAX: u8 = 5;

/// Longest comment, in bytes.
const COMMENT_BYTES_MAX: usize = 64 << 10;

/// What somebody thinks of an answer, as it is kept.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Feedback {
    /// The chat in `chathistory` that it is about.
    pub(crate) chat_id: Option<String>,
    /// The chat itself: a ChatCompletionRequest.
    pub(crate) chat_data: Map<String, Value>,
    pub(crate) feedback_data: Opinion,
}

/// OPEA's FeedbackData.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Opinion {
    pub(crate) is_thumbs_up: bool,
    /// 0 to 5.
    pub(crate) rating: Option<u8>,
    pub(crate) comment: Option<String>,
}

/// OPEA's ChatFeedback: an opinion to keep, or what becomes of one that is kept.
#[derive(Debug)]
pub(crate) struct Create {
    pub(crate) user: String,
    pub(crate) feedback_id: Option<String>,
    pub(crate) feedback: Feedback,
}

/// OPEA's FeedbackId, and which part of a list is wanted.
#[derive(Debug, Deserialize)]
pub(crate) struct Which {
    pub(crate) user: String,
    pub(crate) feedback_id: Option<String>,
    pub(crate) limit: Option<u32>,
    pub(crate) after: Option<String>,
}

/// One opinion of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Listed<'a> {
    #[serde(flatten)]
    pub(crate) feedback: &'a Feedback,
    pub(crate) feedback_id: &'a str,
}

impl Create {
    /// Reads a request.
    ///
    /// # Errors
    /// 400 that names the field at fault.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Body {
            chat_id: Option<String>,
            chat_data: Map<String, Value>,
            feedback_data: Opinion,
            feedback_id: Option<String>,
        }
        let Body { chat_id, chat_data, feedback_data, feedback_id } = json::parse(body)?;
        if feedback_data.rating.is_some_and(|rating| rating > RATING_MAX) {
            return Err(Error::invalid("feedback_data.rating", &format!("must be 0 to {RATING_MAX}")));
        }
        if feedback_data.comment.as_ref().is_some_and(|comment| comment.len() > COMMENT_BYTES_MAX) {
            return Err(Error::invalid("feedback_data.comment", &format!("is longer than {COMMENT_BYTES_MAX} bytes")));
        }
        let user = match chat_data.get("user") {
            Some(Value::String(user)) => user.clone(),
            Some(Value::Null) | None => return Err(Error::missing("chat_data.user")),
            Some(_) => return Err(Error::invalid("chat_data.user", "must be a string")),
        };
        let feedback_id = feedback_id.filter(|id| !id.is_empty());
        Ok(Self { user, feedback_id, feedback: Feedback { chat_id, chat_data, feedback_data } })
    }
}

impl Opinion {
    /// Takes what a later opinion says, and keeps what it leaves open.
    pub(crate) fn update(&mut self, later: &Opinion) {
        self.is_thumbs_up = later.is_thumbs_up;
        self.rating = later.rating.or(self.rating);
        if later.comment.is_some() {
            self.comment.clone_from(&later.comment);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(changes: Value) -> Value {
        let mut body = json!({
            "chat_id": "c", "chat_data": {"user": "ann", "messages": []},
            "feedback_data": {"comment": "Moderate", "rating": 3, "is_thumbs_up": true},
        });
        for (pointer, value) in changes.as_object().expect("an object") {
            match pointer.rsplit_once('.') {
                Some((above, name)) => body[above][name] = value.clone(),
                None => body[pointer] = value.clone(),
            }
        }
        body
    }

    fn parse(changes: Value) -> Result<Create, Error> {
        Create::parse(body(changes).to_string().as_bytes())
    }

    #[test]
    fn an_opinion_is_kept_with_its_chat() {
        let create = parse(json!({})).expect("fits");
        let listed = Listed { feedback: &create.feedback, feedback_id: "f" };
        let mut expected = body(json!({}));
        expected["feedback_id"] = json!("f");
        assert_eq!(serde_json::to_value(&listed).expect("JSON"), expected);
        assert_eq!((create.user.as_str(), create.feedback_id), ("ann", None));
    }

    #[test]
    fn only_the_thumb_has_to_be_there() {
        let create = parse(json!({"feedback_data": {"is_thumbs_up": false}, "chat_id": null})).expect("fits");
        assert_eq!(create.feedback.feedback_data, Opinion { is_thumbs_up: false, rating: None, comment: None });
    }

    #[test]
    fn a_later_opinion_leaves_what_it_does_not_say() {
        let mut opinion = Opinion { is_thumbs_up: true, rating: Some(3), comment: Some("Moderate".into()) };
        opinion.update(&Opinion { is_thumbs_up: false, rating: None, comment: Some("Fair".into()) });
        assert_eq!(opinion, Opinion { is_thumbs_up: false, rating: Some(3), comment: Some("Fair".into()) });
    }

    #[test]
    fn ratings_are_0_to_5() {
        for rating in 0..=5 {
            assert!(parse(json!({"feedback_data.rating": rating})).is_ok());
        }
        for rating in [json!(6), json!(-1), json!(2.5), json!("3"), json!(256)] {
            let error = parse(json!({"feedback_data.rating": rating})).expect_err("no rating");
            assert_eq!((error.status(), error.param()), (400, Some("feedback_data.rating")), "{error}");
        }
    }

    #[test]
    fn bad_requests_name_the_field() {
        let cases = [
            (json!({"chat_data": null}), "chat_data"),
            (json!({"chat_data": {}}), "chat_data.user"),
            (json!({"chat_data.user": 5}), "chat_data.user"),
            (json!({"feedback_data": {}}), "is_thumbs_up"),
            (json!({"feedback_data.is_thumbs_up": "yes"}), "feedback_data.is_thumbs_up"),
            (json!({"feedback_data.comment": "a".repeat(COMMENT_BYTES_MAX + 1)}), "feedback_data.comment"),
            (json!({"feedback_id": 5}), "feedback_id"),
        ];
        for (changes, param) in cases {
            let error = parse(changes).expect_err(param);
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{error}");
        }
    }
}
