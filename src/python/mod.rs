//! The binding: arrays in, arrays out, one call across the border per operation.
//!
//! Only this folder names `pyo3` and `numpy`. Everything long runs through [`detached`], the one door that releases
//! the interpreter, turns refusals into Python exceptions and lets no panic out.

#![allow(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]
#![allow(
    clippy::too_many_arguments,
    reason = "the border is crossed once, with everything a call needs"
)]

mod arrays;
mod error;
mod forest;
mod rank;

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::Result;
use crate::simd::Choice;

/// Runs `work` without the interpreter's lock.
///
/// A panic, which would be a defect of the core, becomes a `RuntimeError`: pyo3's own `PanicException` is no `Exception`
/// and would pass through every handler of the caller.
fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(PyRuntimeError::new_err(
            "internal error in isoxide; please report it together with the message on stderr",
        )),
    }
}

/// The kernel in use, as the environment variable `ISOXIDE_KERNEL` names it.
#[pyfunction]
fn kernel() -> &'static str {
    Choice::get().name()
}

/// The Rust core of isoxide; use the public names of the package `isoxide` instead.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::forest::{Forest, sample_rows, tree_seeds};
    #[pymodule_export]
    use super::kernel;
    #[pymodule_export]
    use super::rank::{percentile_ranks, sorted_ranks};
}
