//! What the capabilities that run models share: their error and what an input cost.

pub use crate::bindings::tessera::inference::types::{Error, ErrorCode, Usage};

/// Tokens of all inputs together.
pub fn tokens_total(usage: &[Usage]) -> u64 {
    usage.iter().map(|usage| u64::from(usage.tokens)).sum()
}

/// How many inputs were cut at the model's length.
pub fn truncated_count(usage: &[Usage]) -> usize {
    usage.iter().filter(|usage| usage.truncated).count()
}
