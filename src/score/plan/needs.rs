//! Upper bounds of the memory that a plan takes.

use super::{ClassValues, PlannedTree};
use crate::memory::needed;

/// Bytes per node: the operations of its split, and its share of the values.
const NODE_BYTES: usize = 64;
/// Bytes per node while a plan is made: its role, the splits below it, the end of its path, its threshold.
const LAYOUT_BYTES: usize = 128;
/// Bytes per tree in addition to its nodes.
const TREE_OVERHEAD_BYTES: usize = size_of::<PlannedTree>() + size_of::<ClassValues>() + 256;
/// Bytes per threshold of a search.
const THRESHOLD_BYTES: usize = 48;
/// Bytes of a search in addition to its thresholds.
const SEARCH_OVERHEAD_BYTES: usize = 768;

/// Returns the bytes that the plan of all trees keeps.
pub(super) fn of_plan(n_nodes: usize, n_trees: usize) -> usize {
    needed(&[(n_nodes, NODE_BYTES), (n_trees, TREE_OVERHEAD_BYTES)])
}

/// Returns the bytes that a tree takes while its group is made.
pub(super) fn of_tree(n_nodes: usize) -> usize {
    needed(&[(n_nodes, LAYOUT_BYTES + NODE_BYTES), (1, TREE_OVERHEAD_BYTES)])
}

/// Returns the bytes of the searches of a group, given the number of thresholds of each column.
pub(super) fn of_group(n_features: usize, n_thresholds: impl ExactSizeIterator<Item = usize>) -> usize {
    let n_columns = n_thresholds.len();
    needed(&[
        (n_features, size_of::<u32>()),
        (n_columns, SEARCH_OVERHEAD_BYTES),
        (n_thresholds.sum(), THRESHOLD_BYTES),
    ])
}
