//! `source.json` beside a model: where it came from, and what each of its files held then.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::{Content, Digest, digest_of};

/// The record's file name in the model's folder. It is no part of the model.
pub const RECORD: &str = "source.json";
/// Length of a record, in bytes.
const BYTES_MAX: u64 = 16 << 20;

/// Where a model came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its source, as a person would type it.
    pub source: String,
    /// The hub's commit or the packages' versions.
    pub revision: Option<String>,
    /// SPDX expression of the weights' licence, where it is known.
    pub licence: Option<String>,
    /// Who added it; not known of records that older versions made.
    #[serde(default)]
    pub added_by: Option<String>,
    /// When, in seconds of Unix time.
    #[serde(alias = "pulled_unix_s")]
    pub added_unix_s: u64,
}

/// What the engine reads of a record.
#[derive(Debug, Clone, Deserialize)]
pub struct Record {
    /// What somebody asked for to get it: a name of the catalog, or a source.
    #[serde(default)]
    asked: Option<String>,
    /// Where the model came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Every file, by its path in the folder.
    pub files: BTreeMap<String, Content>,
}

/// Why a model's files are not those of its record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The record can't be read.
    #[error(
        "{file} can't be read: {cause}. To pull the model again with --force, or `tessera model add NAME`, makes a new record"
    )]
    Unreadable {
        /// The record.
        file: PathBuf,
        /// What is wrong.
        cause: io::Error,
    },
    /// There has to be one and there is none.
    #[error(
        "there is no record of where it came from, and `models_recorded = true` in tessera.toml wants one: pull it, or write one by \
         `tessera model add {name} --source WHERE --licence WHICH`"
    )]
    Absent {
        /// The model.
        name: String,
    },
    /// A file has another content.
    #[error(
        "{file} is not the file that was recorded\n    expected sha256 {expected}\n    found    sha256 {found}\nIf that is no mistake of \
         yours, somebody has changed it: `{pull}` brings the recorded one back, `tessera model add {name}` takes this one"
    )]
    Altered {
        /// The model.
        name: String,
        /// The file's path in the model's folder.
        file: String,
        /// What was recorded.
        expected: Digest,
        /// What is there.
        found: Digest,
        /// The command that brings the recorded one back.
        pull: String,
    },
    /// A file is gone.
    #[error("{file} was recorded and is not there: `{pull}` brings it back")]
    Missing {
        /// The file's path in the model's folder.
        file: String,
        /// The command that brings it back.
        pull: String,
    },
    /// A file came later.
    #[error("{file} was not there when the model was recorded: delete it, or `tessera model add {name}` takes it in")]
    Extra {
        /// The model.
        name: String,
        /// The file's path in the model's folder.
        file: String,
    },
}

impl Record {
    /// Reads the record in a model's folder; none if there is none.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub fn read(folder: &Path) -> Result<Option<Record>, RecordError> {
        let file = folder.join(RECORD);
        let unreadable = |cause| RecordError::Unreadable { file: file.clone(), cause };
        let open = match File::open(&file) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            open => open.map_err(unreadable)?,
        };
        let mut text = Vec::new();
        open.take(BYTES_MAX).read_to_end(&mut text).map_err(unreadable)?;
        serde_json::from_slice(&text).map(Some).map_err(|error| unreadable(error.into()))
    }

    /// The digest that the model had, as [`digest`](crate::digest()) has it.
    pub fn digest(&self) -> String {
        let is_counted = |path: &str| !path.split('/').any(|part| part.starts_with('.'));
        digest_of(self.files.iter().filter(|(path, _)| is_counted(path)))
    }

    /// Compares what is there with what was recorded.
    ///
    /// # Errors
    /// Names the first file that differs.
    pub fn check(&self, model: &str, found: &BTreeMap<String, Content>) -> Result<(), RecordError> {
        let name = || String::from(model);
        for (file, expected) in &self.files {
            match found.get(file) {
                Some(found) if found == expected => {}
                Some(found) => {
                    let (expected, found) = (expected.sha256.clone(), found.sha256.clone());
                    return Err(RecordError::Altered {
                        name: name(),
                        file: file.clone(),
                        expected,
                        found,
                        pull: self.pull(model),
                    });
                }
                // Pulled with it and not counted since.
                None if file.split('/').any(|part| part.starts_with('.')) => {}
                None => return Err(RecordError::Missing { file: file.clone(), pull: self.pull(model) }),
            }
        }
        match found.keys().find(|file| !self.files.contains_key(*file)) {
            Some(file) => Err(RecordError::Extra { name: name(), file: file.clone() }),
            None => Ok(()),
        }
    }

    /// The command that brings the recorded files back.
    fn pull(&self, model: &str) -> String {
        match self.asked.as_deref().unwrap_or(&self.origin.source) {
            asked if asked == model => format!("tessera pull {model} --force"),
            asked => format!("tessera pull {asked} --as {model} --force"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, Content> {
        let content = |text: &str| Content { bytes: text.len() as u64, sha256: Digest::of(text.as_bytes()) };
        files.iter().map(|(path, text)| (path.to_string(), content(text))).collect()
    }

    fn read(text: &str) -> Result<Option<Record>, RecordError> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(RECORD), text).expect("writes");
        Record::read(folder.path())
    }

    #[test]
    fn records_of_older_versions_are_read() {
        let digest = Digest::of(b"abc");
        let text = format!(
            r#"{{"name": "m", "format": "gguf", "asked": "m", "source": "hf:o/m", "revision": null, "licence": "MIT",
            "pulled_unix_s": 7, "files": {{"model.gguf": {{"bytes": 3, "sha256": "{digest}"}}}}}}"#
        );
        let record = read(&text).expect("a record").expect("is there");
        assert_eq!((record.origin.added_unix_s, record.origin.added_by), (7, None));
        assert_eq!(record.files, files(&[("model.gguf", "abc")]));
        assert!(matches!(read(&text[1..]), Err(RecordError::Unreadable { .. })));
    }

    #[test]
    fn every_difference_is_told_with_the_file() {
        let origin = Origin { source: "hf:o/m".into(), revision: None, licence: None, added_by: None, added_unix_s: 0 };
        let record = Record { asked: None, origin, files: files(&[("a", "1"), ("b/c", "2"), (".hidden", "3")]) };
        record.check("m", &files(&[("a", "1"), ("b/c", "2")])).expect("as recorded");
        let refused = |found: &[(&str, &str)]| record.check("m", &files(found)).expect_err("differs");
        let altered = refused(&[("a", "1"), ("b/c", "3")]);
        let told = altered.to_string();
        assert!(matches!(altered, RecordError::Altered { .. }), "{told}");
        for words in ["b/c", &Digest::of(b"2").to_string(), &Digest::of(b"3").to_string(), "tessera pull hf:o/m --as m --force"]
        {
            assert!(told.contains(words), "{told}");
        }
        assert!(matches!(refused(&[("a", "1")]), RecordError::Missing { file, .. } if file == "b/c"));
        assert!(matches!(refused(&[("a", "1"), ("b/c", "2"), ("x", "")]), RecordError::Extra { file, .. } if file == "x"));
    }
}
