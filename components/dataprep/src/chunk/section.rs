//! Which blocks stand under the same headings.

use std::ops::Range;
use std::rc::Rc;

use super::Settings;
use crate::document::{Document, Kind};
use crate::limits::ParseError;

/// Longest heading that is kept with a chunk, in characters.
const HEADING_CHARS_MAX: usize = 300;

/// Blocks under one heading.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) blocks: Range<usize>,
    /// Headings above, and its own.
    pub(super) heading: Rc<[Rc<str>]>,
    /// How many of its first blocks are headings that are all in `heading`.
    pub(super) said: usize,
}

/// Sections in their order: each begins with a heading, a sheet or a slide. A heading right behind another one does not begin a
/// section, so that no chunk is only a heading.
///
/// # Errors
/// There are more than there may be chunks: each is one at least.
pub(super) fn sections(document: &Document, settings: &Settings) -> Result<Vec<Section>, ParseError> {
    let mut sections: Vec<Section> = Vec::new();
    let mut open: Vec<(u8, Rc<str>)> = Vec::new();
    let mut has_text = true;
    let mut place = None;
    for (index, block) in document.blocks.iter().enumerate() {
        let here = (&block.place.sheet, block.place.slide);
        let is_elsewhere = place.replace(here) != Some(here);
        let is_heading = matches!(block.kind, Kind::Heading(_));
        if is_elsewhere {
            open.clear();
        }
        if let Kind::Heading(level) = block.kind {
            open.retain(|&(above, _)| above < level);
            let text: String = document.text[block.range.clone()].chars().take(HEADING_CHARS_MAX).collect();
            open.push((level, text.into()));
        }
        let heading = || open.iter().map(|(_, text)| Rc::clone(text)).collect();
        let is_full = sections.len() >= settings.chunks_max;
        match sections.last_mut() {
            Some(last) if !is_elsewhere && (!is_heading || !has_text) => {
                last.blocks.end = index + 1;
                if is_heading {
                    last.heading = heading();
                }
            }
            _ if is_full => return Err(settings.too_many()),
            _ => sections.push(Section { blocks: index..index + 1, heading: heading(), said: 0 }),
        }
        has_text = !is_heading;
    }
    for section in &mut sections {
        let is_said = |index: &usize| {
            let block = &document.blocks[*index];
            let text = &document.text[block.range.clone()];
            matches!(block.kind, Kind::Heading(_)) && section.heading.iter().any(|heading| **heading == *text)
        };
        section.said = section.blocks.clone().take_while(is_said).count();
    }
    Ok(sections)
}
