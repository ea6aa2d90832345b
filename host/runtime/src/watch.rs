//! Files that are looked at again and again, to be read again when they change.
//!
//! They are asked for their stamps instead of watched by the system: certificates are often links into folders that are
//! replaced as a whole, and the folder of keys is one where much else is written.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::auth;
use crate::http::server::Shared;
use crate::http::tls::Tls;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Device, number, length and times of a file, followed through links: what changes when it does. None where it is not there.
pub(crate) type Stamp = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

/// Files with what they were when they were last looked at.
pub(crate) struct WatchedFiles(Vec<(PathBuf, Stamp)>);

impl WatchedFiles {
    /// Looks at them first. They are read after this, so that no change is missed.
    pub(crate) fn new(files: impl IntoIterator<Item = PathBuf>) -> WatchedFiles {
        WatchedFiles(files.into_iter().map(|file| (file.clone(), stamp(&file))).collect())
    }

    /// The files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(file, _)| file.as_path())
    }

    /// They count as changed at the next look.
    pub(crate) fn forget(&mut self) {
        self.0.iter_mut().for_each(|(_, stamp)| *stamp = Some(Default::default()));
    }

    /// Whether one has changed since this was asked before.
    pub(crate) fn have_changed(&mut self) -> bool {
        let changed = self.0.iter_mut().filter_map(|(file, before)| {
            let now = stamp(file);
            (std::mem::replace(before, now) != now).then_some(())
        });
        changed.count() > 0
    }
}

/// What a file is now.
pub(crate) fn stamp(file: &Path) -> Stamp {
    let file = std::fs::metadata(file).ok()?;
    Some((file.dev(), file.ino(), file.len(), (file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec())))
}

/// What a server reads again when it changes, besides its policies.
pub(crate) struct Watched {
    pub(crate) keys: WatchedFiles,
    pub(crate) certificate: WatchedFiles,
    pub(crate) tls: Option<Arc<Tls>>,
}

impl Watched {
    /// Takes each change as it comes, until the server ends.
    pub(crate) async fn run(mut self, shared: Arc<Shared>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let shared = shared.clone();
            let look = move || {
                self.look(&shared);
                self
            };
            match tokio::task::spawn_blocking(look).await {
                Ok(watched) => self = watched,
                Err(error) => return tracing::error!(%error, "keys and certificates are not looked at any more"),
            }
        }
    }

    fn look(&mut self, shared: &Shared) {
        if let Some(auth) = &shared.auth
            && self.keys.have_changed()
        {
            let taken: Vec<bool> = self.keys.paths().map(|file| auth::reload_keys(auth, file, &shared.sandbox.audit)).collect();
            if taken.contains(&false) {
                self.keys.forget();
            }
        }
        if let Some(tls) = &self.tls
            && self.certificate.have_changed()
        {
            tls.reload();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_made_written_replaced_or_deleted_has_changed_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, other) = (folder.path().join("a"), folder.path().join("b"));
        let mut files = WatchedFiles::new([file.clone(), other.clone()]);
        assert!(!files.have_changed());
        let mut changes = |change: &dyn Fn()| {
            change();
            assert!(files.have_changed() && !files.have_changed());
        };
        changes(&|| std::fs::write(&file, "one").expect("written"));
        changes(&|| std::fs::write(&file, "longer").expect("written"));
        std::fs::write(folder.path().join("new"), "length").expect("written");
        changes(&|| std::fs::rename(folder.path().join("new"), &file).expect("renamed"));
        changes(&|| std::os::unix::fs::symlink(&file, &other).expect("linked"));
        changes(&|| std::fs::remove_file(&file).expect("deleted"));
    }
}
