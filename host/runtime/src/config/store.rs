//! How the embedded store works.

use serde::{Deserialize, Serialize};
use store::EmbeddedConfig;

/// `[store]`: where components keep vectors, small values and files, in `DATA/store`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Chunks up to which a collection is searched one by one; beyond that by HNSW.
    pub exact_chunks_max: usize,
    /// Memory for the pages of each tenant's database that is open, in bytes.
    pub cache_bytes: usize,
    /// Operations that work at one time; 16 times as many wait, and more are answered `overloaded`.
    pub threads_max: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        let EmbeddedConfig { exact_chunks_max, cache_bytes, threads_max, .. } = EmbeddedConfig::new("");
        StoreConfig { exact_chunks_max, cache_bytes, threads_max }
    }
}
