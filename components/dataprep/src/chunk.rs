//! Documents to chunks: along headings, paragraphs, list items, rows and sentences, measured in the embedder's tokens.

mod pack;
mod section;
mod sentence;
mod split;

use std::rc::Rc;

use crate::document::{CharIndex, Document, Kind, Place};
use crate::limits::{Budget, ParseError};
use pack::pack;
use section::Section;
use split::Splitter;

/// How large chunks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Tokens of a chunk: of its text and of the line before it.
    pub(crate) tokens_max: u32,
    /// Tokens at a chunk's beginning that the one before ends with, as far as whole sentences fit.
    pub(crate) overlap_tokens_max: u32,
    /// Characters of a chunk, and of what it shares with the one before.
    pub(crate) chars_max: usize,
    pub(crate) overlap_chars_max: usize,
    /// Chunks of a document.
    pub(crate) chunks_max: usize,
}

/// A piece of a document that is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// The line before the text: the document's title and the headings above, with its line break; empty where there is none.
    pub(crate) path: Rc<str>,
    /// The document's text from `start` to `end`; before it, where that begins inside of a table, the row that names the columns.
    pub(crate) text: String,
    /// Characters of the document's text.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Where it begins.
    pub(crate) place: Place,
    /// The headings it stands under, from the highest level to the lowest.
    pub(crate) heading: Rc<[Rc<str>]>,
}

/// Counts a text's tokens.
pub(crate) trait Measure {
    type Error: From<ParseError>;

    async fn tokens(&mut self, text: &str) -> Result<u32, Self::Error>;
}

/// A part of the text that is not divided any more.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unit {
    /// Bytes of the text.
    range: std::ops::Range<usize>,
    tokens: u32,
    chars: usize,
    /// The block it is of.
    block: usize,
    kind: Kind,
    /// Tokens and characters of the row that names its columns, and the block that is.
    header: Option<Header>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    block: usize,
    tokens: u32,
    chars: usize,
}

/// What dividing a document may still measure.
struct Meter<'m, M> {
    measure: &'m mut M,
    budget: &'m mut Budget,
    settings: &'m Settings,
    /// What all chunks that there may be could have, less what is in units.
    tokens_left: u64,
    chars_left: u64,
}

impl<M: Measure> Meter<'_, M> {
    async fn tokens(&mut self, text: &str) -> Result<u32, M::Error> {
        self.budget.look()?;
        self.measure.tokens(text).await
    }

    /// Takes note of a unit that will be in a chunk.
    fn take(&mut self, unit: &Unit) -> Result<(), ParseError> {
        let tokens = u64::from(unit.tokens.min(self.settings.tokens_max));
        let chars = unit.chars.min(self.settings.chars_max) as u64;
        let left = self.tokens_left.checked_sub(tokens).zip(self.chars_left.checked_sub(chars));
        (self.tokens_left, self.chars_left) = left.ok_or_else(|| self.settings.too_many())?;
        Ok(())
    }
}

impl Settings {
    fn too_many(&self) -> ParseError {
        ParseError::TooLong { what: "text", max: self.chunks_max as u64, unit: "chunks" }
    }
}

/// Divides a document. All of its text is in some chunk, but for headings that are above one; overlaps never cross a heading, a sheet or a slide.
///
/// # Errors
/// There are more chunks than the limit, or it takes too long; or what `measure` says.
pub(crate) async fn chunk<M: Measure>(
    document: &Document,
    settings: &Settings,
    measure: &mut M,
    budget: &mut Budget,
) -> Result<Vec<Chunk>, M::Error> {
    let index = CharIndex::new(&document.text);
    let chunks_max = settings.chunks_max as u64;
    let tokens_left = chunks_max.saturating_mul(settings.tokens_max.into());
    let chars_left = chunks_max.saturating_mul(settings.chars_max as u64);
    let mut meter = Meter { measure, budget, settings, tokens_left, chars_left };
    let mut chunks = Vec::new();
    for section in section::sections(document, settings)? {
        let path = Path::of(document, &section, &mut meter).await?;
        // What is before the text is a part of the chunk.
        let room = Settings {
            tokens_max: settings.tokens_max - path.tokens,
            chars_max: settings.chars_max - path.text.chars().count(),
            ..settings.clone()
        };
        let mut splitter = Splitter { document, settings: &room, meter: &mut meter, header: None };
        let units = splitter.units(section.blocks.start + path.said..section.blocks.end).await?;
        for range in pack(&units, &room) {
            if chunks.len() >= settings.chunks_max {
                return Err(settings.too_many().into());
            }
            let Some((first, last)) = units.get(range.start).zip(units.get(range.end - 1)) else { continue };
            let bytes = first.range.start..last.range.end;
            let header = first.header.map(|header| &document.text[document.blocks[header.block].range.clone()]);
            let own = &document.text[bytes.clone()];
            chunks.push(Chunk {
                path: Rc::clone(&path.text),
                text: header.map_or_else(|| own.to_owned(), |header| format!("{header}\n{own}")),
                start: index.chars_before(bytes.start),
                end: index.chars_before(bytes.end),
                place: document.blocks[first.block].place.clone(),
                heading: Rc::clone(&section.heading),
            });
        }
    }
    Ok(chunks)
}

/// Longest line of headings, in characters. It is never more than half of a chunk.
const PATH_CHARS_MAX: usize = 200;

/// The line before the chunks of a section.
struct Path {
    /// With its line break; empty where there is none.
    text: Rc<str>,
    tokens: u32,
    /// The section's first blocks, which it says already.
    said: usize,
}

impl Path {
    /// The document's title and the headings above, as many of the nearest as fit: they tell most.
    async fn of<M: Measure>(document: &Document, section: &Section, meter: &mut Meter<'_, M>) -> Result<Self, M::Error> {
        let text = |block: usize| &document.text[document.blocks[block].range.clone()];
        let said = section.blocks.start..section.blocks.start + section.said;
        // A chunk of nothing but headings says them itself.
        let is_all = said.len() == section.blocks.len();
        let is_elsewhere = |name: &&str| !is_all || !said.clone().any(|block| text(block) == *name);
        let title = document.title.as_deref().into_iter();
        let mut names: Vec<&str> = title.chain(section.heading.iter().map(|name| &**name)).filter(is_elsewhere).collect();
        names.dedup();
        let chars_max = PATH_CHARS_MAX.min(meter.settings.chars_max / 2);
        for first in 0..names.len() {
            let kept = &names[first..];
            let line = format!("{}\n", kept.join(" > "));
            if line.chars().count() > chars_max {
                continue;
            }
            let tokens = meter.tokens(&line).await?;
            if tokens <= meter.settings.tokens_max / 2 {
                let is_said = !is_all && said.clone().all(|block| kept.contains(&text(block)));
                return Ok(Self { text: line.into(), tokens, said: if is_said { said.len() } else { 0 } });
            }
        }
        Ok(Self { text: "".into(), tokens: 0, said: 0 })
    }
}

impl Chunk {
    /// What is embedded, stored and read: one line of the document's title and the headings above, which say what the text is
    /// about, and the text.
    pub(crate) fn under_headings(&self) -> String {
        format!("{}{}", self.path, self.text)
    }
}

#[cfg(test)]
mod tests;
