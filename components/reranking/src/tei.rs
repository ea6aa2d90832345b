//! `POST /rerank` as Hugging Face's Text Embeddings Inference has it (its router at revision 0d124dc9).

use serde::{Deserialize, Serialize};
use tessera_sdk::inference::{self, ErrorCode};
use tessera_sdk::rerank::{Options, Scores};
use tessera_sdk::{IntoResponse, Response, json};

use crate::documents::{check, with_truncated};

/// What the client sends.
#[derive(Debug, Deserialize)]
pub(crate) struct RerankRequest {
    pub(crate) query: String,
    pub(crate) texts: Vec<String>,
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Direction,
    #[serde(default)]
    raw_scores: bool,
    #[serde(default)]
    return_text: bool,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
enum Direction {
    #[default]
    #[serde(alias = "right")]
    Right,
    #[serde(alias = "left")]
    Left,
}

impl RerankRequest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Error> {
        let request: Self = json::parse(body)?;
        if request.texts.is_empty() {
            return Err(Error::new(ErrorType::Empty, "`texts` cannot be empty"));
        }
        check(("query", &request.query), ("texts", request.texts.len()))?;
        if request.truncation_direction == Direction::Left {
            return Err(Error::new(ErrorType::Validation, "`truncation_direction` can only be `Right` here"));
        }
        Ok(request)
    }

    /// TEI cuts long texts unless `truncate` is false (its `--auto-truncate`, which is on by default).
    pub(crate) fn options(&self) -> Options {
        Options { model: None, truncate: self.truncate.unwrap_or(true), raw_scores: self.raw_scores }
    }

    /// The response: all texts, best first.
    pub(crate) fn into_reply(mut self, scores: &Scores) -> Response {
        let ranks: Vec<Rank> = scores
            .ranked()
            .into_iter()
            .map(|(index, score)| Rank { index, text: self.return_text.then(|| std::mem::take(&mut self.texts[index])), score })
            .collect();
        let tokens = inference::tokens_total(&scores.usage);
        let response = Response::json(200, &ranks).with_header("x-compute-tokens", tokens.to_string());
        with_truncated(response, &scores.usage)
    }
}

#[derive(Serialize)]
struct Rank {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    score: f32,
}

/// TEI's error: `{"error", "error_type"}`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Error {
    error: String,
    error_type: ErrorType,
    #[serde(skip)]
    status: u16,
    #[serde(skip)]
    retry_after_s: Option<u32>,
}

/// TEI's classes of errors, as far as they occur here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum ErrorType {
    Backend,
    Overloaded,
    Validation,
    Empty,
}

impl Error {
    fn new(error_type: ErrorType, message: impl Into<String>) -> Self {
        let status = match error_type {
            ErrorType::Backend => 424,
            ErrorType::Overloaded => 429,
            ErrorType::Validation => 422,
            ErrorType::Empty => 400,
        };
        Self { error: message.into(), error_type, status, retry_after_s: None }
    }
}

/// A wrong field is 422 as in TEI.
impl From<tessera_sdk::Error> for Error {
    fn from(error: tessera_sdk::Error) -> Self {
        Self::new(ErrorType::Validation, error.message())
    }
}

impl From<inference::Error> for Error {
    fn from(error: inference::Error) -> Self {
        let retry_after_s = error.retry_after_s();
        let error_type = match error.code {
            ErrorCode::InvalidInput | ErrorCode::TooLong => ErrorType::Validation,
            ErrorCode::Overloaded | ErrorCode::Quota => ErrorType::Overloaded,
            ErrorCode::UnknownModel
            | ErrorCode::Unsupported
            | ErrorCode::Deadline
            | ErrorCode::Internal
            | ErrorCode::Cancelled => ErrorType::Backend,
        };
        Self { retry_after_s, ..Self::new(error_type, error.message) }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let response = Response::json(self.status, &self);
        match self.retry_after_s {
            Some(seconds) => response.with_header("retry-after", seconds.to_string()),
            None => response,
        }
    }
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
        let usage = vec![Usage { tokens: 5, truncated: false }; 2];
        let scores = Scores { model: "m".into(), values: vec![0.25, 0.75], usage };
        let response = parse(body).expect("fits").into_reply(&scores);
        assert_eq!(response.header("x-compute-tokens"), Some("10"));
        serde_json::from_slice(response.whole().expect("whole")).expect("JSON")
    }

    #[test]
    fn ranks_are_sorted_with_the_best_first() {
        assert_eq!(
            reply(json!({"query": "q", "texts": ["a", "b"]})),
            json!([{"index": 1, "score": 0.75}, {"index": 0, "score": 0.25}])
        );
    }

    #[test]
    fn texts_come_back_on_request() {
        assert_eq!(reply(json!({"query": "q", "texts": ["a", "b"], "return_text": true}))[0]["text"], "b");
    }

    #[test]
    fn options_are_those_of_tei() {
        let options = parse(json!({"query": "q", "texts": ["a"]})).expect("fits").options();
        assert_eq!((options.truncate, options.raw_scores), (true, false));
        let body = json!({"query": "q", "texts": ["a"], "truncate": false, "raw_scores": true});
        let options = parse(body).expect("fits").options();
        assert_eq!((options.truncate, options.raw_scores), (false, true));
    }

    #[test]
    fn errors_have_the_shape_and_status_of_tei() {
        let cases = [
            (json!({"query": "q", "texts": []}), 400, "Empty"),
            (json!({"texts": ["a"]}), 422, "Validation"),
            (json!({"query": "", "texts": ["a"]}), 422, "Validation"),
            (json!({"query": "q", "texts": "a"}), 422, "Validation"),
            (json!({"query": "q", "texts": vec!["a"; 1001]}), 422, "Validation"),
        ];
        for (body, status, error_type) in cases {
            let response = parse(body).expect_err(error_type).into_response();
            let answer: Value = serde_json::from_slice(response.whole().expect("whole")).expect("JSON");
            assert_eq!((response.status(), &answer["error_type"]), (status, &json!(error_type)), "{answer}");
        }
    }
}
