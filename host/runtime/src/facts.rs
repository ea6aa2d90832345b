//! What policies are held against: this server's device, models and secrets.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use policy::{ComponentName, Facts, ModelName, SecretSource};
use sha2::{Digest, Sha256};

use crate::config::ServerConfig;

/// This server.
pub(crate) struct ServerFacts {
    device: String,
    models: PathBuf,
    /// Digests of models, as their files were when a policy first asked: at the start for those that a policy pins then.
    digests: Mutex<HashMap<ModelName, Option<String>>>,
    /// Random, and known to this process alone: it makes placeholders that nobody can guess.
    key: [u8; 32],
}

impl ServerFacts {
    pub(crate) fn new(config: &ServerConfig) -> std::io::Result<ServerFacts> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(ServerFacts { device: config.device.clone(), models: config.models.clone(), digests: Mutex::default(), key })
    }
}

impl Facts for ServerFacts {
    fn device(&self) -> &str {
        &self.device
    }

    fn model_digest(&self, model: &ModelName) -> Option<String> {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || engine::digest(&self.models.join(model.as_str())).ok();
        digests.entry(model.clone()).or_insert_with(read).clone()
    }

    fn secret(&self, source: &SecretSource) -> Option<String> {
        source.read()
    }

    fn token(&self, component: &ComponentName, secret: &str) -> String {
        let digest =
            Sha256::new().chain_update(self.key).chain_update(component.as_str()).chain_update([0]).chain_update(secret);
        digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}
