//! `POST /embed` as Hugging Face's Text Embeddings Inference has it (its router at revision 0d124dc9).

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use tessera_sdk::embed::{Embeddings, Input, Options, Prompt};
use tessera_sdk::inference::{self, ErrorCode};
use tessera_sdk::{IntoResponse, Response};

use crate::inputs::Inputs;

/// What the client sends.
#[derive(Debug, Deserialize)]
pub(crate) struct EmbedRequest {
    inputs: Inputs,
    normalize: Option<bool>,
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Direction,
    prompt_name: Option<String>,
    dimensions: Option<NonZeroU32>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
enum Direction {
    #[default]
    #[serde(alias = "right")]
    Right,
    #[serde(alias = "left")]
    Left,
}

impl EmbedRequest {
    /// Inputs and options for the host. TEI cuts long inputs unless `truncate` is false (its `--auto-truncate`, which
    /// is on by default).
    pub(crate) fn into_call(self) -> Result<(Vec<Input>, Options), Error> {
        if self.inputs.0.is_empty() || self.inputs.empty_at().is_some() {
            return Err(Error::new(ErrorType::Empty, "`inputs` cannot be empty"));
        }
        if self.truncation_direction == Direction::Left {
            return Err(Error::new(ErrorType::Validation, "`truncation_direction` can only be `Right` here"));
        }
        let options = Options {
            model: None,
            prompt: self.prompt_name.map_or(Prompt::Standard, Prompt::Named),
            truncate: self.truncate.unwrap_or(true),
            normalize: Some(self.normalize.unwrap_or(true)),
            dimensions: self.dimensions.map(NonZeroU32::get),
        };
        Ok((self.inputs.0, options))
    }
}

/// The response: an array of vectors. What the body has no room for is in headers: TEI's `x-compute-tokens`, and ours
/// with the number of inputs that were cut, if any were.
pub(crate) fn reply(embeddings: &Embeddings) -> Response {
    let vectors: Vec<&[f32]> = embeddings.vectors().collect();
    let tokens = inference::tokens_total(&embeddings.usage);
    let response = Response::json(200, &vectors).with_header("x-compute-tokens", tokens.to_string());
    match inference::truncated_count(&embeddings.usage) {
        0 => response,
        count => response.with_header("x-truncated-inputs", count.to_string()),
    }
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

/// A body that cannot be read keeps its status, 400 or 413; one with a wrong field is 422 as in TEI.
impl From<tessera_sdk::Error> for Error {
    fn from(error: tessera_sdk::Error) -> Self {
        let mapped = Self::new(ErrorType::Validation, error.message());
        match error.code() {
            "invalid_value" | "missing_required_parameter" => mapped,
            _ => Self { status: error.status(), ..mapped },
        }
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

    fn call(body: Value) -> Result<(Vec<Input>, Options), Error> {
        tessera_sdk::json::parse::<EmbedRequest>(body.to_string().as_bytes())?.into_call()
    }

    #[test]
    fn defaults_are_those_of_tei() {
        let (inputs, options) = call(json!({"inputs": "a"})).expect("fits");
        assert_eq!(inputs.len(), 1);
        assert_eq!((options.truncate, options.normalize, options.dimensions), (true, Some(true), None));
        assert!(matches!(options.prompt, Prompt::Standard));
    }

    #[test]
    fn all_fields_are_taken() {
        let body = json!({
            "inputs": [[1, 2], [3]], "truncate": false, "normalize": false, "prompt_name": "query",
            "dimensions": 8, "truncation_direction": "right"
        });
        let (inputs, options) = call(body).expect("fits");
        assert_eq!(inputs.len(), 2);
        assert_eq!((options.truncate, options.normalize, options.dimensions), (false, Some(false), Some(8)));
        assert!(matches!(options.prompt, Prompt::Named(name) if name == "query"));
    }

    #[test]
    fn errors_have_the_shape_and_status_of_tei() {
        let cases = [
            (json!({"inputs": []}), 400, "Empty"),
            (json!({"inputs": ""}), 400, "Empty"),
            (json!({"inputs": 5}), 422, "Validation"),
            (json!({}), 422, "Validation"),
            (json!({"inputs": "a", "truncate": "yes"}), 422, "Validation"),
            (json!({"inputs": "a", "truncation_direction": "left"}), 422, "Validation"),
        ];
        for (body, status, error_type) in cases {
            let response = call(body.clone()).expect_err("does not fit").into_response();
            let answer: Value = serde_json::from_slice(response.whole().expect("whole")).expect("JSON");
            assert_eq!((response.status(), &answer["error_type"]), (status, &json!(error_type)), "{body}");
            assert!(answer["error"].is_string());
        }
    }

    #[test]
    fn malformed_json_stays_400() {
        let error = tessera_sdk::json::parse::<EmbedRequest>(b"{oops").expect_err("not JSON");
        assert_eq!(Error::from(error).into_response().status(), 400);
    }

    #[test]
    fn errors_of_the_host_have_the_status_of_tei() {
        for (code, status) in [
            (ErrorCode::TooLong, 422),
            (ErrorCode::InvalidInput, 422),
            (ErrorCode::Overloaded, 429),
            (ErrorCode::Quota, 429),
            (ErrorCode::Internal, 424),
        ] {
            let response = Error::from(inference::Error::new(code, "why")).into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.header("retry-after"), (status == 429).then_some("1"));
        }
    }

    #[test]
    fn the_reply_is_an_array_of_vectors() {
        let embeddings = Embeddings {
            model: "m".into(),
            dimensions: 2,
            values: vec![1.0, -0.5, 0.25, 2.0],
            usage: vec![Usage { tokens: 3, truncated: false }, Usage { tokens: 256, truncated: true }],
        };
        let response = reply(&embeddings);
        assert_eq!(response.whole(), Some(b"[[1.0,-0.5],[0.25,2.0]]".as_slice()));
        assert_eq!(response.header("x-compute-tokens"), Some("259"));
        assert_eq!(response.header("x-truncated-inputs"), Some("1"));
    }
}
