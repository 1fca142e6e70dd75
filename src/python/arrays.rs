//! NumPy arrays, and scipy's sparse matrices made of them, as the core's borrowed input.

use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::{Error, Result};
use crate::matrix::csr::{Csr, Indices, Values};
use crate::matrix::{Column, Input, Matrix};

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
        if let Ok(array) = object.extract() {
            return Ok(Self::F64(array));
        }
        if let Ok(array) = object.extract() {
            return Ok(Self::F32(array));
        }
        if let Ok(array) = object.extract() {
            return Ok(Self::I64(array));
        }
        let columns = if object.is_instance_of::<PyTuple>() {
            object.extract().map(Self::ColumnsOfFloats)
        } else {
            object.extract().map(Self::Columns)
        };
        columns.map_err(|_| {
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
            Self::ColumnsOfFloats(columns) => {
                Matrix::from_columns(columns.iter().map(ColumnArray::column_of_floats).collect())
            }
        }
    }
}

/// Row starts or column indices of a sparse matrix.
#[derive(FromPyObject)]
enum IndexArray<'py> {
    I32(PyReadonlyArray1<'py, i32>),
    I64(PyReadonlyArray1<'py, i64>),
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
#[derive(FromPyObject)]
enum ValueArray<'py> {
    F32(PyReadonlyArray1<'py, f32>),
    F64(PyReadonlyArray1<'py, f64>),
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
        // An error of the table names what is expected; that of the attributes would be of no use to anybody.
        match object.extract() {
            Ok(table) => Ok(Self::Dense(table)),
            Err(error) => object.extract().map(Self::Sparse).map_err(|_| error),
        }
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
