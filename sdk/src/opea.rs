//! What several of OPEA's services share in their requests and answers (GenAIComps, `comps/cores/proto`): for a service that
//! stands in the place of one of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::messages;

/// The question of a ChatCompletionRequest: its `input` if there is one, else what the user said last.
///
/// # Errors
/// 400 that names `messages`: the user said nothing.
pub fn question(chat: &Map<String, Value>) -> Result<String, Error> {
    let input = chat.get("input").and_then(Value::as_str).map(str::to_owned);
    let question = input.or_else(|| chat.get("messages").and_then(messages::last_of_user));
    question.ok_or_else(|| Error::invalid("messages", "has no message of the user"))
}

/// `search_type` of a retrieval: by what passages are chosen. Where a request does not say more, the constants hold.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchType {
    /// The `k` that are nearest.
    #[default]
    Similarity,
    /// Of them those whose cosine is `score_threshold` or more.
    SimilarityScoreThreshold,
    /// Of them those whose distance is `distance_threshold` or less.
    SimilarityDistanceThreshold,
    /// Of `fetch_k` the `k` that are near to the question and not alike, by maximal marginal relevance.
    Mmr,
}

impl SearchType {
    /// `k`: passages that are found.
    pub const K: u32 = 4;
    /// `fetch_k`: passages to choose from.
    pub const FETCH_K: u32 = 20;
    /// `lambda_mult`: how much relevance counts against difference, from 0 to 1.
    pub const LAMBDA_MULT: f32 = 0.5;
    /// `score_threshold`: the lowest cosine.
    pub const SCORE_THRESHOLD: f32 = 0.2;
}

/// LLMParamsDoc: what a language model is asked to do. The answer of a reranking and of a prompt template.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LlmParamsDoc {
    /// Of this document; left out if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Registry name of the model; none is the service's own.
    pub model: Option<String>,
    /// The question.
    pub query: String,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// The same, under its older name.
    pub max_new_tokens: u32,
    /// From how many of the likeliest tokens one is picked.
    pub top_k: u32,
    /// From which share of the probability, from 0 to 1.
    pub top_p: f64,
    /// Like [`top_p`](Self::top_p), of the most typical tokens.
    pub typical_p: f64,
    /// What the logits are divided by.
    pub temperature: f64,
    /// Against tokens by how often they were there.
    pub frequency_penalty: f64,
    /// Against tokens that were there.
    pub presence_penalty: f64,
    /// What the logits of tokens that were there are divided by.
    pub repetition_penalty: f64,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// In which language to answer; `auto` is the question's.
    pub language: String,
    /// What the input's guard is told.
    pub input_guardrail_params: Option<Value>,
    /// What the output's guard is told.
    pub output_guardrail_params: Option<Value>,
    /// The prompt, or what it is made by.
    pub chat_template: Option<String>,
    /// Texts to answer from.
    pub documents: Vec<String>,
}

impl LlmParamsDoc {
    /// A question with OPEA's defaults: without an id, a template or documents.
    pub fn new(query: impl Into<String>) -> Self {
        Self {
            id: None,
            model: None,
            query: query.into(),
            max_tokens: 1024,
            max_new_tokens: 1024,
            top_k: 10,
            top_p: 0.95,
            typical_p: 0.95,
            temperature: 0.01,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            repetition_penalty: 1.03,
            stream: true,
            language: "auto".to_owned(),
            input_guardrail_params: None,
            output_guardrail_params: None,
            chat_template: None,
            documents: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_question_of_a_chat_is_its_input_or_what_the_user_said_last() {
        let question = |chat: Value| question(chat.as_object().expect("an object"));
        assert_eq!(question(json!({"input": "i", "messages": "m"})).as_deref(), Ok("i"));
        assert_eq!(question(json!({"input": ["i"], "messages": "m"})).as_deref(), Ok("m"));
        assert_eq!(question(json!({"messages": [{"role": "user", "content": "q"}]})).as_deref(), Ok("q"));
        for chat in [json!({}), json!({"messages": []})] {
            assert_eq!(question(chat).expect_err("nobody asks").param(), Some("messages"));
        }
    }

    #[test]
    fn search_types_have_the_names_of_opea() {
        for (name, kind) in [
            ("similarity", SearchType::Similarity),
            ("similarity_score_threshold", SearchType::SimilarityScoreThreshold),
            ("similarity_distance_threshold", SearchType::SimilarityDistanceThreshold),
            ("mmr", SearchType::Mmr),
        ] {
            assert_eq!(serde_json::from_value::<SearchType>(json!(name)).expect(name), kind);
        }
    }

    #[test]
    fn an_llm_params_doc_has_the_fields_of_opea() {
        let expected = json!({
            "model": null, "query": "q", "max_tokens": 1024, "max_new_tokens": 1024, "top_k": 10, "top_p": 0.95,
            "typical_p": 0.95, "temperature": 0.01, "frequency_penalty": 0.0, "presence_penalty": 0.0,
            "repetition_penalty": 1.03, "stream": true, "language": "auto", "input_guardrail_params": null,
            "output_guardrail_params": null, "chat_template": null, "documents": [],
        });
        assert_eq!(serde_json::to_value(LlmParamsDoc::new("q")).expect("JSON"), expected);
    }
}
