//! What policies are held against where no server runs: the settings and this machine.

use std::path::{Path, PathBuf};

use policy::{ComponentName, Facts, ModelName, Protected, SecretSource, Site};

/// This machine.
pub(super) struct CliFacts {
    /// The device that models would run on.
    pub(super) device: String,
    /// The folder of models.
    pub(super) models: PathBuf,
    /// The folders that the server would keep from components.
    pub(super) protected: Vec<Protected>,
}

impl Facts for CliFacts {
    fn device(&self) -> &str {
        &self.device
    }

    fn model_digest(&self, model: &ModelName) -> Option<String> {
        engine::digest(&self.models.join(model.as_str())).ok()
    }

    fn secret(&self, source: &SecretSource) -> Option<String> {
        source.read()
    }

    /// Nothing is sent from here, so nobody has to guess it.
    fn token(&self, component: &ComponentName, secret: &str) -> String {
        format!("{component}.{secret}")
    }

    fn protected(&self) -> Vec<Protected> {
        self.protected.clone()
    }
}

impl Site for CliFacts {
    fn has_folder(&self, folder: &Path) -> bool {
        folder.is_dir()
    }

    fn has_model(&self, model: &ModelName) -> bool {
        self.models.join(model.as_str()).exists()
    }
}
