//! Many rows of x: panels of the weight are decoded and then multiplied as those of a dense weight.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use super::Layer;
use crate::kernel::block::{Format, LANES_MAX, WithFormat, decode};
use crate::kernel::gemm::Product;
use crate::kernel::gemm::tile::{LANES, Lane, PANELS_MAX};
use crate::kernel::isa::Isa;
use crate::kernel::parallel::{SharedOutput, for_each_job};
use crate::kernel::simd::{Simd, SimdKernel};

/// Jobs a thread, so that one held back by the system does not leave the others waiting.
const JOBS_PER_THREAD: usize = 4;

/// Fewest rows of a job that decodes panels which other jobs decode too.
const ROWS_MIN: usize = 64;

thread_local! {
    /// The panels of the job that this thread is at; kept, since memory fresh from the system is slow.
    static PANELS: RefCell<Vec<Lane>> = const { RefCell::new(Vec::new()) };
}

/// Computes the layer for any number of rows.
pub(super) fn run(isa: Isa, threads: usize, layer: Layer<'_>, y: &SharedOutput<'_>) {
    layer.weight.ty.with_format(Run { isa, threads, layer, y });
}

/// The layer, for one type of blocks.
struct Run<'a> {
    isa: Isa,
    threads: usize,
    layer: Layer<'a>,
    y: &'a SharedOutput<'a>,
}

impl WithFormat for Run<'_> {
    type Output = ();

    fn call<F: Format>(self) {
        run_format::<F>(self.isa, self.threads, self.layer, self.y);
    }
}

fn run_format<F: Format>(isa: Isa, threads: usize, layer: Layer<'_>, y: &SharedOutput<'_>) {
    let Layer { x, weight, bias, activation, stride, first_column } = layer;
    let (depth, columns) = (weight.in_features, weight.out_features);
    let product = Product { isa, x, depth, columns, bias, activation, y, stride, first_column };
    let (rows, panels) = (layer.rows(), weight.out_features.div_ceil(LANES));
    let width = product.panels_within(rows, panels);
    let groups = panels.div_ceil(width);
    let row_blocks = if threads > 1 { (threads * JOBS_PER_THREAD).div_ceil(groups).min(rows.div_ceil(ROWS_MIN)) } else { 1 };
    let rows_per_block = rows.div_ceil(row_blocks);
    for_each_job(groups * row_blocks, threads, |job| {
        let (block, first) = (job / groups * rows_per_block, job % groups * width);
        let rows = block.min(rows)..rows.min(block + rows_per_block);
        let panels = first..panels.min(first + width);
        PANELS.with_borrow_mut(|lanes| {
            lanes.resize(lanes.len().max(PANELS_MAX.min(width) * weight.in_features), Lane::ZERO);
            isa.run_simd(Group::<F> { layer, product, rows, panels, lanes, format: PhantomData });
        });
    });
}

/// One job: a group of panels, for some rows.
struct Group<'a, F> {
    layer: Layer<'a>,
    product: Product<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
    lanes: &'a mut [Lane],
    format: PhantomData<F>,
}

impl<F: Format> SimdKernel for Group<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let depth = self.layer.weight.in_features;
        let lanes = &mut self.lanes[..self.panels.len() * depth];
        for (lanes, panel) in lanes.chunks_exact_mut(depth).zip(self.panels.clone()) {
            decode_panel::<F, S>(simd, self.layer, panel, lanes);
        }
        self.product.write(self.rows, self.panels.start, lanes);
    }
}

/// Decodes 16 rows of the weight side by side, zeros where it has no more.
#[inline(always)]
fn decode_panel<F: Format, S: Simd>(simd: S, layer: Layer<'_>, panel: usize, lanes: &mut [Lane]) {
    let outputs = panel * LANES..layer.weight.out_features.min((panel + 1) * LANES);
    let mut rows = [[Lane::ZERO; LANES]; LANES_MAX];
    let mut decoded = [Lane::ZERO; LANES_MAX];
    for (step, lanes) in lanes.chunks_mut(F::LANES * LANES).enumerate() {
        for (i, row) in layer.weight_rows(outputs.clone()).enumerate() {
            let bytes = &row[step * F::BYTES..];
            decode::<F, S>(simd, &bytes[..bytes.len().min(F::BYTES)], &mut decoded[..F::LANES]);
            for (rows, decoded) in rows.iter_mut().zip(&decoded[..F::LANES]) {
                rows[i] = *decoded;
            }
        }
        for (rows, lanes) in rows.iter().zip(lanes.chunks_mut(LANES)) {
            lanes.copy_from_slice(&transposed(rows)[..lanes.len()]);
        }
    }
}

/// Rows as columns.
#[inline(always)]
fn transposed(rows: &[Lane; LANES]) -> [Lane; LANES] {
    let mut columns = [Lane::ZERO; LANES];
    for (i, row) in rows.iter().enumerate() {
        for (column, number) in columns.iter_mut().zip(row.0) {
            column.0[i] = number;
        }
    }
    columns
}
