//! Changes of a collection: those that come together are one transaction, and one commit of the words.

use std::sync::{Arc, Mutex};

use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::collection::{Collection, Indexed, add_texts, indexed, remove_folder, text_folder};
use super::record::{CollectionRecord, DocumentRecord, Record, Run, ids};
use super::tenant::{Key, Tenant};
use super::text::{TextIndex, TextReader};
use super::truth::{COLLECTIONS, DOCUMENTS, LOOSE, NEXT_ID, loosen, take};
use super::{check, failed, lock, now_ms};
use crate::vector::{Document, Reader, Stored};
use crate::{Result, StoreError};

/// Most collections of a tenant, those of all owners counted.
const COLLECTIONS_MAX: u64 = 10_000;

/// Bytes that a document takes beside what is counted of its chunks, about.
const DOCUMENT_BYTES: u64 = 128;

/// What is to be done.
pub(super) enum Change {
    Put(Put),
    Delete { document: String, reader: Reader },
}

/// A draft that becomes a document.
pub(super) struct Put {
    pub(super) document: Document,
    pub(super) embedder: Option<String>,
    pub(super) dimensions: Option<usize>,
    pub(super) rows: Vec<Run>,
    pub(super) chunks: u32,
    /// Of its chunks.
    pub(super) bytes: u64,
    /// Under which its chunks are loose until now; none if it has none.
    pub(super) loose: Option<u64>,
    pub(super) bytes_max: u64,
    pub(super) reader: Reader,
}

/// A change that waits, and what became of it.
pub(super) struct Ticket {
    change: Mutex<Option<Change>>,
    result: Mutex<Option<Result<Option<Stored>>>>,
}

/// What was done in the database.
#[derive(Default)]
pub(super) struct Done {
    /// The document that is there from now on.
    pub(super) new: Option<DocumentRecord>,
    /// The document that is gone.
    pub(super) gone: Option<DocumentRecord>,
    /// Under which its chunks are loose.
    loose: Option<u64>,
    record: Option<CollectionRecord>,
}

impl Collection {
    /// Makes a change. When it gives `Ok` it is on disk and in everything that is searched. Gives the document that was put there,
    /// or that was deleted.
    pub(super) fn change(&self, tenant: &Tenant, change: Change) -> Result<Option<Stored>> {
        let ticket = Arc::new(Ticket { change: Mutex::new(Some(change)), result: Mutex::default() });
        lock(&self.queue).push(Arc::clone(&ticket));
        let mut writing = lock(&self.writing);
        let done = lock(&ticket.result).take();
        if let Some(result) = done {
            return result;
        }
        let tickets = std::mem::take(&mut *lock(&self.queue));
        self.change_all(tenant, &mut writing, &tickets);
        let result = lock(&ticket.result).take();
        result.unwrap_or_else(|| Err(failed("the thread that wrote for this one panicked")))
    }

    fn change_all(&self, tenant: &Tenant, writing: &mut Option<TextIndex>, tickets: &[Arc<Ticket>]) {
        let changes: Vec<Change> = tickets.iter().filter_map(|ticket| lock(&ticket.change).take()).collect();
        let key = self.key.clone();
        let made = self.load(tenant, writing).and_then(|()| {
            tenant.truth.write(move |transaction| {
                let make = |change| match make(transaction, &key, change) {
                    Err(StoreError::Failed(text)) => Err(StoreError::Failed(text)),
                    made => Ok(made),
                };
                changes.into_iter().map(make).collect::<Result<Vec<_>>>()
            })
        });
        let made = made.unwrap_or_else(|error| tickets.iter().map(|_| Err(error.clone())).collect());
        let mut done = Vec::new();
        for (ticket, made) in tickets.iter().zip(made) {
            *lock(&ticket.result) = Some(made.as_ref().map_err(StoreError::clone).map(Done::stored));
            done.extend(made);
        }
        let loose: Vec<u64> = done.iter().filter_map(|done| done.loose).collect();
        if let Err(error) = self.show(tenant, writing, done) {
            // It is on disk: only what is searched has to be made from that again.
            tracing::error!(collection = %self.key.0, %error, "the indexes could not be changed and are read again");
            self.unload(writing);
        }
        loose.into_iter().for_each(|loose| tenant.sweep_later(loose));
        if self.is_behind(tenant) {
            tenant.tend_later();
        }
    }

    /// Lets what is in the database be found.
    fn show(&self, tenant: &Tenant, writing: &mut Option<TextIndex>, done: Vec<Done>) -> Result<()> {
        let Some(record) = done.iter().rev().find_map(|done| done.record.clone()) else { return Ok(()) };
        let folder = text_folder(tenant, record.id);
        let truth = tenant.truth.read()?;
        let mut all: Vec<(Done, Option<Indexed>)> = Vec::new();
        for mut done in done {
            let indexed = done.new.take().map(|new| indexed(&truth, new)).transpose()?;
            all.push((done, indexed));
        }
        let reader = self.show_text(&folder, writing, &truth, &all).inspect_err(|_| {
            *writing = None;
            remove_folder(&folder);
        })?;
        self.apply(record, all, reader)
    }

    fn show_text(
        &self,
        folder: &std::path::Path,
        writing: &mut Option<TextIndex>,
        truth: &redb::ReadTransaction,
        all: &[(Done, Option<Indexed>)],
    ) -> Result<TextReader> {
        let text = match writing.take() {
            Some(text) => writing.insert(text),
            None => writing.insert(TextIndex::open(folder)?),
        };
        for (done, indexed) in all {
            for row in done.gone.iter().flat_map(|gone| ids(&gone.rows)) {
                text.remove(row)?;
            }
            if let Some(indexed) = indexed {
                add_texts(text, truth, ids(&indexed.record.rows))?;
            }
        }
        text.commit()?;
        Ok(text.reader())
    }

    /// Deletes the collection and says whether there was one.
    pub(super) fn delete(&self, tenant: &Tenant, reader: &Reader) -> Result<bool> {
        let mut writing = lock(&self.writing);
        self.load(tenant, &mut writing)?;
        let Some(id) = self.peek().and_then(|state| Some(state.record.as_ref()?.id)) else { return Ok(false) };
        let is_seen = |state: super::collection::Loaded<'_>| {
            state.catalogue.places().iter().flatten().all(|document| reader.sees(&document.labels))
        };
        if !self.peek().is_none_or(is_seen) {
            return Err(StoreError::Invalid(
                "the collection holds documents that you don't see: delete those that you do".into(),
            ));
        }
        let key = self.key.clone();
        let loose = tenant.truth.write(move |transaction| delete(transaction, &key, id))?;
        self.clear(&mut writing);
        self.remove_indexes(tenant, id);
        tenant.sweep_later(loose);
        Ok(true)
    }
}

impl Done {
    /// The document that a change was about.
    fn stored(&self) -> Option<Stored> {
        self.new.as_ref().or(self.gone.as_ref()).map(DocumentRecord::stored)
    }
}

impl DocumentRecord {
    pub(super) fn stored(&self) -> Stored {
        Stored { document: self.document.clone(), chunks: self.chunks, changed_ms: self.changed_ms }
    }
}

fn make(transaction: &WriteTransaction, key: &Key, change: Change) -> Result<Done> {
    match change {
        Change::Put(put) => self::put(transaction, key, put),
        Change::Delete { document, reader } => delete_document(transaction, key, &document, &reader),
    }
}

fn put(transaction: &WriteTransaction, key: &Key, put: Put) -> Result<Done> {
    let mut collections = transaction.open_table(COLLECTIONS).map_err(failed)?;
    let name = (key.0.as_str(), key.1.as_str());
    let found = collections.get(name).map_err(failed)?.map(|row| CollectionRecord::from_bytes(row.value())).transpose()?;
    if found.is_none() && collections.len().map_err(failed)? >= COLLECTIONS_MAX {
        return Err(StoreError::Invalid(format!("there are {COLLECTIONS_MAX} collections: delete some first")));
    }
    let is_new = found.is_none();
    let mut record = found.unwrap_or_default();
    check::same_embedder(put.embedder.as_deref(), &record.embedder)?;
    check::same_dimensions(put.dimensions, record.dimensions)?;
    let mut documents = transaction.open_table(DOCUMENTS).map_err(failed)?;
    let old = old_document(&documents, record.id, &put.document.id, is_new)?;
    if old.as_ref().is_some_and(|old| !put.reader.sees(&old.document.labels)) {
        return Err(unseen());
    }
    if let Some(loose) = put.loose
        && transaction.open_table(LOOSE).map_err(failed)?.get(loose).map_err(failed)?.is_none()
    {
        return Err(StoreError::Invalid("the draft is not there any more: begin again".into()));
    }
    let bytes = put.bytes + DOCUMENT_BYTES + document_bytes(&put.document);
    let old_bytes = old.as_ref().map_or(0, |old| old.bytes);
    let used = bytes_of(&collections, key.0.as_str())?.saturating_sub(old_bytes);
    if used.saturating_add(bytes) > put.bytes_max {
        return Err(StoreError::Full { bytes_max: put.bytes_max });
    }
    // Nothing was written until here, so that what is refused leaves no trace.
    if is_new {
        record.id = take(transaction, NEXT_ID, 1)?;
    }
    record.dimensions = put.dimensions.unwrap_or(record.dimensions);
    record.embedder = put.embedder.unwrap_or(record.embedder);
    record.documents += u64::from(old.is_none());
    record.chunks = (record.chunks + u64::from(put.chunks)).saturating_sub(old.as_ref().map_or(0, |old| u64::from(old.chunks)));
    record.bytes = (record.bytes + bytes).saturating_sub(old_bytes);
    collections.insert(name, record.to_bytes().as_slice()).map_err(failed)?;
    let new = DocumentRecord { document: put.document, changed_ms: now_ms(), bytes, chunks: put.chunks, rows: put.rows };
    documents.insert((record.id, new.document.id.as_str()), new.to_bytes().as_slice()).map_err(failed)?;
    if let Some(loose) = put.loose {
        transaction.open_table(LOOSE).map_err(failed)?.remove(loose).map_err(failed)?;
    }
    let loose = old.as_ref().map(|old| loosen(transaction, &old.rows)).transpose()?;
    Ok(Done { new: Some(new), gone: old, loose, record: Some(record) })
}

fn delete_document(transaction: &WriteTransaction, key: &Key, document: &str, reader: &Reader) -> Result<Done> {
    let mut collections = transaction.open_table(COLLECTIONS).map_err(failed)?;
    let name = (key.0.as_str(), key.1.as_str());
    let found = collections.get(name).map_err(failed)?.map(|row| CollectionRecord::from_bytes(row.value())).transpose()?;
    let Some(mut record) = found else { return Ok(Done::default()) };
    let mut documents = transaction.open_table(DOCUMENTS).map_err(failed)?;
    let old = old_document(&documents, record.id, document, false)?;
    let Some(old) = old.filter(|old| reader.sees(&old.document.labels)) else { return Ok(Done::default()) };
    documents.remove((record.id, document)).map_err(failed)?;
    record.documents = record.documents.saturating_sub(1);
    record.chunks = record.chunks.saturating_sub(u64::from(old.chunks));
    record.bytes = record.bytes.saturating_sub(old.bytes);
    collections.insert(name, record.to_bytes().as_slice()).map_err(failed)?;
    let loose = Some(loosen(transaction, &old.rows)?);
    Ok(Done { new: None, gone: Some(old), loose, record: Some(record) })
}

/// Deletes a collection and its documents, and gives the id under which their chunks are loose.
fn delete(transaction: &WriteTransaction, key: &Key, id: u64) -> Result<u64> {
    let mut collections = transaction.open_table(COLLECTIONS).map_err(failed)?;
    collections.remove((key.0.as_str(), key.1.as_str())).map_err(failed)?;
    let mut documents = transaction.open_table(DOCUMENTS).map_err(failed)?;
    let mut rows = Vec::new();
    for document in documents.extract_from_if((id, "")..(id + 1, ""), |_, _| true).map_err(failed)? {
        rows.extend(DocumentRecord::from_bytes(document.map_err(failed)?.1.value())?.rows);
    }
    loosen(transaction, &rows)
}

fn old_document(
    documents: &impl ReadableTable<(u64, &'static str), &'static [u8]>,
    collection: u64,
    document: &str,
    is_new: bool,
) -> Result<Option<DocumentRecord>> {
    if is_new {
        return Ok(None);
    }
    let row = documents.get((collection, document)).map_err(failed)?;
    row.map(|row| DocumentRecord::from_bytes(row.value())).transpose()
}

/// Bytes of all collections of a name, whoever owns them.
pub(super) fn bytes_of(
    collections: &impl ReadableTable<(&'static str, &'static str), &'static [u8]>,
    name: &str,
) -> Result<u64> {
    let mut bytes = 0_u64;
    for row in collections.range((name, "")..).map_err(failed)? {
        let (key, record) = row.map_err(failed)?;
        if key.value().0 != name {
            break;
        }
        bytes = bytes.saturating_add(CollectionRecord::from_bytes(record.value())?.bytes);
    }
    Ok(bytes)
}

fn document_bytes(document: &Document) -> u64 {
    let labels: usize = document.labels.iter().map(|label| label.len() + 8).sum();
    (document.id.len() + document.digest.len() + labels + check::fields_bytes(&document.fields)) as u64
}

/// What is told of a document that a reader doesn't see.
pub(super) fn unseen() -> StoreError {
    StoreError::Invalid("`document.id` is taken: use another".into())
}
