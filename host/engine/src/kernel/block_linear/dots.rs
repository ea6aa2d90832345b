//! Few rows of x: a dot product of each with each row of the weight.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use super::Layer;
use crate::kernel::block::{Format, decode};
use crate::kernel::gemm::tile::{LANES, Lane, prefetch};
use crate::kernel::isa::Isa;
use crate::kernel::parallel::{SharedOutput, for_each_job};
use crate::kernel::simd::{Simd, SimdKernel};

/// Rows of the weight that are decoded at a time, so that each lane of x is loaded once for all of them.
const OUTPUTS: usize = 4;

/// Lanes of such a row that are decoded at a time: with those of x they stay in the first-level cache.
const CHUNK: usize = 32;

/// Jobs a thread, so that one held back by the system does not leave the others waiting.
const JOBS_PER_THREAD: usize = 4;

/// Computes the layer for up to [`DOT_ROWS_MAX`](super::DOT_ROWS_MAX) rows.
pub(super) fn run<F: Format>(isa: Isa, threads: usize, layer: Layer<'_>, y: &SharedOutput<'_>) {
    let x = lanes_of(layer.x, layer.weight.in_features);
    let outputs = layer.weight.out_features;
    let per_job = outputs.div_ceil(if threads > 1 { threads * JOBS_PER_THREAD } else { 1 }).next_multiple_of(OUTPUTS);
    for_each_job(outputs.div_ceil(per_job), threads, |job| {
        let outputs = job * per_job..outputs.min((job + 1) * per_job);
        isa.run_simd(Dots::<F> { layer, x: &x, outputs, y, format: PhantomData });
    });
}

/// A chunk of a few rows of the weight.
type Weights = [[Lane; CHUNK]; OUTPUTS];

/// For each row of x 16 sums side by side for each of a few rows of the weight.
type Sums = [[Lane; OUTPUTS]; super::DOT_ROWS_MAX];

/// The rows of x as lanes: aligned, and filled up with zeros.
fn lanes_of(x: &[f32], in_features: usize) -> Vec<Lane> {
    let steps = in_features.div_ceil(LANES);
    let mut lanes = vec![Lane::ZERO; x.len() / in_features * steps];
    for (lanes, row) in lanes.chunks_exact_mut(steps).zip(x.chunks_exact(in_features)) {
        Lane::flat_mut(lanes)[..row.len()].copy_from_slice(row);
    }
    lanes
}

/// Some outputs of all rows.
struct Dots<'a, F> {
    layer: Layer<'a>,
    x: &'a [Lane],
    outputs: Range<usize>,
    y: &'a SharedOutput<'a>,
    format: PhantomData<F>,
}

impl<F: Format> SimdKernel for Dots<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let steps = self.layer.weight.in_features.div_ceil(LANES);
        let mut weights: Weights = [[Lane::ZERO; CHUNK]; OUTPUTS];
        for start in self.outputs.clone().step_by(OUTPUTS) {
            let outputs = start..self.outputs.end.min(start + OUTPUTS);
            let mut sums: Sums = [[Lane::ZERO; OUTPUTS]; super::DOT_ROWS_MAX];
            for first in (0..steps).step_by(CHUNK) {
                let count = CHUNK.min(steps - first);
                for (row, weights) in self.layer.weight_rows(outputs.clone()).zip(&mut weights) {
                    let bytes = &row[first / F::LANES * F::BYTES..];
                    let bytes = &bytes[..bytes.len().min(count / F::LANES * F::BYTES)];
                    prefetch(bytes.as_ptr().wrapping_add(OUTPUTS * row.len()).cast(), bytes.len() / size_of::<f32>());
                    decode_steps::<F, S>(simd, bytes, &mut weights[..count]);
                }
                self.add_rows(simd, &mut sums, &weights, first..first + count);
            }
            for (row, sums) in sums[..self.layer.rows()].iter().enumerate() {
                self.finish(row, outputs.clone(), sums);
            }
        }
        for row in 0..self.layer.rows() {
            self.layer.activation.apply_inline(self.row(row, self.outputs.clone()));
        }
    }
}

impl<F: Format> Dots<'_, F> {
    /// Adds the products of some lanes of all rows of x, a few rows at a time as the registers allow.
    #[inline(always)]
    fn add_rows<S: Simd>(&self, simd: S, sums: &mut Sums, weights: &Weights, lanes: Range<usize>) {
        let steps = self.x.len() / self.layer.rows();
        let x = |row: usize| &self.x[row * steps..][lanes.clone()];
        let rows = self.layer.rows();
        let mut row = 0;
        while S::ROWS >= 4 && row + 4 <= rows {
            add_products(simd, &mut sums[row..row + 4], weights, [x(row), x(row + 1), x(row + 2), x(row + 3)]);
            row += 4;
        }
        while S::ROWS >= 2 && row + 2 <= rows {
            add_products(simd, &mut sums[row..row + 2], weights, [x(row), x(row + 1)]);
            row += 2;
        }
        while row < rows {
            add_products(simd, &mut sums[row..row + 1], weights, [x(row)]);
            row += 1;
        }
    }

    #[inline(always)]
    fn finish(&self, row: usize, outputs: Range<usize>, sums: &[Lane; OUTPUTS]) {
        for ((y, output), sum) in self.row(row, outputs.clone()).iter_mut().zip(outputs).zip(sums) {
            *y = total(*sum) + self.layer.bias.map_or(0.0, |bias| bias[output]);
        }
    }

    /// Some outputs of a row, of this job.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "as in `SharedOutput::part`")]
    fn row(&self, row: usize, outputs: Range<usize>) -> &mut [f32] {
        let start = row * self.layer.weight.out_features;
        // SAFETY: jobs have no output in common, and this job holds one part at a time.
        unsafe { self.y.part(start + outputs.start..start + outputs.end) }
    }
}

/// Decodes the steps of a chunk, the last of which may be cut short.
#[inline(always)]
fn decode_steps<F: Format, S: Simd>(simd: S, bytes: &[u8], lanes: &mut [Lane]) {
    for (lanes, bytes) in lanes.chunks_exact_mut(F::LANES).zip(bytes.chunks(F::BYTES)) {
        decode::<F, S>(simd, bytes, lanes);
    }
}

/// Adds to each of 16 sums side by side, for `R` rows of x and each row of the weight, one product a step.
#[inline(always)]
fn add_products<S: Simd, const R: usize>(simd: S, sums: &mut [[Lane; OUTPUTS]], weights: &Weights, x: [&[Lane]; R]) {
    let mut local = [[simd.splat(0.0); OUTPUTS]; R];
    for (local, sum) in local.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        *local = simd.load(sum);
    }
    for step in 0..x[0].len() {
        for (local, x) in local.iter_mut().zip(x) {
            let x = simd.load(&x[step]);
            for (sum, weights) in local.iter_mut().zip(weights) {
                *sum = simd.multiply_add(x, simd.load(&weights[step]), *sum);
            }
        }
    }
    for (local, sum) in local.as_flattened().iter().zip(sums.as_flattened_mut()) {
        simd.store(*local, sum);
    }
}

/// The sum of 16 sums, halved until one is left.
#[inline(always)]
fn total(Lane(mut sums): Lane) -> f32 {
    for half in [8, 4, 2, 1] {
        let (low, high) = sums.split_at_mut(half);
        for (low, &mut high) in low.iter_mut().zip(high) {
            *low += high;
        }
    }
    sums[0]
}
