//! Draws doubles, bounded integers and permutations from any generator, as NumPy's legacy `RandomState` does.
//!
//! Source: NumPy's `legacy-distributions.c` and `mtrand.pyx`. With the generator [`Mt19937`](super::Mt19937) the draws equal
//! NumPy's.
//!
//! A word is a 32-bit output of the generator. Words are taken in batches if it is certain that all of them will be used. So the
//! generator ends in the same state as NumPy's, and the loops over a batch need no branch that depends on the data.

use std::ops::Range;

use rand_core::Rng;

use crate::error::Result;
use crate::memory;
use crate::simd::{Kernel as _, WordBytes, with_kernel};

/// A function that a draw calls regularly, and that returns an error once the draw has been cancelled.
pub type CheckCancelled<'a> = &'a dyn Fn() -> Result<()>;

/// Maximum number of words in a batch.
pub(super) const BATCH_WORDS: usize = 624;

/// Words taken from a generator at once, and those of them that a draw selects.
pub(super) struct Batch {
    words: Box<[WordBytes; BATCH_WORDS]>,
    low: Box<[WordBytes; BATCH_WORDS]>,
    /// The words that have been taken and not been used yet.
    unused: Range<usize>,
}

impl Default for Batch {
    fn default() -> Self {
        let words = || Box::new([[0; _]; BATCH_WORDS]);
        Self {
            words: words(),
            low: words(),
            unused: 0..0,
        }
    }
}

impl Batch {
    /// Takes up to `n` words, of which all will be needed.
    fn take<R: Rng + ?Sized>(&mut self, rng: &mut R, n: usize) {
        self.unused = 0..n.min(BATCH_WORDS);
        rng.fill_bytes(self.words[self.unused.clone()].as_flattened_mut());
    }

    /// Uses the next words, up to `n`, and returns them.
    fn next(&mut self, n: usize) -> &[WordBytes] {
        let first = self.unused.start;
        self.unused.start = self.unused.end.min(first + n);
        &self.words[first..self.unused.start]
    }

    /// Uses some of the next words, up to `n`, and returns the first `at_most` of them that are at most `top` under the mask of `top`.
    fn low(&mut self, n: usize, top: u32, at_most: usize) -> &[WordBytes] {
        let words = &self.words[self.unused.clone()];
        let words = &words[..n.min(words.len())];
        let mask = mask(u64::from(top)) as u32;
        let n_low = with_kernel!(kernel => kernel.select_low(words, mask, top, &mut self.low[..]));
        if n_low < at_most {
            self.unused.start += words.len();
            return &self.low[..n_low];
        }
        // Counts the words up to the last one returned, without a branch that depends on a word.
        let (mut n_used, mut n_returned) = (0, 0);
        for &word in words {
            n_used += usize::from(n_returned < at_most);
            n_returned += usize::from(u32::from_le_bytes(word) & mask <= top);
        }
        self.unused.start += n_used;
        &self.low[..at_most]
    }
}

/// Returns a double in `[0, 1)` with 53 random bits, made of two words.
pub(super) fn double_of(first: u32, second: u32) -> f64 {
    let (high, low) = (first >> 5, second >> 6);
    (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
}

/// Draws a double in `[0, 1)`, as `random_sample` and `uniform` do.
pub fn next_double<R: Rng + ?Sized>(rng: &mut R) -> f64 {
    let first = rng.next_u32();
    double_of(first, rng.next_u32())
}

/// Returns the smallest number of the form `2^k - 1` that is at least `top`.
pub(super) fn mask(top: u64) -> u64 {
    u64::MAX >> top.leading_zeros()
}

/// Draws an integer in `0..=top` by masking and rejection. Takes no word if `top` is 0.
pub fn up_to<R: Rng + ?Sized>(rng: &mut R, top: u64) -> u64 {
    if top == 0 {
        return 0;
    }
    let mask = mask(top);
    loop {
        let word = if u32::try_from(top).is_ok() {
            u64::from(rng.next_u32())
        } else {
            rng.next_u64()
        };
        let value = word & mask;
        if value <= top {
            return value;
        }
    }
}

/// Draws an index in `0..n`; `n` is at least 1.
pub fn below<R: Rng + ?Sized>(rng: &mut R, n: usize) -> usize {
    up_to(rng, n as u64 - 1) as usize
}

/// Draws up to `at_most` indices in `0..n` from one batch of words: the same indices as repeated calls of [`below`].
///
/// `n` is at least 2 and at most 2^32. The result is empty if no word of the batch was low enough.
pub(super) fn batch_below<R: Rng + ?Sized>(
    rng: &mut R,
    n: usize,
    at_most: usize,
    batch: &mut Batch,
) -> impl Iterator<Item = usize> {
    // A word gives at most one index, so all of these words are needed.
    batch.take(rng, at_most);
    batch
        .low(BATCH_WORDS, (n as u64 - 1) as u32, at_most)
        .iter()
        .map(|&word| u32::from_le_bytes(word) as usize)
}

/// Returns the number of bytes of the list that [`permutation`] shuffles.
pub(super) fn permutation_bytes(n: usize) -> usize {
    let entry = if u16::try_from(n).is_ok() {
        size_of::<u16>()
    } else if u32::try_from(n).is_ok() {
        size_of::<u32>()
    } else {
        size_of::<usize>()
    };
    n.saturating_mul(entry)
}

/// Draws the first `k` entries of NumPy's `permutation(n)`.
///
/// # Errors
/// [`Error::Memory`](crate::error::Error::Memory), and the errors of `check_cancelled`.
pub fn permutation<R: Rng + ?Sized>(
    rng: &mut R,
    n: usize,
    k: usize,
    check_cancelled: CheckCancelled<'_>,
) -> Result<Vec<usize>> {
    // Small entries make the list short, so that more of it fits in the first-level cache.
    if u16::try_from(n).is_ok() {
        shuffled(rng, n, k, check_cancelled, |i| i as u16, usize::from)
    } else if u32::try_from(n).is_ok() {
        shuffled(rng, n, k, check_cancelled, |i| i as u32, |i| i as usize)
    } else {
        shuffled(rng, n, k, check_cancelled, |i| i, |i| i)
    }
}

fn shuffled<R: Rng + ?Sized, T: Copy>(
    rng: &mut R,
    n: usize,
    k: usize,
    check_cancelled: CheckCancelled<'_>,
    entry: impl Fn(usize) -> T,
    index: impl Fn(T) -> usize,
) -> Result<Vec<usize>> {
    /// Number of entries written between two calls of `check_cancelled`: a few milliseconds of work.
    const ENTRIES_PER_CHECK: usize = 1 << 20;
    let mut all: Vec<T> = memory::with_capacity(n)?;
    for start in (0..n).step_by(ENTRIES_PER_CHECK) {
        check_cancelled()?;
        all.extend((start..n.min(start + ENTRIES_PER_CHECK)).map(&entry));
    }
    // NumPy swaps the last entry with a random one, or with itself, then the last but one with a random one before it, and so on.
    // Only the first `k` entries are wanted, so an entry above them is moved down and need not be overwritten.
    let mut words = ShuffleWords::default();
    words.shrink(rng, &mut all, k, check_cancelled, |entries, position| {
        entries[position] = entries[entries.len() - 1];
    })?;
    all.truncate(k);
    words.shrink(rng, &mut all, 1, check_cancelled, |entries, position| {
        entries.swap(position, entries.len() - 1);
    })?;
    memory::collected(all.into_iter().map(index))
}

/// The words of a shuffle.
#[derive(Default)]
struct ShuffleWords {
    batch: Batch,
    n_batches: usize,
}

impl ShuffleWords {
    /// Draws a random position in `entries` and calls `place` with both. Then does the same with all entries but the last, and so
    /// on, until `n_left` entries are left; the first one alone needs no draw.
    fn shrink<R: Rng + ?Sized, T: Copy>(
        &mut self,
        rng: &mut R,
        mut entries: &mut [T],
        n_left: usize,
        check_cancelled: CheckCancelled<'_>,
        place: impl Fn(&mut [T], usize),
    ) -> Result<()> {
        /// Number of batches between two calls of `check_cancelled`: a few milliseconds of work.
        const BATCHES_PER_CHECK: usize = 1 << 10;
        /// Number of positions of more than 32 bits that are drawn between two calls of `check_cancelled`.
        const POSITIONS_PER_CHECK: usize = 1 << 20;
        while entries.len() > n_left.max(1) {
            let top = entries.len() - 1;
            let Ok(top_word) = u32::try_from(top) else {
                if top.is_multiple_of(POSITIONS_PER_CHECK) {
                    check_cancelled()?;
                }
                place(entries, up_to(rng, top as u64) as usize);
                entries = without_last(entries);
                continue;
            };
            if self.batch.unused.is_empty() {
                self.n_batches += 1;
                if self.n_batches.is_multiple_of(BATCHES_PER_CHECK) {
                    check_cancelled()?;
                }
                // The shuffle goes down to position 1, and each position takes at least one word.
                self.batch.take(rng, top);
            }
            // All positions down to `end` have the same mask, and each takes a word at least.
            let end = (1 << top.ilog2()).max(n_left);
            let missing = entries.len() - end;
            if !with_kernel!(kernel => kernel.selects_together()) {
                // No more words than are missing, so all of them are used.
                let mask = mask(top as u64) as usize;
                for &word in self.batch.next(missing) {
                    // If the position is too high, the last entry is placed onto itself and stays. A branch would often be mispredicted.
                    let (position, last) = (u32::from_le_bytes(word) as usize & mask, entries.len() - 1);
                    let is_low = position <= last;
                    place(entries, std::hint::select_unpredictable(is_low, position, last));
                    entries = &mut entries[..last + usize::from(!is_low)];
                }
                continue;
            }
            // If more words were selected at once, more of them would no longer be low enough when their turn comes, because each draw
            // lowers the top. The processor mispredicts these.
            let n_words = (4 << (top.ilog2() / 2)).min(2 * missing + 16);
            for &word in self.batch.low(n_words, top_word, missing) {
                let position = u32::from_le_bytes(word) as usize;
                if position < entries.len() {
                    place(entries, position);
                    entries = without_last(entries);
                }
            }
        }
        Ok(())
    }
}

/// Returns all entries but the last one, if any.
fn without_last<T>(entries: &mut [T]) -> &mut [T] {
    entries.split_last_mut().map_or(&mut [], |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::super::Mt19937;
    use super::*;
    use crate::error::Error;
    use proptest::prelude::*;

    /// Draws NumPy's `permutation` by its definition.
    fn plain_permutation(rng: &mut impl Rng, n: usize, k: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            all.swap(i, up_to(rng, i as u64) as usize);
        }
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn permutations_follow_the_definition(seed: u32, n in 0_usize..5000, share in 0.0..=1.0, skip in 0_usize..700) {
            let k = (n as f64 * share) as usize;
            let mut rng = Mt19937::new(seed);
            (0..skip).for_each(|_| { rng.next_u32(); });
            let mut plain = rng.clone();
            prop_assert_eq!(permutation(&mut rng, n, k, &|| Ok(())).unwrap(), plain_permutation(&mut plain, n, k));
            prop_assert_eq!(rng.next_u32(), plain.next_u32());
        }

        #[test]
        fn indices_drawn_in_batches_equal_those_drawn_one_by_one(seed: u32, n in 2_usize..100_000, k in 1_usize..1500) {
            let (mut rng, mut plain) = (Mt19937::new(seed), Mt19937::new(seed));
            let (mut drawn, mut batch) = (Vec::new(), Batch::default());
            while drawn.len() < k {
                let missing = k - drawn.len();
                drawn.extend(batch_below(&mut rng, n, missing, &mut batch));
            }
            let expected: Vec<usize> = (0..k).map(|_| below(&mut plain, n)).collect();
            prop_assert_eq!(drawn, expected);
            prop_assert_eq!(rng.next_u32(), plain.next_u32());
        }
    }

    #[test]
    fn a_cancelled_draw_ends() {
        let cancelled = || Err(Error::Interrupted);
        assert_eq!(
            permutation(&mut Mt19937::new(0), 1 << 20, 5, &cancelled),
            Err(Error::Interrupted)
        );
        // A draw that is cancelled in its middle ends too.
        let n_checks = std::cell::Cell::new(0);
        let later = || {
            n_checks.set(n_checks.get() + 1);
            if n_checks.get() < 5 {
                Ok(())
            } else {
                Err(Error::Interrupted)
            }
        };
        assert_eq!(
            permutation(&mut Mt19937::new(0), 1 << 22, 5, &later),
            Err(Error::Interrupted)
        );
    }

    #[test]
    fn a_permutation_larger_than_memory_is_refused() {
        let drawn = permutation(&mut Mt19937::new(0), 1 << 50, 5, &|| Ok(()));
        assert!(matches!(drawn, Err(Error::Memory { .. })));
    }

    #[test]
    fn permutations_of_every_size_follow_the_definition() {
        let powers = (1..16).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]);
        for n in powers.chain([0, 255, 256, 258, 1_000, 10_000, 25_500, 30_000]) {
            for k in [0, 1, 255, 256, 257, n / 2, n].into_iter().filter(|&k| k <= n) {
                let (mut rng, mut plain) = (Mt19937::new(n as u32), Mt19937::new(n as u32));
                let drawn = permutation(&mut rng, n, k, &|| Ok(())).unwrap();
                assert_eq!(drawn, plain_permutation(&mut plain, n, k), "{n} {k}");
                assert_eq!(rng.next_u32(), plain.next_u32(), "{n} {k}");
            }
        }
    }

    #[test]
    fn long_permutations_follow_the_definition() {
        for (n, k) in [(65_535, 700), (65_536, 65_000), (70_000, 1_000)] {
            let (mut rng, mut plain) = (Mt19937::new(n as u32), Mt19937::new(n as u32));
            assert_eq!(
                permutation(&mut rng, n, k, &|| Ok(())).unwrap(),
                plain_permutation(&mut plain, n, k)
            );
        }
    }
}
