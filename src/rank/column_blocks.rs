//! Copies blocks of columns out of a row-major table, so that the values of each column lie side by side.
//!
//! A block has 4096 rows of up to 64 columns. Cells that share a cache line are copied together.

use std::ops::Range;

use ndarray::ArrayView1;

use crate::error::Result;
use crate::matrix::Column;
use crate::simd::{Kernel, with_kernel};

/// Number of rows passed to the visitor at once.
const CHUNK_ROWS: usize = 1024;
/// Maximum number of columns in a block.
const COPIED_COLUMNS: usize = 64;
/// Number of rows in a block. The histograms of a column are loaded into the cache again for each block, so blocks should not be
/// too short; but longer blocks would not fit in the cache together with them (2, 8 and 16 times `CHUNK_ROWS` were slower).
const COPIED_ROWS: usize = 4 * CHUNK_ROWS;
/// Distance in cells from the start of a column to that of the next one. A power of two would map all columns to the same cache
/// sets.
const STRIDE: usize = COPIED_ROWS + 24;

/// Bytes that a block needs for each column.
pub(super) const BYTES_PER_COLUMN: usize = STRIDE * size_of::<f64>();

/// Number of rows copied at once for types other than f64: their cells stay in the first-level cache while all columns are copied.
const STRIP_ROWS: usize = 16;

/// Calls `visit(number, values)` for each column and each chunk of its rows, with the values as f64. `columns` has the number and
/// the cells of each column. Calls `check_cancelled` before each block, and returns its error at once.
pub(super) fn for_each_chunk(
    columns: &[(usize, Column<'_>)],
    rows: &Range<usize>,
    check_cancelled: impl Fn() -> Result<()>,
    mut visit: impl FnMut(usize, &[f64]),
) -> Result<()> {
    // The kernel copies neighbouring columns of f64 together, even if columns of another type lie between them in the list.
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
