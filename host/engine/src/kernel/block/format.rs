//! What a type must say of itself to be decoded.
#![allow(unsafe_code)]

use super::{BlockType, k, legacy, plain};
use crate::kernel::gemm::tile::Lane;
use crate::kernel::simd::Simd;

/// Most lanes that one step of any type decodes.
pub(crate) const LANES_MAX: usize = 16;

/// Most bytes of one step of any type.
const STEP_BYTES_MAX: usize = 210;

/// A step of decoding: one block, or 16 plain numbers.
///
/// # Safety
/// The type is `repr(C)` and made of bytes only, so it has no alignment, no padding, and any bytes are one.
pub(crate) unsafe trait Format: Copy {
    /// Lanes of 16 numbers.
    const LANES: usize;
    /// Its bytes.
    const BYTES: usize = size_of::<Self>();

    /// Its first bytes.
    #[inline(always)]
    fn first_bytes<const N: usize>(&self) -> &[u8; N] {
        assert!(N <= Self::BYTES, "bytes of a step");
        // SAFETY: so many bytes were just checked to be its own; by the trait's promise it is made of bytes only.
        unsafe { &*std::ptr::from_ref(self).cast() }
    }

    /// Gives all its numbers, lane by lane in their order.
    fn decode<S: Simd>(&self, simd: S, out: &mut impl Sink<S>);
}

/// Where decoded numbers go: into memory, or at once into a computation that keeps them in registers.
pub(crate) trait Sink<S: Simd> {
    /// Takes lane `at` of a step; marked `#[inline(always)]`.
    fn put(&mut self, at: usize, numbers: S::Floats);
}

struct Store<'a, S> {
    simd: S,
    lanes: &'a mut [Lane],
}

impl<S: Simd> Sink<S> for Store<'_, S> {
    #[inline(always)]
    fn put(&mut self, at: usize, numbers: S::Floats) {
        self.simd.store(numbers, &mut self.lanes[at]);
    }
}

/// Decodes one step; of plain numbers the last may be cut short, and then is followed by zeros.
#[inline(always)]
pub(crate) fn decode<F: Format, S: Simd>(simd: S, bytes: &[u8], lanes: &mut [Lane]) {
    let (whole, short) = steps::<F>(bytes);
    let mut store = Store { simd, lanes };
    match whole.first() {
        Some(step) => step.decode(simd, &mut store),
        None => short_step::<F>(short).decode(simd, &mut store),
    }
}

/// The whole steps of some bytes, and the bytes that are left.
#[inline(always)]
pub(crate) fn steps<F: Format>(bytes: &[u8]) -> (&[F], &[u8]) {
    let count = bytes.len() / F::BYTES;
    let (whole, short) = bytes.split_at(count * F::BYTES);
    // SAFETY: so many steps were just split off; by the trait's promise any bytes at any address are an `F`.
    (unsafe { std::slice::from_raw_parts(whole.as_ptr().cast(), count) }, short)
}

/// A step cut short, followed by zeros.
#[inline(always)]
pub(crate) fn short_step<F: Format>(bytes: &[u8]) -> F {
    let mut whole = [0; STEP_BYTES_MAX];
    whole[..bytes.len()].copy_from_slice(bytes);
    steps(&whole).0[0]
}

/// A computation on blocks of a type known only at run time.
pub(crate) trait WithFormat {
    /// What it returns.
    type Output;

    /// Computes, for one type.
    fn call<F: Format>(self) -> Self::Output;
}

impl BlockType {
    /// Runs `computation` compiled for this type.
    pub(crate) fn with_format<C: WithFormat>(self, computation: C) -> C::Output {
        match self {
            BlockType::F32 => computation.call::<plain::F32>(),
            BlockType::F16 => computation.call::<plain::F16>(),
            BlockType::Bf16 => computation.call::<plain::Bf16>(),
            BlockType::Q4_0 => computation.call::<legacy::Q4_0>(),
            BlockType::Q4_1 => computation.call::<legacy::Q4_1>(),
            BlockType::Q5_0 => computation.call::<legacy::Q5_0>(),
            BlockType::Q5_1 => computation.call::<legacy::Q5_1>(),
            BlockType::Q8_0 => computation.call::<legacy::Q8_0>(),
            BlockType::Q2K => computation.call::<k::Q2K>(),
            BlockType::Q3K => computation.call::<k::Q3K>(),
            BlockType::Q4K => computation.call::<k::Q4K>(),
            BlockType::Q5K => computation.call::<k::Q5K>(),
            BlockType::Q6K => computation.call::<k::Q6K>(),
        }
    }
}
