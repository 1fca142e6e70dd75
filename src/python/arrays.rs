//! NumPy arrays, and scipy's sparse matrices made of them, as the core's borrowed input.

use ndarray::Dimension;
use numpy::{
    Element, PyArray, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray, PyReadonlyArray1, PyReadonlyArray2,
    PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::error::{Error, Result};
use crate::matrix::csr::{Csr, Indices, Values};
use crate::matrix::{Column, Input, Matrix};

/// An array, not yet of any type, with the kind and the size of its cells; None of another object.
///
/// The type is looked at once: trying one after the other makes a Python exception for each that does not fit, which
/// takes several times as long as scoring a row.
fn untyped<'a, 'py>(object: Borrowed<'a, 'py, PyAny>) -> Option<(Borrowed<'a, 'py, PyUntypedArray>, (u8, usize))> {
    let array = object.cast::<PyUntypedArray>().ok()?;
    let dtype = array.dtype();
    Some((array, (dtype.kind(), dtype.itemsize())))
}

/// The array as one of this type and number of dimensions, if it is (another order of bytes is another type).
fn typed<'py, T: Element, D: Dimension>(
    array: Borrowed<'_, 'py, PyUntypedArray>,
) -> Option<PyReadonlyArray<'py, T, D>> {
    array.cast::<PyArray<T, D>>().ok()?.try_readonly().ok()
}

fn not_a_table() -> PyErr {
    PyTypeError::new_err("X must be a 2-D array or a list of 1-D arrays of float64, float32 or int64")
}

/// One column of a frame.
pub(super) enum ColumnArray<'py> {
    F64(PyReadonlyArray1<'py, f64>),
    F32(PyReadonlyArray1<'py, f32>),
    I64(PyReadonlyArray1<'py, i64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for ColumnArray<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let column = untyped(object).and_then(|(array, cell)| match cell {
            (b'f', 8) => typed(array).map(Self::F64),
            (b'f', 4) => typed(array).map(Self::F32),
            (b'i', 8) => typed(array).map(Self::I64),
            _ => None,
        });
        column.ok_or_else(not_a_table)
    }
}

impl ColumnArray<'_> {
    pub(super) fn column(&self) -> Column<'_> {
        match self {
            Self::F64(a) => Column::F64(a.as_array()),
            Self::F32(a) => Column::F32(a.as_array()),
            Self::I64(a) => Column::I64(a.as_array()),
        }
    }

    /// The same, but integers go by way of f64.
    fn column_of_floats(&self) -> Column<'_> {
        match self {
            Self::I64(a) => Column::I64AsF64(a.as_array()),
            other => other.column(),
        }
    }
}

/// A table: a two-dimensional array, a list of columns, or a tuple of columns whose integers stand among floats.
pub(super) enum Table<'py> {
    F64(PyReadonlyArray2<'py, f64>),
    F32(PyReadonlyArray2<'py, f32>),
    I64(PyReadonlyArray2<'py, i64>),
    Columns(Vec<ColumnArray<'py>>),
    ColumnsOfFloats(Vec<ColumnArray<'py>>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Table<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let array = untyped(object).and_then(|(array, cell)| match cell {
            (b'f', 8) => typed(array).map(Self::F64),
            (b'f', 4) => typed(array).map(Self::F32),
            (b'i', 8) => typed(array).map(Self::I64),
            _ => None,
        });
        if let Some(table) = array {
            return Ok(table);
        }
        let columns = if object.is_instance_of::<PyTuple>() {
            object.extract().map(Self::ColumnsOfFloats)
        } else {
            object.extract().map(Self::Columns)
        };
        columns.map_err(|_| not_a_table())
    }
}

impl Table<'_> {
    pub(super) fn matrix(&self) -> Result<Matrix<'_>> {
        match self {
            Self::F64(a) => Ok(Matrix::from_f64(a.as_array())),
            Self::F32(a) => Ok(Matrix::from_f32(a.as_array())),
            Self::I64(a) => Ok(Matrix::from_i64(a.as_array())),
            Self::Columns(columns) => Matrix::from_columns(columns.iter().map(ColumnArray::column).collect()),
            Self::ColumnsOfFloats(columns) => {
                Matrix::from_columns(columns.iter().map(ColumnArray::column_of_floats).collect())
            }
        }
    }
}

/// Row starts or column indices of a sparse matrix.
enum IndexArray<'py> {
    I32(PyReadonlyArray1<'py, i32>),
    I64(PyReadonlyArray1<'py, i64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for IndexArray<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let indices = untyped(object).and_then(|(array, cell)| match cell {
            (b'i', 4) => typed(array).map(Self::I32),
            (b'i', 8) => typed(array).map(Self::I64),
            _ => None,
        });
        indices.ok_or_else(not_a_table)
    }
}

impl IndexArray<'_> {
    fn indices(&self) -> PyResult<Indices<'_>> {
        Ok(match self {
            Self::I32(a) => Indices::I32(a.as_slice()?),
            Self::I64(a) => Indices::I64(a.as_slice()?),
        })
    }
}

/// Stored values of a sparse matrix.
enum ValueArray<'py> {
    F32(PyReadonlyArray1<'py, f32>),
    F64(PyReadonlyArray1<'py, f64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for ValueArray<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let values = untyped(object).and_then(|(array, cell)| match cell {
            (b'f', 4) => typed(array).map(Self::F32),
            (b'f', 8) => typed(array).map(Self::F64),
            _ => None,
        });
        values.ok_or_else(not_a_table)
    }
}

/// scipy's compressed rows.
#[derive(FromPyObject)]
pub(super) struct CsrArray<'py> {
    indptr: IndexArray<'py>,
    indices: IndexArray<'py>,
    data: ValueArray<'py>,
    shape: (usize, usize),
}

impl CsrArray<'_> {
    fn csr(&self) -> PyResult<Csr<'_>> {
        let values = match &self.data {
            ValueArray::F32(a) => Values::F32(a.as_slice()?),
            ValueArray::F64(a) => Values::F64(a.as_slice()?),
        };
        let csr = Csr::new(self.indptr.indices()?, self.indices.indices()?, values, self.shape.1)?;
        if csr.n_rows() == self.shape.0 {
            Ok(csr)
        } else {
            Err(Error::Sparse(format!(
                "indptr describes {} rows, but the shape says {}",
                csr.n_rows(),
                self.shape.0
            ))
            .into())
        }
    }
}

/// What a forest can be grown on and can score.
pub(super) enum Samples<'py> {
    Dense(Table<'py>),
    Sparse(CsrArray<'py>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Samples<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        // A sparse matrix is looked for first where the type leaves it open, for as a list it would be taken apart; but
        // an error of its attributes would be of no use to anybody, while that of the table names what is expected.
        let dense = object.is_instance_of::<PyUntypedArray>()
            || object.is_instance_of::<PyList>()
            || object.is_instance_of::<PyTuple>();
        if !dense && let Ok(csr) = object.extract() {
            return Ok(Self::Sparse(csr));
        }
        object.extract().map(Self::Dense)
    }
}

impl Samples<'_> {
    pub(super) fn input(&self) -> PyResult<Input<'_>> {
        Ok(match self {
            Self::Dense(table) => Input::Dense(table.matrix()?),
            Self::Sparse(csr) => Input::Sparse(csr.csr()?),
        })
    }
}
