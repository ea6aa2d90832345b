//! What policies are held against: this server's device, models, secrets and own folders.

use std::collections::HashMap;
use std::path::Path;

use policy::{ComponentName, Facts, ModelName, Protected, SecretSource};
use sha2::{Digest, Sha256};

use crate::config::ServerConfig;
use crate::inference::Inference;

/// This server.
pub(crate) struct ServerFacts {
    device: String,
    /// Digests of the models that run, as the engine loaded them.
    digests: HashMap<String, String>,
    config: ServerConfig,
    /// Random, and known to this process alone: it makes placeholders that nobody can guess.
    key: [u8; 32],
}

impl ServerFacts {
    pub(crate) fn new(config: &ServerConfig, inference: &dyn Inference) -> std::io::Result<ServerFacts> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let digests = inference.models().into_iter().filter(|card| !card.digest.is_empty());
        let digests = digests.map(|card| (card.name, card.digest)).collect();
        Ok(ServerFacts { device: config.device.clone(), digests, config: config.clone(), key })
    }
}

impl Facts for ServerFacts {
    fn device(&self) -> &str {
        &self.device
    }

    fn model_digest(&self, model: &ModelName) -> Option<String> {
        self.digests.get(model.as_str()).cloned()
    }

    fn secret(&self, source: &SecretSource) -> Option<String> {
        source.read()
    }

    fn token(&self, component: &ComponentName, secret: &str) -> String {
        let digest =
            Sha256::new().chain_update(self.key).chain_update(component.as_str()).chain_update([0]).chain_update(secret);
        digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    fn protected(&self) -> Vec<Protected> {
        protected(&self.config)
    }
}

/// The folders that a server with these settings keeps from components, and what links in them lead to. Models may be read.
pub fn protected(config: &ServerConfig) -> Vec<Protected> {
    let mut all = Vec::new();
    let ServerConfig { data, components, policies, models, .. } = config;
    let own = [("data", data), ("components", components), ("policies", policies), ("models", models)];
    for (what, path) in own {
        let mut add = |path: &Path| all.push(Protected { what, path: path.into(), is_readable: what == "models" });
        add(path);
        links(path, LINKS_DEPTH_MAX, &mut add);
    }
    all
}

/// Folders below one of the server's that are looked into for links: a component's or a model's, and its parts.
const LINKS_DEPTH_MAX: usize = 2;

/// Gives every link in a folder and those below it. What can't be read holds nothing that the server could use.
fn links(folder: &Path, depth: usize, add: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_symlink() => {
                add(&entry.path());
                // A model's folder may be a link, and the files in it links again.
                if depth > 0 && entry.path().is_dir() {
                    links(&entry.path(), depth - 1, add);
                }
            }
            Ok(kind) if kind.is_dir() && depth > 0 => links(&entry.path(), depth - 1, add),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_links_in_the_servers_folders_lead_to_is_protected_as_well() {
        let root = tempfile::tempdir().expect("a folder");
        let path = |name: &str| root.path().join(name);
        for folder in ["models/m", "elsewhere", "components"] {
            std::fs::create_dir_all(path(folder)).expect("a folder");
        }
        let link = |to: &str, from: &str| std::os::unix::fs::symlink(path(to), path(from)).expect("links");
        std::fs::write(path("elsewhere/weights"), "").expect("writes");
        link("elsewhere/weights", "models/m/model.gguf");
        link("elsewhere", "components/chat");
        let config = ServerConfig {
            models: path("models"),
            components: path("components"),
            data: path("data"),
            policies: path("policies"),
            ..ServerConfig::default()
        };
        let protected = protected(&config);
        let is_protected =
            |what, name: &str, is_readable| protected.contains(&Protected { what, path: path(name), is_readable });
        assert!(is_protected("data", "data", false) && is_protected("policies", "policies", false));
        assert!(is_protected("components", "components", false) && is_protected("components", "components/chat", false));
        assert!(is_protected("models", "models", true) && is_protected("models", "models/m/model.gguf", true));
        assert_eq!(protected.len(), 6);
    }
}
