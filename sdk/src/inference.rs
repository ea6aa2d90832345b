//! What the capabilities that run models share: their error, what an input cost, and messages of a conversation.

pub use crate::bindings::tessera::inference::types::{Error, ErrorCode, Message, Usage};

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
