//! Selects low words eight at a time: a table lists the lanes to keep for each set of them.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;

use super::super::{WordBytes, twister};

/// Words of a register.
const LANES: usize = 8;

/// For each set of lanes, those of the set in ascending order, a byte each; the other bytes are zero.
static LANES_OF_SET: [[u8; LANES]; 1 << LANES] = {
    let mut table = [[0; LANES]; 1 << LANES];
    let mut set = 0;
    while set < table.len() {
        let (mut lane, mut n) = (0, 0);
        while lane < LANES {
            if set >> lane & 1 == 1 {
                table[set][n] = lane as u8;
                n += 1;
            }
            lane += 1;
        }
        set += 1;
    }
    table
};

/// Implements [`Kernel::select_low`](super::super::Kernel::select_low).
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn select_low(words: &[WordBytes], mask: u32, top: u32, kept: &mut [WordBytes]) -> usize {
    assert!(words.len() <= kept.len());
    let (mask_of_all, top_of_all) = (_mm256_set1_epi32(mask as i32), _mm256_set1_epi32(top as i32));
    let mut n_kept = 0;
    let (groups, rest) = words.as_chunks::<LANES>();
    for group in groups {
        // SAFETY: the array has eight words.
        let masked = unsafe { _mm256_loadu_si256(group.as_ptr().cast()) };
        let masked = _mm256_and_si256(masked, mask_of_all);
        let is_low = _mm256_cmpeq_epi32(_mm256_min_epu32(masked, top_of_all), masked);
        let set = _mm256_movemask_ps(_mm256_castsi256_ps(is_low)) as usize;
        let lanes = _mm_cvtsi64_si128(i64::from_le_bytes(LANES_OF_SET[set]));
        let low = _mm256_permutevar8x32_epi32(masked, _mm256_cvtepu8_epi32(lanes));
        // SAFETY: each earlier group kept at most eight words, so as many fit from here on, as asserted.
        unsafe { _mm256_storeu_si256(kept.as_mut_ptr().add(n_kept).cast(), low) };
        n_kept += set.count_ones() as usize;
    }
    twister::select_low(rest, mask, top, kept, n_kept)
}
