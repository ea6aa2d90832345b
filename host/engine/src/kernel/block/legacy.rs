//! Blocks of 32 numbers with one scale.
//!
//! A scale of 11 bits times a code of at most 8 is exact in f32, so a fused multiply-add rounds as often as a product and a
//! sum do: once.
#![allow(unsafe_code)]

use super::format::{Format, Sink};
use crate::kernel::gemm::tile::Lane;
use crate::kernel::simd::{Half, Simd};

/// `GGML_TYPE_Q4_0`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Q4_0 {
    scale: Half,
    codes: [u8; 16],
}

/// `GGML_TYPE_Q4_1`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Q4_1 {
    scale: Half,
    offset: Half,
    codes: [u8; 16],
}

/// `GGML_TYPE_Q5_0`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Q5_0 {
    scale: Half,
    fifth_bits: [u8; 4],
    codes: [u8; 16],
}

/// `GGML_TYPE_Q5_1`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Q5_1 {
    scale: Half,
    offset: Half,
    fifth_bits: [u8; 4],
    codes: [u8; 16],
}

/// `GGML_TYPE_Q8_0`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Q8_0 {
    scale: Half,
    codes: [[u8; 16]; 2],
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q4_0 {
    const LANES: usize = 2;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        const CODES: Lane = Lane([-8., -7., -6., -5., -4., -3., -2., -1., 0., 1., 2., 3., 4., 5., 6., 7.]);
        let table = simd.multiply(spread_halves(simd, self)[0], simd.load(&CODES));
        pick_nibbles(simd, table, &self.codes, out);
    }
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q4_1 {
    const LANES: usize = 2;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        const CODES: Lane = Lane([0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.]);
        let [scale, offset] = spread_halves(simd, self);
        let table = simd.multiply_add(scale, simd.load(&CODES), offset);
        pick_nibbles(simd, table, &self.codes, out);
    }
}

/// The first halves of a block as floats: its scale, and its offset if it has one.
///
/// Made opaque, so that each is read from memory when it is spread over 16 lanes: the compiler would take it out of a register
/// by a shuffle, for which there is one port, and that one has the codes to widen and to look up.
#[inline(always)]
fn spread_halves<F: Format, S: Simd>(simd: S, block: &F) -> [S::Floats; 2] {
    let halves = simd.four_halves(block.first_bytes());
    let [first, second, ..] = std::hint::black_box(&halves);
    [simd.splat(*first), simd.splat(*second)]
}

/// 32 numbers, each one of a table of 16.
#[inline(always)]
fn pick_nibbles<S: Simd>(simd: S, table: S::Floats, codes: &[u8; 16], out: &mut impl Sink<S>) {
    let codes = simd.bytes(codes);
    out.put(0, simd.pick(table, codes));
    out.put(1, simd.pick(table, simd.shift_right(codes, 4)));
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q5_0 {
    const LANES: usize = 2;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        let scale = spread_halves(simd, self)[0];
        // Where the fifth bit is not set, all bits above make the code less by 16.
        let bits = u32::from_le_bytes(self.fifth_bits);
        for (at, code) in five_bits(simd, &self.codes, !bits, 0_u32.wrapping_sub(16)).into_iter().enumerate() {
            out.put(at, simd.multiply(scale, simd.floats(code)));
        }
    }
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q5_1 {
    const LANES: usize = 2;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        let [scale, offset] = spread_halves(simd, self);
        let bits = u32::from_le_bytes(self.fifth_bits);
        for (at, code) in five_bits(simd, &self.codes, bits, 16).into_iter().enumerate() {
            out.put(at, simd.multiply_add(scale, simd.floats(code), offset));
        }
    }
}

/// 32 codes: four bits each, with `upper` set where a bit of `bits` is.
#[inline(always)]
fn five_bits<S: Simd>(simd: S, codes: &[u8; 16], bits: u32, upper: u32) -> [S::Codes; 2] {
    let codes = simd.bytes(codes);
    [
        simd.or_where(simd.and(codes, 15), bits as u16, upper),
        simd.or_where(simd.shift_right(codes, 4), (bits >> 16) as u16, upper),
    ]
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q8_0 {
    const LANES: usize = 2;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        let scale = spread_halves(simd, self)[0];
        for (at, codes) in self.codes.iter().enumerate() {
            out.put(at, simd.multiply(scale, simd.floats(simd.signed_bytes(codes))));
        }
    }
}
