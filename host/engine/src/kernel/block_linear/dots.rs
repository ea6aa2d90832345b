//! Few rows of x: a dot product of each with each row of the weight.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use super::Layer;
use crate::kernel::block::{Format, Sink, WithFormat, decode, short_step, steps};
use crate::kernel::gemm::tile::{LANES, Lane, prefetch};
use crate::kernel::isa::Isa;
use crate::kernel::parallel::{SharedOutput, for_each_job};
use crate::kernel::simd::{Simd, SimdKernel};

/// Rows of the weight that are decoded at a time, so that each lane of x is loaded once for all of them.
const OUTPUTS: usize = 4;

/// Lanes of such a row that are decoded at a time: with those of x they stay in the first-level cache.
const CHUNK: usize = 32;

/// Bytes of the weight from those that are multiplied to those that are fetched meanwhile.
const AHEAD: usize = 4096;

/// Jobs a thread, so that one held back by the system does not leave the others waiting.
const JOBS_PER_THREAD: usize = 4;

/// Computes layers of the same input for up to [`DOT_ROWS_MAX`](super::DOT_ROWS_MAX) rows.
pub(super) fn run(isa: Isa, threads: usize, layers: &[Layer<'_>], y: &SharedOutput<'_>) {
    let x = lanes_of(layers[0].x, layers[0].weight.in_features);
    let outputs: usize = layers.iter().map(|layer| layer.weight.out_features).sum();
    let per_job = outputs.div_ceil(if threads > 1 { threads * JOBS_PER_THREAD } else { 1 }).next_multiple_of(OUTPUTS);
    let jobs_of = |layer: &Layer<'_>| layer.weight.out_features.div_ceil(per_job);
    for_each_job(layers.iter().map(jobs_of).sum(), threads, |mut job| {
        for &layer in layers {
            if job < jobs_of(&layer) {
                let outputs = job * per_job..layer.weight.out_features.min((job + 1) * per_job);
                return layer.weight.ty.with_format(Job { isa, layer, x: &x, outputs, y });
            }
            job -= jobs_of(&layer);
        }
    });
}

/// Some outputs of all rows, for a type of blocks known only at run time.
struct Job<'a> {
    isa: Isa,
    layer: Layer<'a>,
    x: &'a [Lane],
    outputs: Range<usize>,
    y: &'a SharedOutput<'a>,
}

impl WithFormat for Job<'_> {
    type Output = ();

    fn call<F: Format>(self) {
        self.isa.run_simd(Dots::<F> { job: self, format: PhantomData });
    }
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

/// The same for one type.
struct Dots<'a, F> {
    job: Job<'a>,
    format: PhantomData<F>,
}

impl<F: Format> SimdKernel for Dots<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if self.job.layer.rows() == 1 {
            self.multiply_at_once(simd);
        } else {
            self.multiply_by_chunks(simd);
        }
        for row in 0..self.job.layer.rows() {
            self.job.layer.activation.apply_inline(self.row(row, self.job.outputs.clone()));
        }
    }
}

impl<F: Format> Dots<'_, F> {
    /// One row of x: the weight's numbers are multiplied as they are decoded, and never see memory.
    #[inline(always)]
    fn multiply_at_once<S: Simd>(&self, simd: S) {
        let Range { mut start, end } = self.job.outputs;
        while start + OUTPUTS <= end {
            self.outputs_at_once::<S, OUTPUTS>(simd, start);
            start += OUTPUTS;
        }
        while start < end {
            self.outputs_at_once::<S, 1>(simd, start);
            start += 1;
        }
    }

    /// A few outputs side by side, so that their sums do not wait for each other.
    #[inline(always)]
    fn outputs_at_once<S: Simd, const O: usize>(&self, simd: S, start: usize) {
        let (mut weights, mut rest) = ([&[][..]; O], [&[][..]; O]);
        for ((row, weights), rest) in self.job.layer.weight_rows(start..start + O).zip(&mut weights).zip(&mut rest) {
            (*weights, *rest) = steps::<F>(row);
        }
        let mut sums = [simd.splat(0.0); O];
        let mut x = self.job.x.chunks(F::LANES);
        for step in 0..weights[0].len() {
            let x = x.next().unwrap_or_default();
            let next = weights[0].as_ptr().cast::<f32>().wrapping_byte_add(AHEAD + step * O * F::BYTES);
            prefetch(next, O * F::BYTES / size_of::<f32>());
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = sum_with_products(simd, *sum, x, &weights[step]);
            }
        }
        if let Some(x) = x.next() {
            for (sum, rest) in sums.iter_mut().zip(rest) {
                *sum = sum_with_products(simd, *sum, x, &short_step::<F>(rest));
            }
        }
        let mut lanes = [[Lane::ZERO]; O];
        for (lane, sum) in lanes.as_flattened_mut().iter_mut().zip(sums) {
            simd.store(sum, lane);
        }
        self.finish(0, start..start + O, lanes.as_flattened());
    }

    /// Any rows of x: a chunk of the weight is decoded into the first-level cache and then multiplied with each of them.
    #[inline(always)]
    fn multiply_by_chunks<S: Simd>(&self, simd: S) {
        let steps = self.job.layer.weight.in_features.div_ceil(LANES);
        let mut weights: Weights = [[Lane::ZERO; CHUNK]; OUTPUTS];
        let mut sums: Sums = [[Lane::ZERO; OUTPUTS]; super::DOT_ROWS_MAX];
        for start in self.job.outputs.clone().step_by(OUTPUTS) {
            let outputs = start..self.job.outputs.end.min(start + OUTPUTS);
            sums[..self.job.layer.rows()].fill([Lane::ZERO; OUTPUTS]);
            for first in (0..steps).step_by(CHUNK) {
                let count = CHUNK.min(steps - first);
                for (row, weights) in self.job.layer.weight_rows(outputs.clone()).zip(&mut weights) {
                    let bytes = &row[first / F::LANES * F::BYTES..];
                    let bytes = &bytes[..bytes.len().min(count / F::LANES * F::BYTES)];
                    prefetch(bytes.as_ptr().wrapping_add(OUTPUTS * row.len()).cast(), bytes.len() / size_of::<f32>());
                    decode_steps::<F, S>(simd, bytes, &mut weights[..count]);
                }
                self.add_rows(simd, &mut sums, &weights, first..first + count);
            }
            for (row, sums) in sums[..self.job.layer.rows()].iter().enumerate() {
                self.finish(row, outputs.clone(), sums);
            }
        }
    }

    /// Adds the products of some lanes of all rows of x, a few rows at a time as the registers allow.
    #[inline(always)]
    fn add_rows<S: Simd>(&self, simd: S, sums: &mut Sums, weights: &Weights, lanes: Range<usize>) {
        let steps = self.job.x.len() / self.job.layer.rows();
        let x = |row: usize| &self.job.x[row * steps..][lanes.clone()];
        let rows = self.job.layer.rows();
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
    fn finish(&self, row: usize, outputs: Range<usize>, sums: &[Lane]) {
        for ((y, output), sum) in self.row(row, outputs.clone()).iter_mut().zip(outputs).zip(sums) {
            *y = total(*sum) + self.job.layer.bias.map_or(0.0, |bias| bias[output]);
        }
    }

    /// Some outputs of a row, of this job.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "as in `SharedOutput::part`")]
    fn row(&self, row: usize, outputs: Range<usize>) -> &mut [f32] {
        let start = row * self.job.layer.stride + self.job.layer.first_column;
        // SAFETY: jobs have no output in common, and this job holds one part at a time.
        unsafe { self.job.y.part(start + outputs.start..start + outputs.end) }
    }
}

/// A sum that takes the products of decoded numbers with a row of x.
struct Products<'a, S: Simd> {
    simd: S,
    x: &'a [Lane],
    sum: S::Floats,
}

impl<S: Simd> Sink<S> for Products<'_, S> {
    #[inline(always)]
    fn put(&mut self, at: usize, numbers: S::Floats) {
        self.sum = self.simd.multiply_add(self.simd.load(&self.x[at]), numbers, self.sum);
    }
}

#[inline(always)]
fn sum_with_products<S: Simd, F: Format>(simd: S, sum: S::Floats, x: &[Lane], step: &F) -> S::Floats {
    let mut products = Products { simd, x, sum };
    step.decode(simd, &mut products);
    products.sum
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
