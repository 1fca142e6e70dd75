//! The random split of one node: draw a feature, pass over constant ones, draw a threshold, part the rows.
//!
//! Constant features are remembered down the branch: `features` holds, from the front, those known to be constant when
//! the node began, then those found constant since, then the others. At most one feature that is not constant is tried
//! per node; if it parts nothing, the node is a leaf (scikit-learn: `_splitter.pyx`, random splitter).

use std::ops::Range;

use crate::random::xorshift::XorShift;

/// A feature whose range is not above this is constant; the sum that tells is made in f32.
const FEATURE_THRESHOLD: f32 = 1e-7;

/// The in-bag rows of one tree, those of one node side by side.
pub(super) trait Sample {
    /// The rows of a node in their current order.
    fn rows(&self, node: Range<usize>) -> &[u32];

    /// Takes up a feature's values in a node.
    fn scan(&mut self, feature: usize, node: Range<usize>) -> Scan;

    /// Moves the rows of a node whose value, as taken up last, is at or below the threshold to its front; returns how many.
    fn part(&mut self, node: Range<usize>, threshold: f64, missing_left: bool) -> usize;
}

/// What one pass over a node's values tells.
pub(super) struct Scan {
    min: f32,
    max: f32,
    n_missing: usize,
}

/// An accepted split.
pub(super) struct Split {
    /// Index among the tree's features.
    pub(super) feature: u32,
    pub(super) threshold: f64,
    pub(super) missing_go_to_left: bool,
    /// How many of the node's rows go left.
    pub(super) n_left: usize,
}

/// One tree's rows, its stream, and what is known of its features.
pub(super) struct Splitter<S> {
    sample: S,
    random: XorShift,
    features: Vec<u32>,
    constants: Vec<u32>,
}

impl<S: Sample> Splitter<S> {
    pub(super) fn new(sample: S, n_features: usize, random: XorShift) -> Self {
        Self {
            sample,
            random,
            features: (0..n_features as u32).collect(),
            constants: vec![0; n_features],
        }
    }

    /// The rows of a node in their current order.
    pub(super) fn rows(&self, node: Range<usize>) -> &[u32] {
        self.sample.rows(node)
    }

    /// Looks for the split of a node; `n_known` features are known to be constant in it.
    ///
    /// Returns the split, if any, and how many features are known to be constant afterwards.
    pub(super) fn split(&mut self, node: Range<usize>, n_known: usize) -> (Option<Split>, usize) {
        let mut end = self.features.len();
        let (mut n_found, mut n_drawn, mut n_visited) = (0, 0, 0);
        let mut split = None;
        while end > n_known + n_found && (n_visited < 1 || n_visited <= n_found + n_drawn) {
            n_visited += 1;
            // Among the known constants not drawn yet, and all features not known to be constant.
            let mut place = self.random.int(n_drawn, end - n_found);
            if place < n_known {
                self.features.swap(n_drawn, place);
                n_drawn += 1;
                continue;
            }
            place += n_found;
            let feature = self.features[place];
            let scan = self.sample.scan(feature as usize, node.clone());
            if scan.is_constant(node.len()) {
                self.features.swap(place, n_known + n_found);
                n_found += 1;
                continue;
            }
            end -= 1;
            self.features.swap(end, place);
            split = self.part(feature, node.clone(), &scan);
        }
        // The known constants may have been drawn in another order; siblings must find the first one again.
        self.features[..n_known].copy_from_slice(&self.constants[..n_known]);
        let found = n_known..n_known + n_found;
        self.constants[found.clone()].copy_from_slice(&self.features[found.clone()]);
        (split, found.end)
    }

    /// Draws a threshold and sorts the node's rows by it. `None` if one side stays empty; the draws are spent all the same.
    fn part(&mut self, feature: u32, node: Range<usize>, scan: &Scan) -> Option<Split> {
        let (min, max) = (f64::from(scan.min), f64::from(scan.max));
        let mut threshold = self.random.uniform(min, max);
        let has_missing = scan.n_missing > 0;
        let missing_left = has_missing && self.random.int(0, 2) != 0;
        if threshold == max {
            threshold = min;
        }
        let n_left = self.sample.part(node.clone(), threshold, missing_left);
        let n_right = node.len() - n_left;
        (n_left > 0 && n_right > 0).then_some(Split {
            feature,
            threshold,
            // A feature without missing values here sends later ones to the larger side.
            missing_go_to_left: if has_missing { missing_left } else { n_left > n_right },
            n_left,
        })
    }
}

impl Scan {
    /// Comparisons with NaN are false. Of -0.0 and 0.0 the first one met stays.
    pub(super) fn of(values: &[f32]) -> Self {
        let mut scan = Self {
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            n_missing: 0,
        };
        for &v in values {
            if v < scan.min {
                scan.min = v;
            }
            if v > scan.max {
                scan.max = v;
            }
            scan.n_missing += usize::from(v.is_nan());
        }
        scan
    }

    /// As if the other's values had been met as well, after these.
    pub(super) fn include(&mut self, other: &Self) {
        if other.min < self.min {
            self.min = other.min;
        }
        if other.max > self.max {
            self.max = other.max;
        }
        self.n_missing += other.n_missing;
    }

    fn is_constant(&self, n: usize) -> bool {
        self.n_missing == n || (self.n_missing == 0 && self.max <= self.min + FEATURE_THRESHOLD)
    }
}
