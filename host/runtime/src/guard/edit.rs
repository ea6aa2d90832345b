//! What guards change in a text: parts of it, and what stands in their places.

use std::ops::Range;

use crate::bindings::guard::exports::tessera::guard::guard::Span;

/// Most parts that one verdict may change.
const SPANS_MAX: usize = 10_000;

/// What replacements may add to a text, in bytes.
const GROWTH_BYTES_MAX: usize = 64 << 10;

/// One changed part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// Bytes of the text, not empty, on borders of characters.
    pub(super) part: Range<usize>,
    /// What stands in its place.
    pub(super) replacement: String,
    /// Which of the guards wants it, by its place in their list.
    pub(super) guard: usize,
}

/// Changes of one text, in order, none over another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Edits(Vec<Edit>);

/// A guard's spans are none of this text, or too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadSpans;

impl Edits {
    /// Takes the spans of a verdict on a text.
    ///
    /// # Errors
    /// When one is empty, beyond the text, inside a character or over another, or they make the text too long.
    pub(super) fn new(text: &str, spans: Vec<Span>, guard: usize) -> Result<Edits, BadSpans> {
        let mut edits = Vec::with_capacity(spans.len().min(SPANS_MAX));
        if spans.len() > SPANS_MAX {
            return Err(BadSpans);
        }
        let mut growth = 0_usize;
        for Span { start, end, replacement } in spans {
            let part = usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
            if part.is_empty() || text.get(part.clone()).is_none() {
                return Err(BadSpans);
            }
            growth = growth.saturating_add(replacement.len());
            edits.push(Edit { part, replacement, guard });
        }
        edits.sort_by_key(|edit| edit.part.start);
        let is_apart = edits.windows(2).all(|pair| pair[0].part.end <= pair[1].part.start);
        if is_apart && growth <= GROWTH_BYTES_MAX + text.len() { Ok(Edits(edits)) } else { Err(BadSpans) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Edit> {
        self.0.iter()
    }

    /// The text with the changes.
    pub(super) fn apply(&self, text: &str) -> String {
        self.apply_to(text, 0)
    }

    /// A part of the text with its changes; it begins at this byte of the whole. A change that reaches over its borders is
    /// written down where it begins, and takes away from the parts after that.
    pub(super) fn apply_to(&self, text: &str, start: usize) -> String {
        let (mut changed, mut at, end) = (String::with_capacity(text.len()), start, start + text.len());
        for edit in self.0.iter().filter(|edit| edit.part.start < end && edit.part.end > start) {
            let begin = edit.part.start.max(start);
            changed.push_str(&text[at - start..begin - start]);
            if edit.part.start >= start {
                changed.push_str(&edit.replacement);
            }
            at = edit.part.end.min(end);
        }
        changed.push_str(&text[at - start..]);
        changed
    }

    /// These changes, and then others of the text that they leave: as changes of the first text. One that touches a replacement
    /// takes it away.
    pub(super) fn then(self, later: Edits) -> Edits {
        if self.0.is_empty() {
            return later;
        }
        let mut all: Vec<Edit> = later.0.into_iter().map(|edit| Edit { part: self.before(&edit.part), ..edit }).collect();
        let is_kept =
            |edit: &Edit| !all.iter().any(|other| other.part.start < edit.part.end && edit.part.start < other.part.end);
        let kept: Vec<Edit> = self.0.into_iter().filter(is_kept).collect();
        all.extend(kept);
        all.sort_by_key(|edit| edit.part.start);
        let mut merged: Vec<Edit> = Vec::with_capacity(all.len());
        for edit in all {
            match merged.last_mut().filter(|last| edit.part.start < last.part.end) {
                Some(last) => {
                    last.part.end = last.part.end.max(edit.part.end);
                    last.replacement.push_str(&edit.replacement);
                }
                None => merged.push(edit),
            }
        }
        Edits(merged)
    }

    /// Where a part of the changed text was before: with the whole of every changed part that it touches.
    fn before(&self, part: &Range<usize>) -> Range<usize> {
        let (mut start, mut end) = (None, None);
        let (mut old, mut new) = (0, 0); // the same place in both texts
        for edit in &self.0 {
            let new_start = new + (edit.part.start - old);
            let new_end = new_start + edit.replacement.len();
            if start.is_none() && part.start < new_end {
                start =
                    Some(if part.start > new_start { edit.part.start } else { old + (part.start - new).min(new_start - new) });
            }
            if end.is_none() && part.end <= new_end {
                end = Some(if part.end > new_start { edit.part.end } else { old + (part.end - new) });
            }
            (old, new) = (edit.part.end, new_end);
        }
        // What begins or ends after a change is as far from it as before.
        start.unwrap_or(old + part.start.saturating_sub(new))..end.unwrap_or(old + part.end.saturating_sub(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(text: &str, spans: &[(u32, u32, &str)]) -> Result<Edits, BadSpans> {
        let span = |&(start, end, replacement): &(u32, u32, &str)| Span { start, end, replacement: replacement.into() };
        Edits::new(text, spans.iter().map(span).collect(), 0)
    }

    fn good(text: &str, spans: &[(u32, u32, &str)]) -> Edits {
        edits(text, spans).expect("good spans")
    }

    #[test]
    fn parts_are_replaced_in_any_order_they_come() {
        assert_eq!(good("abcdef", &[(4, 6, "Y"), (0, 2, "LMN")]).apply("abcdef"), "LMNcdY");
        assert_eq!(good("abcdef", &[(0, 6, "")]).apply("abcdef"), "");
        assert_eq!(good("abc", &[]).apply("abc"), "abc");
    }

    #[test]
    fn spans_that_are_none_of_the_text_are_refused() {
        for spans in [
            &[(0, 7, "")][..],
            &[(3, 2, "")],
            &[(2, 2, "")],
            &[(u32::MAX, u32::MAX, "")],
            &[(0, 3, ""), (2, 4, "")],
            &[(0, 3, ""), (0, 3, "")],
        ] {
            assert_eq!(edits("abcdef", spans), Err(BadSpans), "{spans:?}");
        }
        assert_eq!(edits("é", &[(0, 1, "")]), Err(BadSpans), "inside a character");
        assert_eq!(edits("a", &[(0, 1, &"x".repeat(70_000))]), Err(BadSpans), "too long");
        let many = vec![Span { start: 0, end: 1, replacement: String::new() }; SPANS_MAX + 1];
        assert_eq!(Edits::new("a", many, 0), Err(BadSpans));
    }

    #[test]
    fn a_change_over_several_parts_is_written_once() {
        let edits = good("abcdef", &[(1, 5, "X")]);
        assert_eq!(
            (edits.apply_to("ab", 0), edits.apply_to("cd", 2), edits.apply_to("ef", 4)),
            ("aX".into(), "".into(), "f".into())
        );
    }

    #[test]
    fn changes_after_changes_are_changes_of_the_first_text() {
        for (text, first, second, expected) in [
            ("abcdef", &[(1, 3, "XYZ")][..], &[(5, 6, "-")][..], "aXYZd-f"),
            ("abcdef", &[(1, 3, "XYZ")], &[(0, 1, "-")], "-XYZdef"),
            ("abcdef", &[(1, 3, "XYZ")], &[(2, 3, "-")], "a-def"),
            ("abcdef", &[(1, 3, "XYZ")], &[(0, 2, "-")], "-def"),
            ("abcdef", &[(1, 3, "XYZ")], &[(3, 5, "-")], "a-ef"),
            ("abcdef", &[(1, 3, "")], &[(0, 2, "-")], "-ef"),
            ("abcdef", &[(1, 3, "")], &[(1, 2, "-")], "a-ef"),
            ("abcdef", &[(0, 1, "12"), (5, 6, "34")], &[(1, 7, "-")], "-"),
            ("abcdef", &[(1, 3, "XYZ")], &[(1, 2, "1"), (3, 4, "2")], "a12def"),
        ] {
            let first_edits = good(text, first);
            let between = first_edits.apply(text);
            let both = first_edits.clone().then(good(&between, second));
            assert_eq!(both.apply(text), expected, "{first:?} {second:?}");
        }
        let text = "abc";
        assert_eq!(Edits::default().then(good(text, &[(0, 1, "x")])).apply(text), "xbc");
        assert_eq!(good(text, &[(0, 1, "x")]).then(Edits::default()).apply(text), "xbc");
    }
}
