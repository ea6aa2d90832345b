//! Where components keep data: the back ends behind `tessera:kv`, `tessera:blob` and `tessera:vector`.

use std::sync::Arc;

use store::{Blobs, Embedded, EmbeddedConfig, Name, Values, Vectors};

use crate::config::ServerConfig;

/// The folder of the embedded back end in the server's data.
const STORE_FOLDER: &str = "store";

/// The back ends: one that is embedded, or others, or fakes in tests.
#[derive(Clone)]
pub struct Stores {
    /// Documents that are found by meaning and by words.
    pub vectors: Arc<dyn Vectors>,
    /// Small values.
    pub values: Arc<dyn Values>,
    /// Files.
    pub blobs: Arc<dyn Blobs>,
    /// What deletes all that they keep of a tenant.
    pub erase: Arc<dyn Erase>,
}

/// Something that deletes all that is kept of a tenant.
pub trait Erase: Send + Sync + 'static {
    /// Deletes it and says how many rows and files that were. To do it again changes nothing. Blocks.
    ///
    /// # Errors
    /// When it can't be deleted, or not all of it.
    fn erase(&self, tenant: &Name) -> store::Result<u64>;
}

impl Erase for Embedded {
    fn erase(&self, tenant: &Name) -> store::Result<u64> {
        Embedded::erase(self, tenant)
    }
}

impl Stores {
    /// The embedded back end in the server's data folder. A tenant's database is opened when it is used first.
    ///
    /// # Errors
    /// When the folder can't be made or read.
    pub fn open(config: &ServerConfig) -> store::Result<Stores> {
        let settings = &config.store;
        let embedded = Embedded::open(EmbeddedConfig {
            folder: config.data.join(STORE_FOLDER),
            exact_chunks_max: settings.exact_chunks_max,
            cache_bytes: settings.cache_bytes,
            threads_max: settings.threads_max,
        })?;
        Ok(Stores::of(Arc::new(embedded)))
    }

    /// One back end that is all of them.
    pub fn of<B: Vectors + Values + Blobs + Erase>(backend: Arc<B>) -> Stores {
        Stores { vectors: backend.clone(), values: backend.clone(), blobs: backend.clone(), erase: backend }
    }
}
