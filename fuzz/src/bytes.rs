//! Decisions and numbers made of bytes. Zeros follow the last byte, so every input is valid.

/// The rest of an input.
#[derive(Debug)]
pub struct Bytes<'a>(&'a [u8]);

/// Numbers that often break code.
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

    /// Makes a number below `n`, which is no more than 65,536.
    pub fn below(&mut self, n: usize) -> usize {
        let drawn = if n <= 256 {
            usize::from(self.byte())
        } else {
            usize::from(u16::from_le_bytes(self.take()))
        };
        drawn % n.max(1)
    }

    /// Returns true rarely, and never after the last byte.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Makes any f64; often one of a few, so that many are equal or neighbours.
    pub fn number(&mut self) -> f64 {
        let kind = self.byte();
        let few = f64::from(kind % 128) / 8.0 - 4.0;
        match kind {
            0..128 => few,
            128..160 => SPECIAL[usize::from(kind) % SPECIAL.len()],
            160..192 => f64::from_bits(self.u64()),
            192..208 => f64::from(f32::from_bits(self.u32())),
            208..224 => self.u64() as i64 as f64,
            224..236 => few.next_up(),
            236..248 => few.next_down(),
            248.. => f64::from((few as f32).next_up()),
        }
    }

    /// Makes any i64; small ones and the ends of the range more often.
    pub fn integer(&mut self) -> i64 {
        let kind = self.byte();
        match kind {
            0..160 => i64::from(kind) - 20,
            160..200 => i64::MAX - i64::from(kind - 160),
            200..240 => i64::MIN + i64::from(kind - 200),
            240.. => self.u64() as i64,
        }
    }

    /// Makes many numbers: each of the first ones from its own bytes, the others from a seed out of a few.
    pub fn numbers(&mut self, n: usize) -> Vec<f64> {
        let many = self.of(&[1, 1, 16, 4096]);
        let palette: Vec<f64> = (0..=self.below(48)).map(|_| self.number()).collect();
        let single = n.min(self.below(64));
        let mut numbers: Vec<f64> = (0..single).map(|_| self.number()).collect();
        // A xorshift never leaves zero.
        let mut state = self.u64() | 1;
        numbers.extend((single..n).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            palette[(state >> 40) as usize % palette.len()] + ((state >> 20) % many) as f64 / 32.0
        }));
        numbers
    }
}
