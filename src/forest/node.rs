//! One node of a tree.

/// The feature index that marks a leaf.
pub const LEAF: u32 = u32::MAX;

/// A split or a leaf. Trees stand in depth-first order, left before right, so the left child is always the next node.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// Rows with a value at or below it go left. `-2.0` in a leaf, as in scikit-learn.
    pub threshold: f64,
    /// Index among the tree's own features, or [`LEAF`].
    pub feature: u32,
    /// Index of the right child within the tree; 0 in a leaf.
    pub right: u32,
    /// Distinct training rows that reached the node.
    pub n_node_samples: u32,
    /// Whether a missing value goes left.
    pub missing_go_to_left: bool,
}

// Trees grown from all rows have millions of nodes: growth of the node must be seen.
const _: () = assert!(size_of::<Node>() == 24);

/// What scikit-learn's trees record of their noise target at a node. Scoring has no use for it; readers of fitted trees do.
#[derive(Debug, Clone, Copy)]
pub struct NodeNoise {
    /// Variance of the noise target, as far as running sums tell.
    pub impurity: f64,
    /// Mean of the noise target.
    pub mean: f64,
    /// Training rows that reached the node, repeats counted.
    pub weight: f64,
}

impl Node {
    /// A leaf with this many training rows.
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

    /// Whether the node is a leaf.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        self.feature == LEAF
    }
}

/// Bit for bit: a split between infinities has a NaN for a threshold, and is equal to itself all the same.
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

/// Bit for bit, like [`Node`].
impl PartialEq for NodeNoise {
    fn eq(&self, other: &Self) -> bool {
        let bits = |noise: &Self| [noise.impurity, noise.mean, noise.weight].map(f64::to_bits);
        bits(self) == bits(other)
    }
}

impl Eq for NodeNoise {}
