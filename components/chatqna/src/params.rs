//! How to generate, where OPEA differs from OpenAI.

use tessera_sdk::generate::{Defaults, Options, Params, Stream};
use tessera_sdk::{Error, json};

use crate::settings::Settings;

/// What OPEA's services are called in requests and answers, instead of a model.
pub(crate) const NAME: &str = "chatqna";

/// OPEA's default: all but the likeliest token.
const TEMPERATURE: f32 = 0.01;

/// What a request says of how to generate: whether to stream the answer, as is done unless it says otherwise, and what the host
/// is asked for.
///
/// # Errors
/// 400, naming the field.
pub(crate) fn read(body: &[u8], settings: &Settings) -> Result<(Stream, Options), Error> {
    let defaults = Defaults { temperature: TEMPERATURE, tokens_max: Some(settings.answer_tokens_max), stream: true };
    let params: Params = json::parse(body)?;
    let stream = params.stream(&defaults)?;
    let mut options = params.into_options(&defaults)?;
    options.model = options.model.filter(|model| model != NAME);
    Ok((stream, options))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn params(body: &Value) -> Result<(Stream, Options), Error> {
        read(body.to_string().as_bytes(), &Settings::default())
    }

    fn stream(body: &Value) -> Stream {
        params(body).expect("good ones").0
    }

    #[test]
    fn an_answer_is_streamed_unless_it_is_not_wanted() {
        assert_eq!(stream(&json!({})), Stream::Events { include_usage: false });
        let usage = json!({"stream": true, "stream_options": {"include_usage": true}});
        assert_eq!(stream(&usage), Stream::Events { include_usage: true });
        assert_eq!(stream(&json!({"stream": false})), Stream::Whole);
    }

    #[test]
    fn what_is_left_out_is_the_settings_and_opeas() {
        let (_, options) = params(&json!({"model": "chatqna"})).expect("good ones");
        assert_eq!((options.model, options.tokens_max), (None, Some(256)));
        assert_eq!(options.sampling.temperature, 0.01);
    }

    #[test]
    fn what_is_out_of_range_names_its_field() {
        for (body, param) in [
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"temperature": 3}), "temperature"),
            (json!({"top_p": -1}), "top_p"),
            (json!({"repetition_penalty": 0}), "repetition_penalty"),
            (json!({"stop": ["", "a"]}), "stop"),
        ] {
            let error = params(&body).expect_err("is refused");
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{body}");
        }
    }
}
