//! Implements [`Sample`] for a dense table: the rows of one tree, and the values of one feature.

use std::iter;
use std::ops::Range;

use super::bag::InBag;
use super::noise::{Sums, add_terms, unweighted_terms, weighted_terms};
use super::partition::Partition;
use super::sample::{LaneScan, Rows, Sample, Scan};
use crate::error::Result;
use crate::matrix::Matrix;
use crate::memory;
use crate::simd;
use crate::threads::{self, Workers};

/// Reads the cells of a dense table for one tree.
pub(super) trait CellReader {
    /// Reads the cells of one of the tree's features in `rows` into `out`, and adds the terms meanwhile. Returns the range of the
    /// values and the sums of the terms.
    fn read(
        &self,
        feature: u32,
        rows: &[u32],
        out: &mut [f32],
        terms: impl Iterator<Item = [f64; 2]>,
    ) -> (Scan, [f64; 2]);
}

/// Reads cells from the table itself; rows are indices of the in-bag rows.
pub(super) struct InPlaceReader<'a, 'm> {
    matrix: &'a Matrix<'m>,
    /// Column of the matrix for each feature of the tree.
    columns: Vec<usize>,
    /// Row of the matrix for each in-bag row.
    sample: Vec<usize>,
}

impl CellReader for InPlaceReader<'_, '_> {
    fn read(
        &self,
        feature: u32,
        rows: &[u32],
        out: &mut [f32],
        terms: impl Iterator<Item = [f64; 2]>,
    ) -> (Scan, [f64; 2]) {
        let rows = rows.iter().map(|&row| self.sample[row as usize]);
        self.matrix.gather(self.columns[feature as usize], rows, out);
        let sums = terms.fold([0.0; 2], add_terms);
        (Scan::over(out), sums)
    }
}

/// A copy of a whole table as f32, column by column. If trees read most cells many times, they read them faster here, since the
/// cells lie closer together.
pub(super) struct F32Copy {
    cells: Vec<f32>,
    n_rows: usize,
}

impl F32Copy {
    pub(super) fn new(matrix: &Matrix<'_>, workers: Workers<'_>) -> Result<Self> {
        /// Number of columns copied together: their cells share the cache lines of a row-major table.
        const COLUMNS_TOGETHER: usize = 8;
        /// Number of rows copied together: their cells stay in the first-level cache until all these columns are copied.
        const ROWS_TOGETHER: usize = 64;
        let n_rows = matrix.n_rows();
        let n_cells = n_rows.saturating_mul(matrix.n_columns());
        memory::check_available(&[(n_cells, size_of::<f32>())])?;
        let mut cells = vec![0.0; n_cells];
        threads::for_each_chunk(
            &mut cells,
            COLUMNS_TOGETHER * n_rows,
            workers,
            || Ok(()),
            |(), group, cells| {
                for start in (0..n_rows).step_by(ROWS_TOGETHER) {
                    workers.check_cancelled()?;
                    let rows = start..n_rows.min(start + ROWS_TOGETHER);
                    for (i, column) in cells.chunks_mut(n_rows).enumerate() {
                        matrix.gather(COLUMNS_TOGETHER * group + i, rows.clone(), &mut column[rows.clone()]);
                    }
                }
                Ok(())
            },
        )?;
        Ok(Self { cells, n_rows })
    }

    fn column(&self, column: usize) -> &[f32] {
        &self.cells[column * self.n_rows..][..self.n_rows]
    }
}

/// Reads cells from the f32 copy; rows are indices of the table's rows.
pub(super) struct CopyReader<'a> {
    table: &'a F32Copy,
    /// Column of the table for each feature of the tree.
    columns: Vec<usize>,
}

impl CellReader for CopyReader<'_> {
    fn read(
        &self,
        feature: u32,
        rows: &[u32],
        out: &mut [f32],
        mut terms: impl Iterator<Item = [f64; 2]>,
    ) -> (Scan, [f64; 2]) {
        /// Number of cells read in one step. The terms of as many rows are added between two steps.
        const CELLS_PER_STEP: usize = 8;
        /// Distance in rows from the cell that is read to the cell that is prefetched. The processor itself loads cells about 30
        /// rows ahead, but in that time a cell does not arrive from the third-level cache or from memory.
        const PREFETCH_DISTANCE: usize = 128;
        let column = self.table.column(self.columns[feature as usize]);
        let prefetch = |rows: &[u32]| rows.iter().for_each(|&row| simd::prefetch_cell(column, row as usize));
        let (first, later) = rows.split_at(rows.len().min(PREFETCH_DISTANCE));
        prefetch(first);
        let mut later = later.as_chunks::<CELLS_PER_STEP>().0.iter();
        let mut sums = [0.0; 2];
        let mut lane_scan = LaneScan::<CELLS_PER_STEP>::new();
        let (groups, rest) = rows.as_chunks::<CELLS_PER_STEP>();
        let (out_groups, out_rest) = out.as_chunks_mut::<CELLS_PER_STEP>();
        for (cells, rows) in out_groups.iter_mut().zip(groups) {
            if let Some(later) = later.next() {
                prefetch(later);
            }
            *cells = rows.map(|row| column[row as usize]);
            lane_scan.add(cells);
            for terms in terms.by_ref().take(CELLS_PER_STEP) {
                sums = add_terms(sums, terms);
            }
        }
        for (cell, &row) in out_rest.iter_mut().zip(rest) {
            *cell = column[row as usize];
        }
        let sums = terms.fold(sums, add_terms);
        (lane_scan.finish(out), sums)
    }
}

/// The in-bag rows, with the rows of each node side by side, and the values of the current feature.
pub(super) struct DenseSample<C> {
    cells: C,
    rows: Rows,
    /// Values of the current feature, in the order that the rows had when it was gathered.
    values: Vec<f32>,
    /// Range of the values.
    scan: Scan,
    partition: Partition,
}

impl<C> DenseSample<C> {
    fn over(cells: C, ids: Vec<u32>, y: Vec<f64>, weights: Vec<f64>) -> Self {
        Self {
            cells,
            values: vec![0.0; ids.len()],
            scan: Scan::over(&[]),
            rows: Rows::new(ids, y, weights),
            partition: Partition::default(),
        }
    }
}

impl<'a, 'm> DenseSample<InPlaceReader<'a, 'm>> {
    pub(super) fn in_place(matrix: &'a Matrix<'m>, bag: InBag, y: Vec<f64>) -> Self {
        let ids = (0..bag.rows.len() as u32).collect();
        let cells = InPlaceReader {
            matrix,
            columns: bag.features,
            sample: bag.rows,
        };
        Self::over(cells, ids, y, bag.weights)
    }
}

impl<'a> DenseSample<CopyReader<'a>> {
    pub(super) fn copied(table: &'a F32Copy, bag: InBag, y: Vec<f64>) -> Self {
        let ids = bag.rows.into_iter().map(|row| row as u32).collect();
        let cells = CopyReader {
            table,
            columns: bag.features,
        };
        Self::over(cells, ids, y, bag.weights)
    }
}

impl<C: CellReader> Sample for DenseSample<C> {
    fn rows(&self) -> &Rows {
        &self.rows
    }

    fn gather(&mut self, feature: u32, node: Range<usize>) {
        let (rows, out) = (&self.rows.ids[node.clone()], &mut self.values[node]);
        (self.scan, _) = self.cells.read(feature, rows, out, iter::empty());
    }

    fn sum_and_gather(&mut self, feature: u32, node: Range<usize>) -> Sums {
        let (rows, out) = (&self.rows.ids[node.clone()], &mut self.values[node.clone()]);
        let (y, weights) = self.rows.noise(node);
        let sums;
        (self.scan, sums) = if weights.is_empty() {
            self.cells
                .read(feature, rows, out, y.iter().copied().map(unweighted_terms))
        } else {
            let terms = y.iter().zip(weights).map(weighted_terms);
            self.cells.read(feature, rows, out, terms)
        };
        Sums::new(sums, y, weights)
    }

    fn scan(&self, _node: Range<usize>) -> Scan {
        self.scan
    }

    fn partition(&mut self, node: Range<usize>, threshold: f64, missing_left: bool) -> usize {
        let values = &self.values[node.clone()];
        let partition = &mut self.partition;
        partition.prepare(values, rounded_down(threshold), missing_left);
        self.rows.partition(node, partition);
        partition.n_left()
    }
}

/// Returns the largest f32 at or below a threshold. An f32 value is at or below the result exactly if it is at or below the
/// threshold.
fn rounded_down(threshold: f64) -> f32 {
    let nearest = threshold as f32;
    if f64::from(nearest) > threshold {
        nearest.next_down()
    } else {
        nearest
    }
}
