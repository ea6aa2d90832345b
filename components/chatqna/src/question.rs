//! What is asked: the conversation of a request, and how to search for passages.

use serde::Deserialize;
use serde_json::Value;
use tessera_sdk::Error;
use tessera_sdk::inference::Message;
use tessera_sdk::opea::SearchType;

use crate::bindings::rag::retriever::retrieve::{self, Mode};
use crate::settings::Settings;

/// Most passages that a search gives, finds to choose from, or that the model reads.
const K_MAX: u32 = 100;

/// What OPEA's ChatQnA takes of it; the rest of the request is in [`Params`](tessera_sdk::generate::Params).
#[derive(Debug, Deserialize)]
pub(crate) struct Question {
    messages: Messages,
    search_type: Option<SearchType>,
    k: Option<u32>,
    fetch_k: Option<u32>,
    lambda_mult: Option<f32>,
    score_threshold: Option<f32>,
    distance_threshold: Option<f32>,
    top_n: Option<u32>,
    index_name: Option<String>,
    chat_template: Option<String>,
    filter: Option<serde_json::Map<String, Value>>,
    input_guardrail_params: Option<Value>,
    output_guardrail_params: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string or an array of messages")]
enum Messages {
    Text(String),
    Many(Vec<RequestMessage>),
}

#[derive(Debug, Deserialize)]
struct RequestMessage {
    role: Role,
    content: Content,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    User,
    Assistant,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string or an array of text parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    text: Option<String>,
}

/// A question that can be answered.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The question itself: what the user said last.
    pub(crate) text: String,
    /// What was said before it.
    pub(crate) history: Vec<Message>,
    /// How to search, for as many passages as the model reads at most.
    pub(crate) search: retrieve::Question,
    /// The request's own template of the last message.
    pub(crate) template: Option<String>,
}

impl Asked {
    /// All that was said, the question last.
    pub(crate) fn conversation(&self) -> Vec<Message> {
        self.history.iter().cloned().chain([Message::user(self.text.clone())]).collect()
    }
}

impl Question {
    /// Takes it apart.
    ///
    /// # Errors
    /// 400, naming the field.
    pub(crate) fn check(self, settings: &Settings) -> Result<Asked, Error> {
        for (name, params) in [
            ("input_guardrail_params", &self.input_guardrail_params),
            ("output_guardrail_params", &self.output_guardrail_params),
        ] {
            if params.is_some() {
                return Err(Error::invalid(
                    name,
                    "is not taken here: what is scanned is the operator's policy, for every request",
                ));
            }
        }
        let passages_max = within("top_n", self.top_n.unwrap_or(settings.passages_max))?;
        let (similarity_min, relevance) = self.thresholds()?;
        let (text, history) = self.messages.split()?;
        let search = retrieve::Question {
            text: text.clone(),
            collection: self.index_name.or_else(|| settings.collection.clone()),
            mode: Mode::Hybrid,
            k: within("k", self.k.unwrap_or(SearchType::K))?.min(passages_max),
            rivals: None,
            candidates: Some(within("fetch_k", self.fetch_k.unwrap_or(SearchType::FETCH_K))?),
            rerank: true,
            score_min: None,
            similarity_min,
            relevance,
            filter: self.filter.map(|filter| Value::Object(filter).to_string()),
        };
        Ok(Asked { text, history, search, template: self.chat_template })
    }

    /// The lowest cosine, and how much relevance counts against difference.
    fn thresholds(&self) -> Result<(Option<f32>, Option<f32>), Error> {
        let cosine = |name, value: f32| match (-1.0..=1.0).contains(&value) {
            true => Ok(value),
            false => Err(Error::invalid(name, "must be from -1 to 1")),
        };
        match self.search_type.unwrap_or_default() {
            SearchType::Similarity => Ok((None, None)),
            SearchType::SimilarityScoreThreshold => {
                let least = self.score_threshold.unwrap_or(SearchType::SCORE_THRESHOLD);
                Ok((Some(cosine("score_threshold", least)?), None))
            }
            SearchType::SimilarityDistanceThreshold => {
                let most = self.distance_threshold.ok_or_else(|| {
                    Error::invalid("distance_threshold", "is missing, which `search_type: similarity_distance_threshold` takes")
                })?;
                Ok((Some(cosine("distance_threshold", 1.0 - most)?), None))
            }
            SearchType::Mmr => {
                let lambda = self.lambda_mult.unwrap_or(SearchType::LAMBDA_MULT);
                match (0.0..=1.0).contains(&lambda) {
                    true => Ok((None, Some(lambda))),
                    false => Err(Error::invalid("lambda_mult", "must be from 0 to 1")),
                }
            }
        }
    }
}

impl Messages {
    /// What the user said last, and what was said before it.
    fn split(self) -> Result<(String, Vec<Message>), Error> {
        let mut history = match self {
            Messages::Text(text) => vec![Message::user(text)],
            Messages::Many(messages) => {
                let messages = messages.into_iter().enumerate().map(|(index, message)| message.into_message(index));
                messages.collect::<Result<Vec<Message>, Error>>()?
            }
        };
        let last = history.pop().filter(|last| last.role == "user" && !last.content.trim().is_empty());
        let last = last.ok_or_else(|| Error::invalid("messages", "must end with a message of the user, with a text in it"))?;
        Ok((last.content.trim().to_owned(), history))
    }
}

impl RequestMessage {
    fn into_message(self, index: usize) -> Result<Message, Error> {
        let content = match self.content {
            Content::Text(text) => text,
            Content::Parts(parts) => {
                let texts = parts.into_iter().map(|part| part.text).collect::<Option<Vec<String>>>();
                let at = format!("messages[{index}].content");
                texts.ok_or_else(|| Error::invalid(&at, "has a part without text: this service reads text only"))?.join("\n")
            }
        };
        let role = match self.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        Ok(Message::new(role, content))
    }
}

fn within(name: &str, count: u32) -> Result<u32, Error> {
    match (1..=K_MAX).contains(&count) {
        true => Ok(count),
        false => Err(Error::invalid(name, &format!("must be from 1 to {K_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(body: Value) -> Result<Asked, Error> {
        tessera_sdk::json::parse::<Question>(body.to_string().as_bytes())?.check(&Settings::default())
    }

    #[test]
    fn a_text_alone_is_a_question() {
        let asked = check(json!({"messages": " What is the revenue of Nike in 2023? "})).expect("a question");
        assert_eq!((asked.text.as_str(), asked.history.len()), ("What is the revenue of Nike in 2023?", 0));
        assert_eq!((asked.search.k, asked.search.candidates), (3, Some(20)), "the model reads three");
    }

    #[test]
    fn the_last_message_is_the_question_and_the_others_are_history() {
        let messages = json!([
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"},
            {"role": "assistant", "content": "Ada."}, {"role": "user", "content": [{"type": "text", "text": "When?"}]},
        ]);
        let asked = check(json!({"messages": messages, "index_name": "x", "k": 1, "top_n": 2})).expect("a question");
        let roles: Vec<&str> = asked.history.iter().map(|message| message.role.as_str()).collect();
        assert_eq!((asked.text.as_str(), roles), ("When?", vec!["system", "user", "assistant"]));
        assert_eq!((asked.search.collection.as_deref(), asked.search.k), (Some("x"), 1));
    }

    #[test]
    fn each_type_of_search_has_its_threshold() {
        let search = |body: Value| check(body).map(|asked| (asked.search.similarity_min, asked.search.relevance));
        let with = |more: Value| {
            let mut body = json!({"messages": "q"});
            body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            body
        };
        assert_eq!(search(with(json!({"search_type": "similarity"}))), Ok((None, None)));
        assert_eq!(search(with(json!({"search_type": "similarity_score_threshold"}))), Ok((Some(0.2), None)));
        let distance = json!({"search_type": "similarity_distance_threshold", "distance_threshold": 0.25});
        assert_eq!(search(with(distance)), Ok((Some(0.75), None)));
        assert_eq!(search(with(json!({"search_type": "mmr", "lambda_mult": 0.3}))), Ok((None, Some(0.3))));
        let error = search(with(json!({"search_type": "similarity_distance_threshold"}))).expect_err("no distance");
        assert_eq!(error.param(), Some("distance_threshold"));
    }

    #[test]
    fn what_can_not_be_answered_names_its_field() {
        for (body, param) in [
            (json!({"messages": ""}), "messages"),
            (json!({"messages": []}), "messages"),
            (json!({"messages": [{"role": "assistant", "content": "x"}]}), "messages"),
            (json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}), "messages[0].content"),
            (json!({"messages": "q", "k": 0}), "k"),
            (json!({"messages": "q", "top_n": 101}), "top_n"),
            (json!({"messages": "q", "search_type": "mmr", "lambda_mult": 2}), "lambda_mult"),
            (json!({"messages": "q", "search_type": "nearest"}), "search_type"),
            (json!({"messages": "q", "input_guardrail_params": {"toxicity": {"enabled": false}}}), "input_guardrail_params"),
        ] {
            let error = check(body.clone()).expect_err("is refused");
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{body}: {error}");
        }
    }
}
