//! Borrowed input tables: a two-dimensional view of any layout, a list of column views, or sparse rows.
//!
//! Every table is read in place. A dense one has two readers: `gather` (some rows of one column, for growing) and `fill_block` (all
//! columns of some rows, for scoring). Both cast to f32 as scikit-learn does.

#![allow(
    clippy::indexing_slicing,
    reason = "rows and columns are below the shape, which callers check; a wrong one is a defect, and a panic becomes an exception at the boundary"
)]

pub mod csr;

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Zip, s};

use crate::error::{Error, Result};
use csr::Csr;

/// One borrowed column, with any stride.
#[derive(Debug, Clone, Copy)]
pub enum Column<'a> {
    /// Floats of 32 bits, read as they are.
    F32(ArrayView1<'a, f32>),
    /// Floats of 64 bits, rounded to the nearest f32; overflow gives an infinity.
    F64(ArrayView1<'a, f64>),
    /// Integers of 64 bits, rounded directly to f32.
    I64(ArrayView1<'a, i64>),
    /// Integers of 64 bits, rounded to f64 and then to f32, as pandas and NumPy do when a frame has columns of floats too.
    I64AsF64(ArrayView1<'a, i64>),
}

impl Column<'_> {
    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::I64(v) | Self::I64AsF64(v) => v.len(),
        }
    }

    /// Returns whether the values lie side by side.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        match self {
            Self::F32(v) => v.to_slice().is_some(),
            Self::F64(v) => v.to_slice().is_some(),
            Self::I64(v) | Self::I64AsF64(v) => v.to_slice().is_some(),
        }
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The memory layout of a table's cells.
#[derive(Debug, Clone)]
pub(crate) enum Storage<'a> {
    F32(ArrayView2<'a, f32>),
    F64(ArrayView2<'a, f64>),
    I64(ArrayView2<'a, i64>),
    Columns(Vec<Column<'a>>),
}

/// A table whose columns have the same length; it may have no rows.
#[derive(Debug, Clone)]
pub struct Matrix<'a> {
    storage: Storage<'a>,
    n_rows: usize,
    n_columns: usize,
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "views are passed by value, as everywhere in ndarray"
)]
impl<'a> Matrix<'a> {
    /// Creates a table from its columns.
    ///
    /// # Errors
    /// [`Error::RaggedColumns`] when their lengths differ.
    pub fn from_columns(columns: Vec<Column<'a>>) -> Result<Self> {
        let n_rows = columns.first().map_or(0, Column::len);
        match columns.iter().position(|c| c.len() != n_rows) {
            Some(column) => Err(Error::RaggedColumns {
                column,
                actual: columns[column].len(),
                expected: n_rows,
            }),
            None => Ok(Self {
                n_rows,
                n_columns: columns.len(),
                storage: Storage::Columns(columns),
            }),
        }
    }

    /// Creates a table over a two-dimensional f32 array of any layout.
    #[must_use]
    pub fn from_f32(view: ArrayView2<'a, f32>) -> Self {
        Self::from_cells(view.dim(), Storage::F32(view))
    }

    /// Creates a table over a two-dimensional f64 array of any layout.
    #[must_use]
    pub fn from_f64(view: ArrayView2<'a, f64>) -> Self {
        Self::from_cells(view.dim(), Storage::F64(view))
    }

    /// Creates a table over a two-dimensional i64 array of any layout.
    #[must_use]
    pub fn from_i64(view: ArrayView2<'a, i64>) -> Self {
        Self::from_cells(view.dim(), Storage::I64(view))
    }

    fn from_cells((n_rows, n_columns): (usize, usize), storage: Storage<'a>) -> Self {
        Self {
            storage,
            n_rows,
            n_columns,
        }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Returns the number of columns.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Returns the cells in their memory layout.
    pub(crate) fn storage(&self) -> &Storage<'a> {
        &self.storage
    }

    /// Returns whether the table is an array whose rows lie one after another without gaps.
    pub(crate) fn is_row_major(&self) -> bool {
        match &self.storage {
            Storage::F32(view) => view.is_standard_layout(),
            Storage::F64(view) => view.is_standard_layout(),
            Storage::I64(view) => view.is_standard_layout(),
            Storage::Columns(_) => false,
        }
    }

    /// Returns the number of memory pieces in which neighbouring rows lie: one in a row-major array, otherwise one per column.
    pub(crate) fn n_pieces(&self) -> usize {
        if self.is_row_major() { 1 } else { self.n_columns }
    }

    /// Returns the addresses of one piece of the given rows; `None` if their cells are scattered.
    pub(crate) fn piece(&self, rows: Range<usize>, piece: usize) -> Option<Range<*const u8>> {
        fn addresses<T>(cells: Option<&[T]>, range: Range<usize>) -> Option<Range<*const u8>> {
            let Range { start, end } = cells?.get(range)?.as_ptr_range();
            Some(start.cast()..end.cast())
        }
        if self.n_pieces() == 1 {
            let range = rows.start * self.n_columns..rows.end * self.n_columns;
            match &self.storage {
                Storage::F32(view) => return addresses(view.to_slice(), range),
                Storage::F64(view) => return addresses(view.to_slice(), range),
                Storage::I64(view) => return addresses(view.to_slice(), range),
                Storage::Columns(_) => {}
            }
        }
        match self.column(piece) {
            Column::F32(v) => addresses(v.to_slice(), rows),
            Column::F64(v) => addresses(v.to_slice(), rows),
            Column::I64(v) | Column::I64AsF64(v) => addresses(v.to_slice(), rows),
        }
    }

    /// Returns one column.
    #[must_use]
    pub fn column(&self, column: usize) -> Column<'a> {
        match &self.storage {
            Storage::F32(view) => Column::F32(view.slice_move(s![.., column])),
            Storage::F64(view) => Column::F64(view.slice_move(s![.., column])),
            Storage::I64(view) => Column::I64(view.slice_move(s![.., column])),
            Storage::Columns(columns) => columns[column],
        }
    }

    /// Reads the given rows of one column as f32 into `out`, which is as long as `rows`.
    pub fn gather(&self, column: usize, rows: impl Iterator<Item = usize>, out: &mut [f32]) {
        fn read<T: Copy>(
            column: ArrayView1<'_, T>,
            rows: impl Iterator<Item = usize>,
            out: &mut [f32],
            cast: impl Fn(T) -> f32,
        ) {
            for (cell, row) in out.iter_mut().zip(rows) {
                *cell = cast(column[row]);
            }
        }
        match self.column(column) {
            Column::F32(v) => read(v, rows, out, |x| x),
            Column::F64(v) => read(v, rows, out, |x| x as f32),
            Column::I64(v) => read(v, rows, out, |x| x as f32),
            Column::I64AsF64(v) => read(v, rows, out, |x| x as f64 as f32),
        }
    }

    /// Reads all columns of the given rows as f32 into `out`, row-major; `out` holds exactly those cells.
    pub fn fill_block(&self, rows: Range<usize>, out: &mut [f32]) {
        // ndarray's loops know both layouts and choose the better order.
        fn read<T: Copy>(view: &ArrayView2<'_, T>, rows: Range<usize>, out: &mut [f32], cast: impl Fn(T) -> f32) {
            if let Ok(cells) = ArrayViewMut2::from_shape((rows.len(), view.ncols()), out) {
                let rows = view.slice(s![rows, ..]);
                Zip::from(cells).and(rows).for_each(|cell, &x| *cell = cast(x));
            }
        }
        fn read_column<T: Copy>(
            cells: ArrayViewMut1<'_, f32>,
            column: ArrayView1<'_, T>,
            rows: Range<usize>,
            cast: impl Fn(T) -> f32,
        ) {
            let column = column.slice(s![rows]);
            Zip::from(cells).and(column).for_each(|cell, &x| *cell = cast(x));
        }
        match &self.storage {
            Storage::F32(view) => read(view, rows, out, |x| x),
            Storage::F64(view) => read(view, rows, out, |x| x as f32),
            Storage::I64(view) => read(view, rows, out, |x| x as f32),
            Storage::Columns(columns) => {
                for (j, column) in columns.iter().enumerate() {
                    let cells = ArrayViewMut1::from(&mut out[j..]).slice_move(s![..;self.n_columns]);
                    let rows = rows.clone();
                    match *column {
                        Column::F32(v) => read_column(cells, v, rows, |x| x),
                        Column::F64(v) => read_column(cells, v, rows, |x| x as f32),
                        Column::I64(v) => read_column(cells, v, rows, |x| x as f32),
                        Column::I64AsF64(v) => read_column(cells, v, rows, |x| x as f64 as f32),
                    }
                }
            }
        }
    }
}

/// A table on which a forest can be grown, and which it can score.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// A table whose cells are all stored.
    Dense(Matrix<'a>),
    /// A table whose cells are mostly zero.
    Sparse(Csr<'a>),
}

impl Input<'_> {
    /// Returns the number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        match self {
            Self::Dense(x) => x.n_rows(),
            Self::Sparse(x) => x.n_rows(),
        }
    }

    /// Returns the number of columns.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        match self {
            Self::Dense(x) => x.n_columns(),
            Self::Sparse(x) => x.n_columns(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn every_layout_gives_the_same_cells() {
        let x = Array2::from_shape_fn((7, 3), |(i, j)| i as f64 * 10.0 + j as f64);
        let fortran = x.t().as_standard_layout().into_owned().reversed_axes();
        let wide = Array2::from_shape_fn((14, 6), |(i, j)| (i / 2) as f64 * 10.0 + (j / 2) as f64);
        let views = [x.view(), fortran.view(), wide.slice(s![..;2, ..;2])];
        for view in views {
            let m = Matrix::from_f64(view);
            let mut block = vec![0.0; 9];
            m.fill_block(2..5, &mut block);
            assert_eq!(block, [20., 21., 22., 30., 31., 32., 40., 41., 42.]);
            let mut gathered = [0.0; 3];
            m.gather(1, [6, 0, 3].into_iter(), &mut gathered);
            assert_eq!(gathered, [61., 1., 31.]);
        }
    }

    #[test]
    fn integers_are_rounded_once() {
        // Rounding this value to f64 first would make it a tie, which is then rounded down.
        let v = (1_i64 << 60) + (1 << 36) + 1;
        let x = Array2::from_elem((1, 1), v);
        let mut out = [0.0];
        Matrix::from_i64(x.view()).fill_block(0..1, &mut out);
        assert_eq!(out[0], v as f32);
        assert_ne!(out[0], v as f64 as f32);
    }

    #[test]
    fn ragged_columns_are_refused() {
        let (a, b) = ([1.0; 3], [1.0; 2]);
        let columns = vec![Column::F64(ArrayView1::from(&a)), Column::F64(ArrayView1::from(&b))];
        let error = Matrix::from_columns(columns).map(|_| ()).unwrap_err();
        assert_eq!(
            error,
            Error::RaggedColumns {
                column: 1,
                actual: 2,
                expected: 3
            }
        );
    }
}
