//! The rows of one tree over a sparse table.
//!
//! Gathering a feature moves rows: those with a negative value to the front of the node, those with a positive value to its end,
//! zeros between. This happens even if the feature turns out to be constant. The order of rows is the order of the noise sums, so
//! it is part of the result (scikit-learn: `_partitioner.pyx`, sparse partitioner). Missing values count as zero here, and explicit
//! zeros are zeros.
//!
//! Only the rows of the tree are read from the table, once, into columns of their own.

use std::ops::Range;

use super::bag::InBag;
use super::sample::{Rows, Sample, Scan};
use crate::error::Result;
use crate::matrix::csr::Csr;
use crate::memory;

/// The in-bag rows, with the rows of each node side by side, and the values of the current feature.
pub(super) struct SparseSample {
    /// Range in `cells` of each of the tree's features: its stored cells among the in-bag rows, rows ascending.
    stored: Vec<Range<usize>>,
    /// Row and value of each stored cell.
    cells: Vec<(u32, f32)>,
    rows: Rows,
    /// Position of each row in `rows`.
    positions: Vec<u32>,
    /// Values in the order of `rows`; those of zeros are not updated.
    values: Vec<f32>,
    /// Positions of the zeros of the current feature.
    zeros: Range<usize>,
}

impl SparseSample {
    pub(super) fn new(matrix: &Csr<'_>, bag: InBag, y: Vec<f64>) -> Result<Self> {
        let (columns, sample) = (&bag.features, &bag.rows);
        let mut feature_of = memory::filled(matrix.n_columns(), usize::MAX)?;
        for (feature, &column) in columns.iter().enumerate() {
            feature_of[column] = feature;
        }
        let drawn = |row: usize| {
            matrix
                .row(row)
                .map(|(column, value)| (feature_of[column], value))
                .filter(|&(feature, _)| feature != usize::MAX)
        };
        // A counting sort by feature keeps the rows in order.
        let mut starts = vec![0; columns.len() + 1];
        for &row in sample {
            drawn(row).for_each(|(feature, _)| starts[feature + 1] += 1);
        }
        for feature in 0..columns.len() {
            starts[feature + 1] += starts[feature];
        }
        let mut next = starts.clone();
        let mut cells = memory::filled(starts[columns.len()], (0, 0.0))?;
        for (index, &row) in sample.iter().enumerate() {
            for (feature, value) in drawn(row) {
                // The last value of a cell that is stored twice counts, as in scoring.
                match cells[starts[feature]..next[feature]].last_mut() {
                    Some(last) if last.0 == index as u32 => last.1 = value,
                    _ => {
                        cells[next[feature]] = (index as u32, value);
                        next[feature] += 1;
                    }
                }
            }
        }
        Ok(Self {
            stored: starts.into_iter().zip(next).map(|(start, end)| start..end).collect(),
            cells,
            positions: (0..sample.len() as u32).collect(),
            values: vec![0.0; sample.len()],
            rows: Rows::new((0..sample.len() as u32).collect(), y, bag.weights),
            zeros: 0..0,
        })
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.rows.swap(a, b);
        self.positions[self.rows.ids[a] as usize] = a as u32;
        self.positions[self.rows.ids[b] as usize] = b as u32;
    }
}

impl Sample for SparseSample {
    fn rows(&self) -> &Rows {
        &self.rows
    }

    fn gather(&mut self, feature: u32, node: Range<usize>) {
        let feature = feature as usize;
        let mut zeros = node.clone();
        for cell in self.stored[feature].clone() {
            let (row, value) = self.cells[cell];
            let position = self.positions[row as usize] as usize;
            if !node.contains(&position) {
                continue;
            }
            if value > 0.0 {
                zeros.end -= 1;
                self.values[zeros.end] = value;
                self.swap(position, zeros.end);
            } else if value < 0.0 {
                self.values[zeros.start] = value;
                self.swap(position, zeros.start);
                zeros.start += 1;
            }
        }
        self.zeros = zeros;
    }

    fn scan(&self, node: Range<usize>) -> Scan {
        let mut scan = Scan::over(&self.values[node.start..self.zeros.start]);
        scan.include(&Scan::over(&self.values[self.zeros.end..node.end]));
        if !self.zeros.is_empty() {
            scan.include(&Scan::over(&[0.0]));
        }
        scan
    }

    fn partition(&mut self, node: Range<usize>, threshold: f64, _missing_left: bool) -> usize {
        // All zeros go to the same side. A NaN threshold partitions as zero does.
        let (mut next, mut end) = if threshold < 0.0 {
            (node.start, self.zeros.start)
        } else if threshold > 0.0 {
            (self.zeros.end, node.end)
        } else {
            (self.zeros.end, self.zeros.end)
        };
        while next < end {
            if f64::from(self.values[next]) <= threshold {
                next += 1;
            } else {
                end -= 1;
                self.values.swap(next, end);
                self.swap(next, end);
            }
        }
        end - node.start
    }
}
