//! The 32-bit xorshift from which one tree draws its features and thresholds (scikit-learn: `our_rand_r`).

/// A stream of 31-bit integers.
#[derive(Debug, Clone)]
pub struct XorShift(u32);

impl XorShift {
    /// The largest value that [`next31`](Self::next31) gives.
    pub const MAX: u32 = 0x7FFF_FFFF;

    /// A stream that starts from `state`; zero is allowed and acts as one.
    #[must_use]
    pub fn new(state: u32) -> Self {
        Self(state)
    }

    /// The next integer in `0..=MAX`.
    pub fn next31(&mut self) -> u32 {
        let mut s = if self.0 == 0 { 1 } else { self.0 };
        s ^= s << 13;
        s ^= s >> 17;
        s ^= s << 5;
        self.0 = s;
        s & Self::MAX
    }

    /// An integer in `low..high`. Always draws, even if there is one choice only.
    pub fn int(&mut self, low: usize, high: usize) -> usize {
        low + self.next31() as usize % (high - low)
    }

    /// A double between `low` and `high`. It may equal `high`, and exceed it by rounding.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        // The order of these operations fixes the last bit.
        (high - low) * f64::from(self.next31()) / f64::from(Self::MAX) + low
    }
}
