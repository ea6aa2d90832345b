//! The twin of the others, in plain Rust.

use super::super::gemm::tile::{LANES, Lane};
use super::{Simd, half};

/// What the compiler makes of loops.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    const ROWS: usize = 1;
    type Floats = [f32; LANES];
    type Codes = [u32; LANES];

    #[inline(always)]
    fn load(self, lane: &Lane) -> [f32; LANES] {
        lane.0
    }

    #[inline(always)]
    fn store(self, floats: [f32; LANES], lane: &mut Lane) {
        lane.0 = floats;
    }

    #[inline(always)]
    fn splat(self, number: f32) -> [f32; LANES] {
        [number; LANES]
    }

    #[inline(always)]
    fn multiply(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn multiply_add(self, a: [f32; LANES], b: [f32; LANES], c: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn halves(self, bytes: &[[u8; 2]; LANES]) -> [f32; LANES] {
        bytes.map(half)
    }

    #[inline(always)]
    fn four_halves(self, bytes: &[u8; 8]) -> [f32; 4] {
        std::array::from_fn(|i| half([bytes[2 * i], bytes[2 * i + 1]]))
    }

    #[inline(always)]
    fn upper_halves(self, bytes: &[[u8; 2]; LANES]) -> [f32; LANES] {
        bytes.map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))
    }

    #[inline(always)]
    fn bytes(self, bytes: &[u8; LANES]) -> [u32; LANES] {
        bytes.map(u32::from)
    }

    #[inline(always)]
    fn signed_bytes(self, bytes: &[u8; LANES]) -> [u32; LANES] {
        bytes.map(|byte| i32::from(byte as i8) as u32)
    }

    #[inline(always)]
    fn floats(self, codes: [u32; LANES]) -> [f32; LANES] {
        codes.map(|code| code as i32 as f32)
    }

    #[inline(always)]
    fn pick(self, table: [f32; LANES], codes: [u32; LANES]) -> [f32; LANES] {
        codes.map(|code| table[(code & 15) as usize])
    }

    #[inline(always)]
    fn and(self, codes: [u32; LANES], mask: u32) -> [u32; LANES] {
        codes.map(|code| code & mask)
    }

    #[inline(always)]
    fn or(self, a: [u32; LANES], b: [u32; LANES]) -> [u32; LANES] {
        std::array::from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn shift_right(self, codes: [u32; LANES], bits: u32) -> [u32; LANES] {
        codes.map(|code| code >> bits)
    }

    #[inline(always)]
    fn shift_left(self, codes: [u32; LANES], bits: u32) -> [u32; LANES] {
        codes.map(|code| code << bits)
    }

    #[inline(always)]
    fn subtract(self, codes: [u32; LANES], number: u32) -> [u32; LANES] {
        codes.map(|code| code.wrapping_sub(number))
    }

    #[inline(always)]
    fn or_where(self, codes: [u32; LANES], lanes: u16, bits: u32) -> [u32; LANES] {
        std::array::from_fn(|i| if lanes & (1 << i) != 0 { codes[i] | bits } else { codes[i] })
    }
}
