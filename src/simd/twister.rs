//! The Mersenne Twister MT19937, a state of 624 words at a time, and the selection of words that are low enough.
//!
//! [`random::mt19937`](crate::random::mt19937) explains the generator. The kernels compile [`twist`] and [`temper`] for their
//! instructions, and the compiler vectorises them.

/// Number of words in a state.
pub const STATE_WORDS: usize = 624;
/// Distance from a word to the later word with which the twist mixes it.
pub const MIDDLE_WORD: usize = 397;

/// A word as its little-endian bytes, as generators fill them.
pub type WordBytes = [u8; size_of::<u32>()];

/// Returns the word that replaces `word`, given the word after it and the one at [`MIDDLE_WORD`] from it.
#[must_use]
#[inline(always)]
pub fn twisted(word: u32, next: u32, middle: u32) -> u32 {
    let mixed = word & 0x8000_0000 | next & 0x7fff_ffff;
    middle ^ mixed >> 1 ^ (mixed & 1).wrapping_neg() & 0x9908_b0df
}

/// Returns the output that belongs to a word of the state.
#[must_use]
#[inline(always)]
pub fn tempered(mut word: u32) -> u32 {
    word ^= word >> 11;
    word ^= word << 7 & 0x9d2c_5680;
    word ^= word << 15 & 0xefc6_0000;
    word ^ word >> 18
}

/// Replaces all words of a state.
///
/// The words are replaced in three runs, each of which depends on the one before it. So no run reads what it writes itself, and the
/// compiler can use the widest registers.
#[inline(always)]
pub(super) fn twist(words: &mut [u32; STATE_WORDS]) {
    const RUN: usize = STATE_WORDS - MIDDLE_WORD;
    let (first, later) = words.split_at_mut(RUN);
    twist_run(first, later[0], &later[MIDDLE_WORD - RUN..]);
    let (second, third) = later.split_at_mut(RUN);
    twist_run(second, third[0], first);
    twist_run(third, first[0], second);
}

/// Replaces a run of words, given the word after it and the words at [`MIDDLE_WORD`] from it.
#[inline(always)]
fn twist_run(run: &mut [u32], next: u32, middle: &[u32]) {
    let last = run.len() - 1;
    let middle = &middle[..=last];
    for i in 0..last {
        run[i] = twisted(run[i], run[i + 1], middle[i]);
    }
    run[last] = twisted(run[last], next, middle[last]);
}

/// Writes the outputs that belong to all words of a state.
#[inline(always)]
pub(super) fn temper(state: &[u32; STATE_WORDS], outputs: &mut [WordBytes; STATE_WORDS]) {
    for (output, &word) in outputs.iter_mut().zip(state) {
        *output = tempered(word).to_le_bytes();
    }
}

/// Appends the masked words that are at most `top` to the first `n_kept` words of `kept`, and returns the new number. Words behind
/// these are overwritten too.
///
/// Every word is written, and the next one overwrites it if it is too high. A branch would often be mispredicted.
#[inline(always)]
pub(super) fn select_low(words: &[WordBytes], mask: u32, top: u32, kept: &mut [WordBytes], mut n_kept: usize) -> usize {
    for &word in words {
        let word = u32::from_le_bytes(word) & mask;
        kept[n_kept] = word.to_le_bytes();
        n_kept += usize::from(word <= top);
    }
    n_kept
}
