//! Tokenization: text to token ids and back, without the device.

use std::time::SystemTime;

use crate::engine::JobError;
use crate::model::Model;
use crate::template::{Message, Prompting};
use crate::tokenizer::SpecialTokens;

/// Longest text, in bytes: several times the longest context that models have.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// What to turn into token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizeInput {
    /// A text, in which the model's special tokens are only text; with the tokens that the model wants around it, or without.
    Text {
        /// The text.
        text: String,
        /// Add the tokens that the model wants around a text.
        special: bool,
    },
    /// A conversation, put into the model's own form by its chat template, up to where the answer begins.
    Chat(Vec<Message>),
}

/// The token ids of an input, not cut.
///
/// # Errors
/// When the model has no tokenizer or no chat template, or the text can't be encoded.
pub(crate) fn ids(model: &Model, input: &TokenizeInput) -> Result<Vec<u32>, JobError> {
    let tokenizer = model.tokenizer.as_ref().ok_or(JobError::NoTokenizer)?;
    let bytes = match input {
        TokenizeInput::Text { text, .. } => text.len(),
        TokenizeInput::Chat(messages) => messages.iter().map(|message| message.content.len()).sum(),
    };
    if bytes > TEXT_BYTES_MAX {
        return Err(JobError::InvalidInput(format!(
            "the text has {bytes} bytes; at most {TEXT_BYTES_MAX} are tokenized at once"
        )));
    }
    let encoded = match input {
        TokenizeInput::Text { text, special: true } => tokenizer.encode_prompt(text, SpecialTokens::Around),
        TokenizeInput::Text { text, special: false } => tokenizer.encode_prompt(text, SpecialTokens::None),
        TokenizeInput::Chat(messages) => {
            let mark =
                |Message { role, content }: &Message| Message { role: tokenizer.mark(role), content: tokenizer.mark(content) };
            let marked: Vec<Message> = messages.iter().map(mark).collect();
            tokenizer.encode_marked(&chat(model, &marked, Prompting::Reply)?)
        }
    };
    encoded.map_err(|error| JobError::InvalidInput(error.to_string()))
}

/// A conversation in the model's own form.
///
/// # Errors
/// When the model has no chat template, or it refuses the messages.
pub(crate) fn chat(model: &Model, messages: &[Message], prompting: Prompting) -> Result<String, JobError> {
    let template = model.template.as_ref();
    let missing = || JobError::Unsupported("this model has no chat template: give it a text instead".into());
    let rendered = template.ok_or_else(missing)?.render(messages, prompting, SystemTime::now());
    rendered.map_err(|error| JobError::InvalidInput(error.to_string()))
}

/// The text of token ids, without special tokens.
///
/// # Errors
/// When the model has no tokenizer, or an id is beyond its vocabulary.
pub(crate) fn text(model: &Model, ids: &[u32]) -> Result<String, JobError> {
    let tokenizer = model.tokenizer.as_ref().ok_or(JobError::NoTokenizer)?;
    let vocabulary = model.vocabulary();
    match ids.iter().find(|&&id| usize::try_from(id).is_ok_and(|id| id >= vocabulary)) {
        Some(id) => Err(JobError::InvalidInput(format!("token id {id} is beyond the vocabulary of {vocabulary}"))),
        None => Ok(tokenizer.decode(ids)),
    }
}
