//! What a plan takes of memory, from above.

use super::{PlannedTree, Values};
use crate::memory::needed;

/// What a plan takes for each node: the operations of its split, and its share of the values.
const NODE_BYTES: usize = 64;
/// What the tree takes for each node meanwhile: its role, the splits below it, the end of its path, its threshold.
const SKETCH_BYTES: usize = 128;
/// What a tree takes besides.
const TREE_BYTES: usize = size_of::<PlannedTree>() + size_of::<Values>() + 256;
/// What a search takes for each of its thresholds.
const THRESHOLD_BYTES: usize = 48;
/// What a search takes besides.
const SEARCH_BYTES: usize = 768;

/// Bytes that the plan of all trees keeps.
pub(super) fn of_all(n_nodes: usize, n_trees: usize) -> usize {
    needed(&[(n_nodes, NODE_BYTES), (n_trees, TREE_BYTES)])
}

/// Bytes that a tree takes while its group is made.
pub(super) fn of_tree(n_nodes: usize) -> usize {
    needed(&[(n_nodes, SKETCH_BYTES + NODE_BYTES), (1, TREE_BYTES)])
}

/// Bytes of the searches of a group, given the thresholds of each column that it looks at.
pub(super) fn of_group(n_features: usize, n_thresholds: impl ExactSizeIterator<Item = usize>) -> usize {
    let n_columns = n_thresholds.len();
    needed(&[
        (n_features, size_of::<u32>()),
        (n_columns, SEARCH_BYTES),
        (n_thresholds.sum(), THRESHOLD_BYTES),
    ])
}
