//! Sampling of indices: uniform with and without replacement (scikit-learn: `sample_without_replacement`, method "auto"),
//! and weighted (NumPy: `RandomState.choice` with `p`).

use super::mt19937::{Mt, below, permutation, permutation_bytes, some_below, unit, up_to};
use crate::error::{Error, Result};
use crate::memory;

/// Asked every now and then whether what is drawn is still wanted.
pub type GoOn<'a> = &'a dyn Fn() -> Result<()>;

/// `k` indices below `n`, repeats allowed.
///
/// # Errors
/// [`Error::Memory`], and those of `go_on`.
pub fn with_replacement(rng: &mut Mt, n: usize, k: usize, go_on: GoOn<'_>) -> Result<Vec<usize>> {
    draw(rng, n, k, go_on, |_| true)
}

/// Looks at the stream between two questions whether to go on: some milliseconds.
const LOOKS: usize = 1 << 12;
/// The same in indices that are gone over one by one.
const PIECE: usize = 1 << 20;

/// Draws indices below `n` until `keep` has said yes to `k` of them.
fn draw(rng: &mut Mt, n: usize, k: usize, go_on: GoOn<'_>, mut keep: impl FnMut(usize) -> bool) -> Result<Vec<usize>> {
    let mut kept = memory::with_capacity(k)?;
    let mut n_looks = 0_usize;
    // One choice only is drawn without a word of the stream, and of too many choices one takes two words.
    let at_once = n >= 2 && u32::try_from(n - 1).is_ok();
    let mut buffer = Vec::new();
    while kept.len() < k {
        n_looks += 1;
        if n_looks.is_multiple_of(LOOKS) {
            go_on()?;
        }
        if at_once {
            // Every word gives one index at most, so none is taken from the stream that is not needed.
            let indices = some_below(rng, n, k - kept.len(), &mut buffer).iter();
            kept.extend(indices.map(|&index| index as usize).filter(|&index| keep(index)));
        } else {
            kept.extend(Some(below(rng, n)).filter(|&index| keep(index)));
        }
    }
    Ok(kept)
}

/// A set of indices: a table of twice to four times the number expected, in which an index stands at its place or soon after.
struct Seen {
    /// Index plus one; zero where nothing is.
    table: Vec<usize>,
    shift: u32,
}

impl Seen {
    /// An empty set that will hold up to `n` indices.
    fn new(n: usize) -> Result<Self> {
        let bits = n.saturating_mul(2).saturating_add(1).ilog2() + 1;
        Ok(Self {
            table: memory::filled(1_usize.checked_shl(bits).unwrap_or(usize::MAX), 0)?,
            shift: u64::BITS - bits,
        })
    }

    /// Puts an index in; whether it was not there before.
    fn insert(&mut self, index: usize) -> bool {
        // Fibonacci hashing: the high bits of a product with 2^64 over the golden ratio.
        let mut place = ((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        let last = self.table.len() - 1;
        loop {
            let entry = &mut self.table[place & last];
            if *entry == 0 {
                *entry = index + 1;
                return true;
            }
            if *entry == index + 1 {
                return false;
            }
            place += 1;
        }
    }
}

/// `k` different indices below `n`, in the order drawn; `k <= n`.
///
/// The share `k / n` chooses between three algorithms, each with its own use of the stream.
///
/// # Errors
/// [`Error::Memory`], and those of `go_on`.
pub fn without_replacement(rng: &mut Mt, n: usize, k: usize, go_on: GoOn<'_>) -> Result<Vec<usize>> {
    let ratio = ratio(n, k);
    if is_shuffled(ratio) {
        permutation(rng, n, k, go_on)
    } else if ratio < 0.2 {
        tracking_selection(rng, n, k, go_on)
    } else {
        reservoir(rng, n, k, go_on)
    }
}

fn ratio(n: usize, k: usize) -> f64 {
    if n == 0 { 1.0 } else { k as f64 / n as f64 }
}

/// Whether all indices are shuffled to draw this share of them.
fn is_shuffled(ratio: f64) -> bool {
    0.01 < ratio && ratio < 0.99
}

/// Bytes that [`without_replacement`] takes whatever `k` is; with some 64 for each of `k`.
pub(super) fn draw_bytes(n: usize, k: usize) -> usize {
    if is_shuffled(ratio(n, k)) {
        permutation_bytes(n)
    } else {
        0
    }
}

/// The same for [`Weights::without_replacement`]: the chances that are left, and their running sums.
pub(super) fn weighted_draw_bytes(n: usize) -> usize {
    n.saturating_mul(2 * size_of::<f64>())
}

/// Draws again whatever was drawn before.
fn tracking_selection(rng: &mut Mt, n: usize, k: usize, go_on: GoOn<'_>) -> Result<Vec<usize>> {
    let mut seen = Seen::new(k)?;
    draw(rng, n, k, go_on, |index| seen.insert(index))
}

/// Keeps the first `k`, then lets each later index replace one of them by chance. Draws nothing for `k == n`.
fn reservoir(rng: &mut Mt, n: usize, k: usize, go_on: GoOn<'_>) -> Result<Vec<usize>> {
    let mut kept: Vec<usize> = memory::collected(0..k)?;
    for i in k..n {
        if i.is_multiple_of(PIECE) {
            go_on()?;
        }
        let place = up_to(rng, i as u64) as usize;
        if place < k {
            kept[place] = i;
        }
    }
    Ok(kept)
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
    /// [`Error::Weights`] when one is negative or not a number, or their sum is not above zero and finite; [`Error::Memory`].
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
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn with_replacement(&self, rng: &mut Mt, k: usize) -> Result<Vec<usize>> {
        memory::collected((0..k).map(|_| place(&self.cumulated, unit(rng))))
    }

    /// `k` different indices, in the order found; [`check`](Self::check) must have passed.
    ///
    /// Draws as many as are missing, drops the repeats, takes away the chances of those found, and begins again.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn without_replacement(&self, rng: &mut Mt, k: usize) -> Result<Vec<usize>> {
        let mut found: Vec<usize> = memory::with_capacity(k)?;
        let mut seen = Seen::new(k)?;
        let mut left: Option<Vec<f64>> = None;
        while found.len() < k {
            let draws = memory::collected((found.len()..k).map(|_| unit(rng)))?;
            let cumulated = if found.is_empty() {
                &self.cumulated
            } else {
                let left = match &mut left {
                    Some(left) => left,
                    left => left.insert(memory::copied(&self.probabilities)?),
                };
                for &i in &found {
                    left[i] = 0.0;
                }
                &cumulate(left)?
            };
            found.extend(
                draws
                    .into_iter()
                    .map(|u| place(cumulated, u))
                    .filter(|&i| seen.insert(i)),
            );
        }
        Ok(found)
    }
}

/// Running sums, scaled so that the last one is 1.
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

/// How many of the running sums are at or below `u`.
fn place(cumulated: &[f64], u: f64) -> usize {
    cumulated.partition_point(|&sum| sum <= u)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mt19937::seeded;

    #[test]
    fn only_what_is_shuffled_takes_memory_for_all() {
        let n = 1 << 40;
        assert_eq!(
            (draw_bytes(n, 256), draw_bytes(n, n), draw_bytes(n, n / 2)),
            (0, 0, 8 * n)
        );
        assert_eq!((draw_bytes(60_000, 3000), draw_bytes(70_000, 3000)), (120_000, 280_000));
        assert_eq!(draw_bytes(usize::MAX, usize::MAX / 2), usize::MAX);
        let drawn = without_replacement(&mut seeded(0), n, 256, &|| Ok(())).unwrap();
        assert!(drawn.len() == 256 && drawn.iter().all(|&index| index < n));
    }

    #[test]
    fn what_nobody_has_room_for_is_refused() {
        let wanted = || Ok(());
        for (n, k) in [(1 << 60, 1 << 59), (1 << 60, 1 << 60), (usize::MAX, 1 << 50)] {
            let drawn = without_replacement(&mut seeded(0), n, k, &wanted);
            assert!(matches!(drawn, Err(Error::Memory { .. })), "{n} {k}");
            let drawn = with_replacement(&mut seeded(0), n, k, &wanted);
            assert!(matches!(drawn, Err(Error::Memory { .. })), "{n} {k}");
        }
        for n in [1 << 58, usize::MAX / 2, usize::MAX] {
            assert!(Seen::new(n).is_err());
        }
    }

    #[test]
    fn a_draw_that_is_not_wanted_any_more_ends() {
        let given_up = || Err(Error::Interrupted);
        let n = 1 << 24;
        let drawn = with_replacement(&mut seeded(0), n, n, &given_up);
        assert_eq!(drawn.err(), Some(Error::Interrupted));
        // By each of the three algorithms.
        for (n, k) in [(1 << 30, 3 << 20), (n, n / 2), (n + 3, n - 2)] {
            let drawn = without_replacement(&mut seeded(0), n, k, &given_up);
            assert_eq!(drawn.err(), Some(Error::Interrupted), "{n} {k}");
        }
    }
}
