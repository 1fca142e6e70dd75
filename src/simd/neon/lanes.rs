//! Two rows of f64 in a register, for Shapley values.

#[cfg(not(target_arch = "aarch64"))]
#[allow(clippy::wildcard_imports, reason = "the same names as below")]
use super::emulated::*;
#[cfg(target_arch = "aarch64")]
#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::aarch64::*;

use crate::simd::lanes::Lanes;

/// Two rows.
#[derive(Clone, Copy)]
pub(super) struct Pair(float64x2_t);

/// Extends masks of 32 bits to 64 bits.
#[inline(always)]
unsafe fn extended(mask: uint32x2_t) -> uint64x2_t {
    // SAFETY: the caller vouches for the processor.
    unsafe { vreinterpretq_u64_s64(vmovl_s32(vreinterpret_s32_u32(mask))) }
}

impl Lanes for Pair {
    const ROWS: usize = 2;
    type Mask = uint64x2_t;

    #[inline(always)]
    unsafe fn splat(number: f64) -> Self {
        // SAFETY: the caller vouches for the processor, here and below.
        Self(unsafe { vdupq_n_f64(number) })
    }

    #[inline(always)]
    unsafe fn constant(constant: *const f64) -> Self {
        // SAFETY: the caller vouches for the constant.
        Self(unsafe { vdupq_n_f64(*constant) })
    }

    #[inline(always)]
    unsafe fn at_or_below(values: *const f32, threshold: f32) -> uint64x2_t {
        // SAFETY: the caller vouches for two values, here and below.
        unsafe { extended(vcle_f32(vld1_f32(values), vdup_n_f32(threshold))) }
    }

    #[inline(always)]
    unsafe fn not_at_or_below(values: *const f32, threshold: f32) -> uint64x2_t {
        // SAFETY: as above.
        unsafe { Self::none_of(Self::at_or_below(values, threshold)) }
    }

    #[inline(always)]
    unsafe fn with_missing(mask: uint64x2_t, values: *const f32, taken: bool) -> uint64x2_t {
        // SAFETY: as above.
        unsafe {
            let values = vld1_f32(values);
            let present = extended(vceq_f32(values, values));
            let taken = vdupq_n_u64(u64::from(taken).wrapping_neg());
            vorrq_u64(vandq_u64(mask, present), vbicq_u64(taken, present))
        }
    }

    #[inline(always)]
    unsafe fn both(a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
        // SAFETY: as above.
        unsafe { vandq_u64(a, b) }
    }

    #[inline(always)]
    unsafe fn only_second(a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
        // SAFETY: as above.
        unsafe { vbicq_u64(b, a) }
    }

    #[inline(always)]
    unsafe fn none_of(mask: uint64x2_t) -> uint64x2_t {
        // SAFETY: as above.
        unsafe { veorq_u64(mask, vdupq_n_u64(u64::MAX)) }
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        // SAFETY: `self` vouches for the processor, here and below.
        Self(unsafe { vmulq_f64(self.0, other.0) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vaddq_f64(self.0, other.0) })
    }

    #[inline(always)]
    fn or_if(self, mask: uint64x2_t, a: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vbslq_f64(mask, a.0, self.0) })
    }

    #[inline(always)]
    fn if_in(self, mask: uint64x2_t) -> Self {
        // SAFETY: as above.
        Self(unsafe { vreinterpretq_f64_u64(vandq_u64(vreinterpretq_u64_f64(self.0), mask)) })
    }

    #[inline(always)]
    unsafe fn subtract_from(self, numbers: *mut f64) {
        // SAFETY: the caller vouches for two numbers, `self` for the processor.
        unsafe { vst1q_f64(numbers, vsubq_f64(vld1q_f64(numbers), self.0)) }
    }
}
