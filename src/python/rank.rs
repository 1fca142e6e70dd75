//! `_core.percentile_ranks` and `_core.sorted_ranks`: percentiles of the cells of one table among the same column of another one.

use numpy::{IntoPyArray, PyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::arrays::{Readable1, Table};
use super::boundary::{detached, guarded};
use super::columns::{ColumnArray, ColumnBorrower};
use crate::memory;
use crate::rank::sorted::{self, Sorted};
use crate::rank::{self, Definition, Kind, NanPolicy, Ranks, Tail};

/// Values of a column in ascending order, the number at or below each if they are distinct, and the number of NaN.
type SortedArrays<'py> = (ColumnArray<'py>, Option<Readable1<'py, i64>>, u64);
/// Percentiles and directions.
pub(super) type RankArrays<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<i8>>);

/// Return for each cell of `rows` its percentile among the same column of `reference`, and its direction, both column-major.
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
        Ok(rank_arrays(py, ranks))
    })
}

/// Return percentiles and directions among sorted columns. `reference` has for each column its values without NaN in ascending
/// order, as many as there are columns in `rows`; or the distinct values, and for each the number at or below it; and the number of
/// NaN.
#[pyfunction]
#[pyo3(signature = (reference, rows, *, kind, tail, omit_nan, n_workers))]
pub(super) fn sorted_ranks<'py>(
    py: Python<'py>,
    reference: Bound<'_, PyList>,
    rows: Table<'_>,
    kind: &str,
    tail: &str,
    omit_nan: bool,
    n_workers: usize,
) -> PyResult<RankArrays<'py>> {
    guarded(|| {
        let definition = definition(kind, tail, omit_nan)?;
        let mut arrays: Vec<SortedArrays<'_>> = memory::with_capacity(reference.len())?;
        let mut borrower = ColumnBorrower::default();
        for column in reference.iter() {
            memory::grow(&mut arrays)?;
            let (values, ends, n_missing): (Bound<'_, PyAny>, _, _) = column.extract()?;
            arrays.push((borrower.borrow(&values)?, ends, n_missing));
        }
        let mut columns = memory::with_capacity(arrays.len())?;
        for (values, ends, n_missing) in &arrays {
            let ends = ends.as_ref().map(Readable1::view);
            columns.push(Sorted::new(values.column(), ends, *n_missing)?);
        }
        let rows = rows.matrix()?;
        let ranks = detached(py, n_workers, |workers| {
            sorted::ranks(&columns, &rows, definition, workers)
        })?;
        Ok(rank_arrays(py, ranks))
    })
}

pub(super) fn definition(kind: &str, tail: &str, omit_nan: bool) -> PyResult<Definition> {
    let unknown = |parameter, name| PyValueError::new_err(format!("unknown {parameter} {name:?}"));
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

pub(super) fn rank_arrays(py: Python<'_>, ranks: Ranks) -> RankArrays<'_> {
    (ranks.percentiles.into_pyarray(py), ranks.directions.into_pyarray(py))
}
