//! Growing: a table, a noise target, seeds and parameters become a forest.
//!
//! Trees are independent of one another: each draws from streams of its own, so they are grown on as many threads as
//! there are and kept in the order of their seeds. Only the cells of drawn rows and features are ever read, unless trees read
//! most cells so often that a copy pays.

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
use crate::forest::{Forest, Tree};
use crate::matrix::csr::Csr;
use crate::matrix::{Input, Matrix};
use crate::random::sampling::Weights;
use crate::random::streams;
use crate::threads;
use bag::InBag;
use dense::{Copied, DenseSample};
use sample::Sample;
use sparse::SparseSample;
use tree::Growing;

/// In-bag rows of the trees that a worker grows side by side: enough to keep the memory busy, few enough for the second cache.
const ROWS_SIDE_BY_SIDE: usize = 1024;

/// The random target that scikit-learn fits its trees to.
#[derive(Debug, Clone, Copy)]
pub enum NoiseTarget<'a> {
    /// One value per row.
    Drawn(&'a [f64]),
    /// What [`streams::noise_target`] draws for this integer `random_state`.
    Seed(u32),
}

/// Grows one tree per seed and appends them to `existing`, if any.
///
/// `weights`, if any, are the chances of the rows to be drawn.
///
/// # Errors
/// [`Error::Parameter`], [`Error::RowCount`], [`Error::ColumnCount`] or [`Error::Weights`] when parameters, `noise`, `existing`
/// or `weights` do not fit `x`.
pub fn grow(
    x: &Input<'_>,
    noise: NoiseTarget<'_>,
    seeds: &[u32],
    params: Params,
    weights: Option<&Weights>,
    existing: Option<&Forest>,
    workers: usize,
) -> Result<Forest> {
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
    let draw = |seeds: &[u32]| InBag::draw(seeds, &params.bagging, weights);
    let forester = Forester {
        table: Table::new(x, &params, seeds.len(), workers),
        seeds,
        max_depth: params.max_depth,
        workers,
        // As many as every worker gets some of.
        side_by_side: (ROWS_SIDE_BY_SIDE / params.bagging.max_samples)
            .min(seeds.len().div_ceil(2 * workers.max(1)))
            .max(1),
    };
    let n_drawn = params.bagging.max_samples.saturating_mul(seeds.len());
    let trees = match noise {
        // Few of the values are read: they are picked out of the stream, once it is known which ones.
        NoiseTarget::Seed(seed) if n_drawn < x.n_rows() => {
            let groups: Vec<&[u32]> = seeds.chunks(forester.side_by_side).collect();
            let bags = threads::map(groups.len(), workers, |group| draw(groups[group])).concat();
            let rows: Vec<usize> = bags.iter().flat_map(|bag| &bag.rows).copied().collect();
            let y = streams::noise_target_at(seed, x.n_rows(), &rows);
            let mut rest = y.as_slice();
            let bags: Vec<(InBag, &[f64])> = bags
                .into_iter()
                .map(|bag| {
                    let (y, others) = rest.split_at(bag.rows.len());
                    rest = others;
                    (bag, y)
                })
                .collect();
            forester.grow(|trees| bags[trees].iter().map(|(bag, y)| (bag.clone(), y.to_vec())).collect())
        }
        _ => {
            let drawn;
            let y = match noise {
                NoiseTarget::Drawn(y) => y,
                NoiseTarget::Seed(seed) => {
                    drawn = streams::noise_target(seed, x.n_rows());
                    &drawn
                }
            };
            let with_noise = |bag: InBag| {
                let y = bag.rows.iter().map(|&row| y[row]).collect();
                (bag, y)
            };
            forester.grow(|trees| draw(&seeds[trees]).into_iter().map(with_noise).collect())
        }
    };
    Forest::from_trees(x.n_columns(), existing, trees)
}

fn check_rows(what: &'static str, found: usize, x: &Input<'_>) -> Result<()> {
    let expected = x.n_rows();
    if found == expected {
        Ok(())
    } else {
        Err(Error::RowCount { what, found, expected })
    }
}

/// Where trees read their cells.
enum Table<'a, 'm> {
    InPlace(&'a Matrix<'m>),
    Copied(Copied),
    Sparse(&'a Csr<'m>),
}

impl<'a, 'm> Table<'a, 'm> {
    fn new(x: &'a Input<'m>, params: &ValidParams, n_trees: usize, workers: usize) -> Self {
        match x {
            Input::Dense(x) => {
                // Each row of a bag is read about once per level.
                let reads = params.bagging.max_samples as f64 * f64::from(params.max_depth) * n_trees as f64;
                let n_cells = x.n_rows() as f64 * x.n_columns() as f64;
                if reads > 2.0 * n_cells && u32::try_from(x.n_rows()).is_ok() {
                    Self::Copied(Copied::new(x, workers))
                } else {
                    Self::InPlace(x)
                }
            }
            Input::Sparse(x) => Self::Sparse(x),
        }
    }
}

/// What all trees of a forest have in common.
struct Forester<'a, 'm> {
    table: Table<'a, 'm>,
    seeds: &'a [u32],
    max_depth: u32,
    workers: usize,
    /// Trees that a worker grows at once.
    side_by_side: usize,
}

impl Forester<'_, '_> {
    /// Grows all trees; `bags` gives what some of them drew, and the noise target of their rows.
    fn grow(&self, bags: impl Fn(Range<usize>) -> Vec<(InBag, Vec<f64>)> + Sync) -> Vec<Tree> {
        match &self.table {
            Table::InPlace(x) => self.grow_on(bags, |bag, y| DenseSample::in_place(x, bag, y)),
            Table::Copied(x) => self.grow_on(bags, |bag, y| DenseSample::copied(x, bag, y)),
            Table::Sparse(x) => self.grow_on(bags, |bag, y| SparseSample::new(x, bag, y)),
        }
    }

    fn grow_on<S: Sample>(
        &self,
        bags: impl Fn(Range<usize>) -> Vec<(InBag, Vec<f64>)> + Sync,
        sample: impl Fn(InBag, Vec<f64>) -> S + Sync,
    ) -> Vec<Tree> {
        let mut trees: Vec<Option<Tree>> = Vec::new();
        trees.resize_with(self.seeds.len(), || None);
        let work = |(): &mut (), group: usize, trees: &mut [Option<Tree>]| {
            let first = group * self.side_by_side;
            let group = first..first + trees.len();
            let streams = streams::splits(&self.seeds[group.clone()]);
            let mut features = Vec::with_capacity(trees.len());
            let mut growing = Vec::with_capacity(trees.len());
            for ((bag, y), stream) in bags(group).into_iter().zip(streams) {
                let columns: Vec<u32> = bag.features.iter().map(|&column| column as u32).collect();
                growing.push(Growing::new(sample(bag, y), columns.len(), stream, self.max_depth));
                features.push(columns);
            }
            while growing.iter().any(|tree| !tree.is_grown()) {
                growing.iter_mut().for_each(Growing::look);
                growing.iter_mut().for_each(Growing::go_on);
            }
            for ((place, tree), features) in trees.iter_mut().zip(growing).zip(features) {
                *place = Some(tree.into_tree(features));
            }
        };
        threads::for_each_chunk(&mut trees, self.side_by_side, self.workers, || (), work);
        trees.into_iter().flatten().collect()
    }
}
