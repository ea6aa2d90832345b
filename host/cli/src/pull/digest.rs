//! The pins that downloads are checked against.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use engine::{Content, Digest};
use serde::Deserialize;

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
        Ok(sized && of_file(path)?.sha256 == self.sha256)
    }
}

/// Hashes a file.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn of_file(path: &Path) -> anyhow::Result<Content> {
    Content::of_file(path).with_context(|| format!("cannot read {}", path.display()))
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

    #[test]
    fn wrong_content_is_deleted_and_error_names_both_hashes() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("model.gguf");
        fs::write(&path, "bad")?;
        let found = Digest::of(b"bad");
        let expected = Digest::of(b"good");
        let error = expect(&path, &expected, &found).expect_err("hashes differ").to_string();
        assert!(
            error.contains("model.gguf") && error.contains(&expected.to_string()) && error.contains(&found.to_string()),
            "{error}"
        );
        assert!(!path.exists());
        Ok(())
    }
}
