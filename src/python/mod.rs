//! The binding: arrays in, arrays out, one call across the border per operation.
//!
//! Only this folder names `pyo3` and `numpy`. Every function is wrapped in [`border::guarded`], which lets no panic out, and everything
//! long runs through [`border::detached`], the one door that releases the interpreter.

#![allow(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over by value")]
#![allow(
    clippy::too_many_arguments,
    reason = "the border is crossed once, with everything a call needs"
)]

mod arrays;
mod border;
mod convert;
mod error;
mod forest;
mod parts;
mod rank;

use pyo3::prelude::*;

use crate::simd::Choice;

/// Return the name of the kernel in use.
#[pyfunction]
fn kernel() -> PyResult<&'static str> {
    border::guarded(|| Ok(Choice::asked_for()?.name()))
}

/// Return the names of the kernels that this processor can run, the fastest first; the environment variable `ISOXIDE_KERNEL` may
/// name one of them.
#[pyfunction]
fn kernels() -> PyResult<Vec<&'static str>> {
    border::guarded(|| Ok(Choice::all().into_iter().map(Choice::name).collect()))
}

/// The Rust core of isoxide; use the public names of the package `isoxide` instead.
#[pymodule]
mod _core {
    use numpy::{PyArray1, PyArrayMethods};
    use pyo3::exceptions::PyImportError;
    use pyo3::prelude::*;

    use crate::simd::Choice;

    #[pymodule_export]
    use super::border::{close, panic};
    #[pymodule_export]
    use super::convert::{float32_of_decimals, float32_of_objects};
    #[pymodule_export]
    use super::forest::{Forest, sample_rows, tree_seeds};
    #[pymodule_export]
    use super::parts::{RankCounts, Sketch};
    #[pymodule_export]
    use super::rank::{percentile_ranks, sorted_ranks};
    #[pymodule_export]
    use super::{kernel, kernels};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // A kernel that was asked for and cannot be had is noticed now, not in the middle of some work.
        // rust-numpy looks NumPy's functions up when they are first needed, and panics if a signal comes meanwhile: not within a call.
        super::border::guarded(|| {
            Choice::asked_for().map_err(|error| PyImportError::new_err(error.to_string()))?;
            drop(PyArray1::<f64>::zeros(module.py(), 0, false).readonly());
            Ok(())
        })?;
        let at_exit = module.py().import("atexit")?;
        at_exit.call_method1("register", (module.getattr("close")?,))?;
        Ok(())
    }
}
