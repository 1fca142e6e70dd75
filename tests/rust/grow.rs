//! Tests that growing equals a plain implementation of the same rules: one row, one value, one sum after another.

use std::ops::Range;

use isoxide::error::Error;
use isoxide::forest::{Forest, Node, NodeNoise};
use isoxide::grow::{NoiseTarget, Params, grow};
use isoxide::matrix::{Input, Matrix};
use isoxide::random::streams::{self, Bagging};
use isoxide::random::xorshift::{SplitDraws, XorShift32};
use ndarray::{Array2, ArrayView2, ShapeBuilder};
use proptest::prelude::*;

/// A plain implementation of scikit-learn's rules for one tree.
struct Plain<'a> {
    x: &'a Array2<f64>,
    features: Vec<usize>,
    /// Table row, noise and weight of each drawn row. The rows of a node are contiguous.
    rows: Vec<(usize, f64, f64)>,
    random: XorShift32,
    order: Vec<usize>,
    constants: Vec<usize>,
    max_depth: u32,
    nodes: Vec<Node>,
    noise: Vec<NodeNoise>,
}

impl Plain<'_> {
    fn tree(x: &Array2<f64>, y: &[f64], seed: u32, params: Params, max_depth: u32) -> (Vec<Node>, Vec<NodeNoise>) {
        let bagging = Bagging {
            n_samples: x.nrows(),
            n_features: x.ncols(),
            max_samples: params.max_samples,
            max_features: params.max_features,
            bootstrap: params.bootstrap,
        };
        let mut bag = streams::bag(seed, &bagging, None, 1).unwrap();
        bag.rows.sort_unstable();
        let rows: Vec<_> = bag
            .rows
            .chunk_by(|a, b| a == b)
            .map(|same| (same[0], y[same[0]], same.len() as f64))
            .collect();
        let mut plain = Plain {
            x,
            random: streams::split_rngs(&[seed]).remove(0),
            order: (0..bag.features.len()).collect(),
            constants: vec![0; bag.features.len()],
            features: bag.features,
            rows,
            max_depth,
            nodes: Vec::new(),
            noise: Vec::new(),
        };
        let root = 0..plain.rows.len();
        let [total, squares, weight] = plain.sums(root.clone());
        let impurity = squares / weight - total / weight * (total / weight);
        plain.node(root, 0, impurity, 0);
        (plain.nodes, plain.noise)
    }

    fn sums(&self, rows: Range<usize>) -> [f64; 3] {
        self.rows[rows]
            .iter()
            .fold([0.0; 3], |[total, squares, weight], &(_, y, w)| {
                [total + w * y, squares + w * y * y, weight + w]
            })
    }

    fn value(&self, row: usize, feature: usize) -> f32 {
        self.x[(self.rows[row].0, self.features[feature])] as f32
    }

    fn node(&mut self, rows: Range<usize>, depth: u32, impurity: f64, n_known: usize) {
        let index = self.nodes.len();
        let sums = self.sums(rows.clone());
        self.nodes.push(Node::leaf(rows.len() as u32));
        self.noise.push(NodeNoise {
            impurity,
            mean: sums[0] / sums[2],
            weight: sums[2],
        });
        if depth >= self.max_depth || rows.len() < 2 || impurity <= f64::EPSILON {
            return;
        }
        let (split, n_constant) = self.search(rows.clone(), n_known);
        let Some((split, n_left)) = split else { return };
        let middle = rows.start + n_left;
        let Some((left, right)) = self.impurities(rows.clone(), middle, sums, impurity) else {
            return;
        };
        self.nodes[index] = split;
        self.node(rows.start..middle, depth + 1, left, n_constant);
        self.nodes[index].right = self.nodes.len() as u32;
        self.node(middle..rows.end, depth + 1, right, n_constant);
    }

    fn search(&mut self, rows: Range<usize>, n_known: usize) -> (Option<(Node, usize)>, usize) {
        let (mut end, mut n_new, mut n_drawn, mut n_visited) = (self.order.len(), 0, 0, 0);
        let mut split = None;
        while end > n_known + n_new && (n_visited < 1 || n_visited <= n_new + n_drawn) {
            n_visited += 1;
            let mut position = self.random.int(n_drawn, end - n_new);
            if position < n_known {
                self.order.swap(n_drawn, position);
                n_drawn += 1;
                continue;
            }
            position += n_new;
            let feature = self.order[position];
            let (mut min, mut max, mut n_missing) = (f32::INFINITY, f32::NEG_INFINITY, 0);
            for row in rows.clone() {
                let v = self.value(row, feature);
                min = if v < min { v } else { min };
                max = if v > max { v } else { max };
                n_missing += usize::from(v.is_nan());
            }
            if n_missing == rows.len() || (n_missing == 0 && max <= min + 1e-7) {
                self.order.swap(position, n_known + n_new);
                n_new += 1;
                continue;
            }
            end -= 1;
            self.order.swap(end, position);
            split = self.partition(rows.clone(), feature, f64::from(min), f64::from(max), n_missing > 0);
        }
        self.order[..n_known].copy_from_slice(&self.constants[..n_known]);
        let new = n_known..n_known + n_new;
        self.constants[new.clone()].copy_from_slice(&self.order[new.clone()]);
        (split, new.end)
    }

    fn partition(
        &mut self,
        rows: Range<usize>,
        feature: usize,
        min: f64,
        max: f64,
        has_missing: bool,
    ) -> Option<(Node, usize)> {
        let mut threshold = self.random.uniform(min, max);
        let missing_left = has_missing && self.random.int(0, 2) != 0;
        if threshold == max {
            threshold = min;
        }
        let (mut next, mut end) = (rows.start, rows.end);
        while next < end {
            let v = self.value(next, feature);
            if (v.is_nan() && missing_left) || f64::from(v) <= threshold {
                next += 1;
            } else {
                end -= 1;
                self.rows.swap(next, end);
            }
        }
        let (n_left, n_right) = (end - rows.start, rows.end - end);
        let node = Node {
            threshold,
            feature: feature as u32,
            missing_go_to_left: if has_missing { missing_left } else { n_left > n_right },
            ..Node::leaf(rows.len() as u32)
        };
        (n_left > 0 && n_right > 0).then_some((node, n_left))
    }

    /// Returns the impurities of both children, unless the split makes the impurity worse.
    fn impurities(&self, rows: Range<usize>, middle: usize, node: [f64; 3], impurity: f64) -> Option<(f64, f64)> {
        let [mut total, mut weight] = [0.0; 2];
        if middle - rows.start <= rows.end - middle {
            for &(_, y, w) in &self.rows[rows.start..middle] {
                total += w * y;
                weight += w;
            }
        } else {
            [total, _, weight] = node;
            for &(_, y, w) in self.rows[middle..rows.end].iter().rev() {
                total -= w * y;
                weight -= w;
            }
        }
        let squares = self.sums(rows.start..middle)[1];
        let (right_total, right_squares, right_weight) = (node[0] - total, node[1] - squares, node[2] - weight);
        let left = squares / weight - total / weight * (total / weight);
        let right = right_squares / right_weight - right_total / right_weight * (right_total / right_weight);
        let whole: f64 = self.rows.iter().map(|row| row.2).sum();
        let gain = (node[2] / whole) * (impurity - right_weight / node[2] * right - weight / node[2] * left);
        (gain + f64::EPSILON >= 0.0 || gain.is_nan()).then_some((left, right))
    }
}

fn check(x: &Array2<f64>, y: &[f64], seeds: &[u32], params: Params) {
    let input = Input::Dense(Matrix::from_f64(x.view()));
    let forest = grow(&input, NoiseTarget::Drawn(y), seeds, params, None, None, 2).unwrap();
    let max_depth = usize::BITS - (params.max_samples.max(2) - 1).leading_zeros();
    for (tree, &seed) in seeds.iter().enumerate() {
        let (nodes, noise) = Plain::tree(x, y, seed, params, max_depth);
        assert_eq!(forest.tree(tree), nodes);
        assert_eq!(forest.tree_noise(tree), noise);
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0_i32..4).prop_map(f64::from),
        6 => -1.0..1.0_f64,
        1 => prop_oneof![Just(f64::NAN), Just(-0.0), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
    ]
}

/// Draws a noise target of a few distinct values, which ends many branches, or of random values.
fn noise() -> impl Strategy<Value = Vec<f64>> {
    let distinct = prop_oneof![Just(0.1), Just(0.3), Just(0.1 + 1e-9), Just(0.7)];
    let pool = prop_oneof![
        prop::collection::vec(distinct, 1..4),
        prop::collection::vec(0.0..1.0_f64, 200)
    ];
    (pool, prop::collection::vec(0_usize..200, 300))
        .prop_map(|(pool, picks)| picks.into_iter().map(|pick| pool[pick % pool.len()]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn trees_equal_those_of_the_plain_implementation(
        cells in prop::collection::vec(value(), 150 * 6), y in noise(), d in 1_usize..7, n in 1_usize..150, seed: u32, share in 0.1..1.0_f64,
    ) {
        let x = Array2::from_shape_vec((n, d), cells[..n * d].to_vec()).unwrap();
        let params = Params {
            max_samples: ((n as f64 * share) as usize).max(1),
            max_features: 1 + seed as usize % d,
            bootstrap: seed.is_multiple_of(3),
        };
        check(&x, &y[..n], &[seed, seed ^ 1, seed ^ 2, seed ^ 3, seed ^ 4], params);
    }
}

/// Makes a table with counts, ties, missing values and plain numbers.
fn table(n: usize, d: usize) -> Array2<f64> {
    let u = streams::noise_target(5, n * d, 1).unwrap();
    Array2::from_shape_fn((n, d), |(i, j)| {
        let u = u[i * d + j];
        match j % 4 {
            0 => (1.0 / u).floor(),
            1 if u < 0.1 => f64::NAN,
            2 => u.ln(),
            _ => u,
        }
    })
}

#[test]
fn large_trees_equal_those_of_the_plain_implementation() {
    let x = table(3000, 5);
    let y = streams::noise_target(1, 3000, 1).unwrap();
    for (max_samples, bootstrap) in [(3000, false), (3000, true), (1100, false)] {
        let params = Params {
            max_samples,
            max_features: 5,
            bootstrap,
        };
        check(&x, &y, &[3, 4, 5], params);
    }
}

#[test]
fn a_seed_grows_the_same_forest_as_its_noise_target() {
    let x = table(2000, 3);
    let input = Input::Dense(Matrix::from_f64(x.view()));
    let y = streams::noise_target(9, 2000, 1).unwrap();
    for n_trees in [3, 40] {
        let seeds = streams::tree_seeds(9, 0, n_trees);
        let forest = |noise, workers| -> Forest {
            let params = Params {
                max_samples: 64,
                max_features: 2,
                bootstrap: true,
            };
            grow(&input, noise, &seeds, params, None, None, workers).unwrap()
        };
        let drawn = forest(NoiseTarget::Drawn(&y), 1);
        for workers in [1, 3] {
            assert_eq!(forest(NoiseTarget::Seed(9), workers), drawn);
        }
    }
}

#[test]
fn a_tree_grown_alone_equals_the_one_grown_among_many() {
    // A single tree reads cells from the table; many trees read them from a copy.
    let x = table(2500, 12);
    let input = Input::Dense(Matrix::from_f64(x.view()));
    let y = streams::noise_target(2, 2500, 1).unwrap();
    let params = Params {
        max_samples: 2500,
        max_features: 12,
        bootstrap: false,
    };
    let seeds: Vec<u32> = (0..9).collect();
    let forest = grow(&input, NoiseTarget::Drawn(&y), &seeds, params, None, None, 2).unwrap();
    for (tree, seed) in seeds.iter().enumerate() {
        let alone = grow(&input, NoiseTarget::Drawn(&y), &[*seed], params, None, None, 1).unwrap();
        assert_eq!(alone.tree(0), forest.tree(tree));
        assert_eq!(alone.tree_noise(0), forest.tree_noise(tree));
    }
}

#[test]
fn tables_of_more_rows_than_memory_holds_are_refused_at_once() {
    let cell = [0.0_f64];
    let params = Params {
        max_samples: 2,
        max_features: 1,
        bootstrap: false,
    };
    for n_rows in [1 << 44, 1 << 50, 1 << 58] {
        let view = ArrayView2::from_shape((n_rows, 1).strides((0, 0)), &cell).unwrap();
        let x = Input::Dense(Matrix::from_f64(view));
        for params in [
            params,
            Params {
                max_samples: u32::MAX as usize,
                ..params
            },
            Params {
                bootstrap: true,
                ..params
            },
        ] {
            let refusal = grow(&x, NoiseTarget::Seed(0), &[1, 2], params, None, None, 2).unwrap_err();
            assert!(matches!(refusal, Error::Memory { .. }), "{refusal}");
        }
    }
}
