//! Labels: words that say which documents a caller may find.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest label, in bytes.
const LABEL_BYTES_MAX: usize = 64;

/// Most labels of a caller.
const LABELS_MAX: usize = 256;

/// One label, as `hr` or `/groups/finance`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// Why a label was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nothing is labelled so.
    #[error("`{0}` is no label: use 1 to {LABEL_BYTES_MAX} of the characters a-z A-Z 0-9 . _ : - /")]
    Malformed(String),
    /// There are more than anybody needs.
    #[error("there are {0} labels, {LABELS_MAX} at most")]
    TooMany(usize),
}

impl Label {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Label, LabelError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-/".contains(&byte);
        match (1..=LABEL_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_allowed) {
            true => Ok(Label(text.into())),
            false => Err(LabelError::Malformed(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Label, LabelError> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The labels of a caller: it finds documents that have one of them, and those that have none. Written as a list; on a command line
/// `hr,finance`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Label>", into = "Vec<Label>")]
pub struct Labels(BTreeSet<Label>);

impl Labels {
    /// What of a claim's entries are labels. Others, and those beyond the first 256, are somebody else's.
    pub(crate) fn of_claim<'a>(entries: impl IntoIterator<Item = &'a str>) -> Labels {
        Labels(entries.into_iter().filter_map(|entry| entry.parse().ok()).take(LABELS_MAX).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.0.iter()
    }
}

impl TryFrom<Vec<Label>> for Labels {
    type Error = LabelError;

    fn try_from(labels: Vec<Label>) -> Result<Labels, LabelError> {
        match labels.len() {
            ..=LABELS_MAX => Ok(Labels(labels.into_iter().collect())),
            count => Err(LabelError::TooMany(count)),
        }
    }
}

impl From<Labels> for Vec<Label> {
    fn from(labels: Labels) -> Vec<Label> {
        labels.0.into_iter().collect()
    }
}

impl FromStr for Labels {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Labels, LabelError> {
        let labels = text.split(',').map(str::trim).filter(|label| !label.is_empty());
        labels.map(str::parse).collect::<Result<Vec<Label>, _>>()?.try_into()
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(Label::as_str).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_written_and_read_in_the_same_way() {
        let labels: Labels = " hr, /groups/finance ,,hr".parse().expect("labels");
        assert_eq!(labels.to_string(), "/groups/finance,hr");
        let json = serde_json::to_value(&labels).expect("JSON");
        assert_eq!(json, serde_json::json!(["/groups/finance", "hr"]));
        assert_eq!(serde_json::from_value::<Labels>(json).expect("labels"), labels);
        assert!("".parse::<Labels>().expect("none").is_empty());
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for text in ["a b", "ä", "a\n", "a\"", &"a".repeat(65)] {
            let error = text.parse::<Label>().expect_err(text).to_string();
            assert!(error.contains("is no label"), "{error}");
        }
        let many = (0..257).map(|label| label.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(many.parse::<Labels>(), Err(LabelError::TooMany(257)));
    }

    #[test]
    fn what_is_no_label_in_a_claim_is_somebody_elses() {
        assert_eq!(Labels::of_claim(["hr", "Human Resources", "", "/a"]).to_string(), "/a,hr");
        let many: Vec<String> = (0..300).map(|label| label.to_string()).collect();
        assert_eq!(Labels::of_claim(many.iter().map(String::as_str)).iter().count(), 256);
    }
}
