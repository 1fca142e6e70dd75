//! Tests of properties that hold for any sparse input and any weights.

use std::collections::HashSet;

use isoxide::forest::path_length;
use isoxide::grow::{NoiseTarget, Params, grow};
use isoxide::matrix::csr::{Csr, Indices, StoredValues};
use isoxide::matrix::{Input, Matrix};
use isoxide::random::Mt19937;
use isoxide::random::sampling::Weights;
use isoxide::random::streams;
use isoxide::score::Scorer;
use ndarray::Array2;
use proptest::prelude::*;

/// A table that is mostly zero, and its compressed rows.
#[derive(Debug)]
struct Table {
    dense: Array2<f64>,
    starts: Vec<i32>,
    columns: Vec<i32>,
    values: Vec<f64>,
}

impl Table {
    fn new(dense: Array2<f64>) -> Self {
        let (mut starts, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for row in dense.rows() {
            for (j, &v) in row.iter().enumerate() {
                if v != 0.0 {
                    columns.push(j as i32);
                    values.push(v);
                }
            }
            starts.push(values.len() as i32);
        }
        Self {
            dense,
            starts,
            columns,
            values,
        }
    }

    fn csr(&self) -> Csr<'_> {
        Csr::new(
            Indices::I32(&self.starts),
            Indices::I32(&self.columns),
            StoredValues::F64(&self.values),
            self.dense.ncols(),
        )
        .unwrap()
    }
}

fn table() -> impl Strategy<Value = Table> {
    let value = prop_oneof![5 => Just(0.0), 2 => (-3_i32..4).prop_map(f64::from), 1 => -1e3..1e3_f64];
    (1_usize..70, 1_usize..9).prop_flat_map(move |(n, d)| {
        prop::collection::vec(value.clone(), n * d)
            .prop_map(move |values| Table::new(Array2::from_shape_vec((n, d), values).unwrap()))
    })
}

proptest! {
    #[test]
    fn a_forest_scores_sparse_rows_as_it_scores_dense_ones(table in table(), seed: u32) {
        let n = table.dense.nrows();
        let params = Params { max_samples: n, max_features: table.dense.ncols(), bootstrap: seed.is_multiple_of(2) };
        let y = streams::noise_target(seed, n, 1).unwrap();
        let (sparse, dense) = (Input::Sparse(table.csr()), Input::Dense(Matrix::from_f64(table.dense.view())));
        let seeds = streams::tree_seeds(seed, 0, 5);
        let forest = grow(&sparse, NoiseTarget::Drawn(&y), &seeds, params, None, None, 1).unwrap();
        prop_assert_eq!(&grow(&sparse, NoiseTarget::Drawn(&y), &seeds, params, None, None, 3).unwrap(), &forest);
        let scorer = Scorer::new(forest.clone(), path_length::table(n as u32)).unwrap();
        let sums = scorer.path_length_sums(&sparse, 1).unwrap();
        prop_assert_eq!(&scorer.path_length_sums(&dense, 2).unwrap(), &sums);
        prop_assert_eq!(&scorer.path_length_sums(&sparse, 3).unwrap(), &sums);
    }

    #[test]
    fn any_arrays_are_refused_or_make_a_valid_sparse_matrix(
        starts in prop::collection::vec(-2_i64..12, 0..6),
        columns in prop::collection::vec(-2_i64..6, 0..12),
        values in prop::collection::vec(any::<f32>(), 0..12),
        n_columns in 0_usize..6,
    ) {
        let matrix = Csr::new(Indices::I64(&starts), Indices::I64(&columns), StoredValues::F32(&values), n_columns);
        if let Ok(matrix) = matrix {
            for row in 0..matrix.n_rows() {
                prop_assert!(matrix.row(row).all(|(column, _)| column < n_columns));
            }
        }
    }

    #[test]
    fn weighted_draws_never_draw_an_index_of_weight_zero(
        weights in prop::collection::vec(prop_oneof![Just(0.0), 0.0..1.0_f64], 1..60),
        seed: u32,
        k in 1_usize..60,
    ) {
        let total: f64 = weights.iter().sum();
        prop_assume!(total > 0.0);
        let sampler = Weights::new(weights.iter().map(|w| w / total).collect()).unwrap();
        let repeated = sampler.with_replacement(&mut Mt19937::new(seed), k).unwrap();
        prop_assert_eq!(repeated.len(), k);
        prop_assert!(repeated.iter().all(|&i| weights[i] > 0.0));
        let n_possible = weights.iter().filter(|&&w| w > 0.0).count();
        prop_assert_eq!(sampler.check(k).is_ok(), k <= n_possible);
        if k <= n_possible {
            let different = sampler.without_replacement(&mut Mt19937::new(seed), k).unwrap();
            prop_assert!(different.iter().all(|&i| weights[i] > 0.0));
            prop_assert_eq!(different.iter().collect::<HashSet<_>>().len(), k);
        }
    }
}

#[test]
fn impossible_weights_are_refused() {
    for weights in [
        vec![],
        vec![0.0, 0.0],
        vec![-1.0, 2.0],
        vec![f64::NAN, 1.0],
        vec![f64::INFINITY],
    ] {
        assert!(Weights::new(weights).is_err());
    }
}
