//! Documents to chunks: along headings, paragraphs, list items, rows and sentences, measured in the embedder's tokens.

mod pack;
mod section;
mod sentence;
mod split;

use crate::document::{CharIndex, Document, Kind, Place};
use crate::limits::ParseError;
use pack::pack;
use split::Splitter;

/// How large chunks are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Tokens of a chunk's text.
    pub(crate) tokens_max: u32,
    /// Tokens at a chunk's beginning that the one before ends with, as far as whole sentences fit.
    pub(crate) overlap_tokens_max: u32,
    /// Characters of a chunk's text, and of what it shares with the one before.
    pub(crate) chars_max: usize,
    pub(crate) overlap_chars_max: usize,
    /// Chunks of a document.
    pub(crate) chunks_max: usize,
}

/// A piece of a document that is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// The document's text from `start` to `end`; before it, where that begins inside of a table, the row that names the columns.
    pub(crate) text: String,
    /// Characters of the document's text.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Where it begins.
    pub(crate) place: Place,
    /// The headings it stands under, from the highest level to the lowest.
    pub(crate) heading: Vec<String>,
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

/// Divides a document. All of its text is in some chunk, but for headings that are above one; overlaps never cross a heading, a sheet or a slide.
///
/// # Errors
/// There are more chunks than the limit; or what `measure` says.
pub(crate) async fn chunk<M: Measure>(
    document: &Document,
    settings: &Settings,
    measure: &mut M,
) -> Result<Vec<Chunk>, M::Error> {
    let index = CharIndex::new(&document.text);
    let mut chunks = Vec::new();
    for section in section::sections(document) {
        let mut splitter = Splitter { document, settings, measure: &mut *measure, header: None };
        let units = splitter.units(section.blocks.clone()).await?;
        for range in pack(&units, settings) {
            if chunks.len() >= settings.chunks_max {
                return Err(ParseError::TooLong { what: "text", max: settings.chunks_max as u64, unit: "chunks" }.into());
            }
            let Some((first, last)) = units.get(range.start).zip(units.get(range.end - 1)) else { continue };
            let bytes = first.range.start..last.range.end;
            let header = first.header.map(|header| &document.text[document.blocks[header.block].range.clone()]);
            let own = &document.text[bytes.clone()];
            chunks.push(Chunk {
                text: header.map_or_else(|| own.to_owned(), |header| format!("{header}\n{own}")),
                start: index.chars_before(bytes.start),
                end: index.chars_before(bytes.end),
                place: document.blocks[first.block].place.clone(),
                heading: section.heading.clone(),
            });
        }
    }
    Ok(chunks)
}

/// Longest line of headings, in characters.
const PATH_CHARS_MAX: usize = 200;

impl Chunk {
    /// What is embedded, stored and read: one line of the document's title and the headings above, which say what the text is
    /// about, and the text.
    pub(crate) fn under_headings(&self, title: Option<&str>) -> String {
        let is_said = |heading: &&str| self.text != *heading;
        let mut names: Vec<&str> = title.into_iter().chain(self.heading.iter().map(String::as_str)).filter(is_said).collect();
        names.dedup();
        // The nearest headings tell most.
        let mut chars = 0;
        let fits = |name: &&&str| {
            chars += name.chars().count() + 3;
            chars <= PATH_CHARS_MAX
        };
        let kept = names.iter().rev().take_while(fits).count();
        let path = names[names.len() - kept..].join(" > ");
        if path.is_empty() { self.text.clone() } else { format!("{path}\n{}", self.text) }
    }
}

#[cfg(test)]
mod tests;
