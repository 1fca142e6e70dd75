//! Registers of f64 whose lanes are rows, for the steps of [`shapley`](super::shapley).

#![allow(
    clippy::needless_range_loop,
    reason = "an iterator that is not inlined keeps registers in memory, which takes three times as long"
)]

/// A few rows of one quantity.
///
/// Values are made only by the unsafe functions, whose caller vouches for the processor. So the existence of a value proves that
/// the operations on it are supported. Every operation rounds each lane as the same operation of f64 does, and none fuses a product
/// with a sum, so all types give the same bits.
pub(super) trait Lanes: Copy {
    /// Rows in a register.
    const ROWS: usize;
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
    /// The processor has the instructions of the type; the constant is readable.
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
        for i in 0..N {
            lanes[i] = operation(lanes[i], other.0[i]);
        }
        Self(lanes)
    }
}

/// Makes a mask, all ones in the rows taken.
#[inline(always)]
fn plain_mask<const N: usize>(row: impl Fn(usize) -> bool) -> [u64; N] {
    let mut mask = [0; N];
    for i in 0..N {
        mask[i] = u64::from(row(i)).wrapping_neg();
    }
    mask
}

#[inline(always)]
fn plain_masks<const N: usize>(mut a: [u64; N], b: [u64; N], operation: impl Fn(u64, u64) -> u64) -> [u64; N] {
    for i in 0..N {
        a[i] = operation(a[i], b[i]);
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
        for i in 0..N {
            lanes[i] = f64::from_bits(lanes[i].to_bits() & !mask[i] | a.0[i].to_bits() & mask[i]);
        }
        Self(lanes)
    }

    #[inline(always)]
    fn if_in(self, mask: [u64; N]) -> Self {
        let mut lanes = self.0;
        for i in 0..N {
            lanes[i] = f64::from_bits(lanes[i].to_bits() & mask[i]);
        }
        Self(lanes)
    }

    #[inline(always)]
    unsafe fn subtract_from(self, numbers: *mut f64) {
        for i in 0..N {
            // SAFETY: the caller vouches for the numbers.
            unsafe { *numbers.add(i) -= self.0[i] };
        }
    }
}

/// The rows of two registers, for which each step is read once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Two<L>([L; 2]);

impl<L: Lanes> Lanes for Two<L> {
    const ROWS: usize = 2 * L::ROWS;
    type Mask = [L::Mask; 2];

    #[inline(always)]
    unsafe fn splat(number: f64) -> Self {
        // SAFETY: the caller vouches for the processor and for all addresses, here and below; those of the second register are
        // `L::ROWS` behind those of the first.
        Self([unsafe { L::splat(number) }; 2])
    }

    #[inline(always)]
    unsafe fn constant(constant: *const f64) -> Self {
        // SAFETY: as above.
        Self([unsafe { L::constant(constant) }; 2])
    }

    #[inline(always)]
    unsafe fn at_or_below(values: *const f32, threshold: f32) -> Self::Mask {
        // SAFETY: as above.
        unsafe {
            [
                L::at_or_below(values, threshold),
                L::at_or_below(values.add(L::ROWS), threshold),
            ]
        }
    }

    #[inline(always)]
    unsafe fn not_at_or_below(values: *const f32, threshold: f32) -> Self::Mask {
        // SAFETY: as above.
        unsafe {
            [
                L::not_at_or_below(values, threshold),
                L::not_at_or_below(values.add(L::ROWS), threshold),
            ]
        }
    }

    #[inline(always)]
    unsafe fn with_missing(mask: Self::Mask, values: *const f32, taken: bool) -> Self::Mask {
        // SAFETY: as above.
        unsafe {
            [
                L::with_missing(mask[0], values, taken),
                L::with_missing(mask[1], values.add(L::ROWS), taken),
            ]
        }
    }

    #[inline(always)]
    unsafe fn both(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        // SAFETY: as above.
        unsafe { [L::both(a[0], b[0]), L::both(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn only_second(a: Self::Mask, b: Self::Mask) -> Self::Mask {
        // SAFETY: as above.
        unsafe { [L::only_second(a[0], b[0]), L::only_second(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn none_of(mask: Self::Mask) -> Self::Mask {
        // SAFETY: as above.
        unsafe { [L::none_of(mask[0]), L::none_of(mask[1])] }
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        Self([self.0[0].times(other.0[0]), self.0[1].times(other.0[1])])
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self([self.0[0].plus(other.0[0]), self.0[1].plus(other.0[1])])
    }

    #[inline(always)]
    fn or_if(self, mask: Self::Mask, a: Self) -> Self {
        Self([self.0[0].or_if(mask[0], a.0[0]), self.0[1].or_if(mask[1], a.0[1])])
    }

    #[inline(always)]
    fn if_in(self, mask: Self::Mask) -> Self {
        Self([self.0[0].if_in(mask[0]), self.0[1].if_in(mask[1])])
    }

    #[inline(always)]
    unsafe fn subtract_from(self, numbers: *mut f64) {
        // SAFETY: as above.
        unsafe {
            self.0[0].subtract_from(numbers);
            self.0[1].subtract_from(numbers.add(L::ROWS));
        }
    }

    #[inline(always)]
    unsafe fn times_if(self, mask: Self::Mask, constant: *const f64) -> Self {
        // SAFETY: as above.
        unsafe {
            Self([
                self.0[0].times_if(mask[0], constant),
                self.0[1].times_if(mask[1], constant),
            ])
        }
    }

    #[inline(always)]
    unsafe fn times_first(self, mask: Self::Mask, a: *const f64, older: Self::Mask, b: *const f64) -> Self {
        // SAFETY: as above.
        unsafe {
            Self([
                self.0[0].times_first(mask[0], a, older[0], b),
                self.0[1].times_first(mask[1], a, older[1], b),
            ])
        }
    }

    #[inline(always)]
    unsafe fn times_either(self, mask: Self::Mask, a: *const f64, b: *const f64) -> Self {
        // SAFETY: as above.
        unsafe {
            Self([
                self.0[0].times_either(mask[0], a, b),
                self.0[1].times_either(mask[1], a, b),
            ])
        }
    }
}
