//! Blocks of columns copied out of a table of rows, so that the values of each column lie side by side.
//!
//! A block takes some thousand rows of up to 64 columns. Cells that share a cache line are copied together.

use std::ops::Range;

use ndarray::ArrayView1;

use crate::error::Result;
use crate::matrix::Column;
use crate::simd::{Kernel, with_kernel};

/// Rows passed to a visitor at once.
const CHUNK_ROWS: usize = 1024;
/// Maximum number of columns in a block.
const COPIED_COLUMNS: usize = 64;
/// Rows in a block. The histograms of a column are fetched into the cache again for each block; blocks of more rows would not fit
/// beside them (2, 8 and 16 times `CHUNK_ROWS` were slower).
const COPIED_ROWS: usize = 4 * CHUNK_ROWS;
/// Cells between the starts of two columns. A power of two would map all columns to the same cache sets.
const STRIDE: usize = COPIED_ROWS + 24;

/// Bytes that a block takes for each column.
pub(super) const BYTES_PER_COLUMN: usize = STRIDE * size_of::<f64>();

/// Rows copied at once for types other than f64: their cells stay in the first-level cache from column to column.
const STRIP_ROWS: usize = 16;

/// Calls `visit` with the number of each column and the values of some of its rows as f64, chunk by chunk. Calls `check_cancelled`
/// before each block, and ends early with its error.
pub(super) fn for_each_chunk(
    columns: &[(usize, Column<'_>)],
    rows: &Range<usize>,
    check_cancelled: impl Fn() -> Result<()>,
    mut visit: impl FnMut(usize, &[f64]),
) -> Result<()> {
    // Neighbouring columns of one type are copied together; a column of another type between them must not separate them.
    let (mut doubles, mut other_types) = (Vec::new(), Vec::new());
    for &(number, column) in columns {
        match column {
            Column::F64(v) => doubles.push((number, v)),
            _ => other_types.push((number, column)),
        }
    }
    for group in doubles.chunks(COPIED_COLUMNS) {
        let (numbers, columns): (Vec<usize>, Vec<ArrayView1<'_, f64>>) = group.iter().copied().unzip();
        let copy_columns =
            |rows, cells: &mut [f64]| with_kernel!(kernel => kernel.collect(&columns, rows, cells, STRIDE));
        visit_blocks(&numbers, rows, copy_columns, &check_cancelled, &mut visit)?;
    }
    for group in other_types.chunks(COPIED_COLUMNS) {
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
    for start in rows.clone().step_by(COPIED_ROWS) {
        check_cancelled()?;
        let block = start..rows.end.min(start + COPIED_ROWS);
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
