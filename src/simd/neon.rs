//! NEON kernel: a block is four registers of bits; values are compared four at a time, with thresholds looked up byte by byte in
//! registers.
//!
//! On other processors than aarch64 this file is compiled for unit tests only, over an emulation of the instructions.

#![cfg_attr(
    not(target_arch = "aarch64"),
    allow(
        unused_unsafe,
        unreachable_pub,
        reason = "the emulated instructions exist on every processor, but only for the tests of this folder"
    )
)]

#[cfg(not(target_arch = "aarch64"))]
mod emulated;
mod lanes;

#[cfg(not(target_arch = "aarch64"))]
#[allow(clippy::wildcard_imports, reason = "the same names as below")]
use emulated::*;
#[cfg(target_arch = "aarch64")]
#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::aarch64::*;
use std::ops::Range;

use super::bits::{BLOCK_ROWS, Bits, Mask, WORDS};
use super::convert::{self, Rows};
use super::lanes::Two;
use super::search::{SLACK, Search};
use super::shapley::{self, ShapleyBlock, ShapleyScratch, ShapleyTree};
use super::tree::TreeLogic;
use super::{ClassValues, Kernel, MAX_PLANES, Planes, TILE_ROWS, Tile, logic, portable};
use crate::matrix::Matrix;
use lanes::Pair;

/// Rows and columns that are transposed together.
const SQUARE: usize = 4;
/// Registers of values searched at once: the bytes of their codes fill one register.
const VECTORS: usize = 4;
/// Bytes of a register.
const BYTES: usize = 16;
/// Steps of a search whose bits fit in a byte together with two bits that count the bytes of an f32.
const LOW: usize = 6;

/// Proof that the processor has NEON, as every aarch64 processor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neon(());

impl Neon {
    /// Returns a proof if the byte order is little-endian.
    #[must_use]
    pub fn detect() -> Option<Self> {
        cfg!(target_endian = "little").then_some(Self(()))
    }
}

#[derive(Clone, Copy)]
struct Quad(uint64x2_t);

impl Bits for Quad {
    const WORDS: usize = 2;

    #[inline(always)]
    unsafe fn load(words: *const u64) -> Self {
        // SAFETY: the caller vouches for processor and words.
        Self(unsafe { vld1q_u64(words) })
    }

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        // SAFETY: the caller vouches for the processor.
        Self(unsafe { vdupq_n_u64(word) })
    }

    #[inline(always)]
    unsafe fn splat_i32(half: *const i32) -> Self {
        // SAFETY: the caller vouches for processor and half word.
        Self(unsafe { vreinterpretq_u64_s32(vld1q_dup_s32(half)) })
    }

    #[inline(always)]
    unsafe fn store(self, words: *mut u64) {
        // SAFETY: the caller vouches for the words, `self` for the processor.
        unsafe { vst1q_u64(words, self.0) }
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: `self` vouches for the processor, here and below.
        Self(unsafe { vandq_u64(self.0, other.0) })
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vorrq_u64(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { veorq_u64(self.0, other.0) })
    }

    #[inline(always)]
    fn and_not(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vbicq_u64(self.0, other.0) })
    }
}

impl Kernel for Neon {
    fn name(self) -> &'static str {
        "neon"
    }

    fn transpose(self, matrix: &Matrix<'_>, rows: Range<usize>, columns: &[u32], tile: &mut Tile<'_>) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { transpose(matrix, rows, columns, tile) }
    }

    fn quantise(self, searches: &[Search], tile: &Tile<'_>, planes: &mut [Planes], words: Range<usize>) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { quantise(searches, tile, planes, words) }
    }

    fn thermometer(self, search: &Search, planes: &Planes, rows: usize, masks: &mut [Mask]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { thermometer(search, planes, rows, masks) }
    }

    fn evaluate(
        self,
        tree: &TreeLogic,
        masks: &[Mask],
        slots: &mut [Mask],
        rows: usize,
        planes: &mut [Mask; MAX_PLANES],
    ) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { evaluate(tree, masks, slots, rows, planes) }
    }

    fn classes(self, planes: &[Mask], classes: &mut [u8; BLOCK_ROWS]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { spread(planes, classes) }
    }

    fn add(self, values: &[ClassValues], classes: &[[u8; BLOCK_ROWS]], sums: &mut [f64; BLOCK_ROWS]) {
        portable::add(values, classes, sums);
    }

    fn shapley(self, tree: &ShapleyTree, block: &mut ShapleyBlock<'_>, scratch: &mut ShapleyScratch) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { shapley(tree, block, scratch) }
    }
}

#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
fn transpose(matrix: &Matrix<'_>, rows: Range<usize>, columns: &[u32], tile: &mut Tile<'_>) {
    let d = matrix.n_columns();
    match convert::row_major(matrix) {
        Some(Rows::F64(cells)) => {
            let cells = &cells[rows.start * d..rows.end * d];
            let load = |cells: &[f64; SQUARE]| {
                // SAFETY: the array has four cells, two of them from the third on.
                let (low, high) = unsafe { (vld1q_f64(cells.as_ptr()), vld1q_f64(cells[2..].as_ptr())) };
                vcvt_high_f32_f64(vcvt_f32_f64(low), high)
            };
            transpose_rows(cells, d, columns, tile, load, |x| x as f32);
        }
        Some(Rows::F32(cells)) => {
            let cells = &cells[rows.start * d..rows.end * d];
            // SAFETY: the array has four cells.
            let load = |cells: &[f32; SQUARE]| unsafe { vld1q_f32(cells.as_ptr()) };
            transpose_rows(cells, d, columns, tile, load, |x| x);
        }
        None => portable::transpose_columns(matrix, rows, columns, tile),
    }
}

/// Transposes four rows by four columns at a time in registers, and the edges cell by cell.
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
fn transpose_rows<T: Copy>(
    cells: &[T],
    d: usize,
    columns: &[u32],
    tile: &mut Tile<'_>,
    load: impl Fn(&[T; SQUARE]) -> float32x4_t,
    cast: impl Fn(T) -> f32,
) {
    let Tile { values, stride, first } = tile;
    let stride = *stride;
    for (index, run) in convert::runs::<SQUARE>(columns) {
        let out = &mut values[index * stride + *first..];
        let whole = if run.len() == SQUARE {
            cells.len() / (SQUARE * d) * SQUARE * d
        } else {
            0
        };
        let (whole, rest) = cells.split_at(whole);
        for (four, rows) in whole.chunks_exact(SQUARE * d).enumerate() {
            let row = |i: usize| {
                let (cells, _) = rows[i * d + run.start..].as_chunks();
                load(&cells[0])
            };
            for (j, column) in turn([row(0), row(1), row(2), row(3)]).into_iter().enumerate() {
                let cells = &mut out[j * stride + four * SQUARE..][..SQUARE];
                // SAFETY: the slice has four values.
                unsafe { vst1q_f32(cells.as_mut_ptr(), column) };
            }
        }
        let top = whole.len() / d;
        for (i, row) in rest.chunks_exact(d).enumerate() {
            for (j, &x) in row[run.clone()].iter().enumerate() {
                out[j * stride + top + i] = cast(x);
            }
        }
    }
}

/// Transposes 4 x 4 cells.
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
#[inline]
fn turn([a, b, c, d]: [float32x4_t; SQUARE]) -> [float32x4_t; SQUARE] {
    // Each register holds columns 0 and 2, or 1 and 3, of two rows.
    let even = (vtrn1q_f32(a, b), vtrn1q_f32(c, d));
    let odd = (vtrn2q_f32(a, b), vtrn2q_f32(c, d));
    let pairs = |x: (float32x4_t, float32x4_t)| (vreinterpretq_f64_f32(x.0), vreinterpretq_f64_f32(x.1));
    let (even, odd) = (pairs(even), pairs(odd));
    [
        vreinterpretq_f32_f64(vtrn1q_f64(even.0, even.1)),
        vreinterpretq_f32_f64(vtrn1q_f64(odd.0, odd.1)),
        vreinterpretq_f32_f64(vtrn2q_f64(even.0, even.1)),
        vreinterpretq_f32_f64(vtrn2q_f64(odd.0, odd.1)),
    ]
}

#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
fn quantise(searches: &[Search], tile: &Tile<'_>, planes: &mut [Planes], words: Range<usize>) {
    for ((search, values), planes) in searches.iter().zip(tile.values.chunks(tile.stride)).zip(planes) {
        for (values, word) in values[tile.first..]
            .as_chunks::<TILE_ROWS>()
            .0
            .iter()
            .zip(words.clone())
        {
            at_depth!(search.depth(), quantise_values(search, values, planes, word));
        }
    }
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
        let is_number = |v: usize| vreinterpretq_u8_u32(vceqq_f32(x[v], x[v]));
        present[group] = narrow([is_number(0), is_number(1), is_number(2), is_number(3)]);
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

/// Returns the first byte of every lane of 32 bits.
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
#[inline]
fn narrow([a, b, c, d]: [uint8x16_t; VECTORS]) -> uint8x16_t {
    vuzp1q_u8(vuzp1q_u8(a, b), vuzp1q_u8(c, d))
}

/// One bit per byte, rising, in both halves.
const EACH: [u8; BYTES] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

/// Returns a bit per byte: whether the byte has any of the bits `wanted`.
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
#[inline]
fn word_of(bytes: [uint8x16_t; TILE_ROWS / BYTES], wanted: u8) -> u64 {
    // SAFETY: the array is a register of bytes.
    let each = unsafe { vld1q_u8(EACH.as_ptr()) };
    let index = |i: usize| vandq_u8(vtstq_u8(bytes[i], vdupq_n_u8(wanted)), each);
    // Three sums of neighbours combine the bits of eight bytes into one.
    let (a, b) = (vpaddq_u8(index(0), index(1)), vpaddq_u8(index(2), index(3)));
    let sums = vpaddq_u8(a, b);
    vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)))
}

#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
fn thermometer(search: &Search, planes: &Planes, rows: usize, masks: &mut [Mask]) {
    // SAFETY: the caller's instructions are those of `Quad`.
    unsafe {
        if planes.missing.any() {
            logic::thermometer::<Quad, true>(search, planes, rows, masks);
        } else {
            logic::thermometer::<Quad, false>(search, planes, rows, masks);
        }
    }
}

#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
fn evaluate(tree: &TreeLogic, masks: &[Mask], slots: &mut [Mask], rows: usize, planes: &mut [Mask; MAX_PLANES]) {
    // SAFETY: the caller's instructions are those of `Quad`.
    unsafe { logic::evaluate::<Quad>(tree, masks, slots, rows, planes) }
}

/// Writes each row's class: each byte of a register takes the bit of its row out of a copy of the byte with the bits of its rows.
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
fn spread(planes: &[Mask], classes: &mut [u8; BLOCK_ROWS]) {
    const FIRST: [u8; BYTES] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
    // SAFETY: each array is a register of bytes.
    let (first, each) = unsafe { (vld1q_u8(FIRST.as_ptr()), vld1q_u8(EACH.as_ptr())) };
    let (words, _) = classes.as_chunks_mut::<64>();
    for (word, classes) in words.iter_mut().enumerate() {
        let mut class = [vdupq_n_u8(0); 64 / BYTES];
        for (b, plane) in planes.iter().enumerate() {
            let bits = vreinterpretq_u8_u64(vdupq_n_u64(plane.0[word]));
            for (i, class) in class.iter_mut().enumerate() {
                let source = vorrq_u8(first, vdupq_n_u8(2 * i as u8));
                let set = vtstq_u8(vqtbl1q_u8(bits, source), each);
                *class = vorrq_u8(*class, vandq_u8(set, vdupq_n_u8(1 << b)));
            }
        }
        let (registers, _) = classes.as_chunks_mut::<BYTES>();
        for (register, class) in registers.iter_mut().zip(class) {
            // SAFETY: the array is a register of bytes.
            unsafe { vst1q_u8(register.as_mut_ptr(), class) };
        }
    }
}

#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
fn shapley(tree: &ShapleyTree, block: &mut ShapleyBlock<'_>, scratch: &mut ShapleyScratch) {
    // SAFETY: the caller's instructions are those of `Pair`.
    unsafe { shapley::explain::<Two<Pair>>(tree, block, scratch) }
}

const _: () = assert!(WORDS == 4 * 2 && TILE_ROWS == 4 * BYTES && BYTES == 4 * VECTORS);
