//! The folder of models: what is in it is loaded, hashed beside that, and held against the record of where it came from.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;

use crate::digest::{contents, digest_of, paths};
use crate::engine::{EngineConfig, LoadFailure, StartError};
use crate::model::{Model, ModelError, ModelTask, read_json};
use crate::record::{Record, RecordError};

/// What a folder of models gave.
pub(crate) type Loaded = (Vec<Arc<Model>>, Vec<LoadFailure>);

/// Loads every model of the folder.
///
/// # Errors
/// When the folder can't be listed. One that is not there holds no models.
pub(crate) fn load(config: &EngineConfig, device: &Device) -> Result<Loaded, StartError> {
    let unreadable = |cause| StartError::Models { folder: config.models.clone(), cause };
    let (mut models, mut failures) = (Vec::new(), Vec::new());
    for folder in folders(&config.models).map_err(unreadable)? {
        let name = name_of(&folder);
        match load_one(&folder, &name, config.models_recorded, device) {
            Ok(model) => models.push(Arc::new(model)),
            Err(error) => failures.push(LoadFailure { name, error }),
        }
    }
    Ok((models, failures))
}

/// Loads a model while another thread hashes its files, and gives it only if they are those of its record.
fn load_one(folder: &Path, name: &str, is_record_needed: bool, device: &Device) -> Result<Model, ModelError> {
    let unreadable = |cause| ModelError::Unreadable { file: folder.into(), cause };
    let record = Record::read(folder)?;
    if record.is_none() && is_record_needed {
        return Err(RecordError::Absent { name: name.into() }.into());
    }
    let before = identities(folder).map_err(unreadable)?;
    let hash = || {
        let start = Instant::now();
        contents(folder).map(|files| (files, start.elapsed()))
    };
    let (model, hashed) = std::thread::scope(|scope| {
        let hashing = scope.spawn(hash);
        let model = Model::on(folder, device);
        (model, hashing.join().unwrap_or_else(|_| Err(io::Error::other("hashing failed"))))
    });
    let (files, took) = hashed.map_err(unreadable)?;
    if let Some(record) = &record {
        record.check(name, &files)?;
    }
    let model = model?;
    // What was hashed is what was loaded: both were the same files from before the first to after the last look.
    if identities(folder).map_err(unreadable)? != before {
        return Err(ModelError::Changing);
    }
    let digest = digest_of(&files);
    let (bytes, hashing_ms) = (files.values().map(|content| content.bytes).sum::<u64>(), took.as_millis());
    let source = record.as_ref().map_or("not recorded", |record| &record.origin.source);
    tracing::info!(model = name, %digest, source, bytes, hashing_ms, "is loaded");
    Ok(model.registered(digest, record.map(|record| record.origin)))
}

/// What tells that a file was written or replaced.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    path: String,
    device: u64,
    inode: u64,
    bytes: u64,
    /// When it was last written and when anything of it was last changed: seconds and nanoseconds.
    times: [i64; 4],
}

/// The files there are, in order of path.
fn identities(folder: &Path) -> io::Result<Vec<Identity>> {
    let identity = |path: String| {
        let file = std::fs::metadata(folder.join(&path))?;
        let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
        Ok(Identity { path, device: file.dev(), inode: file.ino(), bytes: file.size(), times })
    };
    let mut identities = paths(folder)?.into_iter().map(identity).collect::<io::Result<Vec<_>>>()?;
    identities.sort();
    Ok(identities)
}

/// A model in the folder, whether or not it can be loaded.
#[derive(Debug)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What it seems to be for; none where its configuration doesn't say.
    pub task: Option<ModelTask>,
    /// Where it came from, where somebody has recorded that.
    pub record: Result<Option<Record>, RecordError>,
}

/// The models of a folder, in order of name, without loading them.
///
/// # Errors
/// When the folder can't be listed. One that is not there holds no models.
pub fn installed(models: &Path) -> io::Result<Vec<Installed>> {
    let installed =
        |folder: PathBuf| Installed { name: name_of(&folder), task: task(&folder), record: Record::read(&folder), folder };
    Ok(folders(models)?.into_iter().map(installed).collect())
}

/// What a model is for, from what its configuration calls it. There are language models only in GGUF files.
fn task(folder: &Path) -> Option<ModelTask> {
    let Some(config) = read_json(&folder.join("config.json")).ok()? else { return Some(ModelTask::Generate) };
    let labels = || config["id2label"].as_object().map_or(1, serde_json::Map::len);
    match config["architectures"][0].as_str()? {
        name if name.ends_with("ForCausalLM") => Some(ModelTask::Generate),
        name if name.ends_with("ForSequenceClassification") && labels() > 1 => Some(ModelTask::Classify),
        name if name.ends_with("ForSequenceClassification") => Some(ModelTask::Rerank),
        name if name.ends_with("ForTokenClassification") => Some(ModelTask::ClassifyTokens),
        _ => Some(ModelTask::Embed),
    }
}

/// The folders that hold a model, in order of name.
fn folders(models: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(models) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?.collect::<Result<Vec<_>, _>>()?,
    };
    let mut folders: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    folders.retain(|path| !is_hidden(path) && Model::is_at(path));
    folders.sort();
    Ok(folders)
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_or_replaced_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.json");
        std::fs::write(&file, "{}").expect("writes");
        let before = identities(folder.path()).expect("reads");
        assert_eq!(identities(folder.path()).expect("reads"), before);
        std::fs::write(folder.path().join("new"), "[]").expect("writes");
        std::fs::rename(folder.path().join("new"), &file).expect("renames");
        let replaced = identities(folder.path()).expect("reads");
        assert_ne!(replaced, before);
        std::fs::write(folder.path().join("another"), "").expect("writes");
        assert_ne!(identities(folder.path()).expect("reads"), replaced);
    }
}
