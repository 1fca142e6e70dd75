//! Sums the noise target `y`, which in rare cases makes a node a leaf.
//!
//! An isolation forest has no target. scikit-learn fits its trees to a random one, and its regression criterion (`_criterion.pyx`,
//! squared error for one output) then makes a node a leaf in two rare cases: the impurity of the node is zero, or the split
//! increases the impurity by more than rounding. Both depend on the last bits of running sums:
//!
//! ```text
//! total = sum(weight * y)          squares = sum(weight * y * y)       # in the order of the rows
//! impurity = squares / weight - (total / weight)^2                     # the variance of y
//! improvement = impurity - (weighted mean of the impurities of both sides)
//! ```
//!
//! So the order of every addition below is part of the result. Only the sums of `y` have an order: weights are whole numbers, whose
//! sums are exact in any order.
//!
//! In a running sum each addition waits for the one before it, so the processor has time for other work. Therefore a node is summed
//! while its values are gathered. The decision on a split needs the sums over its smaller side and the squares of its left side. If
//! the left side is the larger one, the decision waits until the left child has been gathered.

use crate::forest::NodeNoise;

/// Largest impurity of a node that counts as pure.
pub(super) const PURE_IMPURITY: f64 = f64::EPSILON;

/// The sums over the rows of one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sums {
    /// Sum of weight times y.
    total: f64,
    /// Sum of weight times y squared.
    squares: f64,
    /// Sum of weights.
    weight: f64,
}

impl Sums {
    /// Sums rows with these targets and weights. If the list of weights is empty, each weight is one.
    pub(super) fn over(y: &[f64], weights: &[f64]) -> Self {
        let sums = if weights.is_empty() {
            y.iter().copied().map(unweighted_terms).fold([0.0; 2], add_terms)
        } else {
            y.iter().zip(weights).map(weighted_terms).fold([0.0; 2], add_terms)
        };
        Self::new(sums, y, weights)
    }

    /// Makes the sums from the totals of the terms of these rows.
    pub(super) fn new([total, squares]: [f64; 2], y: &[f64], weights: &[f64]) -> Self {
        Self {
            total,
            squares,
            weight: total_weight(y, weights),
        }
    }

    /// Returns the impurity of the root. A deeper node has the impurity that the [`SplitImpurity`] of its parent computed.
    pub(super) fn impurity(&self) -> f64 {
        let mean = self.total / self.weight;
        self.squares / self.weight - mean * mean
    }

    /// Returns the values that the forest stores for a node with this impurity.
    pub(super) fn record(&self, impurity: f64) -> NodeNoise {
        NodeNoise {
            impurity,
            mean: self.total / self.weight,
            weight: self.weight,
        }
    }
}

/// The sums over the smaller side of a split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SmallerSide {
    /// Sums over the rows of the smaller side.
    pub(super) sums: Sums,
    /// Total of the left side, in the order of additions that scikit-learn's criterion uses.
    left_total: f64,
    left_weight: f64,
}

impl SmallerSide {
    /// Sums the smaller side of a split after the first `n_left` rows (in their new order); `node` are the sums over all of them.
    ///
    /// The left side is the smaller one unless it has more rows.
    pub(super) fn of_split(y: &[f64], weights: &[f64], n_left: usize, node: &Sums) -> Self {
        let (left, right) = y.split_at(n_left);
        let (left_weights, right_weights) = weights.split_at(n_left.min(weights.len()));
        if left.len() <= right.len() {
            let sums = Sums::over(left, left_weights);
            return Self {
                sums,
                left_total: sums.total,
                left_weight: sums.weight,
            };
        }
        // In this case scikit-learn subtracts the right rows from the node's total, one by one from the last.
        let (sums, left_total) = if weights.is_empty() {
            sums_both_ways(right.iter().copied().map(unweighted_terms), node.total)
        } else {
            sums_both_ways(right.iter().zip(right_weights).map(weighted_terms), node.total)
        };
        let weight = total_weight(right, right_weights);
        Self {
            sums: Sums {
                total: sums[0],
                squares: sums[1],
                weight,
            },
            left_total,
            left_weight: node.weight - weight,
        }
    }
}

/// The impurities that a split gives the children of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SplitImpurity {
    /// Impurity of the left child.
    pub(super) left: f64,
    /// Impurity of the right child.
    pub(super) right: f64,
    /// Weighted decrease of the impurity.
    improvement: f64,
}

impl SplitImpurity {
    /// Computes the impurities of a split of a node with these sums and this impurity; `left` are the sums over its left side.
    pub(super) fn new(node: &Sums, impurity: f64, side: &SmallerSide, left: &Sums, root_weight: f64) -> Self {
        let (left_weight, left_total) = (side.left_weight, side.left_total);
        let right_weight = node.weight - left_weight;
        let right_total = node.total - left_total;
        let right_squares = node.squares - left.squares;
        let (left_mean, right_mean) = (left_total / left_weight, right_total / right_weight);
        let left = left.squares / left_weight - left_mean * left_mean;
        let right = right_squares / right_weight - right_mean * right_mean;
        let improvement = (node.weight / root_weight)
            * (impurity - (right_weight / node.weight * right) - (left_weight / node.weight * left));
        Self {
            left,
            right,
            improvement,
        }
    }

    /// Returns whether the split worsens the impurity, so that the node becomes a leaf.
    pub(super) fn worsens(&self) -> bool {
        self.improvement + PURE_IMPURITY < 0.0
    }
}

/// Returns what a row of weight one adds to the total and to the squares.
pub(super) fn unweighted_terms(y: f64) -> [f64; 2] {
    [y, y * y]
}

/// Returns what a row adds to the total and to the squares.
pub(super) fn weighted_terms((y, weight): (&f64, &f64)) -> [f64; 2] {
    let wy = weight * y;
    [wy, wy * y]
}

/// Adds the terms of a row to running sums.
pub(super) fn add_terms(sums: [f64; 2], terms: [f64; 2]) -> [f64; 2] {
    [sums[0] + terms[0], sums[1] + terms[1]]
}

/// Sums the weights. If the list is empty, each weight is one.
pub(super) fn total_weight(y: &[f64], weights: &[f64]) -> f64 {
    if weights.is_empty() {
        y.len() as f64
    } else {
        // Several sums side by side do not wait for each other.
        let (groups, rest) = weights.as_chunks::<8>();
        let mut sums = [0.0; 8];
        for group in groups {
            for (sum, weight) in sums.iter_mut().zip(group) {
                *sum += weight;
            }
        }
        sums.iter().chain(rest).sum()
    }
}

/// Returns the running sums from the first row to the last, and the remainder of `total` after the rows have been subtracted from
/// the last to the first.
fn sums_both_ways(rows: impl DoubleEndedIterator<Item = [f64; 2]> + Clone, total: f64) -> ([f64; 2], f64) {
    rows.clone()
        .zip(rows.rev())
        .fold(([0.0; 2], total), |(sums, remains), (terms, last)| {
            (add_terms(sums, terms), remains - last[0])
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sums the left and the right side in the order of scikit-learn's criterion, and computes the impurities.
    fn plain(
        y: &[f64],
        w: &[f64],
        n_left: usize,
        node: Sums,
        impurity: f64,
        root_weight: f64,
    ) -> ([Sums; 2], SplitImpurity) {
        let sums = |range: std::ops::Range<usize>| {
            let (mut total, mut squares, mut weight) = (0.0, 0.0, 0.0);
            for i in range {
                let wy = w[i] * y[i];
                total += wy;
                squares += wy * y[i];
                weight += w[i];
            }
            Sums { total, squares, weight }
        };
        let n = y.len();
        let (left, right) = (sums(0..n_left), sums(n_left..n));
        let (mut left_total, mut left_weight) = (0.0, 0.0);
        if n_left <= n - n_left {
            for i in 0..n_left {
                left_total += w[i] * y[i];
                left_weight += w[i];
            }
        } else {
            (left_total, left_weight) = (node.total, node.weight);
            for i in (n_left..n).rev() {
                left_total -= w[i] * y[i];
                left_weight -= w[i];
            }
        }
        let (right_total, right_weight) = (node.total - left_total, node.weight - left_weight);
        let variance = |total: f64, squares: f64, weight: f64| squares / weight - total / weight * (total / weight);
        let left_impurity = variance(left_total, left.squares, left_weight);
        let right_impurity = variance(right_total, node.squares - left.squares, right_weight);
        let improvement = (node.weight / root_weight)
            * (impurity - (right_weight / node.weight * right_impurity) - (left_weight / node.weight * left_impurity));
        let impurities = SplitImpurity {
            left: left_impurity,
            right: right_impurity,
            improvement,
        };
        ([left, right], impurities)
    }

    proptest! {
        #[test]
        fn sums_equal_those_of_scikit_learn(
            rows in prop::collection::vec((0.0..1.0_f64, 1_u8..4), 2..200), share in 0.0..1.0_f64, bootstrap: bool,
        ) {
            let y: Vec<f64> = rows.iter().map(|&(y, _)| y).collect();
            let weights: Vec<f64> = rows.iter().map(|&(_, w)| if bootstrap { f64::from(w) } else { 1.0 }).collect();
            let stored_weights = if bootstrap { &weights[..] } else { &[] };
            let n_left = ((rows.len() - 1) as f64 * share) as usize + 1;
            prop_assume!(n_left < rows.len());
            let node = Sums::over(&y, stored_weights);
            let impurity = node.impurity();
            let ([left, right], impurities) = plain(&y, &weights, n_left, node, impurity, 1000.0);
            let left_weights = if bootstrap { &weights[..n_left] } else { &[] };
            prop_assert_eq!(Sums::over(&y[..n_left], left_weights), left);
            let side = SmallerSide::of_split(&y, stored_weights, n_left, &node);
            prop_assert_eq!(side.sums, if n_left <= rows.len() - n_left { left } else { right });
            prop_assert_eq!(SplitImpurity::new(&node, impurity, &side, &left, 1000.0), impurities);
        }
    }
}
