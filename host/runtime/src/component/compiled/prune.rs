//! Throws out compiled code that nobody uses any more.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::DRAFT;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an entry stays that nobody uses.
const UNUSED_MAX: Duration = DAY.saturating_mul(30);
/// The same for one of another engine: another version of the server, or another setting of its own. Two may share a folder.
const OTHER_ENGINE_MAX: Duration = DAY;
/// Entries that stay; the ones not used for longest go first.
const ENTRIES_MAX: usize = 4096;

/// Removes old entries and drafts from a cache folder, if it is there.
pub(super) fn prune(folder: &Path, compatibility: &str) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let used = |entry: std::fs::DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()));
    let mut entries: Vec<(SystemTime, PathBuf)> = entries.flatten().filter_map(used).collect();
    entries.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    let now = SystemTime::now();
    for (place, (used, entry)) in entries.into_iter().enumerate() {
        let unused = now.duration_since(used).unwrap_or_default();
        if place >= ENTRIES_MAX || is_old(&entry, unused, compatibility) {
            match std::fs::remove_file(&entry) {
                Ok(()) => tracing::debug!(entry = %entry.display(), "compiled code that nobody uses is removed"),
                // Another server of this folder may have been faster.
                Err(error) => tracing::debug!(%error, entry = %entry.display(), "old compiled code is not removed"),
            }
        }
    }
}

/// Whether what is ours in the folder is old; other files are nobody's business here.
fn is_old(entry: &Path, unused: Duration, compatibility: &str) -> bool {
    let name = entry.file_name().unwrap_or_default().to_string_lossy();
    match name.strip_suffix(".cwasm") {
        Some(stem) if stem.ends_with(&format!("-{compatibility}")) => unused > UNUSED_MAX,
        Some(_) => unused > OTHER_ENGINE_MAX,
        None => name.ends_with(&format!(".{DRAFT}")) && unused > OTHER_ENGINE_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_used_goes_after_its_time() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, days) in [
            ("a-now.cwasm", 0),
            ("b-now.cwasm", 29),
            ("c-now.cwasm", 31),
            ("d-old.cwasm", 0),
            ("e-old.cwasm", 2),
            ("f-now.7.draft", 0),
            ("g-now.7.draft", 2),
            ("of-somebody.txt", 400),
        ] {
            let file = std::fs::File::create(folder.path().join(name)).expect("makes");
            file.set_modified(SystemTime::now() - DAY * days).expect("sets");
        }
        prune(folder.path(), "now");
        let left = std::fs::read_dir(folder.path()).expect("lists").flatten();
        let mut left: Vec<String> = left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        left.sort();
        assert_eq!(left, ["a-now.cwasm", "b-now.cwasm", "d-old.cwasm", "f-now.7.draft", "of-somebody.txt"]);
        prune(&folder.path().join("none"), "now");
    }
}
