//! Columns whose values do not lie side by side, but perhaps with those of other columns in between: a table of rows.
//!
//! They are laid out side by side, a block of rows at a time, so that what lies together in memory is read together.

use std::ops::Range;

use ndarray::ArrayView1;

use crate::error::Result;
use crate::matrix::Column;
use crate::simd::{Kernel, with_kernel};

/// Values visited in one go.
const CHUNK_ROWS: usize = 1024;
/// Columns laid out together ...
const BLOCK_COLUMNS: usize = 64;
/// ... and rows of a block. What is needed to count a column comes into the nearest caches for each block anew; cells of more rows
/// would not stay near either (2, 8 and 16 times were slower).
const BLOCK_ROWS: usize = 4 * CHUNK_ROWS;
/// Cells from column to column: at distances of a power of two all columns would compete for the same places in cache.
const STRIDE: usize = BLOCK_ROWS + 24;

/// Bytes that a block takes for each column.
pub(super) const BYTES_PER_COLUMN: usize = STRIDE * size_of::<f64>();

/// Rows of other types than f64 that are laid out in one go: their cells stay in the first-level cache from column to column.
const STRIP_ROWS: usize = 16;

/// Calls `visit` with the number of each column and its values in some rows as f64, chunk by chunk; ends early where `check_cancelled` has an
/// error, which it is asked for before each block.
pub(super) fn for_each_chunk(
    columns: &[(usize, Column<'_>)],
    rows: &Range<usize>,
    check_cancelled: impl Fn() -> Result<()>,
    mut visit: impl FnMut(usize, &[f64]),
) -> Result<()> {
    // Neighbours of one type are laid out together, so they must not be kept apart by columns of another one.
    let (mut doubles, mut other_types) = (Vec::new(), Vec::new());
    for &(number, column) in columns {
        match column {
            Column::F64(v) => doubles.push((number, v)),
            _ => other_types.push((number, column)),
        }
    }
    for group in doubles.chunks(BLOCK_COLUMNS) {
        let (numbers, columns): (Vec<usize>, Vec<ArrayView1<'_, f64>>) = group.iter().copied().unzip();
        let copy_columns =
            |rows, cells: &mut [f64]| with_kernel!(kernel => kernel.collect(&columns, rows, cells, STRIDE));
        visit_blocks(&numbers, rows, copy_columns, &check_cancelled, &mut visit)?;
    }
    for group in other_types.chunks(BLOCK_COLUMNS) {
        let (numbers, columns): (Vec<usize>, Vec<Column<'_>>) = group.iter().copied().unzip();
        let copy_columns = |rows, cells: &mut [f64]| copy_columns(&columns, rows, cells);
        visit_blocks(&numbers, rows, copy_columns, &check_cancelled, &mut visit)?;
    }
    Ok(())
}

fn visit_blocks(
    numbers: &[usize],
    rows: &Range<usize>,
    copy_columns: impl Fn(Range<usize>, &mut [f64]),
    check_cancelled: impl Fn() -> Result<()>,
    mut visit: impl FnMut(usize, &[f64]),
) -> Result<()> {
    let mut cells = vec![0.0; numbers.len() * STRIDE];
    for start in rows.clone().step_by(BLOCK_ROWS) {
        check_cancelled()?;
        let block = start..rows.end.min(start + BLOCK_ROWS);
        copy_columns(block.clone(), &mut cells);
        for (&number, column) in numbers.iter().zip(cells.chunks(STRIDE)) {
            for chunk in column[..block.len()].chunks(CHUNK_ROWS) {
                visit(number, chunk);
            }
        }
    }
    Ok(())
}

fn copy_columns(columns: &[Column<'_>], rows: Range<usize>, cells: &mut [f64]) {
    let first = rows.start;
    for start in rows.clone().step_by(STRIP_ROWS) {
        for (column, cells) in columns.iter().zip(cells.chunks_mut(STRIDE)) {
            let strip = start..rows.end.min(start + STRIP_ROWS);
            let out = cells[start - first..].iter_mut().zip(strip);
            match column {
                Column::F64(v) => out.for_each(|(cell, row)| *cell = v[row]),
                Column::F32(v) => out.for_each(|(cell, row)| *cell = f64::from(v[row])),
                Column::I64(v) | Column::I64AsF64(v) => out.for_each(|(cell, row)| *cell = v[row] as f64),
            }
        }
    }
}
