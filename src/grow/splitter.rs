//! The random split of one node: draw a feature, skip constant ones, draw a threshold.
//!
//! Source: scikit-learn's random splitter (`sklearn/tree/_splitter.pyx`); this module makes exactly the same draws. A feature that
//! is constant in a node is constant in its whole branch, so it is remembered as a known constant:
//!
//! ```text
//! features = [known constants | new constants | features not tried | features tried]
//!              when the node     found in the
//!              began             node since
//! ```
//!
//! A node tries at most one feature that is not constant. If its threshold leaves one side empty, the node stays a leaf.

use rand_core::Rng;

use super::sample::Scan;
use crate::random::xorshift::SplitDraws;

/// A tree's generator, its known constant features, and the search in the current node.
pub(super) struct Splitter<R> {
    rng: R,
    features: Vec<u32>,
    /// The constants of the current branch in the order in which they were found.
    constants: Vec<u32>,
    /// Number of features known to be constant when the node began.
    n_known_constants: usize,
    /// Number of features found to be constant in the node.
    n_new_constants: usize,
    /// Number of known constants that have been drawn in the node.
    n_drawn_constants: usize,
    /// Number of features that have been drawn in the node.
    n_visited: usize,
    /// Position in `features` of the first feature that has been tried and is not constant.
    untried_end: usize,
    /// Position in `features` of the feature drawn last.
    position: usize,
    /// The generator as it was when the search began.
    rng_at_begin: R,
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
    pub(super) fn new(n_features: usize, rng: R) -> Self {
        Self {
            rng_at_begin: rng.clone(),
            rng,
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
        self.rng_at_begin = self.rng.clone();
    }

    /// Undoes a search, with all its draws, before its split has been drawn.
    pub(super) fn roll_back(&mut self) {
        self.rng = self.rng_at_begin.clone();
        self.end_node();
    }

    /// Draws the next feature to gather; `None` if the search is over.
    pub(super) fn draw_feature(&mut self) -> Option<u32> {
        while self.untried_end > self.n_known_constants + self.n_new_constants
            && (self.n_visited < 1 || self.n_visited <= self.n_new_constants + self.n_drawn_constants)
        {
            self.n_visited += 1;
            // It draws among the known constants not drawn yet and the features not tried; new constants cannot be drawn.
            let position = self
                .rng
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
        let mut threshold = self.rng.uniform(min, max);
        let has_missing = scan.n_missing > 0;
        let missing_left = has_missing && self.rng.int(0, 2) != 0;
        // Rounding may make the threshold equal to the maximum, and then no value would go right.
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
        // Draws have changed the order of the known constants. The original order is restored for the other nodes of the branch.
        self.features[..n_known_constants].copy_from_slice(&self.constants[..n_known_constants]);
        let new_constants = n_known_constants..n_known_constants + n_new_constants;
        self.constants[new_constants.clone()].copy_from_slice(&self.features[new_constants.clone()]);
        new_constants.end
    }
}
