//! Copies blocks of columns out of a row-major table, so that the values of each column lie side by side.
//!
//! A block has 4096 rows of up to 64 columns, or 8192 rows of up to 32. Cells that share a cache line are copied together.

use std::ops::Range;

use ndarray::ArrayView1;

use crate::error::Result;
use crate::matrix::Column;
use crate::simd::{Kernel, with_kernel};

/// Number of rows passed to the visitor at once.
const CHUNK_ROWS: usize = 1024;
/// Cells added to each column of a block. Without them, all columns would start in the same cache sets.
const PADDING: usize = 24;

/// Maximum numbers of columns and of rows in a block.
///
/// The table and the histograms of a column are loaded into the cache again for each block, so blocks should not be too short. But the
/// cells of longer blocks do not fit in the cache together with them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    columns: usize,
    rows: usize,
}

/// For a few queries (2, 8 and 16 times [`CHUNK_ROWS`] were slower).
const WIDE: Shape = Shape {
    columns: 64,
    rows: 4 * CHUNK_ROWS,
};
/// For many queries, whose tables and histograms fill the cache for each column.
const TALL: Shape = Shape {
    columns: 32,
    rows: 8 * CHUNK_ROWS,
};
/// Number of queries per column from which on blocks are tall.
const MIN_TALL_QUERIES: usize = 4096;

/// Bytes that a wide block needs for each column.
pub(super) const BYTES_PER_COLUMN: usize = (WIDE.rows + PADDING) * size_of::<f64>();

impl Shape {
    /// Returns the shape for columns with up to so many queries.
    pub(super) fn of(n_queries: usize) -> Self {
        if n_queries < MIN_TALL_QUERIES { WIDE } else { TALL }
    }

    /// Returns the bytes that a block may need beyond [`BYTES_PER_COLUMN`].
    pub(super) fn extra_bytes(self) -> usize {
        self.columns * (self.rows - WIDE.rows) * size_of::<f64>()
    }

    /// Returns the distance in cells from the start of a column to that of the next one, if a table has so many rows.
    fn stride(self, n_rows: usize) -> usize {
        self.rows.min(n_rows) + PADDING
    }
}

/// Number of rows copied at once for types other than f64: their cells stay in the first-level cache while all columns are copied.
const STRIP_ROWS: usize = 16;

/// Calls `visit(number, values)` for each column and each chunk of its rows, with the values as f64. `columns` has the number and
/// the cells of each column. Calls `check_cancelled` before each block, and returns its error at once.
pub(super) fn for_each_chunk(
    columns: &[(usize, Column<'_>)],
    rows: &Range<usize>,
    shape: Shape,
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
    let stride = shape.stride(rows.len());
    for group in doubles.chunks(shape.columns) {
        let (numbers, columns): (Vec<usize>, Vec<ArrayView1<'_, f64>>) = group.iter().copied().unzip();
        let copy_columns =
            |rows, cells: &mut [f64]| with_kernel!(kernel => kernel.collect(&columns, rows, cells, stride));
        visit_blocks(&numbers, rows, shape, copy_columns, &check_cancelled, &mut visit)?;
    }
    for group in other_types.chunks(shape.columns) {
        let (numbers, columns): (Vec<usize>, Vec<Column<'_>>) = group.iter().copied().unzip();
        let copy_columns = |rows, cells: &mut [f64]| copy_columns(&columns, rows, cells, stride);
        visit_blocks(&numbers, rows, shape, copy_columns, &check_cancelled, &mut visit)?;
    }
    Ok(())
}

fn visit_blocks(
    numbers: &[usize],
    rows: &Range<usize>,
    shape: Shape,
    copy_columns: impl Fn(Range<usize>, &mut [f64]),
    check_cancelled: impl Fn() -> Result<()>,
    mut visit: impl FnMut(usize, &[f64]),
) -> Result<()> {
    let stride = shape.stride(rows.len());
    let mut cells = vec![0.0; numbers.len() * stride];
    for start in rows.clone().step_by(shape.rows) {
        check_cancelled()?;
        let block = start..rows.end.min(start + shape.rows);
        copy_columns(block.clone(), &mut cells);
        for (&number, column) in numbers.iter().zip(cells.chunks(stride)) {
            for chunk in column[..block.len()].chunks(CHUNK_ROWS) {
                visit(number, chunk);
            }
        }
    }
    Ok(())
}

fn copy_columns(columns: &[Column<'_>], rows: Range<usize>, cells: &mut [f64], stride: usize) {
    let first = rows.start;
    for start in rows.clone().step_by(STRIP_ROWS) {
        for (column, cells) in columns.iter().zip(cells.chunks_mut(stride)) {
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

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn every_cell_is_visited_once_in_the_order_of_the_rows() {
        for (shape, n_columns, n_rows) in [
            (WIDE, 65, WIDE.rows + 1),
            (WIDE, 2, 3 * WIDE.rows),
            (TALL, 33, CHUNK_ROWS + 1),
            (TALL, 34, TALL.rows - 1),
            (TALL, 3, TALL.rows + 1),
            (TALL, 1, 0),
        ] {
            let doubles = Array2::from_shape_fn((n_rows, n_columns), |(i, j)| (i * n_columns + j) as f64);
            let (floats, integers) = (doubles.mapv(|x| x as f32), doubles.mapv(|x| x as i64));
            let columns: Vec<(usize, Column<'_>)> = (0..n_columns)
                .map(|j| match j % 3 {
                    0 => (j, Column::F64(doubles.column(j))),
                    1 => (j, Column::F32(floats.column(j))),
                    _ => (j, Column::I64(integers.column(j))),
                })
                .collect();
            let first = n_rows.min(5);
            let mut visited = vec![Vec::<f64>::new(); n_columns];
            for_each_chunk(
                &columns,
                &(first..n_rows),
                shape,
                || Ok(()),
                |j, values| visited[j].extend(values),
            )
            .unwrap();
            for (j, values) in visited.iter().enumerate() {
                let column = doubles.column(j);
                let cells = column.iter().skip(first);
                let expected = cells.map(|&x| if j % 3 == 1 { f64::from(x as f32) } else { x });
                assert!(values.iter().copied().eq(expected), "{shape:?} {n_rows} {j}");
            }
        }
    }
}
