//! AVX-512: one register holds all 16 lanes.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512, __m512i, _mm_cvtph_ps, _mm_loadl_epi64, _mm_loadu_si128, _mm_storeu_ps, _mm256_loadu_si256, _mm512_and_si512,
    _mm512_castsi512_ps, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32,
    _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_load_ps, _mm512_mask_or_epi32, _mm512_mul_ps, _mm512_or_si512,
    _mm512_permutexvar_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_slli_epi32, _mm512_sllv_epi32, _mm512_srlv_epi32,
    _mm512_store_ps, _mm512_sub_epi32,
};

use super::super::gemm::tile::{LANES, Lane};
use super::super::isa::{Isa, Level};
use super::Simd;

/// The proof that this machine has AVX-512 F, DQ and VL.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// # Panics
    /// If `isa` is another set.
    pub(super) fn of(isa: Isa) -> Self {
        assert_eq!(isa.level(), Level::Avx512, "an instruction set that was detected");
        Avx512(())
    }
}

// SAFETY of every block below: an `Avx512` exists only where the instructions were detected; pointers come from references to
// as many bytes as are read or written, and a `Lane` is aligned to 64 bytes.
impl Simd for Avx512 {
    const ROWS: usize = 4;
    type Floats = __m512;
    type Codes = __m512i;

    #[inline(always)]
    fn load(self, lane: &Lane) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_load_ps(lane.0.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, floats: __m512, lane: &mut Lane) {
        // SAFETY: see above.
        unsafe { _mm512_store_ps(lane.0.as_mut_ptr(), floats) }
    }

    #[inline(always)]
    fn splat(self, number: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(number) }
    }

    #[inline(always)]
    fn multiply(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn multiply_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn halves(self, bytes: &[[u8; 2]; LANES]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn four_halves(self, bytes: &[u8; 8]) -> [f32; 4] {
        let mut floats = [0.0; 4];
        // SAFETY: see above.
        unsafe { _mm_storeu_ps(floats.as_mut_ptr(), _mm_cvtph_ps(_mm_loadl_epi64(bytes.as_ptr().cast()))) }
        floats
    }

    #[inline(always)]
    fn upper_halves(self, bytes: &[[u8; 2]; LANES]) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(bytes.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        }
    }

    #[inline(always)]
    fn bytes(self, bytes: &[u8; LANES]) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn signed_bytes(self, bytes: &[u8; LANES]) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn floats(self, codes: __m512i) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(codes) }
    }

    #[inline(always)]
    fn pick(self, table: __m512, codes: __m512i) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_permutexvar_ps(codes, table) }
    }

    #[inline(always)]
    fn and(self, codes: __m512i, mask: u32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_and_si512(codes, _mm512_set1_epi32(mask as i32)) }
    }

    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn shift_right(self, codes: __m512i, bits: u32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_srlv_epi32(codes, _mm512_set1_epi32(bits as i32)) }
    }

    #[inline(always)]
    fn shift_left(self, codes: __m512i, bits: u32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_sllv_epi32(codes, _mm512_set1_epi32(bits as i32)) }
    }

    #[inline(always)]
    fn subtract(self, codes: __m512i, number: u32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_sub_epi32(codes, _mm512_set1_epi32(number as i32)) }
    }

    #[inline(always)]
    fn or_where(self, codes: __m512i, lanes: u16, bits: u32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_mask_or_epi32(codes, lanes, codes, _mm512_set1_epi32(bits as i32)) }
    }
}
