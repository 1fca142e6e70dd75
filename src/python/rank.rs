//! `_core.percentile_ranks`: the percentile of each cell of one table among the same column of another.

use numpy::{IntoPyArray, PyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::arrays::Table;
use super::detached;
use crate::rank::{self, Kind, NanPolicy};

/// Per cell of `rows` its percentile among the same column of `reference`, column-major.
#[pyfunction]
#[pyo3(signature = (reference, rows, *, kind, omit_nan, n_workers))]
pub(super) fn percentile_ranks<'py>(
    py: Python<'py>,
    reference: Table<'_>,
    rows: Table<'_>,
    kind: &str,
    omit_nan: bool,
    n_workers: usize,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let kind = Kind::from_name(kind).ok_or_else(|| PyValueError::new_err(format!("unknown kind {kind:?}")))?;
    let nan_policy = if omit_nan {
        NanPolicy::Omit
    } else {
        NanPolicy::Propagate
    };
    let (reference, rows) = (reference.matrix()?, rows.matrix()?);
    let percentiles = detached(py, || {
        rank::percentile_ranks(&reference, &rows, kind, nan_policy, n_workers)
    })?;
    Ok(percentiles.into_pyarray(py))
}
