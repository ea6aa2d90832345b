//! A model's tokens: text to ids and back.
//!
//! Needs `[tokenize]` in the component's policy; only the models listed there exist for the component.
//!
//! ```no_run
//! # async fn example() -> Result<(), tessera_sdk::Error> {
//! use tessera_sdk::tokenize::{self, Input};
//!
//! let ids = tokenize::tokenize("What is a tessera?", None).await?;
//! assert_eq!(tokenize::detokenize(ids, None).await?, "What is a tessera?");
//! let prompt_tokens = tokenize::count(Input::WholeText("What is a tessera?".into()), Some("smollm2-135m-instruct")).await?;
//! # Ok(())
//! # }
//! ```

use crate::bindings::tessera::tokenize::tokenize as host;
use crate::inference::{self, Message};

pub use host::{Input, models};

/// The ids of a string or a conversation (`Vec<Message>`), or of any [`Input`]; no model takes the policy's first.
///
/// # Errors
/// Those of the host; see [`inference::ErrorCode`].
pub async fn tokenize(input: impl Into<Input>, model: Option<&str>) -> Result<Vec<u32>, inference::Error> {
    host::tokenize(model.map(str::to_owned), input.into()).await
}

/// How many ids an input has.
///
/// # Errors
/// Those of [`tokenize`].
pub async fn count(input: impl Into<Input>, model: Option<&str>) -> Result<u32, inference::Error> {
    Ok(count_each(vec![input.into()], model).await?.into_iter().sum())
}

/// How many ids each of many inputs has, in their order: one call instead of many.
///
/// # Errors
/// Those of [`tokenize`].
pub async fn count_each(inputs: Vec<Input>, model: Option<&str>) -> Result<Vec<u32>, inference::Error> {
    host::count(model.map(str::to_owned), inputs).await
}

/// The text of ids. Bytes that are no whole character become U+FFFD.
///
/// # Errors
/// Those of the host; an id beyond the model's vocabulary is `invalid-input`.
pub async fn detokenize(ids: Vec<u32>, model: Option<&str>) -> Result<String, inference::Error> {
    host::detokenize(model.map(str::to_owned), ids).await
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

impl From<Vec<Message>> for Input {
    fn from(conversation: Vec<Message>) -> Self {
        Self::Chat(conversation)
    }
}
