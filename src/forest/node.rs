//! Nodes of a tree.

/// Feature index that marks a leaf.
pub const LEAF: u32 = u32::MAX;

/// A split or a leaf. Trees are stored depth first, left before right, so the left child is always the next node.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// Threshold of a split: rows with a value at or below it go left. `-2.0` in a leaf, as in scikit-learn.
    pub threshold: f64,
    /// Index among the tree's own features, or [`LEAF`].
    pub feature: u32,
    /// Index of the right child within the tree; 0 in a leaf.
    pub right: u32,
    /// Number of distinct training rows that reached the node.
    pub n_node_samples: u32,
    /// Whether a missing value goes left.
    pub missing_go_to_left: bool,
}

// Trees grown on all rows have millions of nodes, so growth of this type must be noticed.
const _: () = assert!(size_of::<Node>() == 24);

/// The noise target at a node, as scikit-learn's trees record it. Scoring does not need it; readers of fitted trees do.
#[derive(Debug, Clone, Copy)]
pub struct NodeNoise {
    /// Variance of the noise target, computed from running sums.
    pub impurity: f64,
    /// Mean of the noise target.
    pub mean: f64,
    /// Number of training rows that reached the node, repeats included.
    pub weight: f64,
}

impl Node {
    /// Creates a leaf with this many training rows.
    #[must_use]
    pub fn leaf(n_node_samples: u32) -> Self {
        Self {
            threshold: -2.0,
            feature: LEAF,
            right: 0,
            n_node_samples,
            missing_go_to_left: false,
        }
    }

    /// Returns whether the node is a leaf.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        self.feature == LEAF
    }
}

/// Compares bits: a split between infinities has a NaN threshold, and still equals itself.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        let bits = |node: &Self| {
            let Self {
                threshold,
                feature,
                right,
                n_node_samples,
                missing_go_to_left,
            } = *node;
            (threshold.to_bits(), feature, right, n_node_samples, missing_go_to_left)
        };
        bits(self) == bits(other)
    }
}

impl Eq for Node {}

/// Compares bits, as [`Node`] does.
impl PartialEq for NodeNoise {
    fn eq(&self, other: &Self) -> bool {
        let bits = |noise: &Self| [noise.impurity, noise.mean, noise.weight].map(f64::to_bits);
        bits(self) == bits(other)
    }
}

impl Eq for NodeNoise {}
