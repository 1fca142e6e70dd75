//! The binding to Python: arrays in, arrays out, one call across the boundary per operation.
//!
//! Only this folder names `pyo3` and `numpy`. Every function is wrapped in [`boundary::guarded`], which lets no panic out, and
//! everything long runs through [`boundary::detached`], the only function that releases the interpreter.

#![allow(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]
#![allow(
    clippy::too_many_arguments,
    reason = "the boundary is crossed once, with everything a call needs"
)]

mod arrays;
mod boundary;
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

/// Return the names of the kernels that this processor can run, the fastest first; the environment variable `ISOXIDE_KERNEL` may
/// name one of them.
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
        // A kernel that is requested but unavailable is reported now, not in the middle of some work. rust-numpy looks NumPy's
        // functions up when they are first needed, and panics if a signal arrives meanwhile, so it does so here.
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
