//! What models are asked to do: one file a task. A task turns a job into token runs and a model's outputs into the answer;
//! between the two is the queue.

pub(crate) mod classify;
pub(crate) mod embed;
pub(crate) mod embed_tokens;
pub(crate) mod forward;
pub(crate) mod generate;
pub(crate) mod rerank;
pub(crate) mod tokenize;

use std::sync::Arc;

use crate::account::Account;
use crate::batch::Tokens;
use crate::engine::JobError;
use crate::model::Model;
use crate::tokenizer::TokenizerError;

/// What to do with an input that is longer than the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// Cut it and say so in [`Usage`].
    Cut,
    /// Refuse the job with [`JobError::TooLong`].
    Refuse,
}

/// What one input cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens the model read, special tokens included.
    pub tokens: u32,
    /// The input was longer and has been cut.
    pub truncated: bool,
}

/// What is wanted of each input of a job. Inputs that want the same of the same model can share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// One vector, pooled as the model says. Shape `[hidden]`.
    Pooled,
    /// Every token's vector. Shape `[tokens, hidden]`.
    Tokens,
    /// The classifier's output: of the input, shape `[labels]`, or of each of its tokens, shape `[tokens, labels]`.
    Logits,
}

/// A job ready for the queue.
pub(crate) struct Prepared<Answer> {
    pub(crate) account: Option<Arc<dyn Account>>,
    pub(crate) want: Want,
    pub(crate) inputs: Vec<Tokens>,
    /// Makes the answer of the outputs, one for each input in order.
    pub(crate) finish: Box<dyn FnOnce(Vec<Vec<f32>>) -> Answer + Send>,
}

/// Checks a tokenized input against the model and the job's truncation.
fn admit(
    model: &Model,
    index: usize,
    tokens: Result<Tokens, TokenizerError>,
    truncation: Truncation,
) -> Result<Tokens, JobError> {
    let tokens = tokens.map_err(|error| JobError::InvalidInput(format!("input {index}: {error}")))?;
    if tokens.truncated && truncation == Truncation::Refuse {
        return Err(JobError::TooLong { index, tokens_max: model.card().tokens_max });
    }
    model.check(&tokens).map_err(|reason| JobError::InvalidInput(format!("input {index} {reason}")))?;
    Ok(tokens)
}

/// Refuses an answer that would be larger than its owner takes.
fn fits(bytes: usize, bytes_max: usize, what: &str) -> Result<(), JobError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(JobError::InvalidInput(format!(
        "the answer would take {bytes} bytes; at most {bytes_max} fit: send fewer {what} at once"
    )))
}

fn usage(tokens: &Tokens) -> Usage {
    Usage { tokens: u32::try_from(tokens.ids.len()).unwrap_or(u32::MAX), truncated: tokens.truncated }
}
