//! Sampling of indices with and without replacement (scikit-learn: `sample_without_replacement`, method "auto").

use std::collections::HashSet;

use rand::Rng;

use super::mt19937::{below, permutation, up_to};

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
