//! Binds the core to Python: each operation is one call that takes arrays and returns arrays.
//!
//! No other module uses `pyo3` or `numpy`. Every function runs inside [`boundary::guarded`], which turns panics into exceptions.
//! All long work runs inside [`boundary::detached`], the only function that releases the interpreter's lock.

#![allow(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]
#![allow(
    clippy::too_many_arguments,
    reason = "the boundary is crossed once, with everything a call needs"
)]

mod arrays;
mod boundary;
mod columns;
mod convert;
mod error;
mod forest;
mod mergeable;
mod rank;

use pyo3::prelude::*;

use crate::simd::Choice;

/// Return the name of the kernel in use.
#[pyfunction]
fn kernel() -> PyResult<&'static str> {
    boundary::guarded(|| Ok(Choice::requested()?.name()))
}

/// Return the names of the kernels that this processor can run, the fastest first. The environment variable `ISOXIDE_KERNEL` may
/// select one of them.
#[pyfunction]
fn kernels() -> PyResult<Vec<&'static str>> {
    boundary::guarded(|| Ok(Choice::all().into_iter().map(Choice::name).collect()))
}

/// The Rust core of isoxide; use the public names of the package `isoxide` instead.
#[pymodule]
mod _core {
    use numpy::{PyArray1, PyArrayMethods};
    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;

    use crate::simd::Choice;

    #[pymodule_export]
    use super::boundary::{close, panic};
    #[pymodule_export]
    use super::convert::{float32_of_decimals, float32_of_objects};
    #[pymodule_export]
    use super::forest::{PyForest, sample_rows, tree_seeds};
    #[pymodule_export]
    use super::mergeable::{PyRankCounts, PySketch};
    #[pymodule_export]
    use super::rank::{percentile_ranks, sorted_ranks};
    #[pymodule_export]
    use super::{kernel, kernels};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // If a kernel is requested but unavailable, the import fails, rather than the first call. rust-numpy looks up NumPy's
        // functions at their first use, and panics if a signal arrives meanwhile, so they are used here once.
        super::boundary::guarded(|| {
            Choice::requested().map_err(|error| PyImportError::new_err(error.to_string()))?;
            drop(PyArray1::<f64>::zeros(module.py(), 0, false).readonly());
            Ok(())
        })?;
        let at_exit = module.py().import("atexit")?;
        at_exit.call_method1("register", (module.getattr("close")?,))?;
        Ok(())
    }
}
