//! Implements MT19937, the generator of `numpy.random.RandomState`.
//!
//! Source: Matsumoto and Nishimura, "Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random number generator",
//! ACM TOMACS, 1998. Seeds are used as in NumPy's `_legacy_seeding` (`mt19937.c`):
//!
//! ```text
//! state[0] = seed; state[i] = f(state[i - 1], i)                     # 624 words of 32 bits
//! twist:   state[i] = g(state[i], state[i + 1], state[i + 397])      # indices modulo 624
//! output:  temper(state[0]), temper(state[1]), ..., then twist again
//! ```
//!
//! A whole state is twisted and tempered at once, by a kernel of [`simd`](crate::simd). So the loops are vectorised, and the noise target can skip the words
//! that no row needs.

use rand_core::{Infallible, SeedableRng, TryRng};

use super::random_state::{below, mask};
use crate::simd::{Kernel as _, MIDDLE_WORD, STATE_WORDS, WordBytes, tempered, twisted, with_kernel};

/// scikit-learn draws the seeds of its estimators below this number: `np.iinfo(np.int32).max`.
pub const MAX_SEED: u32 = i32::MAX as u32;

/// The state of the generator: the current 624 words before tempering.
#[derive(Debug, Clone)]
pub(super) struct State(pub(super) [u32; STATE_WORDS]);

impl State {
    /// Returns the initial state of each seed; the first [`twist`](Self::twist) makes the first words.
    ///
    /// Each word depends on the one before it, so the processor has time for several seeds side by side, which take little longer
    /// than one.
    pub(super) fn new<const K: usize>(seeds: [u32; K]) -> [Self; K] {
        let mut states = [const { Self([0; STATE_WORDS]) }; K];
        let mut words = seeds;
        for (state, word) in states.iter_mut().zip(words) {
            state.0[0] = word;
        }
        for i in 1..STATE_WORDS {
            for (state, word) in states.iter_mut().zip(&mut words) {
                *word = following(*word, i);
                state.0[i] = *word;
            }
        }
        states
    }

    /// Advances to the next 624 words.
    pub(super) fn twist(&mut self) {
        with_kernel!(kernel => kernel.twist(&mut self.0));
    }

    /// Advances to the next 624 words, and writes them after tempering.
    pub(super) fn next_words(&mut self, words: &mut [WordBytes; STATE_WORDS]) {
        self.twist();
        with_kernel!(kernel => kernel.temper(&self.0, words));
    }
}

/// Returns word `i` of an initial state, given the word before it.
fn following(word: u32, i: usize) -> u32 {
    1_812_433_253_u32.wrapping_mul(word ^ word >> 30).wrapping_add(i as u32)
}

/// The generator of `numpy.random.RandomState`.
///
/// ```
/// use isoxide::random::{Mt19937, random_state};
/// use rand_core::{Rng, SeedableRng};
///
/// let mut rng = Mt19937::new(0);
/// assert_eq!(random_state::next_double(&mut rng), 0.548_813_503_927_324_7); // numpy.random.RandomState(0).random()
/// let seed = 0_u32.to_le_bytes();
/// assert_eq!(Mt19937::from_seed(seed).next_u32(), Mt19937::new(0).next_u32());
/// ```
///
/// [`SeedableRng::seed_from_u64`] mixes its 64 bits into a 32-bit seed, as `rand_core` does for every generator. So its stream is
/// not the one that NumPy starts from the same number.
#[derive(Debug, Clone)]
pub struct Mt19937 {
    state: State,
    /// The words of the state after tempering, as their little-endian bytes.
    words: [WordBytes; STATE_WORDS],
    /// Index of the next word to return; `STATE_WORDS` when the state is used up.
    next: usize,
}

impl Mt19937 {
    /// Creates the generator of `RandomState(seed)`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        let [state] = State::new([seed]);
        Self::from_state(state)
    }

    /// Creates the generators of several seeds, which takes little longer than creating one.
    pub(super) fn from_seeds<const K: usize>(seeds: [u32; K]) -> [Self; K] {
        State::new(seeds).map(Self::from_state)
    }

    /// Creates a generator whose first words come after a twist of `state`.
    fn from_state(state: State) -> Self {
        Self {
            state,
            words: [[0; _]; STATE_WORDS],
            next: STATE_WORDS,
        }
    }

    /// Returns the next words, at least one.
    #[inline]
    fn next_words(&mut self) -> &[WordBytes] {
        if self.next >= STATE_WORDS {
            self.state.next_words(&mut self.words);
            self.next = 0;
        }
        &self.words[self.next..]
    }
}

impl TryRng for Mt19937 {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let word = u32::from_le_bytes(self.next_words()[0]);
        self.next += 1;
        Ok(word)
    }

    /// Returns two words as one number with the first word in the upper half, as NumPy does.
    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let high = self.try_next_u32()?;
        Ok(u64::from(high) << 32 | u64::from(self.try_next_u32()?))
    }

    /// Writes the next words in little-endian order. If only some bytes of the last word fit, the others are lost.
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        let (whole, rest) = dst.as_chunks_mut::<{ size_of::<u32>() }>();
        let n_left = STATE_WORDS - self.next;
        let (now, later) = whole.split_at_mut(whole.len().min(n_left));
        now.copy_from_slice(&self.words[self.next..][..now.len()]);
        self.next += now.len();
        // Whole states need not be kept.
        let (states, last) = later.as_chunks_mut();
        for words in states {
            self.state.next_words(words);
        }
        if !last.is_empty() {
            last.copy_from_slice(&self.next_words()[..last.len()]);
            self.next += last.len();
        }
        if !rest.is_empty() {
            let bytes = self.try_next_u32()?.to_le_bytes();
            rest.copy_from_slice(&bytes[..rest.len()]);
        }
        Ok(())
    }
}

impl SeedableRng for Mt19937 {
    type Seed = [u8; 4];

    /// Creates the generator of `RandomState(seed)` from the little-endian bytes of `seed`.
    fn from_seed(seed: [u8; 4]) -> Self {
        Self::new(u32::from_le_bytes(seed))
    }
}

/// Returns the first number that [`below`] would draw from the generator of each seed. It makes only the words that this number
/// needs.
pub(super) fn first_below<const K: usize>(seeds: [u32; K], n: u32) -> [u32; K] {
    let second = seeds.map(|seed| following(seed, 1));
    let mut words = second;
    for i in 2..=MIDDLE_WORD {
        words = words.map(|word| following(word, i));
    }
    let top = n - 1;
    std::array::from_fn(|k| {
        let word = tempered(twisted(seeds[k], second[k], words[k]));
        let value = word & mask(u64::from(top)) as u32;
        if value <= top {
            value
        } else {
            below(&mut Mt19937::new(seeds[k]), n as usize) as u32
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_core::Rng;

    proptest! {
        #[test]
        fn words_equal_those_of_another_implementation(seed: u32, n in 1_usize..2000) {
            let (mut ours, mut other) = (Mt19937::new(seed), rand_mt::Mt::new(seed));
            for _ in 0..n {
                prop_assert_eq!(ours.next_u32(), other.next_u32());
            }
        }

        #[test]
        fn bytes_equal_those_of_the_words(seed: u32, lengths in prop::collection::vec(0_usize..3000, 1..6)) {
            let (mut bytes, mut words) = (Mt19937::new(seed), Mt19937::new(seed));
            for length in lengths {
                let mut filled = vec![0; length];
                bytes.fill_bytes(&mut filled);
                let expected: Vec<u8> = (0..length.div_ceil(4)).flat_map(|_| words.next_u32().to_le_bytes()).collect();
                prop_assert_eq!(&filled, &expected[..length]);
            }
            prop_assert_eq!(bytes.next_u64(), u64::from(words.next_u32()) << 32 | u64::from(words.next_u32()));
        }

        #[test]
        fn generators_created_in_one_call_equal_those_created_alone(seeds: [u32; 4], n in 2_u32..=MAX_SEED) {
            let first = seeds.map(|seed| below(&mut Mt19937::new(seed), n as usize) as u32);
            prop_assert_eq!(first_below(seeds, n), first);
            for (mut stream, seed) in Mt19937::from_seeds(seeds).into_iter().zip(seeds) {
                let mut alone = Mt19937::from_seed(seed.to_le_bytes());
                (0..700).for_each(|_| assert_eq!(stream.next_u32(), alone.next_u32()));
            }
        }
    }
}
