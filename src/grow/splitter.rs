//! The random split of one node: draw a feature, pass over constant ones, draw a threshold, part the rows.
//!
//! Constant features are remembered down the branch: `features` holds, from the front, those known to be constant when
//! the node began, then those found constant since, then the others. At most one feature that is not constant is tried
//! per node; if it parts nothing, the node is a leaf (scikit-learn: `_splitter.pyx`, random splitter).

use std::ops::Range;

use crate::matrix::Matrix;
use crate::random::xorshift::XorShift;

/// A feature whose range is not above this is constant; the sum that tells is made in f32.
const FEATURE_THRESHOLD: f32 = 1e-7;

/// An accepted split.
pub(super) struct Split {
    /// Index among the tree's features.
    pub(super) feature: u32,
    pub(super) threshold: f64,
    pub(super) missing_go_to_left: bool,
    /// How many of the node's rows go left.
    pub(super) n_left: usize,
}

/// The rows of one tree and what is known of its features.
pub(super) struct Splitter<'a, 'm> {
    matrix: &'a Matrix<'m>,
    /// Column of the matrix for each feature of the tree.
    columns: &'a [usize],
    /// Row of the matrix for each in-bag row.
    sample: &'a [usize],
    random: XorShift,
    /// In-bag rows, those of one node side by side.
    rows: Vec<u32>,
    /// Values of the feature at hand, in the order of `rows`.
    values: Vec<f32>,
    features: Vec<u32>,
    constants: Vec<u32>,
}

/// What one pass over a node's values tells.
struct Scan {
    min: f32,
    max: f32,
    n_missing: usize,
}

impl<'a, 'm> Splitter<'a, 'm> {
    pub(super) fn new(matrix: &'a Matrix<'m>, columns: &'a [usize], sample: &'a [usize], random: XorShift) -> Self {
        Self {
            matrix,
            columns,
            sample,
            random,
            rows: (0..sample.len() as u32).collect(),
            values: vec![0.0; sample.len()],
            features: (0..columns.len() as u32).collect(),
            constants: vec![0; columns.len()],
        }
    }

    /// The rows of a node in their current order.
    pub(super) fn rows(&self, node: Range<usize>) -> &[u32] {
        &self.rows[node]
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
            let scan = self.scan(feature, node.clone());
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

    fn scan(&mut self, feature: u32, node: Range<usize>) -> Scan {
        let values = &mut self.values[node.clone()];
        let rows = self.rows[node].iter().map(|&row| self.sample[row as usize]);
        self.matrix.gather(self.columns[feature as usize], rows, values);
        let mut scan = Scan {
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            n_missing: 0,
        };
        // Comparisons with NaN are false. Of -0.0 and 0.0 the first one met stays.
        for &v in &*values {
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

    /// Draws a threshold and sorts the node's rows by it. `None` if one side stays empty; the draws are spent all the same.
    fn part(&mut self, feature: u32, node: Range<usize>, scan: &Scan) -> Option<Split> {
        let (min, max) = (f64::from(scan.min), f64::from(scan.max));
        let mut threshold = self.random.uniform(min, max);
        let has_missing = scan.n_missing > 0;
        let missing_left = has_missing && self.random.int(0, 2) != 0;
        if threshold == max {
            threshold = min;
        }
        let values = &mut self.values[node.clone()];
        let rows = &mut self.rows[node];
        let (mut next, mut end) = (0, rows.len());
        while next < end {
            let v = values[next];
            let left = if v.is_nan() {
                missing_left
            } else {
                f64::from(v) <= threshold
            };
            if left {
                next += 1;
            } else {
                end -= 1;
                values.swap(next, end);
                rows.swap(next, end);
            }
        }
        let (n_left, n_right) = (end, rows.len() - end);
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
    fn is_constant(&self, n: usize) -> bool {
        self.n_missing == n || (self.n_missing == 0 && self.max <= self.min + FEATURE_THRESHOLD)
    }
}
