//! Defines [`Sample`], through which a tree reads and partitions its rows, and the range of a node's values.

use std::ops::Range;

use super::noise::{SmallerSide, Sums, total_weight};
use super::partition::Partition;

/// A feature is constant in a node if its values differ by no more than this. scikit-learn adds it to the minimum in f32.
const CONSTANT_MAX_RANGE: f32 = 1e-7;

/// The in-bag rows of one tree over a dense or sparse table, with the rows of each node side by side.
pub(super) trait Sample {
    /// Returns the rows in their current order.
    fn rows(&self) -> &Rows;

    /// Gathers a feature's values in a node.
    fn gather(&mut self, feature: u32, node: Range<usize>);

    /// Returns the noise sums over a node's rows, and [gathers](Self::gather) a feature's values meanwhile.
    fn sum_and_gather(&mut self, feature: u32, node: Range<usize>) -> Sums {
        let sums = self.rows().sums(node.clone());
        self.gather(feature, node);
        sums
    }

    /// Returns the range of the values gathered last.
    fn scan(&self, node: Range<usize>) -> Scan;

    /// Moves the rows of a node that go left to its front, and returns their number. Rows go left if their gathered value is at or
    /// below the threshold, and those with a missing value if `missing_left`.
    fn partition(&mut self, node: Range<usize>, threshold: f64, missing_left: bool) -> usize;
}

/// The data of each in-bag row, in the current order of rows.
pub(super) struct Rows {
    /// The number by which the sample finds the cells of each row.
    pub(super) ids: Vec<u32>,
    /// Noise target of each row.
    y: Vec<f64>,
    /// Number of times that each row was drawn; empty without bootstrap.
    weights: Vec<f64>,
}

impl Rows {
    pub(super) fn new(ids: Vec<u32>, y: Vec<f64>, weights: Vec<f64>) -> Self {
        Self { ids, y, weights }
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn swap(&mut self, a: usize, b: usize) {
        self.ids.swap(a, b);
        self.y.swap(a, b);
        if !self.weights.is_empty() {
            self.weights.swap(a, b);
        }
    }

    pub(super) fn partition(&mut self, node: Range<usize>, partition: &Partition) {
        partition.apply(&mut self.ids[node.clone()]);
        partition.apply(&mut self.y[node.clone()]);
        if !self.weights.is_empty() {
            partition.apply(&mut self.weights[node]);
        }
    }

    /// Returns the noise targets and the weights of a node's rows. If the list of weights is empty, each weight is one.
    pub(super) fn noise(&self, node: Range<usize>) -> (&[f64], &[f64]) {
        let weights = if self.weights.is_empty() {
            &[]
        } else {
            &self.weights[node.clone()]
        };
        (&self.y[node], weights)
    }

    /// Returns the noise sums over a node's rows.
    pub(super) fn sums(&self, node: Range<usize>) -> Sums {
        let (y, weights) = self.noise(node);
        Sums::over(y, weights)
    }

    /// Returns the noise sums over the smaller side of a split of the node after its first `n_left` rows.
    pub(super) fn smaller_side(&self, node: Range<usize>, n_left: usize, sums: &Sums) -> SmallerSide {
        let (y, weights) = self.noise(node);
        SmallerSide::of_split(y, weights, n_left, sums)
    }

    /// Returns the sum of the weights of all rows.
    pub(super) fn weight(&self) -> f64 {
        let (y, weights) = self.noise(0..self.len());
        total_weight(y, weights)
    }
}

/// The range of a node's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scan {
    pub(super) min: f32,
    pub(super) max: f32,
    pub(super) n_missing: usize,
}

impl Scan {
    /// Returns the range of values as scikit-learn finds it: NaN are only counted, and of -0.0 and 0.0 the first one stays.
    pub(super) fn over(values: &[f32]) -> Self {
        /// Number of values scanned side by side, which suits registers of 128 bits too.
        const LANES: usize = 16;
        let mut lane_scan = LaneScan::<LANES>::new();
        let (groups, _) = values.as_chunks();
        for group in groups {
            lane_scan.add(group);
        }
        lane_scan.finish(values)
    }

    /// Extends the range by that of values that come after these.
    pub(super) fn include(&mut self, other: &Self) {
        if other.min < self.min {
            self.min = other.min;
        }
        if other.max > self.max {
            self.max = other.max;
        }
        self.n_missing += other.n_missing;
    }

    /// Returns whether the feature is constant in a node of `n` rows: all values are missing, or none is and all are nearly equal.
    pub(super) fn is_constant(&self, n: usize) -> bool {
        self.n_missing == n || (self.n_missing == 0 && self.max <= self.min + CONSTANT_MAX_RANGE)
    }
}

/// A scan in progress, with the range of each of several lanes.
pub(super) struct LaneScan<const LANES: usize> {
    min: [f32; LANES],
    max: [f32; LANES],
    n_missing: [u32; LANES],
}

impl<const LANES: usize> LaneScan<LANES> {
    pub(super) fn new() -> Self {
        Self {
            min: [f32::INFINITY; LANES],
            max: [f32::NEG_INFINITY; LANES],
            n_missing: [0; LANES],
        }
    }

    #[inline]
    pub(super) fn add(&mut self, values: &[f32; LANES]) {
        for (i, &value) in values.iter().enumerate() {
            extend(value, &mut self.min[i], &mut self.max[i], &mut self.n_missing[i]);
        }
    }

    /// Returns the range of all values, given that all whole groups have been added.
    #[inline]
    pub(super) fn finish(self, values: &[f32]) -> Scan {
        let (mut min, mut max, mut n_missing) = (f32::INFINITY, f32::NEG_INFINITY, 0);
        let (groups, rest) = values.as_chunks::<LANES>();
        if !groups.is_empty() {
            for i in 0..LANES {
                min = if self.min[i] < min { self.min[i] } else { min };
                max = if self.max[i] > max { self.max[i] } else { max };
                n_missing += self.n_missing[i];
            }
        }
        for &value in rest {
            extend(value, &mut min, &mut max, &mut n_missing);
        }
        // Zeros of both signs are equal, and the lanes do not know which one came first.
        if (min == 0.0 || max == 0.0)
            && let Some(&zero) = values.iter().find(|&&v| v == 0.0)
        {
            min = if min == 0.0 { zero } else { min };
            max = if max == 0.0 { zero } else { max };
        }
        Scan {
            min,
            max,
            n_missing: n_missing as usize,
        }
    }
}

/// Extends a range by one value. Comparisons with NaN are false.
#[inline]
fn extend(value: f32, min: &mut f32, max: &mut f32, n_missing: &mut u32) {
    *min = if value < *min { value } else { *min };
    *max = if value > *max { value } else { *max };
    *n_missing += u32::from(value.is_nan());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan_by_loop(values: &[f32]) -> Scan {
        let mut scan = Scan {
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

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![
            Just(0.0_f32),
            Just(-0.0),
            Just(f32::NAN),
            Just(f32::INFINITY),
            Just(f32::NEG_INFINITY),
            -1.0..1.0_f32
        ]
    }

    proptest! {
        #[test]
        fn a_scan_equals_a_loop_over_the_values(mixed in prop::collection::vec(value(), 0..100), filter in 0_usize..6) {
            // The values are mixed, or filtered so that a zero is the smallest or the largest one.
            let kept = |v: &f32| match filter { 0 => *v >= 0.0, 1 => *v <= 0.0, 2 => *v == 0.0 || v.is_nan(), _ => true };
            let values: Vec<f32> = mixed.into_iter().filter(kept).collect();
            let bits = |scan: Scan| (scan.min.to_bits(), scan.max.to_bits(), scan.n_missing);
            prop_assert_eq!(bits(Scan::over(&values)), bits(scan_by_loop(&values)));
        }
    }
}
