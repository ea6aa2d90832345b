//! Layer normalisation (Ba, Kiros and Hinton, arXiv:1607.06450), after a residual sum.

use rayon::prelude::*;

use super::isa::{Isa, Kernel};
use super::math::sum;
use super::parallel::threads_for;

/// Numbers that make one more thread worth its wake-up, about 5 µs of work.
const NUMBERS_PER_THREAD: usize = 24 * 1024;

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

/// x = norm(x + residual) row by row, on the current rayon pool when that pays.
///
/// Mean and variance in two passes, each sum in 32 parts, so their error does not grow with the mean.
///
/// # Shapes
/// `x`, `residual`: `[rows, width]`, where `width` is the length of gamma and of beta.
///
/// # Panics
/// If a length does not fit these shapes.
pub(crate) fn add_layer_norm(x: &mut [f32], residual: &[f32], norm: LayerNorm<'_>) {
    norm_on(Isa::detected(), x, residual, norm);
}

fn norm_on(isa: Isa, x: &mut [f32], residual: &[f32], norm: LayerNorm<'_>) {
    let width = norm.gamma.len();
    assert!(width > 0 && norm.beta.len() == width, "gamma and beta are [width]");
    assert!(x.len().is_multiple_of(width), "x is [rows, width]");
    assert_eq!(residual.len(), x.len(), "residual is [rows, width]");
    let threads = threads_for(x.len(), NUMBERS_PER_THREAD);
    if threads == 1 {
        return isa.run(NormRows { x, residual, norm });
    }
    let part = (x.len() / width).div_ceil(threads * 4) * width;
    x.par_chunks_mut(part).enumerate().for_each(|(i, x)| {
        isa.run(NormRows { residual: &residual[i * part..][..x.len()], x, norm });
    });
}

struct NormRows<'a> {
    x: &'a mut [f32],
    residual: &'a [f32],
    norm: LayerNorm<'a>,
}

impl Kernel for NormRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.norm.gamma.len();
        for (row, residual) in self.x.chunks_exact_mut(width).zip(self.residual.chunks_exact(width)) {
            for (x, residual) in row.iter_mut().zip(residual) {
                *x += residual;
            }
            norm_row(row, self.norm);
        }
    }
}

#[inline(always)]
fn norm_row(row: &mut [f32], norm: LayerNorm<'_>) {
    let width = row.len() as f32;
    let mean = sum(row, |x| x) / width;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / width;
    let scale = 1.0 / (variance + norm.epsilon).sqrt();
    for ((x, gamma), beta) in row.iter_mut().zip(norm.gamma).zip(norm.beta) {
        *x = ((*x - mean) * scale).mul_add(*gamma, *beta);
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

    proptest! {
        #[test]
        fn every_path_equals_the_portable_twin_bit_for_bit_and_f64_closely(
            rows in 1_usize..6, width in 1_usize..100, step in 0.3_f32..0.9,
        ) {
            let (gamma, beta) = (wave(width, 0.1, 1.0), wave(width, 0.2, 0.0));
            let norm = LayerNorm { gamma: &gamma, beta: &beta, epsilon: 1e-5 };
            let (x, residual) = (wave(rows * width, step, 0.3), wave(rows * width, step * 1.3, 0.0));
            let mut twin = x.clone();
            norm_on(Isa::PORTABLE, &mut twin, &residual, norm);
            for (y, exact) in twin.iter().zip(norm_f64(&x, &residual, norm)) {
                prop_assert!((f64::from(*y) - exact).abs() < 2e-4, "{} is not {}", y, exact);
            }
            for isa in Isa::available() {
                let mut y = x.clone();
                norm_on(isa, &mut y, &residual, norm);
                prop_assert_eq!(&y, &twin, "{:?}", isa);
            }
        }
    }
}
