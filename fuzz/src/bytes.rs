//! Makes decisions and numbers from the bytes of a fuzz input. Beyond the last byte all bytes are zero, so every input is valid.

/// The bytes of an input that have not been used yet.
#[derive(Debug)]
pub struct Bytes<'a>(&'a [u8]);

/// Numbers with which code often fails.
const SPECIAL: [f64; 20] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    -0.0,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    -5e-324,
    1e-45,
    -1e-40,
    f32::MAX as f64,
    3.402_823_567_797_337e38,
    f32::MIN_POSITIVE as f64,
    9_007_199_254_740_992.0,
    9_007_199_254_740_994.0,
    9_223_372_036_854_775_808.0,
    -9_223_372_036_854_775_808.0,
    16_777_217.0,
    0.1,
];

impl<'a> Bytes<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let n = N.min(self.0.len());
        out[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        out
    }

    pub fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// Makes a number below `n`; `n` is at most 65,536.
    pub fn below(&mut self, n: usize) -> usize {
        let drawn = if n <= 256 {
            usize::from(self.byte())
        } else {
            usize::from(u16::from_le_bytes(self.take()))
        };
        drawn % n.max(1)
    }

    /// Returns true for about one byte in `n`, and false beyond the last byte.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// Returns one of the choices; beyond the last byte, the first one.
    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Makes any f64. Most come from a grid of 128 numbers or next to it, so that many are equal or neighbours.
    pub fn number(&mut self) -> f64 {
        let choice = self.byte();
        let grid_value = f64::from(choice % 128) / 8.0 - 4.0;
        match choice {
            0..128 => grid_value,
            128..160 => SPECIAL[usize::from(choice) % SPECIAL.len()],
            160..192 => f64::from_bits(self.u64()),
            192..208 => f64::from(f32::from_bits(self.u32())),
            208..224 => self.u64() as i64 as f64,
            224..236 => grid_value.next_up(),
            236..248 => grid_value.next_down(),
            248.. => f64::from((grid_value as f32).next_up()),
        }
    }

    /// Makes any i64. Most are small, or at one of the ends of the range.
    pub fn integer(&mut self) -> i64 {
        let choice = self.byte();
        match choice {
            0..160 => i64::from(choice) - 20,
            160..200 => i64::MAX - i64::from(choice - 160),
            200..240 => i64::MIN + i64::from(choice - 200),
            240.. => self.u64() as i64,
        }
    }

    /// Makes `n` numbers: up to 63 from bytes of their own, and the others by a pseudo-random generator from a palette of up to 48
    /// numbers.
    pub fn numbers(&mut self, n: usize) -> Vec<f64> {
        // Number of distinct offsets that are added to a number of the palette.
        let n_offsets = self.choose(&[1, 1, 16, 4096]);
        let palette: Vec<f64> = (0..=self.below(48)).map(|_| self.number()).collect();
        let n_direct = n.min(self.below(64));
        let mut numbers: Vec<f64> = (0..n_direct).map(|_| self.number()).collect();
        // The state must not be zero, which a xorshift generator never leaves.
        let mut state = self.u64() | 1;
        numbers.extend((n_direct..n).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            palette[(state >> 40) as usize % palette.len()] + ((state >> 20) % n_offsets) as f64 / 32.0
        }));
        numbers
    }
}
