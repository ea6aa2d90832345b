//! Blocks of 256 numbers whose scales are codes themselves ("k-quants").
//!
//! A scale of 11 bits times its code times a number's code has at most 24 bits, so it is exact in f32, and a fused
//! multiply-add rounds as often as a product and a sum do: once.
#![allow(unsafe_code)]

use super::format::{Format, Sink};
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
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        const CODES: Lane = Lane([0., 1., 2., 3., 0., 1., 2., 3., 0., 1., 2., 3., 0., 1., 2., 3.]);
        let codes = simd.bytes(&self.scales);
        let scales = times(simd, half(self.scale), simd.and(codes, 15));
        let offsets = times(simd, -half(self.offset_scale), simd.shift_right(codes, 4));
        let (scales, offsets) = (in_memory(&scales), in_memory(&offsets));
        for (i, [even, odd]) in self.codes.iter().enumerate() {
            let codes = [simd.bytes(even), simd.bytes(odd)];
            for n in 8 * i..8 * i + 8 {
                let table = table(simd, &CODES, scales.0[n], offsets.0[n]);
                out.put(n, simd.pick(table, simd.shift_right(codes[n % 2], n as u32 % 8 / 2 * 2)));
            }
        }
    }
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q3K {
    const LANES: usize = 16;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        const CODES: Lane = Lane([-4., -3., -2., -1., 0., 1., 2., 3., -4., -3., -2., -1., 0., 1., 2., 3.]);
        let scales = times(simd, half(self.scale), simd.subtract(simd.bytes(&self.scale_codes()), 32));
        let scales = in_memory(&scales);
        let third = |odd: usize| simd.shift_left(simd.bytes(&self.third_bits[odd]), 2);
        let third = [third(0), third(1)];
        for (i, [even, odd]) in self.codes.iter().enumerate() {
            let codes = [simd.bytes(even), simd.bytes(odd)];
            for n in 8 * i..8 * i + 8 {
                let table = simd.multiply(simd.splat(scales.0[n]), simd.load(&CODES));
                let low = simd.and(simd.shift_right(codes[n % 2], n as u32 % 8 / 2 * 2), 3);
                let high = simd.and(simd.shift_right(third[n % 2], n as u32 / 2), !3);
                out.put(n, simd.pick(table, simd.or(low, high)));
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
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        const CODES: Lane = Lane([0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.]);
        let (scales, offsets) = scales_and_offsets(simd, self.scale, self.offset_scale, &self.scales);
        let (scales, offsets) = (in_memory(&scales), in_memory(&offsets));
        for (i, codes) in self.codes.iter().enumerate() {
            let low = table(simd, &CODES, scales.0[2 * i], offsets.0[2 * i]);
            let high = table(simd, &CODES, scales.0[2 * i + 1], offsets.0[2 * i + 1]);
            let codes = [simd.bytes(&codes[0]), simd.bytes(&codes[1])];
            for (j, codes) in codes.into_iter().enumerate() {
                out.put(4 * i + j, simd.pick(low, codes));
            }
            for (j, codes) in codes.into_iter().enumerate() {
                out.put(4 * i + 2 + j, simd.pick(high, simd.shift_right(codes, 4)));
            }
        }
    }
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q5K {
    const LANES: usize = 16;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        let (scales, offsets) = scales_and_offsets(simd, self.scale, self.offset_scale, &self.scales);
        let (scales, offsets) = (in_memory(&scales), in_memory(&offsets));
        let fifth = |odd: usize| simd.shift_left(simd.bytes(&self.fifth_bits[odd]), 4);
        let fifth = [fifth(0), fifth(1)];
        for (i, [even, odd]) in self.codes.iter().enumerate() {
            let codes = [simd.bytes(even), simd.bytes(odd)];
            for part in 2 * i..2 * i + 2 {
                let (scale, offset) = (simd.splat(scales.0[part]), simd.splat(offsets.0[part]));
                for (j, codes) in codes.into_iter().enumerate() {
                    let low = simd.and(simd.shift_right(codes, part as u32 % 2 * 4), 15);
                    let code = simd.or(low, simd.and(simd.shift_right(fifth[j], part as u32), 16));
                    out.put(2 * part + j, simd.multiply_add(scale, simd.floats(code), offset));
                }
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
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        let scales = times(simd, half(self.scale), simd.signed_bytes(&self.scales));
        let scales = in_memory(&scales);
        for (i, (low, [even, odd])) in self.low.iter().zip(&self.high).enumerate() {
            let high = [simd.shift_left(simd.bytes(even), 4), simd.shift_left(simd.bytes(odd), 4)];
            let low = [simd.bytes(&low[0]), simd.bytes(&low[1]), simd.bytes(&low[2]), simd.bytes(&low[3])];
            for nibble in 0..2 {
                for (j, low) in low.into_iter().enumerate() {
                    let n = 8 * i + 4 * nibble + j;
                    let low = simd.and(simd.shift_right(low, 4 * nibble as u32), 15);
                    let upper = simd.and(simd.shift_right(high[j % 2], n as u32 % 8 / 2 * 2), 48);
                    let code = simd.subtract(simd.or(low, upper), 32);
                    out.put(n, simd.multiply(simd.splat(scales.0[n]), simd.floats(code)));
                }
            }
        }
    }
}

/// Codes times a number.
#[inline(always)]
fn times<S: Simd>(simd: S, number: f32, codes: S::Codes) -> Lane {
    let mut products = Lane::ZERO;
    simd.store(simd.multiply(simd.splat(number), simd.floats(codes)), &mut products);
    products
}

/// The same lane, opaque, so that each number is read from memory when it is spread over 16 lanes: the compiler would take it
/// out of a register by shuffles, for which there is one port, and that one has the codes to widen and to look up.
#[inline(always)]
fn in_memory(lane: &Lane) -> &Lane {
    std::hint::black_box(lane)
}

/// The number of each code.
#[inline(always)]
fn table<S: Simd>(simd: S, codes: &Lane, scale: f32, offset: f32) -> S::Floats {
    simd.multiply_add(simd.splat(scale), simd.load(codes), simd.splat(offset))
}

/// Twelve bytes, to be worked on four at a time.
#[inline(always)]
fn words(bytes: &[u8; 12]) -> [u32; 3] {
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

#[inline(always)]
fn bytes_of(words: [u32; 4]) -> [u8; LANES] {
    let mut bytes = [0; LANES];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    bytes
}
