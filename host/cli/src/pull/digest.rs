//! SHA-256 of files, and the pins that downloads are checked against.

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes hashed at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// A SHA-256 as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Digest(String);

impl Digest {
    /// Hashes `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::from_hash(&Sha256::digest(bytes))
    }

    /// Hashes the file at `path`; gives its size too.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn of_file(path: &Path) -> anyhow::Result<(u64, Self)> {
        let reading = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(reading)?;
        let (mut hasher, mut bytes, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
        loop {
            let read = file.read(&mut chunk).with_context(reading)?;
            if read == 0 {
                return Ok((bytes, Self::from_hash(&hasher.finalize())));
            }
            bytes += read as u64;
            hasher.update(&chunk[..read]);
        }
    }

    /// The first `digits` digits: enough to name a folder.
    pub(crate) fn short(&self, digits: usize) -> &str {
        self.0.get(..digits).unwrap_or(&self.0)
    }

    fn from_hash(hash: &[u8]) -> Self {
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl FromStr for Digest {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure!(hex, "a SHA-256 is 64 hexadecimal digits, not `{text}`");
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for Digest {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file of a model whose content is known beforehand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    /// Path in the model's folder, with `/`.
    pub(crate) path: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its hash.
    pub(crate) sha256: Digest,
}

impl Pin {
    /// Whether the file at `path` is there with the pinned content.
    ///
    /// # Errors
    /// When it is there with the right size and cannot be read.
    pub(crate) fn holds(&self, path: &Path) -> anyhow::Result<bool> {
        let sized = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == self.bytes);
        Ok(sized && Digest::of_file(path)?.1 == self.sha256)
    }
}

/// Compares a file's hash with the expected one; deletes the file if it differs.
///
/// # Errors
/// Names the file, what was expected and what was found.
pub(crate) fn expect(path: &Path, expected: &Digest, found: &Digest) -> anyhow::Result<()> {
    if expected == found {
        return Ok(());
    }
    fs::remove_file(path).with_context(|| format!("cannot delete {}", path.display()))?;
    bail!(
        "{} has the wrong content, so it was deleted\n    expected sha256 {expected}\n    found    sha256 {found}",
        path.file_name().unwrap_or(path.as_os_str()).display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn file_and_bytes_hash_to_the_standard_vector() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("abc");
        fs::write(&path, "abc")?;
        assert_eq!(Digest::of_file(&path)?, (3, ABC.parse()?));
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        Ok(())
    }

    #[test]
    fn wrong_content_is_deleted_and_error_names_both_hashes() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("model.gguf");
        fs::write(&path, "bad")?;
        let found = Digest::of(b"bad");
        let error = expect(&path, &ABC.parse()?, &found).expect_err("hashes differ").to_string();
        assert!(error.contains("model.gguf") && error.contains(ABC) && error.contains(&found.to_string()), "{error}");
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn text_that_is_no_hash_is_refused() {
        assert!("53aa".parse::<Digest>().is_err());
        assert!("g".repeat(64).parse::<Digest>().is_err());
    }
}
