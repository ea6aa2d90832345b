//! AVX2: two registers hold the 16 lanes.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256, __m256i, _mm_cvtph_ps, _mm_loadl_epi64, _mm_loadu_si128, _mm_storeu_ps, _mm256_and_si256, _mm256_blendv_ps,
    _mm256_castsi256_ps, _mm256_cmpeq_epi32, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
    _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_load_ps, _mm256_mul_ps, _mm256_or_si256,
    _mm256_permutevar8x32_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_slli_epi32, _mm256_sllv_epi32,
    _mm256_srlv_epi32, _mm256_store_ps, _mm256_sub_epi32,
};

use super::super::gemm::tile::{LANES, Lane};
use super::super::isa::{Isa, Level};
use super::Simd;

/// The proof that this machine has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// # Panics
    /// If `isa` is another set.
    pub(super) fn of(isa: Isa) -> Self {
        assert_eq!(isa.level(), Level::Avx2, "an instruction set that was detected");
        Avx2(())
    }
}

// SAFETY of every block below: an `Avx2` exists only where the instructions were detected; pointers come from references to
// as many bytes as are read or written, and a `Lane` is aligned to 64 bytes.
impl Simd for Avx2 {
    const ROWS: usize = 1;
    type Floats = [__m256; 2];
    type Codes = [__m256i; 2];

    #[inline(always)]
    fn load(self, lane: &Lane) -> [__m256; 2] {
        // SAFETY: see above.
        unsafe { [_mm256_load_ps(lane.0.as_ptr()), _mm256_load_ps(lane.0.as_ptr().add(8))] }
    }

    #[inline(always)]
    fn store(self, floats: [__m256; 2], lane: &mut Lane) {
        // SAFETY: see above.
        unsafe {
            _mm256_store_ps(lane.0.as_mut_ptr(), floats[0]);
            _mm256_store_ps(lane.0.as_mut_ptr().add(8), floats[1]);
        }
    }

    #[inline(always)]
    fn splat(self, number: f32) -> [__m256; 2] {
        // SAFETY: see above.
        unsafe { [_mm256_set1_ps(number); 2] }
    }

    #[inline(always)]
    fn multiply(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see above.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn multiply_add(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see above.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    fn halves(self, bytes: &[[u8; 2]; LANES]) -> [__m256; 2] {
        // SAFETY: see above.
        unsafe {
            let start = bytes.as_ptr().cast();
            [_mm256_cvtph_ps(_mm_loadu_si128(start)), _mm256_cvtph_ps(_mm_loadu_si128(start.add(1)))]
        }
    }

    #[inline(always)]
    fn four_halves(self, bytes: &[u8; 8]) -> [f32; 4] {
        let mut floats = [0.0; 4];
        // SAFETY: see above.
        unsafe { _mm_storeu_ps(floats.as_mut_ptr(), _mm_cvtph_ps(_mm_loadl_epi64(bytes.as_ptr().cast()))) }
        floats
    }

    #[inline(always)]
    fn upper_halves(self, bytes: &[[u8; 2]; LANES]) -> [__m256; 2] {
        // SAFETY: see above.
        unsafe {
            let start = bytes.as_ptr().cast();
            let low = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(start)));
            let high = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(start.add(1))));
            [_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)]
        }
    }

    #[inline(always)]
    fn bytes(self, bytes: &[u8; LANES]) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe {
            let start = bytes.as_ptr();
            [_mm256_cvtepu8_epi32(_mm_loadl_epi64(start.cast())), _mm256_cvtepu8_epi32(_mm_loadl_epi64(start.add(8).cast()))]
        }
    }

    #[inline(always)]
    fn signed_bytes(self, bytes: &[u8; LANES]) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe {
            let start = bytes.as_ptr();
            [_mm256_cvtepi8_epi32(_mm_loadl_epi64(start.cast())), _mm256_cvtepi8_epi32(_mm_loadl_epi64(start.add(8).cast()))]
        }
    }

    #[inline(always)]
    fn floats(self, codes: [__m256i; 2]) -> [__m256; 2] {
        // SAFETY: see above.
        unsafe { [_mm256_cvtepi32_ps(codes[0]), _mm256_cvtepi32_ps(codes[1])] }
    }

    #[inline(always)]
    fn pick(self, table: [__m256; 2], codes: [__m256i; 2]) -> [__m256; 2] {
        [pick_half(table, codes[0]), pick_half(table, codes[1])]
    }

    #[inline(always)]
    fn and(self, codes: [__m256i; 2], mask: u32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe {
            let mask = _mm256_set1_epi32(mask as i32);
            [_mm256_and_si256(codes[0], mask), _mm256_and_si256(codes[1], mask)]
        }
    }

    #[inline(always)]
    fn or(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    }

    #[inline(always)]
    fn shift_right(self, codes: [__m256i; 2], bits: u32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe {
            [
                _mm256_srlv_epi32(codes[0], _mm256_set1_epi32(bits as i32)),
                _mm256_srlv_epi32(codes[1], _mm256_set1_epi32(bits as i32)),
            ]
        }
    }

    #[inline(always)]
    fn shift_left(self, codes: [__m256i; 2], bits: u32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe {
            [
                _mm256_sllv_epi32(codes[0], _mm256_set1_epi32(bits as i32)),
                _mm256_sllv_epi32(codes[1], _mm256_set1_epi32(bits as i32)),
            ]
        }
    }

    #[inline(always)]
    fn subtract(self, codes: [__m256i; 2], number: u32) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe {
            let number = _mm256_set1_epi32(number as i32);
            [_mm256_sub_epi32(codes[0], number), _mm256_sub_epi32(codes[1], number)]
        }
    }

    #[inline(always)]
    fn or_where(self, codes: [__m256i; 2], lanes: u16, bits: u32) -> [__m256i; 2] {
        let [low, high] = lanes.to_le_bytes();
        self.or(codes, [bits_where(low, bits), bits_where(high, bits)])
    }
}

/// A permutation takes three bits of an integer; the fourth, moved to the sign, chooses between two.
#[inline(always)]
fn pick_half(table: [__m256; 2], codes: __m256i) -> __m256 {
    // SAFETY: see above.
    unsafe {
        let (low, high) = (_mm256_permutevar8x32_ps(table[0], codes), _mm256_permutevar8x32_ps(table[1], codes));
        _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes)))
    }
}

/// `bits` in those of 8 lanes whose bit is set.
#[inline(always)]
fn bits_where(lanes: u8, bits: u32) -> __m256i {
    // SAFETY: see above.
    unsafe {
        let own = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        let set = _mm256_and_si256(_mm256_set1_epi32(i32::from(lanes)), own);
        _mm256_and_si256(_mm256_cmpeq_epi32(set, own), _mm256_set1_epi32(bits as i32))
    }
}
