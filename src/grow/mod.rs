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
const ROWS_SIDE_BY_SIDE: usize = 2048;

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
    let draw = |tree: usize| InBag::draw(seeds[tree], &params.bagging, weights);
    let forester = Forester {
        table: Table::new(x, &params, seeds.len(), workers),
        seeds,
        max_samples: params.bagging.max_samples,
        max_depth: params.max_depth,
        workers,
    };
    let n_drawn = params.bagging.max_samples.saturating_mul(seeds.len());
    let trees = match noise {
        // Few of the values are read: they are picked out of the stream, once it is known which ones.
        NoiseTarget::Seed(seed) if n_drawn < x.n_rows() / 4 => {
            let bags = threads::map(seeds.len(), workers, draw);
            let rows: Vec<usize> = bags.iter().flat_map(|bag| &bag.rows).copied().collect();
            let y = streams::noise_target_at(seed, x.n_rows(), &rows);
            let mut end = 0;
            let ranges: Vec<_> = bags
                .iter()
                .map(|bag| {
                    let start = end;
                    end += bag.rows.len();
                    start..end
                })
                .collect();
            forester.grow(|tree| (bags[tree].clone(), y[ranges[tree].clone()].to_vec()))
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
            forester.grow(|tree| {
                let bag = draw(tree);
                let y = bag.rows.iter().map(|&row| y[row]).collect();
                (bag, y)
            })
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
    max_samples: usize,
    max_depth: u32,
    workers: usize,
}

impl Forester<'_, '_> {
    /// Grows all trees; `bag` gives what each tree drew, and the noise target of its rows.
    fn grow(&self, bag: impl Fn(usize) -> (InBag, Vec<f64>) + Sync) -> Vec<Tree> {
        match &self.table {
            Table::InPlace(x) => self.grow_on(bag, |bag, y| DenseSample::in_place(x, bag, y)),
            Table::Copied(x) => self.grow_on(bag, |bag, y| DenseSample::copied(x, bag, y)),
            Table::Sparse(x) => self.grow_on(bag, |bag, y| SparseSample::new(x, bag, y)),
        }
    }

    fn grow_on<S: Sample>(
        &self,
        bag: impl Fn(usize) -> (InBag, Vec<f64>) + Sync,
        sample: impl Fn(InBag, Vec<f64>) -> S + Sync,
    ) -> Vec<Tree> {
        let n_trees = self.seeds.len();
        // Small enough that every worker gets some.
        let side_by_side = (ROWS_SIDE_BY_SIDE / self.max_samples).min(n_trees.div_ceil(2 * self.workers.max(1)));
        let mut trees: Vec<Option<Tree>> = Vec::new();
        trees.resize_with(n_trees, || None);
        threads::for_each_chunk(
            &mut trees,
            side_by_side.max(1),
            self.workers,
            || (),
            |(), group, trees| {
                let first = group * side_by_side.max(1);
                let (mut growing, mut features) = (Vec::new(), Vec::new());
                for tree in first..first + trees.len() {
                    let (bag, y) = bag(tree);
                    let columns: Vec<u32> = bag.features.iter().map(|&column| column as u32).collect();
                    let stream = streams::splits(self.seeds[tree]);
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
            },
        );
        trees.into_iter().flatten().collect()
    }
}
