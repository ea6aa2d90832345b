//! Policies that change while the server runs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use policy::Policies;
use tokio::sync::mpsc;

use crate::http::server::Shared;
use crate::registry::Registry;

/// How long a folder has to be quiet before it is read: editors and tools write a file in several steps.
const QUIET: Duration = Duration::from_millis(20);
/// How long a folder that is never quiet can put that off.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is looked at whether the folder is still the one that is watched.
const LOOK: Duration = Duration::from_secs(2);

/// A watched folder of policies.
pub(crate) struct Watch {
    folder: PathBuf,
    /// Which folder it was: another may be put into its place.
    identity: Option<(u64, u64)>,
    /// Tells of changes for as long as it lives; none where the system can't.
    watcher: Option<RecommendedWatcher>,
    changed: mpsc::Sender<()>,
    changes: mpsc::Receiver<()>,
}

impl Watch {
    /// Watches from now on. Policies are read after this, so that no change is missed.
    pub(crate) fn start(folder: &Path) -> Watch {
        let (changed, changes) = mpsc::channel(1);
        let mut watch = Watch { folder: folder.into(), identity: None, watcher: None, changed, changes };
        watch.begin();
        watch
    }

    fn begin(&mut self) {
        let changed = self.changed.clone();
        // Full means that a change waits to be taken already.
        let tell = move |event| if is_change(&event) && changed.try_send(()).is_err() {};
        self.identity = identity(&self.folder);
        let watching = notify::recommended_watcher(tell).and_then(|mut watcher| {
            watcher.watch(&self.folder, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        let watching = watching.inspect_err(|error| {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "policies are not watched: changes count when the folder is there, or after a restart");
        });
        self.watcher = watching.ok();
    }

    /// Takes each change as it comes, until the server ends.
    ///
    /// A folder that is malformed changes nothing: the operator is told, and what held before still holds.
    pub(crate) async fn run(mut self, shared: Arc<Shared>) {
        loop {
            match tokio::time::timeout(LOOK, self.changes.recv()).await {
                Ok(None) => return,
                Ok(Some(())) => {
                    let settled = async { while tokio::time::timeout(QUIET, self.changes.recv()).await.is_ok() {} };
                    drop(tokio::time::timeout(PATIENCE, settled).await); // settled or not
                }
                Err(_) if identity(&self.folder) == self.identity => continue,
                Err(_) => {
                    tracing::info!(folder = %self.folder.display(), "another folder is in the place of the policies");
                    self.begin();
                }
            }
            let shared = shared.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || reload(&shared)).await {
                tracing::error!(%error, "policies could not be read again");
            }
        }
    }
}

/// The device and number of a folder; none if it is not there.
fn identity(folder: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(folder).ok().map(|folder| (folder.dev(), folder.ino()))
}

/// Whether something is not as it was. To read the folder is no change of it, or each reload would be followed by another.
fn is_change(event: &notify::Result<Event>) -> bool {
    event.as_ref().map_or(true, |event| !event.kind.is_access())
}

/// Reads all policies again, and with them what they kept from loading.
fn reload(shared: &Shared) {
    let before = shared.registry.load();
    let loaded = read(&shared.config.policies).and_then(|policies| {
        if let Some(auth) = &shared.auth {
            auth.govern(policies.tenants());
        }
        let registry = Registry::load(&shared.config, &shared.sandbox, &policies, &shared.facts, &before);
        registry.map_err(|error| format!("the components folder can't be read: {error}"))
    });
    match loaded {
        Ok(registry) => {
            registry.tell(&before, &shared.sandbox.audit);
            shared.registry.store(Arc::new(registry));
        }
        Err(error) => tracing::error!("the policies are not taken, the ones before still hold: {error}"),
    }
}

fn read(folder: &Path) -> Result<Policies, String> {
    if !folder.is_dir() {
        // A folder that is away for a moment would take guards and required signatures away.
        return Err(format!("the folder {} is not there", folder.display()));
    }
    Policies::read(folder).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use notify::EventKind;
    use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind};

    use super::*;

    #[test]
    fn to_read_a_folder_is_no_change_of_it() {
        let is_change = |kind| is_change(&Ok(Event::new(kind)));
        for access in [AccessKind::Open(AccessMode::Any), AccessKind::Read, AccessKind::Close(AccessMode::Read)] {
            assert!(!is_change(EventKind::Access(access)));
        }
        for kind in [
            EventKind::Create(CreateKind::File),
            EventKind::Modify(ModifyKind::Any),
            EventKind::Remove(RemoveKind::File),
            EventKind::Other, // events were lost
        ] {
            assert!(is_change(kind), "{kind:?}");
        }
        assert!(super::is_change(&Err(notify::Error::generic("anything may have changed"))));
    }

    #[tokio::test]
    async fn a_change_between_the_start_and_the_first_look_is_not_missed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = Watch::start(folder.path());
        std::fs::write(folder.path().join("chat.toml"), "schema = 1\n").expect("written");
        let told = tokio::time::timeout(Duration::from_secs(30), watch.changes.recv()).await;
        assert_eq!(told, Ok(Some(())));
    }
}
