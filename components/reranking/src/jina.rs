//! `POST /rerank` as Jina and Cohere have it.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};
use tessera_sdk::inference;
use tessera_sdk::rerank::{Options, Scores};
use tessera_sdk::{Error, Response, json};

use crate::documents::{Document, check};

/// What the client sends, with the texts taken out of the documents.
#[derive(Debug)]
pub(crate) struct RerankRequest {
    model: Option<String>,
    query: String,
    documents: Vec<String>,
    top_n: usize,
    return_documents: bool,
}

#[derive(Debug, Deserialize)]
struct Body {
    model: Option<String>,
    query: Document,
    documents: Vec<Document>,
    top_n: Option<NonZeroUsize>,
    return_documents: Option<bool>,
}

impl RerankRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        let body: Body = json::parse(body)?;
        let query = body.query.into_text();
        check(("query", &query), ("documents", body.documents.len()))?;
        if body.documents.is_empty() {
            return Err(Error::invalid("documents", "must have at least one element"));
        }
        Ok(Self {
            model: body.model,
            query,
            documents: body.documents.into_iter().map(Document::into_text).collect(),
            top_n: body.top_n.map_or(usize::MAX, NonZeroUsize::get),
            return_documents: body.return_documents.unwrap_or(false),
        })
    }

    pub(crate) fn query(&self) -> &str {
        &self.query
    }

    pub(crate) fn documents(&self) -> &[String] {
        &self.documents
    }

    pub(crate) fn options(&self) -> Options {
        Options { model: self.model.clone(), truncate: true, raw_scores: false }
    }

    /// The response: the best `top_n` documents (all, if it is not given), best first.
    pub(crate) fn into_reply(mut self, scores: &Scores) -> Response {
        let ranked = scores.ranked().into_iter().take(self.top_n);
        let results = ranked
            .map(|(index, score)| Ranked {
                index,
                relevance_score: score,
                document: self.return_documents.then(|| Text { text: std::mem::take(&mut self.documents[index]) }),
                truncated: scores.usage.get(index).is_some_and(|usage| usage.truncated),
            })
            .collect();
        let usage = ReplyUsage { total_tokens: inference::tokens_total(&scores.usage) };
        Response::json(200, &Reply { model: &scores.model, results, usage })
    }
}

#[derive(Serialize)]
struct Reply<'a> {
    model: &'a str,
    results: Vec<Ranked>,
    usage: ReplyUsage,
}

#[derive(Serialize)]
struct Ranked {
    index: usize,
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Text>,
    /// Ours: query and document were longer than the model reads and have been cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
struct ReplyUsage {
    total_tokens: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tessera_sdk::inference::Usage;

    use super::*;

    fn parse(body: Value) -> Result<RerankRequest, Error> {
        RerankRequest::parse(body.to_string().as_bytes())
    }

    fn reply(body: Value) -> Value {
        let usage = |truncated| Usage { tokens: 5, truncated };
        let scores =
            Scores { model: "m".into(), values: vec![0.25, 0.75, 0.5], usage: vec![usage(false), usage(false), usage(true)] };
        let response = parse(body).expect("fits").into_reply(&scores);
        serde_json::from_slice(response.whole().expect("whole")).expect("JSON")
    }

    #[test]
    fn results_are_sorted_with_the_best_first() {
        assert_eq!(
            reply(json!({"model": "m", "query": "q", "documents": ["a", {"text": "b"}, "c"]})),
            json!({
                "model": "m",
                "results": [
                    {"index": 1, "relevance_score": 0.75},
                    {"index": 2, "relevance_score": 0.5, "truncated": true},
                    {"index": 0, "relevance_score": 0.25},
                ],
                "usage": {"total_tokens": 15},
            })
        );
    }

    #[test]
    fn top_n_and_return_documents_are_heeded() {
        let reply = reply(json!({"query": {"text": "q"}, "documents": ["a", "b", "c"], "top_n": 1, "return_documents": true}));
        assert_eq!(reply["results"], json!([{"index": 1, "relevance_score": 0.75, "document": {"text": "b"}}]));
    }

    #[test]
    fn bad_requests_name_the_field() {
        let cases = [
            (json!({"documents": ["a"]}), "query"),
            (json!({"query": "", "documents": ["a"]}), "query"),
            (json!({"query": "q", "documents": []}), "documents"),
            (json!({"query": "q", "documents": "a"}), "documents"),
            (json!({"query": "q", "documents": ["a", 5]}), "documents[1]"),
            (json!({"query": "q", "documents": vec!["a"; 1001]}), "documents"),
            (json!({"query": "q", "documents": ["a"], "top_n": 0}), "top_n"),
        ];
        for (body, param) in cases {
            let error = parse(body).expect_err(param);
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{error}");
        }
    }
}
