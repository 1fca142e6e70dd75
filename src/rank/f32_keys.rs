//! The queries as the kernels of [`crate::simd`] search them: by 32-bit keys.
//!
//! An key is the distance from a middle query, rounded to f32, or the value itself where every query is one. Rounding
//! keeps the order but may make neighbours equal, so that an key tells at or above which query a value lies; whether it
//! lies above the next one too, its own 64 bits tell.

use crate::simd::{
    BLOCK_ROWS, BlockCounter, Choice, Kernel, MAX_COUNTED, MAX_THRESHOLDS, Search, Threshold, with_kernel,
};

/// Values searched for in one go.
const MAX_SEARCHED: usize = 1024;

/// F32Keys of queries.
#[derive(Debug, Clone)]
#[allow(unreachable_pub, reason = "part of a sealed trait")]
pub struct F32Keys {
    search: Search,
    /// Queries below everything that a search may have codes.
    ranks: Vec<u16>,
    origin: f64,
    /// Whether every query is its key.
    exact: bool,
    countable: bool,
}

impl F32Keys {
    /// F32Keys of distinct queries in ascending order, NaN not among them; none if too many look alike, if there are more
    /// than a search can take, or if the kernel in use has no way with them.
    pub(super) fn new(queries: &[f64]) -> Option<Self> {
        let middle = *queries.get(queries.len() / 2)?;
        if queries.len() > MAX_THRESHOLDS || !middle.is_finite() || !Choice::get().finds_faster() {
            return None;
        }
        let exact = queries.iter().all(|&query| f64::from(query as f32) == query);
        let origin = if exact { 0.0 } else { middle };
        let keys: Vec<f32> = queries.iter().map(|query| (query - origin) as f32).collect();
        let n_equal_keys = keys.windows(2).filter(|pair| pair[0] == pair[1]).count();
        if n_equal_keys > queries.len() / 64 {
            return None;
        }
        let thresholds: Vec<Threshold> = keys.into_iter().map(Threshold::plain).collect();
        let search = Search::new(&thresholds);
        let counts = with_kernel!(kernel => kernel.counts());
        Some(Self {
            ranks: search.ranks(),
            countable: counts && n_equal_keys == 0 && queries.len() <= MAX_COUNTED,
            search,
            origin,
            exact,
        })
    }

    /// For counting block by block, if that is faster.
    pub(super) fn block_counter(&self) -> Option<BlockCounter> {
        self.countable.then(|| BlockCounter::new(&self.search, self.exact))
    }

    /// Counts whole blocks of values, calls `left_out` with those that must be counted otherwise, and returns the rest. It stops
    /// where too many are left out.
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

    /// For each value a number of queries below it: all of them, unless keys are alike. A NaN has none.
    pub(super) fn for_each_rank(&self, values: &[f64], mut visit: impl FnMut(f64, usize)) {
        let mut codes = [0; MAX_SEARCHED];
        for values in values.chunks(MAX_SEARCHED) {
            let codes = &mut codes[..values.len()];
            with_kernel!(kernel => kernel.find_codes(&self.search, self.origin, values, codes));
            for (&value, &codes) in values.iter().zip(&*codes) {
                visit(value, self.ranks[codes as usize] as usize);
            }
        }
    }
}
