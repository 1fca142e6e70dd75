//! Tests that every strategy and every kernel computes the path lengths of the definition. The forests are made up rather than
//! grown, so that they have any shape, any thresholds and any numbers of training rows.

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

    fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Draws a number from 0 to `max`; each number of bits is equally likely.
    fn size(&mut self, max: u32) -> u32 {
        let bits = self.below(33 - max.leading_zeros() as usize);
        (self.0.next_u64() % (1 << bits)).min(u64::from(max)) as u32
    }
}

/// Returns the next f64 above or below a number. If the number is an f32, the result rounds to it.
fn neighbour(value: f64, above: bool) -> f64 {
    if above { value.next_up() } else { value.next_down() }
}

/// Draws a threshold or a cell. Most numbers come from a grid of nine, so that thresholds and cells are often equal.
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
    let grid_value = random.below(9) as f64 / 4.0 - 1.0;
    match random.below(16) {
        0 => random.choose(&SPECIAL),
        1 | 2 => neighbour(grid_value, random.one_in(2)),
        3 => f64::from((grid_value as f32).next_up()),
        4 | 5 => random.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0,
        _ => grid_value,
    }
}

fn cell(random: &mut Random) -> f64 {
    if random.one_in(12) { f64::NAN } else { number(random) }
}

/// The shape of a tree.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    /// The left child of every split is a leaf.
    ChainRight,
    /// The right child of every split is a leaf.
    ChainLeft,
    /// One child of every split is a leaf, at random the left or the right one.
    Zigzag,
    /// Both branches of a split have the same number of splits, or one more.
    Balanced,
    /// The splits below a split are divided at random.
    Random,
}

const SHAPES: [Shape; 5] = [
    Shape::ChainRight,
    Shape::ChainLeft,
    Shape::Zigzag,
    Shape::Balanced,
    Shape::Random,
];

/// Parameters from which the trees of a forest are drawn.
#[derive(Debug, Clone, Copy)]
struct TreeParams {
    n_splits: usize,
    shape: Shape,
    /// Some leaves have up to a quarter of this number of training rows, the others up to 8.
    size: u32,
    /// Number of distinct thresholds from which most are drawn; `None` draws them like the cells, with few distinct numbers.
    n_thresholds: Option<usize>,
    /// Whether some thresholds are NaN.
    has_nan: bool,
}

impl TreeParams {
    fn threshold(self, random: &mut Random) -> f64 {
        match self.n_thresholds {
            _ if self.has_nan && random.one_in(40) => f64::NAN,
            Some(n) if !random.one_in(8) => random.below(n) as f64 / n as f64 * 2.0 - 1.0,
            _ => number(random),
        }
    }

    /// Draws a tree over a subset of `d` columns.
    fn tree(self, random: &mut Random, d: usize) -> Tree {
        let n_features = 1 + random.below(d);
        let first = random.below(d);
        let features: Vec<u32> = (0..n_features).map(|i| ((first + i) % d) as u32).rev().collect();
        let mut nodes: Vec<Node> = Vec::with_capacity(2 * self.n_splits + 1);
        // The nodes to be made: the number of splits in the branch, and the parent if the node is its right child.
        let mut waiting = vec![(self.n_splits, None)];
        while let Some((n_splits, parent)) = waiting.pop() {
            let index = nodes.len();
            if let Some(parent) = parent {
                let parent: &mut Node = &mut nodes[parent];
                parent.right = index as u32;
            }
            if n_splits == 0 {
                let max_size = if random.one_in(16) { self.size / 4 } else { 8 };
                nodes.push(Node::leaf(random.size(max_size)));
                continue;
            }
            let left = match self.shape {
                Shape::ChainRight => 0,
                Shape::ChainLeft => n_splits - 1,
                Shape::Zigzag => random.choose(&[0, n_splits - 1]),
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
            waiting.push((n_splits - 1 - left, Some(index)));
            waiting.push((left, None));
        }
        for i in (0..nodes.len()).rev() {
            if !nodes[i].is_leaf() {
                nodes[i].n_node_samples = nodes[i + 1].n_node_samples + nodes[nodes[i].right as usize].n_node_samples;
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

/// Sums the path lengths of one row as the definition does, node by node. Missing values of sparse rows always go right.
fn sum_of(forest: &Forest, sparse: bool, value: impl Fn(usize) -> f32) -> f64 {
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
        sum + path_length::leaf_value(depth, path_length::average_path_length(tree[index].n_node_samples))
    })
}

/// Checks the sums of both strategies, of all kernels, and of the strategy and kernel that the scorer chooses.
fn check(scorer: &Scorer, x: &Input<'_>, expected: &[f64], label: &str) {
    let bits = |sums: &[f64]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
    let expected = bits(expected);
    let walked = scorer
        .path_length_sums_with(x, 1, score::Strategy::Walk, Choice::get())
        .unwrap();
    assert!(bits(&walked) == expected, "{label}: the walk");
    for kernel in Choice::all() {
        for workers in [1, 3] {
            let sums = scorer
                .path_length_sums_with(x, workers, score::Strategy::Plan, kernel)
                .unwrap();
            let wrong = bits(&sums).iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(
                wrong,
                None,
                "{label}: first wrong row of the plan on {}, {workers} workers",
                kernel.name()
            );
        }
    }
    let sums = scorer.path_length_sums(x, 3).unwrap();
    assert!(bits(&sums) == expected, "{label}: the strategy that the scorer chooses");
}

/// The layout in memory in which a dense table is scored.
#[derive(Debug, Clone, Copy)]
enum Layout {
    RowMajor,
    ColumnMajor,
    /// Rows and columns are stored in reverse order.
    Reversed,
    /// Other cells separate the rows.
    Strided,
    /// Each column is an array of its own.
    Columns,
}

const LAYOUTS: [Layout; 5] = [
    Layout::RowMajor,
    Layout::ColumnMajor,
    Layout::Reversed,
    Layout::Strided,
    Layout::Columns,
];

/// Checks a dense table in each layout. `cast` rounds a cell to f32 as the scorer must.
fn check_dense<T: Copy>(
    scorer: &Scorer,
    x: &Array2<T>,
    layouts: &[Layout],
    matrix: impl Fn(ndarray::ArrayView2<'_, T>) -> Matrix<'_>,
    column: impl Fn(ndarray::ArrayView1<'_, T>) -> Column<'_>,
    cast: impl Fn(T) -> f32,
) {
    let row = |i| sum_of(scorer.forest(), false, |j| cast(x[[i, j]]));
    let expected: Vec<f64> = (0..x.nrows()).map(row).collect();
    let column_major = x.t().as_standard_layout().into_owned().reversed_axes();
    let reversed = x.slice(s![..;-1, ..;-1]).as_standard_layout().into_owned();
    let doubled = ndarray::concatenate![Axis(1), *x, *x];
    for layout in layouts {
        let matrix = match layout {
            Layout::RowMajor => matrix(x.view()),
            Layout::ColumnMajor => matrix(column_major.view()),
            Layout::Reversed => matrix(reversed.slice(s![..;-1, ..;-1])),
            Layout::Strided => matrix(doubled.slice(s![.., ..x.ncols()])),
            Layout::Columns => {
                let columns = column_major.axis_iter(Axis(1)).map(&column).collect();
                Matrix::from_columns(columns).unwrap()
            }
        };
        check(scorer, &Input::Dense(matrix), &expected, &format!("{layout:?}"));
    }
}

fn check_doubles(scorer: &Scorer, x: &Array2<f64>, layouts: &[Layout]) {
    check_dense(
        scorer,
        x,
        layouts,
        |view| Matrix::from_f64(view),
        |v| Column::F64(v),
        |x| x as f32,
    );
}

fn check_floats(scorer: &Scorer, x: &Array2<f64>, layouts: &[Layout]) {
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

fn check_integers(scorer: &Scorer, x: &Array2<f64>, layouts: &[Layout]) {
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
        &[Layout::Columns],
        |view| Matrix::from_i64(view),
        |v| Column::I64AsF64(v),
        cast,
    );
}

/// Checks random sparse rows. Their stored cells are few and in any order; some are stored twice, and some are zero.
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

/// Numbers of rows around the multiples of all block sizes.
const EDGES: [usize; 20] = [
    1, 2, 8, 9, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 1999,
];

fn tree_params() -> impl Strategy<Value = TreeParams> {
    let n_splits = prop_oneof![0..4_usize, 4..200_usize, 150..700_usize, 0..2_500_usize];
    let n_thresholds = prop_oneof![Just(None), (2..400_usize).prop_map(Some), Just(Some(5_000))];
    let shape = prop::sample::select(SHAPES.to_vec());
    let size = prop_oneof![1..5_u32, 100..600_u32, 1_000..20_000_u32];
    (n_splits, shape, size, n_thresholds, any::<bool>()).prop_map(|(n_splits, shape, size, n_thresholds, has_nan)| {
        TreeParams {
            n_splits,
            shape,
            size,
            n_thresholds,
            has_nan,
        }
    })
}

proptest! {
    #[test]
    fn any_forest_scores_any_table_by_the_definition(
        params in tree_params(),
        n_trees in 1..12_usize,
        n in prop_oneof![prop::sample::select(EDGES.to_vec()), 1..700_usize],
        d in prop_oneof![1..3_usize, 1..40_usize, 1..=500_usize],
        seed: u64,
    ) {
        let mut random = Random::new(seed);
        // Walking deep trees takes long, so there are fewer of them, and fewer rows.
        let deep = params.n_splits * n > 200_000 && !matches!(params.shape, Shape::Balanced | Shape::Random);
        let n_trees = if deep { 1 } else { n_trees };
        let n = if deep { n.min(300) } else { n };
        let d = d.min(1 + 60_000 / n);
        let scorer = params.scorer(&mut random, d, n_trees);
        let x = table(&mut random, n, d);
        let layouts = [Layout::RowMajor, random.choose(&LAYOUTS[1..])];
        match random.below(4) {
            0 | 1 => check_doubles(&scorer, &x, &layouts),
            2 => check_floats(&scorer, &x, &layouts),
            _ => check_integers(&scorer, &x.mapv(|x| x * 2.0), &layouts),
        }
        check_sparse(&scorer, n, &mut random);
    }
}

#[test]
fn every_layout_and_type_is_scored_for_row_counts_around_block_sizes() {
    let mut random = Random::new(1);
    let params = TreeParams {
        n_splits: 60,
        shape: Shape::Random,
        size: 256,
        n_thresholds: Some(300),
        has_nan: true,
    };
    for d in [1, 3, 4, 9, 500] {
        let scorer = params.scorer(&mut random, d, 6);
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
fn sums_stay_the_same_when_workers_share_blocks() {
    let mut random = Random::new(2);
    let params = TreeParams {
        n_splits: 20,
        shape: Shape::Random,
        size: 256,
        n_thresholds: None,
        has_nan: true,
    };
    // The scorer uses three workers for this number of trees and rows, and divides the rows into several chunks.
    let scorer = params.scorer(&mut random, 5, 120);
    let x = table(&mut random, 3_500, 5);
    check_doubles(&scorer, &x, &LAYOUTS[..2]);
    check_sparse(&scorer, 3_500, &mut random);
}

#[test]
fn trees_that_exceed_the_limits_of_a_plan_are_scored() {
    let mut random = Random::new(3);
    let params = |n_splits, shape, n_thresholds| TreeParams {
        n_splits,
        shape,
        size: 50_000,
        n_thresholds,
        has_nan: false,
    };
    // These trees have too many splits for a plan, too many thresholds of a column, or too many distinct values of leaves.
    for (params, d, n) in [
        (params(6_000, Shape::Balanced, Some(50)), 60, 600),
        (params(6_000, Shape::Random, Some(100_000)), 2, 600),
        (params(3_000, Shape::Zigzag, Some(100_000)), 40, 100),
        (params(400, Shape::Balanced, Some(100_000)), 1, 600),
    ] {
        let scorer = params.scorer(&mut random, d, 3);
        check_doubles(&scorer, &table(&mut random, n, d), &LAYOUTS[..2]);
        check_sparse(&scorer, n, &mut random);
    }
}

#[test]
fn a_forest_of_different_trees_is_scored() {
    let mut random = Random::new(4);
    // Some trees have exits and others have none, in the same group or in different ones.
    for d in [2, 30] {
        let mut trees = Vec::new();
        for i in 0..40 {
            let params = TreeParams {
                n_splits: random.choose(&[0, 1, 5, 200, 300]),
                shape: SHAPES[i % 5],
                size: random.choose(&[2, 256, 10_000]),
                n_thresholds: random.choose(&[None, Some(100), Some(10_000)]),
                has_nan: random.one_in(3),
            };
            trees.push(params.tree(&mut random, d));
        }
        let scorer = scorer(d, trees);
        let x = table(&mut random, 1_100, d);
        check_doubles(&scorer, &x, &LAYOUTS);
        check_floats(&scorer, &x, &LAYOUTS);
        check_sparse(&scorer, 1_100, &mut random);
    }
}

#[test]
fn a_root_that_a_plan_leaves_out_is_walked() {
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
        noise: TreeParams {
            n_splits: 1,
            shape: Shape::Balanced,
            size: 1,
            n_thresholds: None,
            has_nan: false,
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
