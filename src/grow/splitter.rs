//! The random split of one node: draw a feature, skip constant ones, draw a threshold.
//!
//! Source: scikit-learn's random splitter (`sklearn/tree/_splitter.pyx`), whose draws are repeated one by one. Features that are
//! constant in a node are constant in its whole branch, so they are remembered. `features` holds first the features known to be
//! constant when the node began, then those that were found to be constant since, then the others. At most one feature that is not
//! constant is tried per node; if it separates nothing, the node is a leaf.

use rand_core::Rng;

use super::sample::Scan;
use crate::random::xorshift::SplitDraws;

/// A tree's random stream, its known constant features, and the search in the current node.
pub(super) struct Splitter<R> {
    random: R,
    features: Vec<u32>,
    constants: Vec<u32>,
    /// Features known to be constant when the node began.
    n_known_constants: usize,
    /// Features found to be constant since.
    n_new_constants: usize,
    /// Known constants that were drawn.
    n_drawn_constants: usize,
    n_visited: usize,
    /// Features from this position on have been tried.
    untried_end: usize,
    /// Position of the feature drawn last.
    position: usize,
    /// The stream as it was when the search began.
    random_at_begin: R,
}

/// The split that was drawn for a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct DrawnSplit {
    /// Index among the tree's features.
    pub(super) feature: u32,
    pub(super) threshold: f64,
    /// Whether missing values go left; false if there are none.
    pub(super) missing_left: bool,
    pub(super) has_missing: bool,
}

impl<R: Rng + Clone> Splitter<R> {
    pub(super) fn new(n_features: usize, random: R) -> Self {
        Self {
            random_at_begin: random.clone(),
            random,
            features: (0..n_features as u32).collect(),
            constants: vec![0; n_features],
            n_known_constants: 0,
            n_new_constants: 0,
            n_drawn_constants: 0,
            n_visited: 0,
            untried_end: 0,
            position: 0,
        }
    }

    /// Begins the search in a node in which `n_known_constants` features are known to be constant.
    pub(super) fn begin_node(&mut self, n_known_constants: usize) {
        self.n_known_constants = n_known_constants;
        (self.n_new_constants, self.n_drawn_constants, self.n_visited) = (0, 0, 0);
        self.untried_end = self.features.len();
        self.random_at_begin = self.random.clone();
    }

    /// Undoes a search in which no split has been drawn yet, with all draws it has made.
    pub(super) fn roll_back(&mut self) {
        self.random = self.random_at_begin.clone();
        self.end_node();
    }

    /// Draws the next feature to gather; `None` if the search is over.
    pub(super) fn draw_feature(&mut self) -> Option<u32> {
        while self.untried_end > self.n_known_constants + self.n_new_constants
            && (self.n_visited < 1 || self.n_visited <= self.n_new_constants + self.n_drawn_constants)
        {
            self.n_visited += 1;
            // The draw is among the known constants not drawn yet and all features not known to be constant.
            let position = self
                .random
                .int(self.n_drawn_constants, self.untried_end - self.n_new_constants);
            if position < self.n_known_constants {
                self.features.swap(self.n_drawn_constants, position);
                self.n_drawn_constants += 1;
                continue;
            }
            self.position = position + self.n_new_constants;
            return Some(self.features[self.position]);
        }
        None
    }

    /// Draws the split of the node's `n` rows by the feature drawn last; `None` if it is constant and another one must be drawn.
    pub(super) fn draw_split(&mut self, scan: &Scan, n: usize) -> Option<DrawnSplit> {
        if scan.is_constant(n) {
            self.features
                .swap(self.position, self.n_known_constants + self.n_new_constants);
            self.n_new_constants += 1;
            return None;
        }
        self.untried_end -= 1;
        self.features.swap(self.untried_end, self.position);
        let (min, max) = (f64::from(scan.min), f64::from(scan.max));
        let mut threshold = self.random.uniform(min, max);
        let has_missing = scan.n_missing > 0;
        let missing_left = has_missing && self.random.int(0, 2) != 0;
        if threshold == max {
            threshold = min;
        }
        Some(DrawnSplit {
            feature: self.features[self.untried_end],
            threshold,
            missing_left,
            has_missing,
        })
    }

    /// Ends the search in a node; returns the number of features that are now known to be constant in it.
    pub(super) fn end_node(&mut self) -> usize {
        let (n_known_constants, n_new_constants) = (self.n_known_constants, self.n_new_constants);
        // The known constants may have been drawn in another order; siblings must find the original one.
        self.features[..n_known_constants].copy_from_slice(&self.constants[..n_known_constants]);
        let new_constants = n_known_constants..n_known_constants + n_new_constants;
        self.constants[new_constants.clone()].copy_from_slice(&self.features[new_constants.clone()]);
        new_constants.end
    }
}
