//! `_core.percentile_ranks`: the percentile of each cell of one table among the same column of another; and
//! `_core.sorted_ranks`, where the columns of the other one are sorted.

use numpy::{IntoPyArray, PyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::arrays::{ColumnArray, Readable1, Table};
use super::border::{detached, guarded};
use crate::rank::sorted::{self, Sorted};
use crate::rank::{self, Definition, Kind, NanPolicy, Ranks, Tail};

/// Percentiles and directions.
pub(super) type RankArrays<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<i8>>);

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
    guarded(|| {
        let definition = definition(kind, tail, omit_nan)?;
        let (reference, rows) = (reference.matrix()?, rows.matrix()?);
        let ranks = detached(py, n_workers, |workers| {
            rank::percentile_ranks(&reference, &rows, definition, workers)
        })?;
        Ok(arrays(py, ranks))
    })
}

/// The same, where of each column of the reference the values without NaN are given in ascending order, as many as there are
/// columns in `rows`; or the distinct ones, and for each how many are at or below it; and the number of NaN.
#[pyfunction]
#[pyo3(signature = (reference, rows, *, kind, tail, omit_nan, n_workers))]
pub(super) fn sorted_ranks<'py>(
    py: Python<'py>,
    reference: Vec<(ColumnArray<'_>, Option<Readable1<'_, i64>>, u64)>,
    rows: Table<'_>,
    kind: &str,
    tail: &str,
    omit_nan: bool,
    n_workers: usize,
) -> PyResult<RankArrays<'py>> {
    guarded(|| {
        let definition = definition(kind, tail, omit_nan)?;
        let columns: Vec<Sorted<'_>> = reference
            .iter()
            .map(|(values, ends, n_missing)| {
                let ends = ends.as_ref().map(Readable1::view);
                Sorted::new(values.column(), ends, *n_missing)
            })
            .collect::<crate::error::Result<_>>()?;
        let rows = rows.matrix()?;
        let ranks = detached(py, n_workers, |workers| {
            sorted::ranks(&columns, &rows, definition, workers)
        })?;
        Ok(arrays(py, ranks))
    })
}

pub(super) fn definition(kind: &str, tail: &str, omit_nan: bool) -> PyResult<Definition> {
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

pub(super) fn arrays(py: Python<'_>, ranks: Ranks) -> RankArrays<'_> {
    (ranks.percentiles.into_pyarray(py), ranks.directions.into_pyarray(py))
}
