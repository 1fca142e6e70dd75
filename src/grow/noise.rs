//! The sums over the random target `y` that can end a branch.
//!
//! An isolation forest has no target; scikit-learn's trees get a random one, and its regression criterion then makes a
//! node a leaf in two rare cases: the node's impurity vanishes, or the split makes it worse by more than rounding. Both
//! hang on the last bits of running sums, so the order of every addition below is part of the result
//! (scikit-learn: `_criterion.pyx`, squared error, proxy for one output).
//!
//! A running sum waits for one addition after another, while several of them wait no longer than one does. So the sums of both
//! children are made side by side, and as the sums of the left one are among those that the split is judged by, none is made
//! twice. Only sums of `y` are made this way: weights are whole numbers, and their sums are exact in any order.

use crate::forest::NodeNoise;

/// Below this a node counts as pure.
pub(super) const EPSILON: f64 = f64::EPSILON;

/// Sums over the rows of one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sums {
    /// Sum of weight times y.
    total: f64,
    /// Sum of weight times y squared.
    squares: f64,
    /// Sum of weights.
    pub(super) weight: f64,
}

impl Sums {
    /// Sums over the rows of these targets and weights; no weights mean weights of one.
    pub(super) fn of(y: &[f64], weights: &[f64]) -> Self {
        let [total, squares] = if weights.is_empty() {
            y.iter().map(one).fold([0.0; 2], add)
        } else {
            y.iter().zip(weights).map(weighted).fold([0.0; 2], add)
        };
        Self {
            total,
            squares,
            weight: weight(y, weights),
        }
    }

    /// The impurity of the root; deeper nodes get theirs from their parent's [`Split`].
    pub(super) fn impurity(&self) -> f64 {
        let mean = self.total / self.weight;
        self.squares / self.weight - mean * mean
    }

    /// What is kept of a node of this impurity.
    pub(super) fn record(&self, impurity: f64) -> NodeNoise {
        NodeNoise {
            impurity,
            mean: self.total / self.weight,
            weight: self.weight,
        }
    }
}

/// What a split makes of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Split {
    /// Sums and impurity of the left child.
    pub(super) left: (Sums, f64),
    /// Sums and impurity of the right child.
    pub(super) right: (Sums, f64),
    /// Weighted decrease of the impurity.
    pub(super) improvement: f64,
}

impl Split {
    /// The effect of splitting a node's rows (in their new order) after the first `n_left`.
    ///
    /// `node` and `impurity` are those of the node, `whole_weight` is the weight of the root.
    pub(super) fn of(y: &[f64], weights: &[f64], n_left: usize, node: Sums, impurity: f64, whole_weight: f64) -> Self {
        let (left_y, right_y) = y.split_at(n_left);
        let (left_weights, right_weights) = weights.split_at(n_left.min(weights.len()));
        let (left, right, left_total) = if weights.is_empty() {
            side_by_side(left_y.iter().map(one), right_y.iter().map(one), node.total)
        } else {
            side_by_side(
                left_y.iter().zip(left_weights).map(weighted),
                right_y.iter().zip(right_weights).map(weighted),
                node.total,
            )
        };
        let left_weight = weight(left_y, left_weights);
        let right_weight = node.weight - left_weight;
        let right_total = node.total - left_total;
        let left_squares = left[1];
        let right_squares = node.squares - left_squares;
        let (left_mean, right_mean) = (left_total / left_weight, right_total / right_weight);
        let left_impurity = left_squares / left_weight - left_mean * left_mean;
        let right_impurity = right_squares / right_weight - right_mean * right_mean;
        let improvement = (node.weight / whole_weight)
            * (impurity - (right_weight / node.weight * right_impurity) - (left_weight / node.weight * left_impurity));
        let sums = |[total, squares]: [f64; 2], weight| Sums { total, squares, weight };
        Self {
            left: (sums(left, left_weight), left_impurity),
            right: (sums(right, right_weight), right_impurity),
            improvement,
        }
    }
}

/// A row's terms in the total and in the squares, if its weight is one.
fn one(&y: &f64) -> [f64; 2] {
    [y, y * y]
}

fn weighted((y, weight): (&f64, &f64)) -> [f64; 2] {
    let wy = weight * y;
    [wy, wy * y]
}

fn add(sums: [f64; 2], terms: [f64; 2]) -> [f64; 2] {
    [sums[0] + terms[0], sums[1] + terms[1]]
}

fn weight(y: &[f64], weights: &[f64]) -> f64 {
    if weights.is_empty() {
        y.len() as f64
    } else {
        weights.iter().sum()
    }
}

/// Sums over the left rows, over the right rows, and the left total that the split is judged by.
///
/// That total is the sum over the left rows if they are not the more numerous, else what remains of the node's when the right
/// rows are taken off one by one from the far end.
fn side_by_side<I>(mut left: I, mut right: I, node_total: f64) -> ([f64; 2], [f64; 2], f64)
where
    I: DoubleEndedIterator<Item = [f64; 2]> + ExactSizeIterator + Clone,
{
    let (mut sums, mut right_sums) = ([0.0; 2], [0.0; 2]);
    if left.len() <= right.len() {
        for terms in left {
            sums = add(sums, terms);
            if let Some(terms) = right.next() {
                right_sums = add(right_sums, terms);
            }
        }
        (sums, right.fold(right_sums, add), sums[0])
    } else {
        let mut remains = node_total;
        for (terms, last) in right.clone().zip(right.rev()) {
            right_sums = add(right_sums, terms);
            remains -= last[0];
            if let Some(terms) = left.next() {
                sums = add(sums, terms);
            }
        }
        (left.fold(sums, add), right_sums, remains)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As scikit-learn's criterion goes over the rows.
    fn plain(y: &[f64], w: &[f64], n_left: usize, node: Sums, impurity: f64, whole_weight: f64) -> Split {
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
        let improvement = (node.weight / whole_weight)
            * (impurity - (right_weight / node.weight * right_impurity) - (left_weight / node.weight * left_impurity));
        Split {
            left: (left, left_impurity),
            right: (right, right_impurity),
            improvement,
        }
    }

    proptest! {
        #[test]
        fn sums_side_by_side_are_those_of_scikit_learn(
            rows in prop::collection::vec((0.0..1.0_f64, 1_u8..4), 2..200), place in 0.0..1.0_f64, bootstrap: bool,
        ) {
            let y: Vec<f64> = rows.iter().map(|&(y, _)| y).collect();
            let weights: Vec<f64> = rows.iter().map(|&(_, w)| if bootstrap { f64::from(w) } else { 1.0 }).collect();
            let kept = if bootstrap { &weights[..] } else { &[] };
            let n_left = ((rows.len() - 1) as f64 * place) as usize + 1;
            let node = Sums::of(&y, kept);
            prop_assert_eq!(node, plain(&y, &weights, y.len(), node, 0.0, 1.0).left.0);
            let split = Split::of(&y, kept, n_left, node, node.impurity(), 1000.0);
            if n_left < rows.len() {
                prop_assert_eq!(split, plain(&y, &weights, n_left, node, node.impurity(), 1000.0));
            }
        }
    }
}
