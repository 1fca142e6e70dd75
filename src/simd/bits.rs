//! Bit masks with one bit per row of a block, and registers that hold a part of a mask.

/// Rows of a block, and bits of a [`Mask`].
pub const BLOCK_ROWS: usize = 512;
/// Words of 64 bits in a [`Mask`].
pub const WORDS: usize = BLOCK_ROWS / 64;

/// One bit per row of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Mask(pub [u64; WORDS]);

impl Mask {
    /// A mask without rows.
    pub const NONE: Self = Self([0; WORDS]);

    /// A mask of all rows.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// Returns a mask of the first `n` rows.
    #[must_use]
    pub fn first(n: usize) -> Self {
        Self(std::array::from_fn(|word| {
            let rows = n.saturating_sub(word * 64).min(64);
            u64::MAX.checked_shr(64 - rows as u32).unwrap_or(0)
        }))
    }

    /// Returns whether any row is set.
    #[must_use]
    pub fn any(&self) -> bool {
        self.0.iter().any(|&word| word != 0)
    }

    /// Returns the rows that are set, ascending.
    pub fn rows(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(word, mut bits)| {
            std::iter::from_fn(move || {
                (bits != 0).then(|| {
                    let row = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    row
                })
            })
        })
    }
}

/// A part of a [`Mask`] in one register.
///
/// Values are made only by the unsafe functions, whose caller vouches for the processor. So the existence of a value proves that
/// the operations on it are supported.
pub(super) trait Bits: Copy {
    /// Words of 64 bits in a register.
    const WORDS: usize;

    /// Reads [`Self::WORDS`] words.
    ///
    /// # Safety
    /// The processor has the instructions of the type; the words are readable and aligned as a register is.
    unsafe fn load(words: *const u64) -> Self;

    /// Returns a register with the same word everywhere.
    ///
    /// # Safety
    /// The processor has the instructions of the type.
    unsafe fn splat(word: u64) -> Self;

    /// Returns a register with the same half word everywhere; it is all ones or zero.
    ///
    /// # Safety
    /// The processor has the instructions of the type; the half word is readable.
    #[inline(always)]
    unsafe fn splat_i32(half: *const i32) -> Self {
        // SAFETY: the caller vouches for both.
        unsafe { Self::splat(i64::from(*half) as u64) }
    }

    /// Writes [`Self::WORDS`] words.
    ///
    /// # Safety
    /// The words are writable and aligned as a register is.
    unsafe fn store(self, words: *mut u64);

    fn and(self, other: Self) -> Self;

    fn or(self, other: Self) -> Self;

    fn xor(self, other: Self) -> Self;

    /// Computes `self & !other`.
    fn and_not(self, other: Self) -> Self;

    /// Computes `self | (a & b)`.
    #[inline(always)]
    fn or_and(self, a: Self, b: Self) -> Self {
        self.or(a.and(b))
    }

    /// Computes `self ^ (a & b)`.
    #[inline(always)]
    fn xor_and(self, a: Self, b: Self) -> Self {
        self.xor(a.and(b))
    }
}

/// The register of the portable kernel: `N` words, without special instructions.
#[derive(Clone, Copy)]
pub(super) struct Words<const N: usize>([u64; N]);

impl<const N: usize> Bits for Words<N> {
    const WORDS: usize = N;

    #[inline(always)]
    unsafe fn load(words: *const u64) -> Self {
        // SAFETY: the caller vouches for the words.
        Self(unsafe { words.cast::<[u64; N]>().read() })
    }

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        Self([word; N])
    }

    #[inline(always)]
    unsafe fn store(self, words: *mut u64) {
        // SAFETY: the caller vouches for the words.
        unsafe { words.cast::<[u64; N]>().write(self.0) }
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    #[inline(always)]
    fn and_not(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] & !other.0[i]))
    }
}
