//! Ranks as bit planes: sixteen values at a time are searched for by their 16-bit keys, or eight at a time by all their bits.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;
use std::ops::Range;

use super::{VECTORS, descend, mask};
use crate::simd::i16_keys::{I16Keys, MAX_KEY, MAX_STEPS, MAX_TIES, NO_THRESHOLD, set_ranks};
use crate::simd::search::{SLACK, Search};
use crate::simd::{Planes, TILE_ROWS, Tile};

/// Values whose keys are searched for at once, in [`VECTORS`] registers.
const KEYS: usize = 16 * VECTORS;

#[target_feature(enable = "avx2")]
pub(super) fn quantise(searches: &[Search], tile: &Tile<'_>, planes: &mut [Planes], words: Range<usize>) {
    for ((search, values), planes) in searches.iter().zip(tile.values.chunks(tile.stride)).zip(planes) {
        let (tiles, _) = values[tile.first..].as_chunks::<TILE_ROWS>();
        if search.is_unary() {
            for (values, word) in tiles.iter().zip(words.clone()) {
                compare(search, values, planes, word);
            }
            continue;
        }
        let mut keys = search.i16_keys();
        for (values, word) in tiles.iter().zip(words.clone()) {
            if let Some(i16_keys) = keys {
                let tied = at_depth!(search.depth(), quantise_keys(i16_keys, values, planes, word));
                if tied == 0 {
                    continue;
                }
                if tied.count_ones() <= MAX_TIES {
                    at_depth!(search.depth(), set_ranks(search, values, tied, planes, word));
                    continue;
                }
                // The next tiles of the column are probably alike.
                keys = None;
            }
            at_depth!(search.depth(), quantise_values(search, values, planes, word));
        }
    }
}

/// Compares all values with each threshold.
#[target_feature(enable = "avx2")]
#[inline]
fn compare(search: &Search, values: &[f32; TILE_ROWS], planes: &mut Planes, word: usize) {
    let (halves, _) = values.as_chunks::<KEYS>();
    let x = [load_halves(&halves[0]), load_halves(&halves[1])];
    for (threshold, plane) in search.thresholds().iter().zip(&mut planes.bits) {
        let threshold = _mm256_set1_ps(threshold.value);
        let above = |x: [__m256; 4]| {
            let above = x.map(|x| _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(x, threshold)));
            word_of([
                _mm256_packs_epi32(above[0], above[1]),
                _mm256_packs_epi32(above[2], above[3]),
            ])
        };
        plane.0[word] = above(x[0]) | above(x[1]) << KEYS;
    }
    let any_missing = _mm256_or_ps(unordered(x[0]), unordered(x[1]));
    planes.missing.0[word] = missing_word(any_missing, values);
}

/// Loads 32 values. Packing works within halves of 128 bits, so a register has four values of the first sixteen and four of the
/// others.
#[target_feature(enable = "avx2")]
#[inline]
fn load_halves(values: &[f32; KEYS]) -> [__m256; 4] {
    let (fours, _) = values.as_chunks::<4>();
    // SAFETY: each array has four values.
    let load =
        |i: usize| unsafe { _mm256_set_m128(_mm_loadu_ps(fours[i + 4].as_ptr()), _mm_loadu_ps(fours[i].as_ptr())) };
    [load(0), load(1), load(2), load(3)]
}

/// Returns lanes that are not zero if any value is NaN.
#[target_feature(enable = "avx2")]
#[inline]
fn unordered(x: [__m256; 4]) -> __m256 {
    _mm256_or_ps(
        _mm256_cmp_ps::<_CMP_UNORD_Q>(x[0], x[1]),
        _mm256_cmp_ps::<_CMP_UNORD_Q>(x[2], x[3]),
    )
}

/// Returns the values that are NaN, given lanes that are zero if there are none.
#[target_feature(enable = "avx2")]
#[inline]
fn missing_word(any_missing: __m256, values: &[f32; TILE_ROWS]) -> u64 {
    if _mm256_movemask_ps(any_missing) == 0 {
        0
    } else {
        missing(values)
    }
}

/// Searches all values in step; each step gives one bit of the ranks.
#[target_feature(enable = "avx2")]
#[inline]
fn quantise_values<const DEPTH: usize>(search: &Search, values: &[f32; TILE_ROWS], planes: &mut Planes, word: usize) {
    let mut bits = [0_u64; DEPTH];
    let (groups, _) = values.as_chunks::<{ 8 * VECTORS }>();
    for group in groups.iter().rev() {
        let (eights, _) = group.as_chunks::<8>();
        // SAFETY: the array has eight values.
        let x: [__m256; VECTORS] = std::array::from_fn(|v| unsafe { _mm256_loadu_ps(eights[v].as_ptr()) });
        let (_, above) = descend::<DEPTH>(search, &x);
        for (bits, above) in bits.iter_mut().zip(above) {
            *bits = *bits << (8 * VECTORS) | mask(above);
        }
    }
    for (level, bits) in bits.into_iter().enumerate() {
        planes.bits[DEPTH - 1 - level].0[word] = bits;
    }
    planes.missing.0[word] = missing(values);
}

/// Returns the values that are NaN.
#[target_feature(enable = "avx2")]
#[inline]
fn missing(values: &[f32; TILE_ROWS]) -> u64 {
    let mut missing = 0;
    for (i, eight) in values.as_chunks::<8>().0.iter().enumerate() {
        // SAFETY: the array has eight values.
        let x = unsafe { _mm256_loadu_ps(eight.as_ptr()) };
        let missing_lanes = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x)) as u8;
        missing |= u64::from(missing_lanes) << (8 * i);
    }
    missing
}

/// Searches for all values by their keys. Returns the values whose key equals the key of a threshold: their ranks are undecided. The
/// function is not inlined, because the compiler then finds fewer registers for it and takes a sixth longer.
#[target_feature(enable = "avx2")]
#[inline(never)]
fn quantise_keys<const DEPTH: usize>(
    keys: &I16Keys,
    values: &[f32; TILE_ROWS],
    planes: &mut Planes,
    word: usize,
) -> u64 {
    assert!(DEPTH <= MAX_STEPS && keys.heap().len() >= (1 << DEPTH) + SLACK);
    let mut bits = [0_u64; DEPTH];
    let mut tied = 0;
    let mut any_missing = _mm256_setzero_ps();
    for (half, values) in values.as_chunks::<KEYS>().0.iter().enumerate() {
        let x = load_halves(values);
        any_missing = _mm256_or_ps(any_missing, unordered(x));
        let mut descent = Descent {
            keys: [key(keys, x[0], x[1]), key(keys, x[2], x[3])],
            index: [_mm256_set1_epi16(0x0100); VECTORS],
            above: [[_mm256_setzero_si256(); VECTORS]; DEPTH],
            not_above: [_mm256_set1_epi16(NO_THRESHOLD); VECTORS],
        };
        // The compiler would not unroll a loop.
        macro_rules! steps {
            ($($level:literal)*) => {
                $(if $level < DEPTH {
                    step::<$level, DEPTH>(keys.heap(), &mut descent);
                    bits[$level] |= word_of(descent.above[$level]) << (KEYS * half);
                })*
            };
        }
        steps!(0 1 2 3 4 5 6 7);
        let equal = std::array::from_fn(|v| _mm256_cmpeq_epi16(descent.keys[v], descent.not_above[v]));
        tied |= word_of(equal) << (KEYS * half);
    }
    for (level, bits) in bits.into_iter().enumerate() {
        planes.bits[DEPTH - 1 - level].0[word] = bits;
    }
    // NaN has the lowest key, which is above no threshold.
    planes.missing.0[word] = missing_word(any_missing, values);
    tied
}

/// Returns the keys of sixteen values.
#[target_feature(enable = "avx2")]
#[inline]
fn key(keys: &I16Keys, a: __m256, b: __m256) -> __m256i {
    let (center, scale) = (_mm256_set1_ps(keys.center()), _mm256_set1_ps(keys.scale()));
    let highest = _mm256_set1_ps(f32::from(MAX_KEY));
    let round = |x| {
        let key = _mm256_mul_ps(_mm256_sub_ps(x, center), scale);
        // The minimum keeps NaN, which becomes the lowest integer, as does every number below all integers.
        _mm256_cvtps_epi32(_mm256_min_ps(highest, key))
    };
    _mm256_packs_epi32(round(a), round(b))
}

/// The state of a search by keys.
struct Descent<const DEPTH: usize> {
    keys: [__m256i; VECTORS],
    /// Positions of the two bytes of entry `code % 8` in a table of eight entries.
    index: [__m256i; VECTORS],
    /// For each step the lanes that were above the threshold.
    above: [[__m256i; VECTORS]; DEPTH],
    /// Lowest threshold so far that is not below the key: if the key equals a threshold, it is this one.
    not_above: [__m256i; VECTORS],
}

/// Takes one step; `heap` has at least 2^DEPTH entries and [`SLACK`] more.
#[target_feature(enable = "avx2")]
#[inline]
fn step<const LEVEL: usize, const DEPTH: usize>(heap: &[i16], descent: &mut Descent<DEPTH>) {
    let Descent {
        keys,
        index,
        above,
        not_above,
    } = descent;
    for v in 0..VECTORS {
        // SAFETY: `first` is at most 2^DEPTH, and further entries exist, as the caller asserted.
        let table = |first: usize| unsafe { _mm_loadu_si128(heap.as_ptr().add(first).cast()) };
        // Bits 0 to 2 of a code choose an entry of a table; the others choose the table.
        let lookup_8 = |first| _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table(first)), index[v]);
        let lookup_16 = |first| _mm256_blendv_epi8(lookup_8(first), lookup_8(first + 8), above[3][v]);
        let lookup_32 = |first| _mm256_blendv_epi8(lookup_16(first), lookup_16(first + 16), above[4][v]);
        let lookup_64 = |first| _mm256_blendv_epi8(lookup_32(first), lookup_32(first + 32), above[5][v]);
        let threshold = match LEVEL {
            0 => _mm256_set1_epi16(heap[1]),
            1..=3 => lookup_8(1 << LEVEL),
            4 => lookup_16(16),
            5 => lookup_32(32),
            6 => lookup_64(64),
            _ => _mm256_blendv_epi8(lookup_64(128), lookup_64(192), above[6][v]),
        };
        above[LEVEL][v] = _mm256_cmpgt_epi16(keys[v], threshold);
        not_above[v] = _mm256_blendv_epi8(threshold, not_above[v], above[LEVEL][v]);
        if LEVEL < 3 {
            let bit = _mm256_and_si256(above[LEVEL][v], _mm256_set1_epi16(0x0202 << LEVEL));
            index[v] = _mm256_or_si256(index[v], bit);
        }
    }
}

/// Returns a bit per lane, in the order of the values.
#[target_feature(enable = "avx2")]
#[inline]
fn word_of([a, b]: [__m256i; VECTORS]) -> u64 {
    u64::from(_mm256_movemask_epi8(_mm256_packs_epi16(a, b)) as u32)
}
