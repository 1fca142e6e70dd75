//! Converts a table's cells to f32, column by column, in loops that the compiler vectorises.

use std::ops::Range;

use ndarray::{ArrayView1, s};

use crate::matrix::{Column, Matrix, Storage};

/// Converts some rows of one column.
#[inline(always)]
pub(super) fn column(matrix: &Matrix<'_>, rows: Range<usize>, column: usize, out: &mut [f32]) {
    match matrix.column(column) {
        Column::F32(v) => cast(v, rows, out, |x| x),
        Column::F64(v) => cast(v, rows, out, |x| x as f32),
        Column::I64(v) => cast(v, rows, out, |x| x as f32),
        Column::I64AsF64(v) => cast(v, rows, out, |x| x as f64 as f32),
    }
}

#[inline(always)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "views are passed by value, as everywhere in ndarray"
)]
fn cast<T: Copy>(column: ArrayView1<'_, T>, rows: Range<usize>, out: &mut [f32], cast: impl Fn(T) -> f32) {
    let column = column.slice_move(s![rows]);
    match column.to_slice() {
        Some(values) => out.iter_mut().zip(values).for_each(|(cell, &x)| *cell = cast(x)),
        None => ndarray::Zip::from(out).and(column).for_each(|cell, &x| *cell = cast(x)),
    }
}

/// The cells of a row-major table.
pub(super) enum Rows<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

/// Returns all cells of a row-major table of f32 or f64.
pub(super) fn row_major<'a>(matrix: &Matrix<'a>) -> Option<Rows<'a>> {
    match matrix.storage() {
        Storage::F32(view) => view.to_slice().map(Rows::F32),
        Storage::F64(view) => view.to_slice().map(Rows::F64),
        _ => None,
    }
}

/// Returns runs of at most `N` neighbouring columns, each with the index of its first column in `columns`.
pub(super) fn runs<const N: usize>(columns: &[u32]) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut index = 0;
    std::iter::from_fn(move || {
        let first = *columns.get(index)? as usize;
        let rest = columns[index..].iter().take(N).enumerate();
        let len = rest.take_while(|&(i, &column)| column as usize == first + i).count();
        let run = (index, first..first + len);
        index += len;
        Some(run)
    })
}

/// `N` neighbouring columns of a row-major table, of which some are wanted.
pub(super) struct Window<const N: usize> {
    /// The columns, fewer than `N` at the end of a row; the first is wanted.
    pub(super) columns: Range<usize>,
    /// Index among the wanted columns of each of the `N` columns, or else of the last wanted one before it. If the columns are written
    /// in descending order, what was written for one that is not wanted is overwritten later.
    pub(super) indices: [usize; N],
}

/// Divides wanted columns, which are ascending, into windows; `d` is the number of columns of the table.
pub(super) fn windows<const N: usize>(wanted: &[u32], d: usize) -> impl Iterator<Item = Window<N>> {
    let mut index = 0;
    std::iter::from_fn(move || {
        let first = *wanted.get(index)? as usize;
        let mut next = index;
        let indices = std::array::from_fn(|j| {
            next += usize::from(wanted.get(next).is_some_and(|&column| column as usize == first + j));
            next - 1
        });
        index = next;
        Some(Window {
            columns: first..d.min(first + N),
            indices,
        })
    })
}

/// Columns whose cells are neighbours in every row.
#[cfg(target_arch = "x86_64")]
pub(super) struct Neighbours {
    /// Address of the first cell of the first column.
    pub(super) first: *const f64,
    /// Distance from a cell to the cell of the next row, in cells.
    pub(super) step: isize,
    /// Number of columns.
    pub(super) len: usize,
}

/// Groups the columns into runs of neighbours in memory.
#[cfg(target_arch = "x86_64")]
pub(super) fn neighbours(columns: &[ArrayView1<'_, f64>]) -> Vec<Neighbours> {
    let mut all: Vec<Neighbours> = Vec::new();
    for column in columns {
        let (cell, step) = (column.as_ptr(), column.strides()[0]);
        match all.last_mut() {
            Some(run) if run.step == step && run.first.wrapping_add(run.len) == cell => run.len += 1,
            _ => all.push(Neighbours {
                first: cell,
                step,
                len: 1,
            }),
        }
    }
    all
}
