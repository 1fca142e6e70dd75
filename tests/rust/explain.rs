//! Tests that Shapley values follow their definition and do not depend on kernels, threads, blocks or layouts.

use isoxide::error::Error;
use isoxide::explain::{Explainer, Order, TopValues};
use isoxide::forest::{Forest, LEAF, Node, NodeNoise, Tree, path_length};
use isoxide::grow::{NoiseTarget, Params, grow};
use isoxide::matrix::csr::{Csr, Indices, StoredValues};
use isoxide::matrix::{Column, Input, Matrix};
use isoxide::random::streams;
use isoxide::score::Scorer;
use isoxide::simd::Choice;
use ndarray::{Array2, Axis};
use proptest::prelude::*;
use rand_mt::Mt64;
use serde_json::Value;

use crate::common::{bits, integers, load, numbers};

const GOLDEN: [&str; 9] = [
    "bootstrap",
    "constant",
    "counts",
    "gaussian",
    "max_features",
    "missing",
    "one_column",
    "repeated_deep",
    "weights",
];

/// Reads rows in which null is NaN.
fn rows(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = (value.as_array().unwrap().iter())
        .map(|row| {
            row.as_array()
                .unwrap()
                .iter()
                .map(|cell| cell.as_f64().unwrap_or(f64::NAN))
                .collect()
        })
        .collect();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

/// Reads a tree with the arrays of scikit-learn.
fn tree(value: &Value) -> Tree {
    let (left, right) = (integers::<i64>(&value["left"]), integers::<i64>(&value["right"]));
    let (feature, threshold) = (integers::<i64>(&value["feature"]), numbers(&value["threshold"]));
    let (n, weight) = (
        integers(&value["n_node_samples"]),
        numbers(&value["weighted_n_node_samples"]),
    );
    let missing = integers::<u8>(&value["missing_go_to_left"]);
    let node = |i: usize| {
        if left[i] < 0 {
            return Node::leaf(n[i]);
        }
        assert_eq!(left[i], i as i64 + 1);
        Node {
            threshold: threshold[i],
            feature: feature[i] as u32,
            right: right[i] as u32,
            n_node_samples: n[i],
            missing_go_to_left: missing[i] != 0,
        }
    };
    Tree {
        features: integers(&value["features"]),
        nodes: (0..left.len()).map(node).collect(),
        noise: weight.into_iter().map(noise).collect(),
    }
}

fn noise(weight: f64) -> NodeNoise {
    NodeNoise {
        impurity: 0.0,
        mean: 0.0,
        weight,
    }
}

fn explainer(forest: &Forest) -> Explainer {
    Explainer::new(forest.clone(), path_length::table(forest.largest_node())).unwrap()
}

fn dense(x: &Array2<f64>) -> Input<'_> {
    Input::Dense(Matrix::from_f64(x.view()))
}

fn assert_close(actual: f64, expected: f64, tolerance: f64) {
    let error = (actual - expected).abs();
    assert!(
        error <= tolerance * expected.abs().max(1.0),
        "{actual} is not {expected}, off by {error:e}"
    );
}

#[test]
fn golden_values_are_met() {
    for name in GOLDEN {
        let golden = load(&format!("shapley/{name}"));
        let x = rows(&golden["X"]);
        let trees = golden["trees"].as_array().unwrap().iter().map(tree).collect();
        let forest = Forest::from_trees(x.ncols(), None, trees).unwrap();
        let explainer = explainer(&forest);
        let expected_value = explainer.expected_value().unwrap();
        assert_close(expected_value, golden["expected_value"].as_f64().unwrap(), 1e-12);
        for kernel in Choice::all() {
            let values = explainer.shap_values_with(&dense(&x), 1, kernel).unwrap();
            for (&actual, &expected) in values.iter().zip(&rows(&golden["values"])) {
                assert_close(actual, expected, 1e-12);
            }
            let lengths = numbers(&golden["mean_path_length"]);
            for (row, length) in values.chunks(x.ncols()).zip(lengths) {
                assert_close(expected_value + row.iter().sum::<f64>(), length, 1e-12);
            }
        }
    }
}

/// Random numbers for forests and tables.
struct Random(Mt64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    /// Draws from a grid, so that values and thresholds are often equal.
    fn value(&mut self) -> f64 {
        self.below(9) as f64 / 4.0 - 1.0
    }

    fn table(&mut self, n_rows: usize, n_columns: usize, missing: usize) -> Array2<f64> {
        Array2::from_shape_simple_fn((n_rows, n_columns), || {
            if self.below(100) < missing {
                f64::NAN
            } else {
                self.value()
            }
        })
    }

    /// Draws a tree with some leaves over all columns. Rows may be drawn more than once, so weights differ from numbers of rows.
    fn tree(&mut self, n_columns: usize, n_leaves: usize) -> Tree {
        let mut tree = Tree {
            features: (0..n_columns as u32).collect(),
            nodes: Vec::new(),
            noise: Vec::new(),
        };
        self.subtree(&mut tree, n_columns, n_leaves);
        tree
    }

    fn subtree(&mut self, tree: &mut Tree, n_columns: usize, n_leaves: usize) {
        let index = tree.nodes.len();
        if n_leaves == 1 {
            let n = 1 + self.below(20) as u32;
            tree.nodes.push(Node::leaf(n));
            tree.noise.push(noise(f64::from(n) + self.below(3) as f64));
            return;
        }
        tree.nodes.push(Node::leaf(0));
        tree.noise.push(noise(0.0));
        // Long chains are as likely as balanced trees.
        let n_left = match self.below(3) {
            0 => 1,
            1 => n_leaves - 1,
            _ => 1 + self.below(n_leaves - 1),
        };
        self.subtree(tree, n_columns, n_left);
        let right = tree.nodes.len();
        self.subtree(tree, n_columns, n_leaves - n_left);
        tree.nodes[index] = Node {
            threshold: self.value(),
            feature: self.below(n_columns) as u32,
            right: right as u32,
            n_node_samples: tree.nodes[index + 1].n_node_samples + tree.nodes[right].n_node_samples,
            missing_go_to_left: self.below(2) == 0,
        };
        tree.noise[index].weight = tree.noise[index + 1].weight + tree.noise[right].weight;
    }

    fn forest(&mut self, n_columns: usize, n_trees: usize, n_leaves: usize) -> Forest {
        let trees = (0..n_trees).map(|_| {
            let n_leaves = 1 + self.below(n_leaves);
            self.tree(n_columns, n_leaves)
        });
        Forest::from_trees(n_columns, None, trees.collect()).unwrap()
    }
}

/// Returns the path length that is expected below a node when only the columns of a coalition (bits) are known.
fn expectation(forest: &Forest, tree: usize, at: usize, depth: u32, row: &[f32], coalition: usize) -> f64 {
    let node = forest.tree(tree)[at];
    if node.feature == LEAF {
        return path_length::leaf_value(depth, path_length::average_path_length(node.n_node_samples));
    }
    let column = forest.tree_features(tree)[node.feature as usize] as usize;
    let children = [at + 1, node.right as usize];
    let below = |child: usize| expectation(forest, tree, child, depth + 1, row, coalition);
    if coalition >> column & 1 == 1 {
        let value = row[column];
        let left = f64::from(value) <= node.threshold || (value.is_nan() && node.missing_go_to_left);
        return below(children[usize::from(!left)]);
    }
    let cover = |node: usize| forest.tree_noise(tree)[node].weight;
    children
        .into_iter()
        .map(|child| cover(child) / cover(at) * below(child))
        .sum()
}

/// Returns the Shapley values of a row by their definition: over all coalitions.
fn brute_force(forest: &Forest, row: &[f32]) -> Vec<f64> {
    let d = row.len();
    let value = |coalition: usize| {
        let trees = 0..forest.n_trees();
        trees
            .map(|tree| expectation(forest, tree, 0, 0, row, coalition))
            .sum::<f64>()
            / forest.n_trees() as f64
    };
    let values: Vec<f64> = (0..1 << d).map(value).collect();
    let factorial = |n: usize| (1..=n).map(|i| i as f64).product::<f64>();
    let phi = |column: usize| {
        let without = (0..1_usize << d).filter(|coalition| coalition >> column & 1 == 0);
        let gains = without.map(|coalition| {
            let size = coalition.count_ones() as usize;
            let weight = factorial(size) * factorial(d - size - 1) / factorial(d);
            weight * (values[coalition | 1 << column] - values[coalition])
        });
        gains.sum()
    };
    (0..d).map(phi).collect()
}

fn check_definition(forest: &Forest, x: &Array2<f64>) {
    let explainer = explainer(forest);
    let values = explainer.shap_values(&dense(x), 1).unwrap();
    let scorer = Scorer::new(forest.clone(), path_length::table(forest.largest_node())).unwrap();
    let sums = scorer.path_length_sums(&dense(x), 1).unwrap();
    for ((row, values), sum) in x.rows().into_iter().zip(values.chunks(x.ncols())).zip(sums) {
        let row: Vec<f32> = row.iter().map(|&cell| cell as f32).collect();
        for (&actual, expected) in values.iter().zip(brute_force(forest, &row)) {
            assert_close(actual, expected, 1e-12);
        }
        let total = explainer.expected_value().unwrap() + values.iter().sum::<f64>();
        assert_close(total, sum / forest.n_trees() as f64, 1e-12);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn values_of_grown_forests_follow_the_definition(
        n_columns in 1..6_usize,
        n_rows in 1..40_usize,
        max_features in 1..6_usize,
        bootstrap: bool,
        missing in prop::sample::select(vec![0, 0, 30]),
        seed: u64,
    ) {
        let mut random = Random(Mt64::new(seed));
        let x = random.table(n_rows, n_columns, missing);
        let max_features = max_features.min(n_columns);
        let params = Params { max_samples: n_rows, max_features, bootstrap };
        let seeds = streams::tree_seeds(seed as u32, 0, 3);
        let forest = grow(&dense(&x), NoiseTarget::Seed(0), &seeds, params, None, None, 1).unwrap();
        check_definition(&forest, &random.table(3, n_columns, missing));
    }

    #[test]
    fn values_of_any_trees_follow_the_definition(n_columns in 1..8_usize, n_leaves in 1..24_usize, seed: u64) {
        let mut random = Random(Mt64::new(seed));
        let forest = random.forest(n_columns, 2, n_leaves);
        check_definition(&forest, &random.table(3, n_columns, 10));
    }

    #[test]
    fn values_have_the_same_bits_on_every_kernel_and_in_every_division(
        n_columns in 1..30_usize,
        n_leaves in 1..64_usize,
        n_rows in prop::sample::select(vec![1, 3, 9, 40, 300, 530]),
        missing in prop::sample::select(vec![0, 5]),
        seed: u64,
    ) {
        let mut random = Random(Mt64::new(seed));
        let forest = random.forest(n_columns, 3, n_leaves);
        let explainer = explainer(&forest);
        let x = random.table(n_rows, n_columns, missing);
        let expected = bits(&explainer.shap_values_with(&dense(&x), 1, Choice::by_name("portable").unwrap()).unwrap());
        for kernel in Choice::all() {
            for workers in [1, 3] {
                let values = explainer.shap_values_with(&dense(&x), workers, kernel).unwrap();
                prop_assert_eq!(&bits(&values), &expected, "{} with {} workers", kernel.name(), workers);
            }
        }
        let by_column = x.t().as_standard_layout().into_owned().reversed_axes();
        let single = x.mapv(|cell| cell as f32);
        let columns = by_column.axis_iter(Axis(1)).map(Column::F64).collect();
        let other_inputs = [
            Matrix::from_f64(by_column.view()),
            Matrix::from_f32(single.view()),
            Matrix::from_columns(columns).unwrap(),
        ];
        for input in other_inputs {
            prop_assert_eq!(&bits(&explainer.shap_values(&Input::Dense(input), 1).unwrap()), &expected);
        }
        let cut = random.below(n_rows + 1);
        let (upper, lower) = x.view().split_at(Axis(0), cut);
        let mut parts = explainer.shap_values(&Input::Dense(Matrix::from_f64(upper)), 2).unwrap();
        parts.extend(explainer.shap_values(&Input::Dense(Matrix::from_f64(lower)), 2).unwrap());
        prop_assert_eq!(&bits(&parts), &expected);
    }

    #[test]
    fn permuted_columns_have_permuted_values(n_columns in 1..8_usize, seed: u64) {
        let mut random = Random(Mt64::new(seed));
        let trees: Vec<Tree> = (0..3).map(|_| random.tree(n_columns, 20)).collect();
        let mut order: Vec<u32> = (0..n_columns as u32).collect();
        for i in (1..n_columns).rev() {
            order.swap(i, random.below(i + 1));
        }
        let permuted = trees.iter().map(|tree| Tree { features: order.clone(), ..tree.clone() }).collect();
        let forests = [trees, permuted].map(|trees| Forest::from_trees(n_columns, None, trees).unwrap());
        let x = random.table(5, n_columns, 10);
        let mut permuted_x = x.clone();
        for (column, &position) in order.iter().enumerate() {
            permuted_x.column_mut(position as usize).assign(&x.column(column));
        }
        let values = explainer(&forests[0]).shap_values(&dense(&x), 1).unwrap();
        let permuted_values = explainer(&forests[1]).shap_values(&dense(&permuted_x), 1).unwrap();
        for (row, permuted_row) in values.chunks(n_columns).zip(permuted_values.chunks(n_columns)) {
            for (column, &position) in order.iter().enumerate() {
                prop_assert_eq!(permuted_row[position as usize].to_bits(), row[column].to_bits());
            }
        }
    }

    #[test]
    fn sparse_rows_are_explained_as_dense_ones(n_columns in 1..20_usize, n_rows in 1..40_usize, seed: u64) {
        let mut random = Random(Mt64::new(seed));
        let forest = random.forest(n_columns, 3, 30);
        let explainer = explainer(&forest);
        let x = random.table(n_rows, n_columns, 0).mapv(|cell| if cell > 0.2 { cell } else { 0.0 });
        let (mut starts, mut columns, mut stored) = (vec![0_i32], Vec::new(), Vec::new());
        for row in x.rows() {
            for (column, &cell) in row.iter().enumerate() {
                if cell != 0.0 {
                    columns.push(column as i32);
                    stored.push(cell);
                }
            }
            starts.push(columns.len() as i32);
        }
        let sparse = |stored| {
            let values = StoredValues::F64(stored);
            Input::Sparse(Csr::new(Indices::I32(&starts), Indices::I32(&columns), values, n_columns).unwrap())
        };
        let expected = explainer.shap_values(&dense(&x), 1).unwrap();
        prop_assert_eq!(bits(&explainer.shap_values(&sparse(&stored), 1).unwrap()), bits(&expected));
        // Missing values of sparse rows go right at every split, as infinity does.
        let infinite = x.mapv(|cell| if cell == 0.0 { 0.0 } else { f64::INFINITY });
        let expected = explainer.shap_values(&dense(&infinite), 1).unwrap();
        let missing = vec![f64::NAN; stored.len()];
        prop_assert_eq!(bits(&explainer.shap_values(&sparse(&missing), 1).unwrap()), bits(&expected));
    }

    #[test]
    fn the_first_values_and_the_sums_are_those_of_all_values(
        n_columns in 1..20_usize,
        n_leaves in 1..20_usize,
        n_rows in prop::sample::select(vec![0, 1, 20, 290]),
        seed: u64,
    ) {
        let mut random = Random(Mt64::new(seed));
        // Some columns are in no split.
        let forest = random.forest(n_columns, 2, n_leaves);
        let explainer = explainer(&forest);
        let x = random.table(n_rows, n_columns, 0);
        let values = explainer.shap_values(&dense(&x), 1).unwrap();
        let top = 1 + random.below(n_columns);
        for order in [Order::Magnitude, Order::MostNegative] {
            let (mut columns, mut top_values) = (vec![-1; n_rows * top], vec![f64::NAN; n_rows * top]);
            let mut negative_sums = vec![f64::NAN; n_rows];
            let out = TopValues { columns: &mut columns, values: &mut top_values, negative_sums: &mut negative_sums };
            explainer.write_top_shap_values(&dense(&x), top, order, 2, out).unwrap();
            for (i, row) in values.chunks(n_columns).enumerate() {
                let sum = row.iter().fold(0.0, |sum, value| sum + value.min(0.0));
                prop_assert_eq!(negative_sums[i].to_bits(), f64::to_bits(sum));
                let mut expected: Vec<usize> = (0..n_columns).collect();
                let key = |&column: &usize| match order {
                    Order::Magnitude => -row[column].abs(),
                    Order::MostNegative => row[column],
                };
                expected.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap());
                for (k, &column) in expected[..top].iter().enumerate() {
                    prop_assert_eq!(columns[i * top + k], column as i64);
                    prop_assert_eq!(top_values[i * top + k].to_bits(), row[column].to_bits());
                }
            }
        }
        let sums = explainer.magnitude_sums(&dense(&x), 2).unwrap();
        for column in 0..n_columns {
            let magnitudes = values.chunks(n_columns).map(|row| (row[column].abs() * 80_f64.exp2()) as u128);
            prop_assert_eq!(sums.columns()[column], magnitudes.sum::<u128>());
        }
    }
}

/// A tree in which each split by one of two columns has a leaf.
fn chain(depth: u32) -> Tree {
    let mut tree = Tree {
        features: vec![0, 1],
        nodes: Vec::new(),
        noise: Vec::new(),
    };
    for i in 0..depth {
        tree.nodes.push(Node {
            threshold: f64::from(i),
            feature: i % 2,
            right: 0,
            n_node_samples: depth + 1 - i,
            missing_go_to_left: false,
        });
    }
    for i in (0..=depth).rev() {
        tree.nodes.push(Node::leaf(1));
        if i > 0 {
            tree.nodes[i as usize - 1].right = tree.nodes.len() as u32;
        }
    }
    tree.noise = tree
        .nodes
        .iter()
        .map(|node| noise(f64::from(node.n_node_samples)))
        .collect();
    tree
}

#[test]
fn deep_trees_are_explained_and_deeper_ones_refused() {
    for depth in [1, 60, 64] {
        let forest = Forest::from_trees(2, None, vec![chain(depth)]).unwrap();
        check_definition(
            &forest,
            &ndarray::array![[0.5, 0.5], [70.0, -1.0], [-1.0, 70.0], [10.0, 5.5]],
        );
    }
    let forest = Forest::from_trees(2, None, vec![chain(65)]).unwrap();
    let refusal = explainer(&forest)
        .shap_values(&dense(&ndarray::array![[0.5, 0.5]]), 1)
        .unwrap_err();
    assert!(refusal.to_string().contains("tree 0: it is 65 deep"), "{refusal}");
}

#[test]
fn a_path_of_many_columns_is_exact() {
    // A chain over 64 columns needs the largest rule.
    let depth = 64_u32;
    let mut tree = chain(depth);
    tree.features = (0..depth).collect();
    for (i, node) in tree.nodes[..depth as usize].iter_mut().enumerate() {
        node.feature = i as u32;
    }
    let forest = Forest::from_trees(depth as usize, None, vec![tree]).unwrap();
    let explainer = explainer(&forest);
    let x = Array2::from_elem((1, depth as usize), -1.0);
    let values = explainer.shap_values(&dense(&x), 1).unwrap();
    assert_close(
        explainer.expected_value().unwrap() + values.iter().sum::<f64>(),
        64.0,
        1e-12,
    );
    // Every column lengthens the path, except that the two leaves of the last split are equally deep.
    assert!(values[..63].iter().all(|&value| value > 0.0));
    assert_eq!(values[63].to_bits(), 0);
}

#[test]
fn unused_columns_and_trees_of_one_leaf_have_exactly_zero() {
    let leaf = Tree {
        features: vec![0],
        nodes: vec![Node::leaf(7)],
        noise: vec![noise(7.0)],
    };
    let forest = Forest::from_trees(3, None, vec![leaf.clone(), leaf.clone()]).unwrap();
    let explainer_of_leaves = explainer(&forest);
    let x = ndarray::array![[0.5, 1.0, f64::NAN], [0.0, 2.0, 1.0]];
    assert_eq!(bits(&explainer_of_leaves.shap_values(&dense(&x), 1).unwrap()), [0; 6]);
    let expected = path_length::leaf_value(0, path_length::average_path_length(7));
    assert_eq!(
        explainer_of_leaves.expected_value().unwrap().to_bits(),
        expected.to_bits()
    );
    let forest = Forest::from_trees(3, None, vec![leaf, chain(3)]).unwrap();
    let values = explainer(&forest).shap_values(&dense(&x), 1).unwrap();
    assert_eq!([values[2].to_bits(), values[5].to_bits()], [0; 2]);
    assert!(values[0] != 0.0 && values[1] != 0.0);
}

#[test]
fn wrong_inputs_are_refused() {
    let forest = Forest::from_trees(2, None, vec![chain(3)]).unwrap();
    let explainer = explainer(&forest);
    let x = ndarray::array![[0.0, 1.0, 2.0]];
    let expected = Error::ColumnCount { actual: 3, expected: 2 };
    assert_eq!(explainer.shap_values(&dense(&x), 1).unwrap_err(), expected);
    assert_eq!(explainer.magnitude_sums(&dense(&x), 1).unwrap_err(), expected);
    let x = ndarray::array![[0.0, 1.0]];
    let refuse = |top: usize, n: usize| {
        let (mut columns, mut values) = (vec![0; n], vec![0.0; n]);
        let out = TopValues {
            columns: &mut columns,
            values: &mut values,
            negative_sums: &mut [0.0],
        };
        explainer
            .write_top_shap_values(&dense(&x), top, Order::Magnitude, 1, out)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refuse(0, 0), "top must be in [1, 2], got 0");
    assert_eq!(refuse(3, 3), "top must be in [1, 2], got 3");
    assert!(refuse(2, 3).contains("3 entries, but 2 are expected"));
    assert!(Explainer::new(forest.clone(), path_length::table(3)).is_err());
    // A table whose values would need more memory than any machine has.
    let huge = Array2::<f64>::zeros((1, 2));
    let huge = huge.broadcast((1 << 58, 2)).unwrap();
    let refusal = explainer
        .shap_values(&Input::Dense(Matrix::from_f64(huge)), 1)
        .unwrap_err();
    assert!(refusal.to_string().contains("pass top= to explain()"), "{refusal}");
}

#[test]
fn contradictory_numbers_of_training_rows_are_refused() {
    for (node, weight, reason) in [
        (
            0,
            5.0,
            "node 0 has a weighted number of training rows of 5, but its children have 4 together",
        ),
        (2, 0.0, "node 2 has a weighted number of training rows of 0,"),
        (
            3,
            1e-40,
            "node 3 has a weighted number of training rows of 0.0000000000000000000000000000000000000001,",
        ),
        (
            0,
            f64::MAX,
            "node 1 has a weighted number of training rows of 3, which is no share of",
        ),
        (6, f64::NAN, "node 6 has a weighted number of training rows of NaN"),
        (1, f64::INFINITY, "node 1 has a weighted number of training rows of inf"),
    ] {
        let mut tree = chain(3);
        tree.noise[node].weight = weight;
        let forest = Forest::from_trees(2, None, vec![chain(3), tree]).unwrap();
        let explainer = explainer(&forest);
        for refusal in [
            explainer.expected_value().unwrap_err(),
            explainer
                .shap_values(&dense(&ndarray::array![[0.0, 1.0]]), 1)
                .unwrap_err(),
        ] {
            assert!(refusal.to_string().contains(&format!("tree 1: {reason}")), "{refusal}");
        }
    }
}
