//! Characters that nobody sees and a model reads.

use std::ops::Range;

use crate::folded::is_invisible;

/// Which of them are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds {
    /// Spaces of no width, joiners, soft hyphens, fillers. Emoji and some scripts need the joiners.
    pub(crate) has_zero_width: bool,
    /// Marks that turn the direction of writing. Right-to-left scripts need some.
    pub(crate) has_bidi: bool,
    /// Tag characters, which repeat ASCII, and selectors of variants beyond the usual sixteen.
    pub(crate) has_tags: bool,
}

impl Kinds {
    pub(crate) const ALL: Self = Self { has_zero_width: true, has_bidi: true, has_tags: true };

    fn hold(self, character: char) -> bool {
        match character {
            '\u{fe00}'..='\u{fe0f}' => false, // emoji or text
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.has_bidi,
            '\u{e0000}'..='\u{e0fff}' => self.has_tags,
            _ => self.has_zero_width && is_invisible(character),
        }
    }

    /// Runs of such characters.
    pub(crate) fn find(self, text: &str) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        if text.is_ascii() {
            return runs;
        }
        for (at, character) in text.char_indices().filter(|(_, character)| self.hold(*character)) {
            let end = at + character.len_utf8();
            match runs.last_mut() {
                Some(run) if run.end == at => run.end = end,
                _ => runs.push(at..end),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_where_it_is_asked_for() {
        let text = "a\u{200b}\u{200d}b\u{202e}c\u{e0041}\u{e0042}";
        assert_eq!(Kinds::ALL.find(text), [1..7, 8..11, 12..20]);
        assert_eq!(Kinds { has_zero_width: false, has_tags: false, ..Kinds::ALL }.find(text), [Range { start: 8, end: 11 }]);
        assert_eq!(Kinds { has_zero_width: false, has_bidi: false, ..Kinds::ALL }.find(text), [Range { start: 12, end: 20 }]);
        assert_eq!(Kinds::ALL.find("plain \u{2764}\u{fe0f} é"), [0..0; 0]);
    }
}
