//! What is answered over HTTP.

pub(crate) mod guardrails;
mod params;
pub(crate) mod pii;
pub(crate) mod single;

use serde::Serialize;
use tessera_sdk::Error;

use crate::checks::Check;

/// Texts in one request are at most so long, in bytes: one that is longer takes a model too long.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;

/// OPEA's answer for a text that does not pass.
#[derive(Debug, Serialize)]
pub(crate) struct Violation {
    text: String,
    /// Regular expressions of the services that are not to be asked any more: all.
    downstream_black_list: [&'static str; 1],
    /// How sure the check is, where one is asked alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

impl Violation {
    pub(crate) fn of(blocked: &[Check], score: Option<f64>) -> Self {
        let reasons: Vec<&str> = blocked.iter().map(|check| check.reason()).collect();
        let text = format!("Violated policies: {}, please check your input.", reasons.join(", "));
        Self { text, downstream_black_list: [".*"], score }
    }
}

/// # Errors
/// 413 for a text that is too long.
pub(crate) fn bounded(text: &str) -> Result<(), Error> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the text has {} bytes; {TEXT_BYTES_MAX} at most", text.len());
    Err(Error::new(413, "text_too_long", message))
}
