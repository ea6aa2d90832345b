//! What a parser makes of a file: its text, and where in it the headings, paragraphs and table rows are.

use std::ops::Range;
use std::rc::Rc;

use crate::limits::{Budget, ParseError};

/// A document as text with structure.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// As the file itself says it.
    pub(crate) title: Option<String>,
    /// All of the text; the blocks are parts of it, with line breaks between them.
    pub(crate) text: String,
    /// In the order of the text.
    pub(crate) blocks: Vec<Block>,
    /// How many pages or slides it has; 0 where there are none.
    pub(crate) pages: u32,
}

/// A piece of the text that belongs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    /// Bytes of [`Document::text`].
    pub(crate) range: Range<usize>,
    pub(crate) place: Place,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A heading of a level from 1, the highest.
    Heading(u8),
    Paragraph,
    ListItem,
    /// The row that names the columns of the rows behind it.
    TableHeader,
    TableRow,
    /// Lines whose breaks and blanks mean something.
    Code,
}

/// Where in the file a block stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) page: Option<u32>,
    /// From 1.
    pub(crate) slide: Option<u32>,
    pub(crate) sheet: Option<Rc<str>>,
}

/// Writes a document block by block, within a budget.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    document: Document,
    /// That of the blocks to come.
    pub(crate) place: Place,
    pub(crate) budget: &'a mut Budget,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(budget: &'a mut Budget) -> Self {
        Self { document: Document::default(), place: Place::default(), budget }
    }

    /// Adds a block, if there is anything in it. Blanks at its ends and control characters are left out.
    ///
    /// # Errors
    /// The document is longer than the limits allow, or took too much time.
    pub(crate) fn push(&mut self, kind: Kind, text: &str) -> Result<(), ParseError> {
        self.budget.tick()?;
        let text = if kind == Kind::Code { text.trim_matches(['\n', '\r']).trim_end() } else { text.trim() };
        if text.trim().is_empty() {
            return Ok(());
        }
        let limits = &self.budget.limits;
        let length = self.document.text.len() + text.len();
        if length > limits.text_bytes_max {
            return Err(ParseError::TooLong { what: "text", max: limits.text_bytes_max as u64, unit: "bytes" });
        }
        if self.document.blocks.len() >= limits.blocks_max {
            return Err(ParseError::TooLong { what: "text", max: limits.blocks_max as u64, unit: "paragraphs and rows" });
        }
        if let Some(last) = self.document.blocks.last() {
            self.document.text.push_str(if is_close(last.kind, kind) { "\n" } else { "\n\n" });
        }
        let start = self.document.text.len();
        self.document.text.extend(text.chars().filter(|&c| c == '\n' || c == '\t' || !is_noise(c)));
        let range = start..self.document.text.len();
        if range.is_empty() {
            self.document.text.truncate(self.document.blocks.last().map_or(0, |last| last.range.end));
            return Ok(());
        }
        self.document.blocks.push(Block { kind, range, place: self.place.clone() });
        Ok(())
    }

    /// As [`push`](Self::push), with every run of blanks and line breaks as one blank.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub(crate) fn push_flowing(&mut self, kind: Kind, text: &str) -> Result<(), ParseError> {
        self.push(kind, &collapse(text))
    }

    /// Adds a table row of cells.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub(crate) fn push_row(&mut self, kind: Kind, cells: &[String]) -> Result<(), ParseError> {
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            return Ok(());
        }
        let cells: Vec<String> = cells.iter().map(|cell| collapse(cell)).collect();
        self.push(kind, cells.join(" | ").trim_end_matches([' ', '|']))
    }

    /// Names the document; the first title that is not empty counts.
    pub(crate) fn title(&mut self, title: &str) {
        let title = collapse(title);
        if self.document.title.is_none() && !title.is_empty() {
            self.document.title = Some(title.chars().take(TITLE_CHARS_MAX).collect());
        }
    }

    /// Says how many pages or slides there are.
    pub(crate) fn pages(&mut self, pages: u32) {
        self.document.pages = pages;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.document.blocks.is_empty()
    }

    /// The document. Without a title of its own it has that of its first heading of the highest level.
    pub(crate) fn finish(mut self) -> Document {
        let is_first = |block: &&Block| block.kind == Kind::Heading(1);
        if let Some(heading) = self.document.blocks.iter().find(is_first).map(|block| block.range.clone()) {
            let heading = self.document.text[heading].to_owned();
            self.title(&heading);
        }
        self.document
    }
}

/// Longest title, in characters.
const TITLE_CHARS_MAX: usize = 300;

/// Whether two blocks stand on lines right behind each other.
fn is_close(before: Kind, after: Kind) -> bool {
    let is_row = |kind| matches!(kind, Kind::TableRow | Kind::TableHeader);
    (is_row(before) && is_row(after)) || (before == Kind::ListItem && after == Kind::ListItem)
}

/// Characters that say nothing to a reader: controls, marks of byte order, soft hyphens and blanks of no width.
fn is_noise(c: char) -> bool {
    c.is_control() || matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}')
}

/// The text with every run of blanks and line breaks as one blank, and none at its ends.
pub(crate) fn collapse(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

/// Turns places in bytes of a text into places in characters.
#[derive(Debug)]
pub(crate) struct CharIndex<'a> {
    text: &'a str,
    /// Characters before each multiple of [`STEP_BYTES`], or before the first character behind it.
    before: Vec<usize>,
}

const STEP_BYTES: usize = 1024;

impl<'a> CharIndex<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut before = Vec::with_capacity(text.len() / STEP_BYTES + 1);
        for (count, (at, _)) in text.char_indices().enumerate() {
            while before.len() * STEP_BYTES <= at {
                before.push(count);
            }
        }
        Self { text, before }
    }

    /// Characters before a place, which is at the border of one.
    pub(crate) fn chars_before(&self, byte: usize) -> usize {
        let step = (byte / STEP_BYTES).min(self.before.len().saturating_sub(1));
        let start = (step * STEP_BYTES..=byte).find(|&at| self.text.is_char_boundary(at)).unwrap_or(byte);
        let known = self.before.get(step).copied().unwrap_or(0);
        known + self.text.get(start..byte).map_or(0, |text| text.chars().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn blocks_are_the_parts_of_the_text_that_hold_something() {
        let mut budget = Budget::new(Limits::default());
        let mut builder = Builder::new(&mut budget);
        builder.push(Kind::Heading(1), " A\u{0} ").expect("fits");
        builder.push(Kind::Paragraph, " \n").expect("fits");
        builder.push(Kind::Paragraph, "\u{feff}").expect("fits");
        builder.push_flowing(Kind::Paragraph, "b\n  c").expect("fits");
        builder.push_row(Kind::TableHeader, &["x".into(), "y".into()]).expect("fits");
        builder.push_row(Kind::TableRow, &["1".into(), String::new()]).expect("fits");
        let document = builder.finish();
        assert_eq!(document.text, "A\n\nb c\n\nx | y\n1");
        let texts: Vec<&str> = document.blocks.iter().map(|block| &document.text[block.range.clone()]).collect();
        assert_eq!(texts, ["A", "b c", "x | y", "1"]);
    }

    #[test]
    fn a_text_beyond_its_limit_is_refused() {
        let mut budget = Budget::new(Limits { text_bytes_max: 4, ..Limits::default() });
        let error = Builder::new(&mut budget).push(Kind::Paragraph, "12345").expect_err("too long");
        assert!(error.to_string().contains("4 bytes"), "{error}");
    }

    #[test]
    fn bytes_are_counted_as_characters() {
        let text = "aé€😀".repeat(700);
        let index = CharIndex::new(&text);
        for (count, (at, _)) in text.char_indices().enumerate() {
            assert_eq!(index.chars_before(at), count);
        }
        assert_eq!(index.chars_before(text.len()), text.chars().count());
        assert_eq!(CharIndex::new("").chars_before(0), 0);
    }
}
