//! What the capabilities that run models share: their error, what an input cost, and messages of a conversation.

use crate::log;

pub use crate::bindings::tessera::inference::types::{Error, ErrorCode, Message, Usage};

/// Seconds that a client is asked to wait where the host does not say for how long.
const RETRY_AFTER_S: u32 = 1;

impl Error {
    /// An error that the component found by itself.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// Writes into the host's log that `what` failed, if it is the device that did: mistakes of a client are the client's to read.
    ///
    /// Needs `[log]` in the component's policy, as all of [`log`].
    pub fn log_if_internal(&self, what: &str) {
        if self.code == ErrorCode::Internal {
            log::warn(&format!("{what} failed: {}", self.message));
        }
    }

    /// When the client may try again, in seconds and rounded up; none where that does not help.
    pub fn retry_after_s(&self) -> Option<u32> {
        let helps = matches!(self.code, ErrorCode::Overloaded | ErrorCode::Quota);
        helps.then(|| retry_after_s(self.retry_after_ms))
    }
}

/// Milliseconds of the host as seconds for a client.
pub(crate) fn retry_after_s(retry_after_ms: Option<u32>) -> u32 {
    retry_after_ms.map_or(RETRY_AFTER_S, |ms| ms.div_ceil(1000))
}

impl Message {
    /// A message of any role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// What the model is told to be.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// What a person says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// What the model has said.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }
}

/// Tokens of all inputs together.
pub fn tokens_total(usage: &[Usage]) -> u64 {
    usage.iter().map(|usage| u64::from(usage.tokens)).sum()
}

/// How many inputs were cut at the model's length.
pub fn truncated_count(usage: &[Usage]) -> usize {
    usage.iter().filter(|usage| usage.truncated).count()
}
