//! What has to be known of a collection's documents and chunks to filter them, in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::record::{DocumentRecord, RowRecord, Run, ids};
use crate::vector::{Field, Value};

/// Fields, with names that are kept once.
pub(super) type Fields = Box<[(Arc<str>, Value)]>;

/// A map from the ids of chunks.
pub(super) type ByRow<T> = HashMap<u64, T, BuildHasherDefault<RowHasher>>;

/// Spreads ids, which are counted up and chosen by nobody, by a multiplication (Knuth, 1973).
#[derive(Default)]
pub(super) struct RowHasher(u64);

impl Hasher for RowHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

/// A document.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: Arc<str>,
    pub(super) digest: Box<str>,
    pub(super) labels: BTreeSet<String>,
    pub(super) fields: Fields,
    pub(super) rows: Vec<Run>,
    pub(super) chunks: u32,
}

impl Entry {
    /// A document outside of any catalogue, to be held against a filter.
    pub(super) fn alone(record: &DocumentRecord) -> Entry {
        let fields = record.document.fields.iter().map(|field| (field.name.as_str().into(), field.value.clone())).collect();
        Entry::new(record, record.document.id.as_str().into(), fields)
    }

    fn new(record: &DocumentRecord, id: Arc<str>, fields: Fields) -> Entry {
        Entry {
            id,
            digest: record.document.digest.as_str().into(),
            labels: record.document.labels.clone(),
            fields,
            rows: record.rows.clone(),
            chunks: record.chunks,
        }
    }
}

/// A chunk.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Its document's place in the catalogue.
    pub(super) document: u32,
    /// Its place in the document.
    pub(super) index: u32,
    pub(super) has_vector: bool,
    pub(super) fields: Fields,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Catalogue {
    names: HashSet<Arc<str>>,
    documents: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_id: BTreeMap<Arc<str>, u32>,
    rows: ByRow<Row>,
    /// Names of fields that chunks have of their own, and how many have them.
    chunk_fields: HashMap<Arc<str>, usize>,
}

impl Catalogue {
    /// Takes a document up, in the place of one with the same id.
    pub(super) fn insert(&mut self, record: &DocumentRecord, rows: Vec<RowRecord>) {
        self.remove(&record.document.id);
        let id: Arc<str> = record.document.id.as_str().into();
        let entry = Entry::new(record, Arc::clone(&id), self.intern(record.document.fields.clone()));
        let document = self.free.pop().unwrap_or_else(|| {
            self.documents.push(None);
            u32::try_from(self.documents.len() - 1).expect("documents are counted in 32 bits before memory ends")
        });
        for ((index, row), id) in (0..).zip(rows).zip(ids(&record.rows)) {
            let fields = self.intern(row.fields);
            fields.iter().for_each(|(name, _)| *self.chunk_fields.entry(Arc::clone(name)).or_default() += 1);
            self.rows.insert(id, Row { document, index, has_vector: row.has_vector, fields });
        }
        self.documents[document as usize] = Some(entry);
        self.by_id.insert(id, document);
    }

    /// Takes a document out and gives the ids of its chunks.
    pub(super) fn remove(&mut self, id: &str) -> Vec<Run> {
        let Some(document) = self.by_id.remove(id) else { return Vec::new() };
        let rows = self.documents[document as usize].take().map(|entry| entry.rows).unwrap_or_default();
        self.free.push(document);
        for row in ids(&rows).filter_map(|row| self.rows.remove(&row)).collect::<Vec<_>>() {
            for (name, _) in &row.fields {
                let count = self.chunk_fields.get_mut(name).map(|count| {
                    *count -= 1;
                    *count
                });
                if count == Some(0) {
                    self.chunk_fields.remove(name);
                }
            }
        }
        rows
    }

    pub(super) fn row(&self, row: u64) -> Option<&Row> {
        self.rows.get(&row)
    }

    /// The document at a place.
    pub(super) fn document(&self, place: u32) -> Option<&Entry> {
        self.documents.get(place as usize)?.as_ref()
    }

    /// Documents in the order of their ids, behind one.
    pub(super) fn documents_behind(&self, after: Option<&str>) -> impl Iterator<Item = &Entry> {
        use std::ops::Bound;
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let places = self.by_id.range::<str, _>((first, Bound::Unbounded));
        places.filter_map(|(_, &place)| self.document(place))
    }

    /// All documents by their places.
    pub(super) fn places(&self) -> &[Option<Entry>] {
        &self.documents
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (u64, &Row)> {
        self.rows.iter().map(|(&id, row)| (id, row))
    }

    pub(super) fn rows_count(&self) -> usize {
        self.rows.len()
    }

    /// Whether a chunk has a field of this name of its own.
    pub(super) fn is_of_chunks(&self, field: &str) -> bool {
        self.chunk_fields.contains_key(field)
    }

    fn intern(&mut self, fields: Vec<Field>) -> Fields {
        let named = fields.into_iter().map(|Field { name, value }| {
            let name = self.names.get(name.as_str()).cloned().unwrap_or_else(|| {
                let name: Arc<str> = name.into();
                self.names.insert(Arc::clone(&name));
                name
            });
            (name, value)
        });
        named.collect()
    }
}

/// A chunk's fields: its own and the document's, but those it has itself.
pub(super) fn merged(document: &Fields, own: &Fields) -> Vec<Field> {
    let field = |(name, value): &(Arc<str>, Value)| Field { name: name.to_string(), value: value.clone() };
    let is_own = |name: &str| own.iter().any(|(own, _)| &**own == name);
    let inherited = document.iter().filter(|(name, _)| !is_own(name)).map(field);
    inherited.chain(own.iter().map(field)).collect()
}
