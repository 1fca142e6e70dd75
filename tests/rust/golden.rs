//! Tests that whole forests equal scikit-learn's: seeds, drawn rows and columns, nodes, scores, offset and predictions.

use std::hint::black_box;

use crate::common::{bits, integers, load, number, numbers};
use isoxide::forest::{Forest, LEAF, path_length};
use isoxide::grow::{NoiseTarget, Params, grow};
use isoxide::matrix::csr::{Csr, Indices, StoredValues};
use isoxide::matrix::{Input, Matrix};
use isoxide::random::Mt19937;
use isoxide::random::mt19937::MAX_SEED;
use isoxide::random::random_state::{below, next_double};
use isoxide::random::sampling::Weights;
use isoxide::random::streams::{self, Bagging};
use isoxide::score::Scorer;
use ndarray::Array2;
use serde_json::Value;

/// The training table of a case.
enum Data {
    Dense(Array2<f64>),
    Sparse {
        starts: Vec<i32>,
        columns: Vec<i64>,
        values: Vec<f64>,
        shape: (usize, usize),
    },
}

impl Data {
    fn shape(&self) -> (usize, usize) {
        match self {
            Self::Dense(x) => x.dim(),
            Self::Sparse { shape, .. } => *shape,
        }
    }

    fn input(&self) -> Input<'_> {
        match self {
            Self::Dense(x) => Input::Dense(Matrix::from_f64(x.view())),
            Self::Sparse {
                starts,
                columns,
                values,
                shape,
            } => {
                let (starts, columns) = (Indices::I32(starts), Indices::I64(columns));
                Input::Sparse(Csr::new(starts, columns, StoredValues::F64(values), shape.1).unwrap())
            }
        }
    }
}

/// A golden file, with its table and the parameters as numbers of rows, columns and trees.
struct Case {
    golden: Value,
    x: Data,
    weights: Option<Weights>,
    bagging: Bagging,
    n_trees: usize,
}

fn table(rows: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = rows.as_array().unwrap().iter().map(numbers).collect();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

fn data(golden: &Value) -> Data {
    let data = &golden["data"];
    match data["kind"].as_str().unwrap() {
        "dense" => Data::Dense(table(&data["rows"])),
        "csr" => {
            let shape = integers::<usize>(&data["shape"]);
            Data::Sparse {
                starts: integers(&data["indptr"]),
                columns: integers(&data["indices"]),
                values: numbers(&data["data"]),
                shape: (shape[0], shape[1]),
            }
        }
        "mt_unit" => {
            let shape = integers::<usize>(&data["shape"]);
            let mut rng = Mt19937::new(u32::try_from(data["seed"].as_u64().unwrap()).unwrap());
            let cell = || f64::from(next_double(&mut rng) as f32);
            Data::Dense(Array2::from_shape_simple_fn((shape[0], shape[1]), cell))
        }
        other => panic!("data of kind {other}"),
    }
}

/// Returns the probabilities that scikit-learn makes of weights: divided by NumPy's sum, which adds eight strided partial sums (for
/// up to 128 entries).
fn probabilities(weights: &[f64]) -> Vec<f64> {
    assert!((8..=128).contains(&weights.len()));
    let whole = weights.len() / 8 * 8;
    let mut partial: Vec<f64> = weights[..8].to_vec();
    for (i, w) in weights[..whole].iter().enumerate().skip(8) {
        partial[i % 8] += w;
    }
    let pairs = |i: usize| partial[i] + partial[i + 1];
    let total = pairs(0) + pairs(2) + (pairs(4) + pairs(6));
    let total = weights[whole..].iter().fold(total, |sum, w| sum + w);
    weights.iter().map(|w| w / total).collect()
}

impl Case {
    fn load(name: &str) -> Self {
        let golden = load(name);
        let x = data(&golden);
        let (n_samples, n_features) = x.shape();
        let params = &golden["params"];
        let share = |value: &Value, of: usize| match value.as_u64() {
            Some(count) => count as usize,
            None => (value.as_f64().unwrap() * of as f64) as usize,
        };
        let max_samples = match &params["max_samples"] {
            Value::Null => 256.min(n_samples),
            value => share(value, n_samples),
        };
        let max_features = match &params["max_features"] {
            Value::Null => n_features,
            value => share(value, n_features),
        };
        let bagging = Bagging {
            n_samples,
            n_features,
            max_samples,
            max_features,
            bootstrap: params["bootstrap"].as_bool().unwrap_or(false),
        };
        let n_trees = params["n_estimators"].as_u64().unwrap() as usize;
        let weights = match &golden["sample_weight"] {
            Value::Null => None,
            weights => Some(Weights::new(probabilities(&numbers(weights))).unwrap()),
        };
        Self {
            golden,
            x,
            weights,
            bagging,
            n_trees,
        }
    }

    /// Draws the noise target and the tree seeds from an integer `random_state`, or from a used stream.
    fn draws(&self) -> (Vec<f64>, Vec<u32>) {
        let n = self.bagging.n_samples;
        match &self.golden["params"]["random_state"] {
            Value::Object(instance) => {
                let get = |key: &str| instance[key].as_u64().unwrap();
                let mut stream = Mt19937::new(u32::try_from(get("instance_seed")).unwrap());
                for _ in 0..get("unit_draws_before") {
                    next_double(&mut stream);
                }
                let y = (0..n).map(|_| next_double(&mut stream)).collect();
                let seeds = (0..self.n_trees).map(|_| below(&mut stream, MAX_SEED as usize) as u32);
                (y, seeds.collect())
            }
            seed => {
                let seed = u32::try_from(seed.as_u64().unwrap()).unwrap();
                (
                    streams::noise_target(seed, n, 1).unwrap(),
                    streams::tree_seeds(seed, 0, self.n_trees),
                )
            }
        }
    }

    fn forest(&self, workers: usize) -> (Forest, Vec<u32>) {
        let x = self.x.input();
        let weights = self.weights.as_ref();
        let params = Params {
            max_samples: self.bagging.max_samples,
            max_features: self.bagging.max_features,
            bootstrap: self.bagging.bootstrap,
        };
        let (y, mut seeds) = self.draws();
        let mut forest = grow(&x, NoiseTarget::Drawn(&y), &seeds, params, weights, None, workers).unwrap();
        let added = self.golden["warm_start_added"].as_u64().unwrap() as usize;
        if added > 0 {
            let seed = self.golden["params"]["random_state"].as_u64().unwrap();
            let added_seeds = streams::tree_seeds(seed as u32, self.n_trees, added);
            forest = grow(
                &x,
                NoiseTarget::Drawn(&y),
                &added_seeds,
                params,
                weights,
                Some(&forest),
                workers,
            )
            .unwrap();
            seeds.extend(added_seeds);
        }
        (forest, seeds)
    }
}

/// The arrays of one tree in scikit-learn's form.
struct TreeArrays {
    left: Vec<i64>,
    right: Vec<i64>,
    feature: Vec<i64>,
    threshold: Vec<f64>,
    n_node_samples: Vec<i64>,
    missing_go_to_left: Vec<i64>,
}

fn arrays(forest: &Forest, tree: usize) -> TreeArrays {
    let nodes = forest.tree(tree);
    let split = |leaf: i64, value: i64, node_feature: u32| if node_feature == LEAF { leaf } else { value };
    TreeArrays {
        left: (1_i64..)
            .zip(nodes)
            .map(|(next, n)| split(-1, next, n.feature))
            .collect(),
        right: nodes.iter().map(|n| split(-1, i64::from(n.right), n.feature)).collect(),
        feature: nodes
            .iter()
            .map(|n| split(-2, i64::from(n.feature), n.feature))
            .collect(),
        threshold: nodes.iter().map(|n| n.threshold).collect(),
        n_node_samples: nodes.iter().map(|n| i64::from(n.n_node_samples)).collect(),
        missing_go_to_left: nodes.iter().map(|n| i64::from(n.missing_go_to_left)).collect(),
    }
}

/// Hashes the trees of a forest with FNV-1a of 64 bits, as the writer of the golden files did.
fn fnv1a64(forest: &Forest) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut update = |word: u64| {
        for byte in word.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for tree in 0..forest.n_trees() {
        let t = arrays(forest, tree);
        for array in [&t.left, &t.right, &t.feature] {
            for &v in array {
                update(v as u64);
            }
        }
        for v in &t.threshold {
            update(v.to_bits());
        }
        for &v in &t.n_node_samples {
            update(v as u64);
        }
    }
    format!("{hash:016x}")
}

fn check_trees(case: &Case, forest: &Forest, seeds: &[u32]) {
    let golden = &case.golden;
    assert_eq!(seeds, integers::<u32>(&golden["estimator_seeds"]));
    assert_eq!(fnv1a64(forest), golden["forest_fnv1a64"].as_str().unwrap());
    for tree in golden["trees"].as_array().unwrap() {
        let index = tree["index"].as_u64().unwrap() as usize;
        let actual = arrays(forest, index);
        assert_eq!(actual.left, integers::<i64>(&tree["left"]));
        assert_eq!(actual.right, integers::<i64>(&tree["right"]));
        assert_eq!(actual.feature, integers::<i64>(&tree["feature"]));
        assert_eq!(bits(&actual.threshold), bits(&numbers(&tree["threshold"])));
        assert_eq!(actual.n_node_samples, integers::<i64>(&tree["n_node_samples"]));
        assert_eq!(actual.missing_go_to_left, integers::<i64>(&tree["missing_go_to_left"]));
        assert_eq!(forest.tree_features(index), integers::<u32>(&tree["features"]));
        if !tree["samples"].is_null() {
            let bag = streams::bag(seeds[index], &case.bagging, case.weights.as_ref(), 1).unwrap();
            assert_eq!(bag.rows, integers::<usize>(&tree["samples"]));
        }
    }
}

fn check_scores(case: &Case, forest: &Forest, workers: usize) {
    let golden = &case.golden;
    if golden["score_samples"].is_null() {
        return;
    }
    let test_rows = match &golden["test_rows"] {
        Value::Null => None,
        rows => Some(Data::Dense(table(rows))),
    };
    let rows = test_rows.as_ref().unwrap_or(&case.x).input();
    let c = path_length::table(case.bagging.max_samples as u32);
    let scorer = Scorer::new(forest.clone(), c.clone()).unwrap();
    let sums = scorer.path_length_sums(&rows, workers).unwrap();
    let denominator = forest.n_trees() as f64 * c[case.bagging.max_samples];
    // The opaque base keeps the compiler from using exp2, whose last bit differs from that of the C library's pow.
    let score = |&sum: &f64| {
        let x = if denominator == 0.0 { 1.0 } else { sum / denominator };
        -black_box(2.0_f64).powf(-x)
    };
    let scores: Vec<f64> = sums.iter().map(score).collect();
    assert_eq!(bits(&scores), bits(&numbers(&golden["score_samples"])));
    let offset = number(&golden["offset"]);
    let decisions: Vec<f64> = scores.iter().map(|s| s - offset).collect();
    assert_eq!(bits(&decisions), bits(&numbers(&golden["decision_function"])));
    let labels: Vec<i64> = decisions.iter().map(|&d| if d < 0.0 { -1 } else { 1 }).collect();
    assert_eq!(labels, integers::<i64>(&golden["predict"]));
}

fn check(name: &str) {
    let case = Case::load(name);
    for workers in [1, 2, 5] {
        let (forest, seeds) = case.forest(workers);
        check_trees(&case, &forest, &seeds);
        check_scores(&case, &forest, workers);
    }
}

macro_rules! golden {
    ($($test:ident: $file:literal,)*) => {
        $(#[test] fn $test() { check($file); })*

        #[test]
        fn every_golden_file_has_a_test() {
            let mut files: Vec<String> = std::fs::read_dir(crate::common::golden_folder())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
                .collect();
            files.sort();
            // The tests in `generators.rs` read this file.
            let mut tested: Vec<&str> = ["00_generators"].into_iter().chain([$($file),*]).collect();
            tested.sort_unstable();
            assert_eq!(files, tested);
        }
    };
}

golden! {
    main: "01_main",
    int_ties_constant_columns: "02_int_ties_constant_columns",
    duplicates: "03_duplicates",
    bootstrap: "04_bootstrap",
    max_samples_float: "05_max_samples_float",
    tracking_selection: "06_tracking_selection",
    reservoir: "07_reservoir",
    max_features: "08_max_features",
    weights_replacement: "09_weights_replacement",
    weights_no_replacement: "10_weights_no_replacement",
    nan: "11_nan",
    nan_ties: "12_nan_ties",
    sparse_csr: "13_sparse_csr",
    n1: "14_n1",
    n2: "15_n2",
    float32_loss: "16_float32_loss",
    gap_rounding: "17_gap_rounding",
    inf_huge: "18_inf_huge",
    randomstate_instance: "19_randomstate_instance",
    warm_start: "20_warm_start",
    y_rule_impurity: "21_y_rule_impurity",
    y_rule_gain: "22_y_rule_gain",
}
