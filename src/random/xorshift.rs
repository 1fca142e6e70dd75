//! The generator of one tree's splits, and the numbers that scikit-learn makes of it.
//!
//! Source: `our_rand_r`, `rand_int` and `rand_uniform` in scikit-learn's `sklearn/tree/_utils.pyx`; the generator is the 32-bit
//! xorshift with the shifts 13, 17, 5 of Marsaglia, "Xorshift RNGs", 2003.

use rand_core::{Infallible, Rng, SeedableRng, TryRng, utils};

/// A 32-bit xorshift generator.
///
/// The trait [`Rng`] gives all 32 bits of its state. scikit-learn uses the lower 31, see [`SplitDraws`].
#[derive(Debug, Clone)]
pub struct XorShift32(u32);

impl XorShift32 {
    /// Creates a generator that starts from `state`; zero is allowed and acts as one, as in scikit-learn.
    #[must_use]
    pub fn new(state: u32) -> Self {
        Self(state)
    }

    #[inline]
    fn step(&mut self) -> u32 {
        let mut s = if self.0 == 0 { 1 } else { self.0 };
        s ^= s << 13;
        s ^= s >> 17;
        s ^= s << 5;
        self.0 = s;
        s
    }
}

impl TryRng for XorShift32 {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.step())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        utils::next_u64_via_u32(self)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        utils::fill_bytes_via_next_word(dst, || self.try_next_u32())
    }
}

impl SeedableRng for XorShift32 {
    type Seed = [u8; 4];

    /// Creates a generator from the little-endian bytes of its state.
    fn from_seed(seed: [u8; 4]) -> Self {
        Self::new(u32::from_le_bytes(seed))
    }
}

/// The numbers that scikit-learn's splitter draws, made of any generator.
pub trait SplitDraws: Rng {
    /// The largest value that [`next31`](Self::next31) returns.
    const MAX: u32 = 0x7FFF_FFFF;

    /// Draws an integer in `0..=MAX`.
    #[inline]
    fn next31(&mut self) -> u32 {
        self.next_u32() & Self::MAX
    }

    /// Draws an integer in `low..high`. Takes a word from the generator even if there is only one choice.
    #[inline]
    fn int(&mut self, low: usize, high: usize) -> usize {
        low + self.next31() as usize % (high - low)
    }

    /// Draws a double between `low` and `high`. It may equal `high`, and exceed it by rounding.
    #[inline]
    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        // The order of these operations decides the last bit.
        (high - low) * f64::from(self.next31()) / f64::from(Self::MAX) + low
    }
}

impl<R: Rng + ?Sized> SplitDraws for R {}
