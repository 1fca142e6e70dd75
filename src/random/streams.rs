//! THE ORDER of random draws, and nothing else (scikit-learn 1.9: `IsolationForest.fit`, `BaseBagging._fit`,
//! `_generate_bagging_indices`, `BaseDecisionTree._fit`).
//!
//! 1. From the outer stream: the noise target `y`, one double per row.
//! 2. From the outer stream: one seed per tree. **An integer `random_state` starts the stream again here**, so that `y`
//!    and the seeds are made of the same words; a `RandomState` instance goes on. Trees of an earlier fit (warm start)
//!    use up one seed each.
//! 3. Per tree, from a stream of its own, started from its seed: its features, then its rows.
//! 4. Per tree, from that stream started afresh: a second seed, whose stream gives the state of the tree's xorshift.
//!
//! For a `RandomState` instance or the global generator, the Python package lets NumPy itself do 1 and 2.

use super::mt19937::{MAX_SEED, Mt, below, first_below, seeded, seeded_together};
use super::sampling::{self, Weights, with_replacement, without_replacement};
use super::units::{PLACE_BYTES, units, units_at};
use super::xorshift::XorShift;
use crate::error::{Error, Result};
use crate::memory;
use crate::threads::Workers;

/// Rows of a table, at most: to pass over the noise target of more takes a quarter of an hour, and scikit-learn, which keeps it, has no
/// memory for so many.
pub const MAX_ROWS: usize = 1 << 40;

/// Bytes that [`noise_target_at`] takes for each row that it is asked for, with the result.
pub const NOISE_BYTES: usize = PLACE_BYTES;

/// Step 1 for an integer `random_state`: the noise target of `n` rows.
///
/// # Errors
/// [`Error::Memory`]; [`Error::Interrupted`].
pub fn noise_target<'w>(random_state: u32, n: usize, workers: impl Into<Workers<'w>>) -> Result<Vec<f64>> {
    let workers = workers.into();
    units(random_state, n, || workers.go_on())
}

/// Step 1 for an integer `random_state`, of `n` rows those given, in their order.
///
/// # Errors
/// [`Error::Memory`], also where `n` is above [`MAX_ROWS`]; [`Error::Interrupted`].
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
    units_at(random_state, n, rows, || workers.go_on())
}

/// Step 2 for an integer `random_state`: the seeds of `new` trees that follow `existing` ones.
#[must_use]
pub fn tree_seeds(random_state: u32, existing: usize, new: usize) -> Vec<u32> {
    let mut stream = seeded(random_state);
    let mut next = || below(&mut stream, MAX_SEED as usize) as u32;
    (0..existing).for_each(|_| {
        next();
    });
    (0..new).map(|_| next()).collect()
}

/// How many features and rows a tree sees, and how its rows are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bagging {
    /// Rows to draw from.
    pub n_samples: usize,
    /// Columns to draw from.
    pub n_features: usize,
    /// Rows to draw.
    pub max_samples: usize,
    /// Columns to draw.
    pub max_features: usize,
    /// Whether a row may be drawn more than once.
    pub bootstrap: bool,
}

/// What one tree was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bag {
    /// Its columns, in the order drawn.
    pub features: Vec<usize>,
    /// Its rows, in the order drawn.
    pub rows: Vec<usize>,
}

impl Bagging {
    /// Bytes that the draw of one tree takes besides what it gives: a list of all rows or columns to be shuffled, or of all chances.
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

/// As many trees as start their streams together: each word of a start waits for the one before it.
const TOGETHER: usize = 4;

/// Step 3: the columns and rows of the tree with this seed; `weights`, if any, are the chances of the rows.
///
/// # Errors
/// [`Error::Memory`]; [`Error::Interrupted`].
pub fn bag<'w>(
    tree_seed: u32,
    bagging: &Bagging,
    weights: Option<&Weights>,
    workers: impl Into<Workers<'w>>,
) -> Result<Bag> {
    bag_from(&mut seeded(tree_seed), bagging, weights, workers.into())
}

/// Step 3 for several trees.
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
    let (groups, rest) = tree_seeds.as_chunks::<TOGETHER>();
    // Loops, since a stream is so large that moving it through a chain of iterators would take as long as drawing.
    for &seeds in groups {
        for stream in &mut seeded_together(seeds) {
            bags.push(bag_from(stream, bagging, weights, workers)?);
        }
    }
    for &seed in rest {
        bags.push(bag(seed, bagging, weights, workers)?);
    }
    Ok(bags)
}

fn bag_from(stream: &mut Mt, bagging: &Bagging, weights: Option<&Weights>, workers: Workers<'_>) -> Result<Bag> {
    let go_on = || workers.go_on();
    let features = without_replacement(stream, bagging.n_features, bagging.max_features, &go_on)?;
    let rows = match (weights, bagging.bootstrap) {
        (Some(weights), true) => weights.with_replacement(stream, bagging.max_samples)?,
        (Some(weights), false) => weights.without_replacement(stream, bagging.max_samples)?,
        (None, true) => with_replacement(stream, bagging.n_samples, bagging.max_samples, &go_on)?,
        (None, false) => without_replacement(stream, bagging.n_samples, bagging.max_samples, &go_on)?,
    };
    Ok(Bag { features, rows })
}

/// Step 4: the streams of splits of the trees with these seeds.
#[must_use]
pub fn splits(tree_seeds: &[u32]) -> Vec<XorShift> {
    fn states<const K: usize>(seeds: [u32; K]) -> [XorShift; K] {
        first_below(first_below(seeds, MAX_SEED), MAX_SEED).map(XorShift::new)
    }
    let (groups, rest) = tree_seeds.as_chunks::<TOGETHER>();
    let together = groups.iter().flat_map(|&seeds| states(seeds));
    together.chain(rest.iter().flat_map(|&seed| states([seed]))).collect()
}
