//! `tessera dev`: serves a plugin while its author writes it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::build::told;
use crate::plugin::Plugin;
use crate::plugin::build::build;
use crate::plugin::serve::{self, Place, Serving};

/// Changes that come so close to each other are one: an editor writes a file in several steps.
const SETTLED: Duration = Duration::from_millis(100);
/// Folders and files of a plugin that are made, not written.
const MADE: [&str; 9] = [
    "build",
    "dist",
    "target",
    "node_modules",
    "component.wasm",
    "component.wasm.part",
    "package-lock.json",
    "Cargo.lock",
    "__pycache__",
];

/// Which plugin, and where to serve it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The plugin's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Folder of models to run on, instead of made-up ones.
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
}

/// Runs the command, until Ctrl-C.
///
/// # Errors
/// When there is no plugin in the folder, or it can't be watched.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let folder = Plugin::open(&args.folder)?.folder;
    serve::log_to_stderr("warn");
    serve::runtime()?.block_on(watch(&folder, &args))
}

async fn watch(folder: &Path, args: &Args) -> anyhow::Result<()> {
    let (changed, mut changes) = mpsc::channel(1);
    let root = folder.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(event.kind) && event.paths.iter().any(|path| is_written(&root, path))) {
            let _ = changed.try_send(()); // one that waits already stands for this as well
        }
    })?;
    watcher.watch(folder, RecursiveMode::Recursive).with_context(|| format!("{} can't be watched", folder.display()))?;
    let mut serving: Option<Serving> = None;
    loop {
        let sources = folder.to_owned();
        match tokio::task::spawn_blocking(move || made(&sources)).await? {
            Ok(plugin) => {
                if let Some(old) = serving.take() {
                    old.stop().await;
                }
                serving = started(&plugin, args).await?;
            }
            Err(error) => writeln!(std::io::stderr(), "{error:#}\nwaiting for a change")?,
        }
        tokio::select! {
            _ = changes.recv() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        // Until nothing has changed for a while.
        while tokio::time::timeout(SETTLED, changes.recv()).await.is_ok() {}
    }
    if let Some(serving) = serving {
        serving.stop().await;
    }
    Ok(())
}

/// Builds the plugin as it is now.
fn made(folder: &Path) -> anyhow::Result<Plugin> {
    let plugin = Plugin::open(folder)?;
    let built = build(&plugin)?;
    writeln!(std::io::stdout(), "{}", told(&plugin, &built))?;
    Ok(plugin)
}

/// Serves the plugin; says why where it does not load.
async fn started(plugin: &Plugin, args: &Args) -> anyhow::Result<Option<Serving>> {
    let place = Place { plugin, policies: None, models: args.models.as_deref(), listen: args.listen };
    match place.start().await {
        Ok(serving) => {
            writeln!(std::io::stdout(), "{} is served on http://{}/c/{0}", plugin.name(), serving.address)?;
            Ok(Some(serving))
        }
        Err(error) => {
            writeln!(std::io::stderr(), "it does not load: {error:#}\nwaiting for a change")?;
            Ok(None)
        }
    }
}

/// Whether a person writes what lies at a path of the plugin.
fn is_written(root: &Path, path: &Path) -> bool {
    let Ok(inner) = path.strip_prefix(root) else { return false };
    let name = inner.components().next().map(|first| first.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !is_hidden && !MADE.contains(&name.as_str()) && !inner.components().any(|part| part.as_os_str() == "__pycache__")
}

/// Whether something may be other than before; reading changes nothing.
fn is_change(kind: notify::EventKind) -> bool {
    kind.is_create() || kind.is_modify() || kind.is_remove()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_person_writes_starts_a_build() {
        let root = Path::new("/p");
        for written in ["/p/src/lib.rs", "/p/component.toml", "/p/wit/tool.wit", "/p/src/build/a.js"] {
            assert!(is_written(root, Path::new(written)), "{written}");
        }
        for made in
            ["/p/build/wit/world.wit", "/p/component.wasm", "/p/target/a", "/p/src/.a.swp", "/p/src/__pycache__/a.pyc", "/q/a"]
        {
            assert!(!is_written(root, Path::new(made)), "{made}");
        }
    }
}
