//! How to generate: the parameters of a request that are for the language model.

use serde::Deserialize;
use tessera_sdk::Error;
use tessera_sdk::generate::{Options, Sampling};

use crate::settings::Settings;

/// What OPEA's services are called in requests and answers, instead of a model.
pub(crate) const NAME: &str = "chatqna";

/// Stop texts of one request; the host takes no more.
const STOPS_MAX: usize = 16;
/// Bytes of a stop text; the host takes no more.
const STOP_BYTES_MAX: usize = 1024;
/// OPEA's default: all but the likeliest token.
const TEMPERATURE: f32 = 0.01;

/// OpenAI's parameters, and those of OPEA beside them.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Params {
    model: Option<String>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i64>,
    typical_p: Option<f32>,
    repetition_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    seed: Option<i64>,
    stop: Option<Stop>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string or an array of strings")]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// Whether, and how, an answer is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// It is answered in one piece.
    Whole,
    /// Events, at the end with the usage as a piece of its own, or not.
    Events {
        /// Whether to send it.
        include_usage: bool,
    },
}

impl Params {
    /// How to answer: as a stream unless the request says otherwise, as OPEA has it.
    pub(crate) fn stream(&self) -> Stream {
        let include_usage = self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false);
        if self.stream.unwrap_or(true) { Stream::Events { include_usage } } else { Stream::Whole }
    }

    /// What the host is asked for.
    ///
    /// # Errors
    /// 400, naming the field.
    pub(crate) fn into_options(self, settings: &Settings) -> Result<Options, Error> {
        let (name, tokens_max) = match self.max_completion_tokens {
            Some(tokens) => ("max_completion_tokens", Some(tokens)),
            None => ("max_tokens", self.max_tokens),
        };
        if tokens_max == Some(0) {
            return Err(invalid(name, "must be 1 or more"));
        }
        let defaults = Sampling::default();
        Ok(Options {
            model: self.model.filter(|model| model != NAME),
            tokens_max: Some(tokens_max.unwrap_or(settings.answer_tokens_max)),
            stop: stop(self.stop)?,
            sampling: Sampling {
                repetition_penalty: within("repetition_penalty", self.repetition_penalty.unwrap_or(1.0), 0.01, 10.0)?,
                frequency_penalty: within("frequency_penalty", self.frequency_penalty.unwrap_or(0.0), -2.0, 2.0)?,
                presence_penalty: within("presence_penalty", self.presence_penalty.unwrap_or(0.0), -2.0, 2.0)?,
                temperature: within("temperature", self.temperature.unwrap_or(TEMPERATURE), 0.0, 2.0)?,
                top_k: self.top_k.filter(|k| *k > 0).map(|k| u32::try_from(k).unwrap_or(u32::MAX)),
                typical_p: within("typical_p", self.typical_p.unwrap_or(1.0), 0.0, 1.0)?,
                top_p: within("top_p", self.top_p.unwrap_or(1.0), 0.0, 1.0)?,
                seed: self.seed.map(i64::cast_unsigned),
                ..defaults
            },
            logprobs: None,
        })
    }
}

fn stop(stop: Option<Stop>) -> Result<Vec<String>, Error> {
    let texts = match stop {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Many(texts)) => texts,
    };
    if texts.len() > STOPS_MAX || texts.iter().any(|text| text.is_empty() || text.len() > STOP_BYTES_MAX) {
        return Err(invalid("stop", &format!("takes up to {STOPS_MAX} texts, each of 1 to {STOP_BYTES_MAX} bytes")));
    }
    Ok(texts)
}

fn within(name: &str, value: f32, min: f32, max: f32) -> Result<f32, Error> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(invalid(name, &format!("must be from {min} to {max}"))) }
}

/// 400, naming the field.
pub(crate) fn invalid(name: &str, what: &str) -> Error {
    Error::bad_request(format!("`{name}` {what}")).with_param(name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn params(body: Value) -> Params {
        tessera_sdk::json::parse(body.to_string().as_bytes()).expect("parameters")
    }

    #[test]
    fn an_answer_is_streamed_unless_it_is_not_wanted() {
        assert_eq!(params(json!({})).stream(), Stream::Events { include_usage: false });
        let usage = json!({"stream": true, "stream_options": {"include_usage": true}});
        assert_eq!(params(usage).stream(), Stream::Events { include_usage: true });
        assert_eq!(params(json!({"stream": false})).stream(), Stream::Whole);
    }

    #[test]
    fn what_is_left_out_is_the_settings_and_opeas() {
        let options = params(json!({"model": "chatqna"})).into_options(&Settings::default()).expect("good ones");
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
            let error = params(body.clone()).into_options(&Settings::default()).expect_err("is refused");
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{body}");
        }
    }
}
