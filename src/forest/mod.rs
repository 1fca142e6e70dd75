//! The forest as a data structure, with all trees in one contiguous store; growing and scoring live elsewhere.

#![allow(
    clippy::indexing_slicing,
    reason = "`Forest::new` has checked every start and child, or is about to; a wrong one is a defect, and a panic becomes an exception at the boundary"
)]

pub mod file;
pub mod node;
pub mod path_length;
mod threshold;

pub use node::{LEAF, Node, NodeNoise};
pub use threshold::round_down;

use crate::error::{Error, Result};
use crate::memory;

/// One tree, as it is grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Columns of the input that the tree uses, in the order drawn.
    pub features: Vec<u32>,
    /// Nodes, depth first, left before right.
    pub nodes: Vec<Node>,
    /// Noise target at each node.
    pub noise: Vec<NodeNoise>,
}

/// All trees of a forest.
///
/// [`Forest::new`] checks these invariants, on which scoring relies:
///
/// 1. Tree `t` has the nodes `starts[t]..starts[t + 1]` and the columns `feature_starts[t]..feature_starts[t + 1]`: both lists
///    begin with 0, rise strictly and end with the number of all nodes or columns. There is at least one tree.
/// 2. The left child of a split is the next node, and its right child comes after that, within the same tree. Every node but the
///    root is the child of exactly one split. So a walk always moves on and ends in a leaf.
/// 3. The feature of a split is one of its tree's columns, and a tree's columns are columns of the input.
/// 4. There is one record of the noise target per node.
/// 5. A split has as many training rows as its children together, and a leaf equals the result of [`Node::leaf`]. So only the
///    numbers of the leaves need to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forest {
    n_features: usize,
    features: Vec<u32>,
    feature_starts: Vec<usize>,
    nodes: Vec<Node>,
    noise: Vec<NodeNoise>,
    starts: Vec<usize>,
}

impl Forest {
    /// Creates a forest from arrays that are laid out as the invariants say.
    ///
    /// # Errors
    /// [`Error::Forest`] when an invariant does not hold.
    pub fn new(
        n_features: usize,
        features: Vec<u32>,
        feature_starts: Vec<usize>,
        nodes: Vec<Node>,
        noise: Vec<NodeNoise>,
        starts: Vec<usize>,
    ) -> Result<Self> {
        if noise.len() != nodes.len() {
            let message = format!("{} nodes, but {} records of noise", nodes.len(), noise.len());
            return Err(Error::Forest(message));
        }
        check_starts("nodes", &starts, nodes.len())?;
        check_starts("features", &feature_starts, features.len())?;
        if starts.len() != feature_starts.len() {
            return Err(Error::Forest(
                "the starts of nodes and of features describe different numbers of trees".into(),
            ));
        }
        if let Some(f) = features.iter().find(|&&f| f as usize >= n_features) {
            return Err(Error::Forest(format!(
                "a tree uses column {f}, but there are {n_features}"
            )));
        }
        let forest = Self {
            n_features,
            features,
            feature_starts,
            nodes,
            noise,
            starts,
        };
        for tree in 0..forest.n_trees() {
            check_tree(forest.tree(tree), forest.tree_features(tree).len())
                .map_err(|reason| Error::Forest(format!("tree {tree}: {reason}")))?;
        }
        Ok(forest)
    }

    /// Creates a forest of `trees`, each with its columns of the input, after the trees of `existing`, if any.
    ///
    /// # Errors
    /// [`Error::Forest`] when an invariant does not hold; [`Error::ColumnCount`] when `existing` was grown on another number of
    /// columns; [`Error::Memory`].
    pub fn from_trees(n_features: usize, existing: Option<&Self>, trees: Vec<Tree>) -> Result<Self> {
        if let Some(forest) = existing
            && forest.n_features != n_features
        {
            return Err(Error::ColumnCount {
                actual: n_features,
                expected: forest.n_features,
            });
        }
        // Everything is stored twice for a moment, and the trees may be most of the process's memory.
        let before = |len: fn(&Self) -> usize| existing.map_or(0, len);
        let mut all = Self {
            n_features,
            features: memory::with_capacity(before(|f| f.features.len()) + total(&trees, |t| t.features.len()))?,
            feature_starts: memory::with_capacity(before(|f| f.starts.len()) + trees.len() + 1)?,
            nodes: memory::with_capacity(before(|f| f.nodes.len()) + total(&trees, |t| t.nodes.len()))?,
            noise: memory::with_capacity(before(|f| f.noise.len()) + total(&trees, |t| t.noise.len()))?,
            starts: memory::with_capacity(before(|f| f.starts.len()) + trees.len() + 1)?,
        };
        if let Some(existing) = existing {
            all.features.extend_from_slice(&existing.features);
            all.feature_starts.extend_from_slice(&existing.feature_starts);
            all.nodes.extend_from_slice(&existing.nodes);
            all.noise.extend_from_slice(&existing.noise);
            all.starts.extend_from_slice(&existing.starts);
        } else {
            all.feature_starts.push(0);
            all.starts.push(0);
        }
        for tree in trees {
            all.features.extend(tree.features);
            all.feature_starts.push(all.features.len());
            all.nodes.extend(tree.nodes);
            all.noise.extend(tree.noise);
            all.starts.push(all.nodes.len());
        }
        Self::new(
            n_features,
            all.features,
            all.feature_starts,
            all.nodes,
            all.noise,
            all.starts,
        )
    }

    /// Returns the number of columns of the input that the forest was grown on.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Returns the number of trees.
    #[must_use]
    pub fn n_trees(&self) -> usize {
        self.starts.len() - 1
    }

    /// Returns the columns of one tree, in the order drawn.
    #[must_use]
    pub fn tree_features(&self, tree: usize) -> &[u32] {
        &self.features[self.feature_starts[tree]..self.feature_starts[tree + 1]]
    }

    /// Returns the columns of all trees, one tree after another.
    #[must_use]
    pub fn features(&self) -> &[u32] {
        &self.features
    }

    /// Returns the start of each tree's columns, and the number of all columns.
    #[must_use]
    pub fn feature_starts(&self) -> &[usize] {
        &self.feature_starts
    }

    /// Returns the nodes of one tree, root first.
    #[must_use]
    pub fn tree(&self, tree: usize) -> &[Node] {
        &self.nodes[self.starts[tree]..self.starts[tree + 1]]
    }

    /// Returns the records of the noise target at the nodes of one tree, root first.
    #[must_use]
    pub fn tree_noise(&self, tree: usize) -> &[NodeNoise] {
        &self.noise[self.starts[tree]..self.starts[tree + 1]]
    }

    /// Returns the records of the noise target at all nodes.
    #[must_use]
    pub fn noise(&self) -> &[NodeNoise] {
        &self.noise
    }

    /// Returns the start of each tree's nodes, and the number of all nodes.
    #[must_use]
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Returns the nodes of all trees.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the number of training rows in the largest node, which is the last entry that a table of c(n) needs.
    #[must_use]
    pub fn largest_node(&self) -> u32 {
        self.nodes.iter().map(|node| node.n_node_samples).max().unwrap_or(0)
    }
}

fn total(trees: &[Tree], len: impl Fn(&Tree) -> usize) -> usize {
    trees.iter().map(len).sum()
}

/// Returns the depth of every node of a valid tree; the root has depth 0.
#[must_use]
pub fn depths(tree: &[Node]) -> Vec<u32> {
    let mut depths = vec![0; tree.len()];
    for (i, node) in tree.iter().enumerate() {
        if !node.is_leaf() {
            depths[i + 1] = depths[i] + 1;
            depths[node.right as usize] = depths[i] + 1;
        }
    }
    depths
}

/// Checks invariant 1.
fn check_starts(label: &str, starts: &[usize], end: usize) -> Result<()> {
    let rises = starts.len() > 1 && starts.windows(2).all(|w| w[0] < w[1]);
    if rises && starts.first() == Some(&0) && starts.last() == Some(&end) {
        Ok(())
    } else {
        Err(Error::Forest(format!(
            "the starts of the trees do not cover the {end} {label}"
        )))
    }
}

/// Checks invariants 2, 3 and 5 for one tree.
fn check_tree(tree: &[Node], n_features: usize) -> std::result::Result<(), String> {
    if u32::try_from(tree.len()).is_err() {
        return Err(format!("{} nodes are too many", tree.len()));
    }
    let mut is_child = vec![false; tree.len()];
    for (i, node) in tree.iter().enumerate() {
        if i > 0 && !is_child[i] {
            return Err(format!("no earlier split leads to node {i}"));
        }
        if node.is_leaf() {
            if *node != Node::leaf(node.n_node_samples) {
                return Err(format!("node {i} is a leaf with more than its training rows"));
            }
            continue;
        }
        if node.feature as usize >= n_features {
            return Err(format!("node {i} uses feature {} of {n_features}", node.feature));
        }
        let right = node.right as usize;
        if right <= i + 1 || right >= tree.len() {
            return Err(format!(
                "node {i} has its right child at {right}, outside {}..{}",
                i + 2,
                tree.len()
            ));
        }
        for child in [i + 1, right] {
            if std::mem::replace(&mut is_child[child], true) {
                return Err(format!("node {child} has two parents"));
            }
        }
        let [left, right] = [i + 1, right].map(|child| tree[child].n_node_samples);
        if left.checked_add(right) != Some(node.n_node_samples) {
            return Err(format!(
                "node {i} has {} training rows, but its children have {left} and {right}",
                node.n_node_samples
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(feature: u32, right: u32, n_node_samples: u32) -> Node {
        Node {
            threshold: 0.5,
            feature,
            right,
            n_node_samples,
            missing_go_to_left: false,
        }
    }

    fn zero_noise(n: usize) -> Vec<NodeNoise> {
        let noise = NodeNoise {
            impurity: 0.0,
            mean: 0.0,
            weight: 1.0,
        };
        vec![noise; n]
    }

    fn refusal(nodes: Vec<Node>) -> String {
        let starts = vec![0, nodes.len()];
        let noise = zero_noise(nodes.len());
        let forest = Forest::new(2, vec![0, 1], vec![0, 2], nodes, noise, starts);
        forest.map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn depths_and_the_largest_node_of_a_valid_tree_are_found() {
        let nodes = vec![
            split(0, 4, 8),
            split(1, 3, 3),
            Node::leaf(1),
            Node::leaf(2),
            Node::leaf(5),
        ];
        let forest = Forest::new(2, vec![1, 0], vec![0, 2], nodes, zero_noise(5), vec![0, 5]).unwrap();
        assert_eq!(depths(forest.tree(0)), [0, 1, 2, 2, 1]);
        assert_eq!(forest.largest_node(), 8);
    }

    #[test]
    fn broken_trees_are_refused() {
        let leaf = Node::leaf(1);
        let cases = [
            (vec![split(0, 2, 2), leaf], "right child at 2"),
            (vec![split(0, 1, 2), leaf], "right child at 1"),
            (vec![split(0, 0, 2), leaf, leaf], "right child at 0"),
            (vec![split(2, 2, 2), leaf, leaf], "uses feature 2"),
            (
                vec![split(0, 3, 2), leaf, leaf, leaf],
                "no earlier split leads to node 2",
            ),
            (
                vec![split(0, 3, 3), split(0, 3, 2), leaf, leaf, leaf],
                "node 3 has two parents",
            ),
            (vec![], "starts"),
            (
                vec![split(0, 2, 3), leaf, leaf],
                "node 0 has 3 training rows, but its children have 1 and 1",
            ),
            (
                vec![split(0, 2, u32::MAX), Node::leaf(u32::MAX), leaf],
                "its children have 4294967295 and 1",
            ),
            // This node would be valid if the sum of its children could wrap.
            (vec![split(0, 2, 0), Node::leaf(u32::MAX), leaf], "node 0 has 0"),
            (vec![Node { right: 1, ..leaf }], "node 0 is a leaf with more"),
            (vec![Node { threshold: 0.0, ..leaf }], "node 0 is a leaf with more"),
            (
                vec![Node {
                    missing_go_to_left: true,
                    ..leaf
                }],
                "node 0 is a leaf with more",
            ),
        ];
        for (nodes, reason) in cases {
            let message = refusal(nodes);
            assert!(message.contains(reason), "{message} does not name {reason}");
        }
    }

    #[test]
    fn broken_shapes_are_refused() {
        let leaf = vec![Node::leaf(1)];
        let cases: [(Vec<u32>, Vec<usize>, Vec<usize>); 9] = [
            (vec![0], vec![0, 1], vec![]),
            (vec![0], vec![0, 1], vec![0]),
            (vec![0], vec![0, 1], vec![0, 2]),
            (vec![0], vec![0, 1], vec![1, 1]),
            (vec![0, 0], vec![0, 1, 2], vec![0, 1, 1]),
            (vec![0, 0], vec![0, 1, 2], vec![0, 1]),
            (vec![], vec![0, 0], vec![0, 1]),
            (vec![0], vec![0, usize::MAX], vec![0, 1]),
            (vec![1], vec![0, 1], vec![0, 1]),
        ];
        for (features, feature_starts, starts) in cases {
            assert!(Forest::new(1, features, feature_starts, leaf.clone(), zero_noise(1), starts).is_err());
        }
        assert!(Forest::new(1, vec![0], vec![0, 1], leaf.clone(), zero_noise(2), vec![0, 1]).is_err());
        assert!(Forest::new(1, vec![0], vec![0, 1], leaf, zero_noise(1), vec![0, 1]).is_ok());
    }
}
