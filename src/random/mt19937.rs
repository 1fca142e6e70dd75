//! NumPy's legacy stream (`numpy.random.RandomState`): bounded integers, doubles and permutations over MT19937.
//!
//! The raw words come from the crate `rand_mt`; they equal NumPy's for a seed in `0..=2^32 - 1` (NumPy: `_legacy_seeding`).
//! What NumPy makes of the words is its own and stands here (NumPy: `legacy-distributions.c`, `mtrand.pyx`).

use rand::Rng;
use rand_mt::Mt;

/// The largest seed that scikit-learn draws for an estimator is below this: `np.iinfo(np.int32).max`.
pub const MAX_SEED: u32 = i32::MAX as u32;

/// The stream of `RandomState(seed)`.
#[must_use]
pub fn seeded(seed: u32) -> Mt {
    Mt::new(seed)
}

/// A double in `[0, 1)` with 53 random bits, made of two words.
pub fn unit(rng: &mut impl Rng) -> f64 {
    let high = rng.next_u32() >> 5;
    let low = rng.next_u32() >> 6;
    (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
}

/// An integer in `0..=top`, by masking and rejection. Draws nothing for `top == 0`.
pub fn up_to(rng: &mut impl Rng, top: u64) -> u64 {
    if top == 0 {
        return 0;
    }
    let mask = u64::MAX >> top.leading_zeros();
    loop {
        let word = if u32::try_from(top).is_ok() {
            u64::from(rng.next_u32())
        } else {
            // High word first; `next_u64` of the generator makes no promise about that.
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
pub fn below(rng: &mut impl Rng, n: usize) -> usize {
    up_to(rng, n as u64 - 1) as usize
}

/// The first `k` entries of NumPy's `permutation(n)`.
pub fn permutation(rng: &mut impl Rng, n: usize, k: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        all.swap(i, up_to(rng, i as u64) as usize);
    }
    all.truncate(k);
    all
}
