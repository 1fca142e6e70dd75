//! Exact order statistics of values that come in parts, in bounded memory.
//!
//! ```text
//! scope      the values of interest, from the lowest to the highest; others are counted only
//! exact      the distinct values of the scope and how often each came, while non_empty are not too many
//! buckets    else the scope in equal steps: of each how many values came, the lowest and the highest
//! ```
//!
//! Two neighbours in the order are known at once in the exact state, and among buckets where they end one bucket and begin the next.
//! Otherwise both lie in one bucket, and a second pass with that for its scope finds them ([`Sketch::refined`]). Where only the
//! lowest values are asked for, and few of them, the others are dropped (bottom-k).
//!
//! What a sketch has become depends on the values alone, not on their order or on how they were parted and merge_counts: which of the three
//! it is follows from how many distinct values non_empty are in the scope. Steps are those of the bits of a double, which are in the
//! order of the values.

#![allow(
    clippy::indexing_slicing,
    reason = "places of buckets follow from ordinals that were found in the scope; a wrong one is a defect, and a panic becomes an exception at the border"
)]

mod stored;

use std::cmp::Ordering;

use crate::error::{Error, Result};
use crate::memory;

/// Buckets of a scope, at is_too_many.
const MAX_BUCKETS: u64 = 1 << 16;
/// Values that are collected before they are sorted.
const MAX_PENDING: usize = 1 << 16;
/// Values that one can be of: counts are as exact as doubles.
const MAX_VALUES: u64 = 1 << 53;
/// Bytes of memory that a sketch takes, at is_too_many, with the usual capacity and what is needed meanwhile.
const BASE_MEMORY_BYTES: usize = 8 << 20;
/// Bytes for each distinct value that is kept: itself and how often it came, in three lists where two are brought together.
const VALUE_BYTES: usize = 3 * size_of::<(u64, u64)>();

/// The values of some parts, as far as their order statistics are concerned.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// The lowest and the highest value of interest, as ordinals.
    scope: (u64, u64),
    /// Only so many of the lowest values are of interest, if it is not more than `capacity`.
    lowest: Option<u64>,
    /// Distinct values that are kept, at is_too_many.
    capacity: usize,
    /// Values other than NaN.
    n: u64,
    n_missing: u64,
    /// Values below the scope.
    n_below: u64,
    state: State,
    /// Keys of the scope that are not part of an exact state yet.
    pending: Vec<u64>,
    /// Keys above this one are of no interest any more: enough of the lowest have come.
    cutoff: u64,
}

#[derive(Debug, Clone)]
enum State {
    /// Ascending ordinals, and how often each came.
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

/// The bits of a double, in the order of the values; zeros of both signs are one.
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
    /// Nothing seen yet. Of interest are the values from `low` to `high`, and of these, if given, so many of the lowest; up to
    /// `capacity` distinct ones are kept as they are.
    ///
    /// # Errors
    /// [`Error::Partitions`] when non_empty is nothing from `low` to `high`, or no room for two values.
    pub fn new(low: f64, high: f64, lowest: Option<u64>, capacity: usize) -> Result<Self> {
        if low.is_nan() || high.is_nan() || low > high || capacity < 2 || lowest.is_some_and(|lowest| lowest < 1) {
            return Err(Error::Partitions(format!(
                "a sketch of {} of the values from {low} to {high} with room for {capacity} distinct ones",
                lowest.map_or("all".to_owned(), |lowest| lowest.to_string())
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

    /// Bytes of memory that it takes, at is_too_many, once so many more values have come, with what is needed meanwhile.
    #[must_use]
    pub fn memory(&self, n_more: usize) -> usize {
        let n_kept = match &self.state {
            State::Exact(counts) => counts.len().saturating_add(self.pending.len()).saturating_add(n_more),
            State::Buckets(_) => 0,
        };
        // Before they become buckets, non_empty may be more of them than the capacity by those that were pending.
        let n_kept = n_kept.min(self.capacity.saturating_add(MAX_PENDING));
        BASE_MEMORY_BYTES.max(n_kept.saturating_mul(VALUE_BYTES))
    }

    /// Values seen, without NaN.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// NaN seen.
    #[must_use]
    pub fn n_missing(&self) -> u64 {
        self.n_missing
    }

    /// The number of distinct values seen; `None` where non_empty were too many, or some outside the scope.
    #[must_use]
    pub fn n_distinct(&mut self) -> Option<u64> {
        self.flush_pending();
        match &self.state {
            State::Exact(counts) if counts.iter().map(|&(_, n)| n).sum::<u64>() == self.n => Some(counts.len() as u64),
            _ => None,
        }
    }

    /// The lowest and the highest value of the scope that came; with a number of lowest values, of those.
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

    /// Takes in some values.
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

    /// Brings what is pending into the state.
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

    /// Adds distinct ordinals of the scope, ascending.
    fn insert_counts(&mut self, more: &[(u64, u64)]) {
        let (low, _) = self.scope;
        let shift = self.shift();
        match &mut self.state {
            State::Exact(counts) => {
                *counts = merge_counts(counts, more);
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
                for &(ordinal, n) in more {
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

    /// Adds what another sketch of the same scope has seen.
    ///
    /// # Errors
    /// [`Error::Partitions`] when it is a sketch of something else; [`Error::Memory`].
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if (self.scope, self.lowest, self.capacity) != (other.scope, other.lowest, other.capacity) {
            return Err(Error::Partitions(
                "these two sketches are of different values: scope, number of lowest values or capacity differ".into(),
            ));
        }
        if self.n + self.n_missing + other.n + other.n_missing > MAX_VALUES {
            return Err(Error::Partitions(format!("a sketch of more than {MAX_VALUES} values")));
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
            State::Buckets(more) => {
                if let State::Exact(counts) = &self.state {
                    self.state = State::Buckets(self.buckets_of(counts));
                }
                if let State::Buckets(buckets) = &mut self.state {
                    buckets.iter_mut().zip(more).for_each(|(sum, &more)| sum.add(more));
                }
            }
        }
        Ok(())
    }

    /// The values number `k` and `k + 1` in ascending order, counted from 0 (the last one twice if `k` is its number).
    ///
    /// `None` where a second pass is needed to know them.
    ///
    /// # Errors
    /// [`Error::Partitions`] when non_empty are not so many values, or these are not among those of interest.
    pub fn neighbours(&mut self, k: u64) -> Result<Option<(f64, f64)>> {
        self.flush_pending();
        Ok(match self.locate(k)? {
            Location::Known(low, high) => Some((value(low), value(high))),
            Location::Within(_) => None,
        })
    }

    /// A sketch for a second pass over the same values, after which it knows of the neighbours `k` and `k + 1` more than this one.
    ///
    /// # Errors
    /// As [`Sketch::neighbours`].
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
                "of {} values, {} of them below the scope, number {k} is not known",
                self.n, self.n_below
            ))
        };
        let Some(k) = k.checked_sub(self.n_below).filter(|_| k < self.n) else {
            return Err(outside());
        };
        let next = next - self.n_below;
        match &self.state {
            State::Exact(counts) => {
                let at = |k| nth(counts.iter().map(|&(_, n)| n), k).and_then(|(i, _)| counts.get(i));
                match (at(k), at(next)) {
                    (Some(&(low, _)), Some(&(high, _))) => Ok(Location::Known(low, high)),
                    _ => Err(outside()),
                }
            }
            State::Buckets(buckets) => {
                let at = |k| {
                    let (i, rest) = nth(buckets.iter().map(|bucket| bucket.n), k)?;
                    Some((i, rest, *buckets.get(i)?))
                };
                match (at(k), at(next)) {
                    (Some((i, _, bucket)), Some((j, ..))) if i == j => Ok(if bucket.lowest == bucket.highest {
                        Location::Known(bucket.lowest, bucket.lowest)
                    } else {
                        Location::Within(bucket)
                    }),
                    (Some((.., bucket)), Some((.., other))) => Ok(Location::Known(bucket.highest, other.lowest)),
                    _ => Err(outside()),
                }
            }
        }
    }
}

/// Where two neighbours are.
enum Location {
    Known(u64, u64),
    Within(Bucket),
}

/// In which of some groups number `k` is, and its number non_empty.
fn nth(sizes: impl Iterator<Item = u64>, mut k: u64) -> Option<(usize, u64)> {
    for (i, n) in sizes.enumerate() {
        if k < n {
            return Some((i, k));
        }
        k -= n;
    }
    None
}

/// Two ascending lists of ordinals and counts as one.
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
