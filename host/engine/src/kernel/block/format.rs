//! What a type must say of itself to be decoded.
#![allow(unsafe_code)]

use super::{BlockType, k, legacy, plain};
use crate::kernel::gemm::tile::Lane;
use crate::kernel::simd::Simd;

/// Most lanes that one step of any type decodes.
pub(crate) const LANES_MAX: usize = 16;

/// A step of decoding: one block, or 16 plain numbers.
///
/// # Safety
/// The type is `repr(C)` and made of bytes only, so it has no alignment, no padding, and any bytes are one.
pub(crate) unsafe trait Format: Copy {
    /// Lanes of 16 numbers.
    const LANES: usize;
    /// Its bytes.
    const BYTES: usize = size_of::<Self>();

    /// Writes all its numbers.
    fn decode<S: Simd>(&self, simd: S, lanes: &mut [Lane]);
}

/// Decodes one step; of plain numbers the last may be cut short, and then is followed by zeros.
#[inline(always)]
pub(crate) fn decode<F: Format, S: Simd>(simd: S, bytes: &[u8], lanes: &mut [Lane]) {
    if bytes.len() == F::BYTES {
        return block::<F>(bytes).decode(simd, lanes);
    }
    let mut whole = [0; 256];
    whole[..bytes.len()].copy_from_slice(bytes);
    block::<F>(&whole[..F::BYTES]).decode(simd, lanes);
}

#[inline(always)]
fn block<F: Format>(bytes: &[u8]) -> &F {
    assert_eq!(bytes.len(), F::BYTES, "bytes of one step");
    // SAFETY: the length was just checked; by the trait's promise any bytes at any address are an `F`.
    unsafe { &*bytes.as_ptr().cast::<F>() }
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
