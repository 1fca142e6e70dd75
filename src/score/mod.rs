//! Scoring: a forest and a table become one sum of path lengths per row.
//!
//! Two strategies give the same sums. The walk takes rows down the trees node by node; it needs little preparation and is faster
//! for a few rows. The plan compares whole blocks of rows with all thresholds and evaluates trees as logic on bits; it is compiled
//! when the forest has scored enough rows. [`Scorer::strategy`] chooses between them.

#![allow(
    clippy::indexing_slicing,
    reason = "indices come from a forest, whose constructor has checked them, and from plans made of it; a wrong one is a defect, and a panic becomes an exception at the boundary"
)]

mod block;
mod cost;
mod plan;
mod walk;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::forest::{Forest, path_length};
use crate::matrix::Input;
use crate::memory;
use crate::prepared::Prepared;
use crate::simd::{BLOCK_ROWS, Choice, Kernel};
use crate::threads::{self, Workers};
use block::{Runner, Scratch};
use cost::ForestSize;
use plan::Plan;
use walk::Walk;

/// Minimum number of rows, over all calls, for which compiling a plan pays.
const MIN_PLANNED_ROWS: usize = 256;
/// Minimum number of paths (rows times trees) per thread: less work ends before another thread has woken up.
const MIN_PATHS_PER_WORKER: usize = 100_000;
/// Maximum number of blocks handed to a worker at once.
const MAX_BLOCKS_PER_CHUNK: usize = 8;
/// Maximum number of trees for which cancellation is not checked after each block: a block of more trees takes long.
const MAX_UNCHECKED_TREES: usize = 1000;
/// Bytes of a walked block of rows as f32, which should stay in the first-level cache together with a tree.
const WALK_BLOCK_BYTES: usize = 24 * 1024;
/// Rows of a walked block: fewer would not fill the lanes of the walk, more gain nothing.
const WALK_BLOCK_ROWS: std::ops::RangeInclusive<usize> = 16..=256;

/// The algorithm by which rows are scored; it never changes the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Walk down the trees node by node.
    Walk,
    /// Evaluate a plan, which is compiled first if there is none yet.
    Plan,
}

/// A forest prepared for scoring.
#[derive(Debug)]
pub struct Scorer {
    walk: Prepared<Walk>,
    plan: Prepared<Plan>,
    forest: Arc<Forest>,
    average_path_lengths: Arc<Vec<f64>>,
    /// Number of rows that have been walked, in all calls.
    walked: AtomicUsize,
    /// Scratch memory that no call uses at the moment.
    scratch: Mutex<Vec<Scratch>>,
}

impl Scorer {
    /// Prepares a forest; `average_path_lengths[n]` is c(n) (see [`crate::forest::path_length`]).
    ///
    /// # Errors
    /// [`Error::RowCount`] when the table of c(n) ends before the largest node.
    pub fn new(forest: impl Into<Arc<Forest>>, average_path_lengths: impl Into<Arc<Vec<f64>>>) -> Result<Self> {
        let (forest, average_path_lengths) = (forest.into(), average_path_lengths.into());
        path_length::check_table(&average_path_lengths, &forest)?;
        Ok(Self {
            walk: Prepared::new(),
            plan: Prepared::new(),
            forest,
            average_path_lengths,
            walked: AtomicUsize::new(0),
            scratch: Mutex::default(),
        })
    }

    /// Returns the forest.
    #[must_use]
    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// Returns c(n) for every n, at least up to the number of training rows of the largest node.
    #[must_use]
    pub fn average_path_lengths(&self) -> &[f64] {
        &self.average_path_lengths
    }

    /// Returns the strategy by which `n_rows` rows would be scored now.
    #[must_use]
    pub fn strategy(&self, n_rows: usize) -> Strategy {
        let planned = self.plan.is_prepared() || self.walked.load(Ordering::Relaxed) + n_rows >= MIN_PLANNED_ROWS;
        if planned && ForestSize::new(&self.forest).plan_is_faster(Choice::get(), n_rows) {
            Strategy::Plan
        } else {
            Strategy::Walk
        }
    }

    /// Returns for each row of `x` the sum of its path lengths over all trees, added in the order of the trees.
    ///
    /// # Errors
    /// [`Error::ColumnCount`] when `x` has another number of columns than the forest was grown on; [`Error::Kernel`];
    /// [`Error::Memory`]; [`Error::Interrupted`].
    pub fn path_length_sums<'w>(&self, x: &Input<'_>, workers: impl Into<Workers<'w>>) -> Result<Vec<f64>> {
        let mut sums = memory::filled(x.n_rows(), 0.0)?;
        self.write_path_length_sums(x, workers, &mut sums)?;
        Ok(sums)
    }

    /// Writes the sums of path lengths to `sums`, which must be zero.
    ///
    /// # Errors
    /// [`Error::ColumnCount`] when `x` has another number of columns than the forest was grown on; [`Error::RowCount`] when `sums`
    /// has another number of rows than `x`; [`Error::Kernel`]; [`Error::Memory`]; [`Error::Interrupted`].
    pub fn write_path_length_sums<'w>(
        &self,
        x: &Input<'_>,
        workers: impl Into<Workers<'w>>,
        sums: &mut [f64],
    ) -> Result<()> {
        self.write(x, workers.into(), self.strategy(x.n_rows()), Choice::requested()?, sums)
    }

    /// Returns the sums of path lengths, computed with a given strategy and kernel, for tests and benchmarks.
    ///
    /// # Errors
    /// [`Error::ColumnCount`] when `x` has another number of columns than the forest was grown on; [`Error::Memory`];
    /// [`Error::Interrupted`].
    pub fn path_length_sums_with<'w>(
        &self,
        x: &Input<'_>,
        workers: impl Into<Workers<'w>>,
        strategy: Strategy,
        kernel: Choice,
    ) -> Result<Vec<f64>> {
        let mut sums = memory::filled(x.n_rows(), 0.0)?;
        self.write(x, workers.into(), strategy, kernel, &mut sums)?;
        Ok(sums)
    }

    fn write(
        &self,
        x: &Input<'_>,
        workers: Workers<'_>,
        strategy: Strategy,
        kernel: Choice,
        sums: &mut [f64],
    ) -> Result<()> {
        if x.n_columns() != self.forest.n_features() {
            return Err(Error::ColumnCount {
                actual: x.n_columns(),
                expected: self.forest.n_features(),
            });
        }
        if sums.len() != x.n_rows() {
            return Err(Error::RowCount {
                label: "the sums to write",
                actual: sums.len(),
                expected: x.n_rows(),
            });
        }
        let n_busy_workers = x.n_rows().saturating_mul(self.forest.n_trees()) / MIN_PATHS_PER_WORKER;
        let workers = workers.at_most(n_busy_workers.max(1));
        match (strategy, kernel) {
            (Strategy::Walk, _) => {
                self.walked.fetch_add(x.n_rows(), Ordering::Relaxed);
                self.walk_rows(x, workers, sums)
            }
            #[cfg(target_arch = "x86_64")]
            (Strategy::Plan, Choice::Avx512(kernel)) => self.run_plan(kernel, x, workers, sums),
            #[cfg(target_arch = "x86_64")]
            (Strategy::Plan, Choice::Avx2(kernel)) => self.run_plan(kernel, x, workers, sums),
            #[cfg(target_arch = "aarch64")]
            (Strategy::Plan, Choice::Neon(kernel)) => self.run_plan(kernel, x, workers, sums),
            (Strategy::Plan, Choice::Portable(kernel)) => self.run_plan(kernel, x, workers, sums),
        }
    }

    fn walk_rows(&self, x: &Input<'_>, workers: Workers<'_>, sums: &mut [f64]) -> Result<()> {
        let walk = self.walk(workers)?;
        let d = self.forest.n_features();
        let fitting = WALK_BLOCK_BYTES / size_of::<f32>().saturating_mul(d);
        let block_rows = fitting
            .clamp(*WALK_BLOCK_ROWS.start(), *WALK_BLOCK_ROWS.end())
            .min(sums.len());
        let n_cells = block_rows.saturating_mul(d);
        threads::for_each_chunk(
            sums,
            block_rows,
            workers,
            || {
                memory::check_available(&[(n_cells, size_of::<f32>())])?;
                Ok(vec![0.0_f32; n_cells])
            },
            |block, index, sums| {
                let rows = index * block_rows..index * block_rows + sums.len();
                let block = &mut block[..sums.len() * d];
                match x {
                    Input::Dense(x) => {
                        x.fill_block(rows, block);
                        walk.add_path_lengths(block, d, sums);
                    }
                    Input::Sparse(x) => {
                        x.scatter(rows.clone(), block);
                        walk.add_sparse_path_lengths(block, d, sums);
                        x.unscatter(rows, block);
                    }
                }
                Ok(())
            },
        )
    }

    /// Returns the trees prepared for walking.
    fn walk(&self, workers: Workers<'_>) -> Result<Arc<Walk>> {
        self.walk
            .get_or(|| Walk::new(&self.forest, &self.average_path_lengths, workers))
    }

    /// Returns the compiled plan.
    fn plan(&self, workers: Workers<'_>) -> Result<Arc<Plan>> {
        self.plan
            .get_or(|| Plan::new(&self.forest, &self.average_path_lengths, workers))
    }

    fn run_plan(&self, kernel: impl Kernel, x: &Input<'_>, workers: Workers<'_>, sums: &mut [f64]) -> Result<()> {
        let plan = &*self.plan(workers)?;
        let runner = Runner {
            plan,
            walk: &*self.walk(workers)?,
            kernel,
        };
        let n_rows = sums.len();
        // There are several chunks per worker, so a worker that starts late leaves most of its share to the others.
        let blocks = (n_rows.div_ceil(BLOCK_ROWS) / (4 * workers.n())).clamp(1, MAX_BLOCKS_PER_CHUNK);
        // Checking after each block of a small forest took 8 % of its time (1,000,000 x 50, AMD EPYC, 2026-11-24).
        let checks_each_block = runner.walk.n_trees() > MAX_UNCHECKED_TREES;
        threads::for_each_chunk(
            sums,
            blocks * BLOCK_ROWS,
            workers,
            || PooledScratch::new(&self.scratch, plan),
            |scratch, index, sums| {
                for (block, sums) in sums.chunks_mut(BLOCK_ROWS).enumerate() {
                    if checks_each_block {
                        workers.check_cancelled()?;
                    }
                    let start = (index * blocks + block) * BLOCK_ROWS;
                    let end = start + sums.len();
                    match x {
                        Input::Dense(x) => {
                            let next = end..n_rows.min(end + BLOCK_ROWS);
                            runner.dense(x, start..end, next, &mut scratch.scratch, sums);
                        }
                        Input::Sparse(x) => runner.sparse(x, start..end, &mut scratch.scratch, sums),
                    }
                }
                Ok(())
            },
        )
    }
}

/// Scratch memory of one worker, returned to the pool at the end: allocating it costs more than scoring a small batch.
struct PooledScratch<'a> {
    pool: &'a Mutex<Vec<Scratch>>,
    scratch: Scratch,
}

impl<'a> PooledScratch<'a> {
    fn new(pool: &'a Mutex<Vec<Scratch>>, plan: &Plan) -> Result<Self> {
        // The lock is only tried: the thread that held it may not have survived a fork.
        let scratch = pool.try_lock().ok().and_then(|mut pool| pool.pop());
        let scratch = match scratch {
            Some(scratch) => scratch,
            None => Scratch::new(plan)?,
        };
        Ok(Self { pool, scratch })
    }
}

impl Drop for PooledScratch<'_> {
    fn drop(&mut self) {
        if let Ok(mut pool) = self.pool.try_lock() {
            pool.push(std::mem::take(&mut self.scratch));
        }
    }
}
