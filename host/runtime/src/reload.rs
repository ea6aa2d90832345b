//! Policies and components that change while the server runs.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use policy::Policies;
use tokio::sync::{Semaphore, mpsc};

use crate::http::server::Shared;

/// How long a folder has to be quiet before it is read: editors and tools write a file in several steps.
const QUIET: Duration = Duration::from_millis(20);
/// How long a folder that is never quiet can put that off.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often it is looked at whether the folder is still the one that is watched.
const LOOK: Duration = Duration::from_secs(2);

/// How long a file that nobody closed counts as being written.
const WRITING_MAX: Duration = Duration::from_secs(10);
/// Files that are watched being written, at the same time.
const OPEN_MAX: usize = 10_000;

/// A watched folder.
pub(crate) struct Watch {
    folder: PathBuf,
    /// Which folder it was: another may be put into its place.
    identity: Option<(u64, u64)>,
    /// Tells of changes for as long as it lives; none where the system can't.
    watcher: Option<RecommendedWatcher>,
    changed: mpsc::Sender<()>,
    changes: mpsc::Receiver<()>,
    open: Arc<OpenFiles>,
}

impl Watch {
    /// Watches from now on. The folder is read after this, so that no change is missed.
    pub(crate) fn start(folder: &Path) -> Watch {
        let (changed, changes) = mpsc::channel(1);
        let (folder, open) = (folder.into(), Arc::default());
        let mut watch = Watch { folder, identity: None, watcher: None, changed, changes, open };
        watch.begin();
        watch
    }

    fn begin(&mut self) {
        let (changed, open) = (self.changed.clone(), self.open.clone());
        let tell = move |event: notify::Result<Event>| {
            open.see(&event);
            // Full means that a change waits to be taken already.
            if is_change(&event) && changed.try_send(()).is_err() {}
        };
        self.identity = identity(&self.folder);
        let watching = notify::recommended_watcher(tell).and_then(|mut watcher| {
            watcher.watch(&self.folder, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        let watching = watching.inspect_err(|error| {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "the folder is not watched: changes count when it is there, or after a restart");
        });
        self.watcher = watching.ok();
    }

    /// Waits until something in the folder has changed and it is quiet again, or another folder is in its place. False when nothing
    /// will change any more.
    async fn change(&mut self) -> bool {
        loop {
            match tokio::time::timeout(LOOK, self.changes.recv()).await {
                Ok(None) => return false,
                Ok(Some(())) => {
                    let settled = async { while tokio::time::timeout(QUIET, self.changes.recv()).await.is_ok() {} };
                    drop(tokio::time::timeout(PATIENCE, settled).await); // settled or not
                    return true;
                }
                Err(_) if identity(&self.folder) == self.identity && !self.open.have_waited() => {}
                Err(_) if identity(&self.folder) == self.identity => return true,
                Err(_) => {
                    tracing::info!(folder = %self.folder.display(), "another folder is there now");
                    self.begin();
                    return true;
                }
            }
        }
    }

    /// Takes each change of the policies as it comes, until the server ends.
    ///
    /// A folder that is malformed changes nothing: the operator is told, and what held before still holds.
    pub(crate) async fn follow_policies(mut self, shared: Arc<Shared>) {
        while self.change().await {
            let shared = shared.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || reload(&shared)).await {
                tracing::error!(%error, "policies could not be read again");
            }
        }
    }

    /// Serves what comes into the folder of components, until the server ends.
    pub(crate) async fn follow_components(mut self, shared: Arc<Shared>) {
        let places = Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from)));
        loop {
            tokio::select! {
                is_more = self.change() => if !is_more { return },
                () = shared.lifecycle.look.notified() => {}
            }
            let (looking, open) = (shared.clone(), self.open.files());
            let found = tokio::task::spawn_blocking(move || looking.lifecycle.look(&looking, &open)).await;
            for source in
                found.inspect_err(|error| tracing::error!(%error, "components could not be looked at")).unwrap_or_default()
            {
                let (shared, places) = (shared.clone(), places.clone());
                tokio::spawn(async move {
                    let _place = places.acquire_owned().await;
                    let loaded = tokio::task::spawn_blocking(move || shared.lifecycle.load(&shared, &source)).await;
                    loaded.inspect_err(|error| tracing::error!(%error, "a component could not be loaded")).ok();
                });
            }
        }
    }
}

/// Files that somebody is writing, and since when.
#[derive(Default)]
struct OpenFiles(Mutex<HashMap<PathBuf, Instant>>);

impl OpenFiles {
    fn see(&self, event: &notify::Result<Event>) {
        let Ok(event) = event else { return };
        let mut open = self.lock();
        for path in &event.paths {
            match event.kind {
                EventKind::Create(CreateKind::File) | EventKind::Modify(ModifyKind::Data(_)) if open.len() < OPEN_MAX => {
                    open.insert(path.clone(), Instant::now());
                }
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Remove(_)
                | EventKind::Modify(ModifyKind::Name(_)) => {
                    open.remove(path);
                }
                _ => {}
            }
        }
    }

    /// Those that are being written now.
    fn files(&self) -> HashSet<PathBuf> {
        self.lock().keys().cloned().collect()
    }

    /// Gives up on files that nobody closed; tells whether there were any.
    fn have_waited(&self) -> bool {
        let mut open = self.lock();
        let before = open.len();
        open.retain(|_, since| since.elapsed() < WRITING_MAX);
        open.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The device and number of a folder; none if it is not there.
fn identity(folder: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(folder).ok().map(|folder| (folder.dev(), folder.ino()))
}

/// Whether something is not as it was: a file that was written to its end is, too. To read the folder is no change of it, or each
/// look would be followed by another.
fn is_change(event: &notify::Result<Event>) -> bool {
    let is_written = |kind| kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
    event.as_ref().map_or(true, |event| !event.kind.is_access() || is_written(event.kind))
}

/// Reads all policies again, and with them what they kept from loading.
fn reload(shared: &Shared) {
    match read(&shared.config.policies) {
        Ok(policies) => {
            if let Some(auth) = &shared.auth {
                auth.govern(policies.tenants());
            }
            shared.lifecycle.govern(shared, policies);
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
    use notify::event::{DataChange, RemoveKind, RenameMode};

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
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            EventKind::Other, // events were lost
        ] {
            assert!(is_change(kind), "{kind:?}");
        }
        assert!(super::is_change(&Err(notify::Error::generic("anything may have changed"))));
    }

    #[test]
    fn a_file_is_open_from_its_first_byte_until_it_is_closed_or_gone() {
        let open = OpenFiles::default();
        let see = |kind, path: &str| open.see(&Ok(Event::new(kind).add_path(path.into())));
        for file in ["a", "b", "c"] {
            see(EventKind::Create(CreateKind::File), file);
        }
        see(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "d");
        see(EventKind::Access(AccessKind::Close(AccessMode::Write)), "a");
        see(EventKind::Modify(ModifyKind::Name(RenameMode::From)), "b");
        see(EventKind::Remove(RemoveKind::File), "c");
        assert_eq!(open.files(), HashSet::from(["d".into()]));
        assert!(!open.have_waited());
    }

    #[tokio::test]
    async fn a_change_between_the_start_and_the_first_look_is_not_missed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = Watch::start(folder.path());
        std::fs::write(folder.path().join("chat.toml"), "schema = 1\n").expect("written");
        let told = tokio::time::timeout(Duration::from_secs(30), watch.change()).await;
        assert_eq!(told, Ok(true));
    }
}
