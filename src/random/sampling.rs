//! Draws indices from any generator: with or without replacement, uniformly or by weights.
//!
//! Source: scikit-learn's `sample_without_replacement` (method "auto") in `sklearn/utils/_random.pyx`, and NumPy's
//! `RandomState.choice` with `p`.

use rand_core::Rng;

use super::random_state::{
    Batch, CheckCancelled, batch_below, below, next_double, permutation, permutation_bytes, up_to,
};
use crate::error::{Error, Result};
use crate::memory;

/// Draws `k` indices below `n` with replacement, so that an index can be drawn several times.
///
/// # Errors
/// [`Error::Memory`], and the errors of `check_cancelled`.
pub fn with_replacement<R: Rng + ?Sized>(
    rng: &mut R,
    n: usize,
    k: usize,
    check_cancelled: CheckCancelled<'_>,
) -> Result<Vec<usize>> {
    draw(rng, n, k, check_cancelled, |_| true)
}

/// Number of batches drawn between two calls of `check_cancelled`: a few milliseconds of work.
const BATCHES_PER_CHECK: usize = 1 << 12;
/// Number of indices visited between two calls of `check_cancelled`.
const INDICES_PER_CHECK: usize = 1 << 20;

/// Draws indices below `n` until `keep` has accepted `k` of them.
fn draw<R: Rng + ?Sized>(
    rng: &mut R,
    n: usize,
    k: usize,
    check_cancelled: CheckCancelled<'_>,
    mut keep: impl FnMut(usize) -> bool,
) -> Result<Vec<usize>> {
    let mut kept = memory::with_capacity(k)?;
    let mut n_batches = 0_usize;
    // Batches have one word per index. A draw from a single index takes none, and an index of more than 32 bits takes two.
    let in_batches = n >= 2 && u32::try_from(n - 1).is_ok();
    let mut batch = Batch::default();
    while kept.len() < k {
        n_batches += 1;
        if n_batches.is_multiple_of(BATCHES_PER_CHECK) {
            check_cancelled()?;
        }
        if in_batches {
            let indices = batch_below(rng, n, k - kept.len(), &mut batch);
            kept.extend(indices.filter(|&index| keep(index)));
        } else {
            kept.extend(Some(below(rng, n)).filter(|&index| keep(index)));
        }
    }
    Ok(kept)
}

/// A set of indices: a hash table with open addressing, with two to four times as many entries as expected indices.
struct Seen {
    /// Each entry is an index plus one, or zero if it is empty.
    table: Vec<usize>,
    shift: u32,
}

impl Seen {
    /// Creates an empty set for up to `n` indices.
    fn new(n: usize) -> Result<Self> {
        let bits = n.saturating_mul(2).saturating_add(1).ilog2() + 1;
        Ok(Self {
            table: memory::filled(1_usize.checked_shl(bits).unwrap_or(usize::MAX), 0)?,
            shift: u64::BITS - bits,
        })
    }

    /// Inserts an index, and returns whether it is new.
    fn insert(&mut self, index: usize) -> bool {
        // Fibonacci hashing: the high bits of a product with 2^64 over the golden ratio.
        let mut position = ((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        let last = self.table.len() - 1;
        loop {
            let entry = &mut self.table[position & last];
            if *entry == 0 {
                *entry = index + 1;
                return true;
            }
            if *entry == index + 1 {
                return false;
            }
            position += 1;
        }
    }
}

/// Draws `k` different indices below `n`, in the order drawn; `k <= n`.
///
/// As in scikit-learn, the ratio `k / n` selects one of three algorithms:
///
/// ```text
/// 0.01 < k / n < 0.99    shuffle all indices, and keep the first k
/// k / n <= 0.01          draw index after index, and draw again if one has been drawn before
/// k / n >= 0.99          keep the first k indices, then let later ones replace some of them (reservoir sampling)
/// ```
///
/// # Errors
/// [`Error::Memory`], and the errors of `check_cancelled`.
pub fn without_replacement<R: Rng + ?Sized>(
    rng: &mut R,
    n: usize,
    k: usize,
    check_cancelled: CheckCancelled<'_>,
) -> Result<Vec<usize>> {
    let ratio = ratio(n, k);
    if is_shuffled(ratio) {
        permutation(rng, n, k, check_cancelled)
    } else if ratio <= 0.01 {
        tracking_selection(rng, n, k, check_cancelled)
    } else {
        reservoir(rng, n, k, check_cancelled)
    }
}

fn ratio(n: usize, k: usize) -> f64 {
    if n == 0 { 1.0 } else { k as f64 / n as f64 }
}

/// Returns whether all indices are shuffled if this share of them is drawn.
fn is_shuffled(ratio: f64) -> bool {
    0.01 < ratio && ratio < 0.99
}

/// Returns the bytes that [`without_replacement`] needs in addition to about 64 for each of the `k` indices.
pub(super) fn draw_bytes(n: usize, k: usize) -> usize {
    if is_shuffled(ratio(n, k)) {
        permutation_bytes(n)
    } else {
        0
    }
}

/// Returns the bytes that [`Weights::without_replacement`] needs: the remaining probabilities and their running sums.
pub(super) fn weighted_draw_bytes(n: usize) -> usize {
    n.saturating_mul(2 * size_of::<f64>())
}

/// Draws one index after another, and draws again if an index has been drawn before.
fn tracking_selection<R: Rng + ?Sized>(
    rng: &mut R,
    n: usize,
    k: usize,
    check_cancelled: CheckCancelled<'_>,
) -> Result<Vec<usize>> {
    let mut seen = Seen::new(k)?;
    draw(rng, n, k, check_cancelled, |index| seen.insert(index))
}

/// Keeps the first `k` indices. Then each later index replaces one of them at random, or none. Draws nothing if `k == n`.
fn reservoir<R: Rng + ?Sized>(
    rng: &mut R,
    n: usize,
    k: usize,
    check_cancelled: CheckCancelled<'_>,
) -> Result<Vec<usize>> {
    let mut kept: Vec<usize> = memory::collected(0..k)?;
    for i in k..n {
        if i.is_multiple_of(INDICES_PER_CHECK) {
            check_cancelled()?;
        }
        let position = up_to(rng, i as u64) as usize;
        if position < k {
            kept[position] = i;
        }
    }
    Ok(kept)
}

/// The probability with which each index is drawn.
#[derive(Debug, Clone)]
pub struct Weights {
    probabilities: Vec<f64>,
    cumulated: Vec<f64>,
}

impl Weights {
    /// Creates weights from probabilities that add up to one, up to rounding.
    ///
    /// # Errors
    /// [`Error::Weights`] when a probability is negative or NaN, or when their sum is zero or infinite; [`Error::Memory`].
    pub fn new(probabilities: Vec<f64>) -> Result<Self> {
        let total: f64 = probabilities.iter().sum();
        let valid = probabilities.iter().all(|&p| p >= 0.0) && total > 0.0 && total.is_finite();
        if !valid {
            return Err(Error::Weights(
                "sample weights must be non-negative and add up to more than zero".into(),
            ));
        }
        let cumulated = cumulate(&probabilities)?;
        Ok(Self {
            probabilities,
            cumulated,
        })
    }

    /// Returns the number of indices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.probabilities.len()
    }

    /// Returns whether there are no indices.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.probabilities.is_empty()
    }

    /// Checks that `k` different indices can be drawn.
    ///
    /// # Errors
    /// [`Error::Weights`] when fewer than `k` indices have a probability above zero.
    pub fn check(&self, k: usize) -> Result<()> {
        let possible = self.probabilities.iter().filter(|&&p| p > 0.0).count();
        if possible >= k {
            return Ok(());
        }
        // The message begins as NumPy's does.
        Err(Error::Weights(format!(
            "Fewer non-zero entries in p than size: only {possible} rows have a weight above zero, \
             but each tree draws {k} different ones; lower max_samples or set bootstrap=True"
        )))
    }

    /// Draws `k` indices with replacement, so that an index can be drawn several times.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn with_replacement<R: Rng + ?Sized>(&self, rng: &mut R, k: usize) -> Result<Vec<usize>> {
        memory::collected((0..k).map(|_| draw_by_weight(&self.cumulated, next_double(rng))))
    }

    /// Draws `k` different indices, in the order drawn; [`check`](Self::check) must have passed.
    ///
    /// Each round draws as many indices as are missing, and drops those that have been drawn before. Before the next round, the
    /// probabilities of all drawn indices are set to zero.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn without_replacement<R: Rng + ?Sized>(&self, rng: &mut R, k: usize) -> Result<Vec<usize>> {
        let mut drawn: Vec<usize> = memory::with_capacity(k)?;
        let mut seen = Seen::new(k)?;
        let mut remaining: Option<Vec<f64>> = None;
        while drawn.len() < k {
            let draws = memory::collected((drawn.len()..k).map(|_| next_double(rng)))?;
            let cumulated = if drawn.is_empty() {
                &self.cumulated
            } else {
                let remaining = match &mut remaining {
                    Some(remaining) => remaining,
                    remaining => remaining.insert(memory::copied(&self.probabilities)?),
                };
                for &i in &drawn {
                    remaining[i] = 0.0;
                }
                &cumulate(remaining)?
            };
            drawn.extend(
                draws
                    .into_iter()
                    .map(|u| draw_by_weight(cumulated, u))
                    .filter(|&i| seen.insert(i)),
            );
        }
        Ok(drawn)
    }
}

/// Returns the running sums, scaled so that the last one is 1.
fn cumulate(probabilities: &[f64]) -> Result<Vec<f64>> {
    let mut total = 0.0;
    let mut sums: Vec<f64> = memory::with_capacity(probabilities.len())?;
    for &p in probabilities {
        total += p;
        sums.push(total);
    }
    for sum in &mut sums {
        *sum /= total;
    }
    Ok(sums)
}

/// Returns the index that `u`, in `[0, 1)`, draws: the number of running sums at or below it.
fn draw_by_weight(cumulated: &[f64], u: f64) -> usize {
    cumulated.partition_point(|&sum| sum <= u)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Mt19937;

    #[test]
    fn only_a_shuffle_takes_memory_for_all_indices() {
        let n = 1 << 40;
        assert_eq!(
            (draw_bytes(n, 256), draw_bytes(n, n), draw_bytes(n, n / 2)),
            (0, 0, 8 * n)
        );
        assert_eq!((draw_bytes(60_000, 3000), draw_bytes(70_000, 3000)), (120_000, 280_000));
        assert_eq!(draw_bytes(usize::MAX, usize::MAX / 2), usize::MAX);
        let drawn = without_replacement(&mut Mt19937::new(0), n, 256, &|| Ok(())).unwrap();
        assert!(drawn.len() == 256 && drawn.iter().all(|&index| index < n));
    }

    #[test]
    fn more_indices_than_memory_holds_are_refused() {
        let never = || Ok(());
        for (n, k) in [(1 << 60, 1 << 59), (1 << 60, 1 << 60), (usize::MAX, 1 << 50)] {
            let drawn = without_replacement(&mut Mt19937::new(0), n, k, &never);
            assert!(matches!(drawn, Err(Error::Memory { .. })), "{n} {k}");
            let drawn = with_replacement(&mut Mt19937::new(0), n, k, &never);
            assert!(matches!(drawn, Err(Error::Memory { .. })), "{n} {k}");
        }
        for n in [1 << 58, usize::MAX / 2, usize::MAX] {
            assert!(Seen::new(n).is_err());
        }
    }

    #[test]
    fn a_cancelled_draw_ends() {
        let cancelled = || Err(Error::Interrupted);
        let n = 1 << 24;
        let drawn = with_replacement(&mut Mt19937::new(0), n, n, &cancelled);
        assert_eq!(drawn.err(), Some(Error::Interrupted));
        // Each of the three algorithms is cancelled.
        for (n, k) in [(1 << 30, 3 << 20), (n, n / 2), (n + 3, n - 2)] {
            let drawn = without_replacement(&mut Mt19937::new(0), n, k, &cancelled);
            assert_eq!(drawn.err(), Some(Error::Interrupted), "{n} {k}");
        }
    }
}
