//! Tests of properties that hold for forests grown on any data, in any layout, by any number of workers.

use isoxide::error::Error;
use isoxide::forest::{Forest, Node, path_length};
use isoxide::grow::{NoiseTarget, Params, grow};
use isoxide::matrix::{Column, Input, Matrix};
use isoxide::random::streams;
use isoxide::score::{self, Scorer};
use isoxide::simd::Choice;
use ndarray::{Array2, ArrayView1, Axis};
use proptest::prelude::*;

/// Draws values that often reveal defects: ties, zeros of both signs, NaN and infinities, and ordinary numbers.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => Just(0.0),
        1 => Just(-0.0),
        1 => Just(f64::NAN),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1e300)],
        4 => (0_i32..5).prop_map(f64::from),
        4 => -1e3..1e3_f64,
    ]
}

fn table() -> impl Strategy<Value = Array2<f64>> {
    (1_usize..80, 1_usize..7).prop_flat_map(|(n, d)| {
        prop::collection::vec(value(), n * d).prop_map(move |values| Array2::from_shape_vec((n, d), values).unwrap())
    })
}

fn dense(x: &Array2<f64>) -> Input<'_> {
    Input::Dense(Matrix::from_f64(x.view()))
}

fn grown(x: &Array2<f64>, seed: u32, workers: usize) -> Forest {
    let (n, d) = x.dim();
    let params = Params {
        max_samples: n.min(1 + seed as usize % 40),
        max_features: 1 + seed as usize % d,
        bootstrap: seed.is_multiple_of(2),
    };
    let y = streams::noise_target(seed, n, 1).unwrap();
    let seeds = streams::tree_seeds(seed, 0, 7);
    grow(&dense(x), NoiseTarget::Drawn(&y), &seeds, params, None, None, workers).unwrap()
}

/// Walks one row down one tree by the definition.
fn path_length_of(row: &ArrayView1<'_, f64>, tree: &[Node], features: &[u32]) -> f64 {
    let (mut index, mut depth) = (0, 0);
    while !tree[index].is_leaf() {
        let node = &tree[index];
        let v = row[features[node.feature as usize] as usize] as f32;
        let left = if v.is_nan() {
            node.missing_go_to_left
        } else {
            f64::from(v) <= node.threshold
        };
        index = if left { index + 1 } else { node.right as usize };
        depth += 1;
    }
    path_length::leaf_value(depth, path_length::average_path_length(tree[index].n_node_samples))
}

proptest! {
    #[test]
    fn sums_equal_the_definition_for_any_workers_layout_and_kernel(x in table(), seed: u32) {
        let (n, d) = x.dim();
        let forest = grown(&x, seed, 1);
        prop_assert_eq!(&grown(&x, seed, 4), &forest);
        let c = path_length::table(n as u32);
        let scorer = Scorer::new(forest.clone(), c.clone()).unwrap();
        let sums = scorer.path_length_sums(&dense(&x), 1).unwrap();
        for (i, &sum) in sums.iter().enumerate() {
            let paths = (0..forest.n_trees()).map(|t| path_length_of(&x.row(i), forest.tree(t), forest.tree_features(t)));
            prop_assert_eq!(sum, paths.fold(0.0, |total, path| total + path));
        }
        let reversed = x.t().as_standard_layout().into_owned().reversed_axes();
        let floats = x.mapv(|v| v as f32);
        let columns = x.axis_iter(Axis(1)).map(Column::F64).collect();
        let layouts = [
            Matrix::from_f64(reversed.view()),
            Matrix::from_f32(floats.view()),
            Matrix::from_columns(columns).unwrap(),
        ];
        for matrix in layouts {
            prop_assert_eq!((matrix.n_rows(), matrix.n_columns()), (n, d));
            let input = Input::Dense(matrix);
            prop_assert_eq!(&scorer.path_length_sums(&input, 3).unwrap(), &sums);
            for kernel in Choice::all() {
                prop_assert_eq!(&scorer.path_length_sums_with(&input, 2, score::Strategy::Plan, kernel).unwrap(), &sums);
            }
        }
    }

    #[test]
    fn every_training_row_ends_in_a_leaf_of_its_tree(x in table(), seed: u32) {
        let forest = grown(&x, seed, 1);
        for t in 0..forest.n_trees() {
            let tree = forest.tree(t);
            let leaves: u32 = tree.iter().filter(|node| node.is_leaf()).map(|leaf| leaf.n_node_samples).sum();
            prop_assert_eq!(leaves, tree[0].n_node_samples);
            prop_assert!(tree.iter().all(|node| node.n_node_samples > 0));
        }
    }

    #[test]
    fn a_forest_grown_in_two_calls_equals_one_grown_in_one(x in table(), seed: u32, first in 1_usize..6) {
        let n = x.nrows();
        let matrix = dense(&x);
        let params = Params { max_samples: n, max_features: 1, bootstrap: false };
        let y = streams::noise_target(seed, n, 1).unwrap();
        let whole = grow(&matrix, NoiseTarget::Drawn(&y), &streams::tree_seeds(seed, 0, 7), params, None, None, 2).unwrap();
        let start = grow(&matrix, NoiseTarget::Drawn(&y), &streams::tree_seeds(seed, 0, first), params, None, None, 2).unwrap();
        let added = streams::tree_seeds(seed, first, 7 - first);
        prop_assert_eq!(grow(&matrix, NoiseTarget::Drawn(&y), &added, params, None, Some(&start), 2).unwrap(), whole);
    }
}

#[test]
fn tables_and_parameters_that_do_not_fit_the_forest_are_refused() {
    let x = Array2::from_shape_fn((10, 3), |(i, j)| (i * j) as f64);
    let matrix = dense(&x);
    let params = Params {
        max_samples: 10,
        max_features: 3,
        bootstrap: false,
    };
    let y = streams::noise_target(0, 10, 1).unwrap();
    let forest = grow(&matrix, NoiseTarget::Drawn(&y), &[1], params, None, None, 1).unwrap();
    let narrow = x.select(Axis(1), &[0, 1]);
    let narrow = dense(&narrow);
    let wrong_width = Error::ColumnCount { actual: 2, expected: 3 };
    let scorer = Scorer::new(forest.clone(), path_length::table(10)).unwrap();
    assert_eq!(scorer.path_length_sums(&narrow, 1).unwrap_err(), wrong_width);
    let two_features = Params {
        max_features: 2,
        ..params
    };
    assert_eq!(
        grow(
            &narrow,
            NoiseTarget::Drawn(&y),
            &[1],
            two_features,
            None,
            Some(&forest),
            1
        )
        .unwrap_err(),
        wrong_width
    );
    assert!(matches!(
        grow(&matrix, NoiseTarget::Drawn(&y[1..]), &[1], params, None, None, 1).unwrap_err(),
        Error::RowCount {
            actual: 9,
            expected: 10,
            ..
        }
    ));
    assert!(Scorer::new(forest.clone(), vec![0.0]).is_err());
    let none = Params {
        max_samples: 0,
        ..params
    };
    let message = grow(&matrix, NoiseTarget::Drawn(&y), &[1], none, None, None, 1)
        .unwrap_err()
        .to_string();
    assert_eq!(message, "max_samples must be in [1, 10], got 0");
    assert!(matches!(
        grow(&matrix, NoiseTarget::Drawn(&y), &[], params, None, None, 1).unwrap_err(),
        Error::Forest(_)
    ));
}
