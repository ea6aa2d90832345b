//! Where a model is put together: a hidden folder beside the models, renamed into place when all of it is there.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use engine::Digest;
use policy::ModelName;

use super::digest::Pin;
use super::progress::Progress;
use super::source::Source;

/// Holds every unfinished model of a models folder.
const FOLDER: &str = ".pull";
/// Digits of the source's hash that name its stage: parts of two sources never mix.
const KEY_DIGITS: usize = 12;

/// One try at one source.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Finished files, under the paths they will have in the model's folder.
    pub(crate) files: PathBuf,
    /// Half-finished downloads, kept until the model is whole so that the next run continues them.
    pub(crate) scratch: PathBuf,
    /// Files whose content is known beforehand.
    pub(crate) pins: Vec<Pin>,
    /// Bytes the source will send, where known beforehand.
    pub(crate) download_bytes: Option<u64>,
    pub(crate) progress: Progress,
    unfinished: PathBuf,
}

impl Stage {
    /// Opens the stage of model `name` from `source`, with what an earlier run left there.
    ///
    /// # Errors
    /// When its folders cannot be made.
    pub(crate) fn open(models: &Path, name: &ModelName, source: &Source, progress: Progress) -> anyhow::Result<Self> {
        let unfinished = models.join(FOLDER).join(name.as_str());
        let key = Digest::of(source.to_string().as_bytes());
        let root = unfinished.join(key.short(KEY_DIGITS));
        let (files, scratch) = (root.join("files"), root.join("scratch"));
        make_folder(&files)?;
        make_folder(&scratch)?;
        Ok(Self { files, scratch, pins: Vec::new(), download_bytes: None, progress, unfinished })
    }

    /// The place of the model's file `path`; its folder is made. Every name from outside comes through here.
    ///
    /// # Errors
    /// When `path` would leave the model's folder.
    pub(crate) fn place(&self, path: &str) -> anyhow::Result<PathBuf> {
        ensure!(is_inside(path), "`{}` is no path inside a model", path.escape_debug());
        let place = self.files.join(path);
        make_folder(place.parent().unwrap_or(&self.files))?;
        Ok(place)
    }

    /// The pin of the model's file `path`.
    pub(crate) fn pin(&self, path: &str) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.path == path)
    }

    /// Whether an earlier run left the model's file `path` with its pinned content.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub(crate) fn is_done(&self, path: &str) -> anyhow::Result<bool> {
        self.pin(path).map_or(Ok(false), |pin| pin.holds(&self.files.join(path)))
    }

    /// Forgets the downloads of this source, which turned out bad.
    ///
    /// # Errors
    /// When they cannot be deleted.
    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.scratch).with_context(|| format!("cannot delete {}", self.scratch.display()))?;
        make_folder(&self.scratch)
    }

    /// Puts the finished files at `folder`, in place of what was there, and clears every stage of the model.
    ///
    /// # Errors
    /// When a rename fails; `folder` then holds what it held or nothing, never a part.
    pub(crate) fn install(self, folder: &Path) -> anyhow::Result<()> {
        let moving = || format!("cannot put the model at {}", folder.display());
        if folder.exists() {
            let old = self.unfinished.join("old");
            if old.exists() {
                fs::remove_dir_all(&old).with_context(moving)?;
            }
            fs::rename(folder, old).with_context(moving)?;
        }
        fs::rename(&self.files, folder).with_context(moving)?;
        fs::remove_dir_all(&self.unfinished).with_context(|| format!("cannot delete {}", self.unfinished.display()))
    }
}

/// Lets one `tessera pull` at a time work in `models`; a second one waits. Dropping the file ends the turn.
///
/// # Errors
/// When the folder cannot be made.
pub(crate) fn lock(models: &Path, progress: Progress) -> anyhow::Result<File> {
    let folder = models.join(FOLDER);
    make_folder(&folder)?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(|error| disk(&path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress.note(&format!("another `tessera pull` works in {}: waiting for it", models.display()));
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        // Some network file systems have no locks; a lone pull is still right.
        Err(TryLockError::Error(error)) => tracing::warn!(%error, path = %path.display(), "cannot lock"),
    }
    Ok(file)
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).map_err(|error| disk(path, error))
}

/// Whether `path` stays in the folder it is joined to, on any system.
pub(crate) fn is_inside(path: &str) -> bool {
    let inside = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', ':', '\0']);
    path.split('/').all(inside)
}

/// What to tell about a write that failed.
pub(crate) fn disk(path: &Path, error: io::Error) -> anyhow::Error {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            anyhow::anyhow!("no space left to write {path}: free some, or choose another folder with --models DIR")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            anyhow::anyhow!("not allowed to write {path}: choose a folder of yours with --models DIR or TESSERA_MODELS")
        }
        _ => anyhow::anyhow!("cannot write {path}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let stage = Stage::open(dir.path(), &"m".parse()?, &"hf:org/m".parse()?, Progress::Silent)?;
        for bad in ["../x", "/etc/x", "a/../x", "a//b", "./x", "a\\b", "C:x", ""] {
            assert!(stage.place(bad).is_err(), "{bad}");
        }
        assert!(stage.place("1_Pooling/config.json")?.starts_with(&stage.files));
        Ok(())
    }

    #[test]
    fn install_replaces_the_folder_and_leaves_no_stage() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let folder = dir.path().join("m");
        for text in ["old", "new"] {
            let stage = Stage::open(dir.path(), &"m".parse()?, &"hf:org/m".parse()?, Progress::Silent)?;
            fs::write(stage.place("config.json")?, text)?;
            stage.install(&folder)?;
        }
        assert_eq!(fs::read_to_string(folder.join("config.json"))?, "new");
        assert!(!dir.path().join(FOLDER).join("m").exists());
        Ok(())
    }

    #[test]
    fn full_disk_says_what_to_do() {
        let text = disk(Path::new("m"), io::ErrorKind::StorageFull.into()).to_string();
        assert!(text.contains("--models"), "{text}");
    }
}
