//! The core of isoxide: scikit-learn's seeded isolation forest and SciPy's percentile ranks, with bit-identical results.
//!
//! ```text
//! level 0   error  bytes  decimal  matrix  memory  prepared  threads  cancellation
//! level 1   forest  simd  sketch           use level 0 only
//! level 2   random                         uses levels 0 and 1
//! level 3   grow  score  explain  rank     use levels 0 to 2, never each other
//! level 4   python                         the binding; no other module uses it
//! ```
//!
//! Without the feature `python` the crate does not depend on Python. `ARCHITECTURE.md` lists the invariants of all modules.
//!
//! ```
//! use isoxide::{forest::path_length, grow::{NoiseTarget, Params, grow}, matrix::{Input, Matrix}, random::streams, score::Scorer};
//!
//! let x = ndarray::array![[-1.1], [0.3], [0.5], [100.0]];
//! let x = Input::Dense(Matrix::from_f64(x.view()));
//! let params = Params { max_samples: 4, max_features: 1, bootstrap: false };
//! let forest = grow(&x, NoiseTarget::Seed(0), &streams::tree_seeds(0, 0, 100), params, None, None, 1)?;
//! let sums = Scorer::new(forest, path_length::table(4))?.path_length_sums(&x, 1)?;
//! assert!(sums[3] < sums[0], "an outlier has short paths");
//! # Ok::<(), isoxide::error::Error>(())
//! ```

// A module that only computes may allow indexing and gives its reason there. Code that parses untrusted input must use `get`.
#![warn(clippy::indexing_slicing)]

pub mod bytes;
pub mod cancellation;
pub mod decimal;
pub mod error;
pub mod explain;
pub mod forest;
pub mod grow;
pub mod matrix;
pub mod memory;
mod prepared;
pub mod random;
pub mod rank;
pub mod score;
pub mod simd;
pub mod sketch;
pub mod threads;

#[cfg(feature = "python")]
mod python;
