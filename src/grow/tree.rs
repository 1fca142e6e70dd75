//! Grows one tree, one feature of one node at a time.
//!
//! Source: Liu, Ting and Zhou, "Isolation Forest", ICDM 2008, as implemented by scikit-learn's `DepthFirstTreeBuilder`
//! (`_tree.pyx`) and random splitter (`_splitter.pyx`). This module makes exactly the same random draws. scikit-learn fits each
//! tree to a random target, the noise target, which makes a node a leaf in rare cases ([`super::noise`]):
//!
//! ```text
//! stack = [all in-bag rows]
//! while node = stack.pop():                                     # left children first
//!     index = append(leaf)
//!     if depth == max_depth or size < 2 or the node's noise is constant: continue
//!     do:
//!         feature = draw one of the features not drawn yet      # draw again if it is constant in an ancestor
//!         if no feature is left: continue with the next node    # this node stays a leaf
//!         values = cells of the node's rows in that feature
//!     while values are constant
//!     threshold = uniform(min(values), max(values))
//!     if values has NaN: draw the side to which NaN go
//!     left, right = partition rows by value <= threshold
//!     if left or right is empty, or the split worsens the impurity of the noise: continue
//!     nodes[index] = split
//!     push(right); push(left)
//! ```
//!
//! [`TreeBuilder`] cuts this loop into two functions that are called in turn, so that several trees can grow side by side:
//!
//! - [`TreeBuilder::gather`] reads the values of one feature. The caller gathers for several trees before any of them continues, so
//!   the processor loads their cells at the same time. Each tree has its own random stream, so its draws keep their order.
//! - [`TreeBuilder::advance`] draws the split, partitions the rows, and takes the next node from the stack.
//!
//! The noise sums of a node, which decide whether it or the split above it becomes a leaf, are added while its values are gathered
//! ([`super::noise`]). So the search for a split begins before this is decided. If the noise rejects the node, which is very rare,
//! the search is rolled back with all draws that it has made.

use std::ops::Range;

use rand_core::Rng;

use super::noise::{PURE_IMPURITY, SmallerSide, SplitImpurity, Sums};
use super::sample::Sample;
use super::splitter::{DrawnSplit, Splitter};
use crate::error::{Error, Result};
use crate::forest::{Node, NodeNoise, Tree};
use crate::memory;

/// A node on the stack.
struct OpenNode {
    start: usize,
    end: usize,
    depth: u32,
    /// Index of the split whose right child this node is.
    right_child_of: Option<usize>,
    /// Number of features known to be constant in the node.
    n_constants: usize,
    /// Noise sums over the rows; `None` until its values are gathered, unless they are known from the split of its parent.
    sums: Option<Sums>,
    impurity: Impurity,
}

impl OpenNode {
    fn rows(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// The impurity of a node, or the source from which it will be computed.
#[derive(Clone, Copy)]
enum Impurity {
    Known(f64),
    /// The node is the root: its impurity follows from its sums.
    FromSums,
    /// The node is the left child of the undecided split: its impurity follows from that decision.
    FromSplit,
}

/// A node whose sums and impurity are known, and which has an index in the tree.
struct EvaluatedNode {
    index: usize,
    start: usize,
    end: usize,
    depth: u32,
    sums: Sums,
    impurity: f64,
}

impl EvaluatedNode {
    fn rows(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// A split that is not decided yet, since the noise sums over its left side are missing.
struct UndecidedSplit {
    /// The node that is split.
    evaluated: EvaluatedNode,
    side: SmallerSide,
    /// The node as it will be stored, complete except for the index of its right child.
    node: Node,
    /// The right child, complete except for its impurity.
    right: OpenNode,
}

/// A node for which a split is being searched.
enum SearchedNode {
    /// The first feature of the node is being gathered, and its noise sums are computed meanwhile.
    FirstFeature(OpenNode),
    /// All features so far were constant, and another one is being gathered.
    NextFeature(EvaluatedNode),
}

/// A tree that is being grown.
pub(super) struct TreeBuilder<S, R> {
    sample: S,
    splitter: Splitter<R>,
    max_depth: u32,
    /// Weight of all rows.
    total_weight: f64,
    /// The current node, and the feature to gather in it.
    current: Option<(SearchedNode, u32)>,
    undecided: Option<UndecidedSplit>,
    stack: Vec<OpenNode>,
    nodes: Vec<Node>,
    noise: Vec<NodeNoise>,
    /// The reason why the tree could not be grown.
    failure: Option<Error>,
}

impl<S: Sample, R: Rng + Clone> TreeBuilder<S, R> {
    pub(super) fn new(sample: S, n_features: usize, rng: R, max_depth: u32) -> Self {
        let n = sample.rows().len();
        let root = OpenNode {
            start: 0,
            end: n,
            depth: 0,
            right_child_of: None,
            n_constants: 0,
            sums: None,
            impurity: Impurity::FromSums,
        };
        // A tree has fewer than `2 * n` nodes, and fewer than `2 << max_depth`. The capacity never exceeds that of depth 9, because
        // deeper trees have far fewer nodes than their depth allows; `make_room` enlarges it.
        let capacity = n.saturating_mul(2).min(2 << max_depth.min(9));
        let mut stack = Vec::with_capacity(max_depth as usize + 1);
        stack.push(root);
        let mut tree = Self {
            total_weight: sample.rows().weight(),
            sample,
            splitter: Splitter::new(n_features, rng),
            max_depth,
            current: None,
            undecided: None,
            stack,
            nodes: Vec::with_capacity(capacity),
            noise: Vec::with_capacity(capacity),
            failure: None,
        };
        tree.next_node();
        tree
    }

    /// Returns whether the tree is finished.
    pub(super) fn is_finished(&self) -> bool {
        self.current.is_none()
    }

    /// Gathers the values of the feature drawn last.
    pub(super) fn gather(&mut self) {
        match &mut self.current {
            Some((SearchedNode::FirstFeature(node), feature)) if node.sums.is_none() => {
                node.sums = Some(self.sample.sum_and_gather(*feature, node.rows()));
            }
            Some((SearchedNode::FirstFeature(node), feature)) => self.sample.gather(*feature, node.rows()),
            Some((SearchedNode::NextFeature(node), feature)) => self.sample.gather(*feature, node.rows()),
            None => {}
        }
    }

    /// Continues after values were gathered, until the next feature is drawn or the tree is finished.
    pub(super) fn advance(&mut self) {
        let node = match self.current.take() {
            Some((SearchedNode::FirstFeature(node), _)) => match self.finalize(&node) {
                Some(node) if node.impurity > PURE_IMPURITY || node.impurity.is_nan() => node,
                _ => {
                    self.splitter.roll_back();
                    return self.next_node();
                }
            },
            Some((SearchedNode::NextFeature(node), _)) => node,
            None => return,
        };
        let scan = self.sample.scan(node.rows());
        if let Some(drawn) = self.splitter.draw_split(&scan, node.end - node.start) {
            self.split(node, drawn);
        } else if let Some(feature) = self.splitter.draw_feature() {
            self.current = Some((SearchedNode::NextFeature(node), feature));
            return;
        } else {
            self.splitter.end_node();
        }
        self.next_node();
    }

    /// Partitions a node, and makes it a split if both sides have rows and the noise does not reject the split.
    fn split(&mut self, node: EvaluatedNode, drawn: DrawnSplit) {
        let n = node.end - node.start;
        let n_constants = self.splitter.end_node();
        let n_left = self.sample.partition(node.rows(), drawn.threshold, drawn.missing_left);
        let n_right = n - n_left;
        if n_left == 0 || n_right == 0 {
            return;
        }
        let side = self.sample.rows().smaller_side(node.rows(), n_left, &node.sums);
        let child = |start, end, right_child_of, is_smaller| OpenNode {
            start,
            end,
            depth: node.depth + 1,
            right_child_of,
            n_constants,
            sums: if is_smaller { Some(side.sums) } else { None },
            impurity: Impurity::FromSplit,
        };
        let middle = node.start + n_left;
        let mut left = child(node.start, middle, None, n_left <= n_right);
        let split = UndecidedSplit {
            node: Node {
                threshold: drawn.threshold,
                feature: drawn.feature,
                // If no training row of this node misses the feature, rows to be scored that miss it go to the larger side.
                missing_go_to_left: if drawn.has_missing {
                    drawn.missing_left
                } else {
                    n_left > n_right
                },
                ..Node::leaf(n as u32)
            },
            side,
            right: child(middle, node.end, Some(node.index), n_left > n_right),
            evaluated: node,
        };
        if let Some(sums) = left.sums {
            let Some(impurity) = self.decide(split, &sums) else {
                return;
            };
            left.impurity = Impurity::Known(impurity);
        } else {
            self.undecided = Some(split);
        }
        self.stack.push(left);
    }

    /// Completes a split, pushes its right child, and returns the impurity of the left child. Returns `None` if the noise rejects
    /// the split, so that the node stays a leaf.
    fn decide(&mut self, split: UndecidedSplit, left: &Sums) -> Option<f64> {
        let UndecidedSplit {
            evaluated,
            side,
            node,
            mut right,
        } = split;
        let impurities = SplitImpurity::new(&evaluated.sums, evaluated.impurity, &side, left, self.total_weight);
        if impurities.worsens() {
            return None;
        }
        self.nodes[evaluated.index] = node;
        right.impurity = Impurity::Known(impurities.right);
        self.stack.push(right);
        Some(impurities.left)
    }

    /// Takes nodes from the stack until there is a feature to gather.
    ///
    /// The order in which nodes are taken, left children first, is the order of all random draws of the tree.
    fn next_node(&mut self) {
        while let Some(node) = self.stack.pop() {
            let is_pure = matches!(node.impurity, Impurity::Known(impurity) if impurity <= PURE_IMPURITY);
            if node.depth >= self.max_depth || node.end - node.start < 2 || is_pure {
                self.finalize(&node);
                continue;
            }
            self.splitter.begin_node(node.n_constants);
            if let Some(feature) = self.splitter.draw_feature() {
                self.current = Some((SearchedNode::FirstFeature(node), feature));
                return;
            }
            // All features are known to be constant, so nothing was drawn.
            self.splitter.end_node();
            self.finalize(&node);
        }
    }

    /// Appends a node to the tree, as a leaf for now. Returns `None` if the split above it was rejected, so that the node does not
    /// exist, or if there is no memory.
    fn finalize(&mut self, node: &OpenNode) -> Option<EvaluatedNode> {
        let sums = match node.sums {
            Some(sums) => sums,
            None => self.sample.rows().sums(node.rows()),
        };
        let impurity = match (node.impurity, self.undecided.take()) {
            (Impurity::FromSplit, Some(split)) => self.decide(split, &sums)?,
            (Impurity::Known(impurity), _) => impurity,
            _ => sums.impurity(),
        };
        let is_full = self.nodes.len() == self.nodes.capacity() || self.noise.len() == self.noise.capacity();
        if is_full && !self.make_room() {
            return None;
        }
        let index = self.nodes.len();
        if let Some(parent) = node.right_child_of {
            let parent: &mut Node = &mut self.nodes[parent];
            parent.right = index as u32;
        }
        self.nodes.push(Node::leaf((node.end - node.start) as u32));
        self.noise.push(sums.record(impurity));
        Some(EvaluatedNode {
            index,
            start: node.start,
            end: node.end,
            depth: node.depth,
            sums,
            impurity,
        })
    }

    /// Makes room for more nodes. If there is no memory, it keeps the error and ends the tree.
    #[cold]
    fn make_room(&mut self) -> bool {
        let made = memory::grow(&mut self.nodes).and_then(|()| memory::grow(&mut self.noise));
        if made.is_err() {
            self.stack.clear();
        }
        self.failure = made.err();
        self.failure.is_none()
    }

    /// Returns the finished tree over these columns of the table.
    ///
    /// # Errors
    /// [`Error::Memory`] when there was no memory for its nodes.
    pub(super) fn into_tree(self, features: Vec<u32>) -> Result<Tree> {
        let Self {
            mut nodes,
            mut noise,
            failure,
            ..
        } = self;
        if let Some(error) = failure {
            return Err(error);
        }
        if nodes.len() < nodes.capacity() / 2 {
            // Copying frees the large allocation as a whole, for the next tree. Shrinking it in place would leave free pieces that
            // are too short.
            nodes = memory::copied(&nodes)?;
            noise = memory::copied(&noise)?;
        }
        Ok(Tree { features, nodes, noise })
    }
}
