//! Searches: sixteen values at a time take the same steps, with the thresholds of a step in registers.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;
use std::ops::Range;

use crate::simd::search::{SLACK, Search};
use crate::simd::{Planes, TILE_ROWS, Tile};

/// Registers that hold a tile's share of a column.
pub(super) const VECTORS: usize = TILE_ROWS / 16;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn quantise(searches: &[Search], tile: &Tile<'_>, planes: &mut [Planes], words: Range<usize>) {
    for ((search, values), planes) in searches.iter().zip(tile.values.chunks(tile.stride)).zip(planes) {
        for (values, word) in values[tile.first..].chunks_exact(TILE_ROWS).zip(words.clone()) {
            let (sixteens, _) = values.as_chunks::<16>();
            // SAFETY: the array has sixteen values.
            let x = std::array::from_fn(|v| unsafe { _mm512_loadu_ps(sixteens[v].as_ptr()) });
            if search.is_unary() {
                compare(search, &x, planes, word);
            } else {
                at_depth!(search.depth(), quantise_values(search, &x, planes, word));
            }
        }
    }
}

/// Compares all values with each threshold.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn compare(search: &Search, x: &[__m512; VECTORS], planes: &mut Planes, word: usize) {
    for (threshold, plane) in search.thresholds().iter().zip(&mut planes.bits) {
        let threshold = _mm512_set1_ps(threshold.value);
        plane.0[word] = word_of(x.map(|x| _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, threshold)));
    }
    planes.missing.0[word] = word_of(x.map(|x| _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x)));
}

/// Searches all values in step, with the thresholds of a step in registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn quantise_values<const DEPTH: usize>(search: &Search, x: &[__m512; VECTORS], planes: &mut Planes, word: usize) {
    let (_, bits, _) = descend::<DEPTH, false>(search, x);
    for (level, bits) in bits.into_iter().enumerate() {
        planes.bits[DEPTH - 1 - level].0[word] = word_of(bits);
    }
    planes.missing.0[word] = word_of(x.map(|x| _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x)));
}

/// Takes the first `DEPTH` steps of a search. Returns the codes, for each step the lanes that were above the threshold, and with
/// `EQUAL` the lanes whose value equals a threshold.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub(super) fn descend<const DEPTH: usize, const EQUAL: bool>(
    search: &Search,
    x: &[__m512; VECTORS],
) -> ([__m512i; VECTORS], [[u16; VECTORS]; DEPTH], [u16; VECTORS]) {
    assert!(search.heap().len() >= (1 << DEPTH) + SLACK);
    let mut descent = Descent {
        codes: [_mm512_setzero_si512(); VECTORS],
        bits: [[0; VECTORS]; DEPTH],
        not_above: [_mm512_set1_ps(f32::NAN); VECTORS],
    };
    // The compiler does not unroll a loop of that many levels, which would take two thirds longer.
    macro_rules! steps {
        ($($level:literal)*) => {
            $(if $level < DEPTH {
                step::<$level, DEPTH, EQUAL>(search.heap(), x, &mut descent);
            })*
        };
    }
    steps!(0 1 2 3 4 5 6 7 8);
    let equal = if EQUAL {
        std::array::from_fn(|v| _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(x[v], descent.not_above[v]))
    } else {
        [0; VECTORS]
    };
    (descent.codes, descent.bits, equal)
}

/// The state of a search.
struct Descent<const DEPTH: usize> {
    codes: [__m512i; VECTORS],
    bits: [[u16; VECTORS]; DEPTH],
    /// Lowest threshold so far that is not below the value: if the value equals a threshold, it is this one.
    not_above: [__m512; VECTORS],
}

/// Takes one step; `heap` has at least 2^DEPTH entries and [`SLACK`] more.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn step<const LEVEL: usize, const DEPTH: usize, const EQUAL: bool>(
    heap: &[f32],
    x: &[__m512; VECTORS],
    descent: &mut Descent<DEPTH>,
) {
    let Descent { codes, bits, not_above } = descent;
    // SAFETY: `first` is at most 2^DEPTH, and 16 further entries exist, as the caller asserted.
    let table = |first: usize| unsafe { _mm512_loadu_ps(heap.as_ptr().add(first)) };
    for v in 0..VECTORS {
        // Bits 0 to 4 of a code choose an entry in a pair of registers; the others choose the pair.
        let lookup_32 = |first: usize| _mm512_permutex2var_ps(table(first), codes[v], table(first + 16));
        let lookup_64 = |first| _mm512_mask_blend_ps(bits[5][v], lookup_32(first), lookup_32(first + 32));
        let lookup_128 = |first| _mm512_mask_blend_ps(bits[6][v], lookup_64(first), lookup_64(first + 64));
        let threshold = match LEVEL {
            0 => _mm512_set1_ps(heap[1]),
            1..=4 => _mm512_permutexvar_ps(codes[v], table(1 << LEVEL)),
            5 => lookup_32(32),
            6 => lookup_64(64),
            7 => lookup_128(128),
            _ => _mm512_mask_blend_ps(bits[7][v], lookup_128(256), lookup_128(384)),
        };
        let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x[v], threshold);
        if EQUAL {
            not_above[v] = _mm512_mask_blend_ps(above, threshold, not_above[v]);
        }
        codes[v] = _mm512_mask_or_epi32(codes[v], above, codes[v], _mm512_set1_epi32(1 << LEVEL));
        bits[LEVEL][v] = above;
    }
}

/// Returns the f32 distances of values from an origin, and which of them were not rounded.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
pub(super) fn f32_keys(origin: f64, values: &[f64; TILE_ROWS]) -> ([__m512; VECTORS], u64) {
    let mut exact = 0;
    let (eights, _) = values.as_chunks::<8>();
    let halves: [__m256; 2 * VECTORS] = std::array::from_fn(|i| {
        // SAFETY: the array has eight values.
        let x = unsafe { _mm512_loadu_pd(eights[i].as_ptr()) };
        let key = _mm512_cvtpd_ps(_mm512_sub_pd(x, _mm512_set1_pd(origin)));
        exact |= u64::from(_mm512_cmp_pd_mask::<_CMP_EQ_OQ>(_mm512_cvtps_pd(key), x)) << (8 * i);
        key
    });
    let x = std::array::from_fn(|v| _mm512_insertf32x8::<1>(_mm512_castps256_ps512(halves[2 * v]), halves[2 * v + 1]));
    (x, exact)
}

pub(super) fn word_of(bits: [u16; VECTORS]) -> u64 {
    u64::from_le_bytes([
        bits[0] as u8,
        (bits[0] >> 8) as u8,
        bits[1] as u8,
        (bits[1] >> 8) as u8,
        bits[2] as u8,
        (bits[2] >> 8) as u8,
        bits[3] as u8,
        (bits[3] >> 8) as u8,
    ])
}
