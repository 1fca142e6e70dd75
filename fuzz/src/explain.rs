//! Compares the Shapley values of every kernel with each other, and their sums with the path lengths.

use isoxide::explain::Explainer;
use isoxide::forest::{Forest, NodeNoise, depths};
use isoxide::matrix::Input;
use isoxide::score::Scorer;
use isoxide::simd::Choice;

/// Largest average path length for which no product overflows.
const MAX_LENGTH: f64 = 1e100;
/// Maximum number of rows times nodes: explaining takes longer than scoring.
const MAX_STEPS: usize = 200_000;
/// Depth up to which trees can be explained.
const MAX_DEPTH: u32 = 64;

/// Returns the forest with training rows that fit together, at least one in each leaf.
fn with_training_rows(forest: &Forest) -> Forest {
    let mut noise = Vec::with_capacity(forest.nodes().len());
    for tree in 0..forest.n_trees() {
        let nodes = forest.tree(tree);
        let mut weights = vec![0.0; nodes.len()];
        for (i, node) in nodes.iter().enumerate().rev() {
            weights[i] = if node.is_leaf() {
                f64::from(node.n_node_samples.max(1))
            } else {
                weights[i + 1] + weights[node.right as usize]
            };
        }
        noise.extend(weights.into_iter().map(|weight| NodeNoise {
            impurity: 0.0,
            mean: 0.0,
            weight,
        }));
    }
    Forest::new(
        forest.n_features(),
        forest.features().to_vec(),
        forest.feature_starts().to_vec(),
        forest.nodes().to_vec(),
        noise,
        forest.starts().to_vec(),
    )
    .unwrap()
}

/// Checks the values of some rows. The forest may be any valid one; most have training rows that contradict each other.
pub fn check(scorer: &Scorer, x: &Input<'_>) {
    if x.n_rows() * scorer.forest().nodes().len() > MAX_STEPS {
        return;
    }
    let lengths = scorer.average_path_lengths().to_vec();
    let unchecked = Explainer::new(scorer.forest().clone(), lengths.clone()).unwrap();
    if let Ok(values) = unchecked.shap_values(x, 1) {
        assert_eq!(values.len(), x.n_rows() * x.n_columns());
    }
    let forest = with_training_rows(scorer.forest());
    let n_trees = forest.n_trees();
    let deepest = (0..n_trees).flat_map(|tree| depths(forest.tree(tree))).max();
    let explainer = Explainer::new(forest, lengths).unwrap();
    if deepest > Some(MAX_DEPTH) {
        assert!(explainer.shap_values(x, 1).is_err());
        return;
    }
    // All NaN count as equal: average path lengths of any numbers may give them.
    let bits_of = |value: &f64| if value.is_nan() { f64::NAN } else { *value }.to_bits();
    let bits = |values: Vec<f64>| values.iter().map(bits_of).collect::<Vec<u64>>();
    let values = explainer.shap_values(x, 2).unwrap();
    for kernel in Choice::all() {
        let same = bits(explainer.shap_values_with(x, 1, kernel).unwrap());
        assert!(same == bits(values.clone()), "{}", kernel.name());
    }
    let longest = scorer
        .average_path_lengths()
        .iter()
        .fold(0.0, |most: f64, length| most.max(length.abs()));
    let scale = longest + f64::from(MAX_DEPTH);
    if !scorer
        .average_path_lengths()
        .iter()
        .all(|length| length.abs() < MAX_LENGTH)
    {
        return;
    }
    let expected_value = explainer.expected_value().unwrap();
    let sums = scorer.path_length_sums(x, 1).unwrap();
    for (row, sum) in values.chunks(x.n_columns().max(1)).zip(sums) {
        let (total, length) = (expected_value + row.iter().sum::<f64>(), sum / n_trees as f64);
        assert!((total - length).abs() <= 1e-9 * scale, "{total} instead of {length}");
    }
}
