//! Borrows the columns of a table as the core's input, without a copy.
//!
//! Columns of one table are often views of one array: of a two-dimensional array, or of a block of a pandas frame. rust-numpy compares
//! each view that is borrowed with all borrowed views of the same array, which takes time that grows with the square of their number.
//! So the array that owns the cells is borrowed once, and columns are slices of it.

use std::collections::HashMap;
use std::rc::Rc;

use ndarray::{ArrayView1, Ix1, IxDyn, ShapeBuilder};
use numpy::{Element, PyArray, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;

use super::arrays::{Readable, Readable1, described, not_a_table, untyped};
use crate::matrix::Column;
use crate::memory;

/// One column of a table.
pub(super) enum ColumnArray<'py> {
    F64(Cells<'py, f64>),
    F32(Cells<'py, f32>),
    I64(Cells<'py, i64>),
}

/// The cells of a column.
pub(super) enum Cells<'py, T: Element> {
    /// An array that is borrowed for this column only.
    Alone(Readable1<'py, T>),
    /// Every `stride`-th cell, `len` in number, of an array that is borrowed for all its columns.
    Part {
        owner: Rc<Readable<'py, T, IxDyn>>,
        start: usize,
        len: usize,
        stride: usize,
    },
}

/// Borrows columns, and remembers the arrays that own their cells.
#[derive(Default)]
pub(super) struct ColumnBorrower<'py> {
    f64: Owners<'py, f64>,
    f32: Owners<'py, f32>,
    i64: Owners<'py, i64>,
}

/// The borrowed owners of columns of one type, by the address of their Python object; `None` if an owner is of another type or
/// cannot be read as one slice.
struct Owners<'py, T: Element>(HashMap<usize, Option<Rc<Readable<'py, T, IxDyn>>>>);

impl<T: Element> Default for Owners<'_, T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// Borrows all arrays of a list or tuple of columns.
pub(super) fn column_arrays<'py>(
    columns: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
) -> PyResult<Vec<ColumnArray<'py>>> {
    let mut arrays = memory::with_capacity(columns.len())?;
    let mut borrower = ColumnBorrower::default();
    for column in columns {
        memory::grow(&mut arrays)?;
        arrays.push(borrower.borrow(&column)?);
    }
    Ok(arrays)
}

impl<'py> ColumnBorrower<'py> {
    /// Borrows one more column.
    ///
    /// # Errors
    /// `TypeError` for an object that is no one-dimensional array of float64, float32 or int64; `ValueError` for an array that cannot
    /// be read in place.
    pub(super) fn borrow(&mut self, object: &Bound<'py, PyAny>) -> PyResult<ColumnArray<'py>> {
        let column = match untyped(object.as_borrowed()) {
            Some((array, (b'f', 8))) => self.f64.borrow(&array)?.map(ColumnArray::F64),
            Some((array, (b'f', 4))) => self.f32.borrow(&array)?.map(ColumnArray::F32),
            Some((array, (b'i', 8))) => self.i64.borrow(&array)?.map(ColumnArray::I64),
            _ => None,
        };
        column.ok_or_else(|| not_a_table(&format!("{} as a column", described(object.as_borrowed()))))
    }
}

impl<'py, T: Element> Owners<'py, T> {
    /// Borrows the owner of a column, or the column alone; `None` if it has another type or number of dimensions.
    fn borrow(&mut self, array: &Bound<'py, PyUntypedArray>) -> PyResult<Option<Cells<'py, T>>> {
        if let Some(part) = self.part(array)? {
            return Ok(Some(part));
        }
        Ok(Readable::from_untyped(array.as_borrowed())?.map(Cells::Alone))
    }

    /// Returns a column as a part of its owner; `None` if it cannot be read as such.
    fn part(&mut self, array: &Bound<'py, PyUntypedArray>) -> PyResult<Option<Cells<'py, T>>> {
        let base = array.getattr("base")?;
        let (Ok(column), Ok(base)) = (array.cast::<PyArray<T, Ix1>>(), base.cast::<PyUntypedArray>()) else {
            return Ok(None);
        };
        let owner = self.0.entry(base.as_ptr().addr()).or_insert_with(|| {
            let owner = Readable::from_untyped(base.as_borrowed()).ok().flatten();
            owner.filter(|owner| owner.slice().is_ok()).map(Rc::new)
        });
        let Some(owner) = owner else {
            return Ok(None);
        };
        let size = size_of::<T>();
        let offset = column.data().addr().checked_sub(owner.address().addr());
        let (&[len], &[stride], Some(offset)) = (array.shape(), array.strides(), offset) else {
            return Ok(None);
        };
        // A column that runs backwards is borrowed alone.
        let Ok(stride) = usize::try_from(stride) else {
            return Ok(None);
        };
        if !(offset.is_multiple_of(size) && stride.is_multiple_of(size)) {
            return Ok(None);
        }
        let (start, stride) = (offset / size, stride / size);
        let is_inside = part_of(owner, start, len, stride).is_some();
        let owner = Rc::clone(owner);
        Ok(is_inside.then_some(Cells::Part {
            owner,
            start,
            len,
            stride,
        }))
    }
}

/// Returns cells of an array; `None` if it does not have all of them.
fn part_of<'o, T: Element>(
    owner: &'o Readable<'_, T, IxDyn>,
    start: usize,
    len: usize,
    stride: usize,
) -> Option<ArrayView1<'o, T>> {
    let cells = owner.slice().ok()?.get(start..)?;
    ArrayView1::from_shape((len,).strides((stride,)), cells).ok()
}

impl<T: Element> Cells<'_, T> {
    fn view(&self) -> ArrayView1<'_, T> {
        match self {
            Self::Alone(array) => array.view(),
            Self::Part {
                owner,
                start,
                len,
                stride,
            } => part_of(owner, *start, *len, *stride)
                .unwrap_or_else(|| unreachable!("the owner has the cells of its parts")),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for ColumnArray<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        ColumnBorrower::default().borrow(&object)
    }
}

impl ColumnArray<'_> {
    pub(super) fn column(&self) -> Column<'_> {
        match self {
            Self::F64(cells) => Column::F64(cells.view()),
            Self::F32(cells) => Column::F32(cells.view()),
            Self::I64(cells) => Column::I64(cells.view()),
        }
    }

    /// Returns the column with integers that are rounded to f64 first.
    pub(super) fn column_of_floats(&self) -> Column<'_> {
        match self {
            Self::I64(cells) => Column::I64AsF64(cells.view()),
            other => other.column(),
        }
    }
}
