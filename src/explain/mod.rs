//! Explaining: a forest and a table become exact Shapley values of each row's mean path length, one per column.
//!
//! The game of a row is the mean over the trees of the path length that is expected when only some columns are known; at a split by
//! an unknown column both children count, by their training rows (their cover). This is the path-dependent expectation of Lundberg
//! et al. ("From local explanations to global understanding with explainable AI for trees", 2020, TreeSHAP). The values of a row
//! and [`Explainer::expected_value`] add up to the row's mean path length. A negative value shortens the path: it makes the row
//! more anomalous.
//!
//! A leaf with value v contributes `v * prod_j (o_j if j is known, else z_j)`: `o_j` tells whether the row takes all edges by
//! column j on the path, and `z_j` is the product of their cover ratios. Owen's integral gives its Shapley values as
//!
//! ```text
//! phi_i = v * int_0^1 (o_i - z_i) prod_{j != i} f_j(t) dt        f_j(t) = z_j + t (o_j - z_j)
//! ```
//!
//! a polynomial in t, which Gauss-Legendre quadrature with half as many nodes as columns integrates exactly. All terms of a leaf
//! and column have one sign, so nothing cancels. One run down and up each tree computes all leaves (arXiv 2605.04497 has the same
//! idea):
//!
//! ```text
//! down(node, P, shift):                                    # all leaves below count less the shift; returns H
//!     leaf:                    return (value - shift) * P
//!     split by column j; edge to each child c:
//!         f0, f = f_j before and behind the edge           # f0 = 1 if j is new on the path
//!         G = down(c, P * f / f0, shift)
//!         phi_j += sum over t of G * ((o - z) / f - (o0 - z0) / f0)
//!     return the sum of both G
//! phi = down(root, weights of the quadrature, 0)
//! ```
//!
//! `plan` compiles each tree into the steps of this run, and [`simd::shapley`](crate::simd::shapley) runs them for many rows at
//! once. The order of all sums is fixed: nodes of a pass, passes, steps of the tree, trees.

#![allow(
    clippy::indexing_slicing,
    reason = "indices come from a forest, whose constructor has checked them, and from plans made of it; a wrong one is a defect, and a panic becomes an exception at the boundary"
)]

mod plan;
mod quadrature;
mod sums;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::forest::{Forest, path_length};
use crate::matrix::Input;
use crate::memory;
use crate::prepared::Prepared;
use crate::simd::shapley::{GROUP_ROWS, ShapleyBlock, ShapleyScratch};
use crate::simd::{Choice, TILE_ROWS, Tile};
use crate::threads::{self, Workers};
use plan::Plan;
pub use sums::{MagnitudeSums, UNIT_BITS};

/// Largest number of rows of a block.
const BLOCK_ROWS: usize = 256;
/// Bytes of a block, which should stay in the second-level cache.
const BLOCK_BYTES: usize = 768 << 10;
/// Bytes of a cell: its value and its Shapley value.
const CELL_BYTES: usize = size_of::<f32>() + size_of::<f64>();
/// Rows by which columns of a block are further apart than needed: at a distance of a power of two they would compete for the same
/// lines of the cache.
const PADDING_ROWS: usize = GROUP_ROWS;
/// Rows that are written at once: their Shapley values of a column are a line of the cache.
const WRITTEN_ROWS: usize = 8;
/// Minimum number of rows times trees per thread: less work ends before another thread has woken up.
const MIN_PATHS_PER_WORKER: usize = 2000;

/// Which Shapley values of a row are the first ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The largest magnitudes.
    Magnitude,
    /// The most negative values, which shorten the path most.
    MostNegative,
}

/// Where [`Explainer::write_top_shap_values`] writes.
#[derive(Debug)]
pub struct TopValues<'a> {
    /// Columns of the first values, row-major with as many entries per row as values are kept.
    pub columns: &'a mut [i64],
    /// The first values, at the same indices.
    pub values: &'a mut [f64],
    /// For each row the sum of all its negative values, added in the order of the columns.
    pub negative_sums: &'a mut [f64],
}

/// A forest prepared for explaining its scores.
#[derive(Debug)]
pub struct Explainer {
    plan: Prepared<Plan>,
    forest: Arc<Forest>,
    average_path_lengths: Arc<Vec<f64>>,
}

/// The rows of a block that a worker has explained.
struct Explained<'a> {
    phi: &'a [f64],
    stride: usize,
}

impl Explained<'_> {
    /// Returns the Shapley value of a row for an entry of the plan's columns.
    fn value(&self, row: usize, index: usize) -> f64 {
        self.phi[index * self.stride + row]
    }
}

/// Memory of a worker.
struct Scratch {
    values: Vec<f32>,
    phi: Vec<f64>,
    shapley: ShapleyScratch,
}

/// How a call is divided into blocks, and with what it is computed.
#[derive(Clone, Copy)]
struct Call<'a, 'x, 'w> {
    plan: &'a Plan,
    x: &'a Input<'x>,
    workers: Workers<'w>,
    kernel: Choice,
    block_rows: usize,
    stride: usize,
    n_trees: f64,
}

impl Explainer {
    /// Prepares a forest; `average_path_lengths[n]` is c(n) (see [`crate::forest::path_length`]).
    ///
    /// # Errors
    /// [`Error::RowCount`] when the table of c(n) ends before the largest node.
    pub fn new(forest: impl Into<Arc<Forest>>, average_path_lengths: impl Into<Arc<Vec<f64>>>) -> Result<Self> {
        let (forest, average_path_lengths) = (forest.into(), average_path_lengths.into());
        path_length::check_table(&average_path_lengths, &forest)?;
        Ok(Self {
            plan: Prepared::new(),
            forest,
            average_path_lengths,
        })
    }

    /// Returns the mean path length that is expected when no column is known: the mean over the trees of the mean of their leaves,
    /// weighted by training rows.
    ///
    /// # Errors
    /// [`Error::Forest`] when the numbers of training rows contradict each other, as they may in a file.
    pub fn expected_value(&self) -> Result<f64> {
        let n_trees = self.forest.n_trees();
        let mut sum = 0.0;
        for tree in 0..n_trees {
            let (nodes, noise) = (self.forest.tree(tree), self.forest.tree_noise(tree));
            sum += plan::expected_value(nodes, noise, &self.average_path_lengths)
                .map_err(|reason| Error::Forest(format!("tree {tree}: {reason}")))?;
        }
        Ok(sum / n_trees as f64)
    }

    /// Returns the Shapley values of all rows, row-major with one value per column of `x`.
    ///
    /// # Errors
    /// [`Error::ColumnCount`] when `x` has another number of columns than the forest was grown on; [`Error::Forest`] when the trees
    /// cannot be explained; [`Error::Kernel`]; [`Error::ShapleyMemory`]; [`Error::Memory`]; [`Error::Interrupted`].
    pub fn shap_values<'w>(&self, x: &Input<'_>, workers: impl Into<Workers<'w>>) -> Result<Vec<f64>> {
        self.shap_values_with(x, workers, Choice::requested()?)
    }

    /// Returns the Shapley values, computed with a given kernel, for tests and benchmarks.
    ///
    /// # Errors
    /// As for [`shap_values`](Self::shap_values).
    pub fn shap_values_with<'w>(
        &self,
        x: &Input<'_>,
        workers: impl Into<Workers<'w>>,
        kernel: Choice,
    ) -> Result<Vec<f64>> {
        check_memory(x)?;
        let mut out = memory::filled(x.n_rows() * x.n_columns(), 0.0)?;
        self.write(x, workers.into(), kernel, &mut out)?;
        Ok(out)
    }

    /// Writes the Shapley values of all rows to `out`, which must be zero: row-major with one value per column of `x`.
    ///
    /// # Errors
    /// As for [`shap_values`](Self::shap_values); [`Error::RowCount`] when `out` has another length.
    pub fn write_shap_values<'w>(&self, x: &Input<'_>, workers: impl Into<Workers<'w>>, out: &mut [f64]) -> Result<()> {
        self.write(x, workers.into(), Choice::requested()?, out)
    }

    fn write(&self, x: &Input<'_>, workers: Workers<'_>, kernel: Choice, out: &mut [f64]) -> Result<()> {
        let d = self.forest.n_features();
        self.check_columns(x)?;
        check_length("the Shapley values to write", out.len(), x.n_rows() * d)?;
        let plan = &*self.plan(workers)?;
        let call = self.call(plan, x, workers, kernel);
        threads::for_each_chunk(
            out,
            call.block_rows * d,
            call.workers,
            || call.scratch(),
            |scratch, index, out| {
                let top = index * call.block_rows;
                let explained = call.explain(top..top + out.len() / d, scratch)?;
                for (first, rows) in out.chunks_mut(WRITTEN_ROWS * d).enumerate() {
                    for (index, &column) in plan.columns.iter().enumerate() {
                        for (row, cells) in rows.chunks_exact_mut(d).enumerate() {
                            cells[column as usize] = explained.value(first * WRITTEN_ROWS + row, index);
                        }
                    }
                }
                Ok(())
            },
        )
    }

    /// Writes the `top` first Shapley values of each row in an order, their columns, and the sum of all negative values of each row.
    /// Of equal values the one of the first column comes first.
    ///
    /// # Errors
    /// As for [`shap_values`](Self::shap_values); [`Error::Parameter`] when `top` is 0 or above the number of columns;
    /// [`Error::RowCount`] when an output has another length.
    pub fn write_top_shap_values<'w>(
        &self,
        x: &Input<'_>,
        top: usize,
        order: Order,
        workers: impl Into<Workers<'w>>,
        out: TopValues<'_>,
    ) -> Result<()> {
        let TopValues {
            columns,
            values,
            negative_sums,
        } = out;
        let d = self.forest.n_features();
        self.check_columns(x)?;
        check_top(top, d)?;
        check_length("the columns to write", columns.len(), x.n_rows().saturating_mul(top))?;
        check_length("the Shapley values to write", values.len(), columns.len())?;
        check_length("the sums to write", negative_sums.len(), x.n_rows())?;
        let workers = workers.into();
        let plan = &*self.plan(workers)?;
        let call = self.call(plan, x, workers, Choice::requested()?);
        // Columns without a split have the value 0, and the first ones of them are enough.
        let unused = (0..d).filter(|&column| plan.index_of(column).is_none()).take(top);
        let mut candidates: Vec<(usize, Option<usize>)> = unused.map(|column| (column, None)).collect();
        candidates.extend(
            plan.columns
                .iter()
                .enumerate()
                .map(|(index, &column)| (column as usize, Some(index))),
        );
        let chunk = call.block_rows * top;
        let n_chunks = columns.len().div_ceil(chunk);
        let mut chunks = memory::with_capacity(n_chunks)?;
        let sums = negative_sums.chunks_mut(call.block_rows);
        chunks.extend(columns.chunks_mut(chunk).zip(values.chunks_mut(chunk)).zip(sums));
        threads::for_each_chunk(
            &mut chunks,
            1,
            call.workers,
            || Ok((call.scratch()?, memory::with_capacity(candidates.len())?)),
            |(scratch, row_values), index, chunk| {
                let [((columns, values), sums)] = chunk else {
                    return Ok(());
                };
                let first = index * call.block_rows;
                let explained = call.explain(first..first + columns.len() / top, scratch)?;
                let kept = columns.chunks_mut(top).zip(values.chunks_mut(top));
                for (row, ((columns, values), sum)) in kept.zip(sums.iter_mut()).enumerate() {
                    // Columns without a split would add zeros.
                    *sum = (0..plan.columns.len()).fold(0.0, |sum, index| sum + explained.value(row, index).min(0.0));
                    row_values.clear();
                    row_values.extend(
                        candidates
                            .iter()
                            .map(|&(column, index)| (index.map_or(0.0, |index| explained.value(row, index)), column)),
                    );
                    let compare = |a: &(f64, usize), b: &(f64, usize)| {
                        let by_value = match order {
                            Order::Magnitude => b.0.abs().total_cmp(&a.0.abs()),
                            Order::MostNegative => a.0.total_cmp(&b.0),
                        };
                        by_value.then(a.1.cmp(&b.1))
                    };
                    row_values.select_nth_unstable_by(top - 1, compare);
                    row_values[..top].sort_unstable_by(compare);
                    for ((&(value, column), out_value), out_column) in row_values.iter().zip(values).zip(columns) {
                        (*out_value, *out_column) = (value, column as i64);
                    }
                }
                Ok(())
            },
        )
    }

    /// Returns for each column the sum of the magnitudes of its Shapley values, without storing them.
    ///
    /// # Errors
    /// As for [`shap_values`](Self::shap_values).
    pub fn magnitude_sums<'w>(&self, x: &Input<'_>, workers: impl Into<Workers<'w>>) -> Result<MagnitudeSums> {
        self.check_columns(x)?;
        let workers = workers.into();
        let plan = &*self.plan(workers)?;
        let call = self.call(plan, x, workers, Choice::requested()?);
        let n_rows = x.n_rows();
        let total = Mutex::new(MagnitudeSums::new(self.forest.n_features())?);
        let mut blocks = memory::filled(n_rows.div_ceil(call.block_rows), ())?;
        threads::for_each_chunk(
            &mut blocks,
            1,
            call.workers,
            || call.scratch(),
            |scratch, index, _| {
                let top = index * call.block_rows;
                let rows = top..n_rows.min(top + call.block_rows);
                let n = rows.len();
                let explained = call.explain(rows, scratch)?;
                // The sums are exact, so it does not matter in which order blocks are added.
                let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                for (index, &column) in plan.columns.iter().enumerate() {
                    total.add(column as usize, (0..n).map(|row| explained.value(row, index)));
                }
                Ok(())
            },
        )?;
        Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks that a table has as many columns as the forest was grown on.
    ///
    /// # Errors
    /// [`Error::ColumnCount`] when it has not.
    pub fn check_columns(&self, x: &Input<'_>) -> Result<()> {
        if x.n_columns() == self.forest.n_features() {
            Ok(())
        } else {
            Err(Error::ColumnCount {
                actual: x.n_columns(),
                expected: self.forest.n_features(),
            })
        }
    }

    /// Returns the compiled forest.
    fn plan(&self, workers: Workers<'_>) -> Result<Arc<Plan>> {
        self.plan
            .get_or(|| Plan::new(&self.forest, &self.average_path_lengths, workers))
    }

    fn call<'a, 'x, 'w>(
        &self,
        plan: &'a Plan,
        x: &'a Input<'x>,
        workers: Workers<'w>,
        kernel: Choice,
    ) -> Call<'a, 'x, 'w> {
        let n_trees = self.forest.n_trees();
        let n_rows = x.n_rows().max(1);
        let workers = workers.at_most((n_rows.saturating_mul(n_trees) / MIN_PATHS_PER_WORKER).max(1));
        let fitting = (BLOCK_BYTES / (CELL_BYTES * plan.columns.len().max(1))).clamp(TILE_ROWS, BLOCK_ROWS);
        // Several blocks per worker, so that a worker that starts late leaves most of its share to the others.
        let share = if workers.n() == 1 {
            n_rows
        } else {
            n_rows.div_ceil(4 * workers.n())
        };
        let block_rows = fitting.min(share.next_multiple_of(GROUP_ROWS));
        Call {
            plan,
            x,
            workers,
            kernel,
            block_rows,
            stride: block_rows.next_multiple_of(TILE_ROWS) + PADDING_ROWS,
            n_trees: n_trees as f64,
        }
    }
}

impl Call<'_, '_, '_> {
    fn scratch(&self) -> Result<Scratch> {
        let n_cells = self.plan.columns.len().saturating_mul(self.stride);
        memory::check_available(&[(n_cells, CELL_BYTES)])?;
        Ok(Scratch {
            values: vec![0.0; n_cells],
            phi: vec![0.0; n_cells],
            shapley: ShapleyScratch::new(),
        })
    }

    /// Explains up to [`Self::block_rows`] rows.
    fn explain<'s>(&'s self, rows: Range<usize>, scratch: &'s mut Scratch) -> Result<Explained<'s>> {
        let n_rows = rows.len();
        let missing = self.read(rows, &mut scratch.values);
        scratch.phi.fill(0.0);
        let mut block = ShapleyBlock {
            values: &scratch.values,
            phi: &mut scratch.phi,
            stride: self.stride,
            rows: n_rows,
            missing,
        };
        for tree in &self.plan.trees {
            self.workers.check_cancelled()?;
            self.kernel.shapley(tree, &mut block, &mut scratch.shapley);
        }
        for sum in &mut scratch.phi {
            *sum /= self.n_trees;
        }
        Ok(Explained {
            phi: &scratch.phi,
            stride: self.stride,
        })
    }

    /// Reads the plan's columns of some rows, and returns whether splits must decide where missing values go. Those of sparse
    /// matrices always go right, as in scikit-learn.
    fn read(&self, rows: Range<usize>, values: &mut [f32]) -> bool {
        match self.x {
            Input::Dense(x) => {
                let tile_rows = if x.is_row_major() { TILE_ROWS } else { rows.len().max(1) };
                for top in rows.clone().step_by(tile_rows) {
                    let mut tile = Tile {
                        values,
                        stride: self.stride,
                        first: top - rows.start,
                    };
                    let rows = top..rows.end.min(top + tile_rows);
                    self.kernel.transpose(x, rows, &self.plan.columns, &mut tile);
                }
                let mut columns = values.chunks(self.stride);
                columns.any(|column| {
                    column[..rows.len()]
                        .iter()
                        .fold(false, |any, value| any | value.is_nan())
                })
            }
            Input::Sparse(x) => {
                values.fill(0.0);
                for (i, row) in rows.enumerate() {
                    for (column, value) in x.row(row) {
                        if let Some(index) = self.plan.index_of(column) {
                            values[index * self.stride + i] = value;
                        }
                    }
                }
                false
            }
        }
    }
}

/// Checks that there is memory for the Shapley values of a table.
///
/// # Errors
/// [`Error::ShapleyMemory`] when there is not.
pub fn check_memory(x: &Input<'_>) -> Result<()> {
    let (n_rows, n_columns) = (x.n_rows(), x.n_columns());
    let n_values = n_rows.saturating_mul(n_columns);
    memory::check_available(&[(n_values, size_of::<f64>())]).map_err(|_| Error::ShapleyMemory {
        bytes: n_values.saturating_mul(size_of::<f64>()),
        n_rows,
        n_columns,
    })
}

/// Checks the number of values to keep of each row.
///
/// # Errors
/// [`Error::Parameter`] when it is 0 or above the number of columns.
pub fn check_top(top: usize, n_columns: usize) -> Result<()> {
    if (1..=n_columns).contains(&top) {
        Ok(())
    } else {
        Err(Error::Parameter {
            name: "top",
            value: top,
            low: 1,
            high: n_columns,
        })
    }
}

fn check_length(label: &'static str, actual: usize, expected: usize) -> Result<()> {
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
