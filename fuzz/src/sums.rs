//! Compares the sums of path lengths of every strategy and kernel with the definition.

use isoxide::forest::{Forest, path_length::leaf_value};
use isoxide::matrix::Input;
use isoxide::score::{Scorer, Strategy};
use isoxide::simd::Choice;

/// Sums the path lengths of one row as the definition does, node by node.
fn sum_of(scorer: &Scorer, sparse: bool, value: impl Fn(usize) -> f32) -> f64 {
    let forest: &Forest = scorer.forest();
    (0..forest.n_trees()).fold(0.0, |sum, t| {
        let (tree, features) = (forest.tree(t), forest.tree_features(t));
        let (mut index, mut depth) = (0, 0);
        while !tree[index].is_leaf() {
            let node = &tree[index];
            let v = value(features[node.feature as usize] as usize);
            let left = if v.is_nan() {
                node.missing_go_to_left && !sparse
            } else {
                f64::from(v) <= node.threshold
            };
            index = if left { index + 1 } else { node.right as usize };
            depth += 1;
        }
        sum + leaf_value(
            depth,
            scorer.average_path_lengths()[tree[index].n_node_samples as usize],
        )
    })
}

/// Returns the bits of sums. All NaN have the same bits, because additions do not define which NaN results.
fn bits(sums: &[f64]) -> Vec<u64> {
    let bits_of = |sum: &f64| if sum.is_nan() { f64::NAN } else { *sum }.to_bits();
    sums.iter().map(bits_of).collect()
}

/// Checks the sums; `value` returns the cell of a row and column.
pub fn check(scorer: &Scorer, x: &Input<'_>, value: impl Fn(usize, usize) -> f32) {
    let sparse = matches!(x, Input::Sparse(_));
    let expected: Vec<f64> = (0..x.n_rows())
        .map(|row| sum_of(scorer, sparse, |column| value(row, column)))
        .collect();
    let expected = bits(&expected);
    let assert_same = |sums: &[f64], label: &str| {
        let wrong = bits(sums).iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!((sums.len(), wrong), (expected.len(), None), "{label}");
    };
    assert_same(
        &scorer.path_length_sums(x, 1).unwrap(),
        "the strategy that the scorer chooses",
    );
    assert_same(
        &scorer
            .path_length_sums_with(x, 2, Strategy::Walk, Choice::get())
            .unwrap(),
        "walk",
    );
    for kernel in Choice::all() {
        assert_same(
            &scorer.path_length_sums_with(x, 1, Strategy::Plan, kernel).unwrap(),
            kernel.name(),
        );
    }
    assert_same(
        &scorer.path_length_sums(x, 2).unwrap(),
        "the strategy that the scorer chooses once a plan exists",
    );
}
