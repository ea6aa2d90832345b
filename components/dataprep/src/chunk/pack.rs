//! Units to chunks: as many as fit, with the last ones once more at the beginning of the next.

use std::ops::Range;

use super::split::can_overlap;
use super::{Settings, Unit};

/// Which units each chunk has.
pub(super) fn pack(units: &[Unit], settings: &Settings) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut fresh = 0;
    while fresh < units.len() {
        let end = end_of(units, start, fresh, settings);
        chunks.push(start..end);
        fresh = end;
        start = overlap_start(units, start, end, settings);
    }
    chunks
}

/// Where a chunk ends that begins at `start` and has at least the unit `fresh`, which was in none yet.
fn end_of(units: &[Unit], start: usize, fresh: usize, settings: &Settings) -> usize {
    let mut end = fresh + 1;
    while end < units.len() && fits(units, start..end + 1, settings) {
        let begins_block = units[end].block != units[end - 1].block;
        // A paragraph that would be torn apart begins the next chunk, if this one has enough.
        if begins_block && tokens(units, start..end) * 2 > settings.tokens_max {
            let block = units[end].block;
            let block_end = units[end..].iter().position(|unit| unit.block != block).map_or(units.len(), |at| end + at);
            let would_fit_alone = tokens(units, end..block_end) <= settings.tokens_max;
            if would_fit_alone && !fits(units, start..block_end, settings) {
                break;
            }
        }
        end += 1;
    }
    end
}

/// Where the chunk behind one begins: at `end`, or as many units before it as may be shared.
fn overlap_start(units: &[Unit], start: usize, end: usize, settings: &Settings) -> usize {
    let Some(next) = units.get(end).filter(|next| can_overlap(next.kind)) else { return end };
    let mut at = end;
    while at > start + 1 && can_overlap(units[at - 1].kind) {
        let shared = at - 1..end;
        let chars = units[end - 1].range.end - units[at - 1].range.start;
        let is_small = tokens(units, shared) <= settings.overlap_tokens_max && chars <= settings.overlap_chars_max;
        if !is_small || !fits(units, at - 1..end + 1, settings) {
            break;
        }
        at -= 1;
    }
    debug_assert!(next.block >= units[at.min(end)].block, "units are in the order of their blocks");
    at
}

fn tokens(units: &[Unit], range: Range<usize>) -> u32 {
    units[range].iter().map(|unit| unit.tokens).sum()
}

/// Whether units make a chunk that is not too large, with the row before them that names their columns.
fn fits(units: &[Unit], range: Range<usize>, settings: &Settings) -> bool {
    let (first, last) = (&units[range.start], &units[range.end - 1]);
    let header = first.header.map_or((0, 0), |header| (header.tokens, header.chars));
    // Bytes between the units are blanks, so that this counts no characters too few.
    let units_chars: usize = units[range.clone()].iter().map(|unit| unit.chars).sum();
    let units_bytes: usize = units[range.clone()].iter().map(|unit| unit.range.len()).sum();
    let between = (last.range.end - first.range.start) - units_bytes;
    tokens(units, range) + header.0 <= settings.tokens_max && units_chars + between + header.1 <= settings.chars_max
}
