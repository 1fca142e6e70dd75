//! Eight rows of f64 in a register, for Shapley values. Masks are mask registers, so a factor for some rows is one instruction.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;

use crate::simd::lanes::Lanes;

/// Eight rows.
#[derive(Clone, Copy)]
pub(super) struct Eight(__m512d);

impl Lanes for Eight {
    const ROWS: usize = 8;
    type Mask = __mmask8;

    #[inline(always)]
    unsafe fn splat(number: f64) -> Self {
        // SAFETY: the caller vouches for the processor, here and below.
        Self(unsafe { _mm512_set1_pd(number) })
    }

    #[inline(always)]
    unsafe fn constant(constant: *const f64) -> Self {
        // SAFETY: the caller vouches for the constant.
        Self(unsafe { _mm512_set1_pd(*constant) })
    }

    #[inline(always)]
    unsafe fn at_or_below(values: *const f32, threshold: f32) -> __mmask8 {
        // SAFETY: the caller vouches for eight values, here and below.
        unsafe { _mm256_cmp_ps_mask::<_CMP_LE_OQ>(_mm256_loadu_ps(values), _mm256_set1_ps(threshold)) }
    }

    #[inline(always)]
    unsafe fn not_at_or_below(values: *const f32, threshold: f32) -> __mmask8 {
        // SAFETY: as above.
        unsafe { _mm256_cmp_ps_mask::<_CMP_NLE_UQ>(_mm256_loadu_ps(values), _mm256_set1_ps(threshold)) }
    }

    #[inline(always)]
    unsafe fn with_missing(mask: __mmask8, values: *const f32, taken: bool) -> __mmask8 {
        // SAFETY: as above.
        let missing = unsafe {
            let values = _mm256_loadu_ps(values);
            _mm256_cmp_ps_mask::<_CMP_UNORD_Q>(values, values)
        };
        mask & !missing | missing & u8::from(taken).wrapping_neg()
    }

    #[inline(always)]
    unsafe fn both(a: __mmask8, b: __mmask8) -> __mmask8 {
        a & b
    }

    #[inline(always)]
    unsafe fn only_second(a: __mmask8, b: __mmask8) -> __mmask8 {
        !a & b
    }

    #[inline(always)]
    unsafe fn none_of(mask: __mmask8) -> __mmask8 {
        !mask
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: `self` vouches for the processor, here and below.
        Self(unsafe { _mm512_mul_pd(self.0, other.0) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_add_pd(self.0, other.0) })
    }

    #[inline(always)]
    fn or_if(self, mask: __mmask8, a: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mask_blend_pd(mask, self.0, a.0) })
    }

    #[inline(always)]
    fn if_in(self, mask: __mmask8) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_maskz_mov_pd(mask, self.0) })
    }

    #[inline(always)]
    unsafe fn subtract_from(self, numbers: *mut f64) {
        // SAFETY: the caller vouches for eight numbers, `self` for the processor.
        unsafe { _mm512_storeu_pd(numbers, _mm512_sub_pd(_mm512_loadu_pd(numbers), self.0)) }
    }

    // A row is multiplied by at most one constant, so multiplying some rows in place gives the same bits as a multiplication of all
    // rows by chosen constants, of which 1 changes nothing.

    #[inline(always)]
    unsafe fn times_if(self, mask: __mmask8, constant: *const f64) -> Self {
        // SAFETY: the caller vouches for processor and constants, here and below.
        Self(unsafe { _mm512_mask_mul_pd(self.0, mask, self.0, _mm512_set1_pd(*constant)) })
    }

    #[inline(always)]
    unsafe fn times_first(self, mask: __mmask8, a: *const f64, older: __mmask8, b: *const f64) -> Self {
        // SAFETY: as above.
        unsafe { self.times_if(older & !mask, b).times_if(mask, a) }
    }

    #[inline(always)]
    unsafe fn times_either(self, mask: __mmask8, a: *const f64, b: *const f64) -> Self {
        // SAFETY: as above.
        unsafe {
            let product = _mm512_mul_pd(self.0, _mm512_set1_pd(*b));
            Self(_mm512_mask_mul_pd(product, mask, self.0, _mm512_set1_pd(*a)))
        }
    }
}
