//! What a model is made of, in one number, and each of its files in one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::record::RECORD;

/// Bytes hashed at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Files of one model.
const FILES_MAX: usize = 10_000;
/// Folders in each other in a model's.
const DEPTH_MAX: usize = 8;

/// A SHA-256 as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is no SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 hexadecimal digits, not `{0}`")]
pub struct DigestError(String);

/// What one file of a model holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its length.
    pub bytes: u64,
    /// Its hash.
    pub sha256: Digest,
}

impl Digest {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest::from_hash(&Sha256::digest(bytes))
    }

    /// The first `digits` digits: enough to tell one from another, or to name a folder.
    pub fn short(&self, digits: usize) -> &str {
        self.0.get(..digits).unwrap_or(&self.0)
    }

    fn from_hash(hash: &[u8]) -> Digest {
        Digest(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(Digest(text.to_ascii_lowercase())),
            false => Err(DigestError(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Digest, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Content {
    /// Reads and hashes a file.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of_file(file: &Path) -> io::Result<Content> {
        let (mut file, mut sha, mut chunk) = (File::open(file)?, Sha256::new(), vec![0; CHUNK_BYTES]);
        let mut bytes = 0;
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(Content { bytes, sha256: Digest::from_hash(&sha.finalize()) }),
                read => {
                    bytes += read as u64;
                    sha.update(&chunk[..read]);
                }
            }
        }
    }
}

/// SHA-256 of a model, in hexadecimal digits: that of a list of its files with theirs, each a line `DIGEST  PATH` as `sha256sum`
/// prints it, sorted by path. Hidden files and the record of where it came from are left out.
///
/// # Errors
/// When the folder or a file in it can't be read.
pub fn digest(folder: &Path) -> io::Result<String> {
    contents(folder).map(|files| digest_of(&files))
}

/// The same of files that were hashed already.
pub(crate) fn digest_of<'a>(files: impl IntoIterator<Item = (&'a String, &'a Content)>) -> String {
    let mut whole = Sha256::new();
    for (path, content) in files {
        whole.update(format!("{}  {path}\n", content.sha256));
    }
    Digest::from_hash(&whole.finalize()).0
}

/// Every file of a model by its path, with `/` between the parts. Hidden files and the record of where it came from are left out.
///
/// # Errors
/// When the folder or a file in it can't be read.
pub fn contents(folder: &Path) -> io::Result<BTreeMap<String, Content>> {
    let hash = |path: String| Content::of_file(&folder.join(&path)).map(|content| (path, content));
    paths(folder)?.into_iter().map(hash).collect()
}

/// The paths of a model's files, in no order.
pub(crate) fn paths(folder: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    list(folder, &mut PathBuf::new(), &mut files)?;
    Ok(files)
}

fn list(folder: &Path, below: &mut PathBuf, files: &mut Vec<String>) -> io::Result<()> {
    if below.components().count() > DEPTH_MAX || files.len() > FILES_MAX {
        return Err(io::Error::other("there are too many files or folders in it: is it a model?"));
    }
    for entry in std::fs::read_dir(folder.join(&*below))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| io::Error::other("a file's name is no text"))?;
        if name.starts_with('.') || name == RECORD {
            continue;
        }
        below.push(name);
        if entry.path().is_dir() {
            list(folder, below, files)?;
        } else {
            files.push(below.iter().filter_map(|part| part.to_str()).collect::<Vec<_>>().join("/"));
        }
        below.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn file_and_bytes_hash_to_the_standard_vector() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("abc");
        std::fs::write(&file, "abc").expect("writes");
        let sha256: Digest = ABC.parse().expect("a digest");
        assert_eq!(Content::of_file(&file).expect("readable"), Content { bytes: 3, sha256: sha256.clone() });
        assert_eq!((Digest::of(b"abc"), sha256.short(6)), (sha256.clone(), "ba7816"));
    }

    #[test]
    fn text_that_is_no_hash_is_refused() {
        for text in ["53aa", &"g".repeat(64), ""] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_digest_is_that_of_what_sha256sum_prints() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).expect("writes");
        std::fs::create_dir(folder.path().join("pooling")).expect("a folder");
        write("b", "2");
        write("a", "1");
        write("pooling/config.json", "{}");
        let before = digest(folder.path()).expect("readable");
        let listed = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b  a\n\
                      d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35  b\n\
                      44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a  pooling/config.json\n";
        assert_eq!(before, Digest::of(listed.as_bytes()).to_string());
        write(".hidden", "x");
        write("source.json", "x");
        assert_eq!(digest(folder.path()).expect("readable"), before);
        write("b", "3");
        assert_ne!(digest(folder.path()).expect("readable"), before);
    }

    #[test]
    fn a_folder_that_lies_in_itself_is_no_model() {
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).expect("links");
        assert!(digest(folder.path()).expect_err("has no end").to_string().contains("is it a model?"));
    }
}
