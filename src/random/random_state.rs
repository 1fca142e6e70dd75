//! Draws doubles, bounded integers and permutations from any generator, as NumPy's legacy `RandomState` does.
//!
//! Source: NumPy's `legacy-distributions.c` and `mtrand.pyx`. With the generator [`Mt19937`](super::Mt19937) the draws equal
//! NumPy's.
//!
//! A word is a 32-bit output of the generator. Words are taken in batches if it is certain that all of them will be used. So the
//! generator ends in the same state as NumPy's, and the loops over a batch need no branch that depends on the data.

use rand_core::Rng;

use crate::error::Result;
use crate::memory;

/// A function that a draw calls regularly, and that returns an error once the draw has been cancelled.
pub type CheckCancelled<'a> = &'a dyn Fn() -> Result<()>;

/// Maximum number of words in a batch.
pub(super) const BATCH_WORDS: usize = 624;

/// Words taken from a generator at once, as the little-endian bytes of each.
#[derive(Default)]
pub(super) struct Batch(Vec<[u8; size_of::<u32>()]>);

impl Batch {
    /// Draws `n` words, at most [`BATCH_WORDS`].
    #[inline]
    fn draw<R: Rng + ?Sized>(&mut self, rng: &mut R, n: usize) -> &mut [[u8; size_of::<u32>()]] {
        if self.0.len() < n {
            self.0.resize(n, [0; _]);
        }
        let words = &mut self.0[..n];
        rng.fill_bytes(words.as_flattened_mut());
        words
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
    let top = (n as u64 - 1) as u32;
    let mask = mask(u64::from(top)) as u32;
    // A word gives at most one index, so all of these words are needed.
    let words = batch.draw(rng, at_most.min(BATCH_WORDS));
    let mut n_kept = 0;
    // Every index is written over a word already read, and the next one overwrites it if it is too high. A branch would often be
    // mispredicted.
    for i in 0..words.len() {
        let value = u32::from_le_bytes(words[i]) & mask;
        words[n_kept] = value.to_le_bytes();
        n_kept += usize::from(value <= top);
    }
    words[..n_kept].iter().map(|&word| u32::from_le_bytes(word) as usize)
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
    /// The number of words of a batch is a multiple of this.
    const STRIDE: usize = 16;
    /// Numbers of entries and of batches between two calls of `check_cancelled`: a few milliseconds of work.
    const ENTRIES_PER_CHECK: usize = 1 << 20;
    const BATCHES_PER_CHECK: usize = 1 << 10;
    let mut all: Vec<T> = memory::with_capacity(n)?;
    for start in (0..n).step_by(ENTRIES_PER_CHECK) {
        check_cancelled()?;
        all.extend((start..n.min(start + ENTRIES_PER_CHECK)).map(&entry));
    }
    let mut batch = Batch::default();
    let mut n_batches = 0_usize;
    let mut i = n.saturating_sub(1);
    // NumPy swaps entry `i` with a random entry at or below `i`, for `i` from the last entry down to 1. Later swaps never touch
    // entry `i` again. Only the first `k` entries are wanted, so an entry above them is moved down and need not be overwritten.
    while i >= k.max(1) {
        // All `i` down to `end` have the same mask.
        let end = k.max(i.checked_ilog2().map_or(1, |bits| 1 << bits)).max(1);
        if u32::try_from(i).is_ok() {
            let mask = mask(i as u64) as usize;
            while i + 1 >= end + STRIDE {
                n_batches += 1;
                if n_batches.is_multiple_of(BATCHES_PER_CHECK) {
                    check_cancelled()?;
                }
                // Each word lowers `i` by at most one, so all of these words will be used.
                let n_words = ((i + 1 - end) / STRIDE * STRIDE).min(BATCH_WORDS / STRIDE * STRIDE);
                for &mut word in batch.draw(rng, n_words) {
                    // If the position is too high, the entry is written onto itself and `i` does not change.
                    let position = u32::from_le_bytes(word) as usize & mask;
                    let is_low = position <= i;
                    let entry = all[i];
                    all[std::hint::select_unpredictable(is_low, position, i)] = entry;
                    i -= usize::from(is_low);
                }
            }
            if i < end {
                continue;
            }
        }
        let position = up_to(rng, i as u64) as usize;
        all[position] = all[i];
        if i.is_multiple_of(ENTRIES_PER_CHECK) {
            check_cancelled()?;
        }
        i -= 1;
    }
    for i in (1..k.min(n)).rev() {
        all.swap(i, up_to(rng, i as u64) as usize);
    }
    all.truncate(k);
    memory::collected(all.into_iter().map(index))
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
