//! Growing: a table, a noise target, seeds and parameters become a forest.
//!
//! Trees are independent, since each draws from its own stream. So they are grown on several threads and stored in the order of
//! their seeds. Only the cells of drawn rows and features are read, unless trees read most cells so often that a copy of the table
//! pays.

#![allow(
    clippy::indexing_slicing,
    reason = "rows, features and nodes are indices that the tree itself has made; a wrong one is a defect, and a panic becomes an exception at the boundary"
)]

mod bag;
mod dense;
mod noise;
mod params;
mod partition;
mod sample;
mod sparse;
mod splitter;
mod tree;

pub use params::{Params, ValidParams};

use std::ops::Range;

use crate::error::{Error, Result};
use crate::forest::{Forest, Node, NodeNoise, Tree};
use crate::matrix::csr::Csr;
use crate::matrix::{Input, Matrix};
use crate::memory::{self, Account, needed};
use crate::random::sampling::Weights;
use crate::random::streams::{self, Bagging, SplitRngs};
use crate::simd::Choice;
use crate::threads::{self, Workers};
use bag::InBag;
use dense::{DenseSample, F32Copy};
use sample::Sample;
use sparse::SparseSample;
use tree::TreeBuilder;

/// Maximum number of in-bag rows of the trees that a worker grows together: enough to keep the memory busy, few enough for the
/// second-level cache.
const MAX_ROWS_TOGETHER: usize = 1024;

/// Maximum number of rows that are visited between two checks for cancellation, unless one node has more; a row takes some
/// nanoseconds. Asking the clock at every node would take 3 % of the time of a small fit.
const ROWS_PER_CHECK: usize = 1 << 15;
/// Maximum number of nodes between two checks for cancellation.
const MAX_NODES_PER_CHECK: usize = 64;

/// Maximum number of bytes that a tree needs for each row it draws: the bag while it is drawn and sorted, then row, value, noise
/// and position. Nodes are counted when they are made.
const BYTES_PER_ROW: usize = 192;
/// Bytes that a tree needs for each column it draws: the column drawn and kept, its position in the splitter, and for sparse input
/// the ranges of its cells.
const BYTES_PER_FEATURE: usize = 96;
/// Bytes of the lists of a bag or a tree in addition to their items.
const BYTES_PER_TREE: usize = 256;

/// The random target that scikit-learn fits its trees to.
#[derive(Debug, Clone, Copy)]
pub enum NoiseTarget<'a> {
    /// One value per row.
    Drawn(&'a [f64]),
    /// The values that [`streams::noise_target`] draws for this integer `random_state`.
    Seed(u32),
}

/// The position of a table's rows in a larger table, of which only the rows that trees draw are given.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Number of rows of the larger table.
    pub n_samples: usize,
    /// Row number in the larger table of each row, ascending.
    pub rows: &'a [usize],
}

impl Origin<'_> {
    fn check(&self, x: &Input<'_>) -> Result<()> {
        check_rows("the list of row numbers", self.rows.len(), x)?;
        let are_rows =
            self.rows.is_sorted_by(|a, b| a < b) && self.rows.last().is_none_or(|&last| last < self.n_samples);
        if are_rows {
            Ok(())
        } else {
            Err(Error::Partitions(format!(
                "row numbers must be ascending, distinct and below the number of rows, {}",
                self.n_samples
            )))
        }
    }

    /// Replaces the rows that a tree drew by their indices in `x`. The order stays the same, because row numbers ascend in both.
    fn localise(&self, bag: &mut InBag) -> Result<()> {
        for row in &mut bag.rows {
            *row = self.rows.binary_search(row).map_err(|_| {
                Error::Partitions(format!(
                    "a tree draws row {row}, which is not among the rows that were passed"
                ))
            })?;
        }
        Ok(())
    }
}

/// Grows the trees that [`grow`] would grow on a larger table, given only the drawn rows of it.
///
/// A drawn noise target has one value for each row of `x`.
///
/// # Errors
/// The errors of [`grow`]; [`Error::Partitions`] when a tree draws a row that is missing in `x`, or `origin` is invalid.
pub fn grow_on_drawn_rows<'w>(
    x: &Input<'_>,
    origin: Origin<'_>,
    noise: NoiseTarget<'_>,
    seeds: &[u32],
    params: Params,
    workers: impl Into<Workers<'w>>,
) -> Result<Forest> {
    origin.check(x)?;
    let workers = workers.into();
    let params = params.check(origin.n_samples, x.n_columns())?;
    if let NoiseTarget::Drawn(y) = noise {
        check_rows("the noise target", y.len(), x)?;
    }
    let needs = MemoryNeeds::new(&params, seeds.len(), workers, false);
    let target = match noise {
        NoiseTarget::Drawn(_) => 0,
        NoiseTarget::Seed(_) => origin.rows.len().saturating_mul(streams::NOISE_BYTES),
    };
    memory::check_available(&[
        (needs.of_finished_trees(), 1),
        (needs.in_flight(x), 1),
        (needs.drawn_ahead(), 1),
        (target, 1),
    ])?;
    let builder = ForestBuilder::new(x, &params, seeds, workers)?;
    let bags = builder.draw_all(None)?;
    let drawn;
    let y = match noise {
        NoiseTarget::Drawn(y) => y,
        NoiseTarget::Seed(seed) => {
            drawn = streams::noise_target_at(seed, origin.n_samples, origin.rows, workers)?;
            &drawn
        }
    };
    let mut local = memory::with_capacity(bags.len())?;
    for mut bag in bags {
        origin.localise(&mut bag)?;
        let y: Vec<f64> = bag.rows.iter().map(|&row| y[row]).collect();
        local.push((bag, y));
    }
    let trees = builder.grow(|trees| Ok(local[trees].to_vec()))?;
    Forest::from_trees(x.n_columns(), None, trees)
}

/// Grows one tree per seed and appends them to `existing`, if any.
///
/// `weights`, if any, are the probabilities of the rows to be drawn.
///
/// # Errors
/// [`Error::Parameter`], [`Error::RowCount`], [`Error::ColumnCount`] or [`Error::Weights`] when parameters, `noise`, `existing` or
/// `weights` do not fit `x`; [`Error::Kernel`]; [`Error::Memory`]; [`Error::Interrupted`].
pub fn grow<'w>(
    x: &Input<'_>,
    noise: NoiseTarget<'_>,
    seeds: &[u32],
    params: Params,
    weights: Option<&Weights>,
    existing: Option<&Forest>,
    workers: impl Into<Workers<'w>>,
) -> Result<Forest> {
    let workers = workers.into();
    let params = params.check(x.n_rows(), x.n_columns())?;
    if let NoiseTarget::Drawn(y) = noise {
        check_rows("the noise target", y.len(), x)?;
    }
    if let Some(weights) = weights {
        check_rows("the sample weights", weights.len(), x)?;
        if !params.bagging.bootstrap {
            weights.check(params.bagging.max_samples)?;
        }
    }
    let needs = MemoryNeeds::new(&params, seeds.len(), workers, weights.is_some());
    let n_drawn = params.bagging.max_samples.saturating_mul(seeds.len());
    // Only few of the values are read, so they are picked out of the stream once the drawn rows are known.
    let is_picked = matches!(noise, NoiseTarget::Seed(_)) && n_drawn < x.n_rows();
    let target = match noise {
        NoiseTarget::Drawn(_) => 0,
        NoiseTarget::Seed(_) if is_picked => {
            let bytes = streams::NOISE_BYTES + size_of::<usize>();
            // Any table in memory takes more than a byte per row. A table of zero strides can have more rows than that; it is
            // refused at once, because passing over its noise target would take minutes or hours.
            needs
                .drawn_ahead()
                .saturating_add(n_drawn.saturating_mul(bytes))
                .saturating_add(x.n_rows())
        }
        NoiseTarget::Seed(_) => x.n_rows().saturating_mul(size_of::<f64>()),
    };
    memory::check_available(&[(needs.of_finished_trees(), 1), (needs.in_flight(x), 1), (target, 1)])?;
    let builder = ForestBuilder::new(x, &params, seeds, workers)?;
    let trees = match noise {
        NoiseTarget::Seed(seed) if is_picked => {
            let bags = builder.draw_all(weights)?;
            let mut rows = memory::with_capacity(bags.iter().map(|bag| bag.rows.len()).sum())?;
            for bag in &bags {
                rows.extend_from_slice(&bag.rows);
            }
            let y = streams::noise_target_at(seed, x.n_rows(), &rows, workers)?;
            let mut rest = y.as_slice();
            let bags: Vec<(InBag, &[f64])> = bags
                .into_iter()
                .map(|bag| {
                    let (y, others) = rest.split_at(bag.rows.len());
                    rest = others;
                    (bag, y)
                })
                .collect();
            builder.grow(|trees| Ok(bags[trees].iter().map(|(bag, y)| (bag.clone(), y.to_vec())).collect()))?
        }
        _ => {
            let drawn;
            let y = match noise {
                NoiseTarget::Drawn(y) => y,
                NoiseTarget::Seed(seed) => {
                    drawn = streams::noise_target(seed, x.n_rows(), workers)?;
                    &drawn
                }
            };
            let with_noise = |bag: InBag| {
                let y = bag.rows.iter().map(|&row| y[row]).collect();
                (bag, y)
            };
            let draw = |trees| InBag::draw(&seeds[trees], &params.bagging, weights, workers);
            builder.grow(|trees| Ok(draw(trees)?.into_iter().map(with_noise).collect()))?
        }
    };
    Forest::from_trees(x.n_columns(), existing, trees)
}

/// Returns the number of trees that a worker grows at once: few enough that every worker gets some.
fn trees_together(params: &ValidParams, n_trees: usize, workers: Workers<'_>) -> usize {
    let fitting = MAX_ROWS_TOGETHER / params.bagging.max_samples;
    fitting.min(n_trees.div_ceil(2 * workers.n())).max(1)
}

/// Upper bounds of the bytes that growing takes, as far as they are known before a tree is grown.
struct MemoryNeeds {
    bagging: Bagging,
    n_trees: usize,
    /// Trees that are grown at once.
    n_growing: usize,
    /// Bags that are drawn at once.
    n_drawing: usize,
    is_weighted: bool,
}

impl MemoryNeeds {
    fn new(params: &ValidParams, n_trees: usize, workers: Workers<'_>, is_weighted: bool) -> Self {
        let n_growing = trees_together(params, n_trees, workers).saturating_mul(workers.n());
        Self {
            bagging: params.bagging,
            n_trees,
            n_growing: n_growing.min(n_trees),
            n_drawing: workers.n().min(n_trees),
            is_weighted,
        }
    }

    /// Returns the bytes that all trees keep if each is as small as possible.
    fn of_finished_trees(&self) -> usize {
        let node = size_of::<Node>() + size_of::<NodeNoise>();
        let features = self.bagging.max_features.saturating_mul(size_of::<u32>());
        let tree = features.saturating_add(size_of::<Option<Tree>>() + node + BYTES_PER_TREE);
        self.n_trees.saturating_mul(tree)
    }

    /// Returns the bytes of the trees that are drawn and grown at one time.
    fn in_flight(&self, x: &Input<'_>) -> usize {
        let Bagging {
            max_samples,
            max_features,
            ..
        } = self.bagging;
        // Multiplied for both kinds: in a branch for sparse tables only, the compiler would read the number of a dense one too early,
        // which valgrind reports.
        let offsets = x.n_columns().saturating_mul(size_of::<usize>());
        let columns = if matches!(x, Input::Sparse(_)) { offsets } else { 0 };
        let tree = columns
            .saturating_add(max_samples.saturating_mul(BYTES_PER_ROW))
            .saturating_add(max_features.saturating_mul(BYTES_PER_FEATURE));
        let draw = self.bagging.draw_bytes(self.is_weighted);
        let drawn = self.n_drawing.saturating_mul(draw);
        self.n_growing.saturating_mul(tree).saturating_add(drawn)
    }

    /// Returns the bytes of all bags with the noise target of their rows, if all are drawn before any tree is grown.
    fn drawn_ahead(&self) -> usize {
        let row = 2 * size_of::<usize>() + size_of::<f64>();
        let features = self.bagging.max_features.saturating_mul(size_of::<usize>());
        let bag = self
            .bagging
            .max_samples
            .saturating_mul(row)
            .saturating_add(features)
            .saturating_add(2 * size_of::<InBag>() + BYTES_PER_TREE);
        self.n_trees.saturating_mul(bag)
    }
}

fn check_rows(label: &'static str, actual: usize, x: &Input<'_>) -> Result<()> {
    let expected = x.n_rows();
    if actual == expected {
        Ok(())
    } else {
        Err(Error::RowCount {
            label,
            actual,
            expected,
        })
    }
}

/// The source from which trees read their cells.
enum CellSource<'a, 'm> {
    InPlace(&'a Matrix<'m>),
    Copied(F32Copy),
    Sparse(&'a Csr<'m>),
}

impl<'a, 'm> CellSource<'a, 'm> {
    fn new(x: &'a Input<'m>, params: &ValidParams, n_trees: usize, workers: Workers<'_>) -> Result<Self> {
        Ok(match x {
            Input::Dense(x) => {
                // A tree reads each row of its bag about once per level.
                let reads = params.bagging.max_samples as f64 * f64::from(params.max_depth) * n_trees as f64;
                let n_cells = x.n_rows() as f64 * x.n_columns() as f64;
                if reads > 2.0 * n_cells && u32::try_from(x.n_rows()).is_ok() {
                    Self::Copied(F32Copy::new(x, workers)?)
                } else {
                    Self::InPlace(x)
                }
            }
            Input::Sparse(x) => Self::Sparse(x),
        })
    }
}

/// The data that all trees of a forest share.
struct ForestBuilder<'a, 'm> {
    cells: CellSource<'a, 'm>,
    seeds: &'a [u32],
    bagging: Bagging,
    max_depth: u32,
    workers: Workers<'a>,
    /// Number of trees that a worker grows at once.
    trees_together: usize,
}

impl<'a, 'm> ForestBuilder<'a, 'm> {
    fn new(x: &'a Input<'m>, params: &ValidParams, seeds: &'a [u32], workers: Workers<'a>) -> Result<Self> {
        Choice::requested()?;
        Ok(Self {
            cells: CellSource::new(x, params, seeds.len(), workers)?,
            seeds,
            bagging: params.bagging,
            max_depth: params.max_depth,
            workers,
            trees_together: trees_together(params, seeds.len(), workers),
        })
    }

    /// Draws the bags of all trees.
    fn draw_all(&self, weights: Option<&Weights>) -> Result<Vec<InBag>> {
        let n_trees = self.seeds.len();
        let draw = |group: usize| {
            let first = group * self.trees_together;
            let seeds = &self.seeds[first..n_trees.min(first + self.trees_together)];
            InBag::draw(seeds, &self.bagging, weights, self.workers)
        };
        let groups = threads::map(n_trees.div_ceil(self.trees_together), self.workers, draw)?;
        let mut bags = memory::with_capacity(n_trees)?;
        for group in groups {
            bags.extend(group);
        }
        Ok(bags)
    }

    /// Grows all trees; `bags` returns the bags of a range of trees, and the noise target of their rows.
    fn grow(&self, bags: impl Fn(Range<usize>) -> Result<Vec<(InBag, Vec<f64>)>> + Sync) -> Result<Vec<Tree>> {
        match &self.cells {
            CellSource::InPlace(x) => self.grow_on(bags, |bag, y| Ok(DenseSample::in_place(x, bag, y))),
            CellSource::Copied(x) => self.grow_on(bags, |bag, y| Ok(DenseSample::copied(x, bag, y))),
            CellSource::Sparse(x) => self.grow_on(bags, |bag, y| SparseSample::new(x, bag, y)),
        }
    }

    fn grow_on<S: Sample>(
        &self,
        bags: impl Fn(Range<usize>) -> Result<Vec<(InBag, Vec<f64>)>> + Sync,
        sample: impl Fn(InBag, Vec<f64>) -> Result<S> + Sync,
    ) -> Result<Vec<Tree>> {
        let mut trees: Vec<Option<Tree>> = memory::with_capacity(self.seeds.len())?;
        trees.resize_with(self.seeds.len(), || None);
        let rows_together = self.bagging.max_samples.saturating_mul(self.trees_together);
        let rngs = SplitRngs::new(self.seeds)?;
        let nodes_per_check = (ROWS_PER_CHECK / rows_together.max(1)).clamp(1, MAX_NODES_PER_CHECK);
        let work = |account: &mut Account, group: usize, trees: &mut [Option<Tree>]| {
            memory::check_available(&[(self.bagging.max_samples.saturating_mul(trees.len()), BYTES_PER_ROW)])?;
            let first = group * self.trees_together;
            let group = first..first + trees.len();
            let rngs = group.clone().map(|tree| rngs.get(tree));
            let mut features = Vec::with_capacity(trees.len());
            let mut builders = Vec::with_capacity(trees.len());
            for ((bag, y), rng) in bags(group)?.into_iter().zip(rngs) {
                let columns: Vec<u32> = bag.features.iter().map(|&column| column as u32).collect();
                builders.push(TreeBuilder::new(sample(bag, y)?, columns.len(), rng, self.max_depth));
                features.push(columns);
            }
            while builders.iter().any(|tree| !tree.is_finished()) {
                self.workers.check_cancelled()?;
                for _ in 0..nodes_per_check {
                    builders.iter_mut().for_each(TreeBuilder::gather);
                    builders.iter_mut().for_each(TreeBuilder::advance);
                }
            }
            for ((slot, tree), features) in trees.iter_mut().zip(builders).zip(features) {
                let tree = tree.into_tree(features)?;
                account.take(needed(&[
                    (tree.nodes.capacity(), size_of::<Node>() + size_of::<NodeNoise>()),
                    (tree.features.len(), size_of::<u32>()),
                    (1, BYTES_PER_TREE),
                ]))?;
                *slot = Some(tree);
            }
            Ok(())
        };
        threads::for_each_chunk(
            &mut trees,
            self.trees_together,
            self.workers,
            || Ok(Account::new()),
            work,
        )?;
        Ok(trees.into_iter().flatten().collect())
    }
}
