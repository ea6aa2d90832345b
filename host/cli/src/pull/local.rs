//! A model from a file or folder of this machine, copied or linked.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::source::{is_model_file, stays_behind, stem, weights_file};
use super::stage::{Stage, disk};

/// Folders below a model's own that are looked into: `1_Pooling` and its like.
const DEPTH_MAX: usize = 2;
/// Files of one model.
const FILES_MAX: usize = 1000;
const CHUNK_BYTES: usize = 1 << 20;

/// A file or folder that exists.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    path: PathBuf,
    placement: Placement,
}

/// How files get into the models folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Their content is copied.
    Copy,
    /// The model's files are symbolic links to them.
    Link,
}

impl Local {
    /// Finds `path`; its files will be copied.
    ///
    /// # Errors
    /// When there is nothing at `path`.
    pub(crate) fn find(path: &Path) -> anyhow::Result<Self> {
        let found = fs::canonicalize(path).with_context(|| format!("no such file or folder: {}", path.display()))?;
        Ok(Self { path: found, placement: Placement::Copy })
    }

    /// The same, placed in another way.
    pub(crate) fn placed(self, placement: Placement) -> Self {
        Self { placement, ..self }
    }

    /// The name of the folder, or of the file without its extension.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        if self.path.is_dir() { name.into_owned() } else { stem(&name) }
    }

    /// Copies or links the model's files.
    ///
    /// # Errors
    /// When there is no model, or a file cannot be copied.
    pub(crate) fn fetch(&self, stage: &Stage) -> anyhow::Result<()> {
        if self.path.is_dir() {
            let mut files = Vec::new();
            walk(&self.path, "", 0, &mut files)?;
            let mut taken = files.iter().filter(|file| !stays_behind(file, files.iter().map(String::as_str)));
            return taken.try_for_each(|file| self.put(&self.path.join(file), file, stage));
        }
        let file = weights_file(&self.path.to_string_lossy())?;
        self.put(&self.path, file, stage)
    }

    fn put(&self, from: &Path, file: &str, stage: &Stage) -> anyhow::Result<()> {
        let to = stage.place(file)?;
        if to.symlink_metadata().is_ok() {
            fs::remove_file(&to).map_err(|error| disk(&to, error))?;
        }
        match self.placement {
            Placement::Copy => copy(from, &to, file, stage),
            Placement::Link => link(from, &to),
        }
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// Collects the model files of `folder` by their path under it. Links to files are followed (hub caches are made of
/// them), links to folders are not, so the walk ends.
fn walk(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<String>) -> anyhow::Result<()> {
    let reading = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        if entry.file_type().with_context(reading)?.is_dir() {
            if depth < DEPTH_MAX && !name.starts_with('.') {
                walk(&entry.path(), &format!("{path}/"), depth + 1, files)?;
            }
        } else if is_model_file(&path) && entry.path().is_file() {
            files.push(path);
        }
        ensure!(files.len() <= FILES_MAX, "{} holds more than {FILES_MAX} files: is it a model?", folder.display());
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, label: &str, stage: &Stage) -> anyhow::Result<()> {
    let reading = || format!("cannot read {}", from.display());
    let mut source = File::open(from).with_context(reading)?;
    let total = source.metadata().with_context(reading)?.len();
    let mut target = File::create(to).map_err(|error| disk(to, error))?;
    let mut meter = stage.progress.meter(label, 0, Some(total));
    let (mut done, mut chunk) = (0, vec![0; CHUNK_BYTES]);
    loop {
        let read = source.read(&mut chunk).with_context(reading)?;
        if read == 0 {
            return target.sync_all().map_err(|error| disk(to, error));
        }
        target.write_all(&chunk[..read]).map_err(|error| disk(to, error))?;
        done += read as u64;
        meter.set(done);
    }
}

fn link(from: &Path, to: &Path) -> anyhow::Result<()> {
    let from = fs::canonicalize(from).with_context(|| format!("cannot read {}", from.display()))?;
    #[cfg(windows)]
    let linked = std::os::windows::fs::symlink_file(from, to);
    #[cfg(not(windows))]
    let linked = std::os::unix::fs::symlink(from, to);
    linked.map_err(|error| disk(to, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::progress::Progress;

    fn fetched(path: &Path, placement: Placement) -> anyhow::Result<(tempfile::TempDir, Stage)> {
        let models = tempfile::tempdir()?;
        let local = Local::find(path)?.placed(placement);
        let source = super::super::source::Source::Local(local.clone());
        let stage = Stage::open(models.path(), &"m".parse()?, &source, Progress::Silent)?;
        local.fetch(&stage)?;
        Ok((models, stage))
    }

    #[test]
    fn folder_is_copied_without_code() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("1_Pooling"))?;
        for file in ["config.json", "1_Pooling/config.json", "train.py", "pytorch_model.bin"] {
            fs::write(dir.path().join(file), file)?;
        }
        let (_models, stage) = fetched(dir.path(), Placement::Copy)?;
        assert_eq!(fs::read_to_string(stage.files.join("1_Pooling/config.json"))?, "1_Pooling/config.json");
        assert!(stage.files.join("config.json").exists());
        assert!(!stage.files.join("train.py").exists() && !stage.files.join("pytorch_model.bin").exists());
        Ok(())
    }

    #[test]
    fn single_file_is_linked_under_the_models_file_name() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("tiny.Q4_1.gguf"), "GGUF")?;
        let (_models, stage) = fetched(&dir.path().join("tiny.Q4_1.gguf"), Placement::Link)?;
        let placed = stage.files.join("model.gguf");
        assert!(placed.symlink_metadata()?.is_symlink());
        assert_eq!(fs::read(placed)?, b"GGUF");
        Ok(())
    }
}
