//! Registers of f64 whose lanes are rows, for the steps of [`shapley`](super::shapley).

/// A few rows of one quantity.
///
/// Values are made only by the unsafe functions, whose caller vouches for the processor. So the existence of a value proves that
/// the operations on it are supported. Every operation rounds each lane as the same operation of f64 does, and none fuses a product
/// with a sum, so all types give the same bits.
pub(super) trait Lanes: Copy {
    /// Rows in a register.
    const ROWS: usize;
    /// Numbers that a constant takes in a list of constants: a type may want its constants repeated for each lane.
    const STEP: usize = 1;
    /// Tells for each row whether it takes an edge of the tree.
    type Mask: Copy;

    /// Returns the same number in every lane.
    ///
    /// # Safety
    /// The processor has the instructions of the type.
    unsafe fn splat(number: f64) -> Self;

    /// Returns a constant in every lane.
    ///
    /// # Safety
    /// The processor has the instructions of the type; [`Self::STEP`] numbers are readable, all of them the constant.
    unsafe fn constant(constant: *const f64) -> Self;

    /// Returns the rows whose value is at or below the threshold, without missing values.
    ///
    /// # Safety
    /// The processor has the instructions of the type; [`Self::ROWS`] values are readable.
    unsafe fn at_or_below(values: *const f32, threshold: f32) -> Self::Mask;

    /// Returns all other rows than [`at_or_below`](Self::at_or_below).
    ///
    /// # Safety
    /// As for `at_or_below`.
    unsafe fn not_at_or_below(values: *const f32, threshold: f32) -> Self::Mask;

    /// Returns the rows of `mask`, with the rows whose value is missing added if `taken`, else removed.
    ///
    /// # Safety
    /// As for `at_or_below`.
    unsafe fn with_missing(mask: Self::Mask, values: *const f32, taken: bool) -> Self::Mask;

    /// Returns the rows of both masks.
    ///
    /// # Safety
    /// The processor has the instructions of the type, here and below.
    unsafe fn both(a: Self::Mask, b: Self::Mask) -> Self::Mask;

    /// Returns the rows of `b` that are not in `a`.
    ///
    /// # Safety
    /// The processor has the instructions of the type.
    unsafe fn only_second(a: Self::Mask, b: Self::Mask) -> Self::Mask;

    /// Returns all rows that are not in the mask.
    ///
    /// # Safety
    /// The processor has the instructions of the type.
    unsafe fn none_of(mask: Self::Mask) -> Self::Mask;

    /// Returns the products.
    fn times(self, other: Self) -> Self;

    /// Returns the sums.
    fn plus(self, other: Self) -> Self;

    /// Returns `a` in the rows of the mask, and `self` in the others.
    fn or_if(self, mask: Self::Mask, a: Self) -> Self;

    /// Returns `self` in the rows of the mask, and 0 in the others.
    fn if_in(self, mask: Self::Mask) -> Self;

    /// Subtracts the lanes from numbers in memory.
    ///
    /// # Safety
    /// [`Self::ROWS`] numbers are readable and writable.
    unsafe fn subtract_from(self, numbers: *mut f64);

    /// Multiplies the rows of the mask by a constant.
    ///
    /// # Safety
    /// As for [`constant`](Self::constant).
    #[inline(always)]
    unsafe fn times_if(self, mask: Self::Mask, constant: *const f64) -> Self {
        // SAFETY: the caller vouches for processor and constant.
        unsafe { self.times(Self::splat(1.0).or_if(mask, Self::constant(constant))) }
    }

    /// Multiplies the rows of the mask by `a`, and the other rows of `older` by `b`.
    ///
    /// # Safety
    /// As for [`constant`](Self::constant).
    #[inline(always)]
    unsafe fn times_first(self, mask: Self::Mask, a: *const f64, older: Self::Mask, b: *const f64) -> Self {
        // SAFETY: the caller vouches for processor and constants.
        unsafe {
            let factor = Self::splat(1.0).or_if(older, Self::constant(b));
            self.times(factor.or_if(mask, Self::constant(a)))
        }
    }

    /// Multiplies the rows of the mask by `a`, and the others by `b`.
    ///
    /// # Safety
    /// As for [`constant`](Self::constant).
    #[inline(always)]
    unsafe fn times_either(self, mask: Self::Mask, a: *const f64, b: *const f64) -> Self {
        // SAFETY: the caller vouches for processor and constants.
        unsafe { self.times(Self::constant(b).or_if(mask, Self::constant(a))) }
    }
}

/// Lanes as an array, in plain Rust, from which the compiler makes what the processor has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain<const N: usize>([f64; N]);

impl<const N: usize> Plain<N> {
    #[inline(always)]
    fn map(self, other: Self, operation: impl Fn(f64, f64) -> f64) -> Self {
        let mut lanes = self.0;
        for (a, b) in lanes.iter_mut().zip(other.0) {
            *a = operation(*a, b);
        }
        Self(lanes)
    }
}

/// Makes a mask, all ones in the rows taken.
#[inline(always)]
fn plain_mask<const N: usize>(row: impl Fn(usize) -> bool) -> [u64; N] {
    let mut mask = [0; N];
    for (i, word) in mask.iter_mut().enumerate() {
        *word = u64::from(row(i)).wrapping_neg();
    }
    mask
}

#[inline(always)]
fn plain_masks<const N: usize>(mut a: [u64; N], b: [u64; N], operation: impl Fn(u64, u64) -> u64) -> [u64; N] {
    for (a, b) in a.iter_mut().zip(b) {
        *a = operation(*a, b);
    }
    a
}

impl<const N: usize> Lanes for Plain<N> {
    const ROWS: usize = N;
    type Mask = [u64; N];

    #[inline(always)]
    unsafe fn splat(number: f64) -> Self {
        Self([number; N])
    }

    #[inline(always)]
    unsafe fn constant(constant: *const f64) -> Self {
        // SAFETY: the caller vouches for the constant.
        Self([unsafe { *constant }; N])
    }

    #[inline(always)]
    unsafe fn at_or_below(values: *const f32, threshold: f32) -> [u64; N] {
        // SAFETY: the caller vouches for the values, here and below.
        plain_mask(|i| unsafe { *values.add(i) } <= threshold)
    }

    #[inline(always)]
    unsafe fn not_at_or_below(values: *const f32, threshold: f32) -> [u64; N] {
        // SAFETY: as above.
        unsafe { Self::none_of(Self::at_or_below(values, threshold)) }
    }

    #[inline(always)]
    unsafe fn with_missing(mask: [u64; N], values: *const f32, taken: bool) -> [u64; N] {
        // SAFETY: as above.
        let missing = plain_mask(|i| unsafe { *values.add(i) }.is_nan());
        let taken = u64::from(taken).wrapping_neg();
        plain_masks(mask, missing, |mask, missing| mask & !missing | missing & taken)
    }

    #[inline(always)]
    unsafe fn both(a: [u64; N], b: [u64; N]) -> [u64; N] {
        plain_masks(a, b, |a, b| a & b)
    }

    #[inline(always)]
    unsafe fn only_second(a: [u64; N], b: [u64; N]) -> [u64; N] {
        plain_masks(a, b, |a, b| !a & b)
    }

    #[inline(always)]
    unsafe fn none_of(mask: [u64; N]) -> [u64; N] {
        plain_masks(mask, mask, |mask, _| !mask)
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.map(other, |a, b| a * b)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.map(other, |a, b| a + b)
    }

    #[inline(always)]
    fn or_if(self, mask: [u64; N], a: Self) -> Self {
        let mut lanes = self.0;
        for ((lane, a), mask) in lanes.iter_mut().zip(a.0).zip(mask) {
            *lane = f64::from_bits(lane.to_bits() & !mask | a.to_bits() & mask);
        }
        Self(lanes)
    }

    #[inline(always)]
    fn if_in(self, mask: [u64; N]) -> Self {
        let mut lanes = self.0;
        for (lane, mask) in lanes.iter_mut().zip(mask) {
            *lane = f64::from_bits(lane.to_bits() & mask);
        }
        Self(lanes)
    }

    #[inline(always)]
    unsafe fn subtract_from(self, numbers: *mut f64) {
        for (i, lane) in self.0.into_iter().enumerate() {
            // SAFETY: the caller vouches for the numbers.
            unsafe { *numbers.add(i) -= lane };
        }
    }
}
