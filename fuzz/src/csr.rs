//! Fuzz target: any three arrays are refused as a sparse matrix or make a valid one. Forests can be grown on a valid matrix and
//! score it.

use isoxide::forest::path_length;
use isoxide::grow::{NoiseTarget, Params, grow};
use isoxide::matrix::csr::{Csr, Indices, StoredValues};
use isoxide::matrix::{Input, Matrix};
use isoxide::random::sampling::Weights;
use isoxide::score::Scorer;
use ndarray::Array2;

use super::bytes::Bytes;
use super::sums;
use super::table::n_rows;

/// Maximum number of columns of a matrix that is scored; a matrix that claims more is only read.
const MAX_COLUMNS: usize = 2_000;
/// Maximum number of cells of a matrix that is scored.
const MAX_CELLS: usize = 60_000;

/// The arrays of a matrix, valid or not.
#[derive(Debug)]
struct Arrays {
    starts: Vec<i64>,
    columns: Vec<i64>,
    values: Vec<f64>,
    n_columns: usize,
}

impl Arrays {
    /// Makes the arrays of a valid matrix.
    fn valid(bytes: &mut Bytes<'_>) -> Self {
        let n_columns = bytes.choose(&[1, 2, 3, 8, 64, 300, 1_500]);
        let n = n_rows(bytes, MAX_CELLS / n_columns);
        let max_cells_of_row = bytes.choose(&[1, 3, 3, 12]);
        let mut starts = vec![0];
        let mut columns = Vec::new();
        // The row number is added so that rows differ even if their bytes are equal.
        for row in 0..n {
            for k in 0..bytes.below(max_cells_of_row + 1) {
                columns.push(((bytes.below(n_columns) + row + k) % n_columns) as i64);
            }
            starts.push(columns.len() as i64);
        }
        Self {
            starts,
            values: bytes.numbers(columns.len()),
            columns,
            n_columns,
        }
    }

    /// Makes arrays of arbitrary numbers, which are rarely a valid matrix.
    fn any(bytes: &mut Bytes<'_>) -> Self {
        let mut list = |n: usize| -> Vec<i64> { (0..bytes.below(n)).map(|_| bytes.integer()).collect() };
        let (starts, columns) = (list(20), list(40));
        let n_values = if bytes.one_in(4) {
            bytes.below(40)
        } else {
            columns.len()
        };
        Self {
            starts,
            values: bytes.numbers(n_values),
            columns,
            n_columns: bytes.integer() as usize,
        }
    }

    /// Overwrites one number of one array.
    fn overwrite(&mut self, bytes: &mut Bytes<'_>) {
        let list = if bytes.one_in(2) {
            &mut self.starts
        } else {
            &mut self.columns
        };
        let index = bytes.below(4096) % list.len().max(1);
        if let Some(entry) = list.get_mut(index) {
            *entry = bytes.integer();
        }
    }
}

/// Runs the target on one input.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let bytes = &mut bytes;
    let arrays = if bytes.one_in(3) {
        Arrays::any(bytes)
    } else {
        let n_overwritten = if bytes.one_in(4) { 1 + bytes.below(2) } else { 0 };
        let mut arrays = Arrays::valid(bytes);
        (0..n_overwritten).for_each(|_| arrays.overwrite(bytes));
        arrays
    };
    let narrow = |list: &[i64]| -> Vec<i32> { list.iter().map(|&x| x as i32).collect() };
    let (narrow_starts, narrow_columns) = (narrow(&arrays.starts), narrow(&arrays.columns));
    let singles: Vec<f32> = arrays.values.iter().map(|&x| x as f32).collect();
    let widths = bytes.byte();
    let matrix = Csr::new(
        if widths & 1 == 0 {
            Indices::I64(&arrays.starts)
        } else {
            Indices::I32(&narrow_starts)
        },
        if widths & 2 == 0 {
            Indices::I64(&arrays.columns)
        } else {
            Indices::I32(&narrow_columns)
        },
        if widths & 4 == 0 {
            StoredValues::F64(&arrays.values)
        } else {
            StoredValues::F32(&singles)
        },
        arrays.n_columns,
    );
    if let Ok(matrix) = matrix {
        check(matrix, bytes);
    }
}

/// Checks a valid matrix: its cells, growing on it, and scoring it.
fn check(matrix: Csr<'_>, bytes: &mut Bytes<'_>) {
    let (n, d) = (matrix.n_rows(), matrix.n_columns());
    for row in 0..n {
        assert!(matrix.row(row).all(|(column, _)| column < d));
    }
    if d == 0 || d > MAX_COLUMNS || n * d > MAX_CELLS {
        return;
    }
    let mut dense = Array2::<f32>::zeros((n, d));
    if let Some(cells) = dense.as_slice_mut() {
        matrix.scatter(0..n, cells);
    }
    for (row, cells) in dense.rows().into_iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            assert!(n > 20 || matrix.cell(row, column).to_bits() == cell.to_bits());
        }
    }
    let (sparse, filled) = (Input::Sparse(matrix), Input::Dense(Matrix::from_f32(dense.view())));
    grow_and_score(&sparse, &sparse, &dense, bytes);
    if bytes.one_in(3) {
        grow_and_score(&filled, if bytes.one_in(2) { &filled } else { &sparse }, &dense, bytes);
    }
    if let Some(cells) = dense.as_slice_mut() {
        matrix.unscatter(0..n, cells);
        assert!(cells.iter().all(|cell| cell.to_bits() == 0));
    }
}

/// Grows a forest on `x` if the parameters are valid, and checks the scores of `rows`, which has the same rows in the same or the
/// other form.
fn grow_and_score(x: &Input<'_>, rows: &Input<'_>, dense: &Array2<f32>, bytes: &mut Bytes<'_>) {
    let (n, d) = dense.dim();
    let mut number = |high: usize| match bytes.below(8) {
        0..3 => high,
        3 => bytes.integer() as usize,
        _ => 1 + bytes.below(high.clamp(1, 256)),
    };
    let (max_samples, max_features) = (number(n), number(d));
    let params = Params {
        max_samples,
        max_features,
        bootstrap: bytes.one_in(2),
    };
    let fits = (1..=n).contains(&max_samples) && (1..=d).contains(&max_features);
    let n_noise = if bytes.one_in(16) { bytes.below(40) } else { n };
    let y = bytes.numbers(n_noise);
    let noise = if bytes.one_in(2) {
        NoiseTarget::Seed(bytes.u32())
    } else {
        NoiseTarget::Drawn(&y)
    };
    let fits = fits && (n_noise == n || matches!(noise, NoiseTarget::Seed(_)));
    let weights = bytes.one_in(4).then(|| {
        let numbers = bytes.numbers(n);
        let sizes: Vec<f64> = numbers.iter().map(|x| x.abs().min(10.0)).collect();
        let total: f64 = sizes.iter().sum();
        Weights::new(sizes.iter().map(|size| size / total).collect())
    });
    let Ok(weights) = weights.transpose() else { return };
    let seeds: Vec<u32> = (0..bytes.below(5)).map(|_| bytes.u32()).collect();
    let grown = grow(x, noise, &seeds, params, weights.as_ref(), None, 1);
    if !fits || seeds.is_empty() {
        assert!(grown.is_err());
        return;
    }
    let forest = match grown {
        Ok(forest) => forest,
        // There may be fewer rows with a weight above zero than a tree must draw.
        Err(error) => {
            assert!(weights.is_some(), "{error}");
            return;
        }
    };
    assert_eq!(
        grow(x, noise, &seeds, params, weights.as_ref(), None, 2).as_ref(),
        Ok(&forest)
    );
    let extended = grow(x, noise, &seeds, params, weights.as_ref(), Some(&forest), 1).unwrap();
    assert_eq!(extended.n_trees(), 2 * forest.n_trees());
    let largest = forest.largest_node();
    let scorer = Scorer::new(forest, path_length::table(largest)).unwrap();
    sums::check(&scorer, rows, |row, column| dense[[row, column]]);
}
