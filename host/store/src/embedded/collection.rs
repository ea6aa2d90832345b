//! A collection in memory: what filters need, the vectors and the words, beside the database.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::ReadTransaction;

use super::catalogue::Catalogue;
use super::change::{Done, Ticket};
use super::dense::{Dense, Flat, from_bytes};
use super::graph::Graph;
use super::record::{CollectionRecord, DocumentRecord, Record, RowRecord, ids};
use super::tenant::{Key, Tenant};
use super::text::{TextIndex, TextReader};
use super::truth::{COLLECTIONS, DOCUMENTS, ROWS, TEXTS, VECTORS};
use super::{failed, lock};
use crate::Result;

/// New vectors that are compared one by one before they go into the graph.
const NEW_MAX: usize = 1024;

/// Vectors that go into a graph at a time while nobody can search it.
const MOVED: usize = 32;

/// Vectors that go into a graph at a time that nobody searches yet.
const BUILT: usize = 1024;

/// Changes of a graph after which it is saved, however busy it is.
const SAVED_AFTER: usize = 10_000;

pub(super) struct Collection {
    pub(super) key: Key,
    /// Changes that wait, to be made together.
    pub(super) queue: Mutex<Vec<Arc<Ticket>>>,
    /// Held by the one who changes it, with the text index.
    pub(super) writing: Mutex<Option<TextIndex>>,
    /// What is searched; none until it is loaded.
    state: RwLock<Option<State>>,
    /// Held by the one who saves the graph: how many changes it had when somebody last looked.
    saving: Mutex<usize>,
}

/// What is searched.
#[derive(Default)]
pub(super) struct State {
    /// None if there is no such collection.
    pub(super) record: Option<CollectionRecord>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) dense: Dense,
    pub(super) text: Option<TextReader>,
}

/// A collection that is loaded.
pub(super) struct Loaded<'a>(RwLockReadGuard<'a, Option<State>>);

impl std::ops::Deref for Loaded<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.0.as_ref().expect("it is only made of what is loaded")
    }
}

/// What a collection needs of a document to search it.
pub(super) struct Indexed {
    pub(super) record: DocumentRecord,
    pub(super) rows: Vec<RowRecord>,
    pub(super) vectors: Vec<(u64, Vec<f32>)>,
}

impl Collection {
    pub(super) fn new(key: Key) -> Collection {
        Collection {
            key,
            queue: Mutex::default(),
            writing: Mutex::default(),
            state: RwLock::default(),
            saving: Mutex::default(),
        }
    }

    /// What is searched, loaded if it is not.
    pub(super) fn loaded(&self, tenant: &Tenant) -> Result<Loaded<'_>> {
        loop {
            let state = self.read();
            if state.is_some() {
                return Ok(Loaded(state));
            }
            drop(state);
            self.load(tenant, &mut lock(&self.writing))?;
        }
    }

    /// What is searched, if it is loaded.
    pub(super) fn peek(&self) -> Option<Loaded<'_>> {
        Some(self.read()).filter(|state| state.is_some()).map(Loaded)
    }

    /// Loads it from the database, and brings its indexes up to that.
    pub(super) fn load(&self, tenant: &Tenant, writing: &mut Option<TextIndex>) -> Result<()> {
        if self.read().is_some() {
            return Ok(());
        }
        *writing = None;
        let truth = tenant.truth.read()?;
        let record = record_of(&truth, &self.key)?;
        let Some(record) = record else {
            *self.write() = Some(State::default());
            return Ok(());
        };
        let catalogue = catalogue_of(&truth, record.id)?;
        let dense = {
            // What is being saved is not whole yet.
            let _saving = lock(&self.saving);
            dense_of(tenant, &truth, &record, &catalogue)?
        };
        let text = text_of(tenant, &truth, &record, &catalogue)?;
        let reader = text.reader();
        reader.reload()?;
        *writing = Some(text);
        let is_graph_behind = dense.flat.len() > tenant.settings.exact_chunks_max;
        *self.write() = Some(State { record: Some(record), catalogue: Arc::new(catalogue), dense, text: Some(reader) });
        if is_graph_behind {
            tenant.tend_later();
        }
        Ok(())
    }

    /// Forgets what is in memory: it is loaded again when it is needed.
    pub(super) fn unload(&self, writing: &mut Option<TextIndex>) {
        *self.write() = None;
        *writing = None;
    }

    /// Lets what was done in the database be found.
    pub(super) fn apply(&self, record: CollectionRecord, done: Vec<(Done, Option<Indexed>)>, text: TextReader) -> Result<()> {
        let mut state = self.write();
        let Some(state) = state.as_mut() else { return Ok(()) };
        text.reload()?;
        state.text = Some(text);
        state.record = Some(record);
        let catalogue = Arc::make_mut(&mut state.catalogue);
        for (done, indexed) in done {
            if let Some(gone) = &done.gone {
                catalogue.remove(&gone.document.id);
                ids(&gone.rows).for_each(|row| state.dense.remove(row));
            }
            if let Some(Indexed { record, rows, vectors }) = indexed {
                catalogue.insert(&record, rows);
                vectors.iter().for_each(|(row, vector)| state.dense.flat.insert(*row, vector));
            }
        }
        Ok(())
    }

    /// Makes it a collection that is not there.
    pub(super) fn clear(&self, writing: &mut Option<TextIndex>) {
        *writing = None;
        *self.write() = Some(State::default());
    }

    /// Whether [`Collection::tend`] has something to do.
    pub(super) fn is_behind(&self, tenant: &Tenant) -> bool {
        self.peek().is_some_and(|state| !matches!(next(&state, tenant), Next::Nothing))
    }

    /// Brings vectors into the graph, and saves it, until `is_over`.
    pub(super) fn tend(&self, tenant: &Tenant, is_over: &dyn Fn() -> bool) -> Result<()> {
        while !is_over() {
            let next = self.peek().map_or(Next::Nothing, |state| next(&state, tenant));
            match next {
                Next::Nothing => break,
                Next::Build => self.build(tenant, is_over)?,
                Next::Move => self.move_some()?,
                Next::Rebuild => self.dissolve(tenant)?,
            }
        }
        let is_much = |graph: &Graph| graph.changes() >= SAVED_AFTER.max(graph.rows().len() / 10);
        if self.peek().is_some_and(|state| state.dense.graph.as_ref().is_some_and(is_much)) {
            self.save(tenant);
        }
        Ok(())
    }

    /// Frees what only changes need, and saves the graph when it did not change since the last time.
    pub(super) fn rest(&self, tenant: &Tenant) {
        if let Ok(mut writing) = self.writing.try_lock() {
            writing.iter_mut().for_each(TextIndex::rest);
        }
        let changes = self.peek().and_then(|state| state.dense.graph.as_ref().map(Graph::changes)).unwrap_or(0);
        let before = std::mem::replace(&mut *lock(&self.saving), changes);
        if changes > 0 && changes == before {
            self.save(tenant);
        }
    }

    /// Saves the graph if it changed.
    pub(super) fn save(&self, tenant: &Tenant) {
        let _saving = lock(&self.saving);
        if let Err(error) = self.save_graph(tenant) {
            tracing::error!(collection = %self.key.0, %error, "a graph can't be saved: it is built again with the next start");
        }
    }

    fn save_graph(&self, tenant: &Tenant) -> Result<()> {
        let (saved, changes) = {
            let Some(state) = self.peek() else { return Ok(()) };
            let (Some(record), Some(graph)) = (&state.record, &state.dense.graph) else { return Ok(()) };
            let changes = graph.changes();
            if changes == 0 {
                return Ok(());
            }
            let (lineage, _) = tenant.truth.history()?;
            (graph.write(&dense_folder(tenant, record.id), lineage)?, changes)
        };
        // From here on it may be changed.
        saved.finish().inspect_err(|_| {
            if let Some(graph) = self.peek().as_ref().and_then(|state| state.dense.graph.as_ref()) {
                graph.add_changes(changes);
            }
        })
    }

    /// Deletes its indexes, when nobody saves one. What fails is done when the tenant's data are opened again.
    pub(super) fn remove_indexes(&self, tenant: &Tenant, id: u64) {
        let _saving = lock(&self.saving);
        for folder in [text_folder(tenant, id), dense_folder(tenant, id)] {
            remove_folder(&folder);
        }
    }

    /// Builds a graph of all vectors while they are searched one by one.
    fn build(&self, tenant: &Tenant, is_over: &dyn Fn() -> bool) -> Result<()> {
        let Some((id, dimensions, rows)) = self.peek().and_then(|state| {
            let flat = &state.dense.flat;
            Some((state.record.as_ref()?.id, flat.dimensions(), flat.rows().to_vec()))
        }) else {
            return Ok(());
        };
        let mut graph = Graph::new(dimensions)?;
        let started = std::time::Instant::now();
        for (part, some) in rows.chunks(BUILT).enumerate() {
            if is_over() {
                return Ok(());
            }
            let vectors = self.vectors(id, some);
            graph.add(&vectors)?;
            if part % 16 == 0 {
                let (done, all) = (part * BUILT, rows.len());
                tracing::info!(tenant = %tenant.name, collection = %self.key.0, done, all, "building a graph of vectors");
            }
        }
        let seconds = started.elapsed().as_secs_f32();
        tracing::info!(tenant = %tenant.name, collection = %self.key.0, vectors = rows.len(), seconds, "a graph of vectors is built");
        let mut state = self.write();
        let Some(state) = state.as_mut().filter(|state| state.record.as_ref().is_some_and(|record| record.id == id)) else {
            return Ok(());
        };
        state.dense.take_up(graph);
        Ok(())
    }

    fn move_some(&self) -> Result<()> {
        let some = self.peek().and_then(|state| {
            let rows = state.dense.flat.rows();
            Some((state.record.as_ref()?.id, rows.iter().rev().take(MOVED).copied().collect::<Vec<_>>()))
        });
        let Some((id, rows)) = some else { return Ok(()) };
        let vectors = self.vectors(id, &rows);
        let mut state = self.write();
        let Some(Dense { flat, graph: Some(graph) }) = state.as_mut().map(|state| &mut state.dense) else { return Ok(()) };
        let vectors: Vec<_> = vectors.into_iter().filter(|(row, _)| flat.vector(*row).is_some()).collect();
        graph.add(&vectors)?;
        for (row, _) in &vectors {
            flat.remove(*row);
        }
        Ok(())
    }

    /// Takes all vectors out of a graph that is worn, so that it is built anew.
    fn dissolve(&self, tenant: &Tenant) -> Result<()> {
        let _writing = lock(&self.writing);
        let truth = tenant.truth.read()?;
        let table = truth.open_table(VECTORS).map_err(failed)?;
        let mut flat = Flat::default();
        if let Some(state) = self.peek() {
            for (row, _) in state.catalogue.rows().filter(|(_, row)| row.has_vector) {
                let vector = table.get(row).map_err(failed)?;
                vector.iter().for_each(|vector| flat.insert(row, &from_bytes(vector.value())));
            }
        }
        if let Some(state) = self.write().as_mut() {
            state.dense = Dense { flat, graph: None };
        }
        Ok(())
    }

    fn vectors(&self, id: u64, rows: &[u64]) -> Vec<(u64, Vec<f32>)> {
        let Some(state) = self.peek().filter(|state| state.record.as_ref().is_some_and(|record| record.id == id)) else {
            return Vec::new();
        };
        rows.iter().filter_map(|&row| Some((row, state.dense.flat.vector(row)?.to_vec()))).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<State>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<State>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be done for a graph.
enum Next {
    Nothing,
    Build,
    Move,
    Rebuild,
}

fn next(state: &State, tenant: &Tenant) -> Next {
    let new = state.dense.flat.len();
    match &state.dense.graph {
        None if new > tenant.settings.exact_chunks_max => Next::Build,
        Some(graph) if graph.is_worn() => Next::Rebuild,
        Some(_) if new > NEW_MAX => Next::Move,
        _ => Next::Nothing,
    }
}

pub(super) fn text_folder(tenant: &Tenant, id: u64) -> PathBuf {
    tenant.folder.join("text").join(id.to_string())
}

pub(super) fn dense_folder(tenant: &Tenant, id: u64) -> PathBuf {
    tenant.folder.join("dense").join(id.to_string())
}

pub(super) fn remove_folder(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "an index can't be deleted");
    }
}

pub(super) fn record_of(truth: &ReadTransaction, key: &Key) -> Result<Option<CollectionRecord>> {
    let table = truth.open_table(COLLECTIONS).map_err(failed)?;
    let row = table.get((key.0.as_str(), key.1.as_str())).map_err(failed)?;
    row.map(|row| CollectionRecord::from_bytes(row.value())).transpose()
}

/// Reads what has to be known of a document's chunks.
pub(super) fn rows_of(truth: &ReadTransaction, record: &DocumentRecord) -> Result<Vec<RowRecord>> {
    let table = truth.open_table(ROWS).map_err(failed)?;
    let row = |id| {
        let row = table.get(id).map_err(failed)?.ok_or_else(|| failed("a chunk is not in the database"))?;
        RowRecord::from_bytes(row.value())
    };
    ids(&record.rows).map(row).collect()
}

/// Reads what is needed of a document to search it.
pub(super) fn indexed(truth: &ReadTransaction, record: DocumentRecord) -> Result<Indexed> {
    let rows = rows_of(truth, &record)?;
    let table = truth.open_table(VECTORS).map_err(failed)?;
    let mut vectors = Vec::new();
    for (row, _) in ids(&record.rows).zip(&rows).filter(|(_, row)| row.has_vector) {
        let vector = table.get(row).map_err(failed)?.ok_or_else(|| failed("a vector is not in the database"))?;
        vectors.push((row, from_bytes(vector.value())));
    }
    Ok(Indexed { record, rows, vectors })
}

fn catalogue_of(truth: &ReadTransaction, id: u64) -> Result<Catalogue> {
    let table = truth.open_table(DOCUMENTS).map_err(failed)?;
    let mut catalogue = Catalogue::default();
    for document in table.range((id, "")..(id + 1, "")).map_err(failed)? {
        let record = DocumentRecord::from_bytes(document.map_err(failed)?.1.value())?;
        let rows = rows_of(truth, &record)?;
        catalogue.insert(&record, rows);
    }
    Ok(catalogue)
}

/// Loads the graph if there is one, and reads the vectors that are not in it.
fn dense_of(tenant: &Tenant, truth: &ReadTransaction, record: &CollectionRecord, catalogue: &Catalogue) -> Result<Dense> {
    let folder = dense_folder(tenant, record.id);
    let mut graph = match folder.exists() {
        true => Graph::load(&folder, record.dimensions, tenant.truth.history()?),
        false => None,
    };
    if let Some(graph) = &mut graph {
        let gone: Vec<u64> = graph.rows().iter().copied().filter(|&row| catalogue.row(row).is_none()).collect();
        gone.into_iter().for_each(|row| graph.remove(row));
    }
    let mut flat = Flat::default();
    let table = truth.open_table(VECTORS).map_err(failed)?;
    let is_in_graph = |row: &u64| graph.as_ref().is_some_and(|graph| graph.rows().contains(row));
    for (row, _) in catalogue.rows().filter(|(row, known)| known.has_vector && !is_in_graph(row)) {
        let vector = table.get(row).map_err(failed)?.ok_or_else(|| failed("a vector is not in the database"))?;
        flat.insert(row, &from_bytes(vector.value()));
    }
    Ok(Dense { flat, graph })
}

/// Opens the text index, and makes it anew where it can't be brought up to date.
fn text_of(tenant: &Tenant, truth: &ReadTransaction, record: &CollectionRecord, catalogue: &Catalogue) -> Result<TextIndex> {
    let folder = text_folder(tenant, record.id);
    let mut text = TextIndex::open(&folder)?;
    let Err(error) = catch_up(&mut text, truth, catalogue) else { return Ok(text) };
    tenant.truth.examine();
    if tenant.truth.is_broken() {
        return Err(error);
    }
    tracing::warn!(folder = %folder.display(), %error, "a text index can't be changed: it is built again");
    drop(text);
    remove_folder(&folder);
    let mut text = TextIndex::open(&folder)?;
    catch_up(&mut text, truth, catalogue)?;
    Ok(text)
}

/// Makes a text index one of exactly the chunks that there are.
fn catch_up(text: &mut TextIndex, truth: &ReadTransaction, catalogue: &Catalogue) -> Result<()> {
    let there: HashSet<u64> = text.rows()?.into_iter().collect();
    let gone: Vec<u64> = there.iter().copied().filter(|&row| catalogue.row(row).is_none()).collect();
    let missing: Vec<u64> = catalogue.rows().map(|(row, _)| row).filter(|row| !there.contains(row)).collect();
    if gone.is_empty() && missing.is_empty() {
        return Ok(());
    }
    tracing::info!(gone = gone.len(), missing = missing.len(), "bringing a text index up to date");
    gone.into_iter().try_for_each(|row| text.remove(row))?;
    add_texts(text, truth, missing.into_iter())?;
    text.commit()
}

/// Adds chunks' texts to an index, which has to be committed then.
pub(super) fn add_texts(text: &mut TextIndex, truth: &ReadTransaction, rows: impl Iterator<Item = u64>) -> Result<()> {
    let table = truth.open_table(TEXTS).map_err(failed)?;
    for row in rows {
        let found = table.get(row).map_err(failed)?.ok_or_else(|| failed("a text is not in the database"))?;
        text.add(row, found.value())?;
    }
    Ok(())
}
