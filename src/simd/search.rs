//! Lays out the sorted thresholds of a column so that many values can be searched for at once, without branches.
//!
//! A binary search in a sorted array jumps far through memory, and its branches depend on the data. Khuong and Morin ("Array
//! layouts for comparison-based searching", ACM Journal of Experimental Algorithmics, 2017) find that the Eytzinger layout is the
//! fastest. It stores the search tree level by level, as a heap does: the root is entry 1, and the children of entry `i` are `2i`
//! and `2i + 1`.
//!
//! ```text
//! sorted:            t0 t1 t2 t3 t4 t5 t6
//! Eytzinger heap:    -  t3  t1 t5  t0 t2 t4 t6         i = 1; repeat: i = 2 * i + (x > heap[i])
//! this heap:         -  t3  t1 t5  t0 t4 t2 t6         code = 0
//!                                                      for level in 0..depth:
//!                                                          code |= (x > heap[2^level + code]) << level
//! ```
//!
//! In the Eytzinger layout each step shifts the results of all earlier comparisons by one bit (`2 * i`). Here the entries of a
//! level are permuted by reversing the bits of their index in the level. So step `level` only sets bit `level` of the code and
//! shifts nothing, which saves an operation per step. The code is the rank with its bits in reverse order:
//!
//! ```text
//! rank of x = number of thresholds below x = reverse(code)
//! ```
//!
//! A bit plane is the same bit of the ranks of many values. The comparison of one step, over all values, is a bit plane as it
//! stands.
//!
//! Among a few thresholds there is nothing to search: a value is compared with each of them, which gives the thermometer code of its
//! rank, one bit plane per threshold ([`Search::is_unary`]).
//!
//! All values take the same steps, so a kernel searches many values side by side. The entries of the upper levels fit in registers,
//! where a permutation looks up the entry `2^level + code` of all lanes at once.

use super::i16_keys::I16Keys;

/// Most thresholds of one [`Search`]: ranks among them fit in 16 bits.
pub const MAX_THRESHOLDS: usize = u16::MAX as usize;
/// Maximum number of steps of a search whose ranks are bit planes.
pub(super) const MAX_DEPTH: usize = 9;
/// Additional entries at the end of a heap, so that a whole register can be read from the first entry of any level.
pub(super) const SLACK: usize = 16;
/// Number of masks that [`super::Kernel::thermometer`] makes together.
pub(super) const GROUP: usize = 8;
/// Most thresholds that values are compared with one by one, because a search would take longer.
pub(super) const MAX_UNARY: usize = 8;

const _: () = assert!(MAX_UNARY <= MAX_DEPTH);

/// A threshold, and which rows its mask holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// The value of the threshold; not NaN.
    pub value: f32,
    /// Whether missing values count as above it.
    pub missing_above: bool,
    /// Whether the mask holds the rows that are not above it.
    pub inverted: bool,
}

impl Threshold {
    /// Returns a threshold whose mask holds the rows above it, without missing values.
    #[must_use]
    pub fn plain(value: f32) -> Self {
        Self {
            value,
            missing_above: false,
            inverted: false,
        }
    }
}

/// Sorted thresholds among which many values are searched for at once.
///
/// The module's documentation explains the layout.
#[derive(Debug, Clone)]
pub struct Search {
    /// Thresholds from entry 1 on, then [`SLACK`] further entries. Unused entries are infinite, and no value is above them.
    heap: Vec<f32>,
    /// The heap as integers that order as the numbers do.
    ordered_heap: Vec<i32>,
    /// The heap as 16-bit keys, where a search by them is faster.
    i16_keys: Option<I16Keys>,
    /// For each threshold all ones if missing values count as above it, else zero.
    missing: Vec<i32>,
    /// For each threshold all ones if its mask is inverted, else zero.
    inverted: Vec<i32>,
    sorted: Vec<Threshold>,
    depth: usize,
}

impl Search {
    /// Lays out thresholds that are in ascending order; at most [`MAX_THRESHOLDS`].
    ///
    /// # Panics
    /// When there are too many.
    #[must_use]
    pub fn new(thresholds: &[Threshold]) -> Self {
        let len = thresholds.len();
        assert!(len <= MAX_THRESHOLDS, "{len} thresholds");
        debug_assert!(thresholds.is_sorted_by(|a, b| a.value <= b.value));
        let depth = (usize::BITS - len.leading_zeros()) as usize;
        let mut heap = vec![f32::INFINITY; (1 << depth.max(1)) + SLACK];
        for (index, entry) in heap.iter_mut().enumerate().take(1 << depth).skip(1) {
            let level = index.ilog2();
            let step = (1 << depth) >> level;
            let code = (index - (1 << level)) as u32;
            let before = if level == 0 {
                0
            } else {
                code.reverse_bits() >> (u32::BITS - level)
            } as usize;
            let sorted = before * step + step / 2 - 1;
            if let Some(threshold) = thresholds.get(sorted) {
                *entry = threshold.value;
            }
        }
        let flags = |flag: fn(&Threshold) -> bool| {
            let mut flags: Vec<i32> = thresholds.iter().map(|t| -i32::from(flag(t))).collect();
            flags.resize(n_masks(len), 0);
            flags
        };
        Self {
            i16_keys: I16Keys::new(thresholds, &heap),
            ordered_heap: heap.iter().map(|&threshold| ordered_bits(threshold)).collect(),
            heap,
            missing: flags(|t| t.missing_above),
            inverted: flags(|t| t.inverted),
            sorted: thresholds.to_vec(),
            depth,
        }
    }

    /// Returns the heap: at least `2^depth` entries and [`SLACK`]; entry 0 is unused.
    pub(super) fn heap(&self) -> &[f32] {
        &self.heap
    }

    /// Returns the heap as integers.
    pub(super) fn ordered_heap(&self) -> &[i32] {
        &self.ordered_heap
    }

    /// Returns the heap as 16-bit keys, where a search by them is faster.
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        allow(dead_code, reason = "the portable kernel does not search by them")
    )]
    pub(super) fn i16_keys(&self) -> Option<&I16Keys> {
        self.i16_keys.as_ref()
    }

    /// Returns the number of steps, which is the number of bits of a rank.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Returns the number of thresholds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Returns whether there are no thresholds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Returns the number of masks that [`super::Kernel::thermometer`] writes, see [`n_masks`].
    #[must_use]
    pub fn n_masks(&self) -> usize {
        self.missing.len()
    }

    /// Returns whether the thresholds are so few that values are compared with each of them: [`super::Kernel::quantise`] then writes
    /// ranks as one plane per threshold, not as binary numbers.
    #[must_use]
    pub fn is_unary(&self) -> bool {
        self.sorted.len() <= MAX_UNARY
    }

    /// Returns the thresholds in ascending order.
    #[must_use]
    pub fn thresholds(&self) -> &[Threshold] {
        &self.sorted
    }

    /// Returns, for each mask, all ones if missing values count as above its threshold, else zero.
    pub(super) fn missing(&self) -> &[i32] {
        &self.missing
    }

    /// Returns, for each mask, all ones if it is inverted, else zero.
    pub(super) fn inverted(&self) -> &[i32] {
        &self.inverted
    }
}

/// Returns the number of masks of a search among `n_thresholds`: one for each of a few thresholds, otherwise whole groups.
#[must_use]
pub fn n_masks(n_thresholds: usize) -> usize {
    if n_thresholds <= MAX_UNARY {
        n_thresholds
    } else {
        n_thresholds.next_multiple_of(GROUP)
    }
}

/// Returns an integer that has the order of the number. Both zeros are equal; a NaN is below everything, so it is above no
/// threshold.
#[inline(always)]
pub(super) fn ordered_bits(value: f32) -> i32 {
    let bits = (value + 0.0).to_bits() as i32;
    let key = bits ^ (((bits >> 31) as u32) >> 1) as i32;
    if value.is_nan() { i32::MIN } else { key }
}
