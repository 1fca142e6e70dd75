//! Tests that trees grown on the drawn rows alone equal those grown on the whole table.

use isoxide::error::Error;
use isoxide::forest::Forest;
use isoxide::grow::{NoiseTarget, Origin, Params, grow, grow_on_drawn_rows};
use isoxide::matrix::csr::{Csr, Indices, StoredValues};
use isoxide::matrix::{Column, Input, Matrix};
use isoxide::random::streams::{self, Bagging};
use ndarray::{Array2, Axis};
use proptest::prelude::*;

/// The memory layout and type of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    F32,
    F64,
    I64,
    /// Columns of alternating types.
    Columns,
    Sparse,
}

const FORMS: [Form; 5] = [Form::F32, Form::F64, Form::I64, Form::Columns, Form::Sparse];

/// A table in all forms.
struct Table {
    floats: Array2<f64>,
    singles: Array2<f32>,
    integers: Array2<i64>,
    starts: Vec<i32>,
    columns: Vec<i32>,
    values: Vec<f64>,
}

impl Table {
    fn new(floats: Array2<f64>) -> Self {
        let (mut starts, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for row in floats.rows() {
            // Half of the zeros are stored.
            let stored = row.iter().enumerate().filter(|&(j, &value)| value != 0.0 || j % 2 == 1);
            for (j, &value) in stored {
                columns.push(j as i32);
                values.push(value);
            }
            starts.push(values.len() as i32);
        }
        Self {
            singles: floats.map(|&x| x as f32),
            integers: floats.map(|&x| (x * 1e3) as i64),
            floats,
            starts,
            columns,
            values,
        }
    }

    /// Returns a table of these rows.
    fn select(&self, rows: &[usize]) -> Self {
        Self::new(self.floats.select(Axis(0), rows))
    }

    fn input(&self, form: Form) -> Input<'_> {
        Input::Dense(match form {
            Form::F32 => Matrix::from_f32(self.singles.view()),
            Form::F64 => Matrix::from_f64(self.floats.view()),
            Form::I64 => Matrix::from_i64(self.integers.view()),
            Form::Columns => {
                let column = |j| match j % 4 {
                    0 => Column::F32(self.singles.column(j)),
                    1 => Column::I64(self.integers.column(j)),
                    2 => Column::I64AsF64(self.integers.column(j)),
                    _ => Column::F64(self.floats.column(j)),
                };
                Matrix::from_columns((0..self.floats.ncols()).map(column).collect()).unwrap()
            }
            Form::Sparse => {
                let (starts, columns) = (Indices::I32(&self.starts), Indices::I32(&self.columns));
                let csr = Csr::new(starts, columns, StoredValues::F64(&self.values), self.floats.ncols());
                return Input::Sparse(csr.unwrap());
            }
        })
    }
}

/// Returns the rows that the trees draw, in ascending order.
fn drawn_rows(n_samples: usize, n_features: usize, seeds: &[u32], params: Params) -> Vec<usize> {
    let bagging = Bagging {
        n_samples,
        n_features,
        max_samples: params.max_samples,
        max_features: params.max_features,
        bootstrap: params.bootstrap,
    };
    let bags = streams::bags(seeds, &bagging, None, 1).unwrap();
    let mut rows: Vec<usize> = bags.into_iter().flat_map(|bag| bag.rows).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

fn assert_equal(a: &Forest, b: &Forest) {
    assert_eq!(a.n_trees(), b.n_trees());
    for tree in 0..a.n_trees() {
        assert_eq!(a.tree(tree), b.tree(tree));
        assert_eq!(a.tree_noise(tree), b.tree_noise(tree));
        assert_eq!(a.tree_features(tree), b.tree_features(tree));
    }
    assert_eq!(a, b);
}

/// Compares trees grown on these rows with trees grown on the whole table, for both types of noise target.
fn check(table: &Table, form: Form, rows: &[usize], seeds: &[u32], params: Params, workers: usize) {
    let n_samples = table.floats.nrows();
    let selected = table.select(rows);
    let origin = Origin { n_samples, rows };
    let seed = seeds.first().map_or(7, |seed| seed ^ 5);
    let whole_noise = streams::noise_target(seed ^ 1, n_samples, 1).unwrap();
    let selected_noise: Vec<f64> = rows.iter().map(|&row| whole_noise[row]).collect();
    for (whole_target, selected_target) in [
        (NoiseTarget::Seed(seed), NoiseTarget::Seed(seed)),
        (NoiseTarget::Drawn(&whole_noise), NoiseTarget::Drawn(&selected_noise)),
    ] {
        let whole = grow(&table.input(form), whole_target, seeds, params, None, None, 1).unwrap();
        let actual =
            grow_on_drawn_rows(&selected.input(form), origin, selected_target, seeds, params, workers).unwrap();
        assert_equal(&actual, &whole);
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => Just(0.0),
        3 => (0_i32..4).prop_map(f64::from),
        5 => -1.0..1.0_f64,
        1 => prop_oneof![Just(f64::NAN), Just(-0.0), Just(f64::INFINITY)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn trees_on_drawn_rows_equal_those_on_the_whole_table(
        cells in prop::collection::vec(value(), 150 * 6), d in 1_usize..7, n in 1_usize..150, seed: u32,
        n_trees in 1_usize..9, max_samples in prop_oneof![Just(1.0), Just(0.0), 0.0..1.0_f64, 0.0..0.1_f64],
        form in prop::sample::select(FORMS.to_vec()), workers in 1_usize..4, is_added in prop::collection::vec(any::<bool>(), 150),
    ) {
        let table = Table::new(Array2::from_shape_vec((n, d), cells[..n * d].to_vec()).unwrap());
        let params = Params {
            max_samples: ((n as f64 * max_samples) as usize).max(1),
            max_features: 1 + seed as usize % d,
            bootstrap: seed.is_multiple_of(2),
        };
        let seeds = streams::tree_seeds(seed, 0, n_trees);
        let mut rows = drawn_rows(n, d, &seeds, params);
        check(&table, form, &rows, &seeds, params, workers);
        // Rows that no tree draws change nothing.
        rows.extend((0..n).filter(|&row| is_added[row]));
        rows.sort_unstable();
        rows.dedup();
        check(&table, form, &rows, &seeds, params, workers);
    }
}

/// Trees read the cells of the whole table where they are, and the cells of the drawn rows from a copy.
#[test]
fn trees_on_few_drawn_rows_of_a_large_table_equal_those_on_the_whole() {
    let noise = streams::noise_target(3, 20_000 * 4, 1).unwrap();
    let table = Table::new(Array2::from_shape_fn((20_000, 4), |(i, j)| match noise[4 * i + j] {
        u if u < 0.2 => 0.0,
        u if j == 1 => (8.0 * u).floor(),
        u => u.ln(),
    }));
    for (max_samples, bootstrap) in [(64, false), (64, true), (256, false)] {
        let params = Params {
            max_samples,
            max_features: 3,
            bootstrap,
        };
        let seeds = streams::tree_seeds(max_samples as u32, 0, 30);
        let rows = drawn_rows(20_000, 4, &seeds, params);
        assert!(rows.len() < 8_000);
        for form in FORMS {
            for workers in 1..4 {
                check(&table, form, &rows, &seeds, params, workers);
            }
        }
    }
}

#[test]
fn rows_that_are_not_the_drawn_ones_are_refused() {
    let table = Table::new(Array2::from_shape_fn((40, 2), |(i, j)| (i * 7 % 40 + j) as f64));
    let params = Params {
        max_samples: 5,
        max_features: 2,
        bootstrap: false,
    };
    let seeds = [3, 4];
    let rows = drawn_rows(40, 2, &seeds, params);
    let grow = |rows: &[usize], fetched: &[usize], n_samples| {
        let selected = table.select(fetched);
        let origin = Origin { n_samples, rows };
        grow_on_drawn_rows(
            &selected.input(Form::F64),
            origin,
            NoiseTarget::Seed(1),
            &seeds,
            params,
            2,
        )
    };
    grow(&rows, &rows, 40).unwrap();
    for i in 0..rows.len() {
        let mut missing = rows.clone();
        let row = missing.remove(i);
        let error = grow(&missing, &missing, 40).unwrap_err();
        assert!(
            matches!(&error, Error::Partitions(text) if text.contains(&format!("row {row},"))),
            "{error}"
        );
        let mut repeated = rows.clone();
        repeated.insert(i, row);
        assert!(matches!(grow(&repeated, &repeated, 40), Err(Error::Partitions(_))));
        if i > 0 {
            let mut unordered = rows.clone();
            unordered.swap(i - 1, i);
            assert!(matches!(grow(&unordered, &unordered, 40), Err(Error::Partitions(_))));
        }
    }
    for wrong in [40, 41, usize::MAX] {
        let mut too_large = rows.clone();
        too_large.push(wrong);
        let fetched = [rows.as_slice(), &[0]].concat();
        assert!(
            matches!(grow(&too_large, &fetched, 40), Err(Error::Partitions(_))),
            "{wrong}"
        );
    }
    // There must be as many row numbers as rows.
    assert!(matches!(grow(&rows, &rows[1..], 40), Err(Error::RowCount { .. })));
    assert!(matches!(grow(&rows[1..], &rows, 40), Err(Error::RowCount { .. })));
    assert!(matches!(grow(&[], &[], 40), Err(Error::Partitions(_))));
    assert!(matches!(grow(&[], &[], 0), Err(Error::Parameter { .. })));
    assert!(matches!(grow(&[0, 1], &[0, 1], 4), Err(Error::Parameter { .. })));
}

#[test]
fn a_drawn_noise_target_has_one_value_for_each_drawn_row() {
    let table = Table::new(Array2::from_shape_fn((40, 2), |(i, j)| (i * 7 % 40 + j) as f64));
    let params = Params {
        max_samples: 5,
        max_features: 1,
        bootstrap: true,
    };
    let rows = drawn_rows(40, 2, &[3], params);
    let selected = table.select(&rows);
    let noise = streams::noise_target(1, 40, 1).unwrap();
    let origin = Origin {
        n_samples: 40,
        rows: &rows,
    };
    for wrong in [0, rows.len() - 1, rows.len() + 1, 40] {
        let noise = NoiseTarget::Drawn(&noise[..wrong]);
        let error = grow_on_drawn_rows(&selected.input(Form::F64), origin, noise, &[3], params, 1).unwrap_err();
        assert!(matches!(error, Error::RowCount { .. }), "{error}");
    }
    // A forest without trees needs no rows.
    let none = table.select(&[]);
    let nothing = Origin {
        n_samples: 40,
        rows: &[],
    };
    let actual = grow_on_drawn_rows(&none.input(Form::F64), nothing, NoiseTarget::Seed(1), &[], params, 1);
    let whole = grow(
        &table.input(Form::F64),
        NoiseTarget::Seed(1),
        &[],
        params,
        None,
        None,
        1,
    );
    assert_eq!(actual, whole);
}
