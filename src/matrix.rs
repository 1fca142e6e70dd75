//! The borrowed input: a table as a list of column views.
//!
//! A row-major array is a list of strided columns, a frame a list of unrelated ones; both are read in place. Two
//! readers exist: `gather` (some rows of one column, for growing) and `fill_block` (all columns of some rows, for
//! scoring). Both cast to f32 as scikit-learn does.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, s};

use crate::error::{Error, Result};

/// One column, borrowed with whatever stride it has.
#[derive(Debug, Clone, Copy)]
pub enum Column<'a> {
    /// 32-bit floats, taken as they are.
    F32(ArrayView1<'a, f32>),
    /// 64-bit floats, rounded to the nearest f32 (overflow gives an infinity).
    F64(ArrayView1<'a, f64>),
    /// 64-bit integers, rounded straight to f32, not by way of f64.
    I64(ArrayView1<'a, i64>),
}

impl Column<'_> {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::I64(v) => v.len(),
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Lists the columns of a two-dimensional view.
macro_rules! columns_of {
    ($view:expr, $variant:ident) => {
        (0..$view.ncols())
            .map(|c| Column::$variant($view.slice_move(s![.., c])))
            .collect()
    };
}

/// A table of at least zero rows, all columns of one length.
#[derive(Debug, Clone)]
pub struct Matrix<'a> {
    columns: Vec<Column<'a>>,
    n_rows: usize,
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "views are passed by value, as everywhere in ndarray"
)]
impl<'a> Matrix<'a> {
    /// A table from its columns.
    ///
    /// # Errors
    /// [`Error::RaggedColumns`] when their lengths differ.
    pub fn from_columns(columns: Vec<Column<'a>>) -> Result<Self> {
        let n_rows = columns.first().map_or(0, Column::len);
        match columns.iter().position(|c| c.len() != n_rows) {
            Some(column) => Err(Error::RaggedColumns {
                column,
                found: columns[column].len(),
                expected: n_rows,
            }),
            None => Ok(Self { columns, n_rows }),
        }
    }

    /// A table over a two-dimensional f32 array of any layout.
    #[must_use]
    pub fn from_f32(view: ArrayView2<'a, f32>) -> Self {
        Self {
            columns: columns_of!(view, F32),
            n_rows: view.nrows(),
        }
    }

    /// A table over a two-dimensional f64 array of any layout.
    #[must_use]
    pub fn from_f64(view: ArrayView2<'a, f64>) -> Self {
        Self {
            columns: columns_of!(view, F64),
            n_rows: view.nrows(),
        }
    }

    /// A table over a two-dimensional i64 array of any layout.
    #[must_use]
    pub fn from_i64(view: ArrayView2<'a, i64>) -> Self {
        Self {
            columns: columns_of!(view, I64),
            n_rows: view.nrows(),
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of columns.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.columns.len()
    }

    /// The columns in order.
    #[must_use]
    pub fn columns(&self) -> &[Column<'a>] {
        &self.columns
    }

    /// Reads the given rows of one column as f32 into `out`, which is as long as `rows`.
    pub fn gather(&self, column: usize, rows: impl Iterator<Item = usize>, out: &mut [f32]) {
        match &self.columns[column] {
            Column::F32(v) => out.iter_mut().zip(rows).for_each(|(o, r)| *o = v[r]),
            Column::F64(v) => out.iter_mut().zip(rows).for_each(|(o, r)| *o = v[r] as f32),
            Column::I64(v) => out.iter_mut().zip(rows).for_each(|(o, r)| *o = v[r] as f32),
        }
    }

    /// Reads all columns of the given rows as f32 into `out`, row-major.
    pub fn fill_block(&self, rows: Range<usize>, out: &mut [f32]) {
        let d = self.columns.len();
        for (j, column) in self.columns.iter().enumerate() {
            let cells = out.iter_mut().skip(j).step_by(d);
            match column {
                Column::F32(v) => cells.zip(v.slice(s![rows.clone()])).for_each(|(o, &x)| *o = x),
                Column::F64(v) => cells.zip(v.slice(s![rows.clone()])).for_each(|(o, &x)| *o = x as f32),
                Column::I64(v) => cells.zip(v.slice(s![rows.clone()])).for_each(|(o, &x)| *o = x as f32),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn every_layout_reads_the_same() {
        let x = Array2::from_shape_fn((7, 3), |(i, j)| i as f64 * 10.0 + j as f64);
        let fortran = x.t().as_standard_layout().into_owned().reversed_axes();
        let wide = Array2::from_shape_fn((14, 6), |(i, j)| (i / 2) as f64 * 10.0 + (j / 2) as f64);
        let views = [x.view(), fortran.view(), wide.slice(s![..;2, ..;2])];
        for view in views {
            let m = Matrix::from_f64(view);
            let mut block = vec![0.0; 9];
            m.fill_block(2..5, &mut block);
            assert_eq!(block, [20., 21., 22., 30., 31., 32., 40., 41., 42.]);
            let mut some = [0.0; 3];
            m.gather(1, [6, 0, 3].into_iter(), &mut some);
            assert_eq!(some, [61., 1., 31.]);
        }
    }

    #[test]
    fn integers_are_rounded_once() {
        // By way of f64 this value would tie, then round down.
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
                found: 2,
                expected: 3
            }
        );
    }
}
