//! Words and parts of words that the operator has banned.

use std::ops::Range;

use crate::folded::Folded;

/// Most entries of both lists together.
pub(crate) const ENTRIES_MAX: usize = 2000;

/// Longest entry, in bytes.
pub(crate) const ENTRY_BYTES_MAX: usize = 256;

/// What is banned, as it reads: see [`Folded`].
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Banned {
    words: Vec<String>,
    substrings: Vec<String>,
}

impl Banned {
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty() && self.substrings.is_empty()
    }

    /// Bans entries as words.
    ///
    /// # Errors
    /// What is wrong with one.
    pub(crate) fn add_words<'a>(&mut self, entries: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        for entry in entries {
            self.words.push(folded(entry)?);
        }
        self.bounded()
    }

    /// Bans entries wherever they stand.
    ///
    /// # Errors
    /// What is wrong with one.
    pub(crate) fn add_substrings<'a>(&mut self, entries: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        for entry in entries {
            self.substrings.push(folded(entry)?);
        }
        self.bounded()
    }

    fn bounded(&self) -> Result<(), String> {
        let count = self.words.len() + self.substrings.len();
        if count > ENTRIES_MAX { Err(format!("{count} entries are banned; {ENTRIES_MAX} at most")) } else { Ok(()) }
    }

    /// Where a text holds what is banned, in no order.
    pub(crate) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let folded = Folded::new(text);
        let all = |entry: &str, is_word: bool| {
            let hits = folded.text().match_indices(entry).map(|(at, _)| at..at + entry.len());
            let hits = hits.filter(|hit| !is_word || stands_alone(folded.text(), hit));
            hits.map(|hit| folded.original(hit)).collect::<Vec<_>>()
        };
        let words = self.words.iter().flat_map(|entry| all(entry, true));
        words.chain(self.substrings.iter().flat_map(|entry| all(entry, false))).collect()
    }
}

fn folded(entry: &str) -> Result<String, String> {
    if entry.len() > ENTRY_BYTES_MAX {
        return Err(format!("an entry has {} bytes; {ENTRY_BYTES_MAX} at most", entry.len()));
    }
    let folded = Folded::new(entry).text().trim().to_owned();
    if folded.is_empty() { Err("an entry has nothing that can be seen".into()) } else { Ok(folded) }
}

fn stands_alone(text: &str, part: &Range<usize>) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    !text[..part.start].ends_with(is_word) && !text[part.end..].starts_with(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banned(words: &[&str], substrings: &[&str]) -> Banned {
        let mut banned = Banned::default();
        banned.add_words(words.iter().copied()).expect("good words");
        banned.add_substrings(substrings.iter().copied()).expect("good substrings");
        banned
    }

    fn found<'a>(banned: &Banned, text: &'a str) -> Vec<&'a str> {
        banned.find(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn words_are_found_alone_and_substrings_anywhere() {
        let banned = banned(&["Cat", "red fox"], &["door"]);
        assert_eq!(found(&banned, "A CAT, concatenated; cats."), ["CAT"]);
        assert_eq!(found(&banned, "the Red \n FOX"), ["Red \n FOX"]);
        assert_eq!(found(&banned, "a BackDoor"), ["Door"]);
    }

    #[test]
    fn simple_tricks_do_not_hide_them() {
        let banned = banned(&["straße", "cat"], &[]);
        assert_eq!(found(&banned, "c\u{200b}a\u{301}t ｃａｔ саt"), ["c\u{200b}a\u{301}t", "ｃａｔ", "саt"]);
        assert_eq!(found(&banned, "Die STRAßE"), ["STRAßE"]);
    }

    #[test]
    fn lists_are_bounded() {
        let mut banned = Banned::default();
        assert!(banned.add_words([" \u{200b}"]).is_err());
        assert!(banned.add_words(["x".repeat(ENTRY_BYTES_MAX + 1).as_str()]).is_err());
        assert!(banned.add_substrings(std::iter::repeat_n("x", ENTRIES_MAX + 1)).is_err());
    }
}
