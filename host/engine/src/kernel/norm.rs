//! Normalisation of rows: layer norm (Ba, Kiros and Hinton, arXiv:1607.06450) and RMS norm (Zhang and Sennrich,
//! arXiv:1910.07467), alone or after a residual sum.

use rayon::prelude::*;

use super::isa::{Isa, Kernel};
use super::math::sum;
use super::parallel::threads_for;

/// Numbers that make one more thread worth its wake-up, about 5 µs of work.
const NUMBERS_PER_THREAD: usize = 24 * 1024;

/// How a row is normalised.
pub(crate) trait Norm: Copy + Sync {
    /// Numbers of a row, at least 1; panics when its parameters are not of one length.
    fn width(self) -> usize;

    /// Normalises one row in place; inlined into a [`Kernel`].
    fn apply(self, row: &mut [f32]);
}

/// The parameters of one layer normalisation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerNorm<'a> {
    /// Scale of each column: `[width]`.
    pub(crate) gamma: &'a [f32],
    /// Shift of each column: `[width]`.
    pub(crate) beta: &'a [f32],
    /// Added to the variance; 1e-12 in BERT.
    pub(crate) epsilon: f32,
}

impl Norm for LayerNorm<'_> {
    fn width(self) -> usize {
        assert!(!self.gamma.is_empty() && self.beta.len() == self.gamma.len(), "gamma and beta are [width]");
        self.gamma.len()
    }

    /// Mean and variance in two passes, each sum in 32 parts, so their error does not grow with the mean.
    #[inline(always)]
    fn apply(self, row: &mut [f32]) {
        let width = row.len() as f32;
        let mean = sum(row, |x| x) / width;
        let variance = sum(row, |x| (x - mean) * (x - mean)) / width;
        let scale = 1.0 / (variance + self.epsilon).sqrt();
        for ((x, gamma), beta) in row.iter_mut().zip(self.gamma).zip(self.beta) {
            *x = ((*x - mean) * scale).mul_add(*gamma, *beta);
        }
    }
}

/// The parameters of one RMS normalisation: x / √(mean(x²) + epsilon) · gamma.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RmsNorm<'a> {
    /// Scale of each column: `[width]`.
    pub(crate) gamma: &'a [f32],
    /// Added to the mean of squares; 1e-5 or 1e-6 in Llama and its kin.
    pub(crate) epsilon: f32,
}

impl Norm for RmsNorm<'_> {
    fn width(self) -> usize {
        assert!(!self.gamma.is_empty(), "gamma is [width]");
        self.gamma.len()
    }

    #[inline(always)]
    fn apply(self, row: &mut [f32]) {
        let mean = sum(row, |x| x * x) / row.len() as f32;
        let scale = 1.0 / (mean + self.epsilon).sqrt();
        for (x, gamma) in row.iter_mut().zip(self.gamma) {
            *x = *x * scale * gamma;
        }
    }
}

/// y = norm(x) row by row, on the current rayon pool when that pays.
///
/// # Shapes
/// `x`, `y`: `[rows, width]`, where `width` is that of the norm's parameters; whatever `y` held before.
///
/// # Panics
/// If a length does not fit these shapes.
pub(crate) fn norm(x: &[f32], norm: impl Norm, y: &mut [f32]) {
    let width = norm.width();
    assert!(x.len().is_multiple_of(width) && y.len() == x.len(), "x and y are [rows, width]");
    y.copy_from_slice(x);
    norm_heads(y, width, 1, norm);
}

/// head = norm(head) for each of the heads at the start of each row, as `q_norm` and `k_norm` of Qwen3; on the current rayon
/// pool when that pays.
///
/// # Shapes
/// `x`: `[rows, heads · width]`, a row `stride` numbers after the one before, where `width` is that of the norm's
/// parameters; what lies between rows stays.
///
/// # Panics
/// If rows overlap, or the last one is cut off.
pub(crate) fn norm_heads(x: &mut [f32], stride: usize, heads: usize, norm: impl Norm) {
    norm_heads_on(Isa::detected(), x, stride, heads, norm);
}

fn norm_heads_on(isa: Isa, x: &mut [f32], stride: usize, heads: usize, norm: impl Norm) {
    let width = heads * norm.width();
    assert!(width > 0 && stride >= width, "rows have heads and do not overlap");
    let part = rows_at_a_time(x.len().div_ceil(stride), width) * stride;
    x.par_chunks_mut(part).for_each(|x| isa.run(NormHeads { x, stride, heads, norm }));
}

struct NormHeads<'a, N> {
    x: &'a mut [f32],
    stride: usize,
    heads: usize,
    norm: N,
}

impl<N: Norm> Kernel for NormHeads<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.norm.width();
        for row in self.x.chunks_mut(self.stride) {
            for head in row[..self.heads * width].chunks_exact_mut(width) {
                self.norm.apply(head);
            }
        }
    }
}

/// x += residual, then y = norm(x), row by row: the sum at a layer's end and the input of the next one, on the current
/// rayon pool when that pays.
///
/// # Shapes
/// `x`, `residual`, `y`: `[rows, width]`, where `width` is that of the norm's parameters; whatever `y` held before.
///
/// # Panics
/// If a length does not fit these shapes.
pub(crate) fn add_norm(x: &mut [f32], residual: &[f32], norm: impl Norm, y: &mut [f32]) {
    add_norm_on(Isa::detected(), x, residual, norm, y);
}

fn add_norm_on(isa: Isa, x: &mut [f32], residual: &[f32], norm: impl Norm, y: &mut [f32]) {
    let width = norm.width();
    check(x, residual, width);
    assert_eq!(y.len(), x.len(), "y is [rows, width]");
    let part = rows_at_a_time(x.len() / width, width) * width;
    let rows = x.par_chunks_mut(part).zip(residual.par_chunks(part)).zip(y.par_chunks_mut(part));
    rows.for_each(|((x, residual), y)| isa.run(AddNorm { x, residual, norm, y }));
}

struct AddNorm<'a, N> {
    x: &'a mut [f32],
    residual: &'a [f32],
    norm: N,
    y: &'a mut [f32],
}

impl<N: Norm> Kernel for AddNorm<'_, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.norm.width();
        let rows = self.x.chunks_exact_mut(width).zip(self.residual.chunks_exact(width));
        for ((x, residual), y) in rows.zip(self.y.chunks_exact_mut(width)) {
            add(x, residual);
            y.copy_from_slice(x);
            self.norm.apply(y);
        }
    }
}

/// x = norm(x + residual) row by row, on the current rayon pool when that pays.
///
/// # Shapes
/// `x`, `residual`: `[rows, width]`, where `width` is the length of gamma and of beta.
///
/// # Panics
/// If a length does not fit these shapes.
pub(crate) fn add_layer_norm(x: &mut [f32], residual: &[f32], norm: LayerNorm<'_>) {
    add_layer_norm_on(Isa::detected(), x, residual, norm);
}

fn add_layer_norm_on(isa: Isa, x: &mut [f32], residual: &[f32], norm: LayerNorm<'_>) {
    let width = norm.width();
    check(x, residual, width);
    let part = rows_at_a_time(x.len() / width, width) * width;
    let rows = x.par_chunks_mut(part).zip(residual.par_chunks(part));
    rows.for_each(|(x, residual)| isa.run(AddLayerNorm { x, residual, norm }));
}

struct AddLayerNorm<'a> {
    x: &'a mut [f32],
    residual: &'a [f32],
    norm: LayerNorm<'a>,
}

impl Kernel for AddLayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.norm.width();
        for (x, residual) in self.x.chunks_exact_mut(width).zip(self.residual.chunks_exact(width)) {
            add(x, residual);
            self.norm.apply(x);
        }
    }
}

#[inline(always)]
fn add(x: &mut [f32], residual: &[f32]) {
    for (x, residual) in x.iter_mut().zip(residual) {
        *x += residual;
    }
}

fn check(x: &[f32], residual: &[f32], width: usize) {
    assert!(x.len().is_multiple_of(width), "x is [rows, width]");
    assert_eq!(residual.len(), x.len(), "residual is [rows, width]");
}

/// Rows that a thread takes at a time, at least 1; all of them when one thread is enough.
fn rows_at_a_time(rows: usize, width: usize) -> usize {
    match threads_for(rows * width, NUMBERS_PER_THREAD) {
        1 => rows.max(1),
        threads => rows.div_ceil(threads * 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn norm_f64(x: &[f32], residual: &[f32], norm: LayerNorm<'_>) -> Vec<f64> {
        let width = norm.gamma.len();
        let sums: Vec<f64> = x.iter().zip(residual).map(|(x, r)| f64::from(x + r)).collect();
        let one = |row: &[f64]| -> Vec<f64> {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
            let scale = 1.0 / (variance + f64::from(norm.epsilon)).sqrt();
            let scaled = row.iter().zip(norm.gamma).zip(norm.beta);
            scaled.map(|((x, g), b)| (x - mean) * scale * f64::from(*g) + f64::from(*b)).collect()
        };
        sums.chunks(width).flat_map(one).collect()
    }

    fn wave(count: usize, step: f32, offset: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin() + offset).collect()
    }

    #[test]
    fn a_large_mean_does_not_spoil_the_variance() {
        let (gamma, beta) = (vec![1.0; 384], vec![0.0; 384]);
        let norm = LayerNorm { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
        let x = wave(3 * 384, 0.7, 1000.0);
        let mut y = x.clone();
        add_layer_norm(&mut y, &vec![0.0; x.len()], norm);
        for (y, exact) in y.iter().zip(norm_f64(&x, &vec![0.0; x.len()], norm)) {
            assert!((f64::from(*y) - exact).abs() < 2e-4, "{y} is not {exact}");
        }
    }

    #[test]
    fn a_row_alone_equals_its_row_in_a_batch_split_over_threads() {
        let (gamma, beta) = (wave(384, 0.1, 1.0), wave(384, 0.2, 0.0));
        let norm = LayerNorm { gamma: &gamma, beta: &beta, epsilon: 1e-12 };
        let x = wave(1001 * 384, 0.37, 0.1);
        let mut batch = x.clone();
        add_layer_norm(&mut batch, &vec![0.5; x.len()], norm);
        for (x, batch) in x.chunks(384).zip(batch.chunks(384)) {
            let mut alone = x.to_vec();
            add_layer_norm(&mut alone, &[0.5; 384], norm);
            assert_eq!(alone, batch);
        }
    }

    fn rms_f64(x: &[f32], norm: RmsNorm<'_>) -> Vec<f64> {
        let one = |row: &[f32]| -> Vec<f64> {
            let mean = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / row.len() as f64;
            let scale = 1.0 / (mean + f64::from(norm.epsilon)).sqrt();
            row.iter().zip(norm.gamma).map(|(x, gamma)| f64::from(*x) * scale * f64::from(*gamma)).collect()
        };
        x.chunks(norm.gamma.len()).flat_map(one).collect()
    }

    #[test]
    fn the_forms_of_a_norm_agree() {
        let (gamma, beta) = (wave(100, 0.1, 1.0), wave(100, 0.2, 0.0));
        let (x, residual) = (wave(700 * 100, 0.37, 0.1), wave(700 * 100, 0.53, 0.0));
        let summed: Vec<f32> = x.iter().zip(&residual).map(|(x, residual)| x + residual).collect();
        let layer = LayerNorm { gamma: &gamma, beta: &beta, epsilon: 1e-5 };
        let mut in_place = x.clone();
        add_layer_norm(&mut in_place, &residual, layer);
        let (mut sum, mut apart, mut plain) = (x.clone(), vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        add_norm(&mut sum, &residual, layer, &mut apart);
        norm(&summed, layer, &mut plain);
        assert!(sum == summed && apart == in_place && plain == in_place);
        let rms = RmsNorm { gamma: &gamma, epsilon: 1e-5 };
        let mut sum = x.clone();
        add_norm(&mut sum, &residual, rms, &mut apart);
        norm(&summed, rms, &mut plain);
        assert!(sum == summed && apart == plain);
    }

    #[test]
    fn heads_are_normalised_one_by_one_and_what_lies_beside_them_stays() {
        let gamma = wave(10, 0.1, 1.0);
        let rms = RmsNorm { gamma: &gamma, epsilon: 1e-6 };
        let x = wave(4 * 50, 0.37, 0.1);
        let mut y = x.clone();
        norm_heads(&mut y, 50, 3, rms);
        for (x, y) in x.chunks(50).zip(y.chunks(50)) {
            let mut heads = vec![0.0; 30];
            norm(&x[..30], rms, &mut heads);
            assert!(y[..30] == heads && y[30..] == x[30..]);
        }
    }

    proptest! {
        #[test]
        fn rms_norm_equals_its_portable_twin_bit_for_bit_and_f64_closely(
            rows in 1_usize..6, width in 1_usize..100, step in 0.3_f32..0.9, scale in 0.01_f32..100.0,
        ) {
            let gamma = wave(width, 0.1, 1.0);
            let rms = RmsNorm { gamma: &gamma, epsilon: 1e-5 };
            let x: Vec<f32> = wave(rows * width, step, 0.3).iter().map(|x| x * scale).collect();
            let normed = |isa: Isa| {
                let mut y = x.clone();
                norm_heads_on(isa, &mut y, width, 1, rms);
                y
            };
            let twin = normed(Isa::PORTABLE);
            for (y, exact) in twin.iter().zip(rms_f64(&x, rms)) {
                prop_assert!((f64::from(*y) - exact).abs() < 1e-5, "{} is not {}", y, exact);
            }
            for isa in Isa::available() {
                prop_assert_eq!(&normed(isa), &twin, "{:?}", isa);
            }
        }

        #[test]
        fn every_path_equals_the_portable_twin_bit_for_bit_and_f64_closely(
            rows in 1_usize..6, width in 1_usize..100, step in 0.3_f32..0.9,
        ) {
            let (gamma, beta) = (wave(width, 0.1, 1.0), wave(width, 0.2, 0.0));
            let norm = LayerNorm { gamma: &gamma, beta: &beta, epsilon: 1e-5 };
            let (x, residual) = (wave(rows * width, step, 0.3), wave(rows * width, step * 1.3, 0.0));
            let mut twin = x.clone();
            add_layer_norm_on(Isa::PORTABLE, &mut twin, &residual, norm);
            for (y, exact) in twin.iter().zip(norm_f64(&x, &residual, norm)) {
                prop_assert!((f64::from(*y) - exact).abs() < 2e-4, "{} is not {}", y, exact);
            }
            for isa in Isa::available() {
                let mut y = x.clone();
                add_layer_norm_on(isa, &mut y, &residual, norm);
                prop_assert_eq!(&y, &twin, "{:?}", isa);
            }
        }
    }
}
