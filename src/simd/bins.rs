//! Counts values among sorted queries by bins: a monotone map replaces the search.
//!
//! A binary search among `n` queries takes `log2(n)` steps, although most values lie far from every query. So the range of the
//! queries is divided into at least eight bins per query, and the bin of a value is computed from the value itself. A map that is
//! monotone says enough without a comparison:
//!
//! ```text
//! bin(query) < bin(x)   implies   query < x
//! bin(query) > bin(x)   implies   query > x
//!
//! starts[b] = number of queries in the bins below b
//! for x in values:
//!     per_bin[bin(x)] += 1                     # if no query is in the bin, exactly starts[b] queries are below x
//!     if a query is in the bin: x goes to a list
//! for x in the list:                           # few values, if the queries are few among the values
//!     per_bin[bin(x)] -= 1
//!     b = starts[bin(x)]
//!     b += number of queries below x among the next 2^steps - 1       # `steps` comparisons
//!     histogram[b][x == queries[b]] += 1
//! ```
//!
//! No loop branches on data, and rounding does no harm: it can only bring a value and a query into the same bin. The idea is that of
//! interpolation search (Peterson, "Addressing for random-access storage", IBM Journal of Research and Development, 1957) with the
//! positions computed ahead of time, as in a learned index (Kraska et al., "The case for learned index structures", SIGMOD 2018).
//!
//! In columns with few distinct values, most values equal a query. If the list gets long, a value that equals the first query of its
//! bin is no longer put on it, so `per_bin` counts these. If the list still gets long, every value is compared, without a list.
//! Counts have copies that are used in turn, since an increment waits for the one before it of the same count.

use super::{Choice, prefetch};

/// Maximum number of values whose bins are computed at once.
pub const BINNED_VALUES: usize = 1024;
/// Values counted in turn, each in another copy of small counts.
const COPIES: usize = 4;
/// Maximum number of entries of a histogram that has copies: all of them stay in the first-level cache.
const MAX_COPIED_ENTRIES: usize = 512;
/// Maximum number of bins whose counts have four copies.
const MAX_BINS_OF_4_COPIES: usize = 1024;
/// Maximum number of bins whose counts have two copies.
const MAX_BINS_OF_2_COPIES: usize = 4096;

/// Minimum number of bins per query; at most twice as many are made, because their number is a power of two.
const BINS_PER_QUERY: usize = 8;
const MIN_BINS: usize = 256;
/// Maximum number of bins: a bin is a u16.
const MAX_BINS: usize = 1 << 16;
/// Maximum bytes that bins take for each query, unless there are so few queries that [`MIN_BINS`] are made.
pub const BIN_BYTES_PER_QUERY: usize = 2 * BINS_PER_QUERY * size_of::<u32>();
/// Maximum bytes that a counter takes for each query, unless its counts have copies.
pub const COUNTER_BYTES_PER_QUERY: usize =
    2 * BINS_PER_QUERY * (size_of::<u32>() + size_of::<u64>()) + 3 * size_of::<[u32; 2]>();
/// Maximum bytes of the bins of few queries and of a counter whose counts have copies.
pub const FEW_BINS_BYTES: usize = MAX_BINS_OF_2_COPIES * (3 * size_of::<u32>() + size_of::<u64>())
    + COPIES * MAX_COPIED_ENTRIES * size_of::<[u32; 2]>();

/// Marks a bin that holds queries, in the counts of the bins.
const OCCUPIED: u32 = 1 << 31;
/// Marks a bin that holds more queries than a value is compared with, in the starts of the bins.
const CROWDED: u32 = 1 << 31;

/// A type of values that are counted.
pub trait Binned: Copy + PartialOrd {
    /// Returns bits that differ for values that differ.
    fn bits(self) -> u64;
}

impl Binned for f64 {
    #[inline(always)]
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

impl Binned for i64 {
    #[inline(always)]
    fn bits(self) -> u64 {
        self as u64
    }
}

/// A monotone map of numbers to bins: of two numbers, the greater one never gets the lower bin. Equal numbers get the same bin, and
/// NaN gets the lowest bin in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BinMap(Scale);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    /// Bins of equal width. The first one is for numbers below `low`, the last one for numbers above all others.
    Linear { low: f64, factor: f64, last: f64 },
    /// Bins of equal width between powers of two, for numbers of very different sizes. The upper half of an f64, as an integer that
    /// has the order of the numbers, is divided by `1 << shift`.
    Logarithmic { low: i32, high: i32, shift: u32 },
}

impl BinMap {
    /// Makes bins of equal width. Returns `None` if the range is empty or not finite, or its width is.
    pub(super) fn linear(low: f64, high: f64, n_bins: usize) -> Option<Self> {
        let factor = (n_bins - 3) as f64 / (high - low);
        // The factor is zero if the width is infinite, and infinite if the width is zero or nearly so.
        (low.is_finite() && factor > 0.0 && factor.is_finite()).then_some(Self(Scale::Linear {
            low,
            factor,
            last: (n_bins - 2) as f64,
        }))
    }

    /// Makes bins whose width grows with the numbers. Returns `None` if all numbers of the range would get one bin.
    pub(super) fn logarithmic(low: f64, high: f64, n_bins: usize) -> Option<Self> {
        let (low, high) = (upper_half(low), upper_half(high));
        let range = u32::try_from(i64::from(high) - i64::from(low)).ok()?;
        let shift = (0..u32::BITS).find(|&shift| (range >> shift) as usize <= n_bins - 3)?;
        (range > 0).then_some(Self(Scale::Logarithmic { low, high, shift }))
    }

    /// Writes the bin of each value, and returns the number of NaN. This is inlined into functions that enable the instructions of a
    /// kernel.
    #[inline(always)]
    pub(super) fn fill(&self, values: &[f64], bins: &mut [u16]) -> u64 {
        /// The last bits of the sum with a number from 0 up to 2^52 are this number, rounded to an integer.
        const INTEGER: f64 = (1_u64 << 52) as f64;
        match self.0 {
            Scale::Linear { low, factor, last } => {
                for (bin, &value) in bins.iter_mut().zip(values) {
                    let position = (value - low) * factor;
                    let position = if position > -1.0 { position } else { -1.0 };
                    let position = if position < last { position } else { last };
                    *bin = (position + (INTEGER + 1.0)).to_bits() as u16;
                }
            }
            Scale::Logarithmic { low, high, shift } => {
                for (bin, &value) in bins.iter_mut().zip(values) {
                    let half = upper_half(value);
                    let offset = (half.max(low).min(high).wrapping_sub(low) as u32) >> shift;
                    *bin = (offset + u32::from(half >= low) + u32::from(half > high)) as u16;
                }
            }
        }
        values.iter().map(|value| u64::from(value.is_nan())).sum()
    }
}

/// Returns the upper 32 bits of a number, as an integer that has the order of the numbers. Both zeros are equal, and NaN is below
/// all other numbers but minus infinity.
#[inline(always)]
fn upper_half(value: f64) -> i32 {
    let value = if value.is_nan() { f64::NEG_INFINITY } else { value + 0.0 };
    let half = (value.to_bits() >> 32) as i32;
    half ^ (((half >> 31) as u32) >> 1) as i32
}

/// The bins of some sorted queries.
///
/// The queries themselves are in a table that the caller passes to each function: in ascending order, followed by values that no
/// value is above.
#[derive(Debug, Clone)]
pub struct Bins {
    map: BinMap,
    /// For each bin, the number of queries in lower bins, with [`CROWDED`] if it holds more queries than `steps` comparisons tell
    /// apart.
    starts: Vec<u32>,
    /// Comparisons that find the position of a value among up to `2^steps - 1` queries.
    steps: u32,
    n_queries: usize,
}

impl Bins {
    /// Makes bins of queries that are in ascending order and not NaN. Returns `None` if no map tells them apart.
    #[must_use]
    pub fn new(queries: &[f64]) -> Option<Self> {
        let n = queries.len();
        if n < 2 || n >= OCCUPIED as usize {
            return None;
        }
        let n_bins = (BINS_PER_QUERY * n).next_power_of_two().clamp(MIN_BINS, MAX_BINS);
        // A few far queries would leave all others in a few bins, so some maps leave the outer queries to the first and last bins.
        let mut margins = vec![0, n / 256, n / 64, n / 16];
        margins.dedup();
        let ranges = margins
            .into_iter()
            .map(|margin| (queries[margin], queries[n - 1 - margin]));
        let maps = ranges.flat_map(|(low, high)| {
            [
                BinMap::linear(low, high, n_bins),
                BinMap::logarithmic(low, high, n_bins),
            ]
        });
        let mut bins = vec![0; n];
        let mut best: Option<(u64, u32, BinMap)> = None;
        for map in maps.flatten() {
            bins_of(&map, queries, &mut bins);
            let (cost, steps) = cheapest(&bins);
            if best.is_none_or(|(lowest, ..)| cost < lowest) {
                best = Some((cost, steps, map));
            }
            if cost <= GOOD_COST * n as u64 {
                break;
            }
        }
        let (_, steps, map) = best?;
        bins_of(&map, queries, &mut bins);
        let mut starts = vec![0; n_bins];
        let (mut n_below, mut next) = (0, 0);
        for same in bins.chunk_by(|a, b| a == b) {
            let bin = usize::from(same[0]);
            starts[next..=bin].fill(n_below);
            if same.len() >> steps > 0 {
                starts[bin] |= CROWDED;
            }
            n_below += same.len() as u32;
            next = bin + 1;
        }
        starts[next..].fill(n_below);
        Some(Self {
            map,
            starts,
            steps,
            n_queries: n,
        })
    }

    /// Returns the number of entries that the table of queries must have.
    #[must_use]
    pub fn table_len(&self) -> usize {
        self.n_queries + (1 << self.steps)
    }

    /// Creates a counter of values among these queries.
    #[must_use]
    pub fn counter(&self) -> BinCounter {
        let n_bins = self.starts.len();
        let copies = if n_bins <= MAX_BINS_OF_4_COPIES {
            4
        } else if n_bins <= MAX_BINS_OF_2_COPIES {
            2
        } else {
            1
        };
        let mut per_bin = vec![0; copies * n_bins];
        for (count, pair) in per_bin.iter_mut().zip(self.starts.windows(2)) {
            *count = u32::from(pair[0] & !CROWDED != pair[1] & !CROWDED) * OCCUPIED;
        }
        if self.starts[n_bins - 1] & !CROWDED != self.n_queries as u32 {
            per_bin[n_bins - 1] = OCCUPIED;
        }
        for copy in 1..copies {
            per_bin.copy_within(..n_bins, copy * n_bins);
        }
        let len = self.table_len();
        let stride = if len <= MAX_COPIED_ENTRIES { len } else { 0 };
        BinCounter {
            per_bin,
            bin_copies: copies,
            first_queries: Vec::new(),
            histogram: vec![[0; 2]; len + stride * (COPIES - 1)],
            stride,
            mode: Mode::Bins,
            n_chunks: 0,
            n: 0,
            n_crowded: 0,
        }
    }

    /// Counts up to [`BINNED_VALUES`] values, whose bins are those of `floats`, and returns the number of NaN. NaN are counted as
    /// values below all queries. Calls `search` to find the number of queries below a value if its bin is crowded.
    ///
    /// # Panics
    /// When there are more values, or the table or the counter are those of other bins.
    pub fn count<T: Binned>(
        &self,
        table: &[T],
        values: &[T],
        floats: &[f64],
        counter: &mut BinCounter,
        search: impl Fn(T) -> usize,
    ) -> u64 {
        match self.steps {
            1 => self.count_in::<T, 1>(table, values, floats, counter, search),
            2 => self.count_in::<T, 2>(table, values, floats, counter, search),
            3 => self.count_in::<T, 3>(table, values, floats, counter, search),
            4 => self.count_in::<T, 4>(table, values, floats, counter, search),
            _ => self.count_in::<T, 0>(table, values, floats, counter, search),
        }
    }

    fn count_in<T: Binned, const STEPS: u32>(
        &self,
        table: &[T],
        values: &[T],
        floats: &[f64],
        counter: &mut BinCounter,
        search: impl Fn(T) -> usize,
    ) -> u64 {
        /// Number of chunks for which a mode that was changed to stays.
        const CHUNKS: u32 = 31;
        let n = values.len();
        assert!(n == floats.len() && n <= BINNED_VALUES);
        self.check(table, counter);
        let mut bins = [0; BINNED_VALUES];
        let bins = &mut bins[..n];
        let n_missing = Choice::get().bins(&self.map, floats, bins);
        counter.n += n as u64;
        if counter.n_chunks == 0 {
            counter.mode = Mode::Bins;
        }
        counter.n_chunks = counter.n_chunks.saturating_sub(1);
        let mut list = [0; BINNED_VALUES];
        let listed = match counter.mode {
            Mode::Bins => counter.count_bins(values, bins, &mut list),
            Mode::FirstQueries => {
                if counter.first_queries.is_empty() {
                    let first = |start: &u32| table[(start & !CROWDED) as usize].bits();
                    counter.first_queries = self.starts.iter().map(first).collect();
                }
                counter.count_first_queries(values, bins, &mut list)
            }
            Mode::Comparisons => {
                self.compare_all::<T, STEPS>(table, values, bins, counter, search);
                return n_missing;
            }
        };
        let last_copy = if counter.mode == Mode::Bins {
            0
        } else {
            counter.bin_copies - 1
        };
        for &index in listed {
            let index = usize::from(index);
            let (value, bin) = (values[index], bins[index]);
            // The number of copies is a power of two, so this is the copy in which the value was counted.
            counter.per_bin[(index & last_copy) * self.starts.len() + usize::from(bin)] -= 1;
            let bucket = self.bucket::<T, STEPS>(table, value, bin, &mut counter.n_crowded, &search);
            counter.histogram[bucket][usize::from(table[bucket] == value)] += 1;
        }
        if listed.len() > n / 2 {
            counter.n_chunks = CHUNKS;
            counter.mode = match counter.mode {
                Mode::Bins => Mode::FirstQueries,
                _ => Mode::Comparisons,
            };
        }
        n_missing
    }

    /// Asserts what the unchecked accesses below rely on.
    fn check<T>(&self, table: &[T], counter: &BinCounter) {
        self.check_table(table);
        assert!(counter.per_bin.len() == counter.bin_copies * self.starts.len());
        assert!(counter.first_queries.is_empty() || counter.first_queries.len() == self.starts.len());
        assert!(counter.histogram.len() == self.table_len() + counter.stride * (COPIES - 1));
    }

    fn check_table<T>(&self, table: &[T]) {
        assert!(table.len() >= self.table_len() && self.starts.len().is_power_of_two());
    }

    /// Compares every value with the queries of its bin.
    #[inline(always)]
    fn compare_all<T: Binned, const STEPS: u32>(
        &self,
        table: &[T],
        values: &[T],
        bins: &[u16],
        counter: &mut BinCounter,
        search: impl Fn(T) -> usize,
    ) {
        let BinCounter {
            histogram,
            stride,
            n_crowded,
            ..
        } = counter;
        let mut add = |copy: usize, value: T, bin: u16| {
            let bucket = self.bucket::<T, STEPS>(table, value, bin, n_crowded, &search);
            // SAFETY: a bucket is below the length of the table, and the histogram has as many entries and three strides more, as
            // the caller asserted.
            let (query, count) = unsafe {
                (
                    *table.get_unchecked(bucket),
                    histogram.get_unchecked_mut(copy * *stride + bucket),
                )
            };
            count[usize::from(query == value)] += 1;
        };
        let (groups, rest) = values.as_chunks::<COPIES>();
        let (group_bins, rest_bins) = bins.as_chunks::<COPIES>();
        for (values, bins) in groups.iter().zip(group_bins) {
            for copy in 0..COPIES {
                add(copy, values[copy], bins[copy]);
            }
        }
        for (&value, &bin) in rest.iter().zip(rest_bins) {
            add(0, value, bin);
        }
    }

    /// Returns the number of queries below a value, given its bin. The result is below [`Self::table_len`].
    #[inline(always)]
    fn bucket<T: Binned, const STEPS: u32>(
        &self,
        table: &[T],
        value: T,
        bin: u16,
        n_crowded: &mut u64,
        search: &impl Fn(T) -> usize,
    ) -> usize {
        let steps = if STEPS == 0 { self.steps } else { STEPS };
        // SAFETY: the mask is one less than the length, which is a power of two, as the caller asserted.
        let start = unsafe { *self.starts.get_unchecked(usize::from(bin) & (self.starts.len() - 1)) };
        if start & CROWDED != 0 {
            *n_crowded += 1;
            return search(value).min(self.n_queries);
        }
        let mut bucket = start as usize;
        for step in (0..steps).rev() {
            // SAFETY: a start is at most the number of queries. All steps together advance by less than `2^steps`, so the index
            // is below `table_len`, which the caller compared with the length.
            let query = unsafe { *table.get_unchecked(bucket + (1 << step) - 1) };
            bucket += usize::from(query < value) << step;
        }
        bucket
    }

    /// Calls `visit(value, rank)` for each value, where `rank` is the number of queries below it. The bins of the values are those of
    /// `floats`.
    ///
    /// # Panics
    /// When the table is that of other bins, or there are not as many `floats` as values.
    pub fn for_each_rank<T: Binned>(
        &self,
        table: &[T],
        values: &[T],
        floats: &[f64],
        search: impl Fn(T) -> usize,
        mut visit: impl FnMut(T, usize),
    ) {
        self.check_table(table);
        assert!(values.len() == floats.len());
        let mut bins = [0; BINNED_VALUES];
        for (values, floats) in values.chunks(BINNED_VALUES).zip(floats.chunks(BINNED_VALUES)) {
            Choice::get().bins(&self.map, floats, &mut bins[..values.len()]);
            for (&value, &bin) in values.iter().zip(&bins) {
                visit(value, self.bucket::<T, 0>(table, value, bin, &mut 0, &search));
            }
        }
    }

    /// Adds up what a counter has counted: for each query, and for the values above all of them, the number of values below it that
    /// are above the query before, and the number of values equal to it.
    ///
    /// # Panics
    /// When the counter is that of other bins.
    #[must_use]
    pub fn totals(&self, counter: &BinCounter) -> Vec<[u32; 2]> {
        let BinCounter {
            per_bin,
            first_queries,
            histogram,
            stride,
            ..
        } = counter;
        let mut totals = histogram[..=self.n_queries].to_vec();
        if *stride > 0 {
            for copy in histogram.chunks(*stride).skip(1) {
                for (total, [other, equal]) in totals.iter_mut().zip(copy) {
                    total[0] += other;
                    total[1] += equal;
                }
            }
        }
        for per_bin in per_bin.chunks(self.starts.len()) {
            // Number of values in the bins without queries that begin before or at each query: the last such bin writes last.
            let mut sums = vec![0; self.n_queries + 1];
            let mut sum = 0_u32;
            for (&count, &start) in per_bin.iter().zip(&self.starts) {
                let is_empty = (count >> 31).wrapping_sub(1);
                sum += count & is_empty;
                sums[(start & !CROWDED) as usize] = sum;
            }
            if !first_queries.is_empty() {
                for (&count, &start) in per_bin.iter().zip(&self.starts) {
                    totals[(start & !CROWDED) as usize][1] += count.saturating_sub(OCCUPIED);
                }
            }
            let mut before = 0;
            for (total, sum) in totals.iter_mut().zip(sums) {
                // Queries that share a bin with one before them begin no bin.
                let sum = before.max(sum);
                total[0] += sum - before;
                before = sum;
            }
        }
        // A value above all queries may equal the padding of the table.
        let [other, equal] = totals[self.n_queries];
        totals[self.n_queries] = [other + equal, 0];
        totals
    }
}

/// The way in which a chunk of values is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Values in bins with queries are listed, and compared.
    Bins,
    /// Values that equal the first query of their bin are counted without being listed.
    FirstQueries,
    /// All values are compared.
    Comparisons,
}

/// Counts of values per bin, and of values that were compared with queries.
#[derive(Debug, Clone)]
pub struct BinCounter {
    /// Number of values in each bin without queries. In a bin with queries, [`OCCUPIED`] plus the number of values that equal the
    /// first one and were not listed. All copies one after another.
    per_bin: Vec<u32>,
    /// Number of copies.
    bin_copies: usize,
    /// Bits of the first query in each bin or beyond it; empty until they are needed.
    first_queries: Vec<u64>,
    /// For each query, the number of compared values below it and above the query before, and the number of values equal to it; all
    /// copies one after another.
    histogram: Vec<[u32; 2]>,
    /// Distance between the copies of the histogram; 0 if there is only one.
    stride: usize,
    mode: Mode,
    /// Number of chunks to come that are counted in this mode.
    n_chunks: u32,
    /// Number of values.
    n: u64,
    /// Number of compared values whose bin was crowded.
    n_crowded: u64,
}

impl BinCounter {
    /// Returns whether so many values are in crowded bins that a plain search is faster.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.n_crowded > self.n / 8 + 256
    }

    /// Counts the bin of each value, and returns the positions of the values whose bin holds queries.
    fn count_bins<'l, T>(&mut self, values: &[T], bins: &[u16], list: &'l mut [u16; BINNED_VALUES]) -> &'l [u16] {
        /// Values in a cache line.
        const LINE: usize = 8;
        let n_bins = self.per_bin.len() / self.bin_copies;
        assert!(bins.len() <= BINNED_VALUES && n_bins.is_power_of_two());
        let per_bin = &mut self.per_bin[..n_bins];
        let mut n_listed = 0;
        let mut count = |index: usize, bin: u16| {
            // Every position is written, and the next one overwrites it if the bin holds no queries. SAFETY: at most one position
            // was listed for each value before, and there are at most `BINNED_VALUES` values, as asserted.
            unsafe { *list.get_unchecked_mut(n_listed) = index as u16 };
            // SAFETY: the mask is one less than the length, which is a power of two, as asserted.
            let count = unsafe { per_bin.get_unchecked_mut(usize::from(bin) & (n_bins - 1)) };
            n_listed += (*count >> 31) as usize;
            *count = count.wrapping_add(1);
        };
        let next = values.as_ptr_range().end.addr();
        let (lines, rest) = bins.as_chunks::<LINE>();
        for (line, bins) in lines.iter().enumerate() {
            // The values that follow are likely to be counted next.
            prefetch::prefetch_address(next + line * LINE * size_of::<T>());
            for (i, &bin) in bins.iter().enumerate() {
                count(line * LINE + i, bin);
            }
        }
        for (i, &bin) in rest.iter().enumerate() {
            count(lines.len() * LINE + i, bin);
        }
        &list[..n_listed]
    }

    /// Counts the bin of each value, and returns the positions of the values whose bin holds queries, but does not begin with a
    /// query that equals the value.
    fn count_first_queries<'l, T: Binned>(
        &mut self,
        values: &[T],
        bins: &[u16],
        list: &'l mut [u16; BINNED_VALUES],
    ) -> &'l [u16] {
        let copies = self.bin_copies;
        let n_bins = self.per_bin.len() / copies;
        assert!(values.len() == bins.len() && bins.len() <= BINNED_VALUES && n_bins.is_power_of_two());
        assert!(COPIES.is_multiple_of(copies) && self.first_queries.len() == n_bins);
        let (first_queries, per_bin) = (self.first_queries.as_slice(), self.per_bin.as_mut_slice());
        let mut n_listed = 0;
        let mut count = |index: usize, offset: usize, value: T, bin: u16| {
            let bin = usize::from(bin) & (n_bins - 1);
            // SAFETY: as in `count_bins`.
            unsafe { *list.get_unchecked_mut(n_listed) = index as u16 };
            // SAFETY: `bin` is below the number of bins, which is that of first queries, and of counts from each offset on.
            let (first, count) = unsafe {
                (
                    *first_queries.get_unchecked(bin),
                    per_bin.get_unchecked_mut(offset + bin),
                )
            };
            n_listed += (*count >> 31) as usize & usize::from(first != value.bits());
            *count = count.wrapping_add(1);
        };
        let offsets: [usize; COPIES] = std::array::from_fn(|i| i % copies * n_bins);
        let (groups, rest) = values.as_chunks::<COPIES>();
        let (group_bins, rest_bins) = bins.as_chunks::<COPIES>();
        for (group, (values, bins)) in groups.iter().zip(group_bins).enumerate() {
            for i in 0..COPIES {
                count(group * COPIES + i, offsets[i], values[i], bins[i]);
            }
        }
        for (i, (&value, &bin)) in rest.iter().zip(rest_bins).enumerate() {
            count(groups.len() * COPIES + i, offsets[i], value, bin);
        }
        &list[..n_listed]
    }
}

/// Cost per value with which a map is taken without trying others. This and the following costs are in hundredths of a nanosecond.
const GOOD_COST: u64 = 40;
/// Time for a value on the list, of a step of its comparisons, of the search in a crowded bin, and of a step of that search.
const LISTED: u64 = 250;
const STEP: u64 = 35;
const SEARCH: u64 = 600;
const SEARCH_STEP: u64 = 100;

fn bins_of(map: &BinMap, values: &[f64], bins: &mut [u16]) {
    for (values, bins) in values.chunks(BINNED_VALUES).zip(bins.chunks_mut(BINNED_VALUES)) {
        Choice::get().bins(map, values, bins);
    }
}

/// Returns the lowest expected cost of counting `n` values for `n` queries, and the number of steps that has it, given the bins of the
/// queries. It assumes that the values are distributed as the queries are. Then a value is as likely to share its bin with a query
/// as a query is to share its bin with another one.
fn cheapest(bins: &[u16]) -> (u64, u32) {
    let n = bins.len() as u64;
    let depth = n.ilog2() + 1;
    // For each number of steps, the number of queries in the bins that need so many.
    let mut n_needing = [0; u32::BITS as usize + 1];
    for same in bins.chunk_by(|a, b| a == b) {
        n_needing[same.len().ilog2() as usize + 1] += same.len() as u64;
    }
    let n_listed = n - n_needing[1];
    let mut n_crowded = n;
    let costs = (1..=depth).map(|steps| {
        n_crowded -= n_needing[steps as usize];
        let search = SEARCH + u64::from(depth) * SEARCH_STEP;
        let cost = n_listed * (LISTED + u64::from(steps) * STEP) + n_crowded * search;
        (cost, steps)
    });
    costs.min().unwrap_or((u64::MAX, depth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_counts_keep_their_marks() {
        let queries: Vec<f64> = (0..300).map(f64::from).collect();
        let bins = Bins::new(&queries).unwrap();
        let mut table = queries.clone();
        table.resize(bins.table_len(), f64::INFINITY);
        let rank = |value: f64| queries.partition_point(|&query| query < value);
        // Values that equal a query are counted in its bin from the second chunk on, and values between queries always.
        for (value, equal) in [(7.0, 1), (7.5, 0)] {
            let values = [value; BINNED_VALUES];
            let mut counter = bins.counter();
            bins.count(&table, &values, &values, &mut counter, rank);
            let mut bin = [0];
            Choice::get().bins(&bins.map, &[value], &mut bin);
            let left = i32::MAX as u32 - 2 * BINNED_VALUES as u32;
            counter.per_bin[usize::from(bin[0])] += left;
            bins.count(&table, &values, &values, &mut counter, rank);
            let mut expected = vec![[0; 2]; queries.len() + 1];
            expected[rank(value)][equal] = i32::MAX as u32;
            assert_eq!(bins.totals(&counter), expected, "{value}");
        }
    }
}
