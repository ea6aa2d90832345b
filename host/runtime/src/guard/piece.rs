//! The texts of one body, checked with as few questions as they allow.

use std::ops::Range;

use super::edit::Edit;
use super::refusal::Refusal;
use super::{Direction, Watch};

/// Texts are put together up to this length, in bytes; a longer one is checked by itself.
const QUESTION_BYTES: usize = 16 << 10;

/// Texts that one body may hold.
pub(super) const TEXTS_MAX: usize = 100_000;

/// What stands between texts that are checked together.
const BETWEEN: &str = "\n";

/// One text of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Whether nothing in it can be replaced: a key, a query. What a guard would redact there is blocked.
    pub(super) is_fixed: bool,
}

/// All texts of one body, in order.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub(super) all: Vec<Piece>,
    /// Texts that the component may read as one: the parts of a message.
    pub(super) runs: Vec<Vec<usize>>,
}

/// A place in a question: which text, and where it stands there.
struct Place {
    piece: usize,
    part: Range<usize>,
}

impl Pieces {
    pub(super) fn push(&mut self, text: impl Into<String>, is_fixed: bool) {
        self.all.push(Piece { text: text.into(), is_fixed });
    }

    /// Has the guards of one direction check all texts, and changes them as they say.
    ///
    /// # Errors
    /// When one is blocked or can't be checked. So is a text in which something would be redacted that can't be replaced, and one
    /// whose redacted part reaches into another text.
    pub(super) async fn check(&mut self, watch: &Watch, direction: Direction) -> Result<(), Refusal> {
        let mut next = 0;
        while next < self.all.len() {
            let mut question = String::new();
            let mut places = Vec::new();
            while let Some(piece) = self.all.get(next) {
                let is_room = question.is_empty() || question.len() + piece.text.len() < QUESTION_BYTES;
                if !is_room {
                    break;
                }
                if !piece.text.trim().is_empty() {
                    let between = if question.is_empty() { "" } else { BETWEEN };
                    question.push_str(between);
                    let start = question.len();
                    question.push_str(&piece.text);
                    places.push(Place { piece: next, part: start..question.len() });
                }
                next += 1;
            }
            self.ask(watch, direction, &question, &places).await?;
        }
        for run in std::mem::take(&mut self.runs) {
            let mut question = String::new();
            let mut places = Vec::new();
            for piece in run {
                let start = question.len();
                question.push_str(&self.all[piece].text);
                places.push(Place { piece, part: start..question.len() });
            }
            self.ask(watch, direction, &question, &places).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, watch: &Watch, direction: Direction, question: &str, places: &[Place]) -> Result<(), Refusal> {
        let edits = watch.judge(direction, question, 0, true).await?;
        for edit in edits.iter() {
            if !self.can_be_replaced(edit, places) {
                return Err(watch.blocks(direction, edit.guard));
            }
        }
        if !edits.is_empty() {
            for place in places {
                let text = &question[place.part.clone()];
                self.all[place.piece].text = edits.apply_to(text, place.part.start);
            }
        }
        Ok(())
    }

    /// Whether a change is of texts that may be changed, and of nothing that stands between them.
    fn can_be_replaced(&self, edit: &Edit, places: &[Place]) -> bool {
        let touched = places.iter().filter(|place| place.part.start < edit.part.end && edit.part.start < place.part.end);
        let mut covered = 0;
        for place in touched {
            if self.all[place.piece].is_fixed {
                return false;
            }
            covered += place.part.end.min(edit.part.end) - place.part.start.max(edit.part.start);
        }
        covered == edit.part.len()
    }
}
