//! Blocks to units that fit into a chunk.

use std::ops::Range;

use super::{Header, Measure, Meter, Settings, Unit, sentence};
use crate::document::{Document, Kind};

/// Bytes of a token that are too many to be measured first: what is longer is divided at once.
const TOKEN_BYTES_MAX: usize = 32;

pub(super) struct Splitter<'s, 'm, M> {
    pub(super) document: &'s Document,
    pub(super) settings: &'s Settings,
    pub(super) meter: &'s mut Meter<'m, M>,
    /// That of the table which is read.
    pub(super) header: Option<Header>,
}

impl<M: Measure> Splitter<'_, '_, M> {
    /// The units of some blocks, in their order.
    pub(super) async fn units(&mut self, blocks: Range<usize>) -> Result<Vec<Unit>, M::Error> {
        let mut units = Vec::new();
        for block in blocks {
            let kind = self.document.blocks[block].kind;
            if !matches!(kind, Kind::TableRow) {
                self.header = None;
            }
            let start = units.len();
            self.block(block, &mut units).await?;
            if kind == Kind::TableHeader {
                self.header = self.header_of(block, &units[start..]);
            }
        }
        Ok(units)
    }

    /// The row that names columns, if there is room enough for rows behind it.
    fn header_of(&self, block: usize, units: &[Unit]) -> Option<Header> {
        let [unit] = units else { return None };
        let fits = unit.tokens <= self.settings.tokens_max / 2 && unit.chars <= self.settings.chars_max / 2;
        fits.then_some(Header { block, tokens: unit.tokens, chars: unit.chars + 1 })
    }

    async fn block(&mut self, block: usize, units: &mut Vec<Unit>) -> Result<(), M::Error> {
        let whole = self.document.blocks[block].range.clone();
        let fitting = self.fitting(block, whole.clone()).await?;
        let text = &self.document.text[whole.clone()];
        // A short paragraph is not divided; a longer one is, so that sentences of it can be shared by two chunks.
        let is_whole = |unit: &Unit| unit.tokens <= self.settings.overlap_tokens_max || !can_overlap(unit.kind);
        if let Some(unit) = fitting.filter(is_whole) {
            return self.push(unit, units);
        }
        let ends = match self.document.blocks[block].kind {
            Kind::Code => text.match_indices('\n').map(|(at, _)| at + 1).chain([text.len()]).collect(),
            Kind::TableRow | Kind::TableHeader => text.match_indices(" | ").map(|(at, _)| at + 3).chain([text.len()]).collect(),
            Kind::Heading(_) | Kind::Paragraph | Kind::ListItem => sentence::ends(text),
        };
        let mut start = whole.start;
        for end in self.joined(ends) {
            let end = whole.start + end;
            self.divide(block, start..end, units).await?;
            start = end;
        }
        Ok(())
    }

    /// Without the ends of pieces so short that two chunks can share them together: each costs a measurement.
    fn joined(&self, ends: Vec<usize>) -> Vec<usize> {
        // No text has more tokens or characters than bytes.
        let bytes_max = self.settings.overlap_chars_max.min(self.settings.overlap_tokens_max as usize);
        let mut start = 0;
        let mut kept = Vec::new();
        for (index, &end) in ends.iter().enumerate() {
            if ends.get(index + 1).is_none_or(|next| next - start > bytes_max) {
                kept.push(end);
                start = end;
            }
        }
        kept
    }

    fn push(&mut self, unit: Unit, units: &mut Vec<Unit>) -> Result<(), M::Error> {
        self.meter.take(&unit)?;
        units.push(unit);
        Ok(())
    }

    /// Halves a text, at a blank if it has one, until its parts fit.
    async fn divide(&mut self, block: usize, range: Range<usize>, units: &mut Vec<Unit>) -> Result<(), M::Error> {
        let mut open = vec![range];
        while let Some(range) = open.pop() {
            let range = self.trimmed(range);
            if range.is_empty() {
                continue;
            }
            if let Some(unit) = self.fitting(block, range.clone()).await? {
                self.push(unit, units)?;
                continue;
            }
            let middle = range.start + middle(&self.document.text[range.clone()]);
            open.push(middle..range.end);
            open.push(range.start..middle);
        }
        Ok(())
    }

    /// Without blanks at the ends.
    fn trimmed(&self, range: Range<usize>) -> Range<usize> {
        let text = &self.document.text[range.clone()];
        let start = range.start + (text.len() - text.trim_start().len());
        start..(start + text.trim().len())
    }

    /// The unit that a text makes if it is no larger than a chunk, or a single character.
    async fn fitting(&mut self, block: usize, range: Range<usize>) -> Result<Option<Unit>, M::Error> {
        let text = &self.document.text[range.clone()];
        let (mut tokens_max, mut chars_max) = (self.settings.tokens_max, self.settings.chars_max);
        let kind = self.document.blocks[block].kind;
        let header = self.header.filter(|_| kind == Kind::TableRow);
        if let Some(header) = header {
            tokens_max -= header.tokens;
            chars_max -= header.chars;
        }
        let chars = text.chars().count();
        let is_single = chars == 1;
        if !is_single && (chars > chars_max || text.len() > TOKEN_BYTES_MAX * tokens_max as usize) {
            return Ok(None);
        }
        let tokens = self.meter.tokens(text).await?;
        Ok((is_single || tokens <= tokens_max).then_some(Unit { range, tokens, chars, block, kind, header }))
    }
}

/// Whether the end of it may be the beginning of the next chunk as well.
pub(super) fn can_overlap(kind: Kind) -> bool {
    matches!(kind, Kind::Paragraph | Kind::ListItem)
}

/// A place inside of a text near its middle: behind a blank if there is one, else between two characters.
fn middle(text: &str) -> usize {
    let half = text.len() / 2;
    let blank = |(at, c): (usize, char)| c.is_whitespace().then_some(at + c.len_utf8());
    let half = (half..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(half);
    let before = text[..half].char_indices().rev().find_map(blank);
    let behind = text[half..].char_indices().find_map(blank).map(|at| half + at);
    let is_inside = |at: &usize| (1..text.len()).contains(at);
    let nearest = before.into_iter().chain(behind).filter(is_inside).min_by_key(|at| at.abs_diff(half));
    let first = text.chars().next().map_or(0, char::len_utf8);
    nearest.unwrap_or(if is_inside(&half) { half } else { first })
}
