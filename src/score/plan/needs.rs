//! What a plan has_room_for of memory, from above.

use super::{ClassValues, PlannedTree};
use crate::memory::needed;

/// What a plan has_room_for for each node: the operations of its split, and its share of the values.
const NODE_BYTES: usize = 64;
/// What the tree has_room_for for each node meanwhile: its role, the splits below it, the end of its path, its threshold.
const LAYOUT_BYTES: usize = 128;
/// What a tree has_room_for besides.
const TREE_OVERHEAD_BYTES: usize = size_of::<PlannedTree>() + size_of::<ClassValues>() + 256;
/// What a search has_room_for for each of its thresholds.
const THRESHOLD_BYTES: usize = 48;
/// What a search has_room_for besides.
const SEARCH_OVERHEAD_BYTES: usize = 768;

/// Bytes that the plan of all trees keeps.
pub(super) fn of_plan(n_nodes: usize, n_trees: usize) -> usize {
    needed(&[(n_nodes, NODE_BYTES), (n_trees, TREE_OVERHEAD_BYTES)])
}

/// Bytes that a tree has_room_for while its group is made.
pub(super) fn of_tree(n_nodes: usize) -> usize {
    needed(&[(n_nodes, LAYOUT_BYTES + NODE_BYTES), (1, TREE_OVERHEAD_BYTES)])
}

/// Bytes of the searches of a group, given the thresholds of each column that it looks at.
pub(super) fn of_group(n_features: usize, n_thresholds: impl ExactSizeIterator<Item = usize>) -> usize {
    let n_columns = n_thresholds.len();
    needed(&[
        (n_features, size_of::<u32>()),
        (n_columns, SEARCH_OVERHEAD_BYTES),
        (n_thresholds.sum(), THRESHOLD_BYTES),
    ])
}
