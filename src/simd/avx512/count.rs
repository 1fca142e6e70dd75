//! Counting of values above and at thresholds: ranks become bit planes, planes become masks, and the bits of masks are counted.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;

use super::descend::{descend, f32_keys, word_of};
use crate::simd::bits::{BLOCK_ROWS, Mask, WORDS};
use crate::simd::search::{GROUP, Search};
use crate::simd::{BlockCounter, TILE_ROWS};

/// The ranks of a block's values, and its special values.
struct RankedBlock<const DEPTH: usize> {
    bits: [Mask; DEPTH],
    /// Values whose key equals a threshold.
    equal_keys: Mask,
    /// Values that equal their key.
    exact: Mask,
    missing: Mask,
}

/// Implements [`crate::simd::Kernel::count`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
pub(super) fn count(search: &Search, origin: f64, values: &[f64; BLOCK_ROWS], counter: &mut BlockCounter) -> Mask {
    at_depth!(search.depth(), count_at(search, origin, values, counter))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
#[inline]
fn count_at<const DEPTH: usize>(
    search: &Search,
    origin: f64,
    values: &[f64; BLOCK_ROWS],
    counter: &mut BlockCounter,
) -> Mask {
    let block = rank::<DEPTH>(search, origin, values);
    let mut valid = Mask::NONE;
    let mut equal = Mask::NONE;
    let mut left_out = Mask::NONE;
    for word in 0..WORDS {
        let equal_keys = block.equal_keys.0[word];
        // A value whose key equals a threshold is decided only if neither key was rounded.
        left_out.0[word] = if counter.exact {
            equal_keys & !block.exact.0[word]
        } else {
            equal_keys
        };
        equal.0[word] = equal_keys & !left_out.0[word];
        valid.0[word] = !(left_out.0[word] | block.missing.0[word]);
        counter.n_missing += u64::from(block.missing.0[word].count_ones());
        counter.n += u64::from(valid.0[word].count_ones());
    }
    if equal.any() {
        add::<DEPTH, true>(search, &block.bits, valid, equal, counter);
    } else {
        add::<DEPTH, false>(search, &block.bits, valid, equal, counter);
    }
    left_out
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
#[inline]
fn rank<const DEPTH: usize>(search: &Search, origin: f64, values: &[f64; BLOCK_ROWS]) -> RankedBlock<DEPTH> {
    let mut block = RankedBlock {
        bits: [Mask::NONE; DEPTH],
        equal_keys: Mask::NONE,
        exact: Mask::NONE,
        missing: Mask::NONE,
    };
    for (word, values) in values.as_chunks::<TILE_ROWS>().0.iter().enumerate() {
        let (x, exact) = f32_keys(origin, values);
        let (_, bits, equal_keys) = descend::<DEPTH, true>(search, &x);
        for (plane, bits) in block.bits.iter_mut().rev().zip(bits) {
            plane.0[word] = word_of(bits);
        }
        block.equal_keys.0[word] = word_of(equal_keys);
        block.exact.0[word] = exact;
        block.missing.0[word] = word_of(x.map(|x| _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x)));
    }
    block
}

/// Counts the values above each threshold, and with `EQUAL` the values equal to it. The masks are made as in
/// [`crate::simd::logic`], but counted instead of stored.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
#[inline]
fn add<const DEPTH: usize, const EQUAL: bool>(
    search: &Search,
    bits: &[Mask; DEPTH],
    valid: Mask,
    equal: Mask,
    counter: &mut BlockCounter,
) {
    // SAFETY: a mask has the size and alignment of a register.
    let load = |mask: &Mask| unsafe { _mm512_load_si512(mask.0.as_ptr().cast()) };
    let zero = _mm512_setzero_si512();
    let bit = |b: usize| if b < DEPTH { load(&bits[b]) } else { zero };
    let (b0, b1, b2) = (bit(0), bit(1), bit(2));
    let (b1_or_b0, b1_and_b0) = (_mm512_or_si512(b1, b0), _mm512_and_si512(b1, b0));
    let low = [
        _mm512_or_si512(b2, b1_or_b0),
        _mm512_or_si512(b2, b1),
        _mm512_or_si512(b2, b1_and_b0),
        b2,
        _mm512_and_si512(b2, b1_or_b0),
        _mm512_and_si512(b2, b1),
        _mm512_and_si512(b2, b1_and_b0),
        zero,
    ];
    let (valid, equal) = (load(&valid), load(&equal));
    // Values above the previous threshold.
    let mut before = valid;
    let groups = counter
        .above
        .chunks_exact_mut(GROUP)
        .zip(counter.equal.chunks_exact_mut(GROUP));
    for (group, (above_counts, equal_counts)) in groups.enumerate().take(search.len().div_ceil(GROUP)) {
        let (mut within, mut beyond) = (valid, zero);
        for b in (3..DEPTH).rev() {
            let bit = load(&bits[b]);
            if group >> (b - 3) & 1 == 1 {
                within = _mm512_and_si512(within, bit);
            } else {
                // The truth table is `beyond | (within & bit)`.
                beyond = _mm512_ternarylogic_epi32::<0xf8>(beyond, within, bit);
                within = _mm512_andnot_si512(bit, within);
            }
        }
        for s in 0..GROUP {
            let above = _mm512_ternarylogic_epi32::<0xf8>(beyond, within, low[s]);
            add_ones(&mut above_counts[s], above);
            if EQUAL {
                // The truth table is `equal & before & !above`.
                add_ones(
                    &mut equal_counts[s],
                    _mm512_ternarylogic_epi32::<0x40>(equal, before, above),
                );
                before = above;
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
#[inline]
fn add_ones(counts: &mut Mask, mask: __m512i) {
    let at = counts.0.as_mut_ptr().cast();
    // SAFETY: a mask has the size and alignment of a register.
    unsafe { _mm512_store_si512(at, _mm512_add_epi64(_mm512_load_si512(at), _mm512_popcnt_epi64(mask))) };
}
