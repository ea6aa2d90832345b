//! OpenAI's parameters of a generation, as requests have them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Options, Sampling};
use crate::error::Error;

/// Stop texts of one request; the host takes no more.
const STOPS_MAX: usize = 16;
/// Bytes of a stop text; the host takes no more.
const STOP_BYTES_MAX: usize = 1024;

/// The fields of a request that say which model generates, how much, how it picks tokens, and whether the answer is streamed.
///
/// They are those of OpenAI, with the usual ones of other servers: `top_k`, `min_p`, `typical_p` and `repetition_penalty`. What
/// a field may be is checked when the request is turned into [`Options`]; null is as good as nothing. All other fields of the
/// body are left to the service, which reads them from the same bytes.
///
/// ```
/// use tessera_sdk::generate::{Defaults, Params, Stream};
///
/// # fn main() -> Result<(), tessera_sdk::Error> {
/// let body = br#"{"prompt": "Once upon a time", "max_tokens": 64, "stop": "\n", "stream": true}"#;
/// let params: Params = tessera_sdk::json::parse(body)?;
/// let defaults = Defaults { temperature: 0.7, ..Defaults::default() };
/// assert_eq!(params.stream(&defaults)?, Stream::Events { include_usage: false });
/// let options = params.into_options(&defaults)?;
/// assert_eq!((options.tokens_max, options.sampling.temperature), (Some(64), 0.7));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Params {
    model: Option<String>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i64>,
    min_p: Option<f32>,
    typical_p: Option<f32>,
    repetition_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    logit_bias: Option<BTreeMap<String, f32>>,
    seed: Option<i64>,
    stop: Option<Stop>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "a string or an array of strings")]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Clone, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// What holds where a request does not say.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// What the logits are divided by: from 0, which takes the likeliest token always, to 2.
    pub temperature: f32,
    /// Most tokens of the answer; none for as many as the model has room for.
    pub tokens_max: Option<u32>,
    /// Whether the answer is streamed.
    pub stream: bool,
}

impl Default for Defaults {
    /// OpenAI's: temperature 1, no limit, in one piece.
    fn default() -> Self {
        Self { temperature: 1.0, tokens_max: None, stream: false }
    }
}

/// Whether, and how, an answer is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// It is answered in one piece.
    Whole,
    /// It is answered in events, as it is generated.
    Events {
        /// Whether the usage is sent at the end, as a piece of its own.
        include_usage: bool,
    },
}

impl Params {
    /// Whether, and how, to stream the answer.
    ///
    /// # Errors
    /// 400 for `stream_options` of an answer that is not streamed.
    pub fn stream(&self, defaults: &Defaults) -> Result<Stream, Error> {
        match (self.stream.unwrap_or(defaults.stream), &self.stream_options) {
            (false, Some(_)) => Err(Error::invalid("stream_options", "is only for `stream: true`")),
            (false, None) => Ok(Stream::Whole),
            (true, options) => {
                let include_usage = options.as_ref().and_then(|options| options.include_usage).unwrap_or(false);
                Ok(Stream::Events { include_usage })
            }
        }
    }

    /// What the host is asked for, without log-probabilities.
    ///
    /// # Errors
    /// 400 that names the field whose value is out of its range.
    pub fn into_options(self, defaults: &Defaults) -> Result<Options, Error> {
        Ok(Options {
            tokens_max: self.tokens_max()?.or(defaults.tokens_max),
            stop: stop(self.stop)?,
            sampling: Sampling {
                repetition_penalty: within("repetition_penalty", self.repetition_penalty.unwrap_or(1.0), 0.01, 10.0)?,
                frequency_penalty: within("frequency_penalty", self.frequency_penalty.unwrap_or(0.0), -2.0, 2.0)?,
                presence_penalty: within("presence_penalty", self.presence_penalty.unwrap_or(0.0), -2.0, 2.0)?,
                logit_bias: logit_bias(self.logit_bias.unwrap_or_default())?,
                temperature: within("temperature", self.temperature.unwrap_or(defaults.temperature), 0.0, 2.0)?,
                // Below 1 means no limit, as other servers have it.
                top_k: self.top_k.filter(|k| *k > 0).map(|k| u32::try_from(k).unwrap_or(u32::MAX)),
                typical_p: within("typical_p", self.typical_p.unwrap_or(1.0), 0.0, 1.0)?,
                top_p: within("top_p", self.top_p.unwrap_or(1.0), 0.0, 1.0)?,
                min_p: within("min_p", self.min_p.unwrap_or(0.0), 0.0, 1.0)?,
                seed: self.seed.map(i64::cast_unsigned),
            },
            model: self.model,
            logprobs: None,
        })
    }

    fn tokens_max(&self) -> Result<Option<u32>, Error> {
        let (name, tokens) = match self.max_completion_tokens {
            Some(tokens) => ("max_completion_tokens", Some(tokens)),
            None => ("max_tokens", self.max_tokens),
        };
        if tokens == Some(0) { Err(Error::invalid(name, "must be 1 or more")) } else { Ok(tokens) }
    }
}

fn stop(stop: Option<Stop>) -> Result<Vec<String>, Error> {
    let texts = match stop {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Many(texts)) => texts,
    };
    if texts.len() > STOPS_MAX || texts.iter().any(|text| text.is_empty() || text.len() > STOP_BYTES_MAX) {
        return Err(Error::invalid("stop", &format!("takes up to {STOPS_MAX} texts, each of 1 to {STOP_BYTES_MAX} bytes")));
    }
    Ok(texts)
}

fn logit_bias(biases: BTreeMap<String, f32>) -> Result<Vec<(u32, f32)>, Error> {
    let bias = |(id, bias): (String, f32)| match id.parse() {
        Ok(id) => Ok((id, within("logit_bias", bias, -100.0, 100.0)?)),
        Err(_) => Err(Error::invalid("logit_bias", &format!("has the key `{id}`, which is no token id"))),
    };
    biases.into_iter().map(bias).collect()
}

fn within(name: &str, value: f32, min: f32, max: f32) -> Result<f32, Error> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(Error::invalid(name, &format!("must be from {min} to {max}; it is {value}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn options(body: Value) -> Result<Options, Error> {
        crate::json::parse::<Params>(body.to_string().as_bytes())?.into_options(&Defaults::default())
    }

    #[test]
    fn every_parameter_reaches_the_host() {
        let options = options(json!({
            "model": "m", "max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "typical_p": 0.8,
            "repetition_penalty": 1.1, "presence_penalty": 0.1, "frequency_penalty": -0.2, "logit_bias": {"7": -100},
            "seed": -1, "stop": ["a", "b"]
        }))
        .expect("fits");
        assert_eq!((options.model.as_deref(), options.tokens_max), (Some("m"), Some(5)));
        assert_eq!(options.stop, ["a", "b"]);
        let sampling = options.sampling;
        assert_eq!((sampling.temperature, sampling.top_p, sampling.top_k), (0.5, 0.9, Some(40)));
        assert_eq!((sampling.min_p, sampling.typical_p, sampling.repetition_penalty), (0.05, 0.8, 1.1));
        assert_eq!((sampling.presence_penalty, sampling.frequency_penalty), (0.1, -0.2));
        assert_eq!((sampling.logit_bias, sampling.seed), (vec![(7, -100.0)], Some(u64::MAX)));
    }

    #[test]
    fn what_is_left_out_or_null_is_the_usual() {
        let null = json!({"max_tokens": null, "temperature": null, "stop": null, "logit_bias": null, "stream_options": null});
        for body in [json!({}), null] {
            let options = options(body).expect("fits");
            assert_eq!((options.model, options.tokens_max, options.stop), (None, None, Vec::new()));
            assert_eq!((options.sampling.temperature, options.sampling.top_k), (1.0, None));
        }
    }

    #[test]
    fn the_newer_name_of_the_limit_wins() {
        assert_eq!(options(json!({"max_tokens": 1, "max_completion_tokens": 2})).expect("fits").tokens_max, Some(2));
    }

    #[test]
    fn bad_values_name_their_field() {
        for (body, param) in [
            (json!({"temperature": 2.1}), "temperature"),
            (json!({"temperature": "hot"}), "temperature"),
            (json!({"top_p": -0.1}), "top_p"),
            (json!({"min_p": 2}), "min_p"),
            (json!({"presence_penalty": 3}), "presence_penalty"),
            (json!({"repetition_penalty": 0}), "repetition_penalty"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"max_tokens": -1}), "max_tokens"),
            (json!({"max_completion_tokens": 0}), "max_completion_tokens"),
            (json!({"stop": 1}), "stop"),
            (json!({"stop": ""}), "stop"),
            (json!({"stop": vec!["x"; 17]}), "stop"),
            (json!({"stop": "x".repeat(1025)}), "stop"),
            (json!({"logit_bias": {"x": 1}}), "logit_bias"),
            (json!({"logit_bias": {"1": 101}}), "logit_bias"),
        ] {
            let error = options(body.clone()).expect_err("does not fit");
            assert_eq!((error.status(), error.param()), (400, Some(param)), "{body}: {error}");
        }
    }

    #[test]
    fn options_of_a_stream_need_a_stream() {
        let stream =
            |body: Value| crate::json::parse::<Params>(body.to_string().as_bytes()).expect("fits").stream(&Defaults::default());
        assert_eq!(stream(json!({"stream": true})), Ok(Stream::Events { include_usage: false }));
        let usage = json!({"stream": true, "stream_options": {"include_usage": true}});
        assert_eq!(stream(usage), Ok(Stream::Events { include_usage: true }));
        assert_eq!(stream(json!({"stream": false})), Ok(Stream::Whole));
        let error = stream(json!({"stream_options": {}})).expect_err("does not fit");
        assert_eq!(error.param(), Some("stream_options"));
    }
}
