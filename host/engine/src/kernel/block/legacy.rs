//! Blocks of 32 numbers with one scale.
//!
//! A scale of 11 bits times a code of at most 8 is exact in f32, so a fused multiply-add rounds as often as a product and a
//! sum do: once.
#![allow(unsafe_code)]

use super::format::Format;
use crate::kernel::gemm::tile::Lane;
use crate::kernel::simd::{Half, Simd, half};

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
    fn decode<S: Simd>(&self, simd: S, lanes: &mut [Lane]) {
        const CODES: Lane = Lane([-8., -7., -6., -5., -4., -3., -2., -1., 0., 1., 2., 3., 4., 5., 6., 7.]);
        let table = simd.multiply(simd.splat(half(self.scale)), simd.load(&CODES));
        pick_nibbles(simd, table, &self.codes, lanes);
    }
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q4_1 {
    const LANES: usize = 2;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, lanes: &mut [Lane]) {
        const CODES: Lane = Lane([0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.]);
        let (scale, offset) = (simd.splat(half(self.scale)), simd.splat(half(self.offset)));
        let table = simd.multiply_add(scale, simd.load(&CODES), offset);
        pick_nibbles(simd, table, &self.codes, lanes);
    }
}

/// 32 numbers, each one of a table of 16.
#[inline(always)]
fn pick_nibbles<S: Simd>(simd: S, table: S::Floats, codes: &[u8; 16], lanes: &mut [Lane]) {
    let codes = simd.bytes(codes);
    simd.store(simd.pick(table, codes), &mut lanes[0]);
    simd.store(simd.pick(table, simd.shift_right(codes, 4)), &mut lanes[1]);
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q5_0 {
    const LANES: usize = 2;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, lanes: &mut [Lane]) {
        let scale = simd.splat(half(self.scale));
        // Where the fifth bit is not set, all bits above make the code less by 16.
        let bits = u32::from_le_bytes(self.fifth_bits);
        for (code, lane) in five_bits(simd, &self.codes, !bits, 0_u32.wrapping_sub(16)).into_iter().zip(lanes) {
            simd.store(simd.multiply(scale, simd.floats(code)), lane);
        }
    }
}

// SAFETY: fields of bytes only.
unsafe impl Format for Q5_1 {
    const LANES: usize = 2;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, lanes: &mut [Lane]) {
        let (scale, offset) = (simd.splat(half(self.scale)), simd.splat(half(self.offset)));
        let bits = u32::from_le_bytes(self.fifth_bits);
        for (code, lane) in five_bits(simd, &self.codes, bits, 16).into_iter().zip(lanes) {
            simd.store(simd.multiply_add(scale, simd.floats(code), offset), lane);
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
    fn decode<S: Simd>(&self, simd: S, lanes: &mut [Lane]) {
        let scale = simd.splat(half(self.scale));
        for (codes, lane) in self.codes.iter().zip(lanes) {
            simd.store(simd.multiply(scale, simd.floats(simd.signed_bytes(codes))), lane);
        }
    }
}
