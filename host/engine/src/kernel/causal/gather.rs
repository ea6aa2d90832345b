//! What a few rows of queries gather from blocks of positions: scores, softmax and weighted values, and how parts of it
//! are joined.

use std::ops::Range;

use super::{Causal, Share};
use crate::kernel::cache::BLOCK;
use crate::kernel::gemm::tile::{self, LANES, Lane, PANELS_MAX, Panels, ROWS_MAX, Rows, Sums};
use crate::kernel::isa::{Isa, Kernel};
use crate::kernel::math::{exp, max, sum};

/// Panels of positions in a block.
const BLOCK_PANELS: usize = BLOCK / LANES;

/// What sums without bias start from.
const NO_BIAS: &[Lane; PANELS_MAX] = &[Lane::ZERO; PANELS_MAX];

/// What rows have gathered from the positions so far.
pub(super) struct Gathered {
    /// `[rows]`
    pub(super) masses: Vec<Mass>,
    /// `[rows, panels of head_dim]` lanes: values, weighted by e^((score - most) · scale).
    pub(super) sums: Vec<Lane>,
}

/// The softmax of a row so far.
#[derive(Clone, Copy)]
pub(super) struct Mass {
    /// The largest score.
    most: f32,
    /// Sum of e^((score - most) · scale).
    pub(super) sum: f32,
}

impl Mass {
    /// Of no positions.
    pub(super) const NONE: Mass = Mass { most: f32::NEG_INFINITY, sum: 0.0 };

    /// Takes in the mass of further positions; returns what sums weighted under either `most` must be multiplied by.
    #[inline(always)]
    fn join(&mut self, more: Mass, scale: f32) -> [f32; 2] {
        if more.sum == 0.0 {
            return [1.0, 0.0];
        }
        let most = if more.most > self.most { more.most } else { self.most };
        let factors = [exp((self.most - most) * scale), exp((more.most - most) * scale)];
        *self = Mass { most, sum: more.sum.mul_add(factors[1], self.sum * factors[0]) };
        factors
    }
}

/// Brings two weighted sums under one `most`.
#[inline(always)]
fn join_sums(sums: &mut [Lane], more: &[Lane], factors: [f32; 2]) {
    for (sums, more) in sums.iter_mut().zip(more) {
        for (sum, more) in sums.0.iter_mut().zip(&more.0) {
            *sum = more.mul_add(factors[1], *sum * factors[0]);
        }
    }
}

/// Joins what the same rows gathered from further positions.
pub(super) struct Join<'a> {
    /// Of the positions before.
    pub(super) whole: &'a mut Gathered,
    /// Of those that follow.
    pub(super) part: &'a Gathered,
    /// As in `Causal`.
    pub(super) scale: f32,
}

impl Kernel for Join<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Join { whole, part, scale } = self;
        let panels = whole.sums.len() / whole.masses.len();
        let rows = whole.sums.chunks_exact_mut(panels).zip(part.sums.chunks_exact(panels));
        for ((mass, more), (sums, more_sums)) in whole.masses.iter_mut().zip(&part.masses).zip(rows) {
            join_sums(sums, more_sums, mass.join(*more, scale));
        }
    }
}

/// One job: the rows of a share over some blocks.
pub(super) struct Gather<'a> {
    /// That it runs on.
    pub(super) isa: Isa,
    /// Whose rows they are.
    pub(super) share: &'a Share<'a>,
    /// `[rows, head_dim]`
    pub(super) queries: Vec<f32>,
    /// Which blocks of the cache.
    pub(super) blocks: Range<usize>,
    /// To add to.
    pub(super) gathered: &'a mut Gathered,
}

/// What a tile needs for one block.
struct Scratch {
    /// `[rows, panels of positions]` lanes
    scores: [Lane; ROWS_MAX * BLOCK_PANELS],
    /// `[rows, panels of head_dim]` lanes
    values: Vec<Lane>,
}

impl Kernel for Gather<'_> {
    type Output = ();

    /// For each block all tiles of rows, while its keys and values are in the cache.
    #[inline(always)]
    fn run(mut self) {
        let count = self.share.rows.len();
        let step = count.div_ceil(count.div_ceil(tile::rows_max(self.isa)));
        let mut scratch = Scratch {
            scores: [Lane::ZERO; ROWS_MAX * BLOCK_PANELS],
            values: vec![Lane::ZERO; step * self.share.batch.head_dim.div_ceil(LANES)],
        };
        for block in self.blocks.clone() {
            for start in (0..count).step_by(step) {
                self.tile(start..count.min(start + step), block, &mut scratch);
            }
        }
    }
}

impl Gather<'_> {
    /// Scores, softmax and weighted values of a few rows, counted from the share's first, over one block.
    #[inline(always)]
    fn tile(&mut self, rows: Range<usize>, block: usize, scratch: &mut Scratch) {
        let Share { batch: Causal { head_dim, scale, .. }, run, kv_head, .. } = *self.share;
        let seen = self.seen(rows.start, block).start..self.seen(rows.end - 1, block).end;
        if seen.is_empty() {
            return;
        }
        let panels = seen.end.div_ceil(LANES);
        let scores = &mut scratch.scores[..rows.len() * panels];
        let queries = Rows { values: &self.queries[rows.start * head_dim..], stride: head_dim, count: rows.len() };
        let keys = &run.cache.keys(block, kv_head)[..panels * head_dim];
        product(self.isa, queries, keys, head_dim, scores);
        let mut factors = [[0.0; 2]; ROWS_MAX];
        for ((row, scores), factors) in rows.clone().zip(scores.chunks_exact_mut(panels)).zip(&mut factors) {
            self.bias(row, block, scores);
            let mass = softmax(scores, self.seen(row, block), scale);
            *factors = self.gathered.masses[row].join(mass, scale);
        }
        let weights = Rows { values: Lane::flat(scores), stride: panels * LANES, count: rows.len() };
        let value_panels = head_dim.div_ceil(LANES);
        let values = &mut scratch.values[..rows.len() * value_panels];
        product(self.isa, weights, run.cache.values(block, kv_head), seen.end, values);
        let sums = self.gathered.sums[rows.start * value_panels..].chunks_exact_mut(value_panels);
        for ((sums, values), factors) in sums.zip(values.chunks_exact(value_panels)).zip(factors) {
            join_sums(sums, values, factors);
        }
    }

    /// Positions of a block that a row sees, counted from the block's first.
    #[inline(always)]
    fn seen(&self, row: usize, block: usize) -> Range<usize> {
        let Range { start, end } = self.share.seen(self.share.rows.start + row);
        let within = |position: usize| position.saturating_sub(block * BLOCK).min(BLOCK);
        within(start)..within(end)
    }

    /// Adds the slope for each position, counted from the query's own, so that the near ones keep all their digits.
    #[inline(always)]
    fn bias(&self, row: usize, block: usize, scores: &mut [Lane]) {
        let Some(slopes) = self.share.batch.slopes else { return };
        let (token, head) = self.share.query(self.share.rows.start + row);
        let query = (self.share.run.start + token) as f32;
        for (panel, lane) in scores.iter_mut().enumerate() {
            let first = (block * BLOCK + panel * LANES) as f32 - query;
            for (i, score) in lane.0.iter_mut().enumerate() {
                *score = slopes[head].mul_add(first + i as f32, *score);
            }
        }
    }
}

/// sums = rows · panels, for any number of panels.
///
/// # Shapes
/// `lanes`: `[panels, depth or more]`; `sums`: `[rows, panels]` lanes.
#[inline(always)]
fn product(isa: Isa, rows: Rows<'_>, lanes: &[Lane], depth: usize, sums: &mut [Lane]) {
    let panels = sums.len() / rows.count;
    let length = lanes.len() / panels;
    let mut sums = Sums::of(Lane::flat_mut(sums), panels * LANES);
    let mut panel = 0;
    while panel < panels {
        let width = tile::panels_within(isa, rows.count, panels - panel);
        let operand = Panels { lanes: &lanes[panel * length..(panel + width) * length], start: &NO_BIAS[..width] };
        tile::multiply(isa, rows, operand, depth, sums.beyond(panel * LANES));
        panel += width;
    }
}

/// Replaces each score that is seen by e^((score - most) · scale) and the others by 0.
#[inline(always)]
fn softmax(scores: &mut [Lane], seen: Range<usize>, scale: f32) -> Mass {
    let scores = Lane::flat_mut(scores);
    let hide = |scores: &mut [f32], with: f32| {
        scores[..seen.start].fill(with);
        scores[seen.end..].fill(with);
    };
    hide(scores, f32::NEG_INFINITY);
    let most = max(scores);
    for score in scores.iter_mut() {
        *score = exp((*score - most) * scale);
    }
    hide(scores, 0.0);
    Mass { most, sum: sum(scores, |x| x) }
}
