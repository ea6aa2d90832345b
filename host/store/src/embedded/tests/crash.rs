//! A disk that forgets what was not synced, at any moment of a few ingests.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::*;
use crate::embedded::lock;

/// A file that is what was synced, and a part of what was not, after its power was cut.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    /// What was synced.
    durable: Vec<u8>,
    /// What is read.
    live: Vec<u8>,
    /// What was done since, in its order.
    unsynced: Vec<Operation>,
    /// Operations so far, and after how many the power is cut.
    operations: usize,
    power_until: Option<usize>,
    is_unreadable: bool,
}

#[derive(Debug, Clone)]
enum Operation {
    Length(usize),
    Write(usize, Vec<u8>),
}

/// A disk writes so many bytes at once or not at all.
const SECTOR: usize = 512;

impl Operation {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Operation::Length(length) => to.resize(*length, 0),
            Operation::Write(offset, bytes) => {
                if to.len() < offset + bytes.len() {
                    to.resize(offset + bytes.len(), 0);
                }
                to[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl Platter {
    fn work(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.power_until.is_some_and(|until| self.operations > until) {
            true => Err(io::Error::other("the power is cut")),
            false => Ok(()),
        }
    }

    fn change(&mut self, operation: Operation) -> io::Result<()> {
        self.work()?;
        operation.apply(&mut self.live);
        self.unsynced.push(operation);
        Ok(())
    }
}

impl Disk {
    fn with_power_until(operations: Option<usize>) -> Disk {
        Disk(Arc::new(Mutex::new(Platter { power_until: operations, ..Platter::default() })))
    }

    fn operations(&self) -> usize {
        lock(&self.0).operations
    }

    /// Begins a new file.
    fn empty(&self) {
        let mut platter = lock(&self.0);
        let (operations, power_until) = (platter.operations, platter.power_until);
        *platter = Platter { operations, power_until, ..Platter::default() };
    }

    /// Cuts the power: of what was not synced some sectors were written, as chance has it.
    fn crash(&self, chance: &mut Chance) {
        let mut platter = lock(&self.0);
        let mut left = std::mem::take(&mut platter.durable);
        for operation in std::mem::take(&mut platter.unsynced) {
            match operation {
                Operation::Length(_) => operation.apply(&mut left),
                Operation::Write(offset, bytes) => {
                    for (at, sector) in bytes.chunks(SECTOR).enumerate() {
                        if chance.below(2) == 0 {
                            Operation::Write(offset + at * SECTOR, sector.to_vec()).apply(&mut left);
                        }
                    }
                }
            }
        }
        *platter = Platter { live: left.clone(), durable: left, ..Platter::default() };
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = lock(&self.0);
        if platter.is_unreadable {
            return Err(io::Error::other("the disk can't be read"));
        }
        let bytes = platter.live.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        lock(&self.0).change(Operation::Length(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = lock(&self.0);
        platter.work()?;
        for operation in std::mem::take(&mut platter.unsynced) {
            operation.apply(&mut platter.durable);
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        lock(&self.0).change(Operation::Write(offset as usize, bytes.to_vec()))
    }
}

fn open(fixture: &EmbeddedConfig, disk: &Disk) -> Embedded {
    let disk = disk.clone();
    let open = move |file: &Path, cache| {
        // Names of files are kept by another disk, which fails nothing.
        if !file.exists() {
            std::fs::write(file, b"").map_err(redb::StorageError::Io)?;
            disk.empty();
        }
        redb::Builder::new().set_cache_size(cache).create_with_backend(disk.clone())
    };
    Embedded::open_with(fixture.clone(), Arc::new(open)).unwrap()
}

/// What is ingested, one after the other: an id, which time it is, and how many chunks; none is deleted.
const SCRIPT: [(&str, u32, usize); 7] =
    [("a", 1, 3), ("b", 1, 7), ("a", 2, 5), ("c", 1, 1), ("b", 2, 0), ("c", 2, 4), ("a", 3, 2)];

/// Chunks by a word that no other has.
fn chunks_of(id: &str, time: u32, count: usize) -> BTreeMap<String, Vec<f32>> {
    let seed = u64::from(id.as_bytes()[0]) * 1000 + u64::from(time);
    let mut chance = Chance(seed);
    (0..count).map(|at| (format!("{id}x{time}x{at}"), (0..8).map(|_| chance.number()).collect())).collect()
}

async fn step(store: &Embedded, place: &Place, (id, time, count): (&str, u32, usize)) -> Result<()> {
    if count == 0 {
        store.delete(place, id, &Reader::Everything).await?;
        return Ok(());
    }
    let mut draft = store.begin(place, document(id), None, &Reader::Everything).await?;
    let chunks: Vec<Chunk> = chunks_of(id, time, count).iter().map(|(text, vector)| chunk(text, vector)).collect();
    for part in chunks.chunks(2) {
        draft.append(part.to_vec()).await?;
    }
    draft.commit().await?;
    Ok(())
}

/// Which chunks of a document are found, which has to be the same in every way.
async fn found(store: &Embedded, place: &Place, id: &str) -> BTreeMap<String, Vec<f32>> {
    let mut found = BTreeMap::new();
    for &(_, time, count) in SCRIPT.iter().filter(|(other, ..)| *other == id) {
        for (text, vector) in chunks_of(id, time, count) {
            let by_words = store.find(place, words(&text, 1), &Reader::Everything).await.unwrap();
            let is_found = texts(&by_words) == [text.as_str()];
            let by_vector = store.find(place, near(&vector, 1), &Reader::Everything).await.unwrap();
            assert_eq!(texts(&by_vector) == [text.as_str()], is_found, "{text} by its vector and by its words");
            if is_found {
                found.insert(text, vector);
            }
        }
    }
    let stored = store.stat(place, id, &Reader::Everything).await.unwrap();
    assert_eq!(stored.map_or(0, |stored| stored.chunks as usize), found.len(), "{id} is whole");
    found
}

/// Ingests until the power is cut after so many operations of the disk, and looks at what is left.
fn crash_after(operations: usize, exact_chunks_max: usize) {
    // Told with whatever fails here.
    println!("the power is cut after {operations} operations");
    let folder = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { exact_chunks_max, ..config(folder.path()) };
    let (runtime, place) = (runtime(), place("docs"));
    let disk = Disk::with_power_until(Some(operations));
    let mut acknowledged: BTreeMap<&str, (u32, usize)> = BTreeMap::new();
    let store = open(&config, &disk);
    let mut doubtful = None;
    for (id, time, count) in SCRIPT {
        let done = runtime.block_on(step(&store, &place, (id, time, count)));
        // So that the disk always has the same to do.
        store.settle();
        match done {
            Ok(()) => acknowledged.insert(id, (time, count)),
            Err(_) => {
                doubtful = Some((id, time, count));
                break;
            }
        };
    }
    drop(store);
    let mut chance = Chance(operations as u64 + 1);
    disk.crash(&mut chance);
    if chance.below(2) == 0 {
        // The files of the indexes are lost as well.
        let _ = std::fs::remove_dir_all(config.folder.join("acme/text"));
        let _ = std::fs::remove_dir_all(config.folder.join("acme/dense"));
    }
    let store = open(&config, &disk);
    for id in ["a", "b", "c"] {
        let (time, count) = acknowledged.get(id).copied().unwrap_or_default();
        let found = runtime.block_on(found(&store, &place, id));
        let is_old = found == chunks_of(id, time, count);
        let is_new = doubtful.is_some_and(|(other, time, count)| other == id && found == chunks_of(id, time, count));
        assert!(is_old || is_new, "after {operations} operations there is of {id}: {found:?}");
    }
    for one in SCRIPT {
        runtime.block_on(step(&store, &place, one)).unwrap();
    }
    for (id, time, count) in [("a", 3, 2), ("b", 2, 0), ("c", 2, 4)] {
        assert_eq!(runtime.block_on(found(&store, &place, id)), chunks_of(id, time, count));
    }
    store.settle();
    let lease = store.store.tenants.existing(&place.tenant).unwrap().unwrap();
    assert_eq!(lease.truth.rows().unwrap(), 2 + 6, "nothing of what was replaced or broken off is left");
}

/// Operations of the disk that the whole script takes.
fn operations(exact_chunks_max: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { exact_chunks_max, ..config(folder.path()) };
    let disk = Disk::with_power_until(None);
    let store = open(&config, &disk);
    let runtime = runtime();
    for one in SCRIPT {
        runtime.block_on(step(&store, &place("docs"), one)).unwrap();
        store.settle();
    }
    disk.operations()
}

#[test]
fn whenever_the_power_is_cut_what_was_acknowledged_is_whole_and_found() {
    let all = operations(10_000);
    for operations in (1..all).step_by((all / 70).max(1)) {
        crash_after(operations, 10_000);
    }
}

#[test]
fn whenever_the_power_is_cut_graphs_are_as_the_database_says() {
    let all = operations(3);
    for operations in (1..all).step_by((all / 25).max(1)) {
        crash_after(operations, 3);
    }
}

#[test]
fn a_store_whose_disk_failed_goes_on_when_the_disk_does() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let (runtime, place, disk) = (runtime(), place("docs"), Disk::default());
    let store = open(&config, &disk);
    runtime.block_on(step(&store, &place, ("a", 1, 3))).unwrap();
    let now = disk.operations();
    lock(&disk.0).power_until = Some(now);
    assert!(runtime.block_on(step(&store, &place, ("b", 1, 3))).is_err());
    lock(&disk.0).power_until = None;
    runtime.block_on(step(&store, &place, ("b", 1, 7))).unwrap();
    for (id, count) in [("a", 3), ("b", 7)] {
        assert_eq!(runtime.block_on(found(&store, &place, id)), chunks_of(id, 1, count));
    }
}

#[test]
fn a_store_whose_disk_could_not_be_read_goes_on_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { cache_bytes: 0, ..config(folder.path()) };
    let (runtime, place, disk) = (runtime(), place("docs"), Disk::default());
    let store = open(&config, &disk);
    runtime.block_on(step(&store, &place, ("a", 1, 3))).unwrap();
    let lease = store.store.tenants.existing(&place.tenant).unwrap().unwrap();
    lock(&disk.0).is_unreadable = true;
    let failed = runtime.block_on(store.stat(&place, "a", &Reader::Everything));
    assert!(matches!(failed, Err(StoreError::Failed(_))), "{failed:?}");
    lock(&disk.0).is_unreadable = false;
    assert!(store.store.tenants.opened(&place.tenant).is_none());
    // It is opened anew as soon as nobody uses it.
    let leaving = std::thread::spawn(|| drop(lease));
    assert_eq!(runtime.block_on(found(&store, &place, "a")), chunks_of("a", 1, 3));
    leaving.join().unwrap();
}
