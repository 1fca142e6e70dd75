//! NumPy arrays as the core's borrowed input.

use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::error::Result;
use crate::matrix::{Column, Matrix};

/// One column of a frame.
#[derive(FromPyObject)]
pub(super) enum ColumnArray<'py> {
    F64(PyReadonlyArray1<'py, f64>),
    F32(PyReadonlyArray1<'py, f32>),
    I64(PyReadonlyArray1<'py, i64>),
}

impl ColumnArray<'_> {
    pub(super) fn column(&self) -> Column<'_> {
        match self {
            Self::F64(a) => Column::F64(a.as_array()),
            Self::F32(a) => Column::F32(a.as_array()),
            Self::I64(a) => Column::I64(a.as_array()),
        }
    }
}

/// A table: a two-dimensional array, or a list of columns.
pub(super) enum Table<'py> {
    F64(PyReadonlyArray2<'py, f64>),
    F32(PyReadonlyArray2<'py, f32>),
    I64(PyReadonlyArray2<'py, i64>),
    Columns(Vec<ColumnArray<'py>>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Table<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(array) = object.extract() {
            return Ok(Self::F64(array));
        }
        if let Ok(array) = object.extract() {
            return Ok(Self::F32(array));
        }
        if let Ok(array) = object.extract() {
            return Ok(Self::I64(array));
        }
        object.extract().map(Self::Columns).map_err(|_| {
            PyTypeError::new_err("X must be a 2-D array or a list of 1-D arrays of float64, float32 or int64")
        })
    }
}

impl Table<'_> {
    pub(super) fn matrix(&self) -> Result<Matrix<'_>> {
        match self {
            Self::F64(a) => Ok(Matrix::from_f64(a.as_array())),
            Self::F32(a) => Ok(Matrix::from_f32(a.as_array())),
            Self::I64(a) => Ok(Matrix::from_i64(a.as_array())),
            Self::Columns(columns) => Matrix::from_columns(columns.iter().map(ColumnArray::column).collect()),
        }
    }
}
