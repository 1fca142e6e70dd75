//! `_core.percentile_ranks`: the percentile of each cell of one table among the same column of another.

use numpy::{IntoPyArray, PyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::arrays::Table;
use super::detached;
use crate::rank::{self, Definition, Kind, NanPolicy, Ranks, Tail};

/// Percentiles and directions.
type RankArrays<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<i8>>);

/// Per cell of `rows` its percentile among the same column of `reference`, and its direction, both column-major.
#[pyfunction]
#[pyo3(signature = (reference, rows, *, kind, tail, omit_nan, n_workers))]
pub(super) fn percentile_ranks<'py>(
    py: Python<'py>,
    reference: Table<'_>,
    rows: Table<'_>,
    kind: &str,
    tail: &str,
    omit_nan: bool,
    n_workers: usize,
) -> PyResult<RankArrays<'py>> {
    let definition = definition(kind, tail, omit_nan)?;
    let (reference, rows) = (reference.matrix()?, rows.matrix()?);
    let ranks = detached(py, || rank::percentile_ranks(&reference, &rows, definition, n_workers))?;
    Ok(arrays(py, ranks))
}

fn definition(kind: &str, tail: &str, omit_nan: bool) -> PyResult<Definition> {
    let unknown = |what, name| PyValueError::new_err(format!("unknown {what} {name:?}"));
    Ok(Definition {
        kind: Kind::from_name(kind).ok_or_else(|| unknown("kind", kind))?,
        tail: Tail::from_name(tail).ok_or_else(|| unknown("tail", tail))?,
        nan_policy: if omit_nan {
            NanPolicy::Omit
        } else {
            NanPolicy::Propagate
        },
    })
}

fn arrays(py: Python<'_>, ranks: Ranks) -> RankArrays<'_> {
    (ranks.percentiles.into_pyarray(py), ranks.directions.into_pyarray(py))
}
