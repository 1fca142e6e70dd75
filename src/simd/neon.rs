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
mod quantise;

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
use super::search::Search;
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
        unsafe { quantise::quantise(searches, tile, planes, words) }
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

    fn classes(self, planes: &[Mask], classes: &mut [u8]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { spread(planes, classes) }
    }

    fn add(self, values: &[ClassValues], classes: &[[u8; BLOCK_ROWS]], sums: &mut [f64]) {
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
            transpose_rows(&cells[rows.start * d..rows.end * d], d, columns, tile, |cells| {
                // SAFETY: the array has four cells, two of them from the third on.
                let (low, high) = unsafe { (vld1q_f64(cells.as_ptr()), vld1q_f64(cells[2..].as_ptr())) };
                vcvt_high_f32_f64(vcvt_f32_f64(low), high)
            });
        }
        Some(Rows::F32(cells)) => {
            transpose_rows(&cells[rows.start * d..rows.end * d], d, columns, tile, |cells| {
                // SAFETY: the array has four cells.
                unsafe { vld1q_f32(cells.as_ptr()) }
            });
        }
        None => portable::transpose_columns(matrix, rows, columns, tile),
    }
}

/// Transposes four rows by four columns at a time in registers.
#[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon"))]
fn transpose_rows<T: Copy + Default>(
    cells: &[T],
    d: usize,
    columns: &[u32],
    tile: &mut Tile<'_>,
    load: impl Fn(&[T; SQUARE]) -> float32x4_t,
) {
    let n_rows = cells.len() / d;
    let Tile { values, stride, first } = tile;
    for window in convert::windows::<SQUARE>(columns, d) {
        for top in (0..n_rows).step_by(SQUARE) {
            let row = |i: usize| {
                // Rows behind the last one repeat it.
                let cells = &cells[(top + i).min(n_rows - 1) * d..][window.columns.clone()];
                if let Some(cells) = cells.first_chunk() {
                    return load(cells);
                }
                let mut padded = [T::default(); SQUARE];
                padded[..cells.len()].copy_from_slice(cells);
                load(&padded)
            };
            let turned = turn([row(0), row(1), row(2), row(3)]);
            for (column, index) in turned.into_iter().zip(window.indices).rev() {
                let four = &mut values[index * *stride + *first + top..][..SQUARE];
                // SAFETY: the slice has four values.
                unsafe { vst1q_f32(four.as_mut_ptr(), column) };
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
fn spread(planes: &[Mask], classes: &mut [u8]) {
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
