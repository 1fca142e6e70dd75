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

/// The kernel in use, as the environment variable `ISOXIDE_KERNEL` names it.
#[pyfunction]
fn kernel() -> PyResult<&'static str> {
    border::guarded(|| Ok(Choice::get().name()))
}

/// The Rust core of isoxide; use the public names of the package `isoxide` instead.
#[pymodule]
mod _core {
    use numpy::{PyArray1, PyArrayMethods};
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::border::{close, panic};
    #[pymodule_export]
    use super::convert::{float32_of_decimals, float32_of_objects};
    #[pymodule_export]
    use super::forest::{Forest, sample_rows, tree_seeds};
    #[pymodule_export]
    use super::kernel;
    #[pymodule_export]
    use super::parts::{RankCounts, Sketch};
    #[pymodule_export]
    use super::rank::{percentile_ranks, sorted_ranks};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // rust-numpy looks NumPy's functions up when they are first needed, and panics if a signal comes meanwhile: not within a call.
        super::border::guarded(|| {
            drop(PyArray1::<f64>::zeros(module.py(), 0, false).readonly());
            Ok(())
        })?;
        let at_exit = module.py().import("atexit")?;
        at_exit.call_method1("register", (module.getattr("close")?,))?;
        Ok(())
    }
}
