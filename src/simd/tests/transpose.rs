//! Tests that cells are copied from every layout and type, for any rows and columns.

use std::fmt::Debug;

use ndarray::{Array2, ArrayView1, ArrayView2, s};

use super::*;
use crate::matrix::Column;

/// Value of untouched cells: a NaN that no table holds.
const UNTOUCHED: u32 = 0x7fc1_2345;

/// Rows and columns to copy, and their position in the tile.
#[derive(Debug)]
struct Window {
    rows: Range<usize>,
    columns: Vec<u32>,
    stride: usize,
    first: usize,
}

fn check_transpose(kernel: impl Kernel, matrix: &Matrix<'_>, window: &Window, cell: &dyn Fn(usize, usize) -> f32) {
    let Window {
        rows,
        columns,
        stride,
        first,
    } = window;
    let mut values = vec![f32::from_bits(UNTOUCHED); columns.len() * stride];
    let mut tile = Tile {
        values: &mut values,
        stride: *stride,
        first: *first,
    };
    kernel.transpose(matrix, rows.clone(), columns, &mut tile);
    for (column, values) in columns.iter().zip(values.chunks(*stride)) {
        for (row, value) in rows.clone().zip(&values[*first..]) {
            let expected = cell(row, *column as usize);
            let equal = value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan();
            assert!(equal, "{}: {value} for {expected} at {row}, {column}", kernel.name());
        }
        let tile = *first..first + TILE_ROWS.max(rows.len());
        let others = (0..*stride).filter(|index| !tile.contains(index));
        assert!(others.into_iter().all(|index| values[index].to_bits() == UNTOUCHED));
    }
    for part in 0..3 {
        kernel.prefetch(matrix, rows.clone(), part, 3);
    }
    let columns = columns.first().map_or(0, |&first| first as usize)..matrix.n_columns();
    kernel.prefetch_columns(matrix, rows.clone(), columns);
}

/// Checks the same cells in all layouts of an array.
fn check_layouts<T: Copy + Default + Debug>(
    cells: &Array2<T>,
    window: &Window,
    matrix: impl Fn(ArrayView2<'_, T>) -> Matrix<'_>,
    cast: impl Fn(T) -> f32,
) {
    let (n, d) = cells.dim();
    let cell = |i: usize, j: usize| cast(cells[[i, j]]);
    let row_major = matrix(cells.view());
    assert!(row_major.is_row_major() || n * d == 0);
    for_every_kernel!(check_transpose(&row_major, window, &cell));
    // Tables that are not row-major can fill larger tiles with any number of rows.
    let rest = Window {
        rows: window.rows.start..n.min(window.rows.start + BLOCK_ROWS),
        columns: window.columns.clone(),
        stride: BLOCK_ROWS,
        first: 0,
    };
    let window = |array: &Matrix<'_>| Window {
        rows: if array.is_row_major() {
            window.rows.clone()
        } else {
            rest.rows.clone()
        },
        columns: rest.columns.clone(),
        ..rest
    };
    let column_major = cells.t().as_standard_layout().into_owned().reversed_axes();
    let mut wide = Array2::default((2 * n, 3 * d));
    wide.slice_mut(s![..;2, ..;3]).assign(cells);
    let reversed = cells.slice(s![..;-1, ..;-1]).as_standard_layout().into_owned();
    let mut upside_down = Array2::default((n, d + 1));
    upside_down.slice_mut(s![..;-1, ..d]).assign(cells);
    for view in [
        column_major.view(),
        wide.slice(s![..;2, ..;3]),
        reversed.slice(s![..;-1, ..;-1]),
        upside_down.slice(s![..;-1, ..d]),
    ] {
        let array = matrix(view);
        for_every_kernel!(check_transpose(&array, &window(&array), &cell));
    }
}

/// Copies some rows of columns, and checks every cell of the output.
fn check_collect(kernel: impl Kernel, columns: &[ArrayView1<'_, f64>], rows: &Range<usize>, stride: usize) {
    const UNTOUCHED: f64 = 1.234;
    let room = columns.len().checked_sub(1).map_or(0, |n| n * stride + rows.len());
    let mut out = vec![UNTOUCHED; room];
    kernel.collect(columns, rows.clone(), &mut out, stride);
    for (index, value) in out.iter().enumerate() {
        let (column, row) = (index / stride, index % stride);
        let expected = if row < rows.len() {
            columns[column][rows.start + row]
        } else {
            UNTOUCHED
        };
        assert_eq!(
            value.to_bits(),
            expected.to_bits(),
            "{}: column {column}, row {row}",
            kernel.name()
        );
    }
}

proptest! {
    #[test]
    fn collect_copies_columns(n in rows(100), d in 1..40_usize, step in prop_oneof![-2..0_isize, 1..3_isize], gaps in 0..4_usize, seed: u64) {
        let mut random = Random::new(seed);
        let cells = Array2::from_shape_simple_fn((2 * n, d), || random.cell());
        let other = Array2::from_shape_simple_fn((n, 3), || random.cell());
        let (cells, other) = (cells.slice(s![..;step, ..]), other.t());
        let n = n.min(cells.nrows());
        let mut columns: Vec<_> = cells.columns().into_iter().map(|column| column.slice_move(s![..n])).collect();
        columns.retain(|_| gaps == 0 || !random.one_in(gaps + 1));
        if gaps == 1 {
            // These columns are neighbours in memory, but not in the table.
            columns.extend(other.rows().into_iter().map(|column| column.slice_move(s![..n])));
            columns.reverse();
        }
        let start = random.below(n);
        let rows = start..start + random.below(n - start + 1);
        let stride = rows.len() + random.below(20) + 1;
        for_every_kernel!(check_collect(&columns, &rows, stride));
    }

    #[test]
    fn transpose_copies_cells_as_f32(
        n in rows(600), d in prop_oneof![1..20_usize, 1..=500_usize], max_rows in rows(64), tile in 0..9_usize, gaps in 0..4_usize, seed: u64,
    ) {
        let mut random = Random::new(seed);
        let n = if d > 100 { n.min(100) } else { n };
        let start = random.below(n);
        // The test copies all columns, or some of them with longer or shorter gaps.
        let columns = (0..d as u32).filter(|_| gaps == 0 || !random.one_in(gaps + 1)).collect();
        let (stride, first) = if tile == 0 { (TILE_ROWS, 0) } else { (BLOCK_ROWS, (tile - 1) * TILE_ROWS) };
        let window = Window { rows: start..n.min(start + max_rows), columns, stride, first };
        let doubles = Array2::from_shape_simple_fn((n, d), || random.cell());
        check_layouts(&doubles, &window, |view| Matrix::from_f64(view), |x| x as f32);
        check_layouts(&doubles.mapv(|x| x as f32), &window, |view| Matrix::from_f32(view), |x| x);
        let integers = Array2::from_shape_simple_fn((n, d), || (random.word() >> random.below(64)) as i64);
        check_layouts(&integers, &window, |view| Matrix::from_i64(view), |x| x as f32);
    }

    #[test]
    fn transpose_copies_columns_of_any_type(n in rows(600), d in 1..12_usize, seed: u64) {
        let mut random = Random::new(seed);
        let doubles = Array2::from_shape_simple_fn((2 * n, d), || random.cell());
        let floats = doubles.mapv(|x| x as f32);
        // Integers beyond 2^53 differ if they are rounded once or twice.
        let integers = Array2::from_shape_simple_fn((2 * n, d), || (random.word() >> random.below(12)) as i64);
        let steps = [1_isize, 2, -1, -2];
        let column_types: Vec<(usize, isize)> = (0..d).map(|_| (random.below(4), random.of(&steps))).collect();
        let slice = |step: isize| s![..n as isize * step.abs();step];
        let columns = column_types.iter().enumerate().map(|(j, &(column_type, step))| match column_type {
            0 => Column::F32(floats.column(j).slice_move(slice(step))),
            1 => Column::F64(doubles.column(j).slice_move(slice(step))),
            2 => Column::I64(integers.column(j).slice_move(slice(step))),
            _ => Column::I64AsF64(integers.column(j).slice_move(slice(step))),
        });
        let matrix = Matrix::from_columns(columns.collect()).unwrap();
        let cell = |i: usize, j: usize| {
            let (column_type, step) = column_types[j];
            let last = n * step.unsigned_abs() - 1;
            let i = if step > 0 { i * step.unsigned_abs() } else { last - i * step.unsigned_abs() };
            match column_type {
                0 => floats[[i, j]],
                1 => doubles[[i, j]] as f32,
                2 => integers[[i, j]] as f32,
                _ => integers[[i, j]] as f64 as f32,
            }
        };
        let start = random.below(n);
        let window = Window {
            rows: start..n.min(start + BLOCK_ROWS),
            columns: (0..d as u32).filter(|_| !random.one_in(4)).collect(),
            stride: BLOCK_ROWS,
            first: 0,
        };
        for_every_kernel!(check_transpose(&matrix, &window, &cell));
    }
}
