//! Growing one tree, a look at a feature at a time.
//!
//! Between two looks a tree can wait: several trees that grow side by side take up their values one after another, and the
//! memory then brings the cells of all of them at once. What each tree draws and does stays in its own order.

use std::ops::Range;

use super::noise::{EPSILON, Sums};
use super::sample::Sample;
use super::splitter::{Cut, Splitter};
use crate::forest::{Node, NodeNoise, Tree};
use crate::random::xorshift::XorShift;

/// A node that waits to be grown.
struct Pending {
    start: usize,
    end: usize,
    depth: u32,
    /// The split whose right child this is.
    right_child_of: Option<usize>,
    sums: Sums,
    impurity: f64,
    n_constant: usize,
}

impl Pending {
    fn rows(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// A tree that grows.
pub(super) struct Growing<S> {
    sample: S,
    splitter: Splitter,
    max_depth: u32,
    /// Sum of the weights of all rows.
    weight: f64,
    /// The node at hand, and the feature to look at in it.
    at: Option<(Pending, u32)>,
    stack: Vec<Pending>,
    nodes: Vec<Node>,
    noise: Vec<NodeNoise>,
}

impl<S: Sample> Growing<S> {
    pub(super) fn new(sample: S, n_features: usize, stream: XorShift, max_depth: u32) -> Self {
        let sums = sample.rows().sums();
        let root = Pending {
            start: 0,
            end: sample.rows().len(),
            depth: 0,
            right_child_of: None,
            sums,
            impurity: sums.impurity(),
            n_constant: 0,
        };
        // No more nodes than a tree of this depth or of so many rows has; large trees seldom come near.
        let capacity = (2 * root.end).min(2 << max_depth.min(10)).min(1024);
        let mut stack = Vec::with_capacity(max_depth as usize + 1);
        stack.push(root);
        let mut tree = Self {
            sample,
            splitter: Splitter::new(n_features, stream),
            max_depth,
            weight: sums.weight,
            at: None,
            stack,
            nodes: Vec::with_capacity(capacity),
            noise: Vec::with_capacity(capacity),
        };
        tree.next_node();
        tree
    }

    /// Whether there is nothing left to look at.
    pub(super) fn is_grown(&self) -> bool {
        self.at.is_none()
    }

    /// Takes up the values of the feature drawn last.
    pub(super) fn look(&mut self) {
        if let Some((node, feature)) = &self.at {
            self.sample.look(*feature, node.rows());
        }
    }

    /// Goes on after a look, until the next feature is drawn or the tree is grown.
    pub(super) fn go_on(&mut self) {
        let Some((node, _)) = self.at.take() else {
            return;
        };
        let scan = self.sample.scan(node.rows());
        match self.splitter.cut(&scan, node.end - node.start) {
            Some(cut) => self.split(&node, cut),
            None => {
                if let Some(feature) = self.splitter.draw() {
                    self.at = Some((node, feature));
                    return;
                }
                self.splitter.end();
            }
        }
        self.next_node();
    }

    /// Parts a node, and makes a split of it if both sides have rows and the noise allows it.
    fn split(&mut self, node: &Pending, cut: Cut) {
        let n = node.end - node.start;
        let n_constant = self.splitter.end();
        let n_left = self.sample.part(node.rows(), cut.threshold, cut.missing_left);
        if n_left == 0 || n_left == n {
            return;
        }
        let split = self
            .sample
            .rows()
            .split(node.rows(), n_left, node.sums, node.impurity, self.weight);
        if split.improvement + EPSILON < 0.0 {
            return;
        }
        let index = self.nodes.len() - 1;
        let grown = &mut self.nodes[index];
        grown.threshold = cut.threshold;
        grown.feature = cut.feature;
        // A feature without missing values here sends later ones to the larger side.
        grown.missing_go_to_left = if cut.has_missing {
            cut.missing_left
        } else {
            n_left > n - n_left
        };
        let middle = node.start + n_left;
        let child = |start, end, right_child_of, (sums, impurity)| Pending {
            start,
            end,
            depth: node.depth + 1,
            right_child_of,
            sums,
            impurity,
            n_constant,
        };
        self.stack.push(child(middle, node.end, Some(index), split.right));
        self.stack.push(child(node.start, middle, None, split.left));
    }

    /// Takes nodes up until there is a feature to look at.
    ///
    /// Left children come first: the order of nodes is the order of all draws of the tree.
    fn next_node(&mut self) {
        while let Some(node) = self.stack.pop() {
            if let Some(parent) = node.right_child_of {
                let index = self.nodes.len() as u32;
                let parent: &mut Node = &mut self.nodes[parent];
                parent.right = index;
            }
            let n = node.end - node.start;
            self.nodes.push(Node::leaf(n as u32));
            self.noise.push(node.sums.record(node.impurity));
            let is_leaf = node.depth >= self.max_depth || n < 2 || node.impurity <= EPSILON;
            if is_leaf {
                continue;
            }
            self.splitter.begin(node.n_constant);
            if let Some(feature) = self.splitter.draw() {
                self.at = Some((node, feature));
                return;
            }
            self.splitter.end();
        }
    }

    /// The grown tree over these columns of the table.
    pub(super) fn into_tree(self, features: Vec<u32>) -> Tree {
        Tree {
            features,
            nodes: self.nodes,
            noise: self.noise,
        }
    }
}
