//! What has run on this server: `components.json` in the data folder.
//!
//! From it comes the rule that a component which has to be signed does not run in an older version than before, so a record that
//! can't be read is an error, not an empty one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use policy::{Admitted, ComponentName, Digest};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::Manifest;
use super::compiled::make_private;
use super::files::{Contents as Files, Identity, version_id};

const FILE: &str = "components.json";
/// Length of the file, in bytes.
const BYTES_MAX: u64 = 64 << 20;
/// The latest of one component that are kept.
const RUNS_MAX: usize = 32;
/// Characters of a version that are written down.
const VERSION_CHARS_MAX: usize = 80;

/// The record of one server.
#[derive(Debug, Clone)]
pub struct ComponentRecord {
    folder: PathBuf,
    file: PathBuf,
}

/// Why the record can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It can't be read or written.
    #[error("the record of components, {file}, can't be used: {cause}")]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It is damaged.
    #[error(
        "the record of components, {file}, is damaged: {reason}. Put a good copy there. To delete it begins a new record, and signed \
         components may run in older versions than before"
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    schema: u32,
    components: BTreeMap<ComponentName, History>,
}

/// What is known of one component.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    /// Whether an operator has turned it off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_disabled: bool,
    /// The highest version that ran where a signature was required.
    version_max: Option<Version>,
    /// What ran, the latest last.
    runs: Vec<Run>,
}

/// One state of a component that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    /// Its version, as its manifest says.
    pub(crate) version: String,
    /// SHA-256 of `component.wasm`.
    pub(crate) digest: Digest,
    /// SHA-256 of `component.toml`.
    manifest: Digest,
    /// The trusted key that had signed it.
    pub(crate) signer: Option<String>,
    /// When it was first loaded, in seconds of Unix time.
    pub(crate) first_unix_s: u64,
}

impl Run {
    /// Its short name.
    pub(crate) fn id(&self) -> String {
        version_id(self.digest, self.manifest)
    }

    /// Whether it was made of these files.
    pub(crate) fn is_of(&self, contents: &Files) -> bool {
        let manifest = Digest::of(contents.manifest.as_deref().unwrap_or_default());
        (self.digest, self.manifest) == (Digest::of(&contents.code), manifest)
    }
}

impl ComponentRecord {
    /// The record in a data folder, which need not be there yet.
    pub fn at(data: &Path) -> ComponentRecord {
        ComponentRecord { folder: data.into(), file: data.join(FILE) }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether it can be read.
    ///
    /// # Errors
    /// When it is there and can't be.
    pub fn check(&self) -> Result<(), RecordError> {
        self.read().map(drop)
    }

    /// The highest version of a component that ran where a signature was required.
    ///
    /// # Errors
    /// When the record is there and can't be read.
    pub fn floor(&self, component: &ComponentName) -> Result<Option<Version>, RecordError> {
        Ok(self.read()?.components.remove(component).and_then(|history| history.version_max))
    }

    /// What has run of each component, the latest last.
    ///
    /// # Errors
    /// When the record is there and can't be read.
    pub(crate) fn runs(&self) -> Result<BTreeMap<String, Vec<Run>>, RecordError> {
        let all = self.read()?.components.into_iter();
        Ok(all.map(|(name, history)| (name.to_string(), history.runs)).collect())
    }

    /// The components that an operator has turned off.
    ///
    /// # Errors
    /// When the record is there and can't be read.
    pub(crate) fn disabled(&self) -> Result<BTreeSet<String>, RecordError> {
        let all = self.read()?.components.into_iter();
        Ok(all.filter(|(_, history)| history.is_disabled).map(|(name, _)| name.to_string()).collect())
    }

    /// Writes down that an operator has turned a component off, or on again.
    ///
    /// # Errors
    /// When the record can't be read or written.
    pub(crate) fn disable(&self, component: &ComponentName, is_disabled: bool) -> Result<(), RecordError> {
        self.change(|contents| {
            let history = contents.components.entry(component.clone()).or_default();
            std::mem::replace(&mut history.is_disabled, is_disabled) != is_disabled
        })
    }

    /// Writes down that components run.
    ///
    /// # Errors
    /// When the record can't be read or written.
    pub(crate) fn note<'a>(
        &self,
        components: impl IntoIterator<Item = (&'a Manifest, &'a Identity, &'a Admitted)>,
    ) -> Result<(), RecordError> {
        let first_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.change(|contents| {
            let mut is_news = false;
            for (manifest, identity, admitted) in components {
                let run = Run {
                    version: manifest.version.chars().take(VERSION_CHARS_MAX).collect(),
                    digest: identity.code,
                    manifest: identity.manifest(),
                    signer: admitted.signer.clone(),
                    first_unix_s,
                };
                let history = contents.components.entry(manifest.name.clone()).or_default();
                is_news |= history.add(run, admitted.floor.clone());
            }
            is_news
        })
    }

    /// Changes what is known; `change` tells whether there is something to write.
    fn change(&self, change: impl FnOnce(&mut Contents) -> bool) -> Result<(), RecordError> {
        let unusable = |cause| RecordError::Unusable { file: self.file.clone(), cause };
        make_private(&self.folder).map_err(unusable)?;
        // Held until the end: another server of this folder may have something to write as well.
        let lock = File::create(self.folder.join("components.lock")).map_err(unusable)?;
        lock.lock().map_err(unusable)?;
        let mut contents = self.read()?;
        match change(&mut contents) {
            true => self.write(&contents).map_err(unusable),
            false => Ok(()),
        }
    }

    fn read(&self) -> Result<Contents, RecordError> {
        let unusable = |cause| RecordError::Unusable { file: self.file.clone(), cause };
        let damaged = |reason: String| RecordError::Damaged { file: self.file.clone(), reason };
        let file = match File::open(&self.file) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                return Ok(Contents { schema: 1, components: BTreeMap::new() });
            }
            file => file.map_err(unusable)?,
        };
        let mut text = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut text).map_err(unusable)?;
        if text.len() as u64 > BYTES_MAX {
            return Err(damaged(format!("it has more than {BYTES_MAX} bytes")));
        }
        let contents: Contents = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        match contents.schema {
            1 => Ok(contents),
            schema => Err(damaged(format!("it has schema {schema}, and this version of tessera reads schema 1"))),
        }
    }

    /// Writes all of it to another file first: who reads sees the old record or the new one.
    fn write(&self, contents: &Contents) -> std::io::Result<()> {
        let draft = self.folder.join(format!("{FILE}.draft"));
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(contents)?)?;
        file.sync_all()?;
        std::fs::rename(draft, &self.file)
    }
}

impl History {
    /// Adds what runs now; tells whether that is news.
    fn add(&mut self, run: Run, floor: Option<Version>) -> bool {
        let before = self.clone();
        self.version_max = self.version_max.take().max(floor);
        let is_same = |other: &Run| Run { first_unix_s: run.first_unix_s, ..other.clone() } == run;
        let first = self.runs.iter().position(is_same).map(|place| self.runs.remove(place));
        self.runs.push(first.unwrap_or(run));
        let beyond = self.runs.len().saturating_sub(RUNS_MAX);
        self.runs.drain(..beyond);
        *self != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(version: &str) -> Run {
        let digest = Digest::of(version.as_bytes());
        Run { version: version.into(), digest, manifest: digest, signer: None, first_unix_s: 7 }
    }

    #[test]
    fn the_highest_version_stays_and_the_first_time_too() {
        let mut history = History::default();
        let version = |text: &str| Some(Version::parse(text).expect("a version"));
        assert!(history.add(run("1.0.0"), None) && history.version_max.is_none());
        assert!(history.add(run("1.2.0"), version("1.2.0")));
        assert!(history.add(Run { first_unix_s: 9, ..run("1.0.0") }, version("1.0.0")));
        let runs = vec![run("1.2.0"), run("1.0.0")];
        assert_eq!(history, History { is_disabled: false, version_max: version("1.2.0"), runs });
        assert!(!history.add(Run { first_unix_s: 11, ..run("1.0.0") }, version("1.0.0")), "no news");
        for patch in 0..100 {
            history.add(run(&format!("2.0.{patch}")), None);
        }
        assert_eq!((history.runs.len(), history.runs.last()), (RUNS_MAX, Some(&run("2.0.99"))));
    }

    #[test]
    fn a_record_that_can_not_be_read_is_no_empty_one() {
        let data = tempfile::tempdir().expect("a folder");
        let record = ComponentRecord::at(data.path());
        let name = "chat".parse().expect("a name");
        assert_eq!(record.floor(&name).expect("none yet"), None);
        let good = "{\"schema\": 1, \"components\": {\"chat\": {\"version_max\": \"1.2.0\", \"runs\": []}}}";
        std::fs::write(record.file(), good).expect("writes");
        assert_eq!(record.floor(&name).expect("reads"), Some(Version::new(1, 2, 0)));
        for damaged in ["", "{", "[]", &good.replace('1', "2"), &good.replace("runs", "ran"), &good.replace("chat", "../x")] {
            std::fs::write(record.file(), damaged).expect("writes");
            let error = record.floor(&name).expect_err("refused");
            assert!(matches!(&error, RecordError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("components.json"), "{error}");
        }
    }
}
