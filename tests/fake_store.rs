//! A store in memory that fails, or waits, when it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use runtime::{Erase, Stores};
use store::{Blobs, Name, Place, Result, StoreError, Values, Vectors, blob, kv, vector};
use tokio::sync::Semaphore;

/// How long [`FakeStore::wait_for`] waits before it gives up: only a failing test takes as long.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Bytes of a piece of a file.
const PIECE_BYTES: usize = 1000;

/// Keeps everything until it is dropped. A search gives every chunk that its reader sees and that holds the text.
#[derive(Default)]
pub struct FakeStore {
    /// What every operation fails with.
    failure: Option<StoreError>,
    /// Operations wait here.
    gate: Option<Semaphore>,
    kept: Mutex<Kept>,
    changed: Condvar,
}

#[derive(Default)]
struct Kept {
    values: BTreeMap<(Place, String), kv::Entry>,
    files: BTreeMap<(Place, String), (blob::Info, Bytes)>,
    documents: BTreeMap<(Place, String), (vector::Document, Vec<vector::Chunk>)>,
    embedders: BTreeMap<Place, String>,
    revision: u64,
    counts: StoreCounts,
}

/// What a fake store has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Operations that reached it.
    pub operations: usize,
    /// Operations that wait now.
    pub waiting: usize,
    /// Files whose bodies broke off, or whose writing was given up.
    pub unfinished: usize,
    /// Drafts that were begun.
    pub begun: usize,
    /// Drafts that were dropped before they were committed.
    pub given_up: usize,
}

/// A place without its bounds, which are not part of what it is.
fn at(place: &Place) -> Place {
    Place { bytes_max: 0, ..place.clone() }
}

impl FakeStore {
    /// One whose operations wait until [`release`](Self::release).
    pub fn gated() -> Arc<FakeStore> {
        Arc::new(FakeStore { gate: Some(Semaphore::new(0)), ..FakeStore::default() })
    }

    /// One whose operations all fail.
    pub fn failing(failure: StoreError) -> Arc<FakeStore> {
        Arc::new(FakeStore { failure: Some(failure), ..FakeStore::default() })
    }

    /// Lets so many operations go on.
    pub fn release(&self, operations: usize) {
        self.gate.as_ref().expect("it is gated").add_permits(operations);
    }

    /// It as all back ends.
    pub fn stores(self: &Arc<Self>) -> Stores {
        Stores::of(Arc::new(Shared(self.clone())))
    }

    /// What it has seen.
    pub fn counts(&self) -> StoreCounts {
        self.kept().counts
    }

    /// Whether it holds any value.
    pub fn has_values(&self) -> bool {
        !self.kept().values.is_empty()
    }

    /// Waits until it has seen something.
    ///
    /// # Panics
    /// When it has not in 30 seconds.
    pub fn wait_for(&self, is_seen: impl Fn(&StoreCounts) -> bool) {
        let kept = self.changed.wait_timeout_while(self.kept(), WAIT_MAX, |kept| !is_seen(&kept.counts));
        let (kept, waited) = kept.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "{:?}", kept.counts);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, count: impl FnOnce(&mut StoreCounts)) {
        count(&mut self.kept().counts);
        self.changed.notify_all();
    }

    async fn pass(&self) -> Result<()> {
        self.count(|counts| {
            counts.operations += 1;
            counts.waiting += usize::from(self.gate.is_some());
        });
        if let Some(gate) = &self.gate {
            let waiting = Waiting(self);
            gate.acquire().await.expect("it is never closed").forget();
            drop(waiting);
        }
        self.failure.clone().map_or(Ok(()), Err)
    }
}

struct Waiting<'a>(&'a FakeStore);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.count(|counts| counts.waiting -= 1);
    }
}

/// What operations hold that outlive their call.
struct Shared(Arc<FakeStore>);

impl Shared {
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Kept) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let store = self.0.clone();
        async move {
            store.pass().await?;
            work(&mut store.kept())
        }
        .boxed()
    }
}

impl Erase for Shared {
    fn erase(&self, tenant: &Name) -> Result<u64> {
        let mut kept = self.0.kept();
        let before = kept.values.len() + kept.files.len() + kept.documents.len();
        kept.values.retain(|(place, _), _| place.tenant != *tenant);
        kept.files.retain(|(place, _), _| place.tenant != *tenant);
        kept.documents.retain(|(place, _), _| place.tenant != *tenant);
        Ok((before - kept.values.len() - kept.files.len() - kept.documents.len()) as u64)
    }
}

impl Values for Shared {
    fn get(&self, place: &Place, key: &str) -> BoxFuture<'static, Result<Option<kv::Entry>>> {
        let key = (at(place), key.to_owned());
        self.run(move |kept| Ok(kept.values.get(&key).cloned()))
    }

    fn set(&self, place: &Place, key: &str, value: Bytes, expected: kv::Expected) -> BoxFuture<'static, Result<u64>> {
        let (bytes_max, at) = (place.bytes_max, (at(place), key.to_owned()));
        self.run(move |kept| {
            let found = kept.values.get(&at).map(|entry| entry.revision);
            match expected {
                kv::Expected::Nothing if found.is_some() => return Err(StoreError::Conflict),
                kv::Expected::Revision(revision) if found != Some(revision) => return Err(StoreError::Conflict),
                _ if value.len() as u64 > bytes_max => return Err(StoreError::Full { bytes_max }),
                _ => {}
            }
            kept.revision += 1;
            let entry = kv::Entry { key: at.1.clone(), value, revision: kept.revision };
            kept.values.insert(at, entry);
            Ok(kept.revision)
        })
    }

    fn delete(&self, place: &Place, key: &str) -> BoxFuture<'static, Result<bool>> {
        let key = (at(place), key.to_owned());
        self.run(move |kept| Ok(kept.values.remove(&key).is_some()))
    }

    fn list(&self, place: &Place, range: kv::Range) -> BoxFuture<'static, Result<kv::Page>> {
        let place = at(place);
        self.run(move |kept| {
            let all = kept.values.iter().filter(|((other, key), _)| *other == place && key.starts_with(&range.prefix));
            let mut entries: Vec<_> = all.map(|(_, entry)| entry.clone()).collect();
            let has_more = entries.len() > range.entries_max;
            entries.truncate(range.entries_max);
            Ok(kv::Page { entries, has_more })
        })
    }
}

/// Counts a file whose writing is given up.
struct Unfinished(Option<Arc<FakeStore>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(store) = self.0.take() {
            store.count(|counts| counts.unfinished += 1);
        }
    }
}

impl Blobs for Shared {
    fn put(
        &self,
        place: &Place,
        name: &str,
        content_type: &str,
        mut body: blob::Body,
    ) -> BoxFuture<'static, Result<blob::Info>> {
        let (store, bytes_max, at) = (self.0.clone(), place.bytes_max, (at(place), name.to_owned()));
        let content_type = content_type.to_owned();
        async move {
            let mut unfinished = Unfinished(Some(store.clone()));
            store.pass().await?;
            let mut bytes = Vec::new();
            while let Some(piece) = body.next().await {
                bytes.extend_from_slice(&piece.map_err(|error| StoreError::Invalid(error.to_string()))?);
                if bytes.len() as u64 > bytes_max {
                    return Err(StoreError::Full { bytes_max });
                }
            }
            unfinished.0 = None;
            let info = blob::Info {
                name: at.1.clone(),
                bytes: bytes.len() as u64,
                digest: String::new(),
                content_type,
                changed_ms: 0,
            };
            store.kept().files.insert(at, (info.clone(), bytes.into()));
            Ok(info)
        }
        .boxed()
    }

    fn get(&self, place: &Place, name: &str, range: blob::Range) -> BoxFuture<'static, Result<(blob::Info, blob::Body)>> {
        let at = (at(place), name.to_owned());
        self.run(move |kept| {
            let (info, bytes) =
                kept.files.get(&at).cloned().ok_or_else(|| StoreError::NotFound { what: format!("file `{}`", at.1) })?;
            let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(bytes.len());
            let end = range.bytes.map_or(bytes.len(), |more| start.saturating_add(usize::try_from(more).unwrap_or(usize::MAX)));
            let bytes = bytes.slice(start..end.min(bytes.len()));
            let pieces: Vec<_> = bytes.chunks(PIECE_BYTES).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            Ok((info, stream::iter(pieces).boxed()))
        })
    }

    fn stat(&self, place: &Place, name: &str) -> BoxFuture<'static, Result<Option<blob::Info>>> {
        let at = (at(place), name.to_owned());
        self.run(move |kept| Ok(kept.files.get(&at).map(|(info, _)| info.clone())))
    }

    fn delete(&self, place: &Place, name: &str) -> BoxFuture<'static, Result<bool>> {
        let at = (at(place), name.to_owned());
        self.run(move |kept| Ok(kept.files.remove(&at).is_some()))
    }

    fn list(&self, place: &Place, prefix: &str, _: Option<&str>, files_max: usize) -> BoxFuture<'static, Result<blob::Page>> {
        let (place, prefix) = (at(place), prefix.to_owned());
        self.run(move |kept| {
            let all = kept.files.iter().filter(|((other, name), _)| *other == place && name.starts_with(&prefix));
            let mut files: Vec<_> = all.map(|(_, (info, _))| info.clone()).collect();
            let has_more = files.len() > files_max;
            files.truncate(files_max);
            Ok(blob::Page { files, has_more })
        })
    }
}

/// A document that is being written.
struct FakeDraft {
    store: Arc<FakeStore>,
    at: Option<(Place, String)>,
    document: vector::Document,
    embedder: Option<String>,
    chunks: Vec<vector::Chunk>,
}

impl vector::Draft for FakeDraft {
    fn append(&mut self, chunks: Vec<vector::Chunk>) -> BoxFuture<'_, Result<()>> {
        async {
            self.store.pass().await?;
            self.chunks.extend(chunks);
            Ok(())
        }
        .boxed()
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<vector::Stored>> {
        async move {
            self.store.pass().await?;
            let at = self.at.take().expect("it is committed once");
            let (document, chunks) = (self.document.clone(), std::mem::take(&mut self.chunks));
            let count = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
            let mut kept = self.store.kept();
            if let Some(embedder) = self.embedder.take() {
                kept.embedders.insert(at.0.clone(), embedder);
            }
            kept.documents.insert(at, (document.clone(), chunks));
            Ok(vector::Stored { document, chunks: count, changed_ms: 0 })
        }
        .boxed()
    }
}

impl Drop for FakeDraft {
    fn drop(&mut self) {
        if self.at.is_some() {
            self.store.count(|counts| counts.given_up += 1);
        }
    }
}

/// Whether a model is another than the one that made a collection's vectors.
fn fits(kept: &Kept, place: &Place, embedder: Option<&String>) -> Result<()> {
    match (kept.embedders.get(place), embedder) {
        (Some(theirs), Some(mine)) if theirs != mine => {
            Err(StoreError::Invalid(format!("made by `{theirs}`, not by `{mine}`")))
        }
        _ => Ok(()),
    }
}

impl Vectors for Shared {
    fn begin(
        &self,
        place: &Place,
        document: vector::Document,
        embedder: Option<String>,
        _: &vector::Reader,
    ) -> BoxFuture<'static, Result<Box<dyn vector::Draft>>> {
        let (store, place) = (self.0.clone(), at(place));
        self.run(move |kept| {
            fits(kept, &place, embedder.as_ref())?;
            kept.counts.begun += 1;
            let at = Some((place, document.id.clone()));
            let draft: Box<dyn vector::Draft> = Box::new(FakeDraft { store, at, document, embedder, chunks: Vec::new() });
            Ok(draft)
        })
    }

    fn delete(&self, place: &Place, document: &str, reader: &vector::Reader) -> BoxFuture<'static, Result<bool>> {
        let (at, reader) = ((at(place), document.to_owned()), reader.clone());
        self.run(move |kept| {
            let is_seen = kept.documents.get(&at).is_some_and(|(document, _)| reader.sees(&document.labels));
            Ok(is_seen && kept.documents.remove(&at).is_some())
        })
    }

    fn delete_collection(&self, place: &Place, _: &vector::Reader) -> BoxFuture<'static, Result<bool>> {
        let place = at(place);
        self.run(move |kept| {
            let before = kept.documents.len();
            kept.documents.retain(|(other, _), _| *other != place);
            Ok(kept.documents.len() < before)
        })
    }

    fn find(
        &self,
        place: &Place,
        query: vector::Query,
        reader: &vector::Reader,
    ) -> BoxFuture<'static, Result<Vec<vector::Hit>>> {
        let (place, reader) = (at(place), reader.clone());
        self.run(move |kept| {
            fits(kept, &place, query.embedder.as_ref())?;
            let words = query.text.unwrap_or_default();
            let mut hits = Vec::new();
            for (_, (document, chunks)) in kept.documents.iter().filter(|((other, _), _)| *other == place) {
                let seen =
                    chunks.iter().zip(0..).filter(|(chunk, _)| reader.sees(&document.labels) && chunk.text.contains(&words));
                hits.extend(seen.map(|(chunk, index)| vector::Hit {
                    piece: piece(document, chunk, index),
                    score: 1.0,
                    similarity: None,
                    text_score: None,
                    token_score: None,
                }));
            }
            hits.truncate(query.k);
            Ok(hits)
        })
    }

    fn stat(
        &self,
        place: &Place,
        document: &str,
        reader: &vector::Reader,
    ) -> BoxFuture<'static, Result<Option<vector::Stored>>> {
        let (at, reader) = ((at(place), document.to_owned()), reader.clone());
        self.run(move |kept| {
            let found = kept.documents.get(&at).filter(|(document, _)| reader.sees(&document.labels));
            Ok(found.map(|(document, chunks)| stored(document, chunks)))
        })
    }

    fn documents(
        &self,
        place: &Place,
        _: vector::Filter,
        _: Option<&str>,
        _: usize,
        reader: &vector::Reader,
    ) -> BoxFuture<'static, Result<vector::Page>> {
        let (place, reader) = (at(place), reader.clone());
        self.run(move |kept| {
            let all =
                kept.documents.iter().filter(|((other, _), (document, _))| *other == place && reader.sees(&document.labels));
            Ok(vector::Page {
                documents: all.map(|(_, (document, chunks))| stored(document, chunks)).collect(),
                has_more: false,
            })
        })
    }

    fn pieces(
        &self,
        place: &Place,
        document: &str,
        _: u32,
        _: usize,
        reader: &vector::Reader,
    ) -> BoxFuture<'static, Result<Vec<vector::Piece>>> {
        let (at, reader) = ((at(place), document.to_owned()), reader.clone());
        self.run(move |kept| {
            let found = kept.documents.get(&at).filter(|(document, _)| reader.sees(&document.labels));
            let pieces = found
                .into_iter()
                .flat_map(|(document, chunks)| chunks.iter().zip(0..).map(move |(chunk, index)| piece(document, chunk, index)));
            Ok(pieces.collect())
        })
    }

    fn collections(&self, tenant: &Name) -> BoxFuture<'static, Result<Vec<vector::Collection>>> {
        let tenant = tenant.clone();
        self.run(move |kept| {
            let mut counts = BTreeMap::<Place, u64>::new();
            for (place, _) in kept.documents.keys().filter(|(place, _)| place.tenant == tenant) {
                *counts.entry(place.clone()).or_default() += 1;
            }
            let collection = |(place, documents): (Place, u64)| vector::Collection {
                embedder: kept.embedders.get(&place).cloned().unwrap_or_default(),
                name: place.name,
                documents,
                chunks: 0,
                dimensions: 0,
                bytes: 0,
                index: "exact",
            };
            Ok(counts.into_iter().map(collection).collect())
        })
    }
}

fn piece(document: &vector::Document, chunk: &vector::Chunk, index: u32) -> vector::Piece {
    vector::Piece { document: document.id.clone(), index, text: chunk.text.clone(), fields: document.fields.clone() }
}

fn stored(document: &vector::Document, chunks: &[vector::Chunk]) -> vector::Stored {
    vector::Stored { document: document.clone(), chunks: u32::try_from(chunks.len()).unwrap_or(u32::MAX), changed_ms: 0 }
}
