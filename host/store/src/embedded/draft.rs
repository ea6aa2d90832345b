//! Documents that are being written.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use redb::WriteTransaction;

use super::change::{Change, Put, bytes_of, unseen};
use super::collection::record_of;
use super::dense::{to_bytes, unit};
use super::record::{DocumentRecord, Record, RowRecord, Run, push};
use super::tenant::{Reservation, Tenant, owner_key};
use super::tenants::Drafting;
use super::tokens::TokenVectors;
use super::truth::{COLLECTIONS, DOCUMENTS, LOOSE, NEXT_ID, ROWS, TEXTS, TOKENS, VECTORS, take};
use super::{Store, check, failed};
use crate::vector::{Chunk, Document, Draft, Reader, Stored};
use crate::{Place, Result, StoreError};

/// What [`Reservation`]s call collections.
const KIND: &str = "chunks";

/// What a chunk takes beside its text, vectors and fields, about.
const CHUNK_BYTES: u64 = 64;

/// A draft of the embedded store.
pub(super) struct EmbeddedDraft {
    store: Arc<Store>,
    place: Place,
    /// None while something is done with it, and after that was broken off.
    writing: Option<Writing>,
}

/// What there is of a document so far. Dropped, its chunks are swept away.
struct Writing {
    /// When the tenant's data were opened: a later one has swept its chunks away.
    instance: u64,
    document: Document,
    embedder: Option<String>,
    reader: Reader,
    dimensions: Option<usize>,
    rows: Vec<Run>,
    chunks: u32,
    /// Under which its chunks are loose.
    loose: Option<u64>,
    /// Bytes that others have, without the document that this replaces.
    used: u64,
    bytes_max: u64,
    reservation: Reservation,
    sweep: Box<dyn Fn(u64) + Send + Sync>,
    _drafting: Drafting,
}

/// A chunk as it is in the database.
struct Encoded {
    row: Vec<u8>,
    text: String,
    vector: Vec<u8>,
    tokens: Vec<u8>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(loose) = self.loose {
            (self.sweep)(loose);
        }
    }
}

/// Begins to write a document.
pub(super) async fn begin(
    store: Arc<Store>,
    place: Place,
    document: Document,
    embedder: Option<String>,
    reader: Reader,
) -> Result<Box<dyn Draft>> {
    check::document(&document, embedder.as_deref())?;
    let (begun, at) = (Arc::clone(&store), place.clone());
    let begin = move || {
        let tenant = begun.tenants.lease(&at.tenant)?;
        let drafting = tenant.drafting();
        tenant.work(|tenant| Writing::begin(tenant, &at, document, embedder, reader, drafting))
    };
    let writing = store.workers.run(begin).await?;
    Ok(Box::new(EmbeddedDraft { store, place, writing: Some(writing) }))
}

impl Draft for EmbeddedDraft {
    fn append(&mut self, chunks: Vec<Chunk>) -> BoxFuture<'_, Result<()>> {
        let writing = self.take();
        let (store, tenant) = (Arc::clone(&self.store), self.place.tenant.clone());
        let append = async move {
            let mut writing = writing?;
            let append = move |tenant: &Tenant| {
                let appended = writing.append(tenant, chunks);
                Ok((writing, appended))
            };
            let (writing, appended) = store.with(tenant, append).await?;
            self.writing = Some(writing);
            appended
        };
        append.boxed()
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<Stored>> {
        let writing = self.take();
        let (store, place) = (Arc::clone(&self.store), self.place.clone());
        async move {
            let writing = writing?;
            store.with(place.tenant.clone(), move |tenant| writing.commit(tenant, &place)).await
        }
        .boxed()
    }
}

impl EmbeddedDraft {
    fn take(&mut self) -> Result<Writing> {
        self.writing.take().ok_or_else(|| StoreError::Invalid("an `append` was broken off: begin the document again".into()))
    }
}

impl Writing {
    fn begin(
        tenant: &Tenant,
        place: &Place,
        document: Document,
        embedder: Option<String>,
        reader: Reader,
        drafting: Drafting,
    ) -> Result<Writing> {
        let truth = tenant.truth.read()?;
        let record = record_of(&truth, &(place.name.clone(), owner_key(place)))?;
        let mut old = None;
        if let Some(record) = &record {
            check::same_embedder(embedder.as_deref(), &record.embedder)?;
            let table = truth.open_table(DOCUMENTS).map_err(failed)?;
            let row = table.get((record.id, document.id.as_str())).map_err(failed)?;
            old = row.map(|row| DocumentRecord::from_bytes(row.value())).transpose()?;
        }
        if old.as_ref().is_some_and(|old| !reader.sees(&old.document.labels)) {
            return Err(unseen());
        }
        let used = bytes_of(&truth.open_table(COLLECTIONS).map_err(failed)?, place.name.as_str())?;
        Ok(Writing {
            instance: tenant.instance,
            document,
            embedder,
            reader,
            dimensions: record.map(|record| record.dimensions).filter(|&dimensions| dimensions > 0),
            rows: Vec::new(),
            chunks: 0,
            loose: None,
            used: used.saturating_sub(old.map_or(0, |old| old.bytes)),
            bytes_max: place.bytes_max,
            reservation: Reservation::new(tenant, KIND, &place.name),
            sweep: Box::new(tenant.sweeper()),
            _drafting: drafting,
        })
    }

    fn append(&mut self, tenant: &Tenant, chunks: Vec<Chunk>) -> Result<()> {
        self.check_instance(tenant)?;
        check::chunks(&chunks, &mut self.dimensions)?;
        let count = chunks.len() as u64;
        let all = self.chunks.checked_add(u32::try_from(count).unwrap_or(u32::MAX));
        let all = all.ok_or_else(|| StoreError::Invalid("the document has too many chunks: make it several".into()))?;
        let dimensions = self.dimensions.unwrap_or(0);
        let encoded: Vec<Encoded> = chunks.into_iter().map(|chunk| Encoded::new(chunk, dimensions)).collect();
        self.reservation.grow(encoded.iter().map(Encoded::bytes).sum(), self.used, self.bytes_max)?;
        let (rows, loose) = (self.rows.clone(), self.loose);
        let written = tenant.truth.write_soon(|transaction| append(transaction, &encoded, rows, loose))?;
        self.rows = written.0;
        self.loose = Some(written.1);
        self.chunks = all;
        Ok(())
    }

    fn commit(mut self, tenant: &Tenant, place: &Place) -> Result<Stored> {
        self.check_instance(tenant)?;
        let put = Put {
            document: self.document.clone(),
            embedder: self.embedder.clone(),
            dimensions: self.dimensions,
            rows: self.rows.clone(),
            chunks: self.chunks,
            bytes: self.reservation.bytes(),
            loose: self.loose,
            bytes_max: self.bytes_max,
            reader: self.reader.clone(),
        };
        let stored = tenant.collection(place).change(tenant, Change::Put(put))?;
        // From now on its chunks are those of a document.
        self.loose = None;
        stored.ok_or_else(|| failed("the document was not put there"))
    }

    fn check_instance(&self, tenant: &Tenant) -> Result<()> {
        if tenant.instance == self.instance {
            return Ok(());
        }
        // They were erased, or opened anew.
        Err(StoreError::Conflict)
    }
}

impl Encoded {
    fn new(chunk: Chunk, dimensions: usize) -> Encoded {
        let row = RowRecord { has_vector: !chunk.vector.is_empty(), fields: chunk.fields };
        let tokens = TokenVectors::new(&chunk.token_vectors, dimensions);
        Encoded { row: row.to_bytes(), text: chunk.text, vector: to_bytes(&unit(&chunk.vector)), tokens: tokens.to_bytes() }
    }

    fn bytes(&self) -> u64 {
        CHUNK_BYTES + (self.row.len() + self.text.len() + self.vector.len() + self.tokens.len()) as u64
    }
}

/// Writes chunks that nobody finds yet; gives all of the draft's rows, and under which id they are loose.
fn append(
    transaction: &WriteTransaction,
    chunks: &[Encoded],
    mut runs: Vec<Run>,
    loose: Option<u64>,
) -> Result<(Vec<Run>, u64)> {
    let loose = loose.map_or_else(|| take(transaction, NEXT_ID, 1), Ok)?;
    let first = take(transaction, NEXT_ID, chunks.len() as u64)?;
    let mut rows = transaction.open_table(ROWS).map_err(failed)?;
    let mut texts = transaction.open_table(TEXTS).map_err(failed)?;
    let mut vectors = transaction.open_table(VECTORS).map_err(failed)?;
    let mut tokens = transaction.open_table(TOKENS).map_err(failed)?;
    for (id, chunk) in (first..).zip(chunks) {
        rows.insert(id, chunk.row.as_slice()).map_err(failed)?;
        texts.insert(id, chunk.text.as_str()).map_err(failed)?;
        if !chunk.vector.is_empty() {
            vectors.insert(id, chunk.vector.as_slice()).map_err(failed)?;
        }
        if !chunk.tokens.is_empty() {
            tokens.insert(id, chunk.tokens.as_slice()).map_err(failed)?;
        }
        push(&mut runs, id);
    }
    transaction.open_table(LOOSE).map_err(failed)?.insert(loose, runs.to_bytes().as_slice()).map_err(failed)?;
    Ok((runs, loose))
}
