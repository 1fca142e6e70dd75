//! The random split of one node: draw a feature, pass over constant ones, draw a threshold.
//!
//! Constant features are remembered down the branch: `features` holds, from the front, those known to be constant when
//! the node began, then those found constant since, then the others. At most one feature that is not constant is tried
//! per node; if it parts nothing, the node is a leaf (scikit-learn: `_splitter.pyx`, random splitter).

use crate::random::xorshift::XorShift;

use super::sample::Scan;

/// A tree's stream, what is known of its features, and the search that goes on in a node.
pub(super) struct Splitter {
    random: XorShift,
    features: Vec<u32>,
    constants: Vec<u32>,
    /// Features known to be constant when the node began.
    n_known: usize,
    /// Features found constant since.
    n_found: usize,
    /// Known constants that were drawn.
    n_drawn: usize,
    n_visited: usize,
    /// Features from here on have been tried.
    end: usize,
    /// Where the feature drawn last stands.
    place: usize,
    /// The stream as it was when the search began.
    random_before: XorShift,
}

/// Where to part the rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// Index among the tree's features.
    pub(super) feature: u32,
    pub(super) threshold: f64,
    /// Whether missing values go left; false if there are none.
    pub(super) missing_left: bool,
    pub(super) has_missing: bool,
}

impl Splitter {
    pub(super) fn new(n_features: usize, random: XorShift) -> Self {
        Self {
            random_before: random.clone(),
            random,
            features: (0..n_features as u32).collect(),
            constants: vec![0; n_features],
            n_known: 0,
            n_found: 0,
            n_drawn: 0,
            n_visited: 0,
            end: 0,
            place: 0,
        }
    }

    /// Begins the search in a node in which `n_known` features are known to be constant.
    pub(super) fn begin(&mut self, n_known: usize) {
        self.n_known = n_known;
        (self.n_found, self.n_drawn, self.n_visited) = (0, 0, 0);
        self.end = self.features.len();
        self.random_before = self.random.clone();
    }

    /// Takes back a search in which nothing has been cut yet: as if it had never begun.
    pub(super) fn take_back(&mut self) {
        self.random = self.random_before.clone();
        self.end();
    }

    /// Draws the next feature to look at; `None` if the search is over.
    pub(super) fn draw(&mut self) -> Option<u32> {
        while self.end > self.n_known + self.n_found
            && (self.n_visited < 1 || self.n_visited <= self.n_found + self.n_drawn)
        {
            self.n_visited += 1;
            // Among the known constants not drawn yet, and all features not known to be constant.
            let place = self.random.int(self.n_drawn, self.end - self.n_found);
            if place < self.n_known {
                self.features.swap(self.n_drawn, place);
                self.n_drawn += 1;
                continue;
            }
            self.place = place + self.n_found;
            return Some(self.features[self.place]);
        }
        None
    }

    /// Where to part the node's `n` rows by the feature drawn last; `None` if it is constant and another must be drawn.
    pub(super) fn cut(&mut self, scan: &Scan, n: usize) -> Option<Cut> {
        if scan.is_constant(n) {
            self.features.swap(self.place, self.n_known + self.n_found);
            self.n_found += 1;
            return None;
        }
        self.end -= 1;
        self.features.swap(self.end, self.place);
        let (min, max) = (f64::from(scan.min), f64::from(scan.max));
        let mut threshold = self.random.uniform(min, max);
        let has_missing = scan.n_missing > 0;
        let missing_left = has_missing && self.random.int(0, 2) != 0;
        if threshold == max {
            threshold = min;
        }
        Some(Cut {
            feature: self.features[self.end],
            threshold,
            missing_left,
            has_missing,
        })
    }

    /// Ends the search in a node; returns how many features are now known to be constant in it.
    pub(super) fn end(&mut self) -> usize {
        let (n_known, n_found) = (self.n_known, self.n_found);
        // The known constants may have been drawn in another order; siblings must find the first one again.
        self.features[..n_known].copy_from_slice(&self.constants[..n_known]);
        let found = n_known..n_known + n_found;
        self.constants[found.clone()].copy_from_slice(&self.features[found.clone()]);
        found.end
    }
}
