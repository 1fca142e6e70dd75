//! Parameters of growing; only checked parameters can grow a forest.

use crate::error::{Error, Result};
use crate::random::streams::Bagging;

/// Parameters that have not been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Rows that each tree draws; from 1 to the number of rows.
    pub max_samples: usize,
    /// Columns that each tree draws; from 1 to the number of columns.
    pub max_features: usize,
    /// Whether a tree may draw a row more than once.
    pub bootstrap: bool,
}

/// Parameters that fit the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidParams {
    pub(super) bagging: Bagging,
    pub(super) max_depth: u32,
}

impl Params {
    /// Checks the parameters against the shape of the data.
    ///
    /// # Errors
    /// [`Error::Parameter`] when a tree cannot draw that many rows or columns, or when row numbers would not fit in 32 bits.
    pub fn check(self, n_samples: usize, n_features: usize) -> Result<ValidParams> {
        let Self {
            max_samples,
            max_features,
            bootstrap,
        } = self;
        in_range("max_samples", max_samples, n_samples.min(u32::MAX as usize))?;
        in_range("max_features", max_features, n_features.min(u32::MAX as usize))?;
        // ceil(log2(max_samples)) is the average height of a tree that isolates every row.
        let max_depth = usize::BITS - (max_samples.max(2) - 1).leading_zeros();
        Ok(ValidParams {
            bagging: Bagging {
                n_samples,
                n_features,
                max_samples,
                max_features,
                bootstrap,
            },
            max_depth,
        })
    }
}

fn in_range(name: &'static str, value: usize, high: usize) -> Result<()> {
    if (1..=high).contains(&value) {
        Ok(())
    } else {
        Err(Error::Parameter {
            name,
            value,
            low: 1,
            high,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_depth_is_the_rounded_up_logarithm() {
        for (max_samples, depth) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)] {
            let params = Params {
                max_samples,
                max_features: 1,
                bootstrap: false,
            };
            assert_eq!(params.check(300, 1).unwrap().max_depth, depth);
        }
    }

    #[test]
    fn impossible_draws_are_refused() {
        for (max_samples, max_features) in [(0, 1), (11, 1), (1, 0), (1, 3)] {
            let params = Params {
                max_samples,
                max_features,
                bootstrap: false,
            };
            assert!(params.check(10, 2).is_err());
        }
    }
}
