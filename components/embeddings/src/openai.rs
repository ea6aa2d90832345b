//! `POST /v1/embeddings` as OpenAI and OPEA (EmbeddingRequest, EmbeddingResponse) have it.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tessera_sdk::embed::{Embeddings, Input, Options, Prompt};
use tessera_sdk::{Error, Response, inference};

use crate::inputs::Inputs;

/// What the client sends. `user`, OPEA's `request_type` and unknown fields are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct EmbeddingRequest {
    input: Inputs,
    model: Option<String>,
    encoding_format: Option<Encoding>,
    dimensions: Option<NonZeroU32>,
}

/// How the numbers of a vector are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    /// An array of numbers.
    #[default]
    Float,
    /// Base64 of the numbers as little-endian `f32`, one after the other.
    Base64,
}

/// What the host is asked to do, and how the answer is written.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) inputs: Vec<Input>,
    pub(crate) options: Options,
    pub(crate) encoding: Encoding,
}

impl EmbeddingRequest {
    pub(crate) fn into_call(self) -> Result<Call, Error> {
        if self.input.0.is_empty() {
            return Err(Error::invalid("input", "must have at least one element"));
        }
        if let Some(index) = self.input.empty_at() {
            let message = format!("input {index} is empty: an input has at least one character or token id");
            return Err(Error::bad_request(message).with_param("input"));
        }
        let options = Options {
            model: self.model,
            prompt: Prompt::Standard,
            truncate: true,
            normalize: None,
            dimensions: self.dimensions.map(NonZeroU32::get),
        };
        Ok(Call { inputs: self.input.0, options, encoding: self.encoding_format.unwrap_or_default() })
    }
}

#[derive(Serialize)]
struct Reply<'a> {
    object: &'static str,
    model: &'a str,
    data: Vec<Item<'a>>,
    usage: ReplyUsage,
}

#[derive(Serialize)]
struct Item<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
    /// Ours: the input was longer than the model reads and has been cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Float(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct ReplyUsage {
    prompt_tokens: u64,
    total_tokens: u64,
    completion_tokens: u64,
}

/// The response: one item for each input, in their order.
pub(crate) fn reply(embeddings: &Embeddings, encoding: Encoding) -> Response {
    let items = embeddings.vectors().zip(&embeddings.usage).enumerate();
    let tokens = inference::tokens_total(&embeddings.usage);
    let reply = Reply {
        object: "list",
        model: &embeddings.model,
        data: items
            .map(|(index, (vector, usage))| Item {
                object: "embedding",
                index,
                embedding: encode(vector, encoding),
                truncated: usage.truncated,
            })
            .collect(),
        usage: ReplyUsage { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0 },
    };
    Response::json(200, &reply)
}

fn encode(vector: &[f32], encoding: Encoding) -> Vector<'_> {
    match encoding {
        Encoding::Float => Vector::Float(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tessera_sdk::inference::Usage;

    use super::*;

    fn call(body: Value) -> Result<Call, Error> {
        tessera_sdk::json::parse::<EmbeddingRequest>(body.to_string().as_bytes())?.into_call()
    }

    fn reply_json(encoding: Encoding) -> Value {
        let embeddings = Embeddings {
            model: "m".into(),
            dimensions: 2,
            values: vec![1.0, -0.5, 0.25, 2.0],
            usage: vec![Usage { tokens: 3, truncated: false }, Usage { tokens: 256, truncated: true }],
        };
        serde_json::from_slice(reply(&embeddings, encoding).whole().expect("whole")).expect("JSON")
    }

    #[test]
    fn fields_of_openai_and_opea_are_taken() {
        let call = call(json!({
            "input": ["a"], "model": "m", "encoding_format": "base64", "dimensions": 64,
            "user": "u", "request_type": "embedding", "more": {}
        }))
        .expect("fits");
        assert_eq!((call.inputs.len(), call.encoding), (1, Encoding::Base64));
        assert_eq!((call.options.model.as_deref(), call.options.dimensions), (Some("m"), Some(64)));
        assert!(call.options.truncate);
    }

    #[test]
    fn optional_fields_may_be_null() {
        let body = json!({"input": "a", "model": null, "encoding_format": null, "dimensions": null});
        assert_eq!(call(body).expect("fits").encoding, Encoding::Float);
    }

    #[test]
    fn bad_requests_name_the_field() {
        let cases = [
            (json!({"model": "m"}), "input"),
            (json!({"input": null}), "input"),
            (json!({"input": []}), "input"),
            (json!({"input": ["a", ""]}), "input"),
            (json!({"input": ["a", 1]}), "input"),
            (json!({"input": [1, -1]}), "input[1]"),
            (json!({"input": "a", "dimensions": 0}), "dimensions"),
            (json!({"input": "a", "dimensions": -3}), "dimensions"),
            (json!({"input": "a", "encoding_format": "hex"}), "encoding_format"),
            (json!({"input": "a", "model": 5}), "model"),
        ];
        for (body, param) in cases {
            let error = call(body.clone()).expect_err("does not fit");
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{body}: {error}");
        }
    }

    #[test]
    fn a_bad_encoding_names_the_allowed_ones() {
        let error = call(json!({"input": "a", "encoding_format": "hex"})).expect_err("does not fit");
        assert!(error.message().contains("expected `float` or `base64`"), "{error}");
    }

    #[test]
    fn the_reply_has_the_shape_of_openai() {
        assert_eq!(
            reply_json(Encoding::Float),
            json!({
                "object": "list",
                "model": "m",
                "data": [
                    {"object": "embedding", "index": 0, "embedding": [1.0, -0.5]},
                    {"object": "embedding", "index": 1, "embedding": [0.25, 2.0], "truncated": true},
                ],
                "usage": {"prompt_tokens": 259, "total_tokens": 259, "completion_tokens": 0},
            })
        );
    }

    #[test]
    fn base64_is_little_endian_f32() {
        assert_eq!(reply_json(Encoding::Base64)["data"][0]["embedding"], "AACAPwAAAL8=");
    }
}
