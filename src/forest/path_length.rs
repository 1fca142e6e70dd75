//! Computes c(n), the average path length of an unsuccessful search in a binary tree of n rows, and the value of a leaf.
//!
//! Source: Liu, Ting and Zhou, "Isolation Forest", ICDM 2008, equation 1. The operations have scikit-learn's order:
//!
//! ```text
//! c(n) = 2 * (ln(n - 1) + 0.5772...) - 2 * (n - 1) / n           # c(2) = 1, and c(0) = c(1) = 0
//! leaf value = depth + c(number of training rows of the leaf)
//! ```

use super::Forest;
use crate::error::{Error, Result};

/// Euler's constant.
const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;

/// Returns c(n), computed with Rust's own logarithm.
///
/// The Python package passes a table that NumPy has made instead. NumPy's logarithm, which scikit-learn uses, may differ from
/// Rust's in the last bit on some processors.
#[must_use]
pub fn average_path_length(n: u32) -> f64 {
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let n = f64::from(n);
            2.0 * ((n - 1.0).ln() + EULER_GAMMA) - 2.0 * (n - 1.0) / n
        }
    }
}

/// Returns c(n) for every `n` in `0..=largest`.
#[must_use]
pub fn table(largest: u32) -> Vec<f64> {
    (0..=largest).map(average_path_length).collect()
}

/// Returns the value that a leaf at this depth (root: 0) adds to the path length of a row, given c(n) of its training rows.
#[must_use]
pub fn leaf_value(depth: u32, average_path_length: f64) -> f64 {
    // scikit-learn adds 1 and subtracts it again; leaving that out would change the last bits.
    (f64::from(depth + 1) + average_path_length) - 1.0
}

/// Checks that a table of c(n) reaches the largest node of a forest.
///
/// # Errors
/// [`Error::RowCount`] when it ends before.
pub(crate) fn check_table(average_path_lengths: &[f64], forest: &Forest) -> Result<()> {
    let expected = forest.largest_node() as usize + 1;
    if average_path_lengths.len() >= expected {
        return Ok(());
    }
    Err(Error::RowCount {
        label: "the table of average path lengths",
        actual: average_path_lengths.len(),
        expected,
    })
}
