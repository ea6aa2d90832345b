//! Plain numbers, 16 at a time.
#![allow(unsafe_code)]

use super::format::{Format, Sink};
use crate::kernel::gemm::tile::{LANES, Lane};
use crate::kernel::simd::Simd;

/// 16 numbers of binary32.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct F32([[u8; 4]; LANES]);

/// 16 numbers of binary16.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct F16([[u8; 2]; LANES]);

/// 16 upper halves of binary32.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Bf16([[u8; 2]; LANES]);

// SAFETY: an array of bytes.
unsafe impl Format for F32 {
    const LANES: usize = 1;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        let mut numbers = Lane::ZERO;
        for (number, bytes) in numbers.0.iter_mut().zip(&self.0) {
            *number = f32::from_le_bytes(*bytes);
        }
        out.put(0, simd.load(&numbers));
    }
}

// SAFETY: an array of bytes.
unsafe impl Format for F16 {
    const LANES: usize = 1;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        out.put(0, simd.halves(&self.0));
    }
}

// SAFETY: an array of bytes.
unsafe impl Format for Bf16 {
    const LANES: usize = 1;

    #[inline(always)]
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>) {
        out.put(0, simd.upper_halves(&self.0));
    }
}
