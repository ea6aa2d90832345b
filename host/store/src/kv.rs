//! Small values by name.

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{Place, Result};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;

/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Most entries of a page.
pub const ENTRIES_MAX: usize = 1000;

/// Most bytes of keys and values of a page, but for one that is larger alone.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Grows with each change of a store; never the same for two values of one key.
    pub revision: u64,
}

/// What a change expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    Anything,
    /// Nothing of that key.
    Nothing,
    /// The value of this revision.
    Revision(u64),
}

/// Which entries to list, in the order of their keys' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    /// What their keys begin with.
    pub prefix: String,
    /// Only keys behind this one.
    pub after: Option<String>,
    /// From the last key to the first.
    pub is_reversed: bool,
    /// So many at most.
    pub entries_max: usize,
}

/// Some entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub entries: Vec<Entry>,
    /// Whether there are more behind them.
    pub has_more: bool,
}

/// A back end that keeps small values. What it acknowledges is on disk.
pub trait Values: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, place: &Place, key: &str) -> BoxFuture<'static, Result<Option<Entry>>>;

    /// Sets a value and gives its revision.
    fn set(&self, place: &Place, key: &str, value: Bytes, expected: Expected) -> BoxFuture<'static, Result<u64>>;

    /// Deletes a value and says whether there was one.
    fn delete(&self, place: &Place, key: &str) -> BoxFuture<'static, Result<bool>>;

    /// Entries in order.
    fn list(&self, place: &Place, range: Range) -> BoxFuture<'static, Result<Page>>;
}
