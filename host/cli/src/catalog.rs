//! The models that `tessera pull` knows by name: `catalog.toml`, embedded in the binary.

use anyhow::Context as _;
use policy::ModelName;
use serde::Deserialize;

use crate::pull::digest::Pin;
use crate::pull::source::{Format, Source};

/// Edits that a mistyped name may be away from one that is suggested.
const EDITS_MAX: usize = 3;

/// One model of the catalog.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The name people type, and the model's folder.
    pub(crate) name: ModelName,
    /// What the model is for, in a few words.
    pub(crate) purpose: String,
    /// SPDX expression of the weights' licence.
    pub(crate) licence: String,
    /// How the weights are stored.
    pub(crate) format: Format,
    /// The files that every source must give, with their hashes.
    pub(crate) files: Vec<Pin>,
    /// Where the model can be had, best first.
    pub(crate) sources: Vec<Origin>,
}

impl Entry {
    /// Size of the pinned files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|pin| pin.bytes).sum()
    }
}

/// One place that has a model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    /// The source, as a person would type it.
    pub(crate) from: Source,
    /// Bytes to download, where that is not the sum of the files: progress bars count against it.
    #[serde(default)]
    pub(crate) download_bytes: Option<u64>,
    /// Files whose content is known at this source only.
    #[serde(default)]
    pub(crate) files: Vec<Pin>,
}

/// The catalog, in the order it is shown.
///
/// # Errors
/// When the embedded file is wrong, which a test rules out.
pub(crate) fn entries() -> anyhow::Result<Vec<Entry>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Catalog {
        model: Vec<Entry>,
    }
    let catalog: Catalog = toml::from_str(include_str!("catalog.toml")).context("the embedded catalog.toml")?;
    Ok(catalog.model)
}

/// The names of `entries` that someone who typed `name` may have meant.
pub(crate) fn near<'a>(name: &str, entries: &'a [Entry]) -> Vec<&'a str> {
    let typed = name.to_lowercase();
    let is_near = |known: &&str| {
        let part = typed.len() > 2 && (known.contains(&typed) || typed.contains(known));
        part || edits(&typed, known) <= EDITS_MAX
    };
    entries.iter().map(|entry| entry.name.as_str()).filter(is_near).collect()
}

/// Levenshtein distance in characters, one row of the table at a time.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (to, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        row[0] = i + 1;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_catalog_parses_and_pins_weights_of_every_model() -> anyhow::Result<()> {
        for entry in entries()? {
            let pinned = entry.files.iter().any(|pin| Format::of(&pin.path) == Some(entry.format));
            assert!(pinned, "{}: no weights pinned", entry.name);
            assert!(!entry.sources.is_empty(), "{}: no source", entry.name);
            assert!(!entry.licence.is_empty() && !entry.purpose.is_empty());
        }
        Ok(())
    }

    #[test]
    fn mistyped_name_finds_the_near_one() -> anyhow::Result<()> {
        let entries = entries()?;
        assert_eq!(near("all-MiniLM-L6-v3", &entries), ["all-minilm-l6-v2"]);
        assert_eq!(near("smollm2", &entries), ["smollm2-135m-instruct"]);
        assert!(near("gpt-4", &entries).is_empty());
        Ok(())
    }

    #[test]
    fn edits_count_insertions_deletions_and_replacements() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "abc"), 0);
    }
}
