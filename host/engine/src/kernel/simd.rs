//! Sixteen numbers at a time, written out where the compiler does not find the instructions by itself.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::gemm::tile::{LANES, Lane};
use super::isa::{Isa, Kernel, Level};

/// The operations on 16 lanes of one instruction set; a value is the proof that this machine has it.
///
/// All sets give the same bits, but for those of NaN. Every method is marked `#[inline(always)]`, as is all that calls it,
/// so that it ends up in code compiled for the set.
pub(crate) trait Simd: Copy {
    /// Rows of x whose sums with four rows of weights fit into the registers.
    const ROWS: usize;

    /// 16 floats.
    type Floats: Copy;
    /// 16 integers of 32 bits.
    type Codes: Copy;

    /// The numbers of a lane.
    fn load(self, lane: &Lane) -> Self::Floats;
    /// Writes a lane.
    fn store(self, floats: Self::Floats, lane: &mut Lane);
    /// The same number 16 times.
    fn splat(self, number: f32) -> Self::Floats;
    /// a·b.
    fn multiply(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// a·b + c, rounded once.
    fn multiply_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;

    /// Halves as floats.
    fn halves(self, bytes: &[Half; LANES]) -> Self::Floats;
    /// Four halves as floats.
    fn four_halves(self, bytes: &[u8; 8]) -> [f32; 4];
    /// Upper halves of floats.
    fn upper_halves(self, bytes: &[[u8; 2]; LANES]) -> Self::Floats;
    /// Bytes as integers.
    fn bytes(self, bytes: &[u8; LANES]) -> Self::Codes;
    /// Bytes as integers with their sign.
    fn signed_bytes(self, bytes: &[u8; LANES]) -> Self::Codes;
    /// Integers as floats.
    fn floats(self, codes: Self::Codes) -> Self::Floats;
    /// The number of a table of 16 that each integer's lowest four bits say.
    fn pick(self, table: Self::Floats, codes: Self::Codes) -> Self::Floats;

    /// The bits that are also in `mask`.
    fn and(self, codes: Self::Codes, mask: u32) -> Self::Codes;
    /// The bits of both.
    fn or(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// Moves bits down, by less than 32.
    fn shift_right(self, codes: Self::Codes, bits: u32) -> Self::Codes;
    /// Moves bits up, by less than 32.
    fn shift_left(self, codes: Self::Codes, bits: u32) -> Self::Codes;
    /// Less a number, wrapping.
    fn subtract(self, codes: Self::Codes, number: u32) -> Self::Codes;
    /// Sets `bits` in those lanes whose bit in `lanes` is set, lane 0 being the lowest.
    fn or_where(self, codes: Self::Codes, lanes: u16, bits: u32) -> Self::Codes;
}

/// A [`Kernel`] that uses the operations of an instruction set by name.
pub(crate) trait SimdKernel {
    /// What the computation returns.
    type Output;

    /// Computes; marked `#[inline(always)]`, with all that it calls in its loops.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// Runs `kernel` compiled for this set.
    pub(crate) fn run_simd<K: SimdKernel>(self, kernel: K) -> K::Output {
        match self.level() {
            Level::Portable => self.run(With { simd: portable::Portable, kernel }),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => self.run(With { simd: avx2::Avx2::of(self), kernel }),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => self.run(With { simd: avx512::Avx512::of(self), kernel }),
        }
    }
}

struct With<S, K> {
    simd: S,
    kernel: K,
}

impl<S: Simd, K: SimdKernel> Kernel for With<S, K> {
    type Output = K::Output;

    #[inline(always)]
    fn run(self) -> K::Output {
        self.kernel.run(self.simd)
    }
}

/// An IEEE 754 binary16, little-endian at any address.
pub(crate) type Half = [u8; 2];

/// The number of a half; zeros, subnormals, infinities and NaN take a slower way.
///
/// In plain integers: the vector units have enough to do where each block has a scale or two.
#[inline(always)]
pub(crate) fn half(half: Half) -> f32 {
    let half = u16::from_le_bytes(half);
    let bits = if half.wrapping_add(0x0400) & 0x7c00 > 0x0400 {
        // The sign, extended over four bits, loses three of them again.
        (((i32::from(half as i16) << 13) as u32) & 0x8fff_e000) + ((127 - 15) << 23)
    } else {
        unusual_half(half)
    };
    f32::from_bits(bits)
}

/// The bits of the number.
#[cold]
#[inline(never)]
fn unusual_half(half: u16) -> u32 {
    let (sign, magnitude) = (u32::from(half & 0x8000) << 16, u32::from(half & 0x7fff));
    // A subnormal counts 2⁻²⁴ths, each of which is exact.
    sign | if magnitude < 0x0400 { (magnitude as f32 / 16_777_216.0).to_bits() } else { magnitude << 13 | 0x7f80_0000 }
}
