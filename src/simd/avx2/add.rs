//! Sums: the eight bytes of a value are looked up in tables of bytes, for 32 rows at a time, and put together.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;

use crate::simd::{BLOCK_ROWS, ClassValues, TABLED_CLASSES, portable};

/// Rows whose bytes fill a register.
const ROWS: usize = 32;

#[target_feature(enable = "avx2")]
pub(super) fn add(values: &[ClassValues], classes: &[[u8; BLOCK_ROWS]], sums: &mut [f64]) {
    if values.iter().any(|values| values.len > TABLED_CLASSES) {
        return portable::add(values, classes, sums);
    }
    assert!(sums.len() <= BLOCK_ROWS);
    for (chunk, sums) in sums.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
        let (pairs, _) = sums.as_chunks_mut::<2>();
        // Bytes are put together within halves of 128 bits: register `j` has the sums of rows 2j, 2j + 1, 2j + 16 and 2j + 17.
        // SAFETY: each array has two sums.
        let load = |pair: &[f64; 2]| unsafe { _mm_loadu_pd(pair.as_ptr()) };
        let mut totals: [__m256d; 8] = std::array::from_fn(|j| _mm256_set_m128d(load(&pairs[j + 8]), load(&pairs[j])));
        for (values, classes) in values.iter().zip(classes) {
            let (chunks, _) = classes.as_chunks::<ROWS>();
            // SAFETY: the array has 32 bytes.
            let class = unsafe { _mm256_loadu_si256(chunks[chunk].as_ptr().cast()) };
            let added = if values.len <= 16 {
                look_up::<false>(values, class)
            } else {
                look_up::<true>(values, class)
            };
            for (total, added) in totals.iter_mut().zip(added) {
                *total = _mm256_add_pd(*total, added);
            }
        }
        for (j, total) in totals.into_iter().enumerate() {
            // SAFETY: each array has two sums.
            unsafe {
                _mm_storeu_pd(pairs[j].as_mut_ptr(), _mm256_castpd256_pd128(total));
                _mm_storeu_pd(pairs[j + 8].as_mut_ptr(), _mm256_extractf128_pd::<1>(total));
            }
        }
    }
}

/// Returns the values of 32 classes, which are below 16 unless they are `WIDE`.
#[target_feature(enable = "avx2")]
#[inline]
fn look_up<const WIDE: bool>(values: &ClassValues, class: __m256i) -> [__m256d; 8] {
    // A lookup gives zero where the highest bit of the index is set: for classes from 16 on in the lower table, for the others in
    // the upper one.
    let lower = _mm256_add_epi8(class, _mm256_set1_epi8(0x70));
    let upper = _mm256_sub_epi8(class, _mm256_set1_epi8(16));
    let bytes: [__m256i; 8] = std::array::from_fn(|k| {
        let (tables, _) = values.bytes[k].as_chunks::<16>();
        // SAFETY: the array has 16 bytes.
        let table = |i: usize| _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(tables[i].as_ptr().cast()) });
        if WIDE {
            let lower = _mm256_shuffle_epi8(table(0), lower);
            _mm256_or_si256(lower, _mm256_shuffle_epi8(table(1), upper))
        } else {
            _mm256_shuffle_epi8(table(0), class)
        }
    });
    // Bytes become pairs, pairs become halves, halves become values; each step takes the lower rows, then the upper ones.
    let low = |i: usize| _mm256_unpacklo_epi8(bytes[2 * i], bytes[2 * i + 1]);
    let high = |i: usize| _mm256_unpackhi_epi8(bytes[2 * i], bytes[2 * i + 1]);
    let [a, b, c, d] = join([low(0), low(1), low(2), low(3)]);
    let [e, f, g, h] = join([high(0), high(1), high(2), high(3)]);
    [a, b, c, d, e, f, g, h]
}

/// Joins the four pairs of bytes of each of eight values, in each half of a register.
#[target_feature(enable = "avx2")]
#[inline]
fn join([a, b, c, d]: [__m256i; 4]) -> [__m256d; 4] {
    let lower = (_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
    let upper = (_mm256_unpacklo_epi16(c, d), _mm256_unpackhi_epi16(c, d));
    [
        _mm256_castsi256_pd(_mm256_unpacklo_epi32(lower.0, upper.0)),
        _mm256_castsi256_pd(_mm256_unpackhi_epi32(lower.0, upper.0)),
        _mm256_castsi256_pd(_mm256_unpacklo_epi32(lower.1, upper.1)),
        _mm256_castsi256_pd(_mm256_unpackhi_epi32(lower.1, upper.1)),
    ]
}
