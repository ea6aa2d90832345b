//! Which file of a folder holds the weights.

use std::path::{Path, PathBuf};

use super::WeightsError;

/// The file with this extension that a path means: itself, or in a folder the one named `model`, or the only one.
pub(super) fn find(path: &Path, extension: &'static str) -> Result<Option<PathBuf>, WeightsError> {
    let is_one = |file: &Path| file.extension().is_some_and(|found| found == extension) && file.is_file();
    if is_one(path) {
        return Ok(Some(path.into()));
    }
    if !path.is_dir() {
        return Ok(None);
    }
    let preferred = path.join("model").with_extension(extension);
    if preferred.is_file() {
        return Ok(Some(preferred));
    }
    let unreadable = |cause| WeightsError::Unreadable { file: path.into(), cause };
    let entries: Vec<_> = path.read_dir().and_then(Iterator::collect).map_err(unreadable)?;
    let mut files = entries.iter().map(std::fs::DirEntry::path).filter(|file| is_one(file));
    match (files.next(), files.next()) {
        (Some(_), Some(_)) => Err(WeightsError::Several { folder: path.into(), extension }),
        (only, _) => Ok(only),
    }
}
