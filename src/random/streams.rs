//! Makes all random draws of a fit, in scikit-learn's order. No other file knows this order.
//!
//! Source: scikit-learn 1.9, `IsolationForest.fit`, `BaseBagging._fit`, `_generate_bagging_indices`, `BaseDecisionTree._fit`.
//!
//! A word is one 32-bit output of a Mersenne Twister (MT19937).
//!
//! ```text
//! stream = MT19937(random_state)
//! y = doubles(stream, n_rows)                   # step 1: the noise target, which scikit-learn fits each tree to
//! if random_state is an integer:
//!     stream = MT19937(random_state)            # so `y` and the seeds are made from the same words
//! seeds = integers(stream, n_trees)             # step 2: with warm_start, trees of earlier fits take the first seeds
//! for seed in seeds:
//!     stream = MT19937(seed)
//!     features = draw(stream); rows = draw(stream)                        # step 3
//!     second_seed = integer(MT19937(seed))                                # the stream of the tree starts again
//!     splits = xorshift(state = integer(MT19937(second_seed)))            # step 4
//! ```
//!
//! If `random_state` is a `RandomState` instance or None (the global generator), the Python package lets NumPy make the draws of
//! steps 1 and 2. In Rust [`noise_target_from`] and [`tree_seeds_from`] make them with any generator.

use std::sync::OnceLock;

use rand_core::Rng;

use super::doubles::{BYTES_PER_POSITION, doubles, doubles_at};
use super::mt19937::{MAX_SEED, Mt19937, first_below};
use super::random_state::{below, next_double};
use super::sampling::{self, Weights, with_replacement, without_replacement};
use super::xorshift::XorShift32;
use crate::error::{Error, Result};
use crate::memory;
use crate::threads::Workers;

/// Maximum number of rows of a table. Generating the words of a longer noise target would take over a quarter of an hour, and the
/// target would not fit in memory, so scikit-learn could not fit such a table either.
pub const MAX_ROWS: usize = 1 << 40;

/// Bytes that [`noise_target_at`] needs for each requested row, including the result.
pub const NOISE_BYTES: usize = BYTES_PER_POSITION;

/// Draws the noise target of `n` rows for an integer `random_state`: step 1.
///
/// # Errors
/// [`Error::Memory`]; [`Error::Interrupted`].
pub fn noise_target<'w>(random_state: u32, n: usize, workers: impl Into<Workers<'w>>) -> Result<Vec<f64>> {
    let workers = workers.into();
    doubles(random_state, n, || workers.check_cancelled())
}

/// Draws the noise target of some rows of a table of `n` rows, for an integer `random_state`: step 1, but only the requested
/// values.
///
/// # Errors
/// [`Error::Memory`], also when `n` is above [`MAX_ROWS`]; [`Error::Interrupted`].
pub fn noise_target_at<'w>(
    random_state: u32,
    n: usize,
    rows: &[usize],
    workers: impl Into<Workers<'w>>,
) -> Result<Vec<f64>> {
    if n > MAX_ROWS {
        return Err(Error::Memory {
            bytes: n.saturating_mul(size_of::<f64>()),
        });
    }
    let workers = workers.into();
    doubles_at(random_state, n, rows, || workers.check_cancelled())
}

/// Draws the noise target of `n` rows from any generator: step 1 for a stream that was used before.
///
/// # Errors
/// [`Error::Memory`]; [`Error::Interrupted`].
pub fn noise_target_from<'w, R: Rng + ?Sized>(
    rng: &mut R,
    n: usize,
    workers: impl Into<Workers<'w>>,
) -> Result<Vec<f64>> {
    /// Number of doubles drawn between two checks for cancellation: about a millisecond.
    const DOUBLES_PER_CHECK: usize = 1 << 18;
    let workers = workers.into();
    let mut target = memory::filled(n, 0.0)?;
    for chunk in target.chunks_mut(DOUBLES_PER_CHECK) {
        workers.check_cancelled()?;
        chunk.fill_with(|| next_double(rng));
    }
    Ok(target)
}

/// Draws the seeds of `n_new` trees that are added to `n_existing` ones, for an integer `random_state`: step 2.
#[must_use]
pub fn tree_seeds(random_state: u32, n_existing: usize, n_new: usize) -> Vec<u32> {
    let mut rng = Mt19937::new(random_state);
    for _ in 0..n_existing {
        tree_seed(&mut rng);
    }
    tree_seeds_from(&mut rng, n_new)
}

/// Draws the seeds of `n` trees from any generator: step 2 for a stream that was used before.
pub fn tree_seeds_from<R: Rng + ?Sized>(rng: &mut R, n: usize) -> Vec<u32> {
    (0..n).map(|_| tree_seed(rng)).collect()
}

fn tree_seed<R: Rng + ?Sized>(rng: &mut R) -> u32 {
    below(rng, MAX_SEED as usize) as u32
}

/// The numbers of rows and columns that a tree draws, and how it draws the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bagging {
    /// Number of rows to draw from.
    pub n_samples: usize,
    /// Number of columns to draw from.
    pub n_features: usize,
    /// Number of rows to draw.
    pub max_samples: usize,
    /// Number of columns to draw.
    pub max_features: usize,
    /// Whether a row may be drawn more than once.
    pub bootstrap: bool,
}

/// The columns and rows that one tree drew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bag {
    /// Columns, in the order drawn.
    pub features: Vec<usize>,
    /// Rows, in the order drawn.
    pub rows: Vec<usize>,
}

impl Bagging {
    /// Returns whether every tree takes all rows and columns, in ascending order and without a word of its stream.
    fn draws_nothing(&self) -> bool {
        !self.bootstrap && self.max_samples == self.n_samples && self.max_features == self.n_features
    }

    /// Returns the bytes that the draw of one tree needs in addition to its result. A draw may shuffle all rows or columns, or copy
    /// the probabilities of all rows.
    #[must_use]
    pub fn draw_bytes(&self, is_weighted: bool) -> usize {
        let features = sampling::draw_bytes(self.n_features, self.max_features);
        let rows = match (is_weighted, self.bootstrap) {
            (true, false) => sampling::weighted_draw_bytes(self.n_samples),
            (false, false) => sampling::draw_bytes(self.n_samples, self.max_samples),
            (_, true) => 0,
        };
        features.max(rows)
    }
}

/// Number of trees whose streams are seeded in one call. In one stream each word of the initial state depends on the one before it,
/// so the processor has time for the other streams.
const SEEDS_PER_BATCH: usize = 4;

/// Draws the columns and rows of the tree with this seed: step 3. `weights` are the probabilities of the rows, if these differ.
///
/// # Errors
/// [`Error::Memory`]; [`Error::Interrupted`].
pub fn bag<'w>(
    tree_seed: u32,
    bagging: &Bagging,
    weights: Option<&Weights>,
    workers: impl Into<Workers<'w>>,
) -> Result<Bag> {
    bag_from(&mut Mt19937::new(tree_seed), bagging, weights, workers)
}

/// Draws the columns and rows of several trees: step 3 for each of them.
///
/// # Errors
/// [`Error::Memory`]; [`Error::Interrupted`].
pub fn bags<'w>(
    tree_seeds: &[u32],
    bagging: &Bagging,
    weights: Option<&Weights>,
    workers: impl Into<Workers<'w>>,
) -> Result<Vec<Bag>> {
    let workers = workers.into();
    let mut bags = memory::with_capacity(tree_seeds.len())?;
    if weights.is_none() && bagging.draws_nothing() {
        // No generator is needed, and making one takes longer than listing the rows.
        for _ in tree_seeds {
            let features = memory::collected(0..bagging.n_features)?;
            bags.push(Bag {
                features,
                rows: memory::collected(0..bagging.n_samples)?,
            });
        }
        return Ok(bags);
    }
    let (batches, rest) = tree_seeds.as_chunks::<SEEDS_PER_BATCH>();
    // These are loops because an iterator would move the generators, which are so large that moving takes as long as drawing.
    for &seeds in batches {
        for rng in &mut Mt19937::from_seeds(seeds) {
            bags.push(bag_from(rng, bagging, weights, workers)?);
        }
    }
    for &seed in rest {
        bags.push(bag(seed, bagging, weights, workers)?);
    }
    Ok(bags)
}

/// Draws the columns and rows of a tree from any generator: step 3. `weights` are the probabilities of the rows, if these differ.
///
/// # Errors
/// [`Error::Memory`]; [`Error::Interrupted`].
pub fn bag_from<'w, R: Rng + ?Sized>(
    rng: &mut R,
    bagging: &Bagging,
    weights: Option<&Weights>,
    workers: impl Into<Workers<'w>>,
) -> Result<Bag> {
    let workers = workers.into();
    let check_cancelled = || workers.check_cancelled();
    let features = without_replacement(rng, bagging.n_features, bagging.max_features, &check_cancelled)?;
    let rows = match (weights, bagging.bootstrap) {
        (Some(weights), true) => weights.with_replacement(rng, bagging.max_samples)?,
        (Some(weights), false) => weights.without_replacement(rng, bagging.max_samples)?,
        (None, true) => with_replacement(rng, bagging.n_samples, bagging.max_samples, &check_cancelled)?,
        (None, false) => without_replacement(rng, bagging.n_samples, bagging.max_samples, &check_cancelled)?,
    };
    Ok(Bag { features, rows })
}

/// Number of trees whose split generators are seeded in one call: enough for the widest registers, or for four of the narrowest.
const RNGS_PER_BATCH: usize = 16;

/// Returns, for each tree seed, the generator from which the splits of the tree are drawn: step 4.
#[must_use]
pub fn split_rngs(tree_seeds: &[u32]) -> Vec<XorShift32> {
    let mut rngs = Vec::with_capacity(tree_seeds.len());
    for seeds in tree_seeds.chunks(RNGS_PER_BATCH) {
        let mut batch = [0; RNGS_PER_BATCH];
        batch[..seeds.len()].copy_from_slice(seeds);
        let states = first_below(first_below(batch, MAX_SEED), MAX_SEED);
        rngs.extend(states[..seeds.len()].iter().map(|&state| XorShift32::new(state)));
    }
    rngs
}

/// The generators of [`split_rngs`] for trees that are grown on several threads: the first thread that needs one makes a batch.
pub struct SplitRngs<'a> {
    tree_seeds: &'a [u32],
    batches: Vec<OnceLock<Vec<XorShift32>>>,
}

impl<'a> SplitRngs<'a> {
    /// Prepares the generators of the trees with these seeds, without making any.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn new(tree_seeds: &'a [u32]) -> Result<Self> {
        let batches = tree_seeds.chunks(RNGS_PER_BATCH).map(|_| OnceLock::new());
        Ok(Self {
            tree_seeds,
            batches: memory::collected(batches)?,
        })
    }

    /// Returns the generator of a tree.
    #[must_use]
    pub fn get(&self, tree: usize) -> XorShift32 {
        let batch = tree / RNGS_PER_BATCH;
        let first = batch * RNGS_PER_BATCH;
        let seeds = || &self.tree_seeds[first..self.tree_seeds.len().min(first + RNGS_PER_BATCH)];
        self.batches[batch].get_or_init(|| split_rngs(seeds()))[tree - first].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_generators_are_seeded_by_the_second_stream_of_each_tree() {
        let seeds = tree_seeds(0, 0, 2 * RNGS_PER_BATCH + 3);
        let expected = seeds.iter().map(|&seed| {
            let second_seed = tree_seed(&mut Mt19937::new(seed));
            XorShift32::new(tree_seed(&mut Mt19937::new(second_seed)))
        });
        let mut expected: Vec<u32> = expected.map(|mut rng| rng.next_u32()).collect();
        let first_words = |rngs: Vec<XorShift32>| rngs.into_iter().map(|mut rng| rng.next_u32()).collect::<Vec<u32>>();
        assert_eq!(first_words(split_rngs(&seeds)), expected);
        let shared = SplitRngs::new(&seeds).unwrap();
        // The trees may be asked for in any order.
        let rngs = (0..seeds.len()).rev().map(|tree| shared.get(tree)).collect();
        expected.reverse();
        assert_eq!(first_words(rngs), expected);
    }
}
