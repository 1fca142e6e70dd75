//! Keys of 32 bits, with which the kernels of [`crate::simd`] search among 64-bit queries.
//!
//! The key of a value is its distance from the middle query, rounded to f32. If every query is exactly an f32, the key is the value
//! itself, rounded. Rounding keeps the order but may make different values equal. So the keys of a value and a query decide which
//! is lower unless the keys are equal; then their 64 bits are compared.

use crate::simd::{
    BLOCK_ROWS, BlockCounter, Choice, Kernel, MAX_COUNTED_THRESHOLDS, MAX_THRESHOLDS, Search, Threshold, with_kernel,
};

/// Maximum number of values searched for at once.
const MAX_SEARCHED: usize = 1024;

/// The searchable keys of the queries of a column.
#[derive(Debug, Clone)]
#[allow(unreachable_pub, reason = "part of a sealed trait")]
pub struct F32Keys {
    search: Search,
    /// The rank of each code that the search can return: a number of queries below the value.
    ranks: Vec<u16>,
    /// The number that is subtracted from a value to make its key.
    origin: f64,
    /// Whether every query equals its key.
    is_exact: bool,
    /// Whether the kernel can count whole blocks ([`Kernel::count`]).
    is_countable: bool,
}

impl F32Keys {
    /// Makes keys of distinct queries in ascending order without NaN. Returns `None` if too many keys are equal, if there are more
    /// queries than a search can hold, or if the kernel in use is not faster with keys.
    pub(super) fn new(queries: &[f64]) -> Option<Self> {
        let middle = *queries.get(queries.len() / 2)?;
        if queries.len() > MAX_THRESHOLDS || !middle.is_finite() || !Choice::get().finds_faster() {
            return None;
        }
        let is_exact = queries.iter().all(|&query| f64::from(query as f32) == query);
        let origin = if is_exact { 0.0 } else { middle };
        let keys: Vec<f32> = queries.iter().map(|query| (query - origin) as f32).collect();
        let n_equal_keys = keys.windows(2).filter(|pair| pair[0] == pair[1]).count();
        if n_equal_keys > queries.len() / 64 {
            return None;
        }
        let thresholds: Vec<Threshold> = keys.into_iter().map(Threshold::plain).collect();
        let search = Search::new(&thresholds);
        let can_count = with_kernel!(kernel => kernel.counts());
        Some(Self {
            ranks: search.ranks(),
            is_countable: can_count && n_equal_keys == 0 && queries.len() <= MAX_COUNTED_THRESHOLDS,
            search,
            origin,
            is_exact,
        })
    }

    /// Creates a counter of whole blocks, if that is faster.
    pub(super) fn block_counter(&self) -> Option<BlockCounter> {
        self.is_countable
            .then(|| BlockCounter::new(&self.search, self.is_exact))
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

    /// Calls `visit(value, rank)` for each value. At least `rank` queries are below the value, and exactly `rank` unless its key
    /// equals that of a query. The rank of NaN is 0.
    pub(super) fn for_each_rank(&self, values: &[f64], mut visit: impl FnMut(f64, usize)) {
        let mut codes = [0; MAX_SEARCHED];
        for values in values.chunks(MAX_SEARCHED) {
            let codes = &mut codes[..values.len()];
            with_kernel!(kernel => kernel.find_codes(&self.search, self.origin, values, codes));
            for (&value, &code) in values.iter().zip(&*codes) {
                visit(value, self.ranks[code as usize] as usize);
            }
        }
    }
}
