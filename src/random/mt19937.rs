//! NumPy's legacy stream (`numpy.random.RandomState`): MT19937, and its bounded integers, doubles and permutations.
//!
//! The generator makes its words a block at a time, which lets the compiler make several at once, and lets the noise target
//! pass over the words that nobody reads (NumPy: `mt19937.c`, `_legacy_seeding`; Matsumoto and Nishimura, "Mersenne
//! Twister", 1998). What NumPy makes of the words stands here too (NumPy: `legacy-distributions.c`, `mtrand.pyx`).

use crate::error::Result;
use crate::memory;

/// Words in a block.
pub(super) const N: usize = 624;
/// How far the word lies ahead that a new word is mixed with.
const M: usize = 397;

/// The largest seed that scikit-learn draws for an estimator is below this: `np.iinfo(np.int32).max`.
pub const MAX_SEED: u32 = i32::MAX as u32;

/// The state of the generator: the current block of words, not tempered yet.
#[derive(Debug, Clone)]
pub(super) struct Block(pub(super) [u32; N]);

impl Block {
    /// What comes before the first block of each of these seeds.
    ///
    /// Each word waits for the one before it, so several seeds together take little longer than one.
    pub(super) fn new<const K: usize>(seeds: [u32; K]) -> [Self; K] {
        let mut blocks = [const { Self([0; N]) }; K];
        let mut words = seeds;
        for (block, word) in blocks.iter_mut().zip(words) {
            block.0[0] = word;
        }
        for i in 1..N {
            for (block, word) in blocks.iter_mut().zip(&mut words) {
                *word = following(*word, i);
                block.0[i] = *word;
            }
        }
        blocks
    }

    /// Goes on to the next block.
    pub(super) fn twist(&mut self) {
        let words = &mut self.0;
        // In three pieces, so that each loop reads at a fixed distance.
        for i in 0..N - M {
            words[i] = twisted(words[i], words[i + 1], words[i + M]);
        }
        for i in N - M..N - 1 {
            words[i] = twisted(words[i], words[i + 1], words[i + M - N]);
        }
        words[N - 1] = twisted(words[N - 1], words[0], words[M - 1]);
    }
}

/// The word at `i` of what comes before the first block, from the word before it.
fn following(word: u32, i: usize) -> u32 {
    1_812_433_253_u32.wrapping_mul(word ^ word >> 30).wrapping_add(i as u32)
}

fn twisted(word: u32, next: u32, ahead: u32) -> u32 {
    let mixed = word & 0x8000_0000 | next & 0x7fff_ffff;
    ahead ^ mixed >> 1 ^ (mixed & 1).wrapping_neg() & 0x9908_b0df
}

pub(super) fn tempered(mut word: u32) -> u32 {
    word ^= word >> 11;
    word ^= word << 7 & 0x9d2c_5680;
    word ^= word << 15 & 0xefc6_0000;
    word ^ word >> 18
}

/// A double in `[0, 1)` with 53 random bits, made of two words.
pub(super) fn unit_of(first: u32, second: u32) -> f64 {
    let (high, low) = (first >> 5, second >> 6);
    (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
}

/// A stream of 32-bit words.
#[derive(Debug, Clone)]
pub struct Mt {
    block: Block,
    /// The words of the block as they are given out.
    words: [u32; N],
    /// The next word to be given out; `N` when the block is used up.
    next: usize,
}

impl Mt {
    /// The stream of `RandomState(seed)`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        let [block] = Block::new([seed]);
        Self::after(block)
    }

    fn after(block: Block) -> Self {
        Self {
            block,
            words: [0; N],
            next: N,
        }
    }

    /// The next word.
    pub fn next_u32(&mut self) -> u32 {
        let word = self.ahead()[0];
        self.next += 1;
        word
    }

    /// The words that come next, at least one; [`pass`](Self::pass) takes them.
    pub(super) fn ahead(&mut self) -> &[u32] {
        if self.next >= N {
            self.block.twist();
            for (word, &raw) in self.words.iter_mut().zip(&self.block.0) {
                *word = tempered(raw);
            }
            self.next = 0;
        }
        &self.words[self.next..]
    }

    /// Takes the next `n` words, which [`ahead`](Self::ahead) has shown.
    pub(super) fn pass(&mut self, n: usize) {
        self.next += n;
    }
}

/// The stream of `RandomState(seed)`.
#[must_use]
pub fn seeded(seed: u32) -> Mt {
    Mt::new(seed)
}

/// The streams of several seeds.
pub(super) fn seeded_together<const K: usize>(seeds: [u32; K]) -> [Mt; K] {
    Block::new(seeds).map(Mt::after)
}

/// What [`below`] draws first from the stream of each of these seeds, without making the rest of their first blocks.
pub(super) fn first_below<const K: usize>(seeds: [u32; K], n: u32) -> [u32; K] {
    let second = seeds.map(|seed| following(seed, 1));
    let mut words = second;
    for i in 2..=M {
        words = words.map(|word| following(word, i));
    }
    let top = n - 1;
    std::array::from_fn(|k| {
        let word = tempered(twisted(seeds[k], second[k], words[k]));
        let value = word & mask(u64::from(top)) as u32;
        if value <= top {
            value
        } else {
            below(&mut seeded(seeds[k]), n as usize) as u32
        }
    })
}

/// A double in `[0, 1)`, as NumPy's `random_sample` and `uniform` draw it.
pub fn unit(rng: &mut Mt) -> f64 {
    let first = rng.next_u32();
    unit_of(first, rng.next_u32())
}

/// The smallest mask of ones that covers `top`.
fn mask(top: u64) -> u64 {
    u64::MAX >> top.leading_zeros()
}

/// An integer in `0..=top`, by masking and rejection. Draws nothing for `top == 0`.
pub fn up_to(rng: &mut Mt, top: u64) -> u64 {
    if top == 0 {
        return 0;
    }
    let mask = mask(top);
    loop {
        let word = if u32::try_from(top).is_ok() {
            u64::from(rng.next_u32())
        } else {
            let high = u64::from(rng.next_u32());
            high << 32 | u64::from(rng.next_u32())
        };
        let value = word & mask;
        if value <= top {
            return value;
        }
    }
}

/// An index in `0..n`; `n` is at least 1.
pub fn below(rng: &mut Mt, n: usize) -> usize {
    up_to(rng, n as u64 - 1) as usize
}

/// As many indices in `0..n` as one look at the stream gives, at most `at_most`, one after another as [`below`] draws them;
/// `n` is at least 2 and at most 2^32. Empty if no word of this look was low enough.
pub(super) fn some_below<'a>(rng: &mut Mt, n: usize, at_most: usize, out: &'a mut Vec<u32>) -> &'a [u32] {
    let top = (n as u64 - 1) as u32;
    let mask = mask(u64::from(top)) as u32;
    let words = rng.ahead();
    let words = &words[..words.len().min(at_most)];
    out.resize(words.len(), 0);
    let mut found = 0;
    // Every word is written and only the low ones stay: a branch would be guessed wrong all the time.
    for word in words {
        let value = word & mask;
        out[found] = value;
        found += usize::from(value <= top);
    }
    let taken = words.len();
    rng.pass(taken);
    &out[..found]
}

/// Bytes of the list that [`permutation`] shuffles.
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

/// The first `k` entries of NumPy's `permutation(n)`; `go_on` is asked every now and then whether they are still wanted.
///
/// # Errors
/// [`Error::Memory`](crate::error::Error::Memory), and those of `go_on`.
pub fn permutation(rng: &mut Mt, n: usize, k: usize, go_on: &dyn Fn() -> Result<()>) -> Result<Vec<usize>> {
    // Small entries, so that the list stays in the nearest cache.
    if u16::try_from(n).is_ok() {
        shuffled(rng, n, k, go_on, |i| i as u16, usize::from)
    } else if u32::try_from(n).is_ok() {
        shuffled(rng, n, k, go_on, |i| i as u32, |i| i as usize)
    } else {
        shuffled(rng, n, k, go_on, |i| i, |i| i)
    }
}

fn shuffled<T: Copy>(
    rng: &mut Mt,
    n: usize,
    k: usize,
    go_on: &dyn Fn() -> Result<()>,
    entry: impl Fn(usize) -> T,
    index: impl Fn(T) -> usize,
) -> Result<Vec<usize>> {
    /// Words taken at once.
    const STRIDE: usize = 16;
    /// Entries made or looks at the stream taken between two questions whether to go on: some milliseconds.
    const PIECE: usize = 1 << 20;
    const LOOKS: usize = 1 << 10;
    let mut all: Vec<T> = memory::with_capacity(n)?;
    for start in (0..n).step_by(PIECE) {
        go_on()?;
        all.extend((start..n.min(start + PIECE)).map(&entry));
    }
    let mut n_looks = 0_usize;
    let mut i = n.saturating_sub(1);
    // NumPy swaps entry `i` with a random one up to it, for `i` from the last to 1. Once swapped, what lies at `i` stays there,
    // so that above `k` it need not be written at all.
    while i >= k.max(1) {
        // So far down the mask stays the same.
        let end = k.max(i.checked_ilog2().map_or(1, |bits| 1 << bits)).max(1);
        if u32::try_from(i).is_ok() {
            let mask = mask(i as u64) as usize;
            while i + 1 >= end + STRIDE {
                n_looks += 1;
                if n_looks.is_multiple_of(LOOKS) {
                    go_on()?;
                }
                let (groups, _) = rng.ahead().as_chunks::<STRIDE>();
                let n_groups = groups.len().min((i + 1 - end) / STRIDE);
                for group in &groups[..n_groups] {
                    for &word in group {
                        // A word that is too high writes the entry onto itself and goes on with the same one.
                        let place = word as usize & mask;
                        let low = place <= i;
                        let entry = all[i];
                        all[std::hint::select_unpredictable(low, place, i)] = entry;
                        i -= usize::from(low);
                    }
                }
                if n_groups == 0 {
                    break;
                }
                rng.pass(n_groups * STRIDE);
            }
            if i < end {
                continue;
            }
        }
        let place = up_to(rng, i as u64) as usize;
        all[place] = all[i];
        if i.is_multiple_of(PIECE) {
            go_on()?;
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
    use super::*;
    use crate::error::Error;
    use proptest::prelude::*;

    /// NumPy's `permutation`, by the definition.
    fn plain_permutation(rng: &mut Mt, n: usize, k: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            all.swap(i, up_to(rng, i as u64) as usize);
        }
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn words_equal_those_of_another_implementation(seed: u32, n in 1_usize..2000) {
            let (mut ours, mut other) = (seeded(seed), rand_mt::Mt::new(seed));
            for _ in 0..n {
                prop_assert_eq!(ours.next_u32(), other.next_u32());
            }
        }

        #[test]
        fn permutations_follow_the_definition(seed: u32, n in 0_usize..5000, share in 0.0..=1.0, skip in 0_usize..700) {
            let k = (n as f64 * share) as usize;
            let mut rng = seeded(seed);
            (0..skip).for_each(|_| { rng.next_u32(); });
            let mut plain = rng.clone();
            prop_assert_eq!(permutation(&mut rng, n, k, &|| Ok(())).unwrap(), plain_permutation(&mut plain, n, k));
            prop_assert_eq!(rng.next_u32(), plain.next_u32());
        }

        #[test]
        fn indices_drawn_together_are_those_drawn_one_by_one(seed: u32, n in 2_usize..100_000, k in 1_usize..1500) {
            let (mut rng, mut plain) = (seeded(seed), seeded(seed));
            let (mut drawn, mut buffer) = (Vec::new(), Vec::new());
            while drawn.len() < k {
                let missing = k - drawn.len();
                drawn.extend(some_below(&mut rng, n, missing, &mut buffer).iter().map(|&i| i as usize));
            }
            let expected: Vec<usize> = (0..k).map(|_| below(&mut plain, n)).collect();
            prop_assert_eq!(drawn, expected);
            prop_assert_eq!(rng.next_u32(), plain.next_u32());
        }

        #[test]
        fn streams_started_together_are_those_started_alone(seeds: [u32; 4], n in 2_u32..=MAX_SEED) {
            let first = seeds.map(|seed| below(&mut seeded(seed), n as usize) as u32);
            prop_assert_eq!(first_below(seeds, n), first);
            for (mut stream, seed) in seeded_together(seeds).into_iter().zip(seeds) {
                let mut alone = seeded(seed);
                (0..700).for_each(|_| assert_eq!(stream.next_u32(), alone.next_u32()));
            }
        }
    }

    #[test]
    fn a_draw_that_is_not_wanted_any_more_ends() {
        let given_up = || Err(Error::Interrupted);
        assert_eq!(
            permutation(&mut seeded(0), 1 << 20, 5, &given_up),
            Err(Error::Interrupted)
        );
        // Between its beginning and its end it is asked again.
        let n_asked = std::cell::Cell::new(0);
        let later = || {
            n_asked.set(n_asked.get() + 1);
            if n_asked.get() < 5 {
                Ok(())
            } else {
                Err(Error::Interrupted)
            }
        };
        assert_eq!(permutation(&mut seeded(0), 1 << 22, 5, &later), Err(Error::Interrupted));
    }

    #[test]
    fn what_nobody_has_room_for_is_refused() {
        let wanted = || Ok(());
        assert!(matches!(
            permutation(&mut seeded(0), 1 << 50, 5, &wanted),
            Err(Error::Memory { .. })
        ));
    }

    #[test]
    fn long_permutations_follow_the_definition() {
        for (n, k) in [(65_535, 700), (65_536, 65_000), (70_000, 1_000)] {
            let (mut rng, mut plain) = (seeded(n as u32), seeded(n as u32));
            assert_eq!(
                permutation(&mut rng, n, k, &|| Ok(())).unwrap(),
                plain_permutation(&mut plain, n, k)
            );
        }
    }
}
