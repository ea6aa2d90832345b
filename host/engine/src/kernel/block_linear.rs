//! The linear layer over a weight as it lies in a file: rows of blocks, decoded on the way.
//!
//! - Few rows: each row of the weight is decoded once, into registers or the first-level cache, and multiplied with all rows
//!   of x ([`dots`]); the memory that the weight comes from is the limit. A sum is 16 sums side by side, then a fixed tree.
//! - Many rows: panels of 16 rows of the weight are decoded once and then serve the micro-kernel of dense weights
//!   ([`panels`]). A sum takes its terms in order.
//!
//! Within each way a row's result does not depend on the other rows, and all instruction sets give the same bits; between
//! the two ways results differ by rounding.
#![allow(unsafe_code)]

mod dots;
mod panels;

use std::ops::Range;
use std::slice::ChunksExact;

use super::activation::Activation;
use super::block::BlockType;
use super::isa::Isa;
use super::parallel::{SharedOutput, threads_for};

/// Numbers of the weight, times rows from the first on, that make one more thread worth its wake-up.
const WORK_PER_THREAD: usize = 64 * 1024;

/// Most rows that are multiplied one by one.
const DOT_ROWS_MAX: usize = 16;

/// A weight as it lies in a file: `out_features` rows of whole blocks.
#[derive(Clone, Copy)]
pub(crate) struct BlockMatrix<'a> {
    /// How its numbers are stored.
    pub(crate) ty: BlockType,
    /// `[out_features, in_features]`, row-major, at any address.
    pub(crate) bytes: &'a [u8],
    /// Numbers of a row of output.
    pub(crate) out_features: usize,
    /// Numbers of a row of input: whole blocks.
    pub(crate) in_features: usize,
}

/// A weight whose outputs lie beside those of others.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    /// The weight.
    pub(crate) matrix: BlockMatrix<'a>,
    /// `[out_features]`.
    pub(crate) bias: Option<&'a [f32]>,
}

/// y = activation(x·Wᵀ + bias), on the current rayon pool when that pays; W and the bias are the parts' below each other.
///
/// # Shapes
/// `x`: `[rows, in_features]`; `y`: `[rows, out_features]`, those of all parts, whatever it held before.
///
/// # Panics
/// If a length does not fit these shapes, there is no part, or a weight has no row or column.
pub(crate) fn linear(x: &[f32], parts: &[Part<'_>], activation: Activation, y: &mut [f32]) {
    let out_features: usize = parts.iter().map(|part| part.matrix.out_features).sum();
    let threads = threads_for(x.len().saturating_mul(out_features), WORK_PER_THREAD);
    linear_on(Isa::detected(), threads, Layers { x, parts, activation }, y);
}

/// What `linear` was asked for, less the output.
#[derive(Clone, Copy)]
struct Layers<'a> {
    x: &'a [f32],
    parts: &'a [Part<'a>],
    activation: Activation,
}

fn linear_on(isa: Isa, threads: usize, layers: Layers<'_>, y: &mut [f32]) {
    let layers = layers.checked(y);
    let rows = layers[0].rows();
    let y = SharedOutput::new(y);
    if rows == 0 {
        return;
    }
    if rows <= DOT_ROWS_MAX {
        dots::run(isa, threads, &layers, &y);
    } else {
        layers.into_iter().for_each(|layer| panels::run(isa, threads, layer, &y));
    }
}

impl<'a> Layers<'a> {
    /// At least one layer; all fit together and to `y`.
    fn checked(self, y: &[f32]) -> Vec<Layer<'a>> {
        let Layers { x, parts, activation } = self;
        let in_features = parts.first().expect("a layer has at least one part").matrix.in_features;
        assert!(parts.iter().all(|part| part.matrix.in_features == in_features), "parts have the same input");
        let stride = parts.iter().map(|part| part.matrix.out_features).sum();
        let mut first_column = 0;
        let layer = |&Part { matrix: weight, bias }: &Part<'a>| {
            let layer = Layer { x, weight, bias, activation, stride, first_column };
            layer.assert_shapes(y);
            first_column += weight.out_features;
            layer
        };
        parts.iter().map(layer).collect()
    }
}

/// One part.
#[derive(Clone, Copy)]
struct Layer<'a> {
    x: &'a [f32],
    weight: BlockMatrix<'a>,
    bias: Option<&'a [f32]>,
    activation: Activation,
    /// Numbers of a row of y.
    stride: usize,
    /// Where in a row of y its outputs begin.
    first_column: usize,
}

impl<'a> Layer<'a> {
    fn rows(&self) -> usize {
        self.x.len() / self.weight.in_features
    }

    /// The blocks of each of some rows of the weight.
    #[inline(always)]
    fn weight_rows(&self, outputs: Range<usize>) -> ChunksExact<'a, u8> {
        let row_bytes = self.weight.bytes.len() / self.weight.out_features;
        self.weight.bytes[outputs.start * row_bytes..outputs.end * row_bytes].chunks_exact(row_bytes)
    }

    fn assert_shapes(&self, y: &[f32]) {
        let BlockMatrix { ty, bytes, out_features, in_features } = self.weight;
        assert!(out_features > 0 && in_features > 0, "a weight has at least one row and one column");
        let row_bytes = ty.bytes_of(in_features).expect("rows of a weight are whole blocks");
        assert_eq!(Some(bytes.len()), row_bytes.checked_mul(out_features), "weight is [out_features, in_features]");
        let rows = self.rows();
        assert_eq!(self.x.len(), rows * in_features, "x is [rows, in_features]");
        assert_eq!(y.len(), rows * self.stride, "y is [rows, out_features]");
        assert!(self.bias.is_none_or(|bias| bias.len() == out_features), "bias is [out_features]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::block::dequantize;
    use crate::kernel::pseudo_random::numbers;
    use proptest::prelude::*;

    /// Blocks of random codes, with all numbers in about [-1, 1].
    fn blocks(ty: BlockType, numbers_count: usize, seed: u32) -> Vec<u8> {
        let random = numbers(ty.bytes_of(numbers_count).expect("whole blocks"), seed);
        let mut bytes: Vec<u8> = random.iter().map(|x| (x * 128.0) as i8 as u8).collect();
        let (halves, scale): (&[usize], f32) = match ty {
            BlockType::F32 => {
                return random.iter().take(numbers_count).flat_map(|x| x.to_le_bytes()).collect();
            }
            BlockType::F16 => (&[0], 1.0),
            BlockType::Bf16 => {
                return random.iter().take(numbers_count).flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect();
            }
            BlockType::Q4_0 => (&[0], 0.12),
            BlockType::Q4_1 => (&[0, 2], 0.06),
            BlockType::Q5_0 => (&[0], 0.06),
            BlockType::Q5_1 => (&[0, 2], 0.03),
            BlockType::Q8_0 => (&[0], 0.008),
            BlockType::Q2K => (&[80, 82], 0.02),
            BlockType::Q3K => (&[108], 0.008),
            BlockType::Q4K => (&[0, 2], 0.001),
            BlockType::Q5K => (&[0, 2], 0.0005),
            BlockType::Q6K => (&[208], 0.00025),
        };
        for (i, block) in bytes.chunks_exact_mut(ty.bytes()).enumerate() {
            for (&at, random) in halves.iter().zip(&random[i % 7..]) {
                block[at..at + 2].copy_from_slice(&half::f16::from_f32(random * scale).to_le_bytes());
            }
        }
        bytes
    }

    fn linear_f64(layers: Layers<'_>) -> Vec<f64> {
        let in_features = layers.parts[0].matrix.in_features;
        let weights = layers.parts.iter().flat_map(|Part { matrix, bias }| {
            let mut weight = vec![0.0; matrix.out_features * in_features];
            dequantize(matrix.ty, matrix.bytes, &mut weight);
            let bias = bias.map_or_else(|| vec![0.0; matrix.out_features], <[f32]>::to_vec);
            weight.chunks(in_features).map(<[f32]>::to_vec).zip(bias).collect::<Vec<_>>()
        });
        let weights: Vec<(Vec<f32>, f32)> = weights.collect();
        let one = |x: &[f32], (row, bias): &(Vec<f32>, f32)| {
            let products = x.iter().zip(row).map(|(x, w)| f64::from(*x) * f64::from(*w));
            products.sum::<f64>() + f64::from(*bias)
        };
        layers.x.chunks(in_features).flat_map(|x| weights.iter().map(move |weight| one(x, weight))).collect()
    }

    fn output(isa: Isa, threads: usize, layers: Layers<'_>) -> Vec<f32> {
        let out_features: usize = layers.parts.iter().map(|part| part.matrix.out_features).sum();
        let mut y = vec![f32::NAN; layers.x.len() / layers.parts[0].matrix.in_features * out_features];
        linear_on(isa, threads, layers, &mut y);
        y
    }

    fn plain(bytes: &[u8], in_features: usize) -> [Part<'_>; 1] {
        [Part { matrix: BlockMatrix { ty: BlockType::Q8_0, bytes, out_features: 2, in_features }, bias: None }]
    }

    #[test]
    fn no_rows_give_no_output() {
        linear(&[], &plain(&[0; 68], 32), Activation::None, &mut []);
    }

    #[test]
    #[should_panic(expected = "rows of a weight are whole blocks")]
    fn a_row_that_is_not_whole_blocks_is_refused() {
        linear(&[0.0; 16], &plain(&[0; 34], 16), Activation::None, &mut [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "weight is [out_features, in_features]")]
    fn a_weight_of_other_bytes_is_refused() {
        linear(&[0.0; 32], &plain(&[0; 67], 32), Activation::None, &mut [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "y is [rows, out_features]")]
    fn an_output_of_another_length_is_refused() {
        linear(&[0.0; 64], &plain(&[0; 68], 32), Activation::None, &mut [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "parts have the same input")]
    fn parts_of_another_input_are_refused() {
        let parts = [plain(&[0; 68], 32), plain(&[0; 136], 64)].concat();
        linear(&[0.0; 64], &parts, Activation::None, &mut [0.0; 8]);
    }

    #[test]
    fn a_row_alone_equals_its_row_in_a_batch_of_the_same_way_bit_for_bit() {
        for (ty, batch_rows, n, k) in [(BlockType::Q4K, 8, 70, 512), (BlockType::F16, 8, 300, 389), (BlockType::Q5_0, 7, 5, 32)]
        {
            let (bytes, x, bias) = (blocks(ty, n * k, 2), numbers(batch_rows * k, 3), numbers(n, 4));
            let matrix = BlockMatrix { ty, bytes: &bytes, out_features: n, in_features: k };
            let parts = [Part { matrix, bias: Some(&bias) }];
            let mut batch = vec![0.0; batch_rows * n];
            linear(&x, &parts, Activation::Silu, &mut batch);
            for rows in 1..batch_rows {
                for (x, batch) in x.chunks_exact(rows * k).zip(batch.chunks_exact(rows * n)) {
                    let mut alone = vec![0.0; rows * n];
                    linear(x, &parts, Activation::Silu, &mut alone);
                    assert!(alone == batch, "{rows} rows of {batch_rows}");
                }
            }
        }
    }

    #[test]
    fn some_of_many_rows_equal_theirs_in_a_larger_batch_bit_for_bit() {
        for (ty, n, k) in [(BlockType::Q6K, 70, 512), (BlockType::Bf16, 300, 389), (BlockType::Q4_1, 1000, 64)] {
            let batch_rows = 200;
            let (bytes, x, bias) = (blocks(ty, n * k, 2), numbers(batch_rows * k, 3), numbers(n, 4));
            let matrix = BlockMatrix { ty, bytes: &bytes, out_features: n, in_features: k };
            let parts = [Part { matrix, bias: Some(&bias) }];
            let mut batch = vec![0.0; batch_rows * n];
            linear(&x, &parts, Activation::None, &mut batch);
            for rows in [DOT_ROWS_MAX + 1, 23, 64, 199] {
                let mut some = vec![0.0; rows * n];
                linear(&x[..rows * k], &parts, Activation::None, &mut some);
                assert!(some == batch[..rows * n], "{rows} rows of {batch_rows}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_path_equals_the_portable_twin_bit_for_bit_and_f64_closely(
            parts in prop::collection::vec((prop::sample::select(&BlockType::ALL[..]), 1_usize..60, any::<bool>()), 1..4),
            rows in 1_usize..40, (blocks_per_row, odd) in (1_usize..4, 0_usize..40), threads in 1_usize..4, seed: u32,
        ) {
            let block = parts.iter().map(|(ty, ..)| ty.numbers()).max().expect("at least one part");
            let k = blocks_per_row * block + if block == 1 { odd } else { 0 };
            let x = numbers(rows * k, seed ^ 1);
            let stored: Vec<_> = parts.iter().map(|&(ty, n, _)| (blocks(ty, n * k, seed), numbers(n, seed ^ 2))).collect();
            let parts: Vec<_> = parts.iter().zip(&stored).map(|(&(ty, out_features, biased), (bytes, bias))| {
                let matrix = BlockMatrix { ty, bytes, out_features, in_features: k };
                Part { matrix, bias: biased.then_some(bias.as_slice()) }
            }).collect();
            let plain = Layers { x: &x, parts: &parts, activation: Activation::None };
            for (y, exact) in output(Isa::detected(), threads, plain).iter().zip(linear_f64(plain)) {
                prop_assert!((f64::from(*y) - exact).abs() < 1e-4, "{} is not {}", y, exact);
            }
            let layers = Layers { activation: Activation::GeluTanh, ..plain };
            let twin = output(Isa::PORTABLE, 1, layers);
            for isa in Isa::available() {
                prop_assert_eq!(&output(isa, threads, layers), &twin, "{:?}", isa);
            }
        }
    }
}
