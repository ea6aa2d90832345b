//! `tessera serve`: components over HTTP until SIGTERM or Ctrl-C.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use engine::{Engine, EngineConfig};
use runtime::{Inference, Server, ServerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Time for threads to end after the last request.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

/// Settings come from the file, then from the options given here.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Settings file; `tessera.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen, as 127.0.0.1:8080; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Folder with a folder for each component.
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,
    /// Folder with a policy file for each component.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Folder with a folder for each model.
    #[arg(long, value_name = "DIR", env = "TESSERA_MODELS")]
    models: Option<PathBuf>,
    /// Folder for what the server keeps.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Device for tensors: flex (CPU), wgpu, cuda or rocm, with :INDEX where there are several.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Threads for tensor work on the CPU; 0 takes one for each core.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    log_to_stderr("info,wasmtime_wasi_nn=off,rmcp=error");
    let mut config = args.config()?;
    config.check()?;
    config.compiler = Some(super::compile::command(&config)?);
    tracing::debug!(?config, "configuration");
    let engine = start_engine(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads for the server")?;
    let served = runtime.block_on(serve(config, Arc::new(engine)));
    // What can't be interrupted, as a look-up of a name, is not waited for.
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    served
}

async fn serve(config: ServerConfig, engine: Arc<dyn Inference>) -> anyhow::Result<()> {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // On a task of its own, because compiling components takes a while and a signal counts at once.
    let start = tokio::spawn(Server::start(config, engine));
    let server = tokio::select! {
        server = start => server.context("the server failed as it started")??,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    // The one line that scripts wait for.
    writeln!(std::io::stdout(), "tessera is ready on {scheme}://{}", server.address())?;
    if let Some(address) = server.admin_address() {
        writeln!(std::io::stdout(), "its /admin and /metrics are on {scheme}://{address}")?;
    }
    server
        .serve(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("shutting down: running requests may finish");
        })
        .await;
    Ok(())
}

pub(super) fn start_engine(config: &ServerConfig) -> anyhow::Result<Engine> {
    let engine = EngineConfig {
        device: config.device.parse()?,
        models: config.models.clone(),
        models_recorded: config.models_recorded,
        threads: config.threads,
        pin_threads: config.pin_threads,
        generations_max: config.generations_max,
        cache_bytes_max: config.cache_bytes_max,
        ..EngineConfig::default()
    };
    let engine = Engine::start(&engine)?;
    for failure in engine.failures() {
        tracing::warn!("model `{}` is not loaded: {}", failure.name, failure.error);
    }
    if engine.models().next().is_none() {
        tracing::warn!(models = %config.models.display(), "there are no models: `tessera pull all-minilm-l6-v2` fetches one");
    }
    Ok(engine)
}

/// Log lines go to standard error: what RUST_LOG asks for, else the usual. `wasmtime_wasi_nn` writes a line for each mistake of a
/// guest, as often as the guest likes, and `rmcp` several for each message of a client.
pub(super) fn log_to_stderr(usual: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let has_colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(has_colours).with_writer(std::io::stderr).init();
}

impl Args {
    fn config(self) -> anyhow::Result<ServerConfig> {
        let mut config = read_config(self.config.as_deref())?;
        let replace =
            |setting: &mut PathBuf, option: Option<PathBuf>| *setting = option.unwrap_or_else(|| std::mem::take(setting));
        replace(&mut config.components, self.components);
        replace(&mut config.policies, self.policies);
        replace(&mut config.models, self.models);
        replace(&mut config.data, self.data);
        config.listen = self.listen.unwrap_or(config.listen);
        config.device = self.device.unwrap_or(config.device);
        config.threads = self.threads.unwrap_or(config.threads);
        Ok(config)
    }
}

/// The file that is named, or `tessera.toml` if there is one, or the defaults.
pub(crate) fn read_config(file: Option<&Path>) -> anyhow::Result<ServerConfig> {
    let usual = Path::new("tessera.toml");
    let Some(file) = file.or_else(|| usual.is_file().then_some(usual)) else {
        return Ok(ServerConfig::default());
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
    ServerConfig::parse(&text).with_context(|| file.display().to_string())
}
