//! Four rows of f64 in a register, for Shapley values.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;

use crate::simd::lanes::Lanes;

/// Four rows.
#[derive(Clone, Copy)]
pub(super) struct Four(__m256d);

/// Extends masks of 32 bits to 64 bits.
#[inline(always)]
unsafe fn extended(mask: __m128) -> __m256d {
    // SAFETY: the caller vouches for the processor.
    unsafe { _mm256_castsi256_pd(_mm256_cvtepi32_epi64(_mm_castps_si128(mask))) }
}

impl Lanes for Four {
    const ROWS: usize = 4;
    type Mask = __m256d;

    #[inline(always)]
    unsafe fn splat(number: f64) -> Self {
        // SAFETY: the caller vouches for the processor, here and below.
        Self(unsafe { _mm256_set1_pd(number) })
    }

    #[inline(always)]
    unsafe fn constant(constant: *const f64) -> Self {
        // SAFETY: the caller vouches for the constant.
        Self(unsafe { _mm256_set1_pd(*constant) })
    }

    #[inline(always)]
    unsafe fn at_or_below(values: *const f32, threshold: f32) -> __m256d {
        // SAFETY: the caller vouches for four values, here and below.
        unsafe { extended(_mm_cmp_ps::<_CMP_LE_OQ>(_mm_loadu_ps(values), _mm_set1_ps(threshold))) }
    }

    #[inline(always)]
    unsafe fn not_at_or_below(values: *const f32, threshold: f32) -> __m256d {
        // SAFETY: as above.
        unsafe { extended(_mm_cmp_ps::<_CMP_NLE_UQ>(_mm_loadu_ps(values), _mm_set1_ps(threshold))) }
    }

    #[inline(always)]
    unsafe fn with_missing(mask: __m256d, values: *const f32, taken: bool) -> __m256d {
        // SAFETY: as above.
        unsafe {
            let values = _mm_loadu_ps(values);
            let missing = extended(_mm_cmp_ps::<_CMP_UNORD_Q>(values, values));
            let taken = _mm256_castsi256_pd(_mm256_set1_epi64x(-i64::from(taken)));
            _mm256_or_pd(_mm256_andnot_pd(missing, mask), _mm256_and_pd(missing, taken))
        }
    }

    #[inline(always)]
    unsafe fn both(a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: as above.
        unsafe { _mm256_and_pd(a, b) }
    }

    #[inline(always)]
    unsafe fn only_second(a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: as above.
        unsafe { _mm256_andnot_pd(a, b) }
    }

    #[inline(always)]
    unsafe fn none_of(mask: __m256d) -> __m256d {
        // SAFETY: as above.
        unsafe { _mm256_xor_pd(mask, _mm256_castsi256_pd(_mm256_set1_epi64x(-1))) }
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: `self` vouches for the processor, here and below.
        Self(unsafe { _mm256_mul_pd(self.0, other.0) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_add_pd(self.0, other.0) })
    }

    #[inline(always)]
    fn or_if(self, mask: __m256d, a: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_blendv_pd(self.0, a.0, mask) })
    }

    #[inline(always)]
    fn if_in(self, mask: __m256d) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_and_pd(self.0, mask) })
    }

    #[inline(always)]
    unsafe fn subtract_from(self, numbers: *mut f64) {
        // SAFETY: the caller vouches for four numbers, `self` for the processor.
        unsafe { _mm256_storeu_pd(numbers, _mm256_sub_pd(_mm256_loadu_pd(numbers), self.0)) }
    }
}
