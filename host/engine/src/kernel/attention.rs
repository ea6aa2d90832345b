//! Bidirectional self-attention over a batch packed without padding.
//!
//! Exact softmax attention (Vaswani et al., arXiv:1706.03762), a few queries at a time: only their scores are kept,
//! and both products use the micro-kernel of the linear layer.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ops::Range;

use super::gemm::pack_panel;
use super::gemm::tile::{self, LANES, Lane, PANELS_MAX, Panels, ROWS_MAX, Rows, Sums};
use super::isa::{Isa, Kernel};
use super::math::{exp, max, sum};
use super::parallel::{SharedOutput, for_each_job, threads_for};

/// Queries of a job: enough that packing keys and values anew for each job costs little.
const QUERIES_PER_JOB: usize = 512;

/// Multiply-adds that make one more thread worth its wake-up, about 20 µs of work.
const WORK_PER_THREAD: usize = 512 * 1024;

/// A packed batch of queries, keys and values.
///
/// # Shapes
/// `qkv`: `[tokens, 3, heads, head_dim]`, as one linear layer gives it; `runs`: ranges of tokens, ascending and apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads<'a> {
    /// Queries, keys and values of each token.
    pub(crate) qkv: &'a [f32],
    /// Tokens that attend to each other and to no others, one range for each text.
    pub(crate) runs: &'a [Range<usize>],
    /// Number of heads.
    pub(crate) heads: usize,
    /// Numbers of one head of one token; a multiple of 16 wastes nothing.
    pub(crate) head_dim: usize,
}

/// out = softmax(q·kᵀ / √head_dim)·v for each run and head, on the current rayon pool when that pays.
///
/// Tokens in no run keep what `out` had. A thread keeps scratch for the longest run it saw: about
/// `(2·head_dim + 8) · length · 4` bytes.
///
/// # Shapes
/// `out`: `[tokens, heads, head_dim]`.
///
/// # Panics
/// If a length does not fit these shapes or [`Heads`], or the runs overlap or descend.
pub(crate) fn attention(batch: Heads<'_>, out: &mut [f32]) {
    let pairs: usize = batch.runs.iter().map(|run| run.len().saturating_mul(run.len())).sum();
    let threads = threads_for(pairs.saturating_mul(2 * batch.heads * batch.head_dim), WORK_PER_THREAD);
    attention_on(Isa::detected(), threads, batch, out);
}

fn attention_on(isa: Isa, threads: usize, batch: Heads<'_>, out: &mut [f32]) {
    let hidden = batch.heads * batch.head_dim;
    assert!(hidden > 0 && out.len().is_multiple_of(hidden), "out is [tokens, heads, head_dim]");
    assert_eq!(batch.qkv.len(), 3 * out.len(), "qkv is [tokens, 3, heads, head_dim]");
    let mut end = 0;
    for run in batch.runs {
        assert!(end <= run.start && run.start <= run.end, "runs ascend and do not overlap");
        end = run.end;
    }
    assert!(end <= out.len() / hidden, "runs are ranges of tokens");
    let chunks = |run: &Range<usize>| {
        let (run, starts) = (run.clone(), run.clone().step_by(QUERIES_PER_JOB));
        starts.map(move |start| (run.clone(), start..run.end.min(start + QUERIES_PER_JOB)))
    };
    let chunks: Vec<_> = batch.runs.iter().flat_map(chunks).collect();
    let out = SharedOutput::new(out);
    for_each_job(chunks.len() * batch.heads, threads, |job| {
        let (run, queries) = chunks[job / batch.heads].clone();
        let head = Head { isa, batch, run, queries, head: job % batch.heads, out: &out };
        SCRATCH.with_borrow_mut(|scratch| isa.run(WithScratch { head, scratch }));
    });
}

/// What sums without bias start from.
const NO_BIAS: &[Lane; PANELS_MAX] = &[Lane::ZERO; PANELS_MAX];

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { keys: vec![], values: vec![], scores: vec![] }) };
}

/// Buffers that a thread keeps from call to call.
struct Scratch {
    /// `[panels of keys, head_dim]` lanes.
    keys: Vec<Lane>,
    /// `[panels of head_dim, length]` lanes.
    values: Vec<Lane>,
    /// `[rows of a tile, panels of keys]` lanes.
    scores: Vec<Lane>,
}

/// One job: some queries of one head of one run.
struct Head<'a> {
    isa: Isa,
    batch: Heads<'a>,
    run: Range<usize>,
    queries: Range<usize>,
    head: usize,
    out: &'a SharedOutput<'a>,
}

/// A job and the buffers of the thread that runs it.
struct WithScratch<'a, 's> {
    head: Head<'a>,
    scratch: &'s mut Scratch,
}

impl Kernel for WithScratch<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let WithScratch { head, scratch } = self;
        head.pack(scratch);
        let step = tile::rows_max(head.isa);
        for start in head.queries.clone().step_by(step) {
            let rows = start..head.queries.end.min(start + step);
            head.score(rows.clone(), scratch);
            head.weigh(rows, scratch);
        }
    }
}

impl Head<'_> {
    /// From the query (0), key (1) or value (2) of `token` on.
    #[inline(always)]
    fn part(&self, part: usize, token: usize) -> &[f32] {
        let Heads { qkv, heads, head_dim, .. } = self.batch;
        &qkv[((token * 3 + part) * heads + self.head) * head_dim..]
    }

    #[inline(always)]
    fn stride(&self) -> usize {
        3 * self.batch.heads * self.batch.head_dim
    }

    #[inline(always)]
    fn pack(&self, scratch: &mut Scratch) {
        let (length, dim) = (self.run.len(), self.batch.head_dim);
        scratch.keys.clear();
        scratch.keys.resize(length.div_ceil(LANES) * dim, Lane::ZERO);
        for (panel, start) in scratch.keys.chunks_exact_mut(dim).zip(self.run.clone().step_by(LANES)) {
            let count = LANES.min(self.run.end - start);
            pack_panel(panel, &self.part(1, start)[..(count - 1) * self.stride() + dim], self.stride());
        }
        scratch.values.clear();
        scratch.values.resize(dim.div_ceil(LANES) * length, Lane::ZERO);
        for (panel, column) in scratch.values.chunks_exact_mut(length).zip((0..dim).step_by(LANES)) {
            let columns = column..dim.min(column + LANES);
            for (lane, token) in panel.iter_mut().zip(self.run.clone()) {
                let value = &self.part(2, token)[columns.clone()];
                match value.first_chunk() {
                    Some(value) => lane.0 = *value,
                    None => lane.0[..value.len()].copy_from_slice(value),
                }
            }
        }
        scratch.scores.resize(tile::rows_max(self.isa) * length.div_ceil(LANES), Lane::ZERO);
    }

    /// Scores of the queries with every key; those beside the last key become -∞.
    #[inline(always)]
    fn score(&self, queries: Range<usize>, scratch: &mut Scratch) {
        let (length, dim) = (self.run.len(), self.batch.head_dim);
        let panels = length.div_ceil(LANES);
        let rows = Rows { values: self.part(0, queries.start), stride: self.stride(), count: queries.len() };
        let mut panel = 0;
        while panel < panels {
            let width = tile::panels_within(self.isa, rows.count, panels - panel);
            let keys = Panels { lanes: &scratch.keys[panel * dim..(panel + width) * dim], start: &NO_BIAS[..width] };
            let mut scores = Sums::of(Lane::flat_mut(&mut scratch.scores), panels * LANES);
            tile::multiply(self.isa, rows, keys, dim, scores.beyond(panel * LANES));
            panel += width;
        }
        let filled = length - (panels - 1) * LANES;
        for row in scratch.scores.chunks_exact_mut(panels).take(rows.count) {
            row[panels - 1].0[filled..].fill(f32::NEG_INFINITY);
        }
    }

    /// Softmax of the scores, times the values; the division by the sum comes last, where there is least to divide.
    #[inline(always)]
    fn weigh(&self, queries: Range<usize>, scratch: &mut Scratch) {
        let (length, dim) = (self.run.len(), self.batch.head_dim);
        let panels = length.div_ceil(LANES);
        let scale = 1.0 / (dim as f32).sqrt();
        let mut inverse = [0.0; ROWS_MAX];
        for (inverse, row) in inverse.iter_mut().zip(scratch.scores.chunks_exact_mut(panels)).take(queries.len()) {
            *inverse = 1.0 / exp_scores(row, scale);
        }
        let rows = Rows { values: Lane::flat(&scratch.scores), stride: panels * LANES, count: queries.len() };
        let (mut panel, value_panels) = (0, dim.div_ceil(LANES));
        while panel < value_panels {
            let width = tile::panels_within(self.isa, rows.count, value_panels - panel);
            let lanes = &scratch.values[panel * length..(panel + width) * length];
            let values = Panels { lanes, start: &NO_BIAS[..width] };
            let mut sums = [Lane::ZERO; ROWS_MAX * PANELS_MAX];
            tile::multiply(self.isa, rows, values, length, Sums::of(Lane::flat_mut(&mut sums), width * LANES));
            let columns = panel * LANES..dim.min((panel + width) * LANES);
            for ((sums, query), inverse) in sums.chunks_exact(width).zip(queries.clone()).zip(inverse) {
                self.write(query, columns.clone(), sums, inverse);
            }
            panel += width;
        }
    }

    #[inline(always)]
    fn write(&self, query: usize, columns: Range<usize>, sums: &[Lane], factor: f32) {
        let start = (query * self.batch.heads + self.head) * self.batch.head_dim;
        // SAFETY: no two jobs share both a query and a head, and a job writes each column of them once.
        let out = unsafe { self.out.part(start + columns.start..start + columns.end) };
        for (out, sum) in out.iter_mut().zip(Lane::flat(sums)) {
            *out = sum * factor;
        }
    }
}

/// Replaces each score by e^((score - max) · scale) and returns their sum.
#[inline(always)]
fn exp_scores(row: &mut [Lane], scale: f32) -> f32 {
    let most = max(Lane::flat(row));
    for lane in row.iter_mut() {
        for score in &mut lane.0 {
            *score = exp((*score - most) * scale);
        }
    }
    sum(Lane::flat(row), |x| x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| 2.0 * (i as f32 * step).sin()).collect()
    }

    fn attention_f64(batch: Heads<'_>, out: &mut [f64]) {
        let Heads { qkv, heads, head_dim, .. } = batch;
        let at = |token: usize, part: usize, head: usize, i: usize| {
            f64::from(qkv[((token * 3 + part) * heads + head) * head_dim + i])
        };
        for run in batch.runs {
            for (head, query) in (0..heads).flat_map(|head| run.clone().map(move |query| (head, query))) {
                let dot = |key| (0..head_dim).map(|i| at(query, 0, head, i) * at(key, 1, head, i)).sum::<f64>();
                let weights: Vec<f64> = run.clone().map(|key| (dot(key) / (head_dim as f64).sqrt()).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for i in 0..head_dim {
                    let weighed = run.clone().zip(&weights).map(|(key, weight)| weight * at(key, 2, head, i));
                    out[(query * heads + head) * head_dim + i] = weighed.sum::<f64>() / sum;
                }
            }
        }
    }

    fn runs(lengths: &[usize]) -> Vec<Range<usize>> {
        let ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end - length..*end)
        });
        ends.collect()
    }

    #[test]
    fn a_run_alone_equals_its_rows_in_a_batch_bit_for_bit() {
        let (heads, head_dim, runs) = (4, 32, runs(&[7, 128, 1, 700, 33]));
        let hidden = heads * head_dim;
        let qkv = wave(869 * 3 * hidden, 0.77);
        let mut batch = vec![0.0; 869 * hidden];
        attention(Heads { qkv: &qkv, runs: &runs, heads, head_dim }, &mut batch);
        for run in &runs {
            let qkv = &qkv[run.start * 3 * hidden..run.end * 3 * hidden];
            let mut alone = vec![0.0; run.len() * hidden];
            let whole = 0..run.len();
            attention(Heads { qkv, runs: std::slice::from_ref(&whole), heads, head_dim }, &mut alone);
            assert!(alone == batch[run.start * hidden..run.end * hidden], "run {run:?}");
        }
    }

    #[test]
    fn tokens_outside_runs_keep_their_output_and_large_scores_do_not_overflow() {
        let qkv: Vec<f32> = wave(5 * 3 * 8, 0.5).iter().map(|x| x * 1e4).collect();
        let mut out = vec![7.0; 5 * 8];
        attention(Heads { qkv: &qkv, runs: &[1..1, 1..3, 4..5], heads: 1, head_dim: 8 }, &mut out);
        assert!(out[..8] == [7.0; 8] && out[24..32] == [7.0; 8]);
        assert!(out.iter().all(|x| x.is_finite()));
        assert_eq!(out[32..], qkv[4 * 24 + 16..]);
    }

    proptest! {
        #[test]
        fn every_path_equals_the_portable_twin_bit_for_bit_and_f64_closely(
            lengths in prop::collection::vec(1_usize..40, 1..4), heads in 1_usize..4, head_dim in 1_usize..70,
            threads in 1_usize..4, step in 0.3_f32..0.9,
        ) {
            let runs = runs(&lengths);
            let tokens: usize = lengths.iter().sum();
            let qkv = wave(tokens * 3 * heads * head_dim, step);
            let batch = Heads { qkv: &qkv, runs: &runs, heads, head_dim };
            let mut twin = vec![f32::NAN; tokens * heads * head_dim];
            attention_on(Isa::PORTABLE, 1, batch, &mut twin);
            let mut exact = vec![f64::NAN; twin.len()];
            attention_f64(batch, &mut exact);
            for (y, exact) in twin.iter().zip(&exact) {
                prop_assert!((f64::from(*y) - exact).abs() < 2e-5, "{} is not {}", y, exact);
            }
            for isa in Isa::available() {
                let mut out = vec![f32::NAN; twin.len()];
                attention_on(isa, threads, batch, &mut out);
                prop_assert_eq!(&out, &twin, "{:?}", isa);
            }
        }
    }
}
