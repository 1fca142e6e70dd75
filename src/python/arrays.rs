//! Borrows NumPy arrays and SciPy's sparse matrices as the core's input, without a copy.
//!
//! Every array is read through [`Readable`], which alone decides whether its cells can be read in place.

use ndarray::{ArrayView, Dimension, Ix1, Ix2};
use numpy::{
    Element, PyArray, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::columns::{ColumnArray, column_arrays};
use crate::error::{Error, Result};
use crate::matrix::csr::{Csr, Indices, StoredValues};
use crate::matrix::{Input, Matrix};
use crate::memory;

/// A NumPy array whose cells can be read in place: it has the expected type and number of dimensions, the machine's byte order,
/// aligned cells, and strides of whole cells.
///
/// rust-numpy checks the type, the dimensions and the byte order. It would read wrong cells with other strides, because it divides
/// a stride by the size of a cell and drops the remainder.
pub(super) struct Readable<'py, T: Element, D: Dimension>(PyReadonlyArray<'py, T, D>);

/// A one-dimensional array that can be read in place.
pub(super) type Readable1<'py, T> = Readable<'py, T, Ix1>;

impl<'py, T: Element, D: Dimension> Readable<'py, T, D> {
    /// Returns the array if it has this type and number of dimensions, else `None`.
    pub(super) fn from_untyped(array: Borrowed<'_, 'py, PyUntypedArray>) -> PyResult<Option<Self>> {
        let Ok(typed) = array.cast::<PyArray<T, D>>() else {
            return Ok(None);
        };
        let size = size_of::<T>().cast_signed();
        let mut steps = array.shape().iter().zip(array.strides());
        let is_whole = steps.all(|(&n, &stride)| n <= 1 || stride % size == 0);
        if !(array.is_empty() || is_whole && array.is_aligned()) {
            return Err(PyValueError::new_err(format!(
                "cannot read an array of {} with strides of {:?} bytes in place, because its cells are not aligned in \
                 memory; pass a copy of it",
                array.dtype(),
                array.strides()
            )));
        }
        Ok(Some(Self(typed.try_readonly()?)))
    }

    /// Returns the cells as a view.
    pub(super) fn view(&self) -> ArrayView<'_, T, D> {
        // An array without cells may have any strides and any address.
        if self.0.is_empty()
            && let Ok(empty) = ArrayView::from_shape(self.0.dims(), &[])
        {
            return empty;
        }
        self.0.as_array()
    }

    /// Returns the cells as a slice. They must lie side by side in memory.
    pub(super) fn slice(&self) -> PyResult<&[T]> {
        self.0.as_slice().map_err(|_| {
            PyValueError::new_err(format!(
                "cannot read an array of {} with strides of {:?} bytes in place, because its cells do not lie side by \
                 side; pass a copy of it",
                self.0.dtype(),
                self.0.strides()
            ))
        })
    }

    /// Returns the address of the first cell.
    pub(super) fn address(&self) -> *const u8 {
        self.0.data().cast_const().cast()
    }

    /// Returns the number of cells.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'a, 'py, T: Element, D: Dimension> FromPyObject<'a, 'py> for Readable<'py, T, D> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let readable = match object.cast::<PyUntypedArray>() {
            Ok(array) => Self::from_untyped(array)?,
            Err(_) => None,
        };
        readable.ok_or_else(|| {
            let n_dimensions = D::NDIM.map_or_else(String::new, |n| format!("{n}-D "));
            PyTypeError::new_err(format!(
                "expected a {n_dimensions}array of {}, got {}",
                T::get_dtype(object.py()),
                described(object)
            ))
        })
    }
}

/// Returns an array of any type with the kind and the size of its cells; `None` for another object.
///
/// Reading the dtype once is faster than trying each type in turn: every failed try makes a Python exception, which takes several
/// times as long as scoring a row.
pub(super) fn untyped<'a, 'py>(
    object: Borrowed<'a, 'py, PyAny>,
) -> Option<(Borrowed<'a, 'py, PyUntypedArray>, (u8, usize))> {
    let array = object.cast::<PyUntypedArray>().ok()?;
    let dtype = array.dtype();
    Some((array, (dtype.kind(), dtype.itemsize())))
}

/// Describes an object in a message.
pub(super) fn described(object: Borrowed<'_, '_, PyAny>) -> String {
    match object.cast::<PyUntypedArray>() {
        // NumPy's name of a dtype includes the byte order if it is not the machine's.
        Ok(array) => format!("a {}-D array of {}", array.ndim(), array.dtype()),
        Err(_) => match object.get_type().name() {
            Ok(name) => format!("an object of type {name}"),
            Err(_) => "another object".to_owned(),
        },
    }
}

pub(super) fn not_a_table(actual: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "X must be a 2-D array or a list of 1-D arrays of float64, float32 or int64 in the machine's byte order, got {actual}"
    ))
}

/// A table: a two-dimensional array, a list of columns, or a tuple of columns whose integers are rounded to f64 first.
pub(super) enum Table<'py> {
    F64(Readable<'py, f64, Ix2>),
    F32(Readable<'py, f32, Ix2>),
    I64(Readable<'py, i64, Ix2>),
    Columns(Vec<ColumnArray<'py>>),
    ColumnsOfFloats(Vec<ColumnArray<'py>>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Table<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let array = match untyped(object) {
            Some((array, (b'f', 8))) => Readable::from_untyped(array)?.map(Self::F64),
            Some((array, (b'f', 4))) => Readable::from_untyped(array)?.map(Self::F32),
            Some((array, (b'i', 8))) => Readable::from_untyped(array)?.map(Self::I64),
            _ => None,
        };
        if let Some(table) = array {
            Ok(table)
        } else if let Ok(columns) = object.cast::<PyList>() {
            column_arrays(columns.iter()).map(Self::Columns)
        } else if let Ok(columns) = object.cast::<PyTuple>() {
            column_arrays(columns.iter()).map(Self::ColumnsOfFloats)
        } else {
            Err(not_a_table(&described(object)))
        }
    }
}

impl Table<'_> {
    pub(super) fn matrix(&self) -> Result<Matrix<'_>> {
        match self {
            Self::F64(a) => Ok(Matrix::from_f64(a.view())),
            Self::F32(a) => Ok(Matrix::from_f32(a.view())),
            Self::I64(a) => Ok(Matrix::from_i64(a.view())),
            Self::Columns(columns) => Matrix::from_columns(memory::collected(columns.iter().map(ColumnArray::column))?),
            Self::ColumnsOfFloats(columns) => {
                Matrix::from_columns(memory::collected(columns.iter().map(ColumnArray::column_of_floats))?)
            }
        }
    }
}

/// Row starts or column indices of a sparse matrix.
enum IndexArray<'py> {
    I32(Readable1<'py, i32>),
    I64(Readable1<'py, i64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for IndexArray<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let indices = match untyped(object) {
            Some((array, (b'i', 4))) => Readable::from_untyped(array)?.map(Self::I32),
            Some((array, (b'i', 8))) => Readable::from_untyped(array)?.map(Self::I64),
            _ => None,
        };
        indices.ok_or_else(|| {
            PyTypeError::new_err(format!(
                "expected indices as a 1-D array of int32 or int64 in the machine's byte order, got {}",
                described(object)
            ))
        })
    }
}

impl IndexArray<'_> {
    fn indices(&self) -> PyResult<Indices<'_>> {
        Ok(match self {
            Self::I32(a) => Indices::I32(a.slice()?),
            Self::I64(a) => Indices::I64(a.slice()?),
        })
    }
}

/// Stored values of a sparse matrix, or weights of rows.
pub(super) enum FloatArray<'py> {
    F32(Readable1<'py, f32>),
    F64(Readable1<'py, f64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for FloatArray<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let values = match untyped(object) {
            Some((array, (b'f', 4))) => Readable::from_untyped(array)?.map(Self::F32),
            Some((array, (b'f', 8))) => Readable::from_untyped(array)?.map(Self::F64),
            _ => None,
        };
        values.ok_or_else(|| {
            PyTypeError::new_err(format!(
                "expected a 1-D array of float64 or float32 in the machine's byte order, got {}",
                described(object)
            ))
        })
    }
}

/// A SciPy matrix in the format CSR (compressed sparse rows).
pub(super) struct CsrArray<'py> {
    indptr: IndexArray<'py>,
    indices: IndexArray<'py>,
    data: FloatArray<'py>,
    shape: (usize, usize),
}

impl<'a, 'py> FromPyObject<'a, 'py> for CsrArray<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        // A matrix in the format CSC (compressed sparse columns) has the same attributes, so the format is checked first.
        let format: String = object.getattr("format")?.extract()?;
        if format != "csr" {
            return Err(PyTypeError::new_err(format!(
                "a sparse matrix must be in the format csr, got {format}"
            )));
        }
        Ok(Self {
            indptr: object.getattr("indptr")?.extract()?,
            indices: object.getattr("indices")?.extract()?,
            data: object.getattr("data")?.extract()?,
            shape: object.getattr("shape")?.extract()?,
        })
    }
}

impl CsrArray<'_> {
    fn csr(&self) -> PyResult<Csr<'_>> {
        let values = match &self.data {
            FloatArray::F32(a) => StoredValues::F32(a.slice()?),
            FloatArray::F64(a) => StoredValues::F64(a.slice()?),
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

/// A table, dense or sparse, on which a forest can be grown or which it can score.
pub(super) enum Samples<'py> {
    Dense(Table<'py>),
    Sparse(CsrArray<'py>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Samples<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        // The usual types come first, because asking an object for an attribute takes longer.
        let dense = object.is_instance_of::<PyUntypedArray>()
            || object.is_instance_of::<PyList>()
            || object.is_instance_of::<PyTuple>();
        if !dense && object.hasattr("indptr")? {
            return object.extract().map(Self::Sparse);
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
