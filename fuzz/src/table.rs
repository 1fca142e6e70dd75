//! Dense tables of every type and layout.

use isoxide::matrix::{Column, Matrix};
use ndarray::{Array2, ArrayView1, ArrayView2, ShapeBuilder, s};

use super::bytes::Bytes;

/// Row counts around the edges of all blocks.
const EDGES: [usize; 18] = [
    1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 255, 256, 511, 512, 513, 1023, 1024, 1025,
];

/// Makes a number of rows up to `max`, often next to a multiple of a block.
pub fn n_rows(bytes: &mut Bytes<'_>, max: usize) -> usize {
    let n = if bytes.one_in(2) {
        bytes.below(1300)
    } else {
        bytes.choose(&EDGES)
    };
    n.min(max)
}

#[derive(Debug, Clone, Copy)]
enum Layout {
    Whole,
    Reversed,
    /// Every second row of an array with one more column.
    Strided,
}

#[derive(Debug)]
enum Owned {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    I64AsF64(Vec<i64>),
}

#[derive(Debug)]
enum Cells {
    F32(Array2<f32>),
    F64(Array2<f64>),
    I64(Array2<i64>),
    /// Owned columns, with the distance between their cells.
    Columns(Vec<Owned>, usize),
}

/// A table that owns its cells.
#[derive(Debug)]
pub struct Table {
    cells: Cells,
    layout: Layout,
    n_columns: usize,
}

impl Table {
    pub fn new(bytes: &mut Bytes<'_>, n_rows: usize, n_columns: usize) -> Self {
        let layout = bytes.choose(&[Layout::Whole, Layout::Whole, Layout::Reversed, Layout::Strided]);
        let shape = match layout {
            Layout::Strided => (2 * n_rows, n_columns + 1),
            Layout::Whole | Layout::Reversed => (n_rows, n_columns),
        };
        let (cell_type, column_major) = (bytes.below(5), bytes.one_in(2));
        let cells = if cell_type > 2 {
            let step = bytes.choose(&[1, 1, 2]);
            let columns = (0..n_columns).map(|_| Owned::new(bytes, n_rows * step)).collect();
            Cells::Columns(columns, step)
        } else {
            let numbers = bytes.numbers(shape.0 * shape.1);
            let shape = shape.set_f(column_major);
            match cell_type {
                0 => Cells::F64(Array2::from_shape_vec(shape, numbers).unwrap()),
                1 => Cells::F32(Array2::from_shape_vec(shape, singles(&numbers)).unwrap()),
                _ => Cells::I64(Array2::from_shape_vec(shape, integers(bytes, &numbers)).unwrap()),
            }
        };
        Self {
            cells,
            layout,
            n_columns,
        }
    }

    pub fn matrix(&self) -> Matrix<'_> {
        match &self.cells {
            Cells::F32(cells) => Matrix::from_f32(self.view(cells)),
            Cells::F64(cells) => Matrix::from_f64(self.view(cells)),
            Cells::I64(cells) => Matrix::from_i64(self.view(cells)),
            Cells::Columns(columns, step) => {
                Matrix::from_columns(columns.iter().map(|column| column.borrow(*step)).collect()).unwrap()
            }
        }
    }

    fn view<'t, T>(&self, cells: &'t Array2<T>) -> ArrayView2<'t, T> {
        match self.layout {
            Layout::Whole => cells.view(),
            Layout::Reversed => cells.slice(s![..;-1, ..;-1]),
            Layout::Strided => cells.slice(s![..;2, ..self.n_columns]),
        }
    }
}

impl Owned {
    fn new(bytes: &mut Bytes<'_>, n: usize) -> Self {
        let column_type = bytes.below(4);
        let numbers = bytes.numbers(n);
        match column_type {
            0 => Self::F64(numbers),
            1 => Self::F32(singles(&numbers)),
            2 => Self::I64(integers(bytes, &numbers)),
            _ => Self::I64AsF64(integers(bytes, &numbers)),
        }
    }

    fn borrow(&self, step: usize) -> Column<'_> {
        fn every<T>(values: &[T], step: usize) -> ArrayView1<'_, T> {
            ArrayView1::from(values).slice_move(s![..;step as isize])
        }
        match self {
            Self::F32(v) => Column::F32(every(v, step)),
            Self::F64(v) => Column::F64(every(v, step)),
            Self::I64(v) => Column::I64(every(v, step)),
            Self::I64AsF64(v) => Column::I64AsF64(every(v, step)),
        }
    }
}

fn singles(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|&x| x as f32).collect()
}

/// Makes integers near a few bases; near some of these, different integers are equal as f64.
fn integers(bytes: &mut Bytes<'_>, numbers: &[f64]) -> Vec<i64> {
    let bases: [i64; 4] = std::array::from_fn(|_| bytes.integer());
    let near = |(i, x): (usize, &f64)| (*x as i64).wrapping_add(bases[i % bases.len()]);
    numbers.iter().enumerate().map(near).collect()
}

/// Returns a cell as a forest sees it.
pub fn cell(matrix: &Matrix<'_>, row: usize, column: usize) -> f32 {
    match matrix.column(column) {
        Column::F32(v) => v[row],
        Column::F64(v) => v[row] as f32,
        Column::I64(v) => v[row] as f32,
        Column::I64AsF64(v) => v[row] as f64 as f32,
    }
}
