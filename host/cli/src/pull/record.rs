//! `source.json` beside a model: where it came from and what it was made of, so that a second pull can stop at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use engine::{Content, Origin, RECORD};
use policy::ModelName;
use serde::{Deserialize, Serialize};

use super::digest::Pin;
use super::source::Format;

/// Where a model came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The name it was pulled under.
    pub(crate) name: ModelName,
    /// How its weights are stored.
    pub(crate) format: Format,
    /// What the person asked for: a name of the catalog, or a source.
    pub(crate) asked: String,
    /// The source that gave it, and what is known of it there.
    #[serde(flatten)]
    pub(crate) origin: Origin,
    /// Every file, by its path in the folder.
    pub(crate) files: BTreeMap<String, Content>,
}

impl Record {
    /// Reads the record of the model in `folder`; `None` if there is none.
    ///
    /// # Errors
    /// When the record is there and cannot be read.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(RECORD);
        if !path.exists() {
            return Ok(None);
        }
        let reading = || format!("cannot read {}", path.display());
        let text = fs::read_to_string(&path).with_context(reading)?;
        serde_json::from_str(&text).with_context(reading).map(Some)
    }

    /// Writes the record into `folder`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("source.json")?;
        let path = folder.join(RECORD);
        fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether every recorded file is in `folder` with its size: cheap, for it reads none of them.
    pub(crate) fn is_whole(&self, folder: &Path) -> bool {
        let sized = |path: &str, bytes| fs::metadata(folder.join(path)).is_ok_and(|meta| meta.len() == bytes);
        self.files.iter().all(|(path, content)| sized(path, content.bytes))
    }

    /// Whether the recorded files are the ones that `pins` ask for.
    pub(crate) fn satisfies(&self, pins: &[Pin]) -> bool {
        pins.iter().all(|pin| self.files.get(&pin.path).is_some_and(|content| content.sha256 == pin.sha256))
    }

    /// Size of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|content| content.bytes).sum()
    }

    /// The one file that `--sha256` speaks of.
    ///
    /// # Errors
    /// When the weights are in several files.
    pub(crate) fn weights(&self) -> anyhow::Result<(&String, &Content)> {
        let mut weights = self.files.iter().filter(|(path, _)| Format::of(path).is_some());
        let first = weights.next().context("the source holds no .gguf, .safetensors or .onnx file")?;
        ensure!(weights.next().is_none(), "--sha256 names one file, and the weights of {} are in several", self.name);
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Digest;

    fn record() -> anyhow::Result<Record> {
        let content = Content { bytes: 3, sha256: Digest::of(b"abc") };
        Ok(Record {
            name: "m".parse()?,
            format: Format::Gguf,
            asked: "hf:org/m".to_owned(),
            origin: Origin { source: "hf:org/m".to_owned(), revision: None, licence: None, added_by: None, added_unix_s: 0 },
            files: [("model.gguf".to_owned(), content)].into(),
        })
    }

    #[test]
    fn whole_model_is_known_by_its_sizes() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("model.gguf"), "abc")?;
        record()?.write(dir.path())?;
        let read = Record::read(dir.path())?.context("a record")?;
        assert!(read.is_whole(dir.path()));
        fs::write(dir.path().join("model.gguf"), "ab")?;
        assert!(!read.is_whole(dir.path()));
        Ok(())
    }

    #[test]
    fn changed_pin_is_noticed() -> anyhow::Result<()> {
        let pin = |of: &[u8]| Pin { path: "model.gguf".to_owned(), bytes: 3, sha256: Digest::of(of) };
        assert!(record()?.satisfies(&[pin(b"abc")]));
        assert!(!record()?.satisfies(&[pin(b"abd")]));
        Ok(())
    }
}
