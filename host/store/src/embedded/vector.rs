//! Documents in pieces, in the database and the indexes beside it.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use redb::{ReadTransaction, ReadableTable};

use super::catalogue::Entry;
use super::change::Change;
use super::collection::record_of;
use super::record::{CollectionRecord, DocumentRecord, Record, RowRecord, ids};
use super::selection::passes;
use super::tenant::{Tenant, owner_key};
use super::truth::{COLLECTIONS, DOCUMENTS, ROWS, TEXTS};
use super::{Embedded, check, draft, failed, find};
use crate::vector::{Collection, Document, Draft, Field, Filter, Hit, Page, Piece, Query, ROWS_MAX, Reader, Stored, Vectors};
use crate::{Name, Place, Result};

/// Most bytes of a page of documents, or of the texts of a page of pieces, but for one that is larger alone.
const PAGE_BYTES_MAX: usize = 8 << 20;

impl Vectors for Embedded {
    fn begin(
        &self,
        place: &Place,
        document: Document,
        embedder: Option<String>,
        reader: &Reader,
    ) -> BoxFuture<'static, Result<Box<dyn Draft>>> {
        draft::begin(Arc::clone(&self.store), place.clone(), document, embedder, reader.clone()).boxed()
    }

    fn delete(&self, place: &Place, document: &str, reader: &Reader) -> BoxFuture<'static, Result<bool>> {
        let (place, document, reader) = (place.clone(), document.to_owned(), reader.clone());
        self.with_existing(&place.tenant.clone(), move |tenant| {
            check::name("document", &document)?;
            // Most that is not there is refused without a transaction.
            if document_of(&tenant.truth.read()?, &place, &document, &reader)?.is_none() {
                return Ok(false);
            }
            let change = Change::Delete { document, reader };
            Ok(tenant.collection(&place).change(tenant, change)?.is_some())
        })
    }

    fn delete_collection(&self, place: &Place, reader: &Reader) -> BoxFuture<'static, Result<bool>> {
        let (place, reader) = (place.clone(), reader.clone());
        self.with_existing(&place.tenant.clone(), move |tenant| match tenant.existing_collection(&place)? {
            Some(collection) => collection.delete(tenant, &reader),
            None => Ok(false),
        })
    }

    fn find(&self, place: &Place, query: Query, reader: &Reader) -> BoxFuture<'static, Result<Vec<Hit>>> {
        let (place, reader) = (place.clone(), reader.clone());
        if let Err(error) = check::query(&query) {
            return async { Err(error) }.boxed();
        }
        self.with_existing(&place.tenant.clone(), move |tenant| match tenant.existing_collection(&place)? {
            Some(collection) => find::find(tenant, &collection, query, &reader),
            None => Ok(Vec::new()),
        })
    }

    fn stat(&self, place: &Place, document: &str, reader: &Reader) -> BoxFuture<'static, Result<Option<Stored>>> {
        let (place, document, reader) = (place.clone(), document.to_owned(), reader.clone());
        self.with_existing(&place.tenant.clone(), move |tenant| {
            check::name("document", &document)?;
            Ok(document_of(&tenant.truth.read()?, &place, &document, &reader)?.map(|record| record.stored()))
        })
    }

    fn documents(
        &self,
        place: &Place,
        filter: Filter,
        after: Option<&str>,
        documents_max: usize,
        reader: &Reader,
    ) -> BoxFuture<'static, Result<Page>> {
        let (place, reader, after) = (place.clone(), reader.clone(), after.map(str::to_owned));
        self.with_existing(&place.tenant.clone(), move |tenant| {
            check::page("documents-max", documents_max, ROWS_MAX)?;
            check::filter(&filter)?;
            documents(tenant, &place, &filter, after.as_deref(), documents_max, &reader)
        })
    }

    fn pieces(
        &self,
        place: &Place,
        document: &str,
        start: u32,
        pieces_max: usize,
        reader: &Reader,
    ) -> BoxFuture<'static, Result<Vec<Piece>>> {
        let (place, document, reader) = (place.clone(), document.to_owned(), reader.clone());
        self.with_existing(&place.tenant.clone(), move |tenant| {
            check::name("document", &document)?;
            check::page("pieces-max", pieces_max, ROWS_MAX)?;
            let truth = tenant.truth.read()?;
            let record = document_of(&truth, &place, &document, &reader)?;
            record.map_or_else(|| Ok(Vec::new()), |record| pieces(&truth, &record, start, pieces_max))
        })
    }

    fn collections(&self, tenant: &Name) -> BoxFuture<'static, Result<Vec<Collection>>> {
        self.with_existing(tenant, collections)
    }
}

/// A document that a reader sees.
fn document_of(truth: &ReadTransaction, place: &Place, document: &str, reader: &Reader) -> Result<Option<DocumentRecord>> {
    let Some(record) = record_of(truth, &(place.name.clone(), owner_key(place)))? else { return Ok(None) };
    let table = truth.open_table(DOCUMENTS).map_err(failed)?;
    let row = table.get((record.id, document)).map_err(failed)?;
    let found = row.map(|row| DocumentRecord::from_bytes(row.value())).transpose()?;
    Ok(found.filter(|found| reader.sees(&found.document.labels)))
}

fn documents(
    tenant: &Tenant,
    place: &Place,
    filter: &Filter,
    after: Option<&str>,
    documents_max: usize,
    reader: &Reader,
) -> Result<Page> {
    let mut page = Page::default();
    let Some(collection) = tenant.existing_collection(place)? else { return Ok(page) };
    let state = collection.loaded(tenant)?;
    let Some(record) = &state.record else { return Ok(page) };
    let table = tenant.truth.read()?.open_table(DOCUMENTS).map_err(failed)?;
    let entries = state.catalogue.documents_behind(after);
    let mut bytes = 0;
    for entry in entries.filter(|entry| reader.sees(&entry.labels) && passes(filter, entry, None)) {
        let Some(row) = table.get((record.id, &*entry.id)).map_err(failed)? else { continue };
        let found = DocumentRecord::from_bytes(row.value())?;
        // It may have been replaced since.
        if !is_for(&found, filter, reader) {
            continue;
        }
        bytes += row.value().len();
        if page.documents.len() == documents_max || (bytes > PAGE_BYTES_MAX && !page.documents.is_empty()) {
            page.has_more = true;
            break;
        }
        page.documents.push(found.stored());
    }
    Ok(page)
}

/// Whether a document that was read is one that a reader asks for.
fn is_for(record: &DocumentRecord, filter: &Filter, reader: &Reader) -> bool {
    reader.sees(&record.document.labels) && passes(filter, &Entry::alone(record), None)
}

fn pieces(truth: &ReadTransaction, record: &DocumentRecord, start: u32, pieces_max: usize) -> Result<Vec<Piece>> {
    let rows = truth.open_table(ROWS).map_err(failed)?;
    let texts = truth.open_table(TEXTS).map_err(failed)?;
    let mut pieces = Vec::new();
    let mut bytes = 0;
    for (index, id) in (0..).zip(ids(&record.rows)).skip(start as usize).take(pieces_max) {
        let missing = || failed("a chunk is not in the database");
        let row = RowRecord::from_bytes(rows.get(id).map_err(failed)?.ok_or_else(missing)?.value())?;
        let text = texts.get(id).map_err(failed)?.ok_or_else(missing)?.value().to_owned();
        bytes += text.len();
        if bytes > PAGE_BYTES_MAX && !pieces.is_empty() {
            break;
        }
        let is_own = |field: &&Field| row.fields.iter().any(|own| own.name == field.name);
        let mut fields: Vec<Field> = record.document.fields.iter().filter(|field| !is_own(field)).cloned().collect();
        fields.extend(row.fields);
        pieces.push(Piece { document: record.document.id.clone(), index, text, fields });
    }
    Ok(pieces)
}

/// A tenant's collections, those of all owners of a name together.
fn collections(tenant: &Tenant) -> Result<Vec<Collection>> {
    let table = tenant.truth.read()?.open_table(COLLECTIONS).map_err(failed)?;
    let loaded = tenant.loaded();
    let mut collections: Vec<Collection> = Vec::new();
    for row in table.iter().map_err(failed)? {
        let (key, row) = row.map_err(failed)?;
        let (name, owner) = key.value();
        let record = CollectionRecord::from_bytes(row.value())?;
        let loaded = loaded.iter().find(|loaded| loaded.key.0.as_str() == name && loaded.key.1 == owner);
        let has_graph = match loaded.and_then(|loaded| loaded.peek()) {
            Some(state) => state.dense.graph.is_some(),
            None => record.chunks > tenant.settings.exact_chunks_max as u64,
        };
        let index = if has_graph { "hnsw" } else { "exact" };
        match collections.last_mut().filter(|last| last.name.as_str() == name) {
            Some(last) => {
                last.documents += record.documents;
                last.chunks += record.chunks;
                last.bytes += record.bytes;
            }
            None => collections.push(Collection {
                name: name.parse().map_err(failed)?,
                documents: record.documents,
                chunks: record.chunks,
                dimensions: record.dimensions,
                embedder: record.embedder,
                bytes: record.bytes,
                index,
            }),
        }
    }
    Ok(collections)
}
