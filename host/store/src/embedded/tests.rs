//! Behaviour of the whole, as those who use it see it.

mod basics;
mod crash;
mod indexes;
mod labels;
mod model;
mod tenants;

use std::collections::BTreeSet;
use std::path::Path;

use futures::{StreamExt, stream};
use tempfile::TempDir;

use super::{Embedded, EmbeddedConfig};
use crate::vector::{Chunk, Document, Draft, Field, Hit, Query, Reader, Stored, Value, Vectors};
use crate::{Place, Result, StoreError};

/// A store in a folder of its own, with what runs its futures.
struct Fixture {
    runtime: tokio::runtime::Runtime,
    /// Gone while it is opened anew.
    store: Option<Embedded>,
    config: EmbeddedConfig,
    _folder: Option<TempDir>,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut EmbeddedConfig)) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let store = Some(Embedded::open(config.clone()).unwrap());
        Fixture { runtime: runtime(), store, config, _folder: Some(folder) }
    }

    fn store(&self) -> &Embedded {
        self.store.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.close();
        self.store = Some(Embedded::open(self.config.clone()).unwrap());
    }

    fn close(&mut self) {
        self.store = None;
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn put(&self, place: &Place, document: Document, chunks: Vec<Chunk>) -> Result<Stored> {
        self.put_as(&Reader::Everything, place, document, chunks)
    }

    fn put_as(&self, reader: &Reader, place: &Place, document: Document, chunks: Vec<Chunk>) -> Result<Stored> {
        self.wait(put(self.store(), reader, place, document, chunks))
    }

    /// Puts many there: written one after the other, so that their chunks always have the same ids, and committed together.
    fn put_all(&self, place: &Place, documents: Vec<(Document, Vec<Chunk>)>) {
        let draft = |(document, chunks)| self.wait(begin(self.store(), &Reader::Everything, place, document, chunks)).unwrap();
        let drafts: Vec<_> = documents.into_iter().map(draft).collect();
        let all = stream::iter(drafts.into_iter().map(Draft::commit)).buffer_unordered(32);
        self.wait(all.for_each(|stored| async { drop(stored.unwrap()) }));
    }

    fn find(&self, place: &Place, query: Query) -> Vec<Hit> {
        self.find_as(&Reader::Everything, place, query)
    }

    fn find_as(&self, reader: &Reader, place: &Place, query: Query) -> Vec<Hit> {
        self.wait(self.store().find(place, query, reader)).unwrap()
    }
}

async fn put(store: &Embedded, reader: &Reader, place: &Place, document: Document, chunks: Vec<Chunk>) -> Result<Stored> {
    begin(store, reader, place, document, chunks).await?.commit().await
}

/// A draft with all its chunks.
async fn begin(
    store: &Embedded,
    reader: &Reader,
    place: &Place,
    document: Document,
    chunks: Vec<Chunk>,
) -> Result<Box<dyn Draft>> {
    let mut draft = store.begin(place, document, Some("embedder".into()), reader).await?;
    for part in chunks.chunks(100) {
        draft.append(part.to_vec()).await?;
    }
    Ok(draft)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn config(folder: &Path) -> EmbeddedConfig {
    EmbeddedConfig { folder: folder.join("data"), exact_chunks_max: 10_000, cache_bytes: 8 << 20, threads_max: 32 }
}

fn place(name: &str) -> Place {
    Place { tenant: "acme".parse().unwrap(), name: name.parse().unwrap(), owner: None, bytes_max: 1 << 30 }
}

fn of_tenant(tenant: &str, name: &str) -> Place {
    Place { tenant: tenant.parse().unwrap(), ..place(name) }
}

fn labels(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn reader(names: &[&str]) -> Reader {
    Reader::Labels(labels(names))
}

fn document(id: &str) -> Document {
    Document { id: id.into(), ..Document::default() }
}

fn labelled(id: &str, names: &[&str]) -> Document {
    Document { labels: labels(names), ..document(id) }
}

fn chunk(text: &str, vector: &[f32]) -> Chunk {
    Chunk { text: text.into(), vector: vector.to_vec(), ..Chunk::default() }
}

fn field(name: &str, value: impl Into<Value>) -> Field {
    Field { name: name.into(), value: value.into() }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Number(number)
    }
}

fn near(vector: &[f32], k: usize) -> Query {
    Query { vector: Some(vector.to_vec()), k, ..Query::default() }
}

fn words(text: &str, k: usize) -> Query {
    Query { text: Some(text.into()), k, ..Query::default() }
}

fn texts(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.piece.text.as_str()).collect()
}

/// The text of an `Invalid`.
#[track_caller]
fn invalid<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(StoreError::Invalid(text)) => text,
        other => panic!("{other:?} is not `Invalid`"),
    }
}

/// Numbers that look as if chosen by chance, the same each time (xorshift: Marsaglia, 2003).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From -1 to 1.
    fn number(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Vectors around some centres, as those of texts are.
    fn clustered(&mut self, count: usize, dimensions: usize, centres: usize) -> Vec<Vec<f32>> {
        let centres: Vec<Vec<f32>> = (0..centres).map(|_| (0..dimensions).map(|_| self.number()).collect()).collect();
        let around = |centre: &Vec<f32>, chance: &mut Chance| centre.iter().map(|x| x + 0.6 * chance.number()).collect();
        (0..count).map(|_| around(&centres[self.below(centres.len())], self)).collect()
    }
}
