//! Policies that change while the server runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use policy::Policies;
use tokio::sync::mpsc;

use crate::http::server::Shared;
use crate::registry::Registry;

/// How long a folder has to be quiet before it is read: editors and tools write a file in several steps.
const QUIET: Duration = Duration::from_millis(20);
/// How long a folder that is never quiet can put that off.
const PATIENCE: Duration = Duration::from_millis(500);

/// Watches the folder of policies and takes each change as it comes, until the server ends.
///
/// A folder that is malformed changes nothing: the operator is told, and what held before still holds.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let (changed, mut changes) = mpsc::channel(1);
    let folder = shared.config.policies.clone();
    // Full means that a change waits to be taken already.
    let tell = move |_| if changed.try_send(()).is_err() {};
    let watcher = notify::recommended_watcher(tell);
    let watching = watcher.and_then(|mut watcher| {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    let _watcher = match watching {
        Ok(watcher) => watcher,
        Err(error) => {
            let folder = shared.config.policies.display();
            return tracing::warn!(%folder, %error, "policies are not watched: changes count after a restart");
        }
    };
    while changes.recv().await.is_some() {
        let settled = async { while tokio::time::timeout(QUIET, changes.recv()).await.is_ok() {} };
        drop(tokio::time::timeout(PATIENCE, settled).await); // settled or not
        let shared = shared.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || reload(&shared)).await {
            tracing::error!(%error, "policies could not be read again");
        }
    }
}

/// Reads all policies again, and with them what they kept from loading.
fn reload(shared: &Shared) {
    let before = shared.registry.load();
    let loaded = read(&shared.config.policies).and_then(|policies| {
        let registry = Registry::load(&shared.config, &shared.sandbox, &policies, &shared.facts, &before);
        registry.map_err(|error| format!("the components folder can't be read: {error}"))
    });
    match loaded {
        Ok(registry) => shared.registry.store(Arc::new(registry)),
        Err(error) => tracing::error!("the policies are not taken, the ones before still hold: {error}"),
    }
}

fn read(folder: &Path) -> Result<Policies, String> {
    Policies::read(folder).map_err(|error| error.to_string())
}
