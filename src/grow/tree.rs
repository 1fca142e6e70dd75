//! Growing one tree, a look at a feature at a time.
//!
//! Between two looks a tree can wait: several trees that grow side by side take up their values one after another, and the
//! memory then brings the cells of all of them at once. What each tree draws and does stays in its own order.
//!
//! The noise sums over a node are made while it is looked at, so a search may begin before it is known whether the noise
//! makes the node, or the one above it, a leaf. It nearly never does; then the search is taken back with all it has drawn.

use std::ops::Range;

use super::noise::{EPSILON, Judgement, SmallerSide, Sums};
use super::sample::Sample;
use super::splitter::{Cut, Splitter};
use crate::error::{Error, Result};
use crate::forest::{Node, NodeNoise, Tree};
use crate::memory;
use crate::random::xorshift::XorShift;

/// A node that waits to be grown.
struct Pending {
    start: usize,
    end: usize,
    depth: u32,
    /// The split whose right child this is.
    right_child_of: Option<usize>,
    n_constant: usize,
    /// Made at the latest when the node is looked at.
    sums: Option<Sums>,
    impurity: Impurity,
}

impl Pending {
    fn rows(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// What is known of a node's impurity before its sums are made.
#[derive(Clone, Copy)]
enum Impurity {
    Known(f64),
    /// The node is the root: it follows from the sums.
    OfRoot,
    /// The node is the left side of the undecided split: it follows from the judgement on that.
    OfSplit,
}

/// A node whose sums are made.
struct Grown {
    index: usize,
    start: usize,
    end: usize,
    depth: u32,
    sums: Sums,
    impurity: f64,
}

impl Grown {
    fn rows(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// A split that is not judged yet, since the sums over its left side are not made.
struct Undecided {
    of: Grown,
    side: SmallerSide,
    /// What the node is if the split stands, but for the right child's place.
    node: Node,
    /// The right child, but for its impurity.
    right: Pending,
}

/// A node that is searched for a split.
enum Searched {
    /// Its sums are made with this look.
    First(Pending),
    /// The features seen so far were constant.
    Again(Grown),
}

/// A tree that grows.
pub(super) struct Growing<S> {
    sample: S,
    splitter: Splitter,
    max_depth: u32,
    /// The weight of all rows.
    weight: f64,
    /// The node at hand, and the feature to look at in it.
    at: Option<(Searched, u32)>,
    undecided: Option<Undecided>,
    stack: Vec<Pending>,
    nodes: Vec<Node>,
    noise: Vec<NodeNoise>,
    /// Why the tree could not be grown.
    failure: Option<Error>,
}

impl<S: Sample> Growing<S> {
    pub(super) fn new(sample: S, n_features: usize, stream: XorShift, max_depth: u32) -> Self {
        let n = sample.rows().len();
        let root = Pending {
            start: 0,
            end: n,
            depth: 0,
            right_child_of: None,
            n_constant: 0,
            sums: None,
            impurity: Impurity::OfRoot,
        };
        // As many nodes as fit into this depth or over so many rows; large trees seldom come near.
        let capacity = n.saturating_mul(2).min(2 << max_depth.min(9));
        let mut stack = Vec::with_capacity(max_depth as usize + 1);
        stack.push(root);
        let mut tree = Self {
            weight: sample.rows().weight(),
            sample,
            splitter: Splitter::new(n_features, stream),
            max_depth,
            at: None,
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
    pub(super) fn is_grown(&self) -> bool {
        self.at.is_none()
    }

    /// Takes up the values of the feature drawn last.
    pub(super) fn look(&mut self) {
        match &mut self.at {
            Some((Searched::First(node), feature)) if node.sums.is_none() => {
                node.sums = Some(self.sample.sum_and_look(*feature, node.rows()));
            }
            Some((Searched::First(node), feature)) => self.sample.look(*feature, node.rows()),
            Some((Searched::Again(node), feature)) => self.sample.look(*feature, node.rows()),
            None => {}
        }
    }

    /// Goes on after a look, until the next feature is drawn or the tree is grown.
    pub(super) fn go_on(&mut self) {
        let node = match self.at.take() {
            Some((Searched::First(node), _)) => match self.settle(&node) {
                Some(node) if node.impurity > EPSILON || node.impurity.is_nan() => node,
                _ => {
                    self.splitter.take_back();
                    return self.next_node();
                }
            },
            Some((Searched::Again(node), _)) => node,
            None => return,
        };
        let scan = self.sample.scan(node.rows());
        if let Some(cut) = self.splitter.cut(&scan, node.end - node.start) {
            self.split(node, cut);
        } else if let Some(feature) = self.splitter.draw() {
            self.at = Some((Searched::Again(node), feature));
            return;
        } else {
            self.splitter.end();
        }
        self.next_node();
    }

    /// Parts a node, and makes a split of it if both sides have rows and the noise allows it.
    fn split(&mut self, node: Grown, cut: Cut) {
        let n = node.end - node.start;
        let n_constant = self.splitter.end();
        let n_left = self.sample.part(node.rows(), cut.threshold, cut.missing_left);
        let n_right = n - n_left;
        if n_left == 0 || n_right == 0 {
            return;
        }
        let side = self.sample.rows().smaller_side(node.rows(), n_left, &node.sums);
        let child = |start, end, right_child_of, is_smaller| Pending {
            start,
            end,
            depth: node.depth + 1,
            right_child_of,
            n_constant,
            sums: if is_smaller { Some(side.sums) } else { None },
            impurity: Impurity::OfSplit,
        };
        let middle = node.start + n_left;
        let mut left = child(node.start, middle, None, n_left <= n_right);
        let split = Undecided {
            node: Node {
                threshold: cut.threshold,
                feature: cut.feature,
                // A feature without missing values here sends later ones to the larger side.
                missing_go_to_left: if cut.has_missing {
                    cut.missing_left
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
            let Some(impurity) = self.judge(split, &sums) else {
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
    fn judge(&mut self, split: Undecided, left: &Sums) -> Option<f64> {
        let Undecided {
            of,
            side,
            node,
            mut right,
        } = split;
        let judgement = Judgement::new(&of.sums, of.impurity, &side, left, self.weight);
        if judgement.worsens() {
            return None;
        }
        self.nodes[of.index] = node;
        right.impurity = Impurity::Known(judgement.right);
        self.stack.push(right);
        Some(judgement.left)
    }

    /// Takes nodes up until there is a feature to look at.
    ///
    /// Left children come first: the order of nodes is the order of all draws of the tree.
    fn next_node(&mut self) {
        while let Some(node) = self.stack.pop() {
            let is_pure = matches!(node.impurity, Impurity::Known(impurity) if impurity <= EPSILON);
            if node.depth >= self.max_depth || node.end - node.start < 2 || is_pure {
                self.settle(&node);
                continue;
            }
            self.splitter.begin(node.n_constant);
            if let Some(feature) = self.splitter.draw() {
                self.at = Some((Searched::First(node), feature));
                return;
            }
            // Every feature is constant: nothing was drawn.
            self.splitter.end();
            self.settle(&node);
        }
    }

    /// Gives a node its place in the tree, as a leaf for now; `None` if there is no such node, as the split above it does not stand.
    fn settle(&mut self, node: &Pending) -> Option<Grown> {
        let sums = match node.sums {
            Some(sums) => sums,
            None => self.sample.rows().sums(node.rows()),
        };
        let impurity = match (node.impurity, self.undecided.take()) {
            (Impurity::OfSplit, Some(split)) => self.judge(split, &sums)?,
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
        Some(Grown {
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
            // In lists of their own: what is cut off from these would be too short for the next tree, and the memory lost.
            nodes = memory::copied(&nodes)?;
            noise = memory::copied(&noise)?;
        }
        Ok(Tree { features, nodes, noise })
    }
}
