//! A storage for tests: in memory, with a disk that can lose its power, be full, or fail at a certain operation.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{CURRENT, Files, Storage};

/// What is there, durable or not. Clones share it: the test keeps one.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    files: BTreeMap<String, Vec<u8>>,
    /// Bytes of [`CURRENT`] that survive the loss of power for certain.
    synced: usize,
    operations: u64,
    /// The operation that is not finished because the power goes.
    dies_at: Option<u64>,
    is_dead: bool,
    /// Bytes that there is room for, all files together.
    room: Option<usize>,
    fails_to_sync: bool,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics in here")
    }

    /// Has the power go in the middle of this operation, counted from 0.
    pub(super) fn dies_at(&self, operation: u64) {
        self.lock().dies_at = Some(operation);
    }

    /// The disk after the power came back: what was not synced is there in part, or as blocks of zeros, as `kept` says.
    pub(super) fn after_power_loss(&self, kept: impl FnOnce(&mut Vec<u8>)) -> Memory {
        let inner = self.lock();
        let mut files = inner.files.clone();
        if let Some(current) = files.get_mut(CURRENT) {
            let mut lost = current.split_off(inner.synced.min(current.len()));
            kept(&mut lost);
            current.append(&mut lost);
        }
        let synced = files.get(CURRENT).map_or(0, Vec::len);
        Memory(Arc::new(Mutex::new(Inner { files, synced, ..Inner::default() })))
    }

    pub(super) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// How much fits, from now on.
    pub(super) fn room(&self, bytes: Option<usize>) {
        self.lock().room = bytes;
    }

    pub(super) fn fails_to_sync(&self, fails: bool) {
        self.lock().fails_to_sync = fails;
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>)) {
        change(&mut self.lock().files);
    }

    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().files.clone()
    }

    pub(super) fn of(files: BTreeMap<String, Vec<u8>>) -> Memory {
        let synced = files.get(CURRENT).map_or(0, Vec::len);
        Memory(Arc::new(Mutex::new(Inner { files, synced, ..Inner::default() })))
    }
}

impl Inner {
    /// Counts an operation; false where the power goes in the middle of it.
    fn step(&mut self) -> io::Result<bool> {
        if self.is_dead {
            return Err(io::Error::other("the power is off"));
        }
        self.is_dead = self.dies_at == Some(self.operations);
        self.operations += 1;
        Ok(!self.is_dead)
    }

    fn fits(&self, bytes: usize) -> usize {
        let used: usize = self.files.values().map(Vec::len).sum();
        self.room.map_or(bytes, |room| room.saturating_sub(used).min(bytes))
    }
}

fn off() -> io::Error {
    io::Error::other("the power went off")
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl Files for Memory {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.lock().files.get(name).cloned())
    }
}

impl Storage for Memory {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        let is_on = inner.step()?;
        let fits = if is_on { inner.fits(bytes.len()) } else { bytes.len() / 2 };
        inner.files.entry(CURRENT.into()).or_default().extend(&bytes[..fits]);
        match (is_on, fits == bytes.len()) {
            (true, true) => Ok(()),
            (true, false) => Err(full()),
            (false, _) => Err(off()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.lock();
        if !inner.step()? {
            return Err(off());
        }
        if inner.fails_to_sync {
            return Err(io::Error::other("the disk is broken"));
        }
        inner.synced = inner.files.get(CURRENT).map_or(0, Vec::len);
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut inner = self.lock();
        if !inner.step()? {
            return Err(off());
        }
        let length = usize::try_from(length).expect("a test's log is short");
        inner.files.entry(CURRENT.into()).or_default().truncate(length);
        inner.synced = inner.synced.min(length);
        Ok(())
    }

    fn rotate(&mut self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        let is_on = inner.step()?;
        if let Some(current) = inner.files.remove(CURRENT) {
            inner.files.insert(name.into(), current);
        }
        inner.synced = 0;
        if !is_on {
            return Err(off());
        }
        inner.files.insert(CURRENT.into(), Vec::new());
        Ok(())
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.lock().files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.replace(name, bytes)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        if !inner.step()? {
            return Err(off());
        }
        if inner.fits(bytes.len()) < bytes.len() {
            return Err(full());
        }
        inner.files.insert(name.into(), bytes.into());
        Ok(())
    }
}
