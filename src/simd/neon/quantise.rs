//! Ranks as bit planes: eight values at a time are searched for by their 16-bit keys, or four at a time by all their bits. Thresholds
//! are looked up byte by byte.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use super::*;
use crate::simd::i16_keys::{I16Keys, MAX_KEY, MAX_STEPS, MAX_TIES, set_ranks};
use crate::simd::search::SLACK;

/// Steps of a search whose bits fit in a byte together with two bits that count the bytes of an f32.
const LOW: usize = 6;
/// Steps of a search by keys whose bits fit in a byte together with a bit that counts the bytes of a key.
const INDEXED: usize = 7;

#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
pub(super) fn quantise(searches: &[Search], tile: &Tile<'_>, planes: &mut [Planes], words: Range<usize>) {
    for ((search, values), planes) in searches.iter().zip(tile.values.chunks(tile.stride)).zip(planes) {
        let (tiles, _) = values[tile.first..].as_chunks::<TILE_ROWS>();
        if search.is_unary() {
            for (values, word) in tiles.iter().zip(words.clone()) {
                compare(search, values, planes, word);
            }
            continue;
        }
        let mut keys = search.i16_keys();
        for (values, word) in tiles.iter().zip(words.clone()) {
            if let Some(i16_keys) = keys {
                let tied = at_depth!(search.depth(), quantise_keys(i16_keys, values, planes, word));
                if tied == 0 {
                    continue;
                }
                if tied.count_ones() <= MAX_TIES {
                    at_depth!(search.depth(), set_ranks(search, values, tied, planes, word));
                    continue;
                }
                // The next tiles of the column are probably alike.
                keys = None;
            }
            at_depth!(search.depth(), quantise_values(search, values, planes, word));
        }
    }
}

/// Compares all values with each threshold.
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
#[inline]
fn compare(search: &Search, values: &[f32; TILE_ROWS], planes: &mut Planes, word: usize) {
    let (groups, _) = values.as_chunks::<{ 4 * VECTORS }>();
    let x: [[float32x4_t; VECTORS]; TILE_ROWS / BYTES] = std::array::from_fn(|group| {
        let (fours, _) = groups[group].as_chunks::<4>();
        // SAFETY: the array has four values.
        std::array::from_fn(|v| unsafe { vld1q_f32(fours[v].as_ptr()) })
    });
    for (threshold, plane) in search.thresholds().iter().zip(&mut planes.bits) {
        let threshold = vdupq_n_f32(threshold.value);
        let above = |x: [float32x4_t; VECTORS]| narrow(x.map(|x| vreinterpretq_u8_u32(vcgtq_f32(x, threshold))));
        plane.0[word] = word_of(x.map(above), u8::MAX);
    }
    planes.missing.0[word] = !word_of([numbers(x[0]), numbers(x[1]), numbers(x[2]), numbers(x[3])], u8::MAX);
}

/// The codes that four values have in a search; equal in all four bytes of a value, except for the last bits of `low`.
#[derive(Clone, Copy)]
struct Codes {
    /// Bits 2 to 7 are those of the first six steps. Bits 0 and 1 count the bytes, so this is the position of the bytes of entry
    /// `code` in a table of f32.
    low: uint8x16_t,
    /// The bits of later steps.
    high: uint8x16_t,
}

impl Codes {
    /// Returns the codes before the first step.
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
    #[inline]
    fn nothing() -> Self {
        const COUNT: [u8; BYTES] = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3];
        Self {
            // SAFETY: the array is a register of bytes.
            low: unsafe { vld1q_u8(COUNT.as_ptr()) },
            high: vdupq_n_u8(0),
        }
    }

    /// Sets bit `level` in the lanes that are all ones.
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
    #[inline]
    fn with(self, above: uint32x4_t, level: usize) -> Self {
        let above = vreinterpretq_u8_u32(above);
        let Self { low, high } = self;
        if level < LOW {
            let low = vorrq_u8(low, vandq_u8(above, vdupq_n_u8(4 << level)));
            Self { low, high }
        } else {
            let high = vorrq_u8(high, vandq_u8(above, vdupq_n_u8(1 << (level - LOW))));
            Self { low, high }
        }
    }

    /// Returns the thresholds to compare with at step `level` of `DEPTH`.
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
    #[inline]
    fn thresholds<const DEPTH: usize>(self, heap: &[f32], level: usize) -> float32x4_t {
        assert!(level < DEPTH && heap.len() >= (1 << DEPTH) + SLACK);
        // SAFETY: the tables have 4, 8 or 16 entries. Those of four begin at entry 2 or 4, and 16 entries follow the heap, as
        // asserted; the others end at `2^(level + 1)` at most, so within `2^DEPTH`.
        let table_4 = |first: usize| unsafe { vld1q_u8(heap.as_ptr().add(first).cast()) };
        // SAFETY: as above.
        let table_8 = |first: usize| unsafe { vld1q_u8_x2(heap.as_ptr().add(first).cast()) };
        // SAFETY: as above.
        let table_16 = |first: usize| unsafe { vld1q_u8_x4(heap.as_ptr().add(first).cast()) };
        // An index beyond a table gives zero in the first table, and leaves the byte unchanged in the others. Subtraction wraps
        // round, so each index is in one table only.
        let next = |codes, table: usize| {
            let index = vsubq_u8(self.low, vdupq_n_u8(table as u8 * 64));
            vqtbx4q_u8(codes, table_16((1 << level) + table * 16), index)
        };
        let bytes = match level {
            0 => return vdupq_n_f32(heap[1]),
            1 | 2 => vqtbl1q_u8(table_4(1 << level), self.low),
            3 => vqtbl2q_u8(table_8(8), self.low),
            4 => vqtbl4q_u8(table_16(16), self.low),
            5 => next(vqtbl4q_u8(table_16(32), self.low), 1),
            6 => next(next(next(vqtbl4q_u8(table_16(64), self.low), 1), 2), 3),
            _ => {
                // Further table lookups would take longer than this.
                let (mut low, mut high) = ([0_u8; BYTES], [0_u8; BYTES]);
                // SAFETY: each array is a register of bytes.
                unsafe {
                    vst1q_u8(low.as_mut_ptr(), self.low);
                    vst1q_u8(high.as_mut_ptr(), self.high);
                }
                let heap = &heap[..1 << DEPTH];
                let entry = |v: usize| {
                    let codes = usize::from(low[v * 4] >> 2) | usize::from(high[v * 4]) << LOW;
                    // The index is below the modulus; the remainder lets the compiler drop the bounds check.
                    heap[((1 << level) + codes) % (1 << DEPTH)]
                };
                let entries = [entry(0), entry(1), entry(2), entry(3)];
                // SAFETY: the array has four entries.
                return unsafe { vld1q_f32(entries.as_ptr()) };
            }
        };
        vreinterpretq_f32_u8(bytes)
    }
}

/// Searches sixteen values in step.
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
#[inline]
fn quantise_values<const DEPTH: usize>(search: &Search, values: &[f32; TILE_ROWS], planes: &mut Planes, word: usize) {
    let heap = search.heap();
    // Each value has a byte: the bits of the first steps from bit 2 on, the bits of later steps, and whether it is a number.
    let mut low = [vdupq_n_u8(0); TILE_ROWS / BYTES];
    let mut high = low;
    let mut present = low;
    for (group, values) in values.as_chunks::<{ 4 * VECTORS }>().0.iter().enumerate() {
        let (fours, _) = values.as_chunks::<4>();
        // SAFETY: the array has four values.
        let load = |v: usize| unsafe { vld1q_f32(fours[v].as_ptr()) };
        let x: [float32x4_t; VECTORS] = [load(0), load(1), load(2), load(3)];
        let mut codes = [Codes::nothing(); VECTORS];
        for level in 0..DEPTH {
            for (codes, &x) in codes.iter_mut().zip(&x) {
                let above = vcgtq_f32(x, codes.thresholds::<DEPTH>(heap, level));
                *codes = codes.with(above, level);
            }
        }
        let bytes = |codes: &Codes| (codes.low, codes.high);
        let [a, b, c, d] = [bytes(&codes[0]), bytes(&codes[1]), bytes(&codes[2]), bytes(&codes[3])];
        low[group] = narrow([a.0, b.0, c.0, d.0]);
        high[group] = narrow([a.1, b.1, c.1, d.1]);
        present[group] = numbers(x);
    }
    for level in 0..DEPTH {
        let (bytes, bit) = if level < LOW {
            (low, 4 << level)
        } else {
            (high, 1 << (level - LOW))
        };
        planes.bits[DEPTH - 1 - level].0[word] = word_of(bytes, bit);
    }
    planes.missing.0[word] = !word_of(present, u8::MAX);
}

/// Searches for all values by their keys. Returns the values whose key equals the key of a threshold: their ranks are undecided.
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
#[inline]
fn quantise_keys<const DEPTH: usize>(
    keys: &I16Keys,
    values: &[f32; TILE_ROWS],
    planes: &mut Planes,
    word: usize,
) -> u64 {
    // Each value has a byte: the bits of the first seven steps from bit 1 on, the last step, whether its key is that of a threshold,
    // and whether it is a number.
    let mut codes = [vdupq_n_u8(0); TILE_ROWS / BYTES];
    let (mut last, mut equal, mut present) = (codes, codes, codes);
    for (group, values) in values.as_chunks::<{ 4 * VECTORS }>().0.iter().enumerate() {
        let (fours, _) = values.as_chunks::<4>();
        // SAFETY: the array has four values.
        let load = |v: usize| unsafe { vld1q_f32(fours[v].as_ptr()) };
        let x: [float32x4_t; VECTORS] = [load(0), load(1), load(2), load(3)];
        let mut descents = [KeyDescent::new(keys, x[0], x[1]), KeyDescent::new(keys, x[2], x[3])];
        for level in 0..DEPTH {
            for descent in &mut descents {
                descent.step::<DEPTH>(keys.heap(), level);
            }
        }
        let [a, b] = descents;
        codes[group] = vuzp1q_u8(a.index, b.index);
        last[group] = vuzp1q_u8(a.last, b.last);
        equal[group] = vuzp1q_u8(a.equal, b.equal);
        present[group] = numbers(x);
    }
    let present = word_of(present, u8::MAX);
    for level in 0..DEPTH {
        let above = if level < INDEXED {
            word_of(codes, 2 << level)
        } else {
            word_of(last, u8::MAX)
        };
        // The key of NaN is that of the center.
        planes.bits[DEPTH - 1 - level].0[word] = above & present;
    }
    planes.missing.0[word] = !present;
    word_of(equal, u8::MAX) & present
}

/// Returns all ones in the bytes of sixteen values that are not NaN.
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
#[inline]
fn numbers(x: [float32x4_t; VECTORS]) -> uint8x16_t {
    let is_number = |v: usize| vreinterpretq_u8_u32(vceqq_f32(x[v], x[v]));
    narrow([is_number(0), is_number(1), is_number(2), is_number(3)])
}

/// A search for eight keys.
#[derive(Clone, Copy)]
struct KeyDescent {
    keys: int16x8_t,
    /// Positions of the two bytes of entry `code` in a table of keys: bits 1 to 7 are those of the first seven steps, bit 0 counts
    /// the bytes.
    index: uint8x16_t,
    /// All ones in the lanes that were above the threshold of step [`INDEXED`].
    last: uint8x16_t,
    /// All ones in the lanes whose key equals a threshold. The lowest threshold that is not below a key is met on the way.
    equal: uint8x16_t,
}

impl KeyDescent {
    /// Begins a search for the keys of eight values.
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
    #[inline]
    fn new(keys: &I16Keys, a: float32x4_t, b: float32x4_t) -> Self {
        const COUNT: [u8; BYTES] = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1];
        let (center, scale) = (vdupq_n_f32(keys.center()), vdupq_n_f32(keys.scale()));
        let round = |x| vcvtnq_s32_f32(vmulq_f32(vsubq_f32(x, center), scale));
        let keys = vqmovn_high_s32(vqmovn_s32(round(a)), round(b));
        Self {
            keys: vminq_s16(keys, vdupq_n_s16(MAX_KEY)),
            // SAFETY: the array is a register of bytes.
            index: unsafe { vld1q_u8(COUNT.as_ptr()) },
            last: vdupq_n_u8(0),
            equal: vdupq_n_u8(0),
        }
    }

    /// Takes step `level` of `DEPTH`.
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
    #[inline]
    fn step<const DEPTH: usize>(&mut self, heap: &[i16], level: usize) {
        let thresholds = vreinterpretq_s16_u8(self.thresholds::<DEPTH>(heap, level));
        let above = vreinterpretq_u8_u16(vcgtq_s16(self.keys, thresholds));
        let equal = vreinterpretq_u8_u16(vceqq_s16(self.keys, thresholds));
        self.equal = vorrq_u8(self.equal, equal);
        if level < INDEXED {
            self.index = vorrq_u8(self.index, vandq_u8(above, vdupq_n_u8(2 << level)));
        } else {
            self.last = above;
        }
    }

    /// Returns the bytes of the thresholds to compare with at step `level` of `DEPTH`.
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
    #[inline]
    fn thresholds<const DEPTH: usize>(&self, heap: &[i16], level: usize) -> uint8x16_t {
        assert!(level < DEPTH && DEPTH <= MAX_STEPS && heap.len() >= (1 << DEPTH) + SLACK);
        let first = 1 << level;
        // SAFETY: the tables have 8, 16 or 32 entries. Those of eight begin at entry 8 at most, and 16 entries follow the heap, as
        // asserted; the others end at `2^(level + 1)` at most, so within `2^DEPTH`.
        let table_8 = |first: usize| unsafe { vld1q_u8(heap.as_ptr().add(first).cast()) };
        // SAFETY: as above.
        let table_16 = |first: usize| unsafe { vld1q_u8_x2(heap.as_ptr().add(first).cast()) };
        // SAFETY: as above.
        let table_32 = |first: usize| unsafe { vld1q_u8_x4(heap.as_ptr().add(first).cast()) };
        // A position beyond a table gives zero in the first table, and leaves the byte unchanged in the others. Subtraction wraps
        // round, so each position is in one table only.
        let next = |bytes, table: usize| {
            let index = vsubq_u8(self.index, vdupq_n_u8(table as u8 * 64));
            vqtbx4q_u8(bytes, table_32(first + table * 32), index)
        };
        match level {
            0 => vreinterpretq_u8_s16(vdupq_n_s16(heap[1])),
            1..=3 => vqtbl1q_u8(table_8(first), self.index),
            4 => vqtbl2q_u8(table_16(first), self.index),
            5 => vqtbl4q_u8(table_32(first), self.index),
            6 => next(vqtbl4q_u8(table_32(first), self.index), 1),
            _ => next(next(next(vqtbl4q_u8(table_32(first), self.index), 1), 2), 3),
        }
    }
}

const _: () = assert!(MAX_STEPS == INDEXED + 1);
