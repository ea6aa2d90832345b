//! Rotary position embeddings (Su et al., arXiv:2104.09864), in place.

use rayon::prelude::*;

use super::isa::{Isa, Kernel};
use super::parallel::threads_for;

/// Numbers that make one more thread worth its wake-up, about 5 µs of work.
const NUMBERS_PER_THREAD: usize = 32 * 1024;

/// Which numbers of a head are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RopeStyle {
    /// i and i + rotary_dim / 2, as in GPT-NeoX and the checkpoints of Hugging Face.
    Halves,
    /// 2i and 2i + 1, as in the paper, GPT-J and GGUF files of the llama architecture.
    Interleaved,
}

/// Cosines and sines of the angles of some tokens, computed once for all layers and heads.
pub(crate) struct RopeTable {
    /// `[tokens, 2, pairs]`: cosines, then sines.
    turns: Vec<f32>,
    pairs: usize,
}

impl RopeTable {
    /// The angle of a pair is its inverse frequency times the position, rounded to f32 as in transformers; what is turned is
    /// also multiplied by `stretch`.
    ///
    /// # Shapes
    /// `inverse_frequencies`: `[rotary_dim / 2]`; `positions`: one for each token of the batch.
    pub(crate) fn new(inverse_frequencies: &[f32], positions: impl IntoIterator<Item = usize>, stretch: f32) -> Self {
        let mut turns = vec![];
        for position in positions {
            let angles = inverse_frequencies.iter().map(|frequency| f64::from(frequency * position as f32));
            turns.extend(angles.clone().map(|angle| angle.cos() as f32 * stretch));
            turns.extend(angles.map(|angle| angle.sin() as f32 * stretch));
        }
        RopeTable { turns, pairs: inverse_frequencies.len() }
    }

    /// The cosines and then the sines of each token. Shape `[tokens, 2, pairs]`.
    pub(crate) fn turns(&self) -> &[f32] {
        &self.turns
    }
}

/// Heads that lie side by side at the start of each row: queries, or queries and keys, of rows that hold more.
pub(crate) struct HeadRows<'a> {
    /// `[rows, stride]` from the first row's first head on; what follows the last row's heads may be missing.
    pub(crate) x: &'a mut [f32],
    /// Numbers from one row's start to the next's, at least `heads · head_dim`.
    pub(crate) stride: usize,
    /// Heads of a row.
    pub(crate) heads: usize,
    /// Numbers of one head.
    pub(crate) head_dim: usize,
}

/// Turns each pair of the first `rotary_dim` numbers of each head by its token's angle; the others stay.
///
/// On the current rayon pool when that pays.
///
/// # Panics
/// If the table is not of as many tokens as there are rows or of more numbers than a head has, if rows overlap, or if the
/// last one is cut off.
pub(crate) fn rope(heads: HeadRows<'_>, table: &RopeTable, style: RopeStyle) {
    rope_on(Isa::detected(), heads, table, style);
}

fn rope_on(isa: Isa, heads: HeadRows<'_>, table: &RopeTable, style: RopeStyle) {
    let HeadRows { x, stride, heads, head_dim } = heads;
    let (rows, width) = (x.len().div_ceil(stride), 2 * table.pairs);
    assert!(stride >= heads * head_dim, "rows do not overlap");
    assert!((1..=head_dim).contains(&width), "some numbers are turned, and no more than a head has");
    assert_eq!(table.turns.len(), rows * width, "the table is [tokens, 2, pairs]");
    let part = match threads_for(rows * heads * head_dim, NUMBERS_PER_THREAD) {
        1 => rows.max(1),
        threads => rows.div_ceil(threads * 4),
    };
    let parts = x.par_chunks_mut(part * stride).zip(table.turns.par_chunks(part * width));
    parts.for_each(|(x, turns)| isa.run(Turn { heads: HeadRows { x, stride, heads, head_dim }, turns, width, style }));
}

struct Turn<'a> {
    heads: HeadRows<'a>,
    /// From the first row on.
    turns: &'a [f32],
    /// Numbers of a head that are turned.
    width: usize,
    style: RopeStyle,
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let HeadRows { x, stride, heads, head_dim } = self.heads;
        for (row, turns) in x.chunks_mut(stride).zip(self.turns.chunks_exact(self.width)) {
            let (cos, sin) = turns.split_at(self.width / 2);
            for head in row[..heads * head_dim].chunks_exact_mut(head_dim) {
                match self.style {
                    RopeStyle::Halves => turn_halves(&mut head[..self.width], cos, sin),
                    RopeStyle::Interleaved => turn_neighbours(&mut head[..self.width], cos, sin),
                }
            }
        }
    }
}

#[inline(always)]
fn turn_halves(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (low, high) = head.split_at_mut(cos.len());
    for (((x, y), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
        (*x, *y) = (*x * cos - *y * sin, *y * cos + *x * sin);
    }
}

#[inline(always)]
fn turn_neighbours(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (pairs, _) = head.as_chunks_mut::<2>();
    for (([x, y], cos), sin) in pairs.iter_mut().zip(cos).zip(sin) {
        (*x, *y) = (*x * cos - *y * sin, *y * cos + *x * sin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STYLES: [RopeStyle; 2] = [RopeStyle::Halves, RopeStyle::Interleaved];

    fn wave(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    fn frequencies(pairs: usize) -> Vec<f32> {
        (0..pairs).map(|i| 10_000_f32.powf(-(i as f32) / pairs as f32)).collect()
    }

    #[test]
    fn a_score_depends_on_the_distance_and_not_on_the_position() {
        let (query, key) = (wave(64, 0.7), wave(64, 0.3));
        for style in STYLES {
            let score = |query_position: usize, key_position: usize| {
                let mut rows = [query.clone(), key.clone()].concat();
                let table = RopeTable::new(&frequencies(32), [query_position, key_position], 1.0);
                rope(HeadRows { x: &mut rows, stride: 64, heads: 1, head_dim: 64 }, &table, style);
                let (query, key) = rows.split_at(64);
                query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>()
            };
            assert!((score(9, 4) - score(109, 104)).abs() < 1e-3 && (score(9, 4) - score(9, 5)).abs() > 1e-2);
        }
    }

    #[test]
    fn rows_split_over_threads_equal_each_row_alone() {
        let (rows, heads, head_dim, stride) = (700, 3, 64, 320);
        let x = wave(rows * stride, 0.37);
        for style in STYLES {
            let mut batch = x.clone();
            let table = RopeTable::new(&frequencies(32), 5..5 + rows, 1.0);
            rope(HeadRows { x: &mut batch, stride, heads, head_dim }, &table, style);
            for (i, (x, batch)) in x.chunks(stride).zip(batch.chunks(stride)).enumerate() {
                let mut alone = x.to_vec();
                let table = RopeTable::new(&frequencies(32), [5 + i], 1.0);
                rope(HeadRows { x: &mut alone, stride, heads, head_dim }, &table, style);
                assert!(alone == batch, "row {i}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_path_equals_the_portable_twin_bit_for_bit_and_f64_closely(
            tokens in 1_usize..5, heads in 1_usize..4, pairs in 1_usize..40, unturned in 0_usize..9, extra in 0_usize..20,
            start in 0_usize..5000,
        ) {
            let (head_dim, frequencies) = (2 * pairs + unturned, frequencies(pairs));
            let stride = heads * head_dim + extra;
            let x = wave(tokens * stride - extra, 0.7);
            let table = RopeTable::new(&frequencies, start..start + tokens, 1.0);
            for style in STYLES {
                let turned = |isa: Isa| {
                    let mut x = x.clone();
                    rope_on(isa, HeadRows { x: &mut x, stride, heads, head_dim }, &table, style);
                    x
                };
                let twin = turned(Isa::PORTABLE);
                for isa in Isa::available() {
                    prop_assert_eq!(&turned(isa), &twin, "{:?}", isa);
                }
                let mut exact: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
                for (token, row) in exact.chunks_mut(stride).enumerate() {
                    for (head, i) in (0..heads).flat_map(|head| (0..pairs).map(move |i| (head, i))) {
                        let (low, high) = match style {
                            RopeStyle::Halves => (i, i + pairs),
                            RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                        };
                        let (low, high) = (head * head_dim + low, head * head_dim + high);
                        let (sin, cos) = (f64::from(frequencies[i]) * (start + token) as f64).sin_cos();
                        (row[low], row[high]) = (row[low] * cos - row[high] * sin, row[high] * cos + row[low] * sin);
                    }
                }
                // An angle of thousands keeps four digits after the point.
                let bound = 1e-6 + 3e-7 * (start + tokens) as f64;
                for (y, exact) in twin.iter().zip(&exact) {
                    prop_assert!((f64::from(*y) - exact).abs() < bound, "{} is not {}", y, exact);
                }
            }
        }
    }
}
