//! Computes exact order statistics of a partitioned column, in bounded memory.
//!
//! A sketch has a scope, which is a range of values; values outside it are only counted. Inside the scope, it has one of two
//! states:
//!
//! ```text
//! exact      the distinct values and their counts, as long as there are at most `capacity` of them
//! buckets    up to 65,536 equal steps of the scope, each with its count, its lowest and its highest value
//!
//! neighbours(k), the values at positions k and k + 1 of the sorted column:
//!     exact                                    -> both are known
//!     both in different buckets                -> the highest value of one bucket, and the lowest of the next one
//!     both in one bucket of equal values       -> this value, twice
//!     both in one bucket of different values   -> another pass over the values, with this bucket as the scope (`refined`)
//! ```
//!
//! If only a few of the lowest values are needed, the others are dropped, and the state stays exact (bottom-k).
//!
//! The state depends only on the values, and not on their order or on how they were partitioned and merged. Values are stored as
//! ordinals: integers that have the order of the doubles. The steps of the buckets are equal steps of ordinals.

#![allow(
    clippy::indexing_slicing,
    reason = "indices of buckets follow from ordinals that were found in the scope; a wrong one is a defect, and a panic becomes an exception at the boundary"
)]

mod stored;

use std::cmp::Ordering;

use crate::error::{Error, Result};
use crate::memory;

/// Maximum number of buckets of a scope.
const MAX_BUCKETS: u64 = 1 << 16;
/// Maximum number of values that are collected before they are sorted.
const MAX_PENDING: usize = 1 << 16;
/// Maximum number of values of a sketch: a double does not represent every integer beyond 2^53.
const MAX_VALUES: u64 = 1 << 53;
/// Maximum number of bytes that a sketch with the usual capacity needs, including temporary memory.
const BASE_MEMORY_BYTES: usize = 8 << 20;
/// Bytes per distinct value: its value and count, which are in three lists while two lists are merged into a third.
const VALUE_BYTES: usize = 3 * size_of::<(u64, u64)>();

/// An exact sketch of the values of one or more partitions.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// Ordinals of the lowest and the highest value of interest.
    scope: (u64, u64),
    /// Number of lowest values in the scope to keep; `None` if all are kept, or if there are more than `capacity`.
    lowest: Option<u64>,
    /// Maximum number of distinct values that are stored.
    capacity: usize,
    /// Number of values other than NaN.
    n: u64,
    n_missing: u64,
    /// Number of values below the scope.
    n_below: u64,
    state: State,
    /// Ordinals in the scope that have not been added to the exact state yet.
    pending: Vec<u64>,
    /// Highest ordinal to keep. It falls once enough of the lowest values have been added.
    cutoff: u64,
}

#[derive(Debug, Clone)]
enum State {
    /// Ascending ordinals, each with its count.
    Exact(Vec<(u64, u64)>),
    Buckets(Vec<Bucket>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    n: u64,
    lowest: u64,
    highest: u64,
}

impl Bucket {
    const EMPTY: Self = Self {
        n: 0,
        lowest: u64::MAX,
        highest: 0,
    };

    fn add(&mut self, other: Self) {
        self.n += other.n;
        self.lowest = self.lowest.min(other.lowest);
        self.highest = self.highest.max(other.highest);
    }
}

/// Returns the ordinal of a double: its bits as an integer that has the order of the doubles. Zeros of both signs are equal.
fn ordinal(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn value(ordinal: u64) -> f64 {
    f64::from_bits(if ordinal >> 63 == 0 {
        !ordinal
    } else {
        ordinal & !(1 << 63)
    })
}

impl Sketch {
    /// Creates an empty sketch whose scope is from `low` to `high`. If `lowest` is given, only this number of
    /// values is kept, the lowest in the scope. Up to `capacity` distinct values are stored exactly.
    ///
    /// # Errors
    /// [`Error::Partitions`] when the scope is empty, `lowest` is zero, or `capacity` is below two.
    pub fn new(low: f64, high: f64, lowest: Option<u64>, capacity: usize) -> Result<Self> {
        if low.is_nan() || high.is_nan() || low > high || capacity < 2 || lowest.is_some_and(|lowest| lowest < 1) {
            return Err(Error::Partitions(format!(
                "cannot sketch {} of the values from {low} to {high} with room for {capacity} distinct ones; the range must not be \
                 empty, and there must be room for two values",
                lowest.map_or("all".to_owned(), |lowest| format!("the {lowest} lowest"))
            )));
        }
        Ok(Self::empty((ordinal(low), ordinal(high)), lowest, capacity))
    }

    fn empty(scope: (u64, u64), lowest: Option<u64>, capacity: usize) -> Self {
        Self {
            scope,
            lowest: lowest.filter(|&lowest| lowest <= capacity as u64),
            capacity,
            n: 0,
            n_missing: 0,
            n_below: 0,
            state: State::Exact(Vec::new()),
            pending: Vec::new(),
            cutoff: scope.1,
        }
    }

    /// Returns the maximum number of bytes that the sketch needs after `n_more` further values, including temporary memory.
    #[must_use]
    pub fn memory(&self, n_more: usize) -> usize {
        let n_kept = match &self.state {
            State::Exact(counts) => counts.len().saturating_add(self.pending.len()).saturating_add(n_more),
            State::Buckets(_) => 0,
        };
        // Before the state becomes buckets, it may exceed the capacity by the pending values.
        let n_kept = n_kept.min(self.capacity.saturating_add(MAX_PENDING));
        BASE_MEMORY_BYTES.max(n_kept.saturating_mul(VALUE_BYTES))
    }

    /// Returns the number of values, without NaN.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Returns the number of NaN.
    #[must_use]
    pub fn n_missing(&self) -> u64 {
        self.n_missing
    }

    /// Returns the number of distinct values; `None` if there are too many to count exactly, or if some lie outside the scope.
    #[must_use]
    pub fn n_distinct(&mut self) -> Option<u64> {
        self.flush_pending();
        match &self.state {
            State::Exact(counts) if counts.iter().map(|&(_, n)| n).sum::<u64>() == self.n => Some(counts.len() as u64),
            _ => None,
        }
    }

    /// Returns the lowest and the highest stored value of the scope.
    #[must_use]
    pub fn extremes(&mut self) -> Option<(f64, f64)> {
        self.flush_pending();
        let (low, high) = match &self.state {
            State::Exact(counts) => (counts.first()?.0, counts.last()?.0),
            State::Buckets(buckets) => {
                let non_empty = || buckets.iter().filter(|bucket| bucket.n > 0);
                (non_empty().next()?.lowest, non_empty().next_back()?.highest)
            }
        };
        Some((value(low), value(high)))
    }

    /// Adds values.
    pub fn add(&mut self, values: impl IntoIterator<Item = f64>) {
        let (low, _) = self.scope;
        let shift = self.shift();
        for value in values {
            if value.is_nan() {
                self.n_missing += 1;
                continue;
            }
            let ordinal = ordinal(value);
            self.n += 1;
            self.n_below += u64::from(ordinal < low);
            if ordinal < low || ordinal > self.cutoff {
                continue;
            }
            if let State::Buckets(buckets) = &mut self.state {
                let bucket_index = (ordinal - low) >> shift;
                buckets[bucket_index as usize].add(Bucket {
                    n: 1,
                    lowest: ordinal,
                    highest: ordinal,
                });
                continue;
            }
            self.pending.push(ordinal);
            if self.pending.len() == MAX_PENDING {
                self.flush_pending();
            }
        }
    }

    /// Moves the pending values into the state.
    fn flush_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_unstable();
        let counts: Vec<(u64, u64)> = pending
            .chunk_by(|a, b| a == b)
            .map(|same| (same[0], same.len() as u64))
            .collect();
        pending.clear();
        self.pending = pending;
        self.insert_counts(&counts);
    }

    /// Adds distinct ascending ordinals of the scope with their counts.
    fn insert_counts(&mut self, added: &[(u64, u64)]) {
        let (low, _) = self.scope;
        let shift = self.shift();
        match &mut self.state {
            State::Exact(counts) => {
                *counts = merge_counts(counts, added);
                if let Some(lowest) = self.lowest {
                    let mut below = 0;
                    counts.retain(|&(_, n)| {
                        let is_wanted = below < lowest;
                        below += n;
                        is_wanted
                    });
                    if let (true, Some(&(last, _))) = (below >= lowest, counts.last()) {
                        self.cutoff = last;
                    }
                } else if counts.len() > self.capacity {
                    self.state = State::Buckets(self.buckets_of(&self.exact()));
                }
            }
            State::Buckets(buckets) => {
                for &(ordinal, n) in added {
                    buckets[((ordinal - low) >> shift) as usize].add(Bucket {
                        n,
                        lowest: ordinal,
                        highest: ordinal,
                    });
                }
            }
        }
    }

    fn exact(&self) -> Vec<(u64, u64)> {
        match &self.state {
            State::Exact(counts) => counts.clone(),
            State::Buckets(_) => Vec::new(),
        }
    }

    fn n_buckets(&self) -> usize {
        let (low, high) = self.scope;
        ((high - low) >> self.shift()) as usize + 1
    }

    fn shift(&self) -> u32 {
        let (low, high) = self.scope;
        let bits = u64::BITS - (high - low).leading_zeros();
        bits.saturating_sub(MAX_BUCKETS.trailing_zeros())
    }

    fn buckets_of(&self, counts: &[(u64, u64)]) -> Vec<Bucket> {
        let mut buckets = vec![Bucket::EMPTY; self.n_buckets()];
        for &(ordinal, n) in counts {
            buckets[((ordinal - self.scope.0) >> self.shift()) as usize].add(Bucket {
                n,
                lowest: ordinal,
                highest: ordinal,
            });
        }
        buckets
    }

    /// Adds the values of another sketch of the same scope.
    ///
    /// # Errors
    /// [`Error::Partitions`] when scope, `lowest` or capacity differ; [`Error::Memory`].
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if (self.scope, self.lowest, self.capacity) != (other.scope, other.lowest, other.capacity) {
            return Err(Error::Partitions(
                "cannot merge these sketches: their scope, number of lowest values or capacity differ".into(),
            ));
        }
        if self.n + self.n_missing + other.n + other.n_missing > MAX_VALUES {
            return Err(Error::Partitions(format!(
                "cannot sketch more than {MAX_VALUES} values"
            )));
        }
        memory::check_available(&[(1, self.memory(0)), (2, other.memory(0))])?;
        self.flush_pending();
        let mut other = other.clone();
        other.flush_pending();
        self.n += other.n;
        self.n_missing += other.n_missing;
        self.n_below += other.n_below;
        match &other.state {
            State::Exact(counts) => self.insert_counts(counts),
            State::Buckets(added) => {
                if let State::Exact(counts) = &self.state {
                    self.state = State::Buckets(self.buckets_of(counts));
                }
                if let State::Buckets(buckets) = &mut self.state {
                    buckets.iter_mut().zip(added).for_each(|(sum, &bucket)| sum.add(bucket));
                }
            }
        }
        Ok(())
    }

    /// Returns the values at positions `k` and `k + 1` of all values in ascending order, counted from 0. If `k` is the last
    /// position, returns its value twice. Returns `None` if another pass over the values is needed ([`Sketch::refined`]).
    ///
    /// # Errors
    /// [`Error::Partitions`] when there are not more than `k` values, or when one of the two values is not kept.
    pub fn neighbours(&mut self, k: u64) -> Result<Option<(f64, f64)>> {
        self.flush_pending();
        Ok(match self.locate(k)? {
            Location::Known(low, high) => Some((value(low), value(high))),
            Location::Within(_) => None,
        })
    }

    /// Creates an empty sketch for another pass over the same values. Its scope is the bucket that holds the values at positions
    /// `k` and `k + 1`.
    ///
    /// # Errors
    /// The errors of [`Sketch::neighbours`].
    pub fn refined(&mut self, k: u64) -> Result<Self> {
        self.flush_pending();
        let scope = match self.locate(k)? {
            Location::Known(low, high) => (low, high),
            Location::Within(bucket) => (bucket.lowest, bucket.highest),
        };
        Ok(Self::empty(scope, None, self.capacity))
    }

    fn locate(&self, k: u64) -> Result<Location> {
        let next = k.saturating_add(1).min(self.n.saturating_sub(1));
        let outside = || {
            Error::Partitions(format!(
                "value number {k} is not stored: the sketch has {} values, {} of them below its scope",
                self.n, self.n_below
            ))
        };
        let Some(k) = k.checked_sub(self.n_below).filter(|_| k < self.n) else {
            return Err(outside());
        };
        let next = next - self.n_below;
        match &self.state {
            State::Exact(counts) => {
                let entry = |k| nth(counts.iter().map(|&(_, n)| n), k).and_then(|i| counts.get(i));
                match (entry(k), entry(next)) {
                    (Some(&(low, _)), Some(&(high, _))) => Ok(Location::Known(low, high)),
                    _ => Err(outside()),
                }
            }
            State::Buckets(buckets) => {
                let bucket = |k| {
                    let i = nth(buckets.iter().map(|bucket| bucket.n), k)?;
                    Some((i, *buckets.get(i)?))
                };
                match (bucket(k), bucket(next)) {
                    (Some((i, bucket)), Some((j, _))) if i == j => Ok(if bucket.lowest == bucket.highest {
                        Location::Known(bucket.lowest, bucket.lowest)
                    } else {
                        Location::Within(bucket)
                    }),
                    (Some((_, bucket)), Some((_, other))) => Ok(Location::Known(bucket.highest, other.lowest)),
                    _ => Err(outside()),
                }
            }
        }
    }
}

/// The location of two neighbours.
enum Location {
    /// The ordinals of both.
    Known(u64, u64),
    /// The bucket that holds both.
    Within(Bucket),
}

/// Returns the index of the group that holds item `k`, given the sizes of the groups.
fn nth(sizes: impl Iterator<Item = u64>, mut k: u64) -> Option<usize> {
    for (i, n) in sizes.enumerate() {
        if k < n {
            return Some(i);
        }
        k -= n;
    }
    None
}

/// Merges two ascending lists of ordinals and counts.
fn merge_counts(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while let (Some(&(x, n)), Some(&(y, m))) = (a.get(i), b.get(j)) {
        let order = x.cmp(&y);
        all.push(match order {
            Ordering::Less => (x, n),
            Ordering::Greater => (y, m),
            Ordering::Equal => (x, n + m),
        });
        i += usize::from(order.is_le());
        j += usize::from(order.is_ge());
    }
    all.extend_from_slice(a.get(i..).unwrap_or_default());
    all.extend_from_slice(b.get(j..).unwrap_or_default());
    all
}
