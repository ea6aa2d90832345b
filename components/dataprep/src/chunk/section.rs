//! Which blocks stand under the same headings.

use std::ops::Range;

use crate::document::{Document, Kind};

/// Longest heading that is kept with a chunk, in characters.
const HEADING_CHARS_MAX: usize = 300;

/// Blocks under one heading.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// Without the headings it begins with, where they are all in `heading` and there is something else.
    pub(super) blocks: Range<usize>,
    /// Headings above, and its own.
    pub(super) heading: Vec<String>,
}

/// Sections in their order: each begins with a heading, a sheet or a slide. A heading right behind another one does not begin a
/// section, so that no chunk is only a heading.
pub(super) fn sections(document: &Document) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut open: Vec<(u8, String)> = Vec::new();
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
            open.push((level, document.text[block.range.clone()].chars().take(HEADING_CHARS_MAX).collect()));
        }
        let heading = || open.iter().map(|(_, text)| text.clone()).collect();
        match sections.last_mut() {
            Some(last) if !is_elsewhere && (!is_heading || !has_text) => {
                last.blocks.end = index + 1;
                if is_heading {
                    last.heading = heading();
                }
            }
            _ => sections.push(Section { blocks: index..index + 1, heading: heading() }),
        }
        has_text = !is_heading;
    }
    for section in &mut sections {
        let is_said = |index: &usize| {
            let block = &document.blocks[*index];
            let text = &document.text[block.range.clone()];
            matches!(block.kind, Kind::Heading(_)) && section.heading.iter().any(|heading| heading == text)
        };
        let said = section.blocks.clone().take_while(is_said).count();
        if said < section.blocks.len() {
            section.blocks.start += said;
        }
    }
    sections
}
