//! The file of keys: read by the server, changed by `tessera key`.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;

use super::{Key, KeyId};
use crate::caller::label::Labels;
use crate::caller::scope::{Scope, Selection};
use crate::digest::hex;
use crate::name::{ComponentName, ModelName, Tenant};

/// Most keys that a file may hold.
const KEYS_MAX: usize = 100_000;

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why keys could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read or written.
    #[error("{file}: {cause}")]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file holds something else than keys.
    #[error("{file} is refused: {reason}")]
    Refused {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// What should be an id is none.
    #[error("`{0}` is no id of a key: `tessera key list` shows them")]
    NoId(String),
    /// There is no such key.
    #[error("there is no key `{0}`: `tessera key list` shows those that there are")]
    Unknown(KeyId),
    /// The name is too long or has control characters.
    #[error("a key's name has up to {0} characters and no control characters")]
    Name(usize),
    /// There are as many keys as there may be.
    #[error("there are {KEYS_MAX} keys already: take those out of the file that nobody uses")]
    TooMany,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers to make a key of")]
    Random,
}

/// All keys of a server, the revoked ones too, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    schema: u32,
    #[serde(default)]
    key: Vec<Entry>,
}

/// A key as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: KeyId,
    #[serde(default)]
    name: String,
    tenant: Tenant,
    sha256: String,
    components: Selection<ComponentName>,
    models: Selection<ModelName>,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    labels: Labels,
    created: String,
    expires: Option<String>,
    revoked: Option<String>,
}

impl Keys {
    /// Reads a file; one that is not there holds no keys.
    ///
    /// # Errors
    /// When it is unreadable or malformed.
    pub fn read(file: &Path) -> Result<Keys, KeyError> {
        let failed = |cause| KeyError::File { file: file.into(), cause };
        let opened = match File::open(file) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Keys::default()),
            opened => opened.map_err(failed)?,
        };
        let mut text = String::new();
        opened.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        Keys::parse(&text).map_err(|reason| KeyError::Refused { file: file.into(), reason })
    }

    /// Changes a file: reads it, lets `change` work on it and writes it, as a whole and readable by its owner alone. Others that
    /// change it wait meanwhile.
    ///
    /// # Errors
    /// When the file is unreadable, malformed or not to be written, or `change` fails. Then it is as it was.
    pub fn change<T>(file: &Path, change: impl FnOnce(&mut Keys) -> Result<T, KeyError>) -> Result<T, KeyError> {
        let failed = |cause| KeyError::File { file: file.into(), cause };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let private = |path: &Path| OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        // Not on the file itself, which is replaced. It is unlocked when it is closed.
        let lock = private(&file.with_extension("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut keys = Keys::read(file)?;
        let done = change(&mut keys)?;
        let new = file.with_extension("new");
        match std::fs::remove_file(&new) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(failed(cause)),
            _ => {} // one that was left half-written might be readable by others
        }
        let mut written = private(&new).map_err(failed)?;
        written.write_all(keys.to_toml().as_bytes()).and_then(|()| written.sync_all()).map_err(failed)?;
        std::fs::rename(&new, file).map_err(failed)?;
        Ok(done)
    }

    /// All of them, in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// One key.
    pub fn get(&self, id: &KeyId) -> Option<&Key> {
        self.0.iter().find(|key| key.id == *id)
    }

    /// Adds a key.
    ///
    /// # Errors
    /// When there are too many, or another has its id already.
    pub fn add(&mut self, key: Key) -> Result<(), KeyError> {
        if self.0.len() >= KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        if self.get(&key.id).is_some() {
            return Err(KeyError::Random); // one time in a million million
        }
        self.0.push(key);
        Ok(())
    }

    /// Revokes a key at this time, in seconds since 1970. One that is revoked already stays so since then.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn revoke(&mut self, id: &KeyId, now: u64) -> Result<(), KeyError> {
        let key = self.0.iter_mut().find(|key| key.id == *id).ok_or_else(|| KeyError::Unknown(id.clone()))?;
        key.revoked.get_or_insert(now);
        Ok(())
    }

    /// Takes out the keys of a tenant, revoked ones too, and says how many there were.
    pub fn forget(&mut self, tenant: &Tenant) -> u64 {
        let before = self.0.len();
        self.0.retain(|key| key.tenant != *tenant);
        (before - self.0.len()) as u64
    }

    fn parse(text: &str) -> Result<Keys, String> {
        let file: KeyFile = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.schema != 1 {
            return Err(format!("it has schema {}; this version of tessera reads schema 1", file.schema));
        }
        let mut keys = Keys::default();
        for entry in file.key {
            let id = entry.id.clone();
            let key = entry.key().map_err(|reason| format!("key `{id}`: {reason}"))?;
            keys.add(key).map_err(|error| match error {
                KeyError::Random => format!("there are two keys `{id}`"),
                error => error.to_string(),
            })?;
        }
        Ok(keys)
    }

    fn to_toml(&self) -> String {
        let mut text =
            String::from("# Made by `tessera key`. The keys themselves are nowhere: only their SHA-256.\nschema = 1\n");
        for key in &self.0 {
            write_key(&mut text, key).expect("a string takes all that is written");
        }
        text
    }
}

impl Entry {
    fn key(self) -> Result<Key, String> {
        let time = |text: &str| seconds(text).ok_or_else(|| format!("`{text}` is no time: write 2026-12-31T22:00:00Z"));
        Ok(Key {
            digest: digest(&self.sha256).ok_or("`sha256` is not 64 hexadecimal digits")?,
            created: time(&self.created)?,
            expires: self.expires.as_deref().map(time).transpose()?,
            revoked: self.revoked.as_deref().map(time).transpose()?,
            scope: Scope { components: self.components, models: self.models, is_admin: self.admin, labels: self.labels },
            id: self.id,
            name: self.name,
            tenant: self.tenant,
        })
    }
}

fn write_key(text: &mut String, key: &Key) -> std::fmt::Result {
    // What JSON escapes TOML escapes in the same way, and a name holds no control characters.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let list = |value: serde_json::Result<serde_json::Value>| value.map_or_else(|_| "[]".into(), |value| value.to_string());
    writeln!(text, "\n[[key]]\nid = \"{}\"\nname = {}\ntenant = \"{}\"", key.id, quoted(&key.name), key.tenant)?;
    writeln!(text, "sha256 = \"{}\"", hex(&key.digest))?;
    writeln!(text, "components = {}", list(serde_json::to_value(&key.scope.components)))?;
    writeln!(text, "models = {}", list(serde_json::to_value(&key.scope.models)))?;
    if !key.scope.labels.is_empty() {
        writeln!(text, "labels = {}", list(serde_json::to_value(&key.scope.labels)))?;
    }
    writeln!(text, "admin = {}\ncreated = \"{}\"", key.scope.is_admin, rfc3339(key.created))?;
    for (name, at) in [("expires", key.expires), ("revoked", key.revoked)] {
        if let Some(at) = at {
            writeln!(text, "{name} = \"{}\"", rfc3339(at))?;
        }
    }
    Ok(())
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let is_hex = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut digest = [0; 32];
    for (place, byte) in digest.iter_mut().enumerate().filter(|_| is_hex) {
        *byte = u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).ok()?;
    }
    is_hex.then_some(digest)
}

/// Seconds since 1970 as people write them: `2026-12-31T22:00:00Z`. What is beyond all calendars is their last moment.
pub fn rfc3339(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    at.unwrap_or(DateTime::<chrono::Utc>::MAX_UTC).to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn seconds(text: &str) -> Option<u64> {
    DateTime::parse_from_rfc3339(text).ok()?.timestamp().try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::NewKey;

    fn key(name: &str, seconds: Option<u64>) -> (Key, String) {
        let new = NewKey {
            name: name.into(),
            tenant: "acme".parse().expect("a name"),
            components: "chat,embeddings".parse().expect("a list"),
            models: Selection::All,
            is_admin: true,
            labels: if seconds.is_some() { "hr,/x".parse().expect("labels") } else { Labels::default() },
            seconds,
        };
        new.make(1_767_323_045).expect("a key")
    }

    #[test]
    fn keys_are_read_as_they_were_written_and_the_file_holds_no_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("data/keys.toml");
        assert_eq!(Keys::read(&file).expect("none"), Keys::default());
        let ((one, one_text), (two, two_text)) = (key("\"quotes\" \\ and ünïcode", Some(60)), key("", None));
        for key in [&one, &two] {
            Keys::change(&file, |keys| keys.add(key.clone())).expect("added");
        }
        Keys::change(&file, |keys| keys.revoke(&two.id, 1_767_323_050)).expect("revoked");
        Keys::change(&file, |keys| keys.revoke(&two.id, 1_767_323_099)).expect("revoked before");
        let keys = Keys::read(&file).expect("two keys");
        let revoked = Key { revoked: Some(1_767_323_050), ..two };
        assert_eq!(keys.iter().collect::<Vec<_>>(), [&one, &revoked]);
        let text = std::fs::read_to_string(&file).expect("the file");
        assert!(text.contains("expires = \"2026-01-02T03:05:05Z\""), "{text}");
        for secret in [one_text, two_text] {
            assert!(!text.contains(secret.rsplit_once('_').expect("a key").1), "{text}");
        }
        let mode = std::fs::metadata(&file).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn who_changes_the_file_at_the_same_time_loses_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys.toml");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| Keys::change(&file, |keys| keys.add(key("", None).0)).expect("added"));
            }
        });
        assert_eq!(Keys::read(&file).expect("keys").iter().count(), 8);
    }

    #[test]
    fn a_change_that_fails_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys.toml");
        let (one, _) = key("", None);
        Keys::change(&file, |keys| keys.add(one.clone())).expect("added");
        let unknown = "aaaaaaaa".parse().expect("an id");
        let changed = Keys::change(&file, |keys| keys.add(key("", None).0).and_then(|()| keys.revoke(&unknown, 0)));
        assert!(matches!(changed, Err(KeyError::Unknown(_))));
        assert_eq!(Keys::read(&file).expect("keys").iter().count(), 1);
    }

    #[test]
    fn a_file_that_is_malformed_is_refused_with_the_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys.toml");
        let one = Keys(vec![key("n", None).0]).to_toml();
        let again = format!("{one}{}", &one[one.find("\n[[key]]").expect("a key")..]);
        for (text, words) in [
            ("", "missing field `schema`"),
            ("schema = 2", "schema 2"),
            (&one.replace("tenant = \"acme\"", "tenant = \"A B\""), "is no tenant name"),
            (&one.replace("sha256 = \"", "sha256 = \"x"), "64 hexadecimal digits"),
            (&one.replace("created = \"2026", "created = \"x2026"), "is no time"),
            (&one.replace("admin = true", "admins = true"), "unknown field `admins`"),
            (&again, "there are two keys"),
        ] {
            std::fs::write(&file, text).expect("written");
            let error = Keys::read(&file).expect_err(text).to_string();
            assert!(error.contains("keys.toml is refused") && error.contains(words), "{error}");
        }
    }
}
