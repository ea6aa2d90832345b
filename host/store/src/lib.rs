//! What components keep: documents in pieces that are found by meaning and by words, small values, and files.
//!
//! [`Vectors`], [`Values`] and [`Blobs`] are what a back end offers; [`Embedded`] is the one that needs nothing but a folder.
//! Knows no WebAssembly, no models and no policy: who may do what was decided before.

pub mod blob;
pub mod embedded;
pub mod kv;
pub mod place;
pub mod vector;

pub use blob::Blobs;
pub use embedded::{Embedded, EmbeddedConfig};
pub use kv::Values;
pub use place::{Name, NameError, Place};
pub use vector::Vectors;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is nothing of that name.
    #[error("there is no {what}")]
    NotFound {
        /// What is not there: `collection "x"`.
        what: String,
    },
    /// An argument is out of its range; the text names it and says what is.
    #[error("{0}")]
    Invalid(String),
    /// It is not what the caller expected: somebody else changed it.
    #[error("it was changed by somebody else meanwhile: read it again")]
    Conflict,
    /// The place has no room for it.
    #[error("there is room for {bytes_max} bytes here, and this needs more: delete something")]
    Full {
        /// What it may hold.
        bytes_max: u64,
    },
    /// A bound of the store itself is reached.
    #[error("the store has too much to do: try again later")]
    Overloaded,
    /// This back end cannot do it.
    #[error("this store can't {0}")]
    Unsupported(&'static str),
    /// The disk, or what is behind the store, failed. What was asked for is not done. The text is for the operator.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// What a back end gives.
pub type Result<T> = std::result::Result<T, StoreError>;
