//! TreeBuilder one tree, a look at a feature at a time.
//!
//! Between two looks a tree can wait: several trees that grow side by side take up their values one after another, and the
//! memory then brings the cells of all of them at once. What each tree draws and does stays in its own order.
//!
//! The noise sums over a node are made while it is looked at, so a search may begin before it is known whether the noise
//! makes the node, or the one above it, a leaf. It nearly never does; then the search is taken back with all it has drawn.

use std::ops::Range;

use super::noise::{PURE_IMPURITY, SmallerSide, SplitImpurity, Sums};
use super::sample::Sample;
use super::splitter::{DrawnSplit, Splitter};
use crate::error::{Error, Result};
use crate::forest::{Node, NodeNoise, Tree};
use crate::memory;
use rand_core::Rng;

/// A node that waits to be grown.
struct OpenNode {
    start: usize,
    end: usize,
    depth: u32,
    /// The split whose right child this is.
    right_child_of: Option<usize>,
    n_constants: usize,
    /// Made at the latest when the node is looked at.
    sums: Option<Sums>,
    impurity: Impurity,
}

impl OpenNode {
    fn rows(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// What is known of a node's impurity before its sums are made.
#[derive(Clone, Copy)]
enum Impurity {
    Known(f64),
    /// The node is the root: it follows from the sums.
    FromSums,
    /// The node is the left side of the undecided split: it follows from the impurities on that.
    FromSplit,
}

/// A node whose sums are made.
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

/// A split that is not judged yet, since the sums over its left side are not made.
struct UndecidedSplit {
    of: EvaluatedNode,
    side: SmallerSide,
    /// What the node is if the split stands, but for the right child's position.
    node: Node,
    /// The right child, but for its impurity.
    right: OpenNode,
}

/// A node that is searched for a split.
enum SearchedNode {
    /// Its sums are made with this look.
    First(OpenNode),
    /// The features seen so far were constant.
    Again(EvaluatedNode),
}

/// A tree that grows.
pub(super) struct TreeBuilder<S, R> {
    sample: S,
    splitter: Splitter<R>,
    max_depth: u32,
    /// The weight of all rows.
    total_weight: f64,
    /// The node at hand, and the feature to look at in it.
    current: Option<(SearchedNode, u32)>,
    undecided: Option<UndecidedSplit>,
    stack: Vec<OpenNode>,
    nodes: Vec<Node>,
    noise: Vec<NodeNoise>,
    /// Why the tree could not be grown.
    failure: Option<Error>,
}

impl<S: Sample, R: Rng + Clone> TreeBuilder<S, R> {
    pub(super) fn new(sample: S, n_features: usize, stream: R, max_depth: u32) -> Self {
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
        // As many nodes as fit into this depth or over so many rows; large trees seldom come near.
        let capacity = n.saturating_mul(2).min(2 << max_depth.min(9));
        let mut stack = Vec::with_capacity(max_depth as usize + 1);
        stack.push(root);
        let mut tree = Self {
            total_weight: sample.rows().weight(),
            sample,
            splitter: Splitter::new(n_features, stream),
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

    /// Whether there is nothing left to look at.
    pub(super) fn is_finished(&self) -> bool {
        self.current.is_none()
    }

    /// Takes up the values of the feature drawn last.
    pub(super) fn gather(&mut self) {
        match &mut self.current {
            Some((SearchedNode::First(node), feature)) if node.sums.is_none() => {
                node.sums = Some(self.sample.sum_and_gather(*feature, node.rows()));
            }
            Some((SearchedNode::First(node), feature)) => self.sample.gather(*feature, node.rows()),
            Some((SearchedNode::Again(node), feature)) => self.sample.gather(*feature, node.rows()),
            None => {}
        }
    }

    /// Goes on after a look, until the next feature is drawn or the tree is grown.
    pub(super) fn advance(&mut self) {
        let node = match self.current.take() {
            Some((SearchedNode::First(node), _)) => match self.finalize(&node) {
                Some(node) if node.impurity > PURE_IMPURITY || node.impurity.is_nan() => node,
                _ => {
                    self.splitter.roll_back();
                    return self.next_node();
                }
            },
            Some((SearchedNode::Again(node), _)) => node,
            None => return,
        };
        let scan = self.sample.scan(node.rows());
        if let Some(drawn) = self.splitter.draw_split(&scan, node.end - node.start) {
            self.split(node, drawn);
        } else if let Some(feature) = self.splitter.draw_feature() {
            self.current = Some((SearchedNode::Again(node), feature));
            return;
        } else {
            self.splitter.end_node();
        }
        self.next_node();
    }

    /// Parts a node, and makes a split of it if both sides have rows and the noise allows it.
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
                // A feature without missing values here sends later ones to the larger side.
                missing_go_to_left: if drawn.has_missing {
                    drawn.missing_left
                } else {
                    n_left > n_right
                },
                ..Node::leaf(n as u32)
            },
            side,
            right: child(middle, node.end, Some(node.index), n_left > n_right),
            of: node,
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

    /// Makes a split for good, with its right child waiting, and returns the impurity of the left one; `None` if the noise
    /// does not allow it, so that the node stays a leaf.
    fn decide(&mut self, split: UndecidedSplit, left: &Sums) -> Option<f64> {
        let UndecidedSplit {
            of,
            side,
            node,
            mut right,
        } = split;
        let impurities = SplitImpurity::new(&of.sums, of.impurity, &side, left, self.total_weight);
        if impurities.worsens() {
            return None;
        }
        self.nodes[of.index] = node;
        right.impurity = Impurity::Known(impurities.right);
        self.stack.push(right);
        Some(impurities.left)
    }

    /// Takes nodes up until there is a feature to look at.
    ///
    /// Left children come first: the order of nodes is the order of all draws of the tree.
    fn next_node(&mut self) {
        while let Some(node) = self.stack.pop() {
            let is_pure = matches!(node.impurity, Impurity::Known(impurity) if impurity <= PURE_IMPURITY);
            if node.depth >= self.max_depth || node.end - node.start < 2 || is_pure {
                self.finalize(&node);
                continue;
            }
            self.splitter.begin_node(node.n_constants);
            if let Some(feature) = self.splitter.draw_feature() {
                self.current = Some((SearchedNode::First(node), feature));
                return;
            }
            // Every feature is constant: nothing was drawn.
            self.splitter.end_node();
            self.finalize(&node);
        }
    }

    /// Gives a node its position in the tree, as a leaf for now; `None` if there is no such node, as the split above it does not stand.
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

    /// Makes room for more nodes; where there is none, nothing is left to look at.
    #[cold]
    fn make_room(&mut self) -> bool {
        let made = memory::grow(&mut self.nodes).and_then(|()| memory::grow(&mut self.noise));
        if made.is_err() {
            self.stack.clear();
        }
        self.failure = made.err();
        self.failure.is_none()
    }

    /// The grown tree over these columns of the table.
    ///
    /// # Errors
    /// [`Error::Memory`] when there was none for its nodes.
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
            // In lists of their own: what is drawn off from these would be too short for the next tree, and the memory lost.
            nodes = memory::copied(&nodes)?;
            noise = memory::copied(&noise)?;
        }
        Ok(Tree { features, nodes, noise })
    }
}
