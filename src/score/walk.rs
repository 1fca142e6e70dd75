//! Walks rows down the trees node by node: several rows down one tree side by side, or one row down several trees.
//!
//! ```text
//! at = root
//! repeat height times: at = left child if value <= threshold else right child     # a leaf is its own right child
//! sum += value of the leaf `at`
//! ```
//!
//! Each step of a walk loads a node whose address depends on the step before it, so the processor waits. Several walks side by side
//! use this time. Each of them takes as many steps as the tree is deep, also in a leaf, so no branch depends on the data.

use std::hint::select_unpredictable;

use crate::error::Result;
use crate::forest::{Forest, Node, depths, path_length::leaf_value, round_down};
use crate::memory::{self, Account};
use crate::threads::Workers;

/// Number of walks side by side.
const LANES: usize = 8;

/// A node in the form that the walk reads.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// Threshold rounded down to f32; NaN in a leaf, so that nothing goes left.
    threshold: f32,
    /// Column of the input.
    feature: u32,
    /// Right child; in a leaf, the leaf itself.
    right: u32,
}

const _: () = assert!(size_of::<Step>() == 12);

/// Bytes per node of a tree, and of its depth while the tree is made.
const NODE_BYTES: usize = size_of::<Step>() + size_of::<bool>() + size_of::<f64>() + size_of::<u32>();
/// Bytes of a tree in addition to its nodes: each allocated list needs some bytes at least.
const TREE_OVERHEAD_BYTES: usize = size_of::<WalkTree>() + 4 * 32;

#[derive(Debug)]
struct WalkTree {
    steps: Vec<Step>,
    /// For each node, whether a missing value goes left. It is not in `Step`, because blocks without missing values do not read it.
    missing_left: Vec<bool>,
    /// For each leaf, the value that it adds to the path length; unused for splits.
    values: Vec<f64>,
    height: u32,
}

/// All trees of a forest, ready to be walked.
#[derive(Debug)]
pub(super) struct Walk {
    trees: Vec<WalkTree>,
}

impl Walk {
    pub(super) fn new(forest: &Forest, average_path_lengths: &[f64], workers: Workers<'_>) -> Result<Self> {
        memory::check_available(&[
            (forest.nodes().len(), NODE_BYTES),
            (forest.n_trees(), TREE_OVERHEAD_BYTES),
        ])?;
        let mut account = Account::new();
        let mut tree = |i| {
            workers.check_cancelled()?;
            account.take(forest.tree(i).len() * NODE_BYTES + TREE_OVERHEAD_BYTES)?;
            Ok(WalkTree::new(
                forest.tree(i),
                forest.tree_features(i),
                average_path_lengths,
            ))
        };
        let mut trees = memory::with_capacity(forest.n_trees())?;
        for index in 0..forest.n_trees() {
            trees.push(tree(index)?);
        }
        Ok(Self { trees })
    }

    /// Adds the path length of each row in each tree to its sum. `block` holds the rows, with `d` values each.
    pub(super) fn add_path_lengths(&self, block: &[f32], d: usize, sums: &mut [f64]) {
        // Testing for missing values at every step would cost a third of the walk.
        let missing = block.iter().fold(false, |missing, v| missing | v.is_nan());
        if missing {
            self.add_path_lengths_with::<true>(block, d, sums);
        } else {
            self.add_path_lengths_with::<false>(block, d, sums);
        }
    }

    /// Adds the path lengths of rows of a sparse matrix. Their missing values always go right, as in scikit-learn.
    pub(super) fn add_sparse_path_lengths(&self, block: &[f32], d: usize, sums: &mut [f64]) {
        self.add_path_lengths_with::<false>(block, d, sums);
    }

    fn add_path_lengths_with<const MISSING: bool>(&self, block: &[f32], d: usize, sums: &mut [f64]) {
        let (eights, rest) = sums.as_chunks_mut::<LANES>();
        let (rows, last_rows) = block.split_at(eights.len() * LANES * d);
        for tree in &self.trees {
            for (rows, sums) in rows.chunks_exact(LANES * d).zip(&mut *eights) {
                let at = walk::<MISSING, LANES>(tree.height, |lane| (tree, &rows[lane * d..]));
                for (sum, at) in sums.iter_mut().zip(at) {
                    *sum += tree.values[at as usize];
                }
            }
        }
        for (row, sum) in last_rows.chunks_exact(d).zip(rest) {
            let (eights, rest) = self.trees.as_chunks::<LANES>();
            for trees in eights {
                let height = trees.iter().map(|tree| tree.height).max().unwrap_or(0);
                let at = walk::<MISSING, LANES>(height, |lane| (&trees[lane], row));
                for (tree, at) in trees.iter().zip(at) {
                    *sum += tree.values[at as usize];
                }
            }
            for tree in rest {
                let [at] = walk::<MISSING, 1>(tree.height, |_| (tree, row));
                *sum += tree.values[at as usize];
            }
        }
    }

    /// Walks rows from the given nodes of a tree down to leaves. `waiting` has pairs of a row and a node. Calls `visit` with each
    /// row and the value that its leaf adds. `value(row, column)` returns a cell, or anything if no split below the node reads the
    /// column.
    pub(super) fn walk_on<const MISSING: bool>(
        &self,
        tree: usize,
        waiting: &[(u32, u32)],
        value: impl Fn(u32, u32) -> f32,
        mut visit: impl FnMut(u32, f64),
    ) {
        let tree = &self.trees[tree];
        for group in waiting.chunks(LANES) {
            let mut at = [0; LANES];
            for (at, &(_, node)) in at.iter_mut().zip(group) {
                *at = node;
            }
            let mut moved = true;
            while moved {
                moved = false;
                for (at, &(row, _)) in at.iter_mut().zip(group) {
                    let step = tree.steps[*at as usize];
                    let missing_left = MISSING && tree.missing_left[*at as usize];
                    let next = step.next(*at, value(row, step.feature), missing_left);
                    moved |= next != *at;
                    *at = next;
                }
            }
            for (&(row, _), at) in group.iter().zip(at) {
                visit(row, tree.values[at as usize]);
            }
        }
    }

    pub(super) fn n_trees(&self) -> usize {
        self.trees.len()
    }
}

/// Walks `N` rows down one tree each, in `height` steps, and returns the leaves. `lane(i)` returns the tree and the row of walk
/// `i`. Without `MISSING` every NaN goes right.
#[inline]
fn walk<'a, const MISSING: bool, const N: usize>(
    height: u32,
    lane: impl Fn(usize) -> (&'a WalkTree, &'a [f32]),
) -> [u32; N] {
    let mut at = [0; N];
    for _ in 0..height {
        for (i, at) in at.iter_mut().enumerate() {
            let (tree, row) = lane(i);
            let step = tree.steps[*at as usize];
            let value = row[step.feature as usize];
            *at = step.next(*at, value, MISSING && tree.missing_left[*at as usize]);
        }
    }
    at
}

impl WalkTree {
    fn new(nodes: &[Node], features: &[u32], average_path_lengths: &[f64]) -> Self {
        let depths = depths(nodes);
        let steps = nodes.iter().enumerate();
        let steps = steps.map(|(i, node)| Step::new(i, node, features)).collect();
        let values = nodes.iter().zip(&depths);
        let values = values
            .map(|(node, &depth)| leaf_value(depth, average_path_lengths[node.n_node_samples as usize]))
            .collect();
        let missing_left = nodes.iter().map(|node| node.missing_go_to_left).collect();
        let height = depths.iter().copied().max().unwrap_or(0);
        Self {
            steps,
            missing_left,
            values,
            height,
        }
    }
}

impl Step {
    /// Returns the child to which a value goes from node `at`.
    #[inline]
    #[allow(
        clippy::needless_bitwise_bool,
        reason = "a lazy operator would be a branch on the data"
    )]
    fn next(self, at: u32, value: f32, missing_left: bool) -> u32 {
        let left = (value <= self.threshold) | (value.is_nan() & missing_left);
        // A branch would be mispredicted half the time.
        select_unpredictable(left, at + 1, self.right)
    }

    fn new(index: usize, node: &Node, features: &[u32]) -> Self {
        if node.is_leaf() {
            return Self {
                threshold: f32::NAN,
                feature: 0,
                right: index as u32,
            };
        }
        Self {
            threshold: round_down(node.threshold),
            feature: features[node.feature as usize],
            right: node.right,
        }
    }
}
