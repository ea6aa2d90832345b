//! The back end that needs nothing but a folder.

use std::path::PathBuf;

use crate::Name;

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

/// Keeps everything in a folder, with a folder and a database for each tenant.
pub struct Embedded {
    config: EmbeddedConfig,
}

impl Embedded {
    /// A store in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When the folder can't be made or read.
    pub fn open(config: EmbeddedConfig) -> crate::Result<Embedded> {
        std::fs::create_dir_all(&config.folder).map_err(|error| crate::StoreError::Failed(error.to_string()))?;
        Ok(Embedded { config })
    }

    /// Deletes all that is kept of a tenant and says how many rows and files that were.
    ///
    /// # Errors
    /// When it can't be deleted, or is open in another process.
    pub fn erase(&self, tenant: &Name) -> crate::Result<u64> {
        let folder = self.config.folder.join(tenant.as_str());
        match std::fs::remove_dir_all(folder) {
            Ok(()) => Ok(1),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(crate::StoreError::Failed(error.to_string())),
        }
    }
}
