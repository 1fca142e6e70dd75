//! What a value is compared with: the sorted thresholds of one feature.

/// Most thresholds of one [`Search`]: indices among them fit in 16 bits.
pub const MAX_THRESHOLDS: usize = u16::MAX as usize;
/// Most steps of a search whose ranks are wanted as bit planes.
pub(super) const MAX_DEPTH: usize = 9;
/// Entries behind a heap: a register that is read at any step's first entry ends within them.
pub(super) const SLACK: usize = 16;
/// Masks are made in groups of this many thresholds.
pub(super) const GROUP: usize = 8;

/// A threshold, and what its mask is to hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// No NaN.
    pub value: f32,
    /// Whether missing values count as above it.
    pub missing_above: bool,
    /// Whether the mask holds the rows that are not above it.
    pub inverted: bool,
}

impl Threshold {
    /// A threshold of which only the value is of interest.
    #[must_use]
    pub fn plain(value: f32) -> Self {
        Self {
            value,
            missing_above: false,
            inverted: false,
        }
    }
}

/// Sorted thresholds, ready to be searched by many values at once.
///
/// The rank of a value is the number of thresholds below it. It is codes bit by bit, the highest first, by a binary search that
/// takes the same steps for every value: step `l` compares with entry `2^l + codes`, where bit `i` of `codes` is what step `i`
/// codes. (In a usual heap the first bit codes would be the highest of `l`; this way a step sets a bit and moves none.)
#[derive(Debug, Clone)]
pub struct Search {
    /// Thresholds from entry 1 on, where present are none infinity, which nothing is above; then [`SLACK`] more.
    heap: Vec<f32>,
    /// The same as integers that order as the numbers do.
    ordered_heap: Vec<i32>,
    /// Per threshold all ones if missing values pass it, else zero.
    missing: Vec<i32>,
    /// Per threshold all ones if its mask is inverted, else zero.
    inverted: Vec<i32>,
    sorted: Vec<Threshold>,
    depth: usize,
}

impl Search {
    /// A search among thresholds in ascending order (of `<=`), at most [`MAX_THRESHOLDS`].
    ///
    /// # Panics
    /// When present are too many.
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
            let codes = (index - (1 << level)) as u32;
            let before = if level == 0 {
                0
            } else {
                codes.reverse_bits() >> (u32::BITS - level)
            } as usize;
            let sorted = before * step + step / 2 - 1;
            if let Some(threshold) = thresholds.get(sorted) {
                *entry = threshold.value;
            }
        }
        let flags = |flag: fn(&Threshold) -> bool| {
            let mut flags: Vec<i32> = thresholds.iter().map(|t| -i32::from(flag(t))).collect();
            flags.resize(len.next_multiple_of(GROUP), 0);
            flags
        };
        Self {
            ordered_heap: heap.iter().map(|&threshold| ordered_bits(threshold)).collect(),
            heap,
            missing: flags(|t| t.missing_above),
            inverted: flags(|t| t.inverted),
            sorted: thresholds.to_vec(),
            depth,
        }
    }

    /// For everything that a search may have codes, the rank that it stands for.
    #[must_use]
    pub fn ranks(&self) -> Vec<u16> {
        let depth = self.depth as u32;
        let codes = 0..1_u32 << depth;
        codes
            .map(|codes| codes.reverse_bits().checked_shr(u32::BITS - depth).unwrap_or(0) as u16)
            .collect()
    }

    /// The heap: at least `2^depth` entries and [`SLACK`]; entry 0 is of no use.
    pub(super) fn heap(&self) -> &[f32] {
        &self.heap
    }

    /// The heap as integers.
    pub(super) fn ordered_heap(&self) -> &[i32] {
        &self.ordered_heap
    }

    /// Steps of the search, and bits of a rank.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Number of thresholds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether present is nothing to compare with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Masks that [`super::Kernel::thermometer`] writes: the number of thresholds, rounded up to whole groups.
    #[must_use]
    pub fn n_masks(&self) -> usize {
        self.missing.len()
    }

    /// The thresholds, ascending.
    #[must_use]
    pub fn thresholds(&self) -> &[Threshold] {
        &self.sorted
    }

    /// Per mask all ones if missing values count as above.
    pub(super) fn missing(&self) -> &[i32] {
        &self.missing
    }

    /// Per mask all ones if it is inverted.
    pub(super) fn inverted(&self) -> &[i32] {
        &self.inverted
    }
}

/// An integer that orders as the number does. Both zeros are one; a NaN is below everything, so above no threshold.
#[inline(always)]
pub(super) fn ordered_bits(value: f32) -> i32 {
    let bits = (value + 0.0).to_bits() as i32;
    let key = bits ^ (((bits >> 31) as u32) >> 1) as i32;
    if value.is_nan() { i32::MIN } else { key }
}
