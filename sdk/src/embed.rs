//! Texts to vectors, on the host's device.
//!
//! Needs `[embed]` in the component's policy; only the models listed there exist for the component.
//!
//! ```no_run
//! # async fn example() -> Result<(), tessera_sdk::Error> {
//! use tessera_sdk::embed::{self, Options};
//!
//! let embeddings = embed::embed(["What is Deep Learning?", "How are you?"], Options::default()).await?;
//! for vector in embeddings.vectors() {
//!     assert_eq!(vector.len(), embeddings.dimensions as usize);
//! }
//! # Ok(())
//! # }
//! ```

use crate::bindings::tessera::embed::embed as host;
use crate::inference;

pub use host::{Embeddings, Input, Options, Prompt, TokenEmbeddings, models};

/// Embeds all inputs, or none: strings as texts, `Vec<u32>` as token ids.
///
/// Calls from many components share one batch. Dropping the future drops the work that has not reached the device.
///
/// # Errors
/// Those of the host; see [`inference::ErrorCode`]. No inputs at all is `invalid-input`.
pub async fn embed<I>(inputs: I, options: Options) -> Result<Embeddings, inference::Error>
where
    I: IntoIterator,
    I::Item: Into<Input>,
{
    let inputs = inputs.into_iter().map(Into::into).collect();
    host::embed(inputs, options).await
}

/// Embeds each token of all inputs, or none, and the inputs as a whole with them: for late interaction.
///
/// # Errors
/// Those of the host; see [`inference::ErrorCode`]. No inputs at all is `invalid-input`.
pub async fn embed_tokens<I>(inputs: I, options: Options) -> Result<TokenEmbeddings, inference::Error>
where
    I: IntoIterator,
    I::Item: Into<Input>,
{
    let inputs = inputs.into_iter().map(Into::into).collect();
    host::embed_tokens(inputs, options).await
}

impl TokenEmbeddings {
    /// The vectors of each input's tokens, in input order: `tokens × dimensions` numbers each.
    pub fn token_vectors(&self) -> impl Iterator<Item = &[f32]> {
        let mut rest = self.values.as_slice();
        self.tokens.iter().map(move |&tokens| {
            let numbers = (tokens as usize).saturating_mul(self.dimensions as usize).min(rest.len());
            let (row, behind) = rest.split_at(numbers);
            rest = behind;
            row
        })
    }

    /// The vectors of the whole inputs in input order, `dimensions` numbers each.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.pooled.chunks_exact(self.dimensions.max(1) as usize)
    }
}

impl Embeddings {
    /// The vectors in input order, `dimensions` numbers each.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dimensions.max(1) as usize)
    }
}

impl Default for Options {
    /// The policy's first model, its standard prompt, normalised as its files say; too long an input is an error.
    fn default() -> Self {
        Self { model: None, prompt: Prompt::Standard, truncate: false, normalize: None, dimensions: None }
    }
}

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Input {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u32>> for Input {
    fn from(tokens: Vec<u32>) -> Self {
        Self::Tokens(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_rows_of_dimensions_numbers() {
        let embeddings = Embeddings { model: "m".into(), dimensions: 2, values: vec![1.0, 2.0, 3.0, 4.0], usage: Vec::new() };
        assert_eq!(embeddings.vectors().collect::<Vec<_>>(), [[1.0, 2.0], [3.0, 4.0]]);
    }

    #[test]
    fn no_dimensions_give_no_vectors() {
        let embeddings = Embeddings { model: "m".into(), dimensions: 0, values: Vec::new(), usage: Vec::new() };
        assert_eq!(embeddings.vectors().len(), 0);
    }
}
