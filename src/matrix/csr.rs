//! Borrowed sparse input in compressed rows (CSR).

#![allow(
    clippy::indexing_slicing,
    reason = "`Csr::new` has checked every index; where another thread changes the arrays meanwhile, a panic becomes an exception at the boundary"
)]

use std::ops::Range;

use crate::error::{Error, Result};

/// Row starts or column indices, in either width that SciPy uses.
#[derive(Debug, Clone, Copy)]
pub enum Indices<'a> {
    /// Indices of 32 bits.
    I32(&'a [i32]),
    /// Indices of 64 bits.
    I64(&'a [i64]),
}

impl Indices<'_> {
    fn len(&self) -> usize {
        match self {
            Self::I32(v) => v.len(),
            Self::I64(v) => v.len(),
        }
    }

    /// Returns the entry as an index; a negative entry becomes larger than any valid one.
    fn get(&self, i: usize) -> usize {
        match self {
            Self::I32(v) => v[i] as usize,
            Self::I64(v) => v[i] as usize,
        }
    }
}

/// Stored values, which are cast to f32 as in a dense matrix.
#[derive(Debug, Clone, Copy)]
pub enum StoredValues<'a> {
    /// Floats of 32 bits.
    F32(&'a [f32]),
    /// Floats of 64 bits.
    F64(&'a [f64]),
}

impl StoredValues<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    fn get(&self, i: usize) -> f32 {
        match self {
            Self::F32(v) => v[i],
            Self::F64(v) => v[i] as f32,
        }
    }
}

/// A sparse matrix in compressed rows; cells that are not stored are zero.
///
/// The columns of a row may come in any order. If a cell is stored twice, scoring takes the last value.
#[derive(Debug, Clone, Copy)]
pub struct Csr<'a> {
    starts: Indices<'a>,
    columns: Indices<'a>,
    values: StoredValues<'a>,
    n_columns: usize,
}

impl<'a> Csr<'a> {
    /// Creates a matrix from SciPy's `indptr`, `indices` and `data`.
    ///
    /// # Errors
    /// [`Error::Sparse`] when they do not describe a matrix with `n_columns` columns.
    pub fn new(starts: Indices<'a>, columns: Indices<'a>, values: StoredValues<'a>, n_columns: usize) -> Result<Self> {
        let n_stored = columns.len();
        if starts.len() == 0 || starts.get(0) != 0 {
            return Err(Error::Sparse("indptr must begin with 0".into()));
        }
        if values.len() != n_stored {
            let message = format!("there are {n_stored} indices, but {} values", values.len());
            return Err(Error::Sparse(message));
        }
        let mut previous = 0;
        for row in 1..starts.len() {
            let start = starts.get(row);
            if start < previous || start > n_stored {
                return Err(Error::Sparse(format!(
                    "indptr[{row}] must lie between {previous} and {n_stored}"
                )));
            }
            previous = start;
        }
        if let Some(i) = (0..previous).find(|&i| columns.get(i) >= n_columns) {
            return Err(Error::Sparse(format!(
                "indices[{i}] is out of range for {n_columns} columns"
            )));
        }
        Ok(Self {
            starts,
            columns,
            values,
            n_columns,
        })
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Returns the number of columns.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Returns the stored cells of a row, as columns and values.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (usize, f32)> + use<'a> {
        let this = *self;
        (this.starts.get(row)..this.starts.get(row + 1)).map(move |i| (this.columns.get(i), this.values.get(i)))
    }

    /// Returns the value of a cell.
    #[must_use]
    pub fn cell(&self, row: usize, column: usize) -> f32 {
        let stored = self.row(row).filter(|&(stored, _)| stored == column);
        stored.last().map_or(0.0, |(_, value)| value)
    }

    /// Writes rows into `out`, row-major and dense; `out` must be zero before.
    pub fn scatter(&self, rows: Range<usize>, out: &mut [f32]) {
        for (row, out) in rows.zip(out.chunks_mut(self.n_columns)) {
            for (column, value) in self.row(row) {
                out[column] = value;
            }
        }
    }

    /// Sets the cells that [`scatter`](Self::scatter) wrote to zero again.
    pub fn unscatter(&self, rows: Range<usize>, out: &mut [f32]) {
        for (row, out) in rows.zip(out.chunks_mut(self.n_columns)) {
            for (column, _) in self.row(row) {
                out[column] = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(starts: &[i32], columns: &[i32], n_values: usize) -> String {
        let values = vec![1.0_f32; n_values];
        let matrix = Csr::new(
            Indices::I32(starts),
            Indices::I32(columns),
            StoredValues::F32(&values),
            3,
        );
        matrix.map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn scatter_writes_rows_and_unscatter_clears_them() {
        let values = [1.0, 2.0, f64::NAN];
        let matrix = Csr::new(
            Indices::I64(&[0, 2, 2, 3]),
            Indices::I32(&[2, 0, 1]),
            StoredValues::F64(&values),
            3,
        );
        let matrix = matrix.unwrap();
        assert_eq!((matrix.n_rows(), matrix.n_columns()), (3, 3));
        let mut block = vec![0.0; 6];
        matrix.scatter(0..2, &mut block);
        assert_eq!(block, [2.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        matrix.unscatter(0..2, &mut block);
        assert_eq!(block, [0.0; 6]);
    }

    #[test]
    fn malformed_matrices_are_refused() {
        for (starts, columns, n_values, reason) in [
            (&[][..], &[][..], 0, "begin with 0"),
            (&[1, 1], &[0], 1, "begin with 0"),
            (&[0, 2], &[0], 1, "indptr[1]"),
            (&[0, 1, 0], &[0], 1, "indptr[2]"),
            (&[0, -1], &[0], 1, "indptr[1]"),
            (&[0, 1], &[3], 1, "indices[0]"),
            (&[0, 1], &[-1], 1, "indices[0]"),
            (&[0, 1], &[0], 2, "1 indices, but 2 values"),
        ] {
            let message = refusal(starts, columns, n_values);
            assert!(message.contains(reason), "{message} does not name {reason}");
        }
    }
}
