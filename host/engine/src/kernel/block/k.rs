//! Blocks of 256 numbers whose scales are codes themselves ("k-quants").
//!
//! A scale of 11 bits times its code times a number's code has at most 24 bits, so it is exact in f32, and a fused
//! multiply-add rounds as often as a product and a sum do: once.
#![allow(unsafe_code)]

use super::format::Format;
use crate::kernel::gemm::tile::{LANES, Lane};
use crate::kernel::simd::{Half, Simd, half};

/// `GGML_TYPE_Q2_K`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Q2K {
    scales: [u8; 16],
    codes: [[[u8; 16]; 2]; 2],
    scale: Half,
    offset_scale: Half,
}

/// `GGML_TYPE_Q3_K`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Q3K {
    third_bits: [[u8; 16]; 2],
    codes: [[[u8; 16]; 2]; 2],
    scales: [u8; 12],
    scale: Half,
}

/// `GGML_TYPE_Q4_K`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Q4K {
    scale: Half,
    offset_scale: Half,
    scales: [u8; 12],
    codes: [[[u8; 16]; 2]; 4],
}

/// `GGML_TYPE_Q5_K`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Q5K {
    scale: Half,
    offset_scale: Half,
    scales: [u8; 12],
    fifth_bits: [[u8; 16]; 2],
    codes: [[[u8; 16]; 2]; 4],
}

/// `GGML_TYPE_Q6_K`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Q6K {
    low: [[[u8; 16]; 4]; 2],
    high: [[[u8; 16]; 2]; 2],
    scales: [u8; 16],
    scale: Half,
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q2K {
    const LANES: usize = 16;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, lanes: &mut [Lane]) {
        const CODES: Lane = Lane([0., 1., 2., 3., 0., 1., 2., 3., 0., 1., 2., 3., 0., 1., 2., 3.]);
        let codes = simd.bytes(&self.scales);
        let scales = times(simd, half(self.scale), simd.and(codes, 15));
        let offsets = times(simd, -half(self.offset_scale), simd.shift_right(codes, 4));
        for (i, codes) in self.codes.as_flattened().iter().enumerate() {
            let codes = simd.bytes(codes);
            for quarter in 0..4 {
                let n = i / 2 * 8 + quarter * 2 + i % 2;
                let table = table(simd, &CODES, scales.0[n], offsets.0[n]);
                simd.store(simd.pick(table, simd.shift_right(codes, 2 * quarter as u32)), &mut lanes[n]);
            }
        }
    }
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q3K {
    const LANES: usize = 16;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, lanes: &mut [Lane]) {
        const CODES: Lane = Lane([-4., -3., -2., -1., 0., 1., 2., 3., -4., -3., -2., -1., 0., 1., 2., 3.]);
        let scales = times(simd, half(self.scale), simd.subtract(simd.bytes(&self.scale_codes()), 32));
        for (i, codes) in self.codes.as_flattened().iter().enumerate() {
            let codes = simd.bytes(codes);
            let third = simd.shift_left(simd.bytes(&self.third_bits[i % 2]), 2);
            for quarter in 0..4 {
                let n = i / 2 * 8 + quarter * 2 + i % 2;
                let table = simd.multiply(simd.splat(scales.0[n]), simd.load(&CODES));
                let low = simd.and(simd.shift_right(codes, 2 * quarter as u32), 3);
                let high = simd.and(simd.shift_right(third, n as u32 / 2), !3);
                simd.store(simd.pick(table, simd.or(low, high)), &mut lanes[n]);
            }
        }
    }
}

impl Q3K {
    /// The 16 scales: four bits each in the first 8 bytes, the upper two in the other 4.
    #[inline(always)]
    fn scale_codes(&self) -> [u8; LANES] {
        let [first, second, upper] = words(&self.scales);
        let low = [first & 0x0f0f_0f0f, second & 0x0f0f_0f0f, first >> 4 & 0x0f0f_0f0f, second >> 4 & 0x0f0f_0f0f];
        let high = |shift: u32| (upper >> shift & 0x0303_0303) << 4;
        bytes_of([low[0] | high(0), low[1] | high(2), low[2] | high(4), low[3] | high(6)])
    }
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q4K {
    const LANES: usize = 16;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, lanes: &mut [Lane]) {
        const CODES: Lane = Lane([0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.]);
        let (scales, offsets) = scales_and_offsets(simd, self.scale, self.offset_scale, &self.scales);
        for (i, codes) in self.codes.iter().enumerate() {
            let low = table(simd, &CODES, scales.0[2 * i], offsets.0[2 * i]);
            let high = table(simd, &CODES, scales.0[2 * i + 1], offsets.0[2 * i + 1]);
            for (j, codes) in codes.iter().enumerate() {
                let codes = simd.bytes(codes);
                simd.store(simd.pick(low, codes), &mut lanes[4 * i + j]);
                simd.store(simd.pick(high, simd.shift_right(codes, 4)), &mut lanes[4 * i + 2 + j]);
            }
        }
    }
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q5K {
    const LANES: usize = 16;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, lanes: &mut [Lane]) {
        let (scales, offsets) = scales_and_offsets(simd, self.scale, self.offset_scale, &self.scales);
        for (i, codes) in self.codes.as_flattened().iter().enumerate() {
            let codes = simd.bytes(codes);
            let fifth = simd.shift_left(simd.bytes(&self.fifth_bits[i % 2]), 4);
            for (nibble, part) in [simd.and(codes, 15), simd.shift_right(codes, 4)].into_iter().enumerate() {
                let part_of_8 = i / 2 * 2 + nibble;
                let code = simd.or(part, simd.and(simd.shift_right(fifth, part_of_8 as u32), 16));
                let (scale, offset) = (simd.splat(scales.0[part_of_8]), simd.splat(offsets.0[part_of_8]));
                simd.store(simd.multiply_add(scale, simd.floats(code), offset), &mut lanes[2 * part_of_8 + i % 2]);
            }
        }
    }
}

/// The 8 scales and 8 negated offsets of a block, from 12 bytes: six bits each, the upper two of the last four apart.
#[inline(always)]
fn scales_and_offsets<S: Simd>(simd: S, scale: Half, offset_scale: Half, codes: &[u8; 12]) -> (Lane, Lane) {
    let [first, second, rest] = words(codes);
    let scales = [first & 0x3f3f_3f3f, rest & 0x0f0f_0f0f | (first >> 6 & 0x0303_0303) << 4];
    let offsets = [second & 0x3f3f_3f3f, rest >> 4 & 0x0f0f_0f0f | (second >> 6 & 0x0303_0303) << 4];
    let codes = |[low, high]: [u32; 2]| simd.bytes(&bytes_of([low, high, 0, 0]));
    (times(simd, half(scale), codes(scales)), times(simd, -half(offset_scale), codes(offsets)))
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q6K {
    const LANES: usize = 16;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, lanes: &mut [Lane]) {
        let scales = times(simd, half(self.scale), simd.signed_bytes(&self.scales));
        for (i, low) in self.low.as_flattened().iter().enumerate() {
            let low = simd.bytes(low);
            let high = simd.shift_left(simd.bytes(&self.high[i / 4][i % 2]), 4);
            for (nibble, part) in [simd.and(low, 15), simd.shift_right(low, 4)].into_iter().enumerate() {
                let n = i / 4 * 8 + nibble * 4 + i % 4;
                let upper = simd.and(simd.shift_right(high, n as u32 % 8 / 2 * 2), 48);
                let code = simd.subtract(simd.or(part, upper), 32);
                simd.store(simd.multiply(simd.splat(scales.0[n]), simd.floats(code)), &mut lanes[n]);
            }
        }
    }
}

/// Codes times a number.
///
/// Made opaque, so that each product is read from memory when it is spread over 16 lanes: the compiler would take it out of a
/// register by shuffles, for which there is one port, and that one has the codes to widen and to look up.
#[inline(always)]
fn times<S: Simd>(simd: S, number: f32, codes: S::Codes) -> Lane {
    let mut products = Lane::ZERO;
    simd.store(simd.multiply(simd.splat(number), simd.floats(codes)), &mut products);
    std::hint::black_box(products)
}

/// The number of each code.
#[inline(always)]
fn table<S: Simd>(simd: S, codes: &Lane, scale: f32, offset: f32) -> S::Floats {
    simd.multiply_add(simd.splat(scale), simd.load(codes), simd.splat(offset))
}

/// Twelve bytes, to be worked on four at a time.
#[inline(always)]
fn words(bytes: &[u8; 12]) -> [u32; 3] {
    [0, 4, 8].map(|at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
}

#[inline(always)]
fn bytes_of(words: [u32; 4]) -> [u8; LANES] {
    let mut bytes = [0; LANES];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    bytes
}
