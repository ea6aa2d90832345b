//! The back end that needs nothing but a folder.
//!
//! Each tenant has a folder with a database, which is the truth, its files, and indexes that are made from the database again
//! whenever they are missing, behind or damaged. What is acknowledged is in the database, on disk.

mod blob;
mod catalogue;
mod change;
mod check;
mod collection;
mod dense;
mod draft;
mod find;
mod fuse;
mod graph;
mod keeper;
mod kv;
mod record;
mod selection;
mod tenant;
mod tenants;
mod text;
mod tokens;
mod truth;
mod vector;
mod words;
mod work;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::{Name, Result, StoreError};
use keeper::Keeper;
use tenant::{Settings, Tenant};
use tenants::Tenants;
use work::Workers;

/// How the embedded store works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// Where everything is.
    pub folder: PathBuf,
    /// Chunks up to which a collection is searched one by one; beyond that by HNSW.
    pub exact_chunks_max: usize,
    /// Memory for the pages of each tenant's database.
    pub cache_bytes: usize,
    /// Operations that work at one time; others wait, up to as many again times 16.
    pub threads_max: usize,
}

impl EmbeddedConfig {
    /// A store in a folder, as it is where nobody says otherwise.
    pub fn new(folder: impl Into<PathBuf>) -> EmbeddedConfig {
        EmbeddedConfig { folder: folder.into(), exact_chunks_max: 20_000, cache_bytes: 32 << 20, threads_max: 8 }
    }
}

/// Opens or makes a database in a file, with so many bytes of memory for its pages.
type OpenDatabase = Arc<dyn Fn(&Path, usize) -> std::result::Result<redb::Database, redb::DatabaseError> + Send + Sync>;

/// Keeps everything in a folder, with a folder and a database for each tenant.
///
/// A tenant's database is opened with its first use and closed when it was not used for some minutes, or when more than 64 are
/// open. Dropped, it finishes what it is doing and saves its indexes.
pub struct Embedded {
    store: Arc<Store>,
    keeper: Keeper,
}

/// What operations have in hand.
struct Store {
    tenants: Tenants,
    workers: Workers,
}

impl Embedded {
    /// A store in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When the folder can't be made or read.
    pub fn open(config: EmbeddedConfig) -> Result<Embedded> {
        Embedded::open_with(config, Arc::new(|file, cache| redb::Builder::new().set_cache_size(cache).create(file)))
    }

    fn open_with(config: EmbeddedConfig, open: OpenDatabase) -> Result<Embedded> {
        let threads = config.threads_max.max(1);
        let wanted = Arc::default();
        let settings = Settings { exact_chunks_max: config.exact_chunks_max, cache_bytes: config.cache_bytes, open };
        let tenants = Tenants::open(config.folder, settings, Arc::clone(&wanted))?;
        let store = Arc::new(Store { tenants, workers: Workers::new(threads) });
        let keeper = Keeper::start(Arc::clone(&store), wanted)?;
        Ok(Embedded { store, keeper })
    }

    /// Deletes all that is kept of a tenant and says how many rows and files that were. Blocks.
    ///
    /// # Errors
    /// When it can't be deleted, or is open in another process.
    pub fn erase(&self, tenant: &Name) -> Result<u64> {
        self.store.tenants.erase(tenant)
    }

    /// Waits until nothing is left to do behind the scenes: indexes are built and saved, rows that are gone are swept away.
    /// Blocks.
    pub fn settle(&self) {
        self.keeper.settle();
    }

    /// Does something with a tenant's data, which is made if there is none, on a thread that may block.
    fn with<T: Send + 'static>(
        &self,
        tenant: &Name,
        work: impl FnOnce(&Tenant) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let (store, tenant) = (Arc::clone(&self.store), tenant.clone());
        async move { store.with(tenant, work).await }.boxed()
    }

    /// Does something with a tenant's data if there is any; otherwise gives what there is of nothing.
    fn with_existing<T: Default + Send + 'static>(
        &self,
        tenant: &Name,
        work: impl FnOnce(&Tenant) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let (store, tenant) = (Arc::clone(&self.store), tenant.clone());
        async move {
            let tenants = Arc::clone(&store);
            let work = move || tenants.tenants.existing(&tenant)?.map_or_else(|| Ok(T::default()), |lease| lease.work(work));
            store.workers.run(work).await
        }
        .boxed()
    }
}

impl Store {
    async fn with<T: Send + 'static>(
        self: Arc<Self>,
        tenant: Name,
        work: impl FnOnce(&Tenant) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(&self);
        self.workers.run(move || store.tenants.lease(&tenant)?.work(work)).await
    }
}

/// What went wrong with the disk or what is on it.
fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Locks, whatever happened to those who had it before: no invariant of ours is broken by a panic.
fn lock<T: ?Sized>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
