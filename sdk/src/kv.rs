//! Small values by name, kept on the host.
//!
//! Needs `[kv]` in the component's policy, which names the stores and what may be done in each. Rows belong to the tenant of the
//! request, or, where the policy says so, to its one caller.
//!
//! ```no_run
//! # async fn example() -> Result<(), tessera_sdk::Error> {
//! use tessera_sdk::kv::{self, Expected};
//!
//! kv::set("notes", "first", b"a value".to_vec(), Expected::Nothing).await?;
//! let entry = kv::get("notes", "first").await?.expect("it was just set");
//! assert_eq!(entry.value, b"a value");
//! # Ok(())
//! # }
//! ```

mod rows;

use crate::bindings::tessera::kv::kv as host;
use crate::store::Error;

pub use host::{Entry, Expected, Page, Range};
pub use rows::{Listed, Newest, OWNER_BYTES_MAX, ROWS_MAX, Row, Rows};

/// The value of a key; none if there is none.
///
/// # Errors
/// Those of the host; see [`store::ErrorCode`](crate::store::ErrorCode).
pub async fn get(store: &str, key: &str) -> Result<Option<Entry>, Error> {
    host::get(store.to_owned(), key.to_owned()).await
}

/// Sets a value and gives its revision.
///
/// # Errors
/// Those of the host: `conflict` if there is not what was expected, `quota` if the store is full.
pub async fn set(store: &str, key: &str, value: impl Into<Vec<u8>>, expected: Expected) -> Result<u64, Error> {
    host::set(store.to_owned(), key.to_owned(), value.into(), expected).await
}

/// Deletes a value and says whether there was one.
///
/// # Errors
/// Those of the host.
pub async fn delete(store: &str, key: &str) -> Result<bool, Error> {
    host::delete(store.to_owned(), key.to_owned()).await
}

/// Entries in the order of their keys' bytes, a page of them.
///
/// # Errors
/// Those of the host.
pub async fn list(store: &str, range: Range) -> Result<Page, Error> {
    host::list(store.to_owned(), range).await
}

impl Default for Range {
    /// All entries, from the first key on.
    fn default() -> Self {
        Self { prefix: String::new(), after: None, is_reversed: false, entries_max: u32::MAX }
    }
}
