//! One plugin on a server in this process, with the policy that its author proposes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use engine::{Engine, EngineConfig};
use policy::PolicyFile;
use runtime::{Inference, Server, ServerConfig};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use super::Plugin;
use super::fake::Fake;

/// Where a plugin is served from.
pub(crate) struct Place<'a> {
    pub(crate) plugin: &'a Plugin,
    /// Folder of policies; without one it is the plugin's own `policy.toml`.
    pub(crate) policies: Option<&'a Path>,
    /// Folder of models; without one they are made up.
    pub(crate) models: Option<&'a Path>,
    /// Where to listen; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
}

/// A server that runs. Dropping it leaves it running until the process ends.
pub(crate) struct Serving {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Place<'_> {
    /// Starts a server with the plugin's component alone.
    ///
    /// # Errors
    /// When the component does not load: the reason.
    pub(crate) async fn start(&self) -> anyhow::Result<Serving> {
        self.start_with(self.inference()?).await
    }

    /// The same with these models.
    ///
    /// # Errors
    /// When the component does not load: the reason.
    pub(crate) async fn start_with(&self, inference: Arc<dyn Inference>) -> anyhow::Result<Serving> {
        let config = self.config()?;
        let server = Server::start(config, inference).await?;
        if let Some((_, reason)) = server.failures().into_iter().next() {
            bail!("{reason}");
        }
        let (address, (stop, stopped)) = (server.address(), oneshot::channel());
        // A stop that is dropped is one as well.
        let served = tokio::spawn(server.serve(async move { drop(stopped.await) }));
        Ok(Serving { address, stop, served })
    }

    /// Deletes what the plugin has kept when it was served before.
    ///
    /// # Errors
    /// When it can't be deleted.
    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        fresh(&self.plugin.made().join("serve/data/store")).map(drop)
    }

    /// Copies the component into a folder of components, and its policy into one of policies.
    fn config(&self) -> anyhow::Result<ServerConfig> {
        ensure!(self.plugin.code().is_file(), "there is no component.wasm yet: `tessera build` makes it");
        let (root, name) = (self.plugin.made().join("serve"), self.plugin.name());
        let components = fresh(&root.join("components"))?;
        let folder = fresh(&components.join(name))?;
        for file in ["component.toml", "component.wasm", "component.sig"] {
            let from = self.plugin.folder.join(file);
            if from.is_file() {
                std::fs::copy(&from, folder.join(file)).with_context(|| format!("{} can't be copied", from.display()))?;
            }
        }
        let policies = match self.policies {
            Some(policies) => policies.to_owned(),
            None => {
                let policies = fresh(&root.join("policies"))?;
                std::fs::write(policies.join(format!("{name}.toml")), self.plugin.policy()?)?;
                policies
            }
        };
        let mut config = ServerConfig {
            listen: self.listen,
            components,
            policies,
            data: root.join("data"),
            drain_ms_max: 2000,
            pin_threads: false,
            ..ServerConfig::default()
        };
        config.models = self.models.map(Path::to_owned).unwrap_or_default();
        config.compiler = Some(crate::command::compile::command(&config)?);
        Ok(config)
    }

    /// The models: those of the folder, or made-up ones.
    ///
    /// # Errors
    /// When the engine does not start.
    pub(crate) fn inference(&self) -> anyhow::Result<Arc<dyn Inference>> {
        let Some(models) = self.models else {
            let file = match self.policies {
                Some(policies) => policies.join(format!("{}.toml", self.plugin.name())),
                None => self.plugin.folder.join("policy.toml"),
            };
            let text = std::fs::read_to_string(&file).unwrap_or_else(|_| "schema = 1\n".into());
            return Ok(Arc::new(Fake::of(&PolicyFile::parse(&file, &text)?)));
        };
        let config = EngineConfig { models: models.to_owned(), pin_threads: false, ..EngineConfig::default() };
        Ok(Arc::new(Engine::start(&config)?))
    }
}

impl Serving {
    /// Stops it and waits until it has.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(()); // it may have ended by itself
        drop(self.served.await); // a server that panicked is gone as well
    }
}

/// What servers run on. It is never dropped: threads of a server that has stopped may still ask it for the time, and they end with
/// the process.
///
/// # Errors
/// When there are no threads.
pub(crate) fn runtime() -> anyhow::Result<&'static Runtime> {
    let runtime: &'static Runtime = Box::leak(Box::new(Runtime::new().context("no threads for the server")?));
    Ok(runtime)
}

/// An empty folder.
fn fresh(folder: &Path) -> anyhow::Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("{} can't be deleted", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    Ok(folder.to_owned())
}

/// Log lines go to standard error: what RUST_LOG asks for, else the component's own and these of the server.
pub(crate) fn log_to_stderr(server: &str) {
    let filter = EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(format!("{server},component=debug,wasmtime_wasi_nn=off")));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr);
    drop(lines.try_init()); // another may have been set up
}
