//! Labels for texts, and for parts of texts, on the host's device.
//!
//! Needs `[classify]` in the component's policy; only the models listed there exist for the component.
//!
//! ```no_run
//! # async fn example() -> Result<(), tessera_sdk::Error> {
//! use tessera_sdk::classify::{self, Options};
//!
//! let text = "I am Ada Lovelace.";
//! let found = classify::find_entities([text], Options::default()).await?;
//! for entity in &found.texts[0] {
//!     let part = &text[entity.start as usize..entity.end as usize];
//! }
//! # Ok(())
//! # }
//! ```

use crate::bindings::tessera::classify::classify as host;
use crate::inference;

pub use host::{Entities, Entity, Labels, Options, Score, models};

/// Labels whole texts, all or none.
///
/// # Errors
/// Those of the host; see [`inference::ErrorCode`]. A model that labels tokens is `unsupported`.
pub async fn classify<T>(texts: T, options: Options) -> Result<Labels, inference::Error>
where
    T: IntoIterator,
    T::Item: Into<String>,
{
    host::classify(texts.into_iter().map(Into::into).collect(), options).await
}

/// Labels parts of texts, of all or of none.
///
/// # Errors
/// Those of the host; see [`inference::ErrorCode`]. A model that labels whole texts is `unsupported`.
pub async fn find_entities<T>(texts: T, options: Options) -> Result<Entities, inference::Error>
where
    T: IntoIterator,
    T::Item: Into<String>,
{
    host::find_entities(texts.into_iter().map(Into::into).collect(), options).await
}

impl Default for Options {
    /// The policy's first model; too long a text is an error.
    fn default() -> Self {
        Self { model: None, truncate: false }
    }
}
