//! Scoring: a forest and a table become one sum of path lengths per row.
//!
//! Two ways give the same sums. The walk takes rows down the trees node by node; it needs no preparation and suits a handful of
//! rows. The plan compares whole blocks of rows with all thresholds and evaluates trees as logic on bits; it is compiled when
//! enough rows have come. [`Scorer::path`] says which is taken.

#![allow(
    clippy::indexing_slicing,
    reason = "indices come from a forest, whose constructor has checked them, and from plans made of it; a wrong one is a defect, and a panic becomes an exception at the border"
)]

mod block;
mod plan;
mod prepared;
mod walk;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::forest::Forest;
use crate::matrix::Input;
use crate::memory;
use crate::simd::{BLOCK, Choice, Kernel};
use crate::threads::{self, Workers};
use block::{Runner, Scratch};
use plan::Plan;
use prepared::Prepared;
use walk::Walk;

/// So few rows are walked in less time than a plan takes for a block.
const FEW_ROWS: usize = 8;
/// Rows that must have come before it pays to compile a plan.
const PLAN_ROWS: usize = 256;
/// Paths (rows times trees) that keep a thread busy for longer than it takes to wake it.
const PATHS_PER_WORKER: usize = 100_000;
/// Blocks handed to a worker at once, at most.
const MAX_BLOCKS: usize = 8;
/// More trees keep a block busy for so long that it is looked after each whether to go on.
const LONG: usize = 1000;
/// A walked block of rows and its f32 copy should stay in the first-level cache together with a tree.
const WALK_BYTES: usize = 24 * 1024;
/// Fewer rows would not fill the lanes of the walk; more than this gain nothing.
const WALK_ROWS: std::ops::RangeInclusive<usize> = 16..=256;

/// A way to score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Node by node.
    Walk,
    /// By a plan, compiled for it if there is none yet.
    Plan,
}

/// A forest made ready for scoring.
#[derive(Debug)]
pub struct Scorer {
    walk: Prepared<Walk>,
    plan: Prepared<Plan>,
    forest: Forest,
    average_path_lengths: Vec<f64>,
    /// Rows scored so far without a plan.
    walked: AtomicUsize,
    /// Scratch memory that no call uses at the moment.
    scratch: Mutex<Vec<Scratch>>,
}

impl Scorer {
    /// Prepares a forest; `average_path_lengths[n]` is c(n) (see [`crate::forest::path_length`]).
    ///
    /// # Errors
    /// [`Error::RowCount`] when the table does not reach the largest node.
    pub fn new(forest: Forest, average_path_lengths: Vec<f64>) -> Result<Self> {
        let expected = forest.largest_node() as usize + 1;
        if average_path_lengths.len() < expected {
            return Err(Error::RowCount {
                what: "the table of average path lengths",
                found: average_path_lengths.len(),
                expected,
            });
        }
        Ok(Self {
            walk: Prepared::new(),
            plan: Prepared::new(),
            forest,
            average_path_lengths,
            walked: AtomicUsize::new(0),
            scratch: Mutex::default(),
        })
    }

    /// The forest.
    #[must_use]
    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// c(n) for every n up to the largest node at least.
    #[must_use]
    pub fn average_path_lengths(&self) -> &[f64] {
        &self.average_path_lengths
    }

    /// How so many rows would be scored now.
    #[must_use]
    pub fn path(&self, n_rows: usize) -> Path {
        let planned = self.plan.is_there() || self.walked.load(Ordering::Relaxed) + n_rows >= PLAN_ROWS;
        if planned && n_rows > FEW_ROWS {
            Path::Plan
        } else {
            Path::Walk
        }
    }

    /// For each row of `x` the sum of its path lengths over all trees, added in the order of the trees.
    ///
    /// # Errors
    /// [`Error::ColumnCount`] when `x` has another number of columns than the forest was grown on; [`Error::Kernel`];
    /// [`Error::Memory`]; [`Error::Interrupted`].
    pub fn depth_sums<'w>(&self, x: &Input<'_>, workers: impl Into<Workers<'w>>) -> Result<Vec<f64>> {
        let mut sums = memory::filled(x.n_rows(), 0.0)?;
        self.write_depth_sums(x, workers, &mut sums)?;
        Ok(sums)
    }

    /// The same, written to `sums`, which must be zero.
    ///
    /// # Errors
    /// [`Error::ColumnCount`] when `x` has another number of columns than the forest was grown on; [`Error::RowCount`] when
    /// `sums` has another number of rows than `x`; [`Error::Kernel`]; [`Error::Memory`]; [`Error::Interrupted`].
    pub fn write_depth_sums<'w>(&self, x: &Input<'_>, workers: impl Into<Workers<'w>>, sums: &mut [f64]) -> Result<()> {
        self.write(x, workers.into(), self.path(x.n_rows()), Choice::asked_for()?, sums)
    }

    /// The same by a certain way and kernel: for tests and benchmarks, since it never changes a result.
    ///
    /// # Errors
    /// [`Error::ColumnCount`] when `x` has another number of columns than the forest was grown on; [`Error::Memory`];
    /// [`Error::Interrupted`].
    pub fn depth_sums_by<'w>(
        &self,
        x: &Input<'_>,
        workers: impl Into<Workers<'w>>,
        path: Path,
        kernel: Choice,
    ) -> Result<Vec<f64>> {
        let mut sums = memory::filled(x.n_rows(), 0.0)?;
        self.write(x, workers.into(), path, kernel, &mut sums)?;
        Ok(sums)
    }

    fn write(&self, x: &Input<'_>, workers: Workers<'_>, path: Path, kernel: Choice, sums: &mut [f64]) -> Result<()> {
        if x.n_columns() != self.forest.n_features() {
            return Err(Error::ColumnCount {
                found: x.n_columns(),
                expected: self.forest.n_features(),
            });
        }
        if sums.len() != x.n_rows() {
            return Err(Error::RowCount {
                what: "the sums to write",
                found: sums.len(),
                expected: x.n_rows(),
            });
        }
        let busy = x.n_rows().saturating_mul(self.forest.n_trees()) / PATHS_PER_WORKER;
        let workers = workers.at_most(busy.max(1));
        match (path, kernel) {
            (Path::Walk, _) => {
                self.walked.fetch_add(x.n_rows(), Ordering::Relaxed);
                self.by_walk(x, workers, sums)
            }
            #[cfg(target_arch = "x86_64")]
            (Path::Plan, Choice::Avx512(kernel)) => self.by_plan(kernel, x, workers, sums),
            #[cfg(target_arch = "x86_64")]
            (Path::Plan, Choice::Avx2(kernel)) => self.by_plan(kernel, x, workers, sums),
            #[cfg(target_arch = "aarch64")]
            (Path::Plan, Choice::Neon(kernel)) => self.by_plan(kernel, x, workers, sums),
            (Path::Plan, Choice::Portable(kernel)) => self.by_plan(kernel, x, workers, sums),
        }
    }

    fn by_walk(&self, x: &Input<'_>, workers: Workers<'_>, sums: &mut [f64]) -> Result<()> {
        let walk = self.walk(workers)?;
        let d = self.forest.n_features();
        let fitting = WALK_BYTES / size_of::<f32>().saturating_mul(d);
        let block_rows = fitting.clamp(*WALK_ROWS.start(), *WALK_ROWS.end()).min(sums.len());
        let n_cells = block_rows.saturating_mul(d);
        threads::for_each_chunk(
            sums,
            block_rows,
            workers,
            || {
                memory::ask_for(&[(n_cells, size_of::<f32>())])?;
                Ok(vec![0.0_f32; n_cells])
            },
            |block, index, sums| {
                let rows = index * block_rows..index * block_rows + sums.len();
                let block = &mut block[..sums.len() * d];
                match x {
                    Input::Dense(x) => {
                        x.fill_block(rows, block);
                        walk.add_depths(block, d, sums);
                    }
                    Input::Sparse(x) => {
                        x.scatter(rows.clone(), block);
                        walk.add_depths_of_sparse(block, d, sums);
                        x.unscatter(rows, block);
                    }
                }
                Ok(())
            },
        )
    }

    /// The trees for walking.
    fn walk(&self, workers: Workers<'_>) -> Result<Arc<Walk>> {
        self.walk
            .get_or(|| Walk::new(&self.forest, &self.average_path_lengths, workers))
    }

    /// The trees for blocks.
    fn plan(&self, workers: Workers<'_>) -> Result<Arc<Plan>> {
        self.plan
            .get_or(|| Plan::new(&self.forest, &self.average_path_lengths, workers))
    }

    fn by_plan(&self, kernel: impl Kernel, x: &Input<'_>, workers: Workers<'_>, sums: &mut [f64]) -> Result<()> {
        let plan = &*self.plan(workers)?;
        let runner = Runner {
            plan,
            walk: &*self.walk(workers)?,
            kernel,
        };
        let n_rows = sums.len();
        // Some chunks per worker, so that one who starts late holds up the others by a part of its share only.
        let blocks = (n_rows.div_ceil(BLOCK) / (4 * workers.n())).clamp(1, MAX_BLOCKS);
        // Looking after each block of a small forest took 8 % of its time (1,000,000 x 50, AMD EPYC, 2026-11-24).
        let is_long = runner.walk.n_trees() > LONG;
        threads::for_each_chunk(
            sums,
            blocks * BLOCK,
            workers,
            || Borrowed::new(&self.scratch, plan),
            |scratch, index, sums| {
                for (block, sums) in sums.chunks_mut(BLOCK).enumerate() {
                    if is_long {
                        workers.go_on()?;
                    }
                    let start = (index * blocks + block) * BLOCK;
                    let end = start + sums.len();
                    match x {
                        Input::Dense(x) => {
                            let next = end..n_rows.min(end + BLOCK);
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

/// Scratch memory of one worker, given back at the end: getting it anew costs more than scoring a small batch.
struct Borrowed<'a> {
    pool: &'a Mutex<Vec<Scratch>>,
    scratch: Scratch,
}

impl<'a> Borrowed<'a> {
    fn new(pool: &'a Mutex<Vec<Scratch>>, plan: &Plan) -> Result<Self> {
        // Nobody waits for the pool: whoever held it may not have survived a fork.
        let scratch = pool.try_lock().ok().and_then(|mut pool| pool.pop());
        let scratch = match scratch {
            Some(scratch) => scratch,
            None => Scratch::new(plan)?,
        };
        Ok(Self { pool, scratch })
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if let Ok(mut pool) = self.pool.try_lock() {
            pool.push(std::mem::take(&mut self.scratch));
        }
    }
}
