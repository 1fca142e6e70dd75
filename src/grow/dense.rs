//! The rows of one tree over a dense table.

use std::ops::Range;

use super::splitter::{Sample, Scan};
use crate::matrix::Matrix;

/// In-bag rows, those of one node side by side, and the values of the feature at hand.
pub(super) struct DenseSample<'a, 'm> {
    matrix: &'a Matrix<'m>,
    /// Column of the matrix for each feature of the tree.
    columns: &'a [usize],
    /// Row of the matrix for each in-bag row.
    sample: &'a [usize],
    rows: Vec<u32>,
    /// In the order of `rows`.
    values: Vec<f32>,
}

impl<'a, 'm> DenseSample<'a, 'm> {
    pub(super) fn new(matrix: &'a Matrix<'m>, columns: &'a [usize], sample: &'a [usize]) -> Self {
        Self {
            matrix,
            columns,
            sample,
            rows: (0..sample.len() as u32).collect(),
            values: vec![0.0; sample.len()],
        }
    }
}

impl Sample for DenseSample<'_, '_> {
    fn rows(&self, node: Range<usize>) -> &[u32] {
        &self.rows[node]
    }

    fn scan(&mut self, feature: usize, node: Range<usize>) -> Scan {
        let values = &mut self.values[node.clone()];
        let rows = self.rows[node].iter().map(|&row| self.sample[row as usize]);
        self.matrix.gather(self.columns[feature], rows, values);
        Scan::of(values)
    }

    fn part(&mut self, node: Range<usize>, threshold: f64, missing_left: bool) -> usize {
        let values = &mut self.values[node.clone()];
        let rows = &mut self.rows[node];
        let (mut next, mut end) = (0, rows.len());
        while next < end {
            let v = values[next];
            let left = if v.is_nan() {
                missing_left
            } else {
                f64::from(v) <= threshold
            };
            if left {
                next += 1;
            } else {
                end -= 1;
                values.swap(next, end);
                rows.swap(next, end);
            }
        }
        end
    }
}
