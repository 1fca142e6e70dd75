//! `_core.Sketch` and `_core.RankCounts`: aggregates of a partitioned table that can be merged.

use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::arrays::Table;
use super::boundary::{detached, guarded};
use super::columns::ColumnArray;
use super::rank::{RankArrays, definition, rank_arrays};
use crate::matrix::Column;
use crate::memory;
use crate::rank::mergeable::RankCounts;
use crate::sketch::Sketch;

/// Exact order statistics of a partitioned column.
#[pyclass(name = "Sketch", module = "isoxide._core")]
pub(super) struct PySketch {
    sketch: Sketch,
}

#[pymethods]
impl PySketch {
    /// Create an empty sketch of the values from `low` to `high`, or of the `lowest` ones among them, if given.
    #[new]
    #[pyo3(signature = (low, high, *, lowest=None, capacity))]
    fn new(low: f64, high: f64, lowest: Option<u64>, capacity: usize) -> PyResult<Self> {
        guarded(|| {
            Ok(Self {
                sketch: Sketch::new(low, high, lowest, capacity)?,
            })
        })
    }

    /// Add a column of values.
    fn add(&mut self, py: Python<'_>, values: Bound<'_, PyAny>) -> PyResult<()> {
        guarded(|| {
            let values: ColumnArray<'_> = values.extract()?;
            let column = values.column();
            detached(py, 1, |workers| {
                // Signals are handled between chunks.
                for start in (0..column.len()).step_by(VALUES_PER_CHECK) {
                    workers.check_cancelled()?;
                    let end = column.len().min(start + VALUES_PER_CHECK);
                    memory::check_available(&[(self.sketch.memory(end - start), 1)])?;
                    match column {
                        Column::F64(v) => self.sketch.add(v.slice(ndarray::s![start..end]).iter().copied()),
                        Column::F32(v) => {
                            self.sketch
                                .add(v.slice(ndarray::s![start..end]).iter().map(|&x| f64::from(x)));
                        }
                        Column::I64(v) | Column::I64AsF64(v) => {
                            self.sketch
                                .add(v.slice(ndarray::s![start..end]).iter().map(|&x| x as f64));
                        }
                    }
                }
                Ok(())
            })
        })
    }

    fn merge(&mut self, other: PyRef<'_, Self>) -> PyResult<()> {
        guarded(|| Ok(self.sketch.merge(&other.sketch)?))
    }

    /// Return the values at positions `k` and `k + 1` in ascending order, or None if another pass (`refined`) is needed.
    fn neighbours(&mut self, k: u64) -> PyResult<Option<(f64, f64)>> {
        guarded(|| Ok(self.sketch.neighbours(k)?))
    }

    /// Return an empty sketch of the bucket with the values at positions `k` and `k + 1`, for another pass over the values.
    fn refined(&mut self, k: u64) -> PyResult<Self> {
        guarded(|| {
            Ok(Self {
                sketch: self.sketch.refined(k)?,
            })
        })
    }

    /// Number of values, without NaN.
    #[getter]
    fn n(&self) -> u64 {
        self.sketch.n()
    }

    #[getter]
    fn n_missing(&self) -> u64 {
        self.sketch.n_missing()
    }

    /// Return the number of distinct values, or None if there are too many.
    fn n_distinct(&mut self) -> PyResult<Option<u64>> {
        guarded(|| Ok(self.sketch.n_distinct()))
    }

    /// Return the lowest and the highest stored value.
    fn extremes(&mut self) -> PyResult<Option<(f64, f64)>> {
        guarded(|| Ok(self.sketch.extremes()))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        guarded(|| bytes(py, &self.sketch.to_bytes()?))
    }

    #[staticmethod]
    fn from_bytes(data: &[u8]) -> PyResult<Self> {
        guarded(|| {
            Ok(Self {
                sketch: Sketch::from_bytes(data)?,
            })
        })
    }
}

/// Copies bytes into a Python object.
fn bytes<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, data.len(), |buffer| {
        buffer.copy_from_slice(data);
        Ok(())
    })
}

/// Values added between two checks for signals.
const VALUES_PER_CHECK: usize = 1 << 20;

/// Counts of a table's values below, and at or below, each cell of some rows.
#[pyclass(name = "RankCounts", module = "isoxide._core")]
pub(super) struct PyRankCounts {
    counts: RankCounts,
}

#[pymethods]
impl PyRankCounts {
    #[new]
    fn new(py: Python<'_>, rows: Table<'_>) -> PyResult<Self> {
        guarded(|| {
            let rows = rows.matrix()?;
            let counts = detached(py, 1, |_| RankCounts::new(&rows))?;
            Ok(Self { counts })
        })
    }

    /// Count a partition of the table.
    fn add(&mut self, py: Python<'_>, partition: Table<'_>, n_workers: usize) -> PyResult<()> {
        guarded(|| {
            let partition = partition.matrix()?;
            detached(py, n_workers, |workers| self.counts.add(&partition, workers))
        })
    }

    fn merge(&mut self, other: PyRef<'_, Self>) -> PyResult<()> {
        guarded(|| Ok(self.counts.merge(&other.counts)?))
    }

    /// Return percentiles and directions.
    fn ranks<'py>(&self, py: Python<'py>, kind: &str, tail: &str, omit_nan: bool) -> PyResult<RankArrays<'py>> {
        guarded(|| {
            let definition = definition(kind, tail, omit_nan)?;
            let ranks = detached(py, 1, |_| self.counts.ranks(definition))?;
            Ok(rank_arrays(py, ranks))
        })
    }

    /// Return the ranked values, as float64.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        guarded(|| {
            let (n_rows, n_columns) = (self.counts.n_rows(), self.counts.n_columns());
            memory::check_available(&[(n_rows.saturating_mul(n_columns), 2 * size_of::<f64>())])?;
            let mut values = ndarray::Array2::zeros((n_columns, n_rows));
            for (j, mut column) in values.outer_iter_mut().enumerate() {
                column.assign(&ndarray::Array1::from(self.counts.values(j)));
            }
            Ok(values.reversed_axes().into_pyarray(py))
        })
    }

    /// Number of rows of the table counted so far.
    #[getter]
    fn n(&self) -> u64 {
        self.counts.n()
    }

    /// Return the number of NaN in each column of the table counted so far.
    fn n_missing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        guarded(|| {
            let missing = self.counts.n_missing().map(u64::cast_signed);
            Ok(memory::collected(missing)?.into_pyarray(py))
        })
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        guarded(|| {
            let data = detached(py, 1, |_| self.counts.to_bytes())?;
            bytes(py, &data)
        })
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        guarded(|| {
            // A distinct value takes 32 bytes here, and more with its keys and the table that is searched.
            memory::check_available(&[(data.len(), 6)])?;
            let counts = detached(py, 1, |_| RankCounts::from_bytes(data))?;
            Ok(Self { counts })
        })
    }
}
