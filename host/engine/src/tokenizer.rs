//! Texts to token ids, by Hugging Face's `tokenizer.json`.

use std::path::Path;

use tokenizers::{EncodeInput, TruncationDirection, TruncationParams, TruncationStrategy};

use crate::batch::Tokens;

/// Why a tokenizer can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file is missing or not a tokenizer.
    #[error("{file} is not a good tokenizer: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// What the parser said.
        reason: String,
    },
    /// The text could not be encoded.
    #[error("the text could not be tokenized: {0}")]
    Text(String),
}

/// A model's tokenizer. It cuts at the model's length and says so; it never pads.
#[derive(Debug)]
pub(crate) struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    /// Reads `tokenizer.json`; texts are cut to `tokens_max` tokens, special tokens included. Padding and truncation that
    /// the file itself asks for are set aside: a batch is never padded, and the model's own files say its length.
    ///
    /// # Errors
    /// When the file is missing or damaged.
    pub(crate) fn open(file: &Path, tokens_max: usize) -> Result<Tokenizer, TokenizerError> {
        let malformed = |reason: tokenizers::Error| TokenizerError::Malformed {
            file: file.display().to_string(),
            reason: reason.to_string(),
        };
        let mut tokenizer = tokenizers::Tokenizer::from_file(file).map_err(malformed)?;
        let truncation = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: tokens_max,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        tokenizer.with_padding(None).with_truncation(Some(truncation)).map_err(malformed)?;
        Ok(Tokenizer(tokenizer))
    }

    /// The tokens of a text, with the special tokens around it.
    ///
    /// # Errors
    /// When the tokenizer has no token for something in it.
    pub(crate) fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        self.encode_input(text.into())
    }

    /// The tokens of two texts as one input, as cross-encoders read them.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn encode_pair(&self, first: &str, second: &str) -> Result<Tokens, TokenizerError> {
        self.encode_input((first, second).into())
    }

    fn encode_input(&self, input: EncodeInput<'_>) -> Result<Tokens, TokenizerError> {
        let encoding = self.0.encode_fast(input, true).map_err(|error| TokenizerError::Text(error.to_string()))?;
        Ok(Tokens {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            truncated: !encoding.get_overflowing().is_empty(),
        })
    }
}
