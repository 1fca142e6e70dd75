//! Sampling of indices: uniform with and without replacement (scikit-learn: `sample_without_replacement`, method "auto"),
//! and weighted (NumPy: `RandomState.choice` with `p`).

use std::collections::HashSet;

use rand::Rng;

use super::mt19937::{below, permutation, unit, up_to};
use crate::error::{Error, Result};

/// `k` indices below `n`, repeats allowed.
pub fn with_replacement(rng: &mut impl Rng, n: usize, k: usize) -> Vec<usize> {
    (0..k).map(|_| below(rng, n)).collect()
}

/// `k` different indices below `n`, in the order drawn; `k <= n`.
///
/// The share `k / n` chooses between three algorithms, each with its own use of the stream.
pub fn without_replacement(rng: &mut impl Rng, n: usize, k: usize) -> Vec<usize> {
    let ratio = if n == 0 { 1.0 } else { k as f64 / n as f64 };
    if 0.01 < ratio && ratio < 0.99 {
        permutation(rng, n, k)
    } else if ratio < 0.2 {
        tracking_selection(rng, n, k)
    } else {
        reservoir(rng, n, k)
    }
}

/// Draws again whatever was drawn before.
fn tracking_selection(rng: &mut impl Rng, n: usize, k: usize) -> Vec<usize> {
    let mut seen = HashSet::with_capacity(k);
    let mut chosen = Vec::with_capacity(k);
    while chosen.len() < k {
        let candidate = below(rng, n);
        if seen.insert(candidate) {
            chosen.push(candidate);
        }
    }
    chosen
}

/// Keeps the first `k`, then lets each later index replace one of them by chance. Draws nothing for `k == n`.
fn reservoir(rng: &mut impl Rng, n: usize, k: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = (0..k).collect();
    for i in k..n {
        let place = up_to(rng, i as u64) as usize;
        if place < k {
            kept[place] = i;
        }
    }
    kept
}

/// Chances of indices to be drawn.
#[derive(Debug, Clone)]
pub struct Weights {
    probabilities: Vec<f64>,
    cumulated: Vec<f64>,
}

impl Weights {
    /// Weights from probabilities that add up to one, as far as rounding lets them.
    ///
    /// # Errors
    /// [`Error::Weights`] when one is negative or not a number, or their sum is not above zero and finite.
    pub fn new(probabilities: Vec<f64>) -> Result<Self> {
        let total: f64 = probabilities.iter().sum();
        let valid = probabilities.iter().all(|&p| p >= 0.0) && total > 0.0 && total.is_finite();
        if !valid {
            return Err(Error::Weights(
                "sample weights must be non-negative and add up to more than zero".into(),
            ));
        }
        let cumulated = cumulate(&probabilities);
        Ok(Self {
            probabilities,
            cumulated,
        })
    }

    /// How many indices there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.probabilities.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.probabilities.is_empty()
    }

    /// Whether `k` different indices can be drawn.
    ///
    /// # Errors
    /// [`Error::Weights`] when fewer have a chance at all.
    pub fn check(&self, k: usize) -> Result<()> {
        let possible = self.probabilities.iter().filter(|&&p| p > 0.0).count();
        if possible >= k {
            return Ok(());
        }
        // The first words are NumPy's.
        Err(Error::Weights(format!(
            "Fewer non-zero entries in p than size: only {possible} rows have a weight above zero, \
             but each tree draws {k} different ones; lower max_samples or set bootstrap=True"
        )))
    }

    /// `k` indices, repeats allowed.
    pub fn with_replacement(&self, rng: &mut impl Rng, k: usize) -> Vec<usize> {
        (0..k).map(|_| place(&self.cumulated, unit(rng))).collect()
    }

    /// `k` different indices, in the order found; [`check`](Self::check) must have passed.
    ///
    /// Draws as many as are missing, drops the repeats, takes away the chances of those found, and begins again.
    pub fn without_replacement(&self, rng: &mut impl Rng, k: usize) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::with_capacity(k);
        let mut seen = HashSet::with_capacity(k);
        let mut left: Option<Vec<f64>> = None;
        while found.len() < k {
            let draws: Vec<f64> = (found.len()..k).map(|_| unit(rng)).collect();
            let cumulated = if found.is_empty() {
                &self.cumulated
            } else {
                let left = left.get_or_insert_with(|| self.probabilities.clone());
                for &i in &found {
                    left[i] = 0.0;
                }
                &cumulate(left)
            };
            found.extend(
                draws
                    .into_iter()
                    .map(|u| place(cumulated, u))
                    .filter(|&i| seen.insert(i)),
            );
        }
        found
    }
}

/// Running sums, scaled so that the last one is 1.
fn cumulate(probabilities: &[f64]) -> Vec<f64> {
    let mut total = 0.0;
    let mut sums: Vec<f64> = Vec::with_capacity(probabilities.len());
    for &p in probabilities {
        total += p;
        sums.push(total);
    }
    for sum in &mut sums {
        *sum /= total;
    }
    sums
}

/// How many of the running sums are at or below `u`.
fn place(cumulated: &[f64], u: f64) -> usize {
    cumulated.partition_point(|&sum| sum <= u)
}
