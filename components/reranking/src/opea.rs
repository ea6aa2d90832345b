//! `POST /v1/reranking` as OPEA has it: SearchedDoc, RerankingRequest and ChatCompletionRequest, each with its answer
//! (GenAIComps, `comps/rerankings` and `comps/cores/proto`).

use std::num::NonZeroUsize;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use tessera_sdk::opea::{self, LlmParamsDoc};
use tessera_sdk::rerank::{Options, Scores};
use tessera_sdk::{Error, Response, json};

use crate::documents::{Document, check, with_truncated};

/// What is to be ranked, and in which shape the answer is wanted.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) query: String,
    pub(crate) documents: Vec<String>,
    top_n: usize,
    shape: Shape,
}

/// Whose answer is wanted.
#[derive(Debug)]
enum Shape {
    /// SearchedDoc in, LLMParamsDoc out.
    Searched,
    /// RerankingRequest in, RerankingResponse out.
    Reranking,
    /// ChatCompletionRequest in; the same out, with the documents in it.
    Chat(Map<String, Value>),
}

/// Fields of all three shapes.
#[derive(Debug, Deserialize)]
struct Body {
    initial_query: Option<String>,
    input: Option<Value>,
    messages: Option<IgnoredAny>,
    retrieved_docs: Option<Vec<Document>>,
    top_n: Option<NonZeroUsize>,
}

impl Call {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        let fields: Body = json::parse(body)?;
        let (query_name, query, shape) = match fields {
            Body { initial_query: Some(query), .. } => ("initial_query", query, Shape::Searched),
            Body { messages: Some(_), .. } => {
                let chat: Map<String, Value> = json::parse(body)?;
                ("messages", opea::question(&chat)?, Shape::Chat(chat))
            }
            Body { input: Some(Value::String(query)), .. } => ("input", query, Shape::Reranking),
            Body { input: Some(_), .. } => return Err(Error::invalid("input", "must be a string")),
            Body { .. } => return Err(Error::missing_one_of(&["input", "initial_query", "messages"])),
        };
        // A retriever that found nothing is no mistake, and a chat need not have asked one.
        let documents = match (fields.retrieved_docs, &shape) {
            (Some(documents), _) => documents,
            (None, Shape::Chat(_)) => Vec::new(),
            (None, _) => return Err(Error::missing("retrieved_docs")),
        };
        check((query_name, &query), ("retrieved_docs", documents.len()))?;
        Ok(Self {
            query,
            documents: documents.into_iter().map(Document::into_text).collect(),
            top_n: fields.top_n.map_or(1, NonZeroUsize::get),
            shape,
        })
    }

    /// The `model` of a chat is its language model, so the policy's first reranker is taken.
    pub(crate) fn options(&self) -> Options {
        Options { model: None, truncate: true, raw_scores: false }
    }

    /// The response: the best `top_n` documents, best first.
    pub(crate) fn into_reply(mut self, scores: &Scores) -> Response {
        let ranked = scores.ranked().into_iter().take(self.top_n);
        let (texts, reranked): (Vec<String>, Vec<Value>) = ranked
            .map(|(index, score)| {
                let text = std::mem::take(&mut self.documents[index]);
                let reranked = json!({"text": text, "score": score});
                (text, reranked)
            })
            .unzip();
        let response = match self.shape {
            Shape::Searched => Response::json(200, &LlmParamsDoc { documents: texts, ..LlmParamsDoc::new(self.query) }),
            Shape::Reranking => Response::json(200, &json!({"reranked_docs": reranked})),
            Shape::Chat(mut chat) => {
                chat.insert("reranked_docs".to_owned(), reranked.into());
                chat.insert("documents".to_owned(), texts.into());
                Response::json(200, &chat)
            }
        };
        with_truncated(response, &scores.usage)
    }
}

#[cfg(test)]
mod tests {
    use tessera_sdk::inference::Usage;

    use super::*;

    fn parse(body: &Value) -> Result<Call, Error> {
        Call::parse(body.to_string().as_bytes())
    }

    fn reply(body: &Value) -> Value {
        let call = parse(body).expect("fits");
        let values = [0.25, 0.75, 0.5][..call.documents.len()].to_vec();
        let usage = vec![Usage { tokens: 5, truncated: false }; values.len()];
        let response = call.into_reply(&Scores { model: "m".into(), values, usage });
        serde_json::from_slice(response.whole().expect("whole")).expect("JSON")
    }

    fn docs() -> Value {
        json!([{"text": "a", "id": "1"}, {"text": "b", "metadata": {"k": 1}}, "c"])
    }

    #[test]
    fn a_searched_doc_becomes_an_llm_params_doc_with_the_best_document() {
        let answer = reply(&json!({"initial_query": "q", "retrieved_docs": docs()}));
        assert_eq!((&answer["query"], &answer["documents"]), (&json!("q"), &json!(["b"])));
        assert_eq!(answer["max_new_tokens"], 1024);
    }

    #[test]
    fn a_reranking_request_gets_texts_and_scores() {
        let answer = reply(&json!({"input": "q", "retrieved_docs": docs(), "top_n": 2}));
        assert_eq!(answer, json!({"reranked_docs": [{"text": "b", "score": 0.75}, {"text": "c", "score": 0.5}]}));
    }

    #[test]
    fn a_chat_comes_back_with_its_documents() {
        let messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]);
        let body = json!({"messages": messages, "model": "llm", "seed": 7, "retrieved_docs": docs()});
        assert_eq!(parse(&body).expect("fits").query, "q");
        let answer = reply(&body);
        assert_eq!((&answer["messages"], &answer["model"], &answer["seed"]), (&messages, &json!("llm"), &json!(7)));
        assert_eq!(answer["documents"], json!(["b"]));
        assert_eq!(answer["reranked_docs"], json!([{"text": "b", "score": 0.75}]));
    }

    #[test]
    fn the_question_of_a_chat_is_its_input_or_what_the_user_wrote_last() {
        let parts = json!([{"type": "text", "text": "x"}, {"type": "image_url"}, {"type": "text", "text": "y"}]);
        let cases = [
            (json!({"input": "i", "messages": "m"}), "i"),
            (json!({"messages": "m"}), "m"),
            (json!({"messages": [{"role": "user", "content": parts}]}), "x\ny"),
        ];
        for (body, query) in cases {
            assert_eq!(parse(&body).expect(query).query, query);
        }
    }

    #[test]
    fn nothing_retrieved_gives_no_documents() {
        let answer = reply(&json!({"initial_query": "q", "retrieved_docs": []}));
        assert_eq!(answer["documents"], json!([]));
    }

    #[test]
    fn bad_requests_name_the_field() {
        let cases = [
            (json!({}), "input"),
            (json!({"input": "q"}), "retrieved_docs"),
            (json!({"input": 5, "retrieved_docs": []}), "input"),
            (json!({"input": "", "retrieved_docs": []}), "input"),
            (json!({"initial_query": "q", "retrieved_docs": [{"id": 1}]}), "retrieved_docs[0]"),
            (json!({"initial_query": "q", "retrieved_docs": [], "top_n": 0}), "top_n"),
            (json!({"initial_query": "q", "retrieved_docs": vec!["a"; 1001]}), "retrieved_docs"),
            (json!({"messages": [], "retrieved_docs": []}), "messages"),
        ];
        for (body, param) in cases {
            let error = parse(&body).expect_err(param);
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{error}");
        }
    }
}
