//! Documents in pieces that are found by meaning and by words, kept on the host.
//!
//! Needs `[vector]` in the component's policy, which names the collections and what may be done in each.
//!
//! ```no_run
//! # async fn example() -> Result<(), tessera_sdk::Error> {
//! use tessera_sdk::vector::{self, Chunk, Document, Query};
//!
//! let draft = vector::begin("docs", Document::new("a.txt"), None).await?;
//! draft.append(vec![Chunk::new("The quick brown fox.")]).await?;
//! draft.commit().await?;
//! let hits = vector::find("docs", Query { text: Some("fox".into()), ..Query::new(4) }).await?;
//! assert_eq!(hits[0].piece.document, "a.txt");
//! # Ok(())
//! # }
//! ```

use crate::bindings::tessera::vector::vector as host;
use crate::store::Error;

pub use host::{
    Chunk, Collection, Condition, Document, Draft, Field, Filter, Hit, Page, Piece, Query, Stored, Test, Value, collections,
};

/// Begins to write a document. Nobody finds anything of it before [`Draft::commit`]. `embedder` is the model that makes its
/// vectors, the same for all of a collection.
///
/// # Errors
/// Those of the host; see [`store::ErrorCode`](crate::store::ErrorCode).
pub async fn begin(collection: &str, document: Document, embedder: Option<&str>) -> Result<Draft, Error> {
    host::begin(collection.to_owned(), document, embedder.map(str::to_owned)).await
}

/// Deletes a document and says whether there was one.
///
/// # Errors
/// Those of the host.
pub async fn delete(collection: &str, document: &str) -> Result<bool, Error> {
    host::delete(collection.to_owned(), document.to_owned()).await
}

/// Deletes a collection with all that is in it and says whether there was one.
///
/// # Errors
/// Those of the host.
pub async fn delete_collection(collection: &str) -> Result<bool, Error> {
    host::delete_collection(collection.to_owned()).await
}

/// Finds the chunks that answer a query best, the best first.
///
/// # Errors
/// Those of the host. A collection that is not there has no chunks.
pub async fn find(collection: &str, query: Query) -> Result<Vec<Hit>, Error> {
    host::find(collection.to_owned(), query).await
}

/// A document; none if there is none.
///
/// # Errors
/// Those of the host.
pub async fn stat(collection: &str, document: &str) -> Result<Option<Stored>, Error> {
    host::stat(collection.to_owned(), document.to_owned()).await
}

/// Documents that pass a filter of their own fields, behind an id, a page of them.
///
/// # Errors
/// Those of the host.
pub async fn documents(collection: &str, filter: Filter, after: Option<&str>, documents_max: u32) -> Result<Page, Error> {
    host::documents(collection.to_owned(), filter, after.map(str::to_owned), documents_max).await
}

/// Chunks of a document in their order, from a place on.
///
/// # Errors
/// Those of the host.
pub async fn pieces(collection: &str, document: &str, start: u32, pieces_max: u32) -> Result<Vec<Piece>, Error> {
    host::pieces(collection.to_owned(), document.to_owned(), start, pieces_max).await
}

impl Document {
    /// A document of this id that everybody of the tenant finds.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), digest: String::new(), labels: Vec::new(), fields: Vec::new() }
    }
}

impl Chunk {
    /// A piece that is found by its words alone.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), vector: Vec::new(), token_vectors: Vec::new(), fields: Vec::new() }
    }
}

impl Field {
    /// A field that holds a text.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), value: Value::Text(text.into()) }
    }

    /// A field that holds a number.
    pub fn number(name: impl Into<String>, number: impl Into<f64>) -> Self {
        Self { name: name.into(), value: Value::Number(number.into()) }
    }
}

impl Query {
    /// A query that looks for nothing yet: give it a vector, a text, or both.
    pub fn new(k: u32) -> Self {
        Self {
            vector: None,
            embedder: None,
            text: None,
            token_vectors: Vec::new(),
            filter: Filter::default(),
            k,
            candidates: None,
            similarity_min: None,
            relevance: None,
        }
    }
}

impl Default for Filter {
    /// Everything.
    fn default() -> Self {
        Self { all: Vec::new(), any: Vec::new(), none: Vec::new() }
    }
}
