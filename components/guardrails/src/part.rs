//! Parts of texts that are to be replaced.

use std::ops::Range;

/// A part of a text, in bytes of UTF-8 on the borders of characters, and what is to stand in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) range: Range<usize>,
    pub(crate) replacement: String,
}

impl Part {
    pub(crate) fn new(range: Range<usize>, replacement: impl Into<String>) -> Self {
        Self { range, replacement: replacement.into() }
    }
}

/// The parts in order and apart from each other: those that overlap are one, with the replacement of the longest of them.
pub(crate) fn merge(mut parts: Vec<Part>) -> Vec<Part> {
    parts.retain(|part| !part.range.is_empty());
    parts.sort_by_key(|part| (part.range.start, part.range.end));
    let mut merged: Vec<(Part, usize)> = Vec::new();
    for part in parts {
        let length = part.range.len();
        match merged.last_mut() {
            Some((last, longest)) if part.range.start < last.range.end => {
                last.range.end = last.range.end.max(part.range.end);
                if length > *longest {
                    (*longest, last.replacement) = (length, part.replacement);
                }
            }
            _ => merged.push((part, length)),
        }
    }
    merged.into_iter().map(|(part, _)| part).collect()
}

/// A text with its parts replaced, which are in order and apart from each other.
pub(crate) fn replace(text: &str, parts: &[Part]) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut at = 0;
    for part in parts {
        replaced.push_str(&text[at..part.range.start]);
        replaced.push_str(&part.replacement);
        at = part.range.end;
    }
    replaced.push_str(&text[at..]);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_overlap_become_one_with_the_longest_ones_replacement() {
        let parts =
            vec![Part::new(8..12, "d"), Part::new(0..3, "a"), Part::new(2..7, "b"), Part::new(5..6, "c"), Part::new(9..9, "e")];
        assert_eq!(merge(parts), [Part::new(0..7, "b"), Part::new(8..12, "d")]);
    }

    #[test]
    fn parts_that_only_touch_stay_two() {
        let parts = vec![Part::new(3..5, "b"), Part::new(0..3, "a")];
        assert_eq!(merge(parts.clone()), [parts[1].clone(), parts[0].clone()]);
    }

    #[test]
    fn parts_are_replaced_where_they_stand() {
        let parts = [Part::new(0..2, "[x]"), Part::new(3..5, "")];
        assert_eq!(replace("ab é!", &parts), "[x] !");
        assert_eq!(replace("ab", &[]), "ab");
    }
}
