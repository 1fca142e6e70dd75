//! Counts the reference values below, and at or below, each queried value.
//!
//! SciPy's `percentileofscore` compares all `n` values of the reference with each query. Sorting the reference would take
//! `n log n` steps. This module sorts only the queries, and finds the position of each reference value among them:
//!
//! ```text
//! u = sort(distinct(queries))                   # u[0] < u[1] < ...; the reference is never sorted
//! histogram[bucket][is_equal] = 0               # one bucket per query, and one for values above the last query
//! for x in reference:
//!     b = number of u below x                   # u[b - 1] < x <= u[b]
//!     histogram[b][x == u[b]] += 1
//! at_or_below[k] = sum(histogram[0..=k])        # x <= u[k] exactly when b <= k
//! below[k]       = at_or_below[k] - histogram[k][true]
//! ```
//!
//! Four measures make it fast:
//!
//! 1. The bin of a value, which is computed without a search, says how many queries are below it unless a query is in the same bin
//!    ([`simd::Bins`]).
//! 2. For few queries, a kernel with the right instructions counts most values without a histogram: for each query it makes a mask
//!    of the values above it, and counts the bits of the mask ([`simd::BlockCounter`]). It compares f32 keys (`f32_keys`).
//! 3. If there are up to four queries, every value is compared with each of them.
//! 4. If bins do not tell the queries apart, a binary search takes the same steps for every value and has no branches, so several
//!    values are searched for side by side ([`Queries`]). Khuong and Morin ("Array layouts for comparison-based searching", ACM
//!    Journal of Experimental Algorithmics, 2017) compare such searches.
//!
//! A NaN compares false with everything, so it is counted in `histogram[0][false]`. The number of NaN is subtracted there at the
//! end.
//!
//! The counts of two disjoint sets of reference values add up to the counts of their union. So threads can count different rows,
//! and machines different partitions of a table ([`super::mergeable`]).

use std::cmp::Ordering;

use super::f32_keys::F32Keys;
use crate::error::{Error, Result};
use crate::simd::{self, BINNED_VALUES, BinCounter, Bins};

/// Number of values searched for side by side: their comparisons do not wait for each other.
const LANES: usize = 8;
/// Maximum number of distinct queries with which every value is compared, without a search.
const MAX_COMPARED_QUERIES: usize = 4;

/// Maximum number of values that one counter can count. Its counts have 31 bits, so that many of them stay in cache.
pub const MAX_COUNTED_VALUES: u64 = i32::MAX as u64;

/// Maximum bytes that a query takes: its value, its entry in the table, and its bins.
pub(super) const QUERY_BYTES: usize = 64 + simd::BIN_BYTES_PER_QUERY;
/// Maximum bytes that a counter takes for each query: histograms and bins.
pub(super) const COUNTER_QUERY_BYTES: usize = 2 * size_of::<[u32; 2]>() + simd::COUNTER_BYTES_PER_QUERY;
/// Bytes that a counter of few queries takes: its bins, and the masks of the block counter.
pub(super) const COUNTER_BYTES: usize =
    simd::FEW_BINS_BYTES + 2 * (simd::MAX_COUNTED_THRESHOLDS + 1) * size_of::<simd::Mask>();

mod sealed {
    use super::F32Keys;
    use crate::simd;

    pub trait Sealed: Sized {
        /// Makes f32 keys of the queries, if the kernel counts faster with them.
        fn f32_keys(_queries: &[Self]) -> Option<F32Keys> {
            None
        }

        /// Counts whole blocks. Calls `left_out` with each value of a block whose key is not enough to count it, and returns the
        /// values behind the last counted block.
        fn count_blocks<'v>(
            _keys: &F32Keys,
            _counter: &mut simd::BlockCounter,
            values: &'v [Self],
            _left_out: impl FnMut(Self),
        ) -> &'v [Self] {
            values
        }

        /// Returns the values as f64, rounded if necessary. `buffer` has as many entries, and may be used or not.
        fn as_floats<'v>(values: &'v [Self], buffer: &'v mut [f64]) -> &'v [f64];
    }

    impl Sealed for i64 {
        fn as_floats<'v>(values: &'v [Self], buffer: &'v mut [f64]) -> &'v [f64] {
            for (float, &value) in buffer.iter_mut().zip(values) {
                *float = value as f64;
            }
            buffer
        }
    }

    impl Sealed for f64 {
        fn f32_keys(queries: &[Self]) -> Option<F32Keys> {
            F32Keys::new(queries)
        }

        fn count_blocks<'v>(
            f32_keys: &F32Keys,
            counter: &mut simd::BlockCounter,
            values: &'v [Self],
            left_out: impl FnMut(Self),
        ) -> &'v [Self] {
            f32_keys.count_blocks(counter, values, left_out)
        }

        fn as_floats<'v>(values: &'v [Self], _buffer: &'v mut [f64]) -> &'v [f64] {
            values
        }
    }
}

/// A type whose values can be counted: f64 or i64.
pub trait Countable: simd::Binned + Send + Sync + sealed::Sealed {
    /// The highest value of the type.
    const HIGHEST: Self;

    /// Returns whether the value is NaN.
    fn is_missing(self) -> bool;

    /// Compares two values that are not NaN.
    fn order(&self, other: &Self) -> Ordering;
}

impl Countable for f64 {
    const HIGHEST: Self = f64::INFINITY;

    fn is_missing(self) -> bool {
        self.is_nan()
    }

    fn order(&self, other: &Self) -> Ordering {
        self.total_cmp(other)
    }
}

impl Countable for i64 {
    const HIGHEST: Self = i64::MAX;

    fn is_missing(self) -> bool {
        false
    }

    fn order(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}

/// The distinct queried values in ascending order, without NaN.
#[derive(Debug, Clone)]
pub struct Queries<T> {
    /// The values, then [`Countable::HIGHEST`]. No value is above this padding, so a search never counts it, and every bucket is a
    /// valid index of the table.
    table: Vec<T>,
    len: usize,
    bins: Option<Bins>,
    f32_keys: Option<F32Keys>,
}

impl<T: Countable> Queries<T> {
    /// Sorts queries that come in any order, repeated or not.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = T>) -> Self {
        let mut table: Vec<T> = values.into_iter().filter(|value| !value.is_missing()).collect();
        table.sort_unstable_by(T::order);
        // Equality merges zeros of both signs into one query.
        table.dedup();
        let len = table.len();
        let (mut bins, mut f32_keys) = (None, None);
        if len > MAX_COMPARED_QUERIES {
            bins = Bins::new(T::as_floats(&table, &mut vec![0.0; len]));
            f32_keys = T::f32_keys(&table);
        }
        let binned_len = bins.as_ref().map_or(0, Bins::table_len);
        table.resize(search_len(len).max(binned_len), T::HIGHEST);
        Self {
            table,
            len,
            bins,
            f32_keys,
        }
    }

    /// Returns the number of distinct values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no queries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the distinct values in ascending order.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.table[..self.len]
    }

    /// Returns the index of a queried value in [`Queries::values`]; `None` for a NaN and for a value that was not queried.
    #[must_use]
    pub fn position(&self, value: T) -> Option<usize> {
        let [bucket] = self.buckets(&[value]);
        (bucket < self.len && self.table[bucket] == value).then_some(bucket)
    }

    /// Calls `visit` with the position of each value in [`Queries::values`]; `None` for a NaN and for a value that was not queried.
    pub(super) fn for_each_position(&self, values: &[T], mut visit: impl FnMut(Option<usize>)) {
        let mut buffer = [0.0; BINNED_VALUES];
        let position = |bucket: usize, value| (bucket < self.len && self.table[bucket] == value).then_some(bucket);
        for values in values.chunks(BINNED_VALUES) {
            let Some(bins) = &self.bins else {
                for &value in values {
                    visit(self.position(value));
                }
                continue;
            };
            let floats = T::as_floats(values, &mut buffer[..values.len()]);
            let visit = |value, bucket| visit(position(bucket, value));
            bins.for_each_rank(&self.table, values, floats, |value| self.bucket(value), visit);
        }
    }

    /// Returns the number of queries below a value.
    fn bucket(&self, value: T) -> usize {
        let [bucket] = self.buckets(&[value]);
        bucket
    }

    /// Returns the number of queries below each value.
    #[inline]
    fn buckets<const N: usize>(&self, values: &[T; N]) -> [usize; N] {
        let mut buckets = [0; N];
        let mut half = search_len(self.len) / 2;
        while half > 0 {
            for (bucket, value) in buckets.iter_mut().zip(values) {
                let next = *bucket + half;
                *bucket = std::hint::select_unpredictable(self.table[next - 1] < *value, next, *bucket);
            }
            half /= 2;
        }
        buckets
    }
}

/// Returns the number of table entries that a binary search among `n` queries looks at: a power of two, of which the last entry is
/// padding.
fn search_len(n: usize) -> usize {
    (n + 1).next_power_of_two()
}

/// Counts the reference values of one pass.
#[derive(Debug)]
pub struct Counter<'q, T> {
    queries: &'q Queries<T>,
    counts: Counts,
    /// For each bucket, the number of values below its query, and the number of values equal to it. Unused if there are few queries.
    histogram: Vec<[u32; 2]>,
    /// Counts by bins, if the queries have bins.
    binned: Option<BinCounter>,
    /// Counts of whole blocks, if the kernel counts without a histogram.
    blocks: Option<simd::BlockCounter>,
}

impl<'q, T: Countable> Counter<'q, T> {
    /// Creates a counter that has counted nothing yet.
    #[must_use]
    pub fn new(queries: &'q Queries<T>) -> Self {
        Self {
            queries,
            counts: Counts::none(queries.len),
            histogram: vec![[0; 2]; search_len(queries.len)],
            binned: queries.bins.as_ref().map(Bins::counter),
            blocks: queries.f32_keys.as_ref().map(F32Keys::block_counter),
        }
    }

    /// Counts more values of the reference.
    ///
    /// # Panics
    /// When the counter has been given more than [`MAX_COUNTED_VALUES`] values.
    pub fn add(&mut self, mut values: &[T]) {
        let Self {
            queries,
            counts,
            histogram,
            binned,
            blocks,
        } = self;
        counts.n += values.len() as u64;
        assert!(
            counts.n <= MAX_COUNTED_VALUES,
            "one counter cannot count more than {MAX_COUNTED_VALUES} values"
        );
        if queries.len <= MAX_COMPARED_QUERIES {
            counts.n_missing += count_if(values, T::is_missing);
            for (k, &query) in queries.values().iter().enumerate() {
                counts.below[k] += count_if(values, |value| value < query);
                counts.at_or_below[k] += count_if(values, |value| value <= query);
            }
            return;
        }
        if let (Some(f32_keys), Some(blocks)) = (&queries.f32_keys, blocks) {
            values = T::count_blocks(f32_keys, blocks, values, |value| {
                let bucket = queries.bucket(value);
                histogram[bucket][usize::from(queries.table[bucket] == value)] += 1;
            });
            if values.is_empty() {
                return;
            }
        }
        if let (Some(bins), Some(binned)) = (&queries.bins, binned)
            && !binned.is_slow()
        {
            let mut buffer = [0.0; BINNED_VALUES];
            for values in values.chunks(BINNED_VALUES) {
                let floats = T::as_floats(values, &mut buffer[..values.len()]);
                counts.n_missing += bins.count(&queries.table, values, floats, binned, |value| queries.bucket(value));
            }
            return;
        }
        counts.n_missing += count_if(values, T::is_missing);
        let (groups, rest) = values.as_chunks::<LANES>();
        for group in groups {
            self.count(group);
        }
        for &value in rest {
            self.count(&[value]);
        }
    }

    #[inline]
    fn count<const N: usize>(&mut self, values: &[T; N]) {
        for (bucket, value) in self.queries.buckets(values).into_iter().zip(values) {
            let equal = self.queries.table[bucket] == *value;
            self.histogram[bucket][usize::from(equal)] += 1;
        }
    }

    /// Adds up all histograms and returns the counts.
    #[must_use]
    pub fn finish(mut self) -> Counts {
        if self.queries.len > MAX_COMPARED_QUERIES {
            if let (Some(bins), Some(binned)) = (&self.queries.bins, &self.binned) {
                for (sum, [other, equal]) in self.histogram.iter_mut().zip(bins.totals(binned)) {
                    sum[0] += other;
                    sum[1] += equal;
                }
            }
            self.histogram[0][0] -= self.counts.n_missing as u32;
            let mut sum = 0;
            for (k, &[other, equal]) in self.histogram.iter().take(self.queries.len).enumerate() {
                self.counts.below[k] = sum + u64::from(other);
                sum += u64::from(other) + u64::from(equal);
                self.counts.at_or_below[k] = sum;
            }
        }
        if let Some(blocks) = self.blocks {
            let total = |mask: &simd::Mask| mask.0.iter().sum::<u64>();
            for k in 0..self.queries.len {
                let at_or_below = blocks.n - total(&blocks.above[k]);
                self.counts.at_or_below[k] += at_or_below;
                self.counts.below[k] += at_or_below - total(&blocks.equal[k]);
            }
            self.counts.n_missing += blocks.n_missing;
        }
        self.counts
    }
}

fn count_if<T: Copy>(values: &[T], condition: impl Fn(T) -> bool) -> u64 {
    values.iter().map(|&value| u64::from(condition(value))).sum()
}

/// Counts of reference values for each distinct query, in ascending order of the queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    below: Vec<u64>,
    at_or_below: Vec<u64>,
    n: u64,
    n_missing: u64,
}

impl Counts {
    /// Creates the counts of an empty reference.
    #[must_use]
    pub fn none(n_queries: usize) -> Self {
        Self {
            below: vec![0; n_queries],
            at_or_below: vec![0; n_queries],
            n: 0,
            n_missing: 0,
        }
    }

    /// Makes counts from stored numbers. Returns `None` if they cannot be the counts of ascending queries.
    pub(super) fn from_stored(below: Vec<u64>, at_or_below: Vec<u64>, n: u64, n_missing: u64) -> Option<Self> {
        let present = n.checked_sub(n_missing)?;
        let next = below.iter().copied().skip(1).chain([present]);
        let is_sound = below.len() == at_or_below.len()
            && below.iter().zip(&at_or_below).all(|(low, high)| low <= high)
            && at_or_below.iter().zip(next).all(|(&end, next)| end <= next);
        is_sound.then_some(Self {
            below,
            at_or_below,
            n,
            n_missing,
        })
    }

    /// Returns the counts at these positions, one after another.
    pub(super) fn at_positions(&self, positions: &[usize]) -> Self {
        let select = |counts: &[u64]| positions.iter().map(|&position| counts[position]).collect();
        Self {
            below: select(&self.below),
            at_or_below: select(&self.at_or_below),
            ..*self
        }
    }

    /// Adds the counts of another partition of the reference, for the same queries.
    ///
    /// # Errors
    /// [`Error::RowCount`] when the numbers of queries differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if other.below.len() != self.below.len() {
            return Err(Error::RowCount {
                label: "the partition to merge",
                actual: other.below.len(),
                expected: self.below.len(),
            });
        }
        self.add(other);
        Ok(())
    }

    /// Adds other counts for the same queries; the caller ensures that the queries are the same.
    pub(super) fn add(&mut self, other: &Self) {
        let below = self.below.iter_mut().zip(&other.below);
        let at_or_below = self.at_or_below.iter_mut().zip(&other.at_or_below);
        below.chain(at_or_below).for_each(|(sum, count)| *sum += count);
        self.n += other.n;
        self.n_missing += other.n_missing;
    }

    /// Returns the number of values below each query.
    #[must_use]
    pub fn below(&self) -> &[u64] {
        &self.below
    }

    /// Returns the number of values at or below each query.
    #[must_use]
    pub fn at_or_below(&self) -> &[u64] {
        &self.at_or_below
    }

    /// Returns the number of all reference values, NaN included.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Returns the number of NaN among the reference values.
    #[must_use]
    pub fn n_missing(&self) -> u64 {
        self.n_missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(reference: &[f64], queries: &[f64]) -> Counts {
        let queries = Queries::new(queries.iter().copied());
        let mut counter = Counter::new(&queries);
        counter.add(reference);
        counter.finish()
    }

    #[test]
    fn queries_are_sorted_and_distinct() {
        let queries = Queries::new([2.0, f64::NAN, 0.0, f64::INFINITY, -0.0, 2.0]);
        assert_eq!(queries.values(), [0.0, 2.0, f64::INFINITY]);
        assert_eq!(queries.position(-0.0), Some(0));
        assert_eq!(queries.position(f64::INFINITY), Some(2));
        assert_eq!(queries.position(1.0), None);
        assert_eq!(queries.position(f64::NAN), None);
        assert!(Queries::<i64>::new([]).is_empty());
    }

    #[test]
    fn padding_is_not_counted_as_a_query() {
        // A table of two queries has two entries of padding. They equal the highest value of the reference.
        let queries = Queries::new([1_i64, 2]);
        let mut counter = Counter::new(&queries);
        counter.add(&[i64::MAX, 2, i64::MIN]);
        let counts = counter.finish();
        assert_eq!((counts.below(), counts.at_or_below()), (&[1, 1][..], &[1, 2][..]));
        assert_eq!(queries.position(i64::MAX), None);
    }

    #[test]
    fn missing_values_are_counted_separately() {
        let nan = f64::NAN;
        let counts = counts(&[nan, 1.0, -nan, 3.0, f64::NEG_INFINITY], &[1.0, f64::INFINITY, nan]);
        assert_eq!((counts.n(), counts.n_missing()), (5, 2));
        assert_eq!((counts.below(), counts.at_or_below()), (&[1, 3][..], &[2, 3][..]));
    }

    #[test]
    #[should_panic(expected = "cannot count more than 2147483647 values")]
    fn more_values_than_a_counter_holds_are_refused() {
        let queries = Queries::new((0..300).map(f64::from));
        let mut counter = Counter::new(&queries);
        counter.add(&[0.0; 2]);
        counter.counts.n = MAX_COUNTED_VALUES - 1;
        counter.add(&[0.0]);
        assert_eq!(counter.counts.n, MAX_COUNTED_VALUES);
        counter.add(&[0.0]);
    }

    #[test]
    fn counts_of_other_queries_are_not_merged() {
        let error = Counts::none(2).merge(&Counts::none(3)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the partition to merge has 3 entries, but 2 are expected"
        );
    }
}
