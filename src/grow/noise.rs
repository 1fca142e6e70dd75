//! The sums over the random target `y` that can end a branch.
//!
//! An isolation forest has no target; scikit-learn's trees get a random one, and its regression criterion then makes a
//! node a leaf in two rare cases: the node's impurity vanishes, or the split makes it worse by more than rounding. Both
//! hang on the last bits of running sums, so the order of every addition below is part of the result
//! (scikit-learn: `_criterion.pyx`, squared error, proxy for one output).

use crate::forest::NodeNoise;

/// Below this a node counts as pure.
pub(super) const EPSILON: f64 = f64::EPSILON;

/// The target and weight of each in-bag row.
pub(super) struct Noise {
    /// Random target.
    pub(super) y: Vec<f64>,
    /// How often the row was drawn.
    pub(super) weight: Vec<f64>,
    /// Sum of all weights.
    pub(super) total_weight: f64,
}

/// Sums over the rows of one node.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    /// Sum of weight times y.
    total: f64,
    /// Sum of weight times y squared.
    squares: f64,
    /// Sum of weights.
    weight: f64,
}

impl Sums {
    /// The impurity of the root; deeper nodes get theirs from their parent's [`Gain`].
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

/// What a split does to the impurity.
pub(super) struct Gain {
    /// Impurity of the left child.
    pub(super) left: f64,
    /// Impurity of the right child.
    pub(super) right: f64,
    /// Weighted decrease.
    pub(super) improvement: f64,
}

impl Noise {
    pub(super) fn new(y: Vec<f64>, weight: Vec<f64>) -> Self {
        let total_weight = sum(weight.iter().copied());
        Self {
            y,
            weight,
            total_weight,
        }
    }

    /// Sums over a node's rows, in their current order.
    pub(super) fn sums(&self, rows: &[u32]) -> Sums {
        let (mut total, mut squares, mut weight) = (0.0, 0.0, 0.0);
        for &row in rows {
            let (y, w) = (self.y[row as usize], self.weight[row as usize]);
            let wy = w * y;
            total += wy;
            squares += wy * y;
            weight += w;
        }
        Sums { total, squares, weight }
    }

    /// The effect of splitting `rows` (in their new order) after the first `n_left`.
    pub(super) fn gain(&self, rows: &[u32], n_left: usize, node: Sums, impurity: f64) -> Gain {
        let (left, right) = rows.split_at(n_left);
        let weighted = |&row: &u32| self.weight[row as usize] * self.y[row as usize];
        // The smaller side is summed; the larger one is what remains, taken off row by row from the far end.
        let (left_total, left_weight) = if left.len() <= right.len() {
            (
                sum(left.iter().map(weighted)),
                sum(left.iter().map(|&row| self.weight[row as usize])),
            )
        } else {
            right
                .iter()
                .rev()
                .fold((node.total, node.weight), |(total, weight), row| {
                    (total - weighted(row), weight - self.weight[*row as usize])
                })
        };
        let right_weight = node.weight - left_weight;
        let right_total = node.total - left_total;
        let left_squares = sum(left.iter().map(|row| weighted(row) * self.y[*row as usize]));
        let right_squares = node.squares - left_squares;
        let (left_mean, right_mean) = (left_total / left_weight, right_total / right_weight);
        let left_impurity = left_squares / left_weight - left_mean * left_mean;
        let right_impurity = right_squares / right_weight - right_mean * right_mean;
        let improvement = (node.weight / self.total_weight)
            * (impurity - (right_weight / node.weight * right_impurity) - (left_weight / node.weight * left_impurity));
        Gain {
            left: left_impurity,
            right: right_impurity,
            improvement,
        }
    }
}

/// A running sum from positive zero, one addition at a time.
fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    terms.fold(0.0, |total, term| total + term)
}
