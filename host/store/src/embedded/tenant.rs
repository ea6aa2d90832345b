//! All that is kept of one tenant.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use redb::{DatabaseError, ReadableTable};

use super::collection::Collection;
use super::keeper::Wanted;
use super::record::{CollectionRecord, Record};
use super::tenants::sync_folder;
use super::truth::{COLLECTIONS, Truth};
use super::{OpenDatabase, blob, failed, lock};
use crate::{Name, Place, Result, StoreError};

/// What a tenant takes of the store's config.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) exact_chunks_max: usize,
    pub(super) cache_bytes: usize,
    pub(super) open: OpenDatabase,
}

/// A collection's name and whose alone it is.
pub(super) type Key = (Name, String);

pub(super) struct Tenant {
    pub(super) name: Name,
    pub(super) folder: PathBuf,
    /// Never the same for two times that data were opened.
    pub(super) instance: u64,
    pub(super) settings: Settings,
    pub(super) truth: Truth,
    /// The next file's number.
    pub(super) next_file: AtomicU64,
    pub(super) pending: Arc<Pending>,
    collections: Mutex<HashMap<Key, Arc<Collection>>>,
    /// Chunks that nobody looks for any more.
    sweepable: Arc<Sweepable>,
    wanted: Arc<Wanted>,
}

/// Ids of loose chunks.
pub(super) type Sweepable = Mutex<Vec<u64>>;

impl Tenant {
    pub(super) fn open(folder: &Path, name: &Name, instance: u64, settings: Settings, wanted: Arc<Wanted>) -> Result<Tenant> {
        let home = folder.join(name.as_str());
        let is_new = !home.exists();
        for inner in ["text", "dense", "blobs"] {
            fs::create_dir_all(home.join(inner)).map_err(failed)?;
        }
        let truth = open_truth(&home, name, &settings)?;
        if is_new {
            sync_folder(folder)?;
        }
        for loose in truth.loose()? {
            truth.sweep(loose)?;
        }
        let next_file = AtomicU64::new(blob::clean(&home.join("blobs"), &truth)?);
        let tenant = Tenant {
            name: name.clone(),
            folder: home,
            instance,
            settings,
            truth,
            next_file,
            pending: Arc::default(),
            collections: Mutex::default(),
            sweepable: Arc::default(),
            wanted,
        };
        tenant.remove_indexes_of_nothing()?;
        Ok(tenant)
    }

    /// The collection of a place, be it in the database or not.
    pub(super) fn collection(&self, place: &Place) -> Arc<Collection> {
        let key = (place.name.clone(), owner_key(place));
        let mut collections = lock(&self.collections);
        Arc::clone(collections.entry(key.clone()).or_insert_with(|| Arc::new(Collection::new(key))))
    }

    /// The collection of a place, if it is in the database.
    pub(super) fn existing_collection(&self, place: &Place) -> Result<Option<Arc<Collection>>> {
        let key = (place.name.clone(), owner_key(place));
        if let Some(collection) = lock(&self.collections).get(&key) {
            return Ok(Some(Arc::clone(collection)));
        }
        let table = self.truth.read()?.open_table(COLLECTIONS).map_err(failed)?;
        let is_there = table.get((key.0.as_str(), key.1.as_str())).map_err(failed)?.is_some();
        Ok(is_there.then(|| self.collection(place)))
    }

    /// The collections that somebody has used.
    pub(super) fn loaded(&self) -> Vec<Arc<Collection>> {
        lock(&self.collections).values().cloned().collect()
    }

    /// Loose chunks that nobody looks for any more are to be swept away.
    pub(super) fn sweep_later(&self, loose: u64) {
        lock(&self.sweepable).push(loose);
        self.tend_later();
    }

    /// Something is left to do behind the scenes.
    pub(super) fn tend_later(&self) {
        self.wanted.add(&self.name);
    }

    /// What makes a draft's chunks swept away when it is dropped.
    pub(super) fn sweeper(&self) -> impl Fn(u64) + Send + Sync + use<> {
        let (sweepable, wanted, name) = (Arc::clone(&self.sweepable), Arc::clone(&self.wanted), self.name.clone());
        move |loose| {
            lock(&sweepable).push(loose);
            wanted.add(&name);
        }
    }

    /// Does what is left to do, until `is_over`.
    pub(super) fn tend(&self, is_over: &dyn Fn() -> bool) -> Result<()> {
        while let Some(loose) = { lock(&self.sweepable).pop() } {
            self.truth.sweep(loose)?;
        }
        for collection in self.loaded() {
            collection.tend(self, is_over)?;
        }
        Ok(())
    }

    /// Frees what is only needed while there are changes.
    pub(super) fn rest(&self) {
        self.loaded().iter().for_each(|collection| collection.rest(self));
    }

    /// Saves the indexes that changed.
    pub(super) fn save(&self) {
        self.loaded().iter().for_each(|collection| collection.save(self));
    }

    /// Deletes the indexes of collections that are not there any more.
    fn remove_indexes_of_nothing(&self) -> Result<()> {
        let table = self.truth.read()?.open_table(COLLECTIONS).map_err(failed)?;
        let mut ids = BTreeSet::new();
        for row in table.iter().map_err(failed)? {
            ids.insert(CollectionRecord::from_bytes(row.map_err(failed)?.1.value())?.id.to_string());
        }
        for folder in [self.folder.join("text"), self.folder.join("dense")] {
            for entry in fs::read_dir(folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if !ids.contains(&*entry.file_name().to_string_lossy()) {
                    fs::remove_dir_all(entry.path()).map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

/// Opens a tenant's database. A new one gets its name when it is whole, so that a crash leaves none that can't be opened.
fn open_truth(home: &Path, name: &Name, settings: &Settings) -> Result<Truth> {
    let open = |file: &Path| {
        let database = (settings.open)(file, settings.cache_bytes).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => failed(format!(
                "another process has the data of tenant `{name}` open: do this through the server that runs, or stop it first"
            )),
            error => failed(format!("the database of tenant `{name}` can't be opened: {error}")),
        });
        Truth::new(database?)
    };
    let (file, new) = (home.join("truth.redb"), home.join("truth.new"));
    if !file.exists() {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => drop(open(&new)?),
        }
        fs::rename(&new, &file).map_err(failed)?;
        sync_folder(home)?;
    }
    open(&file)
}

/// Whose alone a place is, so that nobody's is like none.
pub(super) fn owner_key(place: &Place) -> String {
    place.owner.as_ref().map_or_else(String::new, |owner| format!("={owner}"))
}

/// Bytes of what is being written and is in no count yet, by kind of place and name.
#[derive(Default)]
pub(super) struct Pending(Mutex<HashMap<(&'static str, Name), u64>>);

/// A part of [`Pending`], given back when it is dropped.
pub(super) struct Reservation {
    pending: Arc<Pending>,
    kind: &'static str,
    name: Name,
    bytes: u64,
}

impl Reservation {
    pub(super) fn new(tenant: &Tenant, kind: &'static str, name: &Name) -> Reservation {
        Reservation { pending: Arc::clone(&tenant.pending), kind, name: name.clone(), bytes: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes more, if that fits beside what is used and what others write.
    pub(super) fn grow(&mut self, bytes: u64, used: u64, bytes_max: u64) -> Result<()> {
        let mut pending = lock(&self.pending.0);
        let all = pending.entry((self.kind, self.name.clone())).or_default();
        if used.saturating_add(*all).saturating_add(bytes) > bytes_max {
            return Err(StoreError::Full { bytes_max });
        }
        *all += bytes;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut pending = lock(&self.pending.0);
        let key = (self.kind, self.name.clone());
        if let Some(all) = pending.get_mut(&key) {
            *all = all.saturating_sub(self.bytes);
            if *all == 0 {
                pending.remove(&key);
            }
        }
    }
}
