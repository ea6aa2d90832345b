//! Causal self-attention of decoders over cached keys and values, with grouped queries.
//!
//! Exact softmax, a block of positions at a time, joined under the running largest score (Milakov and Gimelshein,
//! arXiv:1805.02867; Dao et al., arXiv:2205.14135); with few queries the blocks are shared out too (Dao et al.,
//! "Flash-Decoding", 2023). The heads that share keys and values are more rows of the same product, so nothing is repeated.
//! Blocks begin at fixed positions and are joined in order: a token's bits do not depend on the tokens that came with it.
#![allow(unsafe_code)]

mod gather;

use std::ops::Range;
use std::sync::OnceLock;

use super::cache::{BLOCK, LayerCache};
use super::gemm::tile::{self, LANES, Lane};
use super::isa::Isa;
use super::parallel::{SharedOutput, for_each_job, threads_for};
use gather::{Gather, Gathered, Join, Mass};

/// Most tiles of rows that a job has: its rows and one block of keys and values stay in the second-level cache.
const TILES_PER_JOB: usize = 8;

/// Jobs a thread from which on they are even enough; with fewer of them, the blocks of positions become jobs.
const JOBS_PER_THREAD: usize = 4;

/// Multiply-adds that make one more thread worth its wake-up.
const WORK_PER_THREAD: usize = 512 * 1024;

/// Consecutive tokens of one sequence in a batch.
#[derive(Clone)]
pub(crate) struct Run<'a> {
    /// Which tokens of the batch they are.
    pub(crate) tokens: Range<usize>,
    /// Position of the first of them in its sequence.
    pub(crate) start: usize,
    /// Keys and values of the sequence, those of these tokens already among them.
    pub(crate) cache: &'a LayerCache,
}

/// A packed batch of queries, and the sequences they belong to.
#[derive(Clone, Copy)]
pub(crate) struct Causal<'a> {
    /// `[tokens, heads, head_dim]`, a token's queries `stride` numbers after those of the one before.
    pub(crate) queries: &'a [f32],
    /// Numbers from one token's queries to the next's.
    pub(crate) stride: usize,
    /// Runs of tokens, ascending and apart.
    pub(crate) runs: &'a [Run<'a>],
    /// Number of query heads, a multiple of `kv_heads`.
    pub(crate) heads: usize,
    /// Number of key and value heads; each serves `heads / kv_heads` query heads that follow each other.
    pub(crate) kv_heads: usize,
    /// Numbers of one head of one token.
    pub(crate) head_dim: usize,
    /// What scores are multiplied by before the softmax, above 0; mostly 1 / √head_dim.
    pub(crate) scale: f32,
    /// How many positions a query sees, its own and those before, as `sliding_window` of Mistral; none: all.
    pub(crate) window: Option<usize>,
    /// ALiBi (Press et al., arXiv:2108.12409): `[heads]`, added to a score for each position that the key is further on,
    /// before the scale: as in Falcon. For BLOOM and MPT, which add it after, divide by the scale.
    pub(crate) slopes: Option<&'a [f32]>,
}

/// out = softmax(q·kᵀ · scale)·v for each run and head, over the positions up to the query's own; on the current rayon pool
/// when that pays.
///
/// Tokens in no run keep what `out` had.
///
/// # Shapes
/// `out`: `[tokens, heads, head_dim]`.
///
/// # Panics
/// If a length does not fit these shapes or [`Causal`], the runs overlap or descend, or a cache lacks positions.
pub(crate) fn causal_attention(batch: Causal<'_>, out: &mut [f32]) {
    let threads = threads_for(batch.work(), WORK_PER_THREAD);
    causal_on(Isa::detected(), threads, batch, out);
}

fn causal_on(isa: Isa, threads: usize, batch: Causal<'_>, out: &mut [f32]) {
    batch.check(out.len());
    let few = |shares: &[Share<'_>]| threads > 1 && shares.len() < threads * JOBS_PER_THREAD;
    let mut shares = batch.shares(TILES_PER_JOB * tile::rows_max(isa));
    if few(&shares) {
        shares = batch.shares(tile::rows_max(isa));
    }
    let out = SharedOutput::new(out);
    if few(&shares) {
        return blocks_apart(isa, threads, &shares, &out);
    }
    for_each_job(shares.len(), threads, |job| {
        let share = &shares[job];
        share.write(&share.gather(isa, share.blocks()), &out);
    });
}

/// Makes each block of positions of each share a job, then joins what they gathered.
fn blocks_apart(isa: Isa, threads: usize, shares: &[Share<'_>], out: &SharedOutput<'_>) {
    let jobs: Vec<_> = shares.iter().flat_map(|share| share.blocks().map(move |block| (share, block))).collect();
    let parts: Vec<OnceLock<Gathered>> = jobs.iter().map(|_| OnceLock::new()).collect();
    for_each_job(jobs.len(), threads, |job| {
        let (share, block) = jobs[job];
        parts[job].get_or_init(|| share.gather(isa, block..block + 1));
    });
    let mut parts = parts.into_iter().map(|part| part.into_inner().expect("every job was run"));
    for share in shares {
        let mut whole = share.nothing();
        for part in parts.by_ref().take(share.blocks().len()) {
            isa.run(Join { whole: &mut whole, part: &part, scale: share.batch.scale });
        }
        share.write(&whole, out);
    }
}

impl<'a> Causal<'a> {
    fn check(&self, out_len: usize) {
        let Causal { queries, stride, heads, kv_heads, head_dim, .. } = *self;
        let width = heads * head_dim;
        assert!(width > 0 && kv_heads > 0 && heads.is_multiple_of(kv_heads), "heads share keys and values evenly");
        assert!(stride >= width && out_len.is_multiple_of(width), "out is [tokens, heads, head_dim]");
        let tokens = out_len / width;
        assert!(tokens == 0 || queries.len() >= (tokens - 1) * stride + width, "queries are [tokens, heads, head_dim]");
        assert!(self.slopes.is_none_or(|slopes| slopes.len() == heads), "slopes are [heads]");
        assert!(self.window != Some(0), "a query sees its own position");
        let mut end = 0;
        for Run { tokens, start, cache } in self.runs {
            assert!(end <= tokens.start && tokens.start <= tokens.end, "runs ascend and do not overlap");
            assert!(cache.holds(kv_heads, head_dim, start + tokens.len()), "the cache has the positions of its run");
            end = tokens.end;
        }
        assert!(end <= tokens, "runs are ranges of tokens");
    }

    /// Multiply-adds, about.
    fn work(&self) -> usize {
        let pairs = |run: &Run<'_>| {
            let seen = run.start + run.tokens.len().div_ceil(2);
            run.tokens.len().saturating_mul(seen.min(self.window.unwrap_or(seen)))
        };
        let pairs = self.runs.iter().map(pairs).fold(0, usize::saturating_add);
        pairs.saturating_mul(2 * self.heads * self.head_dim)
    }

    /// All rows, up to `rows_max` of them in a share; of a run's, the later first, since they take longest.
    fn shares(&self, rows_max: usize) -> Vec<Share<'a>> {
        let mut shares = vec![];
        for (run, kv_head) in self.runs.iter().flat_map(|run| (0..self.kv_heads).map(move |kv_head| (run, kv_head))) {
            let rows = run.tokens.len() * (self.heads / self.kv_heads);
            let starts = (0..rows).step_by(rows_max).rev();
            shares.extend(starts.map(|start| {
                let rows = start..rows.min(start + rows_max);
                Share { batch: *self, run, kv_head, rows }
            }));
        }
        shares
    }
}

/// Some rows of one run and one key and value head; a row is one query of one of the heads that this head serves, the
/// heads of a token following each other.
struct Share<'a> {
    batch: Causal<'a>,
    run: &'a Run<'a>,
    kv_head: usize,
    rows: Range<usize>,
}

impl Share<'_> {
    /// Token and head of a row.
    fn query(&self, row: usize) -> (usize, usize) {
        let group = self.batch.heads / self.batch.kv_heads;
        (row / group, self.kv_head * group + row % group)
    }

    /// Positions that a row sees.
    fn seen(&self, row: usize) -> Range<usize> {
        let end = self.run.start + self.query(row).0 + 1;
        self.batch.window.map_or(0, |window| end.saturating_sub(window))..end
    }

    /// Blocks in which a row of the share sees something.
    fn blocks(&self) -> Range<usize> {
        self.seen(self.rows.start).start / BLOCK..self.seen(self.rows.end - 1).end.div_ceil(BLOCK)
    }

    /// The queries of all rows, side by side.
    fn queries(&self) -> Vec<f32> {
        let Causal { queries, stride, head_dim, .. } = self.batch;
        let mut rows = Vec::with_capacity(self.rows.len() * head_dim);
        for (token, head) in self.rows.clone().map(|row| self.query(row)) {
            rows.extend_from_slice(&queries[(self.run.tokens.start + token) * stride + head * head_dim..][..head_dim]);
        }
        rows
    }

    fn nothing(&self) -> Gathered {
        let panels = self.batch.head_dim.div_ceil(LANES);
        Gathered { masses: vec![Mass::NONE; self.rows.len()], sums: vec![Lane::ZERO; self.rows.len() * panels] }
    }

    /// What all rows gather from some blocks.
    fn gather(&self, isa: Isa, blocks: Range<usize>) -> Gathered {
        let mut gathered = self.nothing();
        isa.run(Gather { isa, share: self, queries: self.queries(), blocks, gathered: &mut gathered });
        gathered
    }

    /// Divides by the sums of weights, which comes last, where there is least to divide.
    fn write(&self, gathered: &Gathered, out: &SharedOutput<'_>) {
        let Causal { heads, head_dim, .. } = self.batch;
        let sums = gathered.sums.chunks_exact(head_dim.div_ceil(LANES));
        for ((row, sums), mass) in self.rows.clone().zip(sums).zip(&gathered.masses) {
            let (token, head) = self.query(row);
            let start = ((self.run.tokens.start + token) * heads + head) * head_dim;
            // SAFETY: no two shares have a row in common, and each row is written once.
            let out = unsafe { out.part(start..start + head_dim) };
            let inverse = 1.0 / mass.sum;
            for (out, sum) in out.iter_mut().zip(Lane::flat(sums)) {
                *out = sum * inverse;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| 2.0 * (i as f32 * step).sin()).collect()
    }

    /// A model's form and one layer's rows `[queries, keys, values]` of a few sequences.
    #[derive(Clone, Debug)]
    struct Model {
        heads: usize,
        kv_heads: usize,
        head_dim: usize,
        window: Option<usize>,
        slopes: Option<Vec<f32>>,
        step: f32,
    }

    impl Model {
        fn stride(&self) -> usize {
            (self.heads + 2 * self.kv_heads) * self.head_dim
        }

        /// Queries, keys and values of positions `0..length` of one sequence, side by side.
        fn rows(&self, sequence: usize, length: usize) -> Vec<f32> {
            let step = self.step + sequence as f32 * 0.01;
            wave(length * self.stride(), step)
        }

        fn cache(&self, rows: &[f32]) -> LayerCache {
            let (keys, values) = (self.heads * self.head_dim, (self.heads + self.kv_heads) * self.head_dim);
            let mut cache = LayerCache::new(self.kv_heads, self.head_dim, 2048);
            cache.write(0, &rows[keys..], &rows[values..], self.stride());
            cache
        }

        fn attend(&self, isa: Isa, threads: usize, queries: &[f32], runs: &[Run<'_>]) -> Vec<f32> {
            let Model { heads, kv_heads, head_dim, window, .. } = *self;
            let (stride, slopes, scale) = (self.stride(), self.slopes.as_deref(), 1.0 / (head_dim as f32).sqrt());
            let mut out = vec![f32::NAN; queries.len() / stride * heads * head_dim];
            let batch = Causal { queries, stride, runs, heads, kv_heads, head_dim, scale, window, slopes };
            causal_on(isa, threads, batch, &mut out);
            out
        }

        /// Output of one position and head, in f64.
        fn exact(&self, rows: &[f32], position: usize, head: usize) -> Vec<f64> {
            let dim = self.head_dim;
            let kv_head = head / (self.heads / self.kv_heads);
            let part = |position: usize, head: usize| -> Vec<f64> {
                rows[position * self.stride() + head * dim..][..dim].iter().map(|x| f64::from(*x)).collect()
            };
            let query = part(position, head);
            let weight = |key: usize| {
                let dot: f64 = query.iter().zip(part(key, self.heads + kv_head)).map(|(q, k)| q * k).sum();
                let slope = self.slopes.as_ref().map_or(0.0, |slopes| f64::from(slopes[head]));
                ((dot + slope * (key as f64 - position as f64)) / (dim as f64).sqrt()).exp()
            };
            let seen = (0..=position).filter(|key| self.window.is_none_or(|window| key + window > position));
            let (mut sum, mut out) = (0.0, vec![0.0; dim]);
            for (weight, key) in seen.map(|key| (weight(key), key)) {
                sum += weight;
                let values = part(key, self.heads + self.kv_heads + kv_head);
                out.iter_mut().zip(values).for_each(|(out, value)| *out += weight * value);
            }
            out.iter().map(|out| out / sum).collect()
        }
    }

    fn model() -> impl Strategy<Value = Model> {
        let window = prop::option::of(1_usize..200);
        (1_usize..4, 1_usize..5, 1_usize..40, window, any::<bool>(), 0.3_f32..0.9).prop_map(
            |(kv_heads, group, head_dim, window, biased, step)| {
                let heads = kv_heads * group;
                let slopes = biased.then(|| (0..heads).map(|head| 0.5 / (1 + head) as f32).collect());
                Model { heads, kv_heads, head_dim, window, slopes, step }
            },
        )
    }

    /// Numbers of rows before the batch and in it, for each run.
    fn lengths() -> impl Strategy<Value = Vec<(usize, usize)>> {
        prop::collection::vec((0_usize..300, prop_oneof![Just(1_usize), 2_usize..40]), 1..4)
    }

    #[test]
    fn tokens_outside_runs_keep_their_output_and_large_scores_do_not_overflow() {
        let model = Model { heads: 2, kv_heads: 1, head_dim: 8, window: None, slopes: None, step: 0.5 };
        let rows: Vec<f32> = model.rows(0, 5).iter().map(|x| x * 1e4).collect();
        let cache = model.cache(&rows[model.stride()..]);
        let out = model.attend(Isa::detected(), 2, &rows, &[Run { tokens: 1..3, start: 0, cache: &cache }]);
        assert!(out[..16].iter().chain(&out[48..]).all(|x| x.is_nan()));
        assert!(out[16..48].iter().all(|x| x.is_finite()));
        assert_eq!(out[16..24], rows[model.stride() + 24..][..8], "the first position sees itself alone");
    }

    #[test]
    fn a_later_position_changes_nothing_before_it() {
        let model = Model { heads: 3, kv_heads: 1, head_dim: 16, window: None, slopes: None, step: 0.7 };
        let rows = model.rows(0, 200);
        let mut cache = model.cache(&rows);
        let run = |cache: &LayerCache| {
            let queries = &rows[140 * model.stride()..141 * model.stride()];
            model.attend(Isa::detected(), 1, queries, &[Run { tokens: 0..1, start: 140, cache }])
        };
        let before = run(&cache);
        cache.write(141, &[f32::NAN; 59 * 16], &[f32::NAN; 59 * 16], 16);
        assert_eq!(run(&cache), before);
    }

    #[test]
    fn a_prefill_in_pieces_equals_the_whole_bit_for_bit() {
        let slopes = Some(vec![0.25; 6]);
        let model = Model { heads: 6, kv_heads: 2, head_dim: 24, window: Some(150), slopes, step: 0.7 };
        let rows = model.rows(0, 400);
        let whole_cache = model.cache(&rows);
        let whole = model.attend(Isa::detected(), 2, &rows, &[Run { tokens: 0..400, start: 0, cache: &whole_cache }]);
        for piece in [1, 7, 128, 300] {
            let out: Vec<f32> = (0..400_usize)
                .step_by(piece)
                .flat_map(|start| {
                    let end = 400.min(start + piece);
                    let cache = model.cache(&rows[..end * model.stride()]);
                    let queries = &rows[start * model.stride()..end * model.stride()];
                    model.attend(Isa::detected(), 2, queries, &[Run { tokens: 0..end - start, start, cache: &cache }])
                })
                .collect();
            assert!(out == whole, "pieces of {piece}");
        }
    }

    proptest! {
        #[test]
        fn every_path_equals_the_portable_twin_bit_for_bit_and_f64_closely(
            model in model(), lengths in lengths(), threads in 1_usize..4,
        ) {
            let rows: Vec<_> = lengths.iter().enumerate().map(|(i, (past, new))| model.rows(i, past + new)).collect();
            let caches: Vec<_> = rows.iter().map(|rows| model.cache(rows)).collect();
            let (mut queries, mut runs) = (vec![], vec![]);
            for ((rows, cache), (past, new)) in rows.iter().zip(&caches).zip(&lengths) {
                let start = queries.len() / model.stride();
                queries.extend_from_slice(&rows[past * model.stride()..]);
                runs.push(Run { tokens: start..start + new, start: *past, cache });
            }
            let twin = model.attend(Isa::PORTABLE, 1, &queries, &runs);
            for isa in Isa::available() {
                prop_assert_eq!(&model.attend(isa, threads, &queries, &runs), &twin, "{:?}", isa);
            }
            let (width, dim) = (model.heads * model.head_dim, model.head_dim);
            for (run, rows) in runs.iter().zip(&rows) {
                for (token, head) in run.tokens.clone().flat_map(|token| (0..model.heads).map(move |head| (token, head))) {
                    let exact = model.exact(rows, run.start + token - run.tokens.start, head);
                    for (y, exact) in twin[token * width + head * dim..][..dim].iter().zip(exact) {
                        prop_assert!((f64::from(*y) - exact).abs() < 5e-5, "{} is not {}", y, exact);
                    }
                }
                let queries = &queries[run.tokens.start * model.stride()..run.tokens.end * model.stride()];
                let alone = model.attend(Isa::detected(), 1, queries, &[Run { tokens: 0..run.tokens.len(), ..run.clone() }]);
                prop_assert_eq!(&alone, &twin[run.tokens.start * width..run.tokens.end * width]);
            }
        }
    }
}
