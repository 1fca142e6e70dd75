//! Tests that every strategy and kernel scores by the definition, on forests that were not grown: any shape, thresholds, training
//! rows and input.

use isoxide::forest::{Forest, Node, NodeNoise, Tree, path_length};
use isoxide::matrix::csr::{Csr, Indices, StoredValues};
use isoxide::matrix::{Column, Input, Matrix};
use isoxide::score::{self, Scorer};
use isoxide::simd::Choice;
use ndarray::{Array2, Axis, s};
use proptest::prelude::*;
use rand_mt::Mt64;

/// Random numbers for forests and tables that are too large for proptest to draw number by number.
struct Random(Mt64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Mt64::new(seed))
    }

    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    /// Returns true one time in `n`.
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Draws a number between 0 and `most`, small ones as often as large ones.
    fn size(&mut self, most: u32) -> u32 {
        let bits = self.below(33 - most.leading_zeros() as usize);
        (self.0.next_u64() % (1 << bits)).min(u64::from(most)) as u32
    }
}

/// Returns a number just above or below an f32, as f64, closer than any other f32.
fn beside(value: f64, above: bool) -> f64 {
    if above { value.next_up() } else { value.next_down() }
}

/// Draws a number for thresholds and cells, so that they are often equal.
fn number(random: &mut Random) -> f64 {
    const SPECIAL: [f64; 9] = [
        0.0,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e300,
        -1e300,
        1e-45,
        -1e-40,
        f32::MAX as f64,
    ];
    let few = random.below(9) as f64 / 4.0 - 1.0;
    match random.below(16) {
        0 => random.of(&SPECIAL),
        1 | 2 => beside(few, random.one_in(2)),
        3 => f64::from((few as f32).next_up()),
        4 | 5 => random.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0,
        _ => few,
    }
}

fn cell(random: &mut Random) -> f64 {
    if random.one_in(12) { f64::NAN } else { number(random) }
}

/// The shape of a tree.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    /// The left child of every split is a leaf, or the right one, or either.
    ChainRight,
    ChainLeft,
    Zigzag,
    Balanced,
    Random,
}

const SHAPES: [Shape; 5] = [
    Shape::ChainRight,
    Shape::ChainLeft,
    Shape::Zigzag,
    Shape::Balanced,
    Shape::Random,
];

/// The way in which the trees of a forest are made.
#[derive(Debug, Clone, Copy)]
struct Kind {
    n_splits: usize,
    shape: Shape,
    /// Training rows: some leaves have up to a quarter of this number, the others a few.
    size: u32,
    /// Distinct numbers among the thresholds of a column: a few, or this many.
    many: Option<usize>,
    /// Whether some thresholds are NaN.
    missing: bool,
}

impl Kind {
    fn threshold(self, random: &mut Random) -> f64 {
        match self.many {
            _ if self.missing && random.one_in(40) => f64::NAN,
            Some(n) if !random.one_in(8) => random.below(n) as f64 / n as f64 * 2.0 - 1.0,
            _ => number(random),
        }
    }

    /// Makes a tree over some of `d` columns.
    fn tree(self, random: &mut Random, d: usize) -> Tree {
        let n_features = 1 + random.below(d);
        let first = random.below(d);
        let features: Vec<u32> = (0..n_features).map(|i| ((first + i) % d) as u32).rev().collect();
        let mut nodes: Vec<Node> = Vec::with_capacity(2 * self.n_splits + 1);
        // Splits below the nodes to come, and the splits whose right children they are.
        let mut waiting = vec![(self.n_splits, None)];
        while let Some((n_splits, parent)) = waiting.pop() {
            let at = nodes.len();
            if let Some(parent) = parent {
                let parent: &mut Node = &mut nodes[parent];
                parent.right = at as u32;
            }
            if n_splits == 0 {
                let most = if random.one_in(16) { self.size / 4 } else { 8 };
                nodes.push(Node::leaf(random.size(most)));
                continue;
            }
            let left = match self.shape {
                Shape::ChainRight => 0,
                Shape::ChainLeft => n_splits - 1,
                Shape::Zigzag => random.of(&[0, n_splits - 1]),
                Shape::Balanced => (n_splits - 1) / 2,
                Shape::Random => random.below(n_splits),
            };
            nodes.push(Node {
                threshold: self.threshold(random),
                feature: random.below(n_features) as u32,
                right: 0,
                n_node_samples: 0,
                missing_go_to_left: random.one_in(2),
            });
            waiting.push((n_splits - 1 - left, Some(at)));
            waiting.push((left, None));
        }
        for at in (0..nodes.len()).rev() {
            if !nodes[at].is_leaf() {
                nodes[at].n_node_samples =
                    nodes[at + 1].n_node_samples + nodes[nodes[at].right as usize].n_node_samples;
            }
        }
        let noise = NodeNoise {
            impurity: 0.0,
            mean: 0.0,
            weight: 1.0,
        };
        Tree {
            features,
            noise: vec![noise; nodes.len()],
            nodes,
        }
    }

    fn scorer(self, random: &mut Random, d: usize, n_trees: usize) -> Scorer {
        let trees = (0..n_trees).map(|_| self.tree(random, d)).collect();
        scorer(d, trees)
    }
}

fn scorer(d: usize, trees: Vec<Tree>) -> Scorer {
    let forest = Forest::from_trees(d, None, trees).unwrap();
    let table = path_length::table(forest.largest_node());
    Scorer::new(forest, table).unwrap()
}

/// Sums the path lengths of one row by the definition. Missing values of sparse rows always go right.
fn sum_of(forest: &Forest, sparse: bool, value: impl Fn(usize) -> f32) -> f64 {
    (0..forest.n_trees()).fold(0.0, |sum, t| {
        let (tree, features) = (forest.tree(t), forest.tree_features(t));
        let (mut at, mut depth) = (0, 0);
        while !tree[at].is_leaf() {
            let node = &tree[at];
            let v = value(features[node.feature as usize] as usize);
            let left = if v.is_nan() {
                node.missing_go_to_left && !sparse
            } else {
                f64::from(v) <= node.threshold
            };
            at = if left { at + 1 } else { node.right as usize };
            depth += 1;
        }
        sum + path_length::leaf_value(depth, path_length::average_path_length(tree[at].n_node_samples))
    })
}

fn check(scorer: &Scorer, x: &Input<'_>, expected: &[f64], what: &str) {
    let bits = |sums: &[f64]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
    let expected = bits(expected);
    let walked = scorer
        .path_length_sums_with(x, 1, score::Strategy::Walk, Choice::get())
        .unwrap();
    assert!(bits(&walked) == expected, "{what}: the walk");
    for kernel in Choice::all() {
        for workers in [1, 3] {
            let sums = scorer
                .path_length_sums_with(x, workers, score::Strategy::Plan, kernel)
                .unwrap();
            let wrong = bits(&sums).iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(wrong, None, "{what}: {}, {workers} workers", kernel.name());
        }
    }
    let sums = scorer.path_length_sums(x, 3).unwrap();
    assert!(bits(&sums) == expected, "{what}: as chosen");
}

fn check_dense<T: Copy>(
    scorer: &Scorer,
    x: &Array2<T>,
    layouts: &[usize],
    matrix: impl Fn(ndarray::ArrayView2<'_, T>) -> Matrix<'_>,
    column: impl Fn(ndarray::ArrayView1<'_, T>) -> Column<'_>,
    cast: impl Fn(T) -> f32,
) {
    let row = |i| sum_of(scorer.forest(), false, |j| cast(x[[i, j]]));
    let expected: Vec<f64> = (0..x.nrows()).map(row).collect();
    let column_major = x.t().as_standard_layout().into_owned().reversed_axes();
    let turned = x.slice(s![..;-1, ..;-1]).as_standard_layout().into_owned();
    let doubled = ndarray::concatenate![Axis(1), *x, *x];
    for layout in layouts {
        let (what, matrix) = match layout {
            0 => ("row-major", matrix(x.view())),
            1 => ("column-major", matrix(column_major.view())),
            2 => ("reversed", matrix(turned.slice(s![..;-1, ..;-1]))),
            3 => ("strided", matrix(doubled.slice(s![.., ..x.ncols()]))),
            _ => {
                let columns = column_major.axis_iter(Axis(1)).map(&column).collect();
                ("columns", Matrix::from_columns(columns).unwrap())
            }
        };
        check(scorer, &Input::Dense(matrix), &expected, what);
    }
}

const LAYOUTS: [usize; 5] = [0, 1, 2, 3, 4];

fn check_doubles(scorer: &Scorer, x: &Array2<f64>, layouts: &[usize]) {
    check_dense(
        scorer,
        x,
        layouts,
        |view| Matrix::from_f64(view),
        |v| Column::F64(v),
        |x| x as f32,
    );
}

fn check_floats(scorer: &Scorer, x: &Array2<f64>, layouts: &[usize]) {
    let x = x.mapv(|x| x as f32);
    check_dense(
        scorer,
        &x,
        layouts,
        |view| Matrix::from_f32(view),
        |v| Column::F32(v),
        |x| x,
    );
}

fn check_integers(scorer: &Scorer, x: &Array2<f64>, layouts: &[usize]) {
    let x = x.mapv(|x| x as i64);
    check_dense(
        scorer,
        &x,
        layouts,
        |view| Matrix::from_i64(view),
        |v| Column::I64(v),
        |x| x as f32,
    );
    let cast = |x: i64| x as f64 as f32;
    check_dense(
        scorer,
        &x,
        &[4],
        |view| Matrix::from_i64(view),
        |v| Column::I64AsF64(v),
        cast,
    );
}

/// Checks rows with few stored cells, in any order, some of them twice and some of them zero.
fn check_sparse(scorer: &Scorer, n: usize, random: &mut Random) {
    let d = scorer.forest().n_features();
    let (mut starts, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
    let mut expected = Vec::new();
    for _ in 0..n {
        let mut row = vec![0.0; d];
        for _ in 0..random.below(12) {
            let (column, value) = (random.below(d), cell(random));
            columns.push(column as i64);
            values.push(value);
            row[column] = value;
        }
        starts.push(columns.len() as i32);
        expected.push(sum_of(scorer.forest(), true, |j| row[j] as f32));
    }
    let csr = Csr::new(
        Indices::I32(&starts),
        Indices::I64(&columns),
        StoredValues::F64(&values),
        d,
    )
    .unwrap();
    check(scorer, &Input::Sparse(csr), &expected, "sparse");
}

fn table(random: &mut Random, n: usize, d: usize) -> Array2<f64> {
    let missing = random.one_in(2);
    Array2::from_shape_simple_fn((n, d), || if missing { cell(random) } else { number(random) })
}

/// Row counts around the edges of all blocks.
const EDGES: [usize; 20] = [
    1, 2, 8, 9, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 1999,
];

fn kind() -> impl Strategy<Value = Kind> {
    let n_splits = prop_oneof![0..4_usize, 4..200_usize, 150..700_usize, 0..2_500_usize];
    let many = prop_oneof![Just(None), (2..400_usize).prop_map(Some), Just(Some(5_000))];
    let shape = prop::sample::select(SHAPES.to_vec());
    let size = prop_oneof![1..5_u32, 100..600_u32, 1_000..20_000_u32];
    (n_splits, shape, size, many, any::<bool>()).prop_map(|(n_splits, shape, size, many, missing)| Kind {
        n_splits,
        shape,
        size,
        many,
        missing,
    })
}

proptest! {
    #[test]
    fn any_forest_scores_any_table_by_the_definition(
        kind in kind(),
        n_trees in 1..12_usize,
        n in prop_oneof![prop::sample::select(EDGES.to_vec()), 1..700_usize],
        d in prop_oneof![1..3_usize, 1..40_usize, 1..=500_usize],
        seed: u64,
    ) {
        let mut random = Random::new(seed);
        // Deep trees take long to walk.
        let deep = kind.n_splits * n > 200_000 && !matches!(kind.shape, Shape::Balanced | Shape::Random);
        let n_trees = if deep { 1 } else { n_trees };
        let n = if deep { n.min(300) } else { n };
        let d = d.min(1 + 60_000 / n);
        let scorer = kind.scorer(&mut random, d, n_trees);
        let x = table(&mut random, n, d);
        let layouts = [0, 1 + random.below(4)];
        match random.below(4) {
            0 | 1 => check_doubles(&scorer, &x, &layouts),
            2 => check_floats(&scorer, &x, &layouts),
            _ => check_integers(&scorer, &x.mapv(|x| x * 2.0), &layouts),
        }
        check_sparse(&scorer, n, &mut random);
    }
}

#[test]
fn every_layout_and_type_at_every_edge() {
    let mut random = Random::new(1);
    let kind = Kind {
        n_splits: 60,
        shape: Shape::Random,
        size: 256,
        many: Some(300),
        missing: true,
    };
    for d in [1, 3, 4, 9, 500] {
        let scorer = kind.scorer(&mut random, d, 6);
        for n in EDGES.into_iter().chain([2_000]).filter(|n| n * d < 200_000) {
            let x = table(&mut random, n, d);
            check_doubles(&scorer, &x, if d < 10 { &LAYOUTS } else { &LAYOUTS[..1] });
            check_floats(&scorer, &x, &LAYOUTS[..2]);
            check_integers(&scorer, &x, &LAYOUTS[..2]);
            check_sparse(&scorer, n, &mut random);
        }
    }
}

#[test]
fn several_workers_share_blocks() {
    let mut random = Random::new(2);
    let kind = Kind {
        n_splits: 20,
        shape: Shape::Random,
        size: 256,
        many: None,
        missing: true,
    };
    // Enough paths for three workers, enough rows for several chunks.
    let scorer = kind.scorer(&mut random, 5, 120);
    let x = table(&mut random, 3_500, 5);
    check_doubles(&scorer, &x, &[0, 1]);
    check_sparse(&scorer, 3_500, &mut random);
}

#[test]
fn trees_beyond_the_limits_of_a_plan() {
    let mut random = Random::new(3);
    let kind = |n_splits, shape, many| Kind {
        n_splits,
        shape,
        size: 50_000,
        many,
        missing: false,
    };
    // More splits than a plan takes of one tree, more thresholds of a column, more leaves with values of their own.
    for (kind, d, n) in [
        (kind(6_000, Shape::Balanced, Some(50)), 60, 600),
        (kind(6_000, Shape::Random, Some(100_000)), 2, 600),
        (kind(3_000, Shape::Zigzag, Some(100_000)), 40, 100),
        (kind(400, Shape::Balanced, Some(100_000)), 1, 600),
    ] {
        let scorer = kind.scorer(&mut random, d, 3);
        check_doubles(&scorer, &table(&mut random, n, d), &[0, 1]);
        check_sparse(&scorer, n, &mut random);
    }
}

#[test]
fn a_forest_of_all_kinds_of_trees() {
    let mut random = Random::new(4);
    // Trees with exits among trees without, in groups of their own and together.
    for d in [2, 30] {
        let mut trees = Vec::new();
        for i in 0..40 {
            let kind = Kind {
                n_splits: random.of(&[0, 1, 5, 200, 300]),
                shape: SHAPES[i % 5],
                size: random.of(&[2, 256, 10_000]),
                many: random.of(&[None, Some(100), Some(10_000)]),
                missing: random.one_in(3),
            };
            trees.push(kind.tree(&mut random, d));
        }
        let scorer = scorer(d, trees);
        let x = table(&mut random, 1_100, d);
        check_doubles(&scorer, &x, &LAYOUTS);
        check_floats(&scorer, &x, &LAYOUTS);
        check_sparse(&scorer, 1_100, &mut random);
    }
}

#[test]
fn a_root_that_no_plan_takes() {
    let mut random = Random::new(5);
    let mut tree = |threshold| Tree {
        nodes: vec![
            Node {
                threshold,
                feature: 0,
                right: 2,
                n_node_samples: 9,
                missing_go_to_left: random.one_in(2),
            },
            Node::leaf(7),
            Node::leaf(2),
        ],
        features: vec![0],
        noise: Kind {
            n_splits: 1,
            shape: Shape::Balanced,
            size: 1,
            many: None,
            missing: false,
        }
        .tree(&mut Random::new(0), 1)
        .noise,
    };
    let thresholds = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e300, f64::NAN];
    let scorer = scorer(2, thresholds.into_iter().map(&mut tree).collect());
    let mut random = Random::new(6);
    for n in [1, 9, 513] {
        let x = table(&mut random, n, 2);
        check_doubles(&scorer, &x, &LAYOUTS);
        check_sparse(&scorer, n, &mut random);
    }
}
