//! Numbers as GGUF files store them: plain, or in GGML's blocks of small integers with shared scales.
//!
//! The layouts are those of `ggml-common.h` (llama.cpp); the numbers are, bit for bit, those of `gguf.quants.dequantize` of
//! the Python package `gguf` 0.19, as long as the scales are finite. Each type has one `decode`, for all kernels.
#![allow(unsafe_code)]

mod format;
mod k;
mod legacy;
mod plain;
mod quantize;

pub(crate) use quantize::quantize;

pub(super) use format::{Format, LANES_MAX, Sink, WithFormat, decode, short_step, steps};

use super::gemm::tile::{LANES, Lane};
use super::isa::Isa;
use super::simd::{Simd, SimdKernel};

/// How numbers are stored: plain, or in GGML's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum BlockType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
    /// 32 numbers: 4 bits each, a scale.
    Q4_0,
    /// 32 numbers: 4 bits each, a scale and an offset.
    Q4_1,
    /// 32 numbers: 5 bits each, a scale.
    Q5_0,
    /// 32 numbers: 5 bits each, a scale and an offset.
    Q5_1,
    /// 32 numbers: 8 bits each, a scale.
    Q8_0,
    /// 256 numbers: 2 bits each, 16 scales and offsets of 4 bits.
    Q2K,
    /// 256 numbers: 3 bits each, 16 scales of 6 bits.
    Q3K,
    /// 256 numbers: 4 bits each, 8 scales and offsets of 6 bits.
    Q4K,
    /// 256 numbers: 5 bits each, 8 scales and offsets of 6 bits.
    Q5K,
    /// 256 numbers: 6 bits each, 16 scales of 8 bits.
    Q6K,
}

impl BlockType {
    /// Every type.
    pub(crate) const ALL: [BlockType; 13] = [
        BlockType::F32,
        BlockType::F16,
        BlockType::Bf16,
        BlockType::Q4_0,
        BlockType::Q4_1,
        BlockType::Q5_0,
        BlockType::Q5_1,
        BlockType::Q8_0,
        BlockType::Q2K,
        BlockType::Q3K,
        BlockType::Q4K,
        BlockType::Q5K,
        BlockType::Q6K,
    ];

    /// The type that a GGUF file names by this number (`ggml_type` in `ggml.h`), if it is one of these.
    pub(crate) fn from_ggml(id: u32) -> Option<BlockType> {
        BlockType::ALL.into_iter().find(|ty| ty.layout().ggml == id)
    }

    /// Its name in GGML.
    pub(crate) fn name(self) -> &'static str {
        self.layout().name
    }

    /// Numbers of a block: 1, 32 or 256.
    pub(crate) fn numbers(self) -> usize {
        self.layout().numbers
    }

    /// Bytes of a block.
    pub(crate) fn bytes(self) -> usize {
        self.layout().bytes
    }

    /// Bytes of so many numbers; none when they are not whole blocks, or too many to count.
    pub(crate) fn bytes_of(self, numbers: usize) -> Option<usize> {
        if numbers.is_multiple_of(self.numbers()) { (numbers / self.numbers()).checked_mul(self.bytes()) } else { None }
    }

    fn layout(self) -> Layout {
        let layout = |ggml, name, numbers, bytes| Layout { ggml, name, numbers, bytes };
        match self {
            BlockType::F32 => layout(0, "F32", 1, 4),
            BlockType::F16 => layout(1, "F16", 1, 2),
            BlockType::Bf16 => layout(30, "BF16", 1, 2),
            BlockType::Q4_0 => layout(2, "Q4_0", 32, 18),
            BlockType::Q4_1 => layout(3, "Q4_1", 32, 20),
            BlockType::Q5_0 => layout(6, "Q5_0", 32, 22),
            BlockType::Q5_1 => layout(7, "Q5_1", 32, 24),
            BlockType::Q8_0 => layout(8, "Q8_0", 32, 34),
            BlockType::Q2K => layout(10, "Q2_K", 256, 84),
            BlockType::Q3K => layout(11, "Q3_K", 256, 110),
            BlockType::Q4K => layout(12, "Q4_K", 256, 144),
            BlockType::Q5K => layout(13, "Q5_K", 256, 176),
            BlockType::Q6K => layout(14, "Q6_K", 256, 210),
        }
    }
}

/// One row of the table of types.
struct Layout {
    ggml: u32,
    name: &'static str,
    numbers: usize,
    bytes: usize,
}

/// Writes the numbers of whole blocks, on this thread.
///
/// # Panics
/// If `bytes` is not exactly the blocks of `out`.
pub(crate) fn dequantize(ty: BlockType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(ty.bytes_of(out.len()), Some(bytes.len()), "bytes are the blocks of all numbers");
    dequantize_on(Isa::detected(), ty, bytes, out);
}

fn dequantize_on(isa: Isa, ty: BlockType, bytes: &[u8], out: &mut [f32]) {
    ty.with_format(Dequantize { isa, bytes, out });
}

struct Dequantize<'a> {
    isa: Isa,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl WithFormat for Dequantize<'_> {
    type Output = ();

    fn call<F: Format>(self) {
        self.isa.run_simd(DequantizeAs::<F> { bytes: self.bytes, out: self.out, format: std::marker::PhantomData });
    }
}

struct DequantizeAs<'a, F> {
    bytes: &'a [u8],
    out: &'a mut [f32],
    format: std::marker::PhantomData<F>,
}

impl<F: Format> SimdKernel for DequantizeAs<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut lanes = [Lane::ZERO; format::LANES_MAX];
        let lanes = &mut lanes[..F::LANES];
        for (out, bytes) in self.out.chunks_mut(F::LANES * LANES).zip(self.bytes.chunks(F::BYTES)) {
            format::decode::<F, S>(simd, bytes, lanes);
            out.copy_from_slice(&Lane::flat(lanes)[..out.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden_file(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/gguf-blocks/");
        std::fs::read(format!("{folder}{name}")).expect("the golden is part of the repository")
    }

    /// Each type's blocks in the golden, and their numbers' bits.
    fn golden() -> Vec<(BlockType, Vec<u8>, Vec<u32>)> {
        let file = golden_file("blocks.bin");
        let mut rest = file.as_slice();
        let mut take = |bytes: usize| rest.split_off(..bytes).expect("the golden is whole").to_vec();
        let goldens = BlockType::ALL.map(|ty| {
            let count = [48, 32, 20][[1, 32, 256].iter().position(|n| *n == ty.numbers()).expect("one of these")];
            let (blocks, numbers) = (take(count * ty.bytes()), take(count * ty.numbers() * 4));
            (ty, blocks, numbers.as_chunks().0.iter().map(|bits| u32::from_le_bytes(*bits)).collect())
        });
        assert!(rest.is_empty());
        goldens.into()
    }

    fn bits(numbers: &[f32]) -> Vec<u32> {
        numbers.iter().map(|number| number.to_bits()).collect()
    }

    #[test]
    fn numbers_are_those_of_the_gguf_package_bit_for_bit_on_every_path() {
        for (ty, blocks, expected) in golden() {
            for isa in Isa::available() {
                let mut numbers = vec![f32::NAN; expected.len()];
                dequantize_on(isa, ty, &blocks, &mut numbers);
                assert!(bits(&numbers) == expected, "{ty:?} {isa:?}");
            }
        }
    }

    #[test]
    fn blocks_may_lie_at_any_address_and_plain_numbers_may_be_of_any_count() {
        for (ty, blocks, expected) in golden() {
            let mut shifted = vec![0_u8];
            shifted.extend_from_slice(&blocks);
            for count in 0..20 {
                let numbers = count * ty.numbers();
                let mut out = vec![f32::NAN; numbers];
                dequantize(ty, &shifted[1..1 + count * ty.bytes()], &mut out);
                assert!(bits(&out) == expected[..numbers], "{count} blocks of {ty:?}");
            }
        }
    }

    #[test]
    fn quantized_blocks_are_those_of_the_gguf_package() {
        let file = golden_file("quantized.bin");
        let (numbers, blocks) = file.split_at(32 * 32 * 4);
        let numbers: Vec<f32> = numbers.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let (q4_0, q8_0) = blocks.split_at(32 * 18);
        assert!(quantize(BlockType::Q4_0, &numbers).is_some_and(|blocks| blocks == q4_0));
        assert!(quantize(BlockType::Q8_0, &numbers).is_some_and(|blocks| blocks == q8_0));
        assert_eq!(quantize(BlockType::Q8_0, &numbers[1..]), None);
        assert_eq!(quantize(BlockType::Q4K, &numbers), None);
    }

    #[test]
    fn every_half_is_its_number() {
        let halves: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for isa in Isa::available() {
            let mut numbers = vec![0.0; 1 << 16];
            dequantize_on(isa, BlockType::F16, &halves, &mut numbers);
            for (half, number) in (0..=u16::MAX).zip(numbers) {
                let expected = half::f16::from_bits(half).to_f32();
                assert!(number.to_bits() == expected.to_bits() || number.is_nan() && expected.is_nan(), "{half:#x}");
            }
        }
    }

    #[test]
    fn bytes_are_counted_in_whole_blocks() {
        assert_eq!(BlockType::Q4K.bytes_of(512), Some(288));
        assert_eq!(BlockType::Q4K.bytes_of(500), None);
        assert_eq!(BlockType::F32.bytes_of(usize::MAX), None);
        assert_eq!(BlockType::Q8_0.bytes_of(0), Some(0));
    }

    #[test]
    fn ids_of_other_types_are_unknown() {
        assert_eq!(BlockType::from_ggml(30), Some(BlockType::Bf16));
        for id in [4, 5, 9, 15, 16, 24, 39, u32::MAX] {
            assert_eq!(BlockType::from_ggml(id), None);
        }
    }

    #[test]
    #[should_panic(expected = "bytes are the blocks of all numbers")]
    fn bytes_that_do_not_fit_are_refused() {
        dequantize(BlockType::Q4_0, &[0; 36], &mut [0.0; 32]);
    }
}
