//! Documents in pieces that are found by meaning and by words.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::{Name, Place, Result};

/// Most documents or pieces of a page, and most hits of a query.
pub const ROWS_MAX: usize = 1000;

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// A truth value.
    Truth(bool),
    /// Texts.
    Texts(Vec<String>),
}

/// Something known of a document or a chunk, by which it can be filtered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its name, 1 to 64 bytes.
    pub name: String,
    /// What it holds.
    pub value: Value,
}

/// A document, but for its text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Tells it from the others of the collection; 1 to 512 bytes.
    pub id: String,
    /// Whatever tells one content from another; may be empty.
    pub digest: String,
    /// Who may find it: readers with one of these; none is everybody.
    pub labels: BTreeSet<String>,
    /// What is known of it; each of its chunks has these as well.
    pub fields: Vec<Field>,
}

/// A piece of a document, which is what is found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chunk {
    /// Its text.
    pub text: String,
    /// Its vector, as long as those of all others; empty if it is found by words alone.
    pub vector: Vec<f32>,
    /// The vectors of its tokens, one after the other; empty if it is not reranked by them.
    pub token_vectors: Vec<f32>,
    /// What is known of it beside the document's fields.
    pub fields: Vec<Field>,
}

/// A document that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The document.
    pub document: Document,
    /// How many chunks it has.
    pub chunks: u32,
    /// When it was put there, in milliseconds since 1970.
    pub changed_ms: u64,
}

/// Some documents, in the order of their ids' bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// In order.
    pub documents: Vec<Stored>,
    /// Whether there are more behind them.
    pub has_more: bool,
}

/// A piece of a stored document.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The document's id.
    pub document: String,
    /// Its place in the document, from 0.
    pub index: u32,
    /// Its text.
    pub text: String,
    /// The document's fields and its own; its own where both have one of the same name.
    pub fields: Vec<Field>,
}

/// What a field has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// This, or a list of texts with this among them.
    Equals(Value),
    /// One of these texts, or a list with one of them.
    OneOf(Vec<String>),
    /// A number that is not less.
    AtLeast(f64),
    /// A number that is not more.
    AtMost(f64),
    /// Anything.
    Present,
}

/// A test of one field. Beside the fields there are `document`, the id, and `digest`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The field.
    pub field: String,
    /// What it has to be.
    pub test: Test,
}

/// What is to be found at all. Without conditions: everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Each of these holds.
    pub all: Vec<Condition>,
    /// One of these holds, if there are any.
    pub any: Vec<Condition>,
    /// None of these holds.
    pub none: Vec<Condition>,
}

/// What to look for: by its vector, by its words, or by both, put together by reciprocal rank fusion with k = 60 (Cormack,
/// Clarke and Büttcher, 2009).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Look for vectors with the highest cosine with this one.
    pub vector: Option<Vec<f32>>,
    /// What made the vector; none is not looked at.
    pub embedder: Option<String>,
    /// Look for these words, by BM25. Nothing in it is special.
    pub text: Option<String>,
    /// Vectors of the query's tokens, to rerank candidates by MaxSim; empty leaves their order.
    pub token_vectors: Vec<f32>,
    /// What is to be found at all.
    pub filter: Filter,
    /// How many to find, 1 to [`ROWS_MAX`].
    pub k: usize,
    /// How many each search finds to choose from; none is the store's choice.
    pub candidates: Option<usize>,
    /// Leave out what has a lower cosine with the vector.
    pub similarity_min: Option<f32>,
    /// Choose by maximal marginal relevance (Carbonell and Goldstein, 1998): 1 for the nearest, towards 0 for the most different.
    pub relevance: Option<f32>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The piece.
    pub piece: Piece,
    /// By which hits are in order, higher first: that of the last step that was done.
    pub score: f32,
    /// The cosine with the query's vector.
    pub similarity: Option<f32>,
    /// The BM25 score, if it was found by its words.
    pub text_score: Option<f32>,
    /// The mean over the query's tokens of their highest cosine with a token of the chunk.
    pub token_score: Option<f32>,
}

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its name.
    pub name: Name,
    /// How many documents it has.
    pub documents: u64,
    /// How many chunks they have.
    pub chunks: u64,
    /// Length of a vector; 0 as long as there is none.
    pub dimensions: usize,
    /// What made its vectors; empty as long as nobody said.
    pub embedder: String,
    /// Bytes that it takes, about.
    pub bytes: u64,
    /// How vectors are searched: `exact` or `hnsw`.
    pub index: &'static str,
}

/// Who looks, as far as labels go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// Somebody to whom labels are no bar.
    Everything,
    /// Somebody who finds documents without labels, and those with one of these.
    Labels(BTreeSet<String>),
}

impl Reader {
    /// Whether a document with these labels is there for this reader.
    pub fn sees(&self, labels: &BTreeSet<String>) -> bool {
        match self {
            Reader::Everything => true,
            Reader::Labels(own) => labels.is_empty() || !own.is_disjoint(labels),
        }
    }
}

/// A document that is being written. Nobody finds anything of it before it is committed; dropped, it never was.
pub trait Draft: Send {
    /// Adds chunks at its end.
    fn append(&mut self, chunks: Vec<Chunk>) -> BoxFuture<'_, Result<()>>;

    /// Puts it into the collection, all of it at once, in the place of a document with the same id.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<Stored>>;
}

/// A back end that keeps documents in pieces and finds them. What it acknowledges is on disk, and is found from then on.
///
/// A document that a reader doesn't see is not there for it: not found, not listed, not deleted; to write one of the same id is
/// [`Invalid`](crate::StoreError::Invalid), which is all that is told of it.
pub trait Vectors: Send + Sync + 'static {
    /// Begins to write a document. `embedder` is what makes its vectors, the same for all of a collection.
    fn begin(
        &self,
        place: &Place,
        document: Document,
        embedder: Option<String>,
        reader: &Reader,
    ) -> BoxFuture<'static, Result<Box<dyn Draft>>>;

    /// Deletes a document and says whether there was one.
    fn delete(&self, place: &Place, document: &str, reader: &Reader) -> BoxFuture<'static, Result<bool>>;

    /// Deletes a collection and says whether there was one; `Invalid` if it holds what the reader doesn't see.
    fn delete_collection(&self, place: &Place, reader: &Reader) -> BoxFuture<'static, Result<bool>>;

    /// The chunks that answer a query best, the best first; none where there is no such collection.
    fn find(&self, place: &Place, query: Query, reader: &Reader) -> BoxFuture<'static, Result<Vec<Hit>>>;

    /// A document.
    fn stat(&self, place: &Place, document: &str, reader: &Reader) -> BoxFuture<'static, Result<Option<Stored>>>;

    /// Documents that pass a filter of their own fields, behind an id; fewer than `documents_max` where they are large.
    fn documents(
        &self,
        place: &Place,
        filter: Filter,
        after: Option<&str>,
        documents_max: usize,
        reader: &Reader,
    ) -> BoxFuture<'static, Result<Page>>;

    /// Chunks of a document in their order, from a place on.
    fn pieces(
        &self,
        place: &Place,
        document: &str,
        start: u32,
        pieces_max: usize,
        reader: &Reader,
    ) -> BoxFuture<'static, Result<Vec<Piece>>>;

    /// A tenant's collections, by name. Counts are of all that is in them, whoever asks.
    fn collections(&self, tenant: &Name) -> BoxFuture<'static, Result<Vec<Collection>>>;
}
