//! Keys of 16 bits by which kernels search: twice as many fit in a register as values of f32, and a lookup of bytes finds them.
//!
//! ```text
//! key(x) = saturate(round((x - center) * scale))
//! ```
//!
//! Each of these operations rounds a larger number to one that is at least as large, so keys order as their values do, but different
//! values may have the same key. Hence unequal keys decide on which side of a threshold a value lies. A value whose key equals the
//! key of a threshold is searched for again by all its bits ([`set_ranks`]). A kernel may give NaN any key, if it clears the bits of
//! its rank afterwards.

use super::search::{SLACK, Search, Threshold};
use super::{Planes, TILE_ROWS};

/// Most steps of a search by keys.
pub(super) const MAX_STEPS: usize = 8;
/// Highest key of a value.
pub(super) const MAX_KEY: i16 = i16::MAX - 1;
/// The key of entries that are not thresholds; no value has it.
pub(super) const NO_THRESHOLD: i16 = i16::MAX;
/// Most values of a tile that are searched for again; with more of them the tile is faster without keys.
pub(super) const MAX_TIES: u32 = 12;

/// Absolute keys of the lowest and of the highest threshold, up to rounding. Some keys are left for values outside.
const HALF_RANGE: f32 = 32_500.0;
/// Largest scale. A difference that a processor may take as zero, since it is denormal, then has key 0 too.
const MAX_SCALE: f32 = 1e34;
/// Keys are not used if more than one in so many thresholds has the key of another one: values then tie as often.
const THRESHOLDS_PER_TIE: usize = 16;

/// The keys of the thresholds of a search.
#[derive(Debug, Clone)]
pub(super) struct I16Keys {
    center: f32,
    scale: f32,
    heap: Vec<i16>,
}

impl I16Keys {
    /// Makes the keys of thresholds in ascending order, which `heap` holds in the order of the search. Returns `None` if the search
    /// has too many steps, or if the keys tell too few thresholds apart.
    pub(super) fn new(thresholds: &[Threshold], heap: &[f32]) -> Option<Self> {
        let (first, last) = (thresholds.first()?.value, thresholds.last()?.value);
        let range = last - first;
        let scale = 2.0 * HALF_RANGE / range;
        // Without a range the scale is infinite, and with an infinite threshold it is 0 or NaN.
        if heap.len() > (1 << MAX_STEPS) + SLACK || !(scale.is_normal() && scale < MAX_SCALE && range.is_finite()) {
            return None;
        }
        let mut keys = Self {
            center: first + range / 2.0,
            scale,
            heap: Vec::new(),
        };
        let n_ties = thresholds
            .array_windows()
            .filter(|[a, b]| a.value < b.value && keys.key(a.value) == keys.key(b.value))
            .count();
        if n_ties * THRESHOLDS_PER_TIE > thresholds.len() {
            return None;
        }
        keys.heap = heap.iter().map(|&entry| keys.entry(entry)).collect();
        Some(keys)
    }

    /// Returns the key of a number.
    pub(super) fn key(&self, x: f32) -> i16 {
        let key = (x - self.center) * self.scale;
        // The conversion saturates.
        key.min(f32::from(MAX_KEY)).round_ties_even() as i16
    }

    /// Returns the key of an entry of the heap.
    fn entry(&self, entry: f32) -> i16 {
        if entry == f32::INFINITY {
            NO_THRESHOLD
        } else {
            self.key(entry)
        }
    }

    /// Returns what is subtracted from a value first.
    pub(super) fn center(&self) -> f32 {
        self.center
    }

    /// Returns the positive factor by which the difference is multiplied.
    pub(super) fn scale(&self) -> f32 {
        self.scale
    }

    /// Returns the keys in the order of [`Search::heap`], at least `2^depth` and [`SLACK`]; entry 0 is unused.
    pub(super) fn heap(&self) -> &[i16] {
        &self.heap
    }
}

/// Searches for some rows of a tile by all bits of their values, and writes the ranks into a word of the planes. It takes all `DEPTH`
/// steps without a loop whose end would be mispredicted.
#[cold]
pub(super) fn set_ranks<const DEPTH: usize>(
    search: &Search,
    values: &[f32; TILE_ROWS],
    mut rows: u64,
    planes: &mut Planes,
    word: usize,
) {
    let heap = &search.heap()[..1 << DEPTH];
    while rows != 0 {
        let row = rows.trailing_zeros();
        rows &= rows - 1;
        let value = values[row as usize];
        let mut code = 0;
        for level in 0..DEPTH {
            // The index is below the modulus; the remainder lets the compiler drop the bounds check.
            let above = value > heap[((1 << level) + code) % (1 << DEPTH)];
            code |= usize::from(above) << level;
            let plane = &mut planes.bits[DEPTH - 1 - level].0[word];
            *plane = *plane & !(1 << row) | u64::from(above) << row;
        }
    }
}
