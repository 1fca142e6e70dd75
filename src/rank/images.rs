//! The queries as the kernels of [`crate::simd`] search them: by 32-bit images.
//!
//! An image is the distance from a middle query, rounded to f32. Rounding keeps the order but may make neighbours equal,
//! so that an image tells at or above which query a value lies; whether it lies above the next one too, its own 64 bits tell.

use crate::simd::{Choice, Kernel, MAX_THRESHOLDS, Search, Threshold};

/// Images of queries.
#[derive(Debug, Clone)]
#[allow(unreachable_pub, reason = "part of a sealed trait")]
pub struct Images {
    search: Search,
    /// Queries below everything that a search may have found.
    ranks: Vec<u16>,
    origin: f64,
}

impl Images {
    /// Images of distinct queries in ascending order, NaN not among them; none if too many look alike, or if there are
    /// more than a search can take.
    pub(super) fn new(queries: &[f64]) -> Option<Self> {
        let origin = *queries.get(queries.len() / 2)?;
        if queries.len() > MAX_THRESHOLDS || !origin.is_finite() || !Choice::get().finds() {
            return None;
        }
        let images: Vec<f32> = queries.iter().map(|query| (query - origin) as f32).collect();
        let n_alike = images.windows(2).filter(|pair| pair[0] == pair[1]).count();
        if n_alike > queries.len() / 64 {
            return None;
        }
        let thresholds: Vec<Threshold> = images
            .into_iter()
            .map(|value| Threshold {
                value,
                missing_above: false,
                inverted: false,
            })
            .collect();
        let search = Search::new(&thresholds);
        Some(Self {
            ranks: search.ranks(),
            search,
            origin,
        })
    }

    /// For each value a number of queries below it: all of them, unless images are alike. A NaN has none.
    pub(super) fn for_each_rank(&self, values: &[f64], mut visit: impl FnMut(f64, usize)) {
        const TILE: usize = 1024;
        let mut found = [0; TILE];
        for values in values.chunks(TILE) {
            let found = &mut found[..values.len()];
            match Choice::get() {
                #[cfg(target_arch = "x86_64")]
                Choice::Avx512(kernel) => kernel.find(&self.search, self.origin, values, found),
                #[cfg(target_arch = "x86_64")]
                Choice::Avx2(kernel) => kernel.find(&self.search, self.origin, values, found),
                #[cfg(target_arch = "aarch64")]
                Choice::Neon(kernel) => kernel.find(&self.search, self.origin, values, found),
                Choice::Portable(kernel) => kernel.find(&self.search, self.origin, values, found),
            }
            for (&value, &found) in values.iter().zip(&*found) {
                visit(value, self.ranks[found as usize] as usize);
            }
        }
    }
}
