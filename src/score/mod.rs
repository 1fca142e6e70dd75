//! Scoring: a forest and a table become one sum of path lengths per row.

mod walk;

use crate::error::{Error, Result};
use crate::forest::Forest;
use crate::matrix::Input;
use crate::threads;
use walk::Walk;

/// A block of rows and its f32 copy should stay in the first-level cache together with a tree.
const BLOCK_BYTES: usize = 24 * 1024;
/// Fewer rows would not fill the lanes of the walk; more than this gain nothing.
const BLOCK_ROWS: std::ops::RangeInclusive<usize> = 16..=256;

/// A forest made ready for scoring.
#[derive(Debug)]
pub struct Scorer {
    walk: Walk,
    n_features: usize,
}

impl Scorer {
    /// Prepares a forest; `average_path_lengths[n]` is c(n) (see [`crate::forest::path_length`]).
    ///
    /// # Errors
    /// [`Error::RowCount`] when the table does not reach the largest node.
    pub fn new(forest: &Forest, average_path_lengths: &[f64]) -> Result<Self> {
        let expected = forest.largest_node() as usize + 1;
        if average_path_lengths.len() < expected {
            return Err(Error::RowCount {
                what: "the table of average path lengths",
                found: average_path_lengths.len(),
                expected,
            });
        }
        Ok(Self {
            walk: Walk::new(forest, average_path_lengths),
            n_features: forest.n_features(),
        })
    }

    /// For each row of `x` the sum of its path lengths over all trees, added in the order of the trees.
    ///
    /// # Errors
    /// [`Error::ColumnCount`] when `x` has another number of columns than the forest was grown on.
    pub fn depth_sums(&self, x: &Input<'_>, workers: usize) -> Result<Vec<f64>> {
        if x.n_columns() != self.n_features {
            return Err(Error::ColumnCount {
                found: x.n_columns(),
                expected: self.n_features,
            });
        }
        let d = self.n_features;
        let fitting = BLOCK_BYTES / (size_of::<f32>() * d);
        let block_rows = fitting.clamp(*BLOCK_ROWS.start(), *BLOCK_ROWS.end());
        let mut sums = vec![0.0; x.n_rows()];
        threads::for_each_chunk(
            &mut sums,
            block_rows,
            workers,
            || vec![0.0_f32; block_rows * d],
            |block, index, sums| {
                let rows = index * block_rows..index * block_rows + sums.len();
                let block = &mut block[..sums.len() * d];
                match x {
                    Input::Dense(x) => {
                        x.fill_block(rows, block);
                        self.walk.add_depths(block, d, sums);
                    }
                    Input::Sparse(x) => {
                        x.scatter(rows.clone(), block);
                        self.walk.add_depths_of_sparse(block, d, sums);
                        x.unscatter(rows, block);
                    }
                }
            },
        );
        Ok(sums)
    }
}
