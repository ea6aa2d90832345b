//! A text that is checked while it is still being written.
//!
//! The window holds the last part of it. Guards see the window with what is new, and what they left goes on, but for the last
//! `hold_back_chars` characters and what they would redact there. So of anything they find in no more characters than that, nothing
//! has gone on before they saw all of it.

use std::collections::VecDeque;

use super::edit::Edits;
use super::refusal::Refusal;
use super::{Direction, Watch};

/// Characters of a text that may be held back beyond those that the policy says: a guard that redacts on and on would have it grow
/// without end.
const EXCESS_CHARS_MAX: usize = 64 << 10;

/// The part of a text that is held back, in the pieces it came in. `T` is what else belongs to a piece.
pub(super) struct Window<T> {
    pieces: VecDeque<Held<T>>,
    text: String,
    chars: usize,
    /// Characters that no guard has seen.
    new_chars: usize,
    /// Bytes of the text that have gone on, as they came.
    offset: u64,
}

struct Held<T> {
    item: T,
    bytes: usize,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Window { pieces: VecDeque::new(), text: String::new(), chars: 0, new_chars: 0, offset: 0 }
    }
}

impl<T> Window<T> {
    /// Adds the next piece of the text.
    pub(super) fn push(&mut self, item: T, text: &str) {
        let chars = text.chars().count();
        self.text.push_str(text);
        self.chars += chars;
        self.new_chars += chars;
        self.pieces.push_back(Held { item, bytes: text.len() });
    }

    /// The pieces that may go on, with what guards left of them, where it is time to ask.
    ///
    /// # Errors
    /// When a guard blocks the text, or it can't be checked.
    pub(super) async fn settle(&mut self, watch: &Watch) -> Result<Vec<(T, String)>, Refusal> {
        let hold_back = watch.guard().hold_back_chars;
        // A question for every few characters more, not for each one.
        if self.chars <= hold_back || self.new_chars < (hold_back / 4).max(1) {
            return Ok(Vec::new());
        }
        let edits = watch.judge(Direction::Output, &self.text, self.offset, false).await?;
        self.new_chars = 0;
        let gone = self.text.char_indices().nth(self.chars - hold_back).map_or(self.text.len(), |(at, _)| at);
        let released = self.release(self.border(gone, &edits), &edits);
        if self.chars > hold_back + EXCESS_CHARS_MAX { Err(Refusal::Unavailable(Direction::Output)) } else { Ok(released) }
    }

    /// All pieces: the text ends here.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    pub(super) async fn finish(&mut self, watch: &Watch) -> Result<Vec<(T, String)>, Refusal> {
        let edits = watch.judge(Direction::Output, &self.text, self.offset, true).await?;
        Ok(self.release(self.text.len(), &edits))
    }

    /// The end of the last piece before a place in the text that no change reaches over. A change that touches the end of the text
    /// may still grow.
    fn border(&self, mut gone: usize, edits: &Edits) -> usize {
        loop {
            let before = gone;
            for edit in edits.iter().rev() {
                let is_open = edit.part.end > gone || edit.part.end == self.text.len();
                if is_open && edit.part.start < gone {
                    gone = edit.part.start;
                }
            }
            let mut end = 0;
            for piece in &self.pieces {
                if end + piece.bytes > gone {
                    break;
                }
                end += piece.bytes;
            }
            gone = end;
            if gone == before {
                return gone;
            }
        }
    }

    fn release(&mut self, bytes: usize, edits: &Edits) -> Vec<(T, String)> {
        let (mut released, mut at) = (Vec::new(), 0);
        while at < bytes
            && let Some(piece) = self.pieces.pop_front()
        {
            let end = at + piece.bytes;
            released.push((piece.item, edits.apply_to(&self.text[at..end], at)));
            at = end;
        }
        self.chars -= self.text[..at].chars().count();
        self.new_chars = self.new_chars.min(self.chars);
        self.text.drain(..at);
        self.offset += at as u64;
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::guard::exports::tessera::guard::guard::Span;

    fn window(pieces: &[&str]) -> Window<usize> {
        let mut window = Window::default();
        pieces.iter().enumerate().for_each(|(item, text)| window.push(item, text));
        window
    }

    fn edits(text: &str, spans: &[(u32, u32)]) -> Edits {
        let span = |&(start, end): &(u32, u32)| Span { start, end, replacement: "*".into() };
        Edits::new(text, spans.iter().map(span).collect(), 0).expect("good spans")
    }

    fn released(pieces: &[&str], gone: usize, spans: &[(u32, u32)]) -> (Vec<(usize, String)>, String) {
        let mut window = window(pieces);
        let edits = edits(&pieces.concat(), spans);
        let released = window.release(window.border(gone, &edits), &edits);
        assert_eq!(window.chars, window.text.chars().count());
        assert_eq!(usize::try_from(window.offset).expect("short") + window.text.len(), pieces.concat().len());
        (released, window.text)
    }

    #[test]
    fn only_whole_pieces_before_the_border_go_on() {
        assert_eq!(released(&["ab", "cd", "ef"], 3, &[]), (vec![(0, "ab".into())], "cdef".into()));
        assert_eq!(released(&["ab", "cd", "ef"], 4, &[]), (vec![(0, "ab".into()), (1, "cd".into())], "ef".into()));
        assert_eq!(released(&["ab"], 1, &[]), (vec![], "ab".into()));
    }

    #[test]
    fn nothing_of_a_change_goes_on_before_all_of_it_does() {
        assert_eq!(released(&["ab", "cd", "ef"], 4, &[(3, 5)]), (vec![(0, "ab".into())], "cdef".into()), "it reaches beyond");
        assert_eq!(released(&["ab", "cd", "ef"], 4, &[(1, 5)]), (vec![], "abcdef".into()), "and before");
        assert_eq!(
            released(&["ab", "cd", "ef"], 6, &[(4, 6)]),
            (vec![(0, "ab".into()), (1, "cd".into())], "ef".into()),
            "it may grow"
        );
        let both = (vec![(0, "a*".into()), (1, String::new()), (2, "f".into())], String::new());
        assert_eq!(released(&["ab", "cd", "ef"], 6, &[(1, 5)]), both);
    }
}
