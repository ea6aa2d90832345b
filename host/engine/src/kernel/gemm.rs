//! The linear layer: rows times a weight that was packed once at load, with bias and activation in the same pass.
#![allow(unsafe_code)]

pub(super) mod tile;

use std::ops::Range;

use rayon::prelude::*;

use super::activation::Activation;
use super::isa::{Isa, Kernel};
use super::parallel::{SharedOutput, for_each_job, threads_for};
use tile::{LANES, Lane, PANELS_MAX, Panels, ROWS_MAX, Rows, Sums};

/// Multiply-adds that make one more thread worth its wake-up.
const WORK_PER_THREAD: usize = 192 * 1024;

/// Jobs a thread, so that one held back by the system does not leave the others waiting.
const JOBS_PER_THREAD: usize = 4;

/// A weight in the order the micro-kernel reads it: panels of 16 output features, each `[in_features, 16]`.
///
/// It takes `out_features` rounded up to 16, times `in_features`, times 4 bytes; the matrix it was made from may go.
pub(crate) struct PackedWeight {
    lanes: Vec<Lane>,
    out_features: usize,
    in_features: usize,
}

impl PackedWeight {
    /// Packs a row-major weight, as checkpoints store it, on the current rayon pool.
    ///
    /// # Shapes
    /// `weight`: `[out_features, in_features]`, both at least 1.
    ///
    /// # Panics
    /// If `weight` has another length.
    pub(crate) fn pack(weight: &[f32], out_features: usize, in_features: usize) -> Self {
        assert!(out_features > 0 && in_features > 0, "a weight has at least one row and one column");
        assert_eq!(weight.len(), out_features * in_features, "weight is [out_features, in_features]");
        let mut lanes = vec![Lane::ZERO; out_features.div_ceil(LANES) * in_features];
        let rows = weight.par_chunks(LANES * in_features);
        lanes.par_chunks_mut(in_features).zip(rows).for_each(|(panel, rows)| pack_panel(panel, rows, in_features));
        PackedWeight { lanes, out_features, in_features }
    }

    /// Numbers of a row of output.
    pub(crate) fn out_features(&self) -> usize {
        self.out_features
    }

    fn panels(&self) -> usize {
        self.lanes.len() / self.in_features
    }
}

/// Lays up to 16 rows, `stride` apart, side by side; lanes without a row keep what they have.
pub(super) fn pack_panel(panel: &mut [Lane], rows: &[f32], stride: usize) {
    for (column, row) in rows.chunks(stride).enumerate() {
        for (lane, &value) in panel.iter_mut().zip(row) {
            lane.0[column] = value;
        }
    }
}

/// y = activation(x·Wᵀ + bias), on the current rayon pool when that pays.
///
/// # Shapes
/// `x`: `[rows, in_features]`; `bias`: `[out_features]`; `y`: `[rows, out_features]`, whatever it held before.
///
/// # Panics
/// If a length does not fit these shapes.
pub(crate) fn linear(x: &[f32], weight: &PackedWeight, bias: Option<&[f32]>, activation: Activation, y: &mut [f32]) {
    let threads = threads_for(x.len().saturating_mul(weight.out_features), WORK_PER_THREAD);
    linear_on(Isa::detected(), threads, Layer { x, weight, bias, activation }, y);
}

/// What `linear` was asked for, less the output.
#[derive(Clone, Copy)]
struct Layer<'a> {
    x: &'a [f32],
    weight: &'a PackedWeight,
    bias: Option<&'a [f32]>,
    activation: Activation,
}

fn linear_on(isa: Isa, threads: usize, layer: Layer<'_>, y: &mut [f32]) {
    let Layer { x, weight, bias, .. } = layer;
    let rows = x.len() / weight.in_features;
    assert_eq!(x.len(), rows * weight.in_features, "x is [rows, in_features]");
    assert_eq!(y.len(), rows * weight.out_features, "y is [rows, out_features]");
    assert!(bias.is_none_or(|bias| bias.len() == weight.out_features), "bias is [out_features]");
    if rows == 0 {
        return;
    }
    let blocks = Blocks::of(isa, threads, rows, weight);
    let y = SharedOutput::new(y);
    for_each_job(blocks.count(), threads, |job| {
        let (rows, panels) = blocks.block(job);
        isa.run(Block { isa, layer, rows, panels, y: &y });
    });
}

/// How the output is cut into jobs: blocks of rows times blocks of panels.
struct Blocks {
    rows: usize,
    rows_per_block: usize,
    panels: usize,
    panels_per_block: usize,
}

impl Blocks {
    fn of(isa: Isa, threads: usize, rows: usize, weight: &PackedWeight) -> Self {
        let tile_rows = tile::rows_max(isa);
        let most = (tile::block_numbers(isa) / weight.in_features / tile_rows).max(1) * tile_rows;
        let rows_per_block = rows.div_ceil(rows.div_ceil(most)).next_multiple_of(tile_rows);
        let row_blocks = rows.div_ceil(rows_per_block);
        let panels = weight.panels();
        let wanted = if threads > 1 { (threads * JOBS_PER_THREAD).div_ceil(row_blocks) } else { 1 };
        let panels_per_block = panels.div_ceil(wanted).next_multiple_of(tile::panels_for(isa, rows.min(tile_rows)));
        Blocks { rows, rows_per_block, panels, panels_per_block }
    }

    fn panel_blocks(&self) -> usize {
        self.panels.div_ceil(self.panels_per_block)
    }

    fn count(&self) -> usize {
        self.rows.div_ceil(self.rows_per_block) * self.panel_blocks()
    }

    fn block(&self, job: usize) -> (Range<usize>, Range<usize>) {
        let row = job / self.panel_blocks() * self.rows_per_block;
        let panel = job % self.panel_blocks() * self.panels_per_block;
        let rows = row..self.rows.min(row + self.rows_per_block);
        (rows, panel..self.panels.min(panel + self.panels_per_block))
    }
}

/// One job of a layer.
struct Block<'a> {
    isa: Isa,
    layer: Layer<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
    y: &'a SharedOutput<'a>,
}

impl Kernel for Block<'_> {
    type Output = ();

    /// For each group of panels all rows: the panels stay in the first-level cache, the rows in the second.
    #[inline(always)]
    fn run(self) {
        let Layer { x, weight, bias, activation } = self.layer;
        let (depth, columns) = (weight.in_features, weight.out_features);
        let (y, stride, first_column) = (self.y, columns, 0);
        let product = Product { isa: self.isa, x, depth, columns, bias, activation, y, stride, first_column };
        let mut panel = self.panels.start;
        while panel < self.panels.end {
            let width = product.panels_within(self.rows.len(), self.panels.end - panel);
            product.write(self.rows.clone(), panel, &weight.lanes[panel * depth..(panel + width) * depth]);
            panel += width;
        }
    }
}

/// A product with panels, wherever these come from: y = activation(x·panels + bias).
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// The instructions to use.
    pub(super) isa: Isa,
    /// `[rows, depth]`.
    pub(super) x: &'a [f32],
    /// Numbers of a row of x.
    pub(super) depth: usize,
    /// Columns that are computed.
    pub(super) columns: usize,
    /// `[columns]`.
    pub(super) bias: Option<&'a [f32]>,
    /// Applied last.
    pub(super) activation: Activation,
    /// `[rows, stride]`.
    pub(super) y: &'a SharedOutput<'a>,
    /// Numbers of a row of y.
    pub(super) stride: usize,
    /// Where in a row of y the columns begin.
    pub(super) first_column: usize,
}

impl Product<'_> {
    /// Panels that `write` should have at once for so many rows, where `left` are left.
    #[inline(always)]
    pub(super) fn panels_within(&self, rows: usize, left: usize) -> usize {
        let widest = rows.div_ceil(rows.div_ceil(tile::rows_max(self.isa)));
        tile::panels_within(self.isa, widest, left)
    }

    /// The columns of a few panels, `[panels, depth]` lanes, for some rows; no other job may write these rows and panels.
    #[inline(always)]
    pub(super) fn write(&self, rows: Range<usize>, first_panel: usize, lanes: &[Lane]) {
        let panels = first_panel..first_panel + lanes.len() / self.depth;
        let start = self.bias(panels.clone());
        let count = rows.len().div_ceil(tile::rows_max(self.isa));
        let (rows_per_tile, longer) = (rows.len() / count, rows.len() % count);
        let mut row = rows.start;
        for tile in 0..count {
            let rows = rows_per_tile + usize::from(tile < longer);
            self.tile(row..row + rows, panels.clone(), Panels { lanes, start: &start[..panels.len()] });
            row += rows;
        }
    }

    /// The bias of some panels, zeros where there is none.
    #[inline(always)]
    fn bias(&self, panels: Range<usize>) -> [Lane; PANELS_MAX] {
        let mut lanes = [Lane::ZERO; PANELS_MAX];
        let bias = self.bias.map_or(&[][..], |bias| &bias[panels.start * LANES..]);
        for (lane, bias) in lanes[..panels.len()].iter_mut().zip(bias.chunks(LANES)) {
            lane.0[..bias.len()].copy_from_slice(bias);
        }
        lanes
    }

    #[inline(always)]
    fn tile(&self, rows: Range<usize>, panels: Range<usize>, weight: Panels<'_>) {
        let (depth, columns, stride) = (self.depth, self.columns, self.stride);
        let operand = Rows { values: &self.x[rows.start * depth..], stride: depth, count: rows.len() };
        let (first, end) = (panels.start * LANES, columns.min(panels.end * LANES));
        if panels.end * LANES <= columns {
            let at = |row: usize, column: usize| row * stride + self.first_column + column;
            let start = self.y.spanning(at(rows.start, first)..at(rows.end - 1, end));
            for row in 0..rows.len() {
                tile::prefetch(start.wrapping_add(row * stride), end - first);
            }
            // SAFETY: `y` spans these rows and columns, and no other job, nor this one at this time, has a part of them.
            let sums = unsafe { Sums::within(start, stride, rows.len(), end - first) };
            tile::multiply(self.isa, operand, weight, depth, sums);
        } else {
            let mut sums = [Lane::ZERO; ROWS_MAX * PANELS_MAX];
            let width = panels.len() * LANES;
            tile::multiply(self.isa, operand, weight, depth, Sums::of(Lane::flat_mut(&mut sums), width));
            for (row, sums) in rows.clone().zip(Lane::flat(&sums).chunks_exact(width)) {
                self.row(row, first..end).copy_from_slice(&sums[..end - first]);
            }
        }
        if self.activation != Activation::None {
            for row in rows {
                self.activation.apply_inline(self.row(row, first..end));
            }
        }
    }

    /// Some columns of a row of the output, of this job.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "as in `SharedOutput::part`")]
    fn row(&self, row: usize, columns: Range<usize>) -> &mut [f32] {
        let start = row * self.stride + self.first_column;
        // SAFETY: jobs have no row and panel in common, and this job holds one part at a time.
        unsafe { self.y.part(start + columns.start..start + columns.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::pseudo_random::numbers;
    use proptest::prelude::*;

    fn linear_f64(layer: Layer<'_>) -> Vec<f64> {
        let (k, n) = (layer.weight.in_features, layer.weight.out_features);
        let weight = |o: usize, i: usize| layer.weight.lanes[o / LANES * k + i].0[o % LANES];
        let one = |x: &[f32], o: usize| {
            let sum: f64 = x.iter().enumerate().map(|(i, x)| f64::from(*x) * f64::from(weight(o, i))).sum();
            sum + layer.bias.map_or(0.0, |bias| f64::from(bias[o]))
        };
        layer.x.chunks(k).flat_map(|x| (0..n).map(move |o| one(x, o))).collect()
    }

    fn output(isa: Isa, threads: usize, layer: Layer<'_>) -> Vec<f32> {
        let mut y = vec![f32::NAN; layer.x.len() / layer.weight.in_features * layer.weight.out_features];
        linear_on(isa, threads, layer, &mut y);
        y
    }

    #[test]
    fn a_packed_weight_holds_each_number_at_its_panel_step_and_column() {
        let weight = numbers(35 * 7, 1);
        let packed = PackedWeight::pack(&weight, 35, 7);
        assert_eq!((packed.out_features(), packed.panels()), (35, 3));
        for (i, value) in weight.iter().enumerate() {
            let (row, column) = (i / 7, i % 7);
            assert_eq!(packed.lanes[row / LANES * 7 + column].0[row % LANES], *value);
        }
        assert!(packed.lanes[14..].iter().all(|lane| lane.0[3..] == [0.0; 13]));
    }

    #[test]
    fn no_rows_give_no_output() {
        linear(&[], &PackedWeight::pack(&[1.0; 6], 2, 3), None, Activation::None, &mut []);
    }

    #[test]
    fn a_row_alone_equals_its_row_in_a_batch_bit_for_bit() {
        // The second batch is cut into blocks of rows as well as of panels, and its last panel is not whole.
        for (batch_rows, n, k) in [(200, 1152, 384), (1400, 50, 256)] {
            let weight = PackedWeight::pack(&numbers(n * k, 2), n, k);
            let (x, bias) = (numbers(batch_rows * k, 3), numbers(n, 4));
            let mut batch = vec![0.0; batch_rows * n];
            linear(&x, &weight, Some(&bias), Activation::Gelu, &mut batch);
            for rows in [1, 2, 3, 5, 8, 13, 64] {
                for (x, batch) in x.chunks_exact(rows * k).zip(batch.chunks_exact(rows * n)).step_by(7) {
                    let mut alone = vec![0.0; rows * n];
                    linear(x, &weight, Some(&bias), Activation::Gelu, &mut alone);
                    assert!(alone == batch, "{rows} rows of {batch_rows}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_path_equals_the_portable_twin_bit_for_bit_and_f64_closely(
            rows in 1_usize..30, n in 1_usize..150, k in 1_usize..70, threads in 1_usize..4, seed: u32, biased: bool,
        ) {
            let (x, bias) = (numbers(rows * k, seed ^ 1), numbers(n, seed ^ 2));
            let weight = PackedWeight::pack(&numbers(n * k, seed), n, k);
            let bias = biased.then_some(bias.as_slice());
            let plain = Layer { x: &x, weight: &weight, bias, activation: Activation::None };
            for (y, exact) in output(Isa::detected(), threads, plain).iter().zip(linear_f64(plain)) {
                prop_assert!((f64::from(*y) - exact).abs() < 2e-5, "{} is not {}", y, exact);
            }
            let layer = Layer { activation: Activation::GeluTanh, ..plain };
            let twin = output(Isa::PORTABLE, 1, layer);
            for isa in Isa::available() {
                prop_assert_eq!(&output(isa, threads, layer), &twin, "{:?}", isa);
            }
        }
    }
}
