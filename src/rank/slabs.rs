//! Columns whose values do not lie side by side, but perhaps with those of other columns in between: a table of rows.
//!
//! They are laid out side by side, a slab of rows at a time, so that what lies together in memory is read together.

use std::ops::Range;

use ndarray::ArrayView1;

use crate::error::Result;
use crate::matrix::Column;
use crate::simd::{Kernel, with_kernel};

/// Values visited in one go.
const PIECE: usize = 1024;
/// Columns laid out together ...
const WIDTH: usize = 64;
/// ... and rows of a slab. What is needed to count a column comes into the nearest caches for each slab anew; cells of more rows
/// would not stay near either (2, 8 and 16 times were slower).
const HEIGHT: usize = 4 * PIECE;
/// Cells from column to column: at distances of a power of two all columns would compete for the same places in cache.
const STRIDE: usize = HEIGHT + 24;

/// Bytes that a slab takes for each column.
pub(super) const COLUMN_BYTES: usize = STRIDE * size_of::<f64>();

/// Rows of other types than f64 that are laid out in one go: their cells stay in the first-level cache from column to column.
const STRIP: usize = 16;

/// Calls `visit` with the number of each column and its values in some rows as f64, piece by piece; ends early where `go_on` has an
/// error, which it is asked for before each slab.
pub(super) fn for_each_piece(
    columns: &[(usize, Column<'_>)],
    rows: &Range<usize>,
    go_on: impl Fn() -> Result<()>,
    mut visit: impl FnMut(usize, &[f64]),
) -> Result<()> {
    // Neighbours of one type are laid out together, so they must not be kept apart by columns of another one.
    let (mut doubles, mut others) = (Vec::new(), Vec::new());
    for &(number, column) in columns {
        match column {
            Column::F64(v) => doubles.push((number, v)),
            _ => others.push((number, column)),
        }
    }
    for group in doubles.chunks(WIDTH) {
        let (numbers, columns): (Vec<usize>, Vec<ArrayView1<'_, f64>>) = group.iter().copied().unzip();
        let lay_out = |rows, cells: &mut [f64]| with_kernel!(kernel => kernel.collect(&columns, rows, cells, STRIDE));
        visit_slabs(&numbers, rows, lay_out, &go_on, &mut visit)?;
    }
    for group in others.chunks(WIDTH) {
        let (numbers, columns): (Vec<usize>, Vec<Column<'_>>) = group.iter().copied().unzip();
        let lay_out = |rows, cells: &mut [f64]| lay_out(&columns, rows, cells);
        visit_slabs(&numbers, rows, lay_out, &go_on, &mut visit)?;
    }
    Ok(())
}

fn visit_slabs(
    numbers: &[usize],
    rows: &Range<usize>,
    lay_out: impl Fn(Range<usize>, &mut [f64]),
    go_on: impl Fn() -> Result<()>,
    mut visit: impl FnMut(usize, &[f64]),
) -> Result<()> {
    let mut cells = vec![0.0; numbers.len() * STRIDE];
    for start in rows.clone().step_by(HEIGHT) {
        go_on()?;
        let slab = start..rows.end.min(start + HEIGHT);
        lay_out(slab.clone(), &mut cells);
        for (&number, column) in numbers.iter().zip(cells.chunks(STRIDE)) {
            for piece in column[..slab.len()].chunks(PIECE) {
                visit(number, piece);
            }
        }
    }
    Ok(())
}

fn lay_out(columns: &[Column<'_>], rows: Range<usize>, cells: &mut [f64]) {
    let first = rows.start;
    for start in rows.clone().step_by(STRIP) {
        for (column, cells) in columns.iter().zip(cells.chunks_mut(STRIDE)) {
            let strip = start..rows.end.min(start + STRIP);
            let out = cells[start - first..].iter_mut().zip(strip);
            match column {
                Column::F64(v) => out.for_each(|(cell, row)| *cell = v[row]),
                Column::F32(v) => out.for_each(|(cell, row)| *cell = f64::from(v[row])),
                Column::I64(v) | Column::I64AsF64(v) => out.for_each(|(cell, row)| *cell = v[row] as f64),
            }
        }
    }
}
