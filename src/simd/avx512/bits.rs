//! Registers of bits: 512 rows, and half and a quarter of that for small batches.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;

use crate::simd::bits::Bits;

macro_rules! bits {
    ($name:ident, $vector:ty, $words:literal, $load:ident, $splat:ident, $splat32:ident, $store:ident, $and:ident, $or:ident, $xor:ident, $andnot:ident, $ternary:ident) => {
        #[derive(Clone, Copy)]
        pub(super) struct $name($vector);

        impl Bits for $name {
            const WORDS: usize = $words;

            #[inline(always)]
            unsafe fn load(words: *const u64) -> Self {
                // SAFETY: the caller vouches for processor and words.
                Self(unsafe { $load(words.cast()) })
            }

            #[inline(always)]
            unsafe fn splat(word: u64) -> Self {
                // SAFETY: the caller vouches for the processor.
                Self(unsafe { $splat(word as i64) })
            }

            #[inline(always)]
            unsafe fn splat_i32(half: *const i32) -> Self {
                // SAFETY: the caller vouches for processor and half word.
                Self(unsafe { $splat32(*half) })
            }

            #[inline(always)]
            unsafe fn store(self, words: *mut u64) {
                // SAFETY: the caller vouches for the words, `self` for the processor.
                unsafe { $store(words.cast(), self.0) }
            }

            #[inline(always)]
            fn and(self, other: Self) -> Self {
                // SAFETY: `self` vouches for the processor, here and below.
                Self(unsafe { $and(self.0, other.0) })
            }

            #[inline(always)]
            fn or(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $or(self.0, other.0) })
            }

            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $xor(self.0, other.0) })
            }

            #[inline(always)]
            fn and_not(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $andnot(other.0, self.0) })
            }

            #[inline(always)]
            fn or_and(self, a: Self, b: Self) -> Self {
                // SAFETY: as above. The truth table of `self | (a & b)`.
                Self(unsafe { $ternary::<0xf8>(self.0, a.0, b.0) })
            }

            #[inline(always)]
            fn xor_and(self, a: Self, b: Self) -> Self {
                // SAFETY: as above. The truth table of `self ^ (a & b)`.
                Self(unsafe { $ternary::<0x78>(self.0, a.0, b.0) })
            }
        }
    };
}

bits!(
    Zmm,
    __m512i,
    8,
    _mm512_load_si512,
    _mm512_set1_epi64,
    _mm512_set1_epi32,
    _mm512_store_si512,
    _mm512_and_si512,
    _mm512_or_si512,
    _mm512_xor_si512,
    _mm512_andnot_si512,
    _mm512_ternarylogic_epi32
);
bits!(
    Ymm,
    __m256i,
    4,
    _mm256_load_si256,
    _mm256_set1_epi64x,
    _mm256_set1_epi32,
    _mm256_store_si256,
    _mm256_and_si256,
    _mm256_or_si256,
    _mm256_xor_si256,
    _mm256_andnot_si256,
    _mm256_ternarylogic_epi32
);
bits!(
    Xmm,
    __m128i,
    2,
    _mm_load_si128,
    _mm_set1_epi64x,
    _mm_set1_epi32,
    _mm_store_si128,
    _mm_and_si128,
    _mm_or_si128,
    _mm_xor_si128,
    _mm_andnot_si128,
    _mm_ternarylogic_epi32
);
