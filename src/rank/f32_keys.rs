//! Keys of 32 bits, with which the kernels of [`crate::simd`] count values among 64-bit queries.
//!
//! The key of a value is its distance from the middle query, rounded to f32. If every query is exactly an f32, the key is the value
//! itself, rounded. Rounding keeps the order but may make different values equal. So the keys of a value and a query decide which
//! is lower unless the keys are equal; then their 64 bits are compared.

use crate::simd::{BLOCK_ROWS, BlockCounter, Kernel, MAX_COUNTED_THRESHOLDS, Search, Threshold, with_kernel};

/// Maximum number of queries for which masks are faster than bins ([`crate::simd::Bins`]).
const MAX_QUERIES: usize = 255;
const _: () = assert!(MAX_QUERIES <= MAX_COUNTED_THRESHOLDS);

/// The searchable keys of the queries of a column.
#[derive(Debug, Clone)]
#[allow(unreachable_pub, reason = "part of a sealed trait")]
pub struct F32Keys {
    search: Search,
    /// The number that is subtracted from a value to make its key.
    origin: f64,
    /// Whether every query equals its key.
    is_exact: bool,
}

impl F32Keys {
    /// Makes keys of distinct queries in ascending order without NaN. Returns `None` if some keys are equal, if there are more
    /// queries than the kernel in use counts fast, or if it does not count blocks ([`Kernel::count`]).
    pub(super) fn new(queries: &[f64]) -> Option<Self> {
        let counts = with_kernel!(kernel => kernel.counts());
        let middle = *queries.get(queries.len() / 2)?;
        if !counts || queries.len() > MAX_QUERIES || !middle.is_finite() {
            return None;
        }
        let is_exact = queries.iter().all(|&query| f64::from(query as f32) == query);
        let origin = if is_exact { 0.0 } else { middle };
        let keys: Vec<f32> = queries.iter().map(|query| (query - origin) as f32).collect();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return None;
        }
        let thresholds: Vec<Threshold> = keys.into_iter().map(Threshold::plain).collect();
        Some(Self {
            search: Search::new(&thresholds),
            origin,
            is_exact,
        })
    }

    /// Creates a counter of whole blocks.
    pub(super) fn block_counter(&self) -> BlockCounter {
        BlockCounter::new(&self.search, self.is_exact)
    }

    /// Counts whole blocks of values, and returns the values that are not in a whole block. Calls `left_out` with each value that
    /// its key does not decide, because it equals the key of a query. If too many values have been left out, it returns all values
    /// uncounted.
    pub(super) fn count_blocks<'v>(
        &self,
        counter: &mut BlockCounter,
        values: &'v [f64],
        mut left_out: impl FnMut(f64),
    ) -> &'v [f64] {
        if counter.n_left_out > counter.n / 16 + 256 {
            return values;
        }
        let (blocks, rest) = values.as_chunks::<BLOCK_ROWS>();
        for block in blocks {
            let mask = with_kernel!(kernel => kernel.count(&self.search, self.origin, block, counter));
            for row in mask.rows() {
                left_out(block[row]);
                counter.n_left_out += 1;
            }
        }
        rest
    }
}
