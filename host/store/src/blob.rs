//! Files of any size by name.

use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::{Place, Result};

/// Most files of a page.
pub const FILES_MAX: usize = 1000;

/// A body as it comes; an error means that it broke off.
pub type Body = BoxStream<'static, io::Result<Bytes>>;

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Info {
    /// Its name, 1 to 512 bytes.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// Its media type, as it was put there.
    pub content_type: String,
    /// When it was put there, in milliseconds since 1970.
    pub changed_ms: u64,
}

/// A part of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub start: u64,
    /// So many at most; none is to the end.
    pub bytes: Option<u64>,
}

/// Some files, in the order of their names' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub files: Vec<Info>,
    /// Whether there are more behind them.
    pub has_more: bool,
}

/// A back end that keeps files. What it acknowledges is on disk, whole.
pub trait Blobs: Send + Sync + 'static {
    /// Puts a file there, in the place of one of the same name. A body that breaks off leaves what was there before, and so does
    /// dropping the future.
    fn put(&self, place: &Place, name: &str, content_type: &str, body: Body) -> BoxFuture<'static, Result<Info>>;

    /// A file and its bytes, or those of a range.
    fn get(&self, place: &Place, name: &str, range: Range) -> BoxFuture<'static, Result<(Info, Body)>>;

    /// What is known of a file.
    fn stat(&self, place: &Place, name: &str) -> BoxFuture<'static, Result<Option<Info>>>;

    /// Deletes a file and says whether there was one.
    fn delete(&self, place: &Place, name: &str) -> BoxFuture<'static, Result<bool>>;

    /// Files whose names begin with a prefix, behind a name.
    fn list(&self, place: &Place, prefix: &str, after: Option<&str>, files_max: usize) -> BoxFuture<'static, Result<Page>>;
}
