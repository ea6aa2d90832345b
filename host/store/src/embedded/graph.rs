//! Which vectors are near another, by a graph of neighbours (HNSW: Malkov and Yashunin, 2018), in memory and saved in files.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use super::dense::{Near, dot, nearest};
use super::selection::Selection;
use super::tenants::sync_folder;
use super::{failed, lock};
use crate::Result;

/// Neighbours of a vector, twice as many on the lowest level.
const CONNECTIVITY: usize = 16;

/// Candidates for the neighbours of a new vector.
const EXPANSION_ADD: usize = 128;

/// Candidates of a search that wants fewer.
const EXPANSION_SEARCH: usize = 128;

/// Threads that use a graph at one time; more would have to wait.
const THREADS_MAX: usize = 64;

/// Selected chunks up to which they are compared one by one: the graph would have to be walked for each of them.
const FEW: usize = 4096;

/// Up to which part of all chunks that is done as well.
const FEW_OF: usize = 20;

/// What a saved graph is described in.
const MANIFEST: &str = "manifest.json";

pub(super) struct Graph {
    index: Index,
    rows: HashSet<u64>,
    /// Vectors that were taken out, whose places in the graph are still walked through.
    removed: usize,
    /// Changes since it was saved.
    changes: AtomicUsize,
    threads: Gate,
}

/// What a graph that is in a file is of.
#[derive(Serialize, Deserialize)]
struct Manifest {
    /// The database it was made from.
    lineage: u64,
    dimensions: usize,
    removed: usize,
    file: String,
    digest: String,
    rows: Vec<u64>,
}

/// A graph that is in a file but not in the manifest.
pub(super) struct Saved {
    folder: PathBuf,
    /// The file that it replaces.
    old: Option<String>,
    manifest: Manifest,
}

impl Graph {
    pub(super) fn new(dimensions: usize) -> Result<Graph> {
        let options = IndexOptions {
            dimensions,
            metric: MetricKind::IP,
            quantization: ScalarKind::F16,
            connectivity: CONNECTIVITY,
            expansion_add: EXPANSION_ADD,
            expansion_search: EXPANSION_SEARCH,
            multi: false,
        };
        let graph = Graph {
            index: Index::new(&options).map_err(failed)?,
            rows: HashSet::new(),
            removed: 0,
            changes: AtomicUsize::new(0),
            threads: Gate::default(),
        };
        graph.reserve(1024)?;
        Ok(graph)
    }

    /// Takes vectors of length 1 up, one after the other: of vectors that usearch takes up at the same time some can't be
    /// reached afterwards (of 1500, one or two with 2 threads and about twenty with 8).
    pub(super) fn add(&mut self, vectors: &[(u64, Vec<f32>)]) -> Result<()> {
        let wanted = self.index.size() + self.removed + vectors.len();
        if wanted > self.index.capacity() {
            self.reserve(wanted.max(self.index.capacity() * 3 / 2))?;
        }
        vectors.iter().try_for_each(|(row, vector)| self.index.add(*row, vector).map_err(failed))?;
        self.rows.extend(vectors.iter().map(|(row, _)| *row));
        self.changes.fetch_add(vectors.len(), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn remove(&mut self, row: u64) {
        if self.rows.remove(&row) {
            if let Err(error) = self.index.remove(row) {
                tracing::warn!(%error, "a vector can't be taken out of the graph: it is skipped when it is found");
            }
            self.removed += 1;
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many vectors were taken out.
    #[cfg(test)]
    pub(super) fn removed(&self) -> usize {
        self.removed
    }

    pub(super) fn rows(&self) -> &HashSet<u64> {
        &self.rows
    }

    pub(super) fn changes(&self) -> usize {
        self.changes.load(Ordering::Relaxed)
    }

    /// Counts changes again that were thought to be saved.
    pub(super) fn add_changes(&self, count: usize) {
        self.changes.fetch_add(count, Ordering::Relaxed);
    }

    /// Whether more of it is gone than there.
    pub(super) fn is_worn(&self) -> bool {
        self.removed > self.rows.len().max(1024)
    }

    /// The nearest of those that are selected; all of them if there are not more.
    pub(super) fn search(&self, query: &[f32], count: usize, selection: &Selection) -> Result<Vec<Near>> {
        let _turn = self.threads.enter();
        let few = FEW.max(self.rows.len() / FEW_OF);
        if !selection.is_everything() && selection.rows_max() <= few {
            return self.compare(query, count, selection);
        }
        let has = |row: u64| self.rows.contains(&row) && selection.has(row);
        let found = match selection.is_everything() {
            true => self.index.search(query, count),
            false => self.index.filtered_search(query, count, has),
        };
        let found = found.map_err(failed)?;
        let near = found.keys.into_iter().zip(found.distances).filter(|(row, _)| self.rows.contains(row));
        let near: Vec<Near> = near.map(|(row, distance)| (row, 1.0 - distance)).collect();
        // A walk can end before it has found all of the few that there are.
        let there = if selection.is_everything() { self.rows.len() } else { selection.rows_max() };
        if near.len() < count.min(there) { self.compare(query, count, selection) } else { Ok(near) }
    }

    /// The nearest by comparison with each that is selected.
    fn compare(&self, query: &[f32], count: usize, selection: &Selection) -> Result<Vec<Near>> {
        let mut vector = vec![0.0; query.len()];
        let mut near = Vec::new();
        for row in selection.rows().filter(|row| self.rows.contains(row)) {
            self.index.get(row, &mut vector).map_err(failed)?;
            near.push((row, dot(query, &vector)));
            if near.len() > 4 * count.max(1024) {
                nearest(&mut near, count);
            }
        }
        nearest(&mut near, count);
        Ok(near)
    }

    /// Writes it into a folder, where it counts from [`Saved::finish`] on. Its changes count as saved from now on: where that fails,
    /// [`Graph::add_changes`] brings them back. `lineage` tells its database from others.
    pub(super) fn write(&self, folder: &Path, lineage: u64) -> Result<Saved> {
        fs::create_dir_all(folder).map_err(failed)?;
        let old = Manifest::read(folder).map(|manifest| manifest.file);
        let file = ["a.graph", "b.graph"].into_iter().find(|name| old.as_deref() != Some(*name)).unwrap_or("a.graph");
        let path = folder.join(file);
        self.index.save(path.to_str().ok_or_else(|| failed("the folder's path is not UTF-8"))?).map_err(failed)?;
        let manifest = Manifest {
            lineage,
            dimensions: self.index.dimensions(),
            removed: self.removed,
            file: file.into(),
            digest: String::new(),
            rows: self.rows.iter().copied().collect(),
        };
        self.changes.store(0, Ordering::Relaxed);
        Ok(Saved { folder: folder.to_owned(), old, manifest })
    }

    /// Loads it from a folder; none if there is none that is whole and of this database.
    pub(super) fn load(folder: &Path, dimensions: usize, history: (u64, u64)) -> Option<Graph> {
        let manifest = Manifest::read(folder)?;
        let is_ours = manifest.lineage == history.0
            && manifest.rows.iter().all(|row| *row < history.1)
            && manifest.dimensions == dimensions;
        let is_plain = matches!(manifest.file.as_str(), "a.graph" | "b.graph");
        let path = folder.join(&manifest.file);
        if !is_ours || !is_plain || digest(&path).ok()? != manifest.digest {
            tracing::warn!(folder = %folder.display(), "a graph is damaged or of another database: it is built again");
            return None;
        }
        let mut graph = Graph::new(dimensions).ok()?;
        graph.index.load(path.to_str()?).ok()?;
        graph.index.change_expansion_add(EXPANSION_ADD);
        graph.index.change_expansion_search(EXPANSION_SEARCH);
        graph.rows = manifest.rows.into_iter().collect();
        graph.removed = manifest.removed;
        graph.reserve(graph.index.size() + graph.removed + 1024).ok()?;
        (graph.index.size() == graph.rows.len()).then_some(graph)
    }

    fn reserve(&self, capacity: usize) -> Result<()> {
        self.index.reserve_capacity_and_threads(capacity, THREADS_MAX).map_err(failed)?;
        if self.index.capacity() < capacity {
            return Err(failed("there is no memory for a graph of vectors"));
        }
        Ok(())
    }
}

impl Saved {
    /// Sees to it that it is on disk, in the place of what was there.
    pub(super) fn finish(self) -> Result<()> {
        let Saved { folder, old, mut manifest } = self;
        let path = folder.join(&manifest.file);
        File::open(&path).and_then(|file| file.sync_all()).map_err(failed)?;
        manifest.digest = digest(&path)?;
        let part = folder.join("manifest.part");
        let mut written = File::create(&part).map_err(failed)?;
        written.write_all(&serde_json::to_vec(&manifest).map_err(failed)?).map_err(failed)?;
        written.sync_all().map_err(failed)?;
        fs::rename(&part, folder.join(MANIFEST)).map_err(failed)?;
        sync_folder(&folder)?;
        if let Some(old) = old.filter(|old| *old != manifest.file) {
            fs::remove_file(folder.join(old)).map_err(failed)?;
        }
        Ok(())
    }
}

impl Manifest {
    fn read(folder: &Path) -> Option<Manifest> {
        serde_json::from_slice(&fs::read(folder.join(MANIFEST)).ok()?).ok()
    }
}

/// SHA-256 of a file, in hexadecimal.
fn digest(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut piece).map_err(failed)?;
        if length == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&piece[..length]);
    }
}

/// Lets [`THREADS_MAX`] in at one time: the graph has room for so many and would not notice more.
#[derive(Default)]
struct Gate {
    inside: Mutex<usize>,
    left: Condvar,
}

struct Turn<'a>(&'a Gate);

impl Gate {
    fn enter(&self) -> Turn<'_> {
        let inside = self.left.wait_while(lock(&self.inside), |inside| *inside >= THREADS_MAX);
        *inside.unwrap_or_else(PoisonError::into_inner) += 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.inside) -= 1;
        self.0.left.notify_one();
    }
}
