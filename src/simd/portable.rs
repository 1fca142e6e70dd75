//! Portable kernel in plain Rust, which every other kernel must equal.

use std::ops::Range;

use ndarray::ArrayView1;

use super::bits::{BLOCK_ROWS, Mask, Words};
use super::lanes::Plain;
use super::search::{self, Search};
use super::shapley::{self, ShapleyBlock, ShapleyScratch, ShapleyTree};
use super::tree::TreeLogic;
use super::{ClassValues, Kernel, MAX_PLANES, Planes, TILE_ROWS, Tile, convert, logic};
use crate::matrix::Matrix;

/// Values searched for side by side.
const LANES: usize = 8;
/// Columns of a row-major table read together: their cells share cache lines.
const RUN: usize = 8;

/// The kernel that runs on every processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portable;

impl Kernel for Portable {
    fn name(self) -> &'static str {
        "portable"
    }

    fn transpose(self, matrix: &Matrix<'_>, rows: Range<usize>, columns: &[u32], tile: &mut Tile<'_>) {
        let d = matrix.n_columns();
        match convert::row_major(matrix) {
            Some(convert::Rows::F32(cells)) => {
                transpose_rows(&cells[rows.start * d..rows.end * d], d, columns, tile, |x| x);
            }
            Some(convert::Rows::F64(cells)) => {
                transpose_rows(&cells[rows.start * d..rows.end * d], d, columns, tile, |x| x as f32);
            }
            None => transpose_columns(matrix, rows, columns, tile),
        }
    }

    fn quantise(self, searches: &[Search], tile: &Tile<'_>, planes: &mut [Planes], words: Range<usize>) {
        for ((search, values), planes) in searches.iter().zip(tile.values.chunks(tile.stride)).zip(planes) {
            let (tiles, _) = values[tile.first..].as_chunks::<TILE_ROWS>();
            for (values, word) in tiles.iter().zip(words.clone()) {
                quantise(search, values, planes, word);
            }
        }
    }

    fn thermometer(self, search: &Search, planes: &Planes, rows: usize, masks: &mut [Mask]) {
        // SAFETY: `Words` needs no special instructions.
        unsafe {
            if planes.missing.any() {
                logic::thermometer::<Words<8>, true>(search, planes, rows, masks);
            } else {
                logic::thermometer::<Words<8>, false>(search, planes, rows, masks);
            }
        }
    }

    fn evaluate(
        self,
        tree: &TreeLogic,
        masks: &[Mask],
        slots: &mut [Mask],
        rows: usize,
        planes: &mut [Mask; MAX_PLANES],
    ) {
        // SAFETY: `Words` needs no special instructions. More words at a time would not stay in registers.
        unsafe { logic::evaluate::<Words<4>>(tree, masks, slots, rows, planes) }
    }

    fn classes(self, planes: &[Mask], classes: &mut [u8]) {
        let (eights, _) = classes.as_chunks_mut::<8>();
        for (eight, bytes) in eights.iter_mut().enumerate() {
            let rows: [u8; 8] = std::array::from_fn(|b| planes.get(b).map_or(0, |plane| byte(plane, eight)));
            *bytes = transpose_bits(u64::from_le_bytes(rows)).to_le_bytes();
        }
    }

    fn add(self, values: &[ClassValues], classes: &[[u8; BLOCK_ROWS]], sums: &mut [f64]) {
        add(values, classes, sums);
    }
}

/// Copies whole columns, one after another.
#[inline(always)]
pub(super) fn transpose_columns(matrix: &Matrix<'_>, rows: Range<usize>, columns: &[u32], tile: &mut Tile<'_>) {
    for (&column, out) in columns.iter().zip(tile.values.chunks_mut(tile.stride)) {
        let out = &mut out[tile.first..tile.first + rows.len()];
        convert::column(matrix, rows.clone(), column as usize, out);
    }
}

/// Copies rows of a row-major table, some columns at a time.
fn transpose_rows<T: Copy>(cells: &[T], d: usize, columns: &[u32], tile: &mut Tile<'_>, cast: impl Fn(T) -> f32) {
    for (index, run) in convert::runs::<RUN>(columns) {
        let out = &mut tile.values[index * tile.stride + tile.first..];
        for (i, row) in cells.chunks_exact(d).enumerate() {
            for (j, &x) in row[run.clone()].iter().enumerate() {
                out[j * tile.stride + i] = cast(x);
            }
        }
    }
}

fn quantise(search: &Search, values: &[f32; TILE_ROWS], planes: &mut Planes, word: usize) {
    if search.is_unary() {
        return compare(search, values, planes, word);
    }
    at_depth!(search.depth(), quantise_values(search, values, planes, word));
}

/// Compares the values with each threshold.
fn compare(search: &Search, values: &[f32; TILE_ROWS], planes: &mut Planes, word: usize) {
    for (threshold, plane) in search.thresholds().iter().zip(&mut planes.bits) {
        plane.0[word] = gather_bits(&values.map(|value| u8::from(value > threshold.value)));
    }
    planes.missing.0[word] = gather_bits(&values.map(|value| u8::from(value.is_nan())));
}

/// Searches several values in step.
fn quantise_values<const DEPTH: usize>(search: &Search, values: &[f32; TILE_ROWS], planes: &mut Planes, word: usize) {
    let heap = &search.ordered_heap()[..1 << DEPTH];
    let mut keys = [0; TILE_ROWS];
    fill_keys(values, &mut keys);
    let mut codes = [0_u16; TILE_ROWS];
    let (keys, _) = keys.as_chunks::<LANES>();
    for (keys, codes) in keys.iter().zip(codes.as_chunks_mut::<LANES>().0) {
        let mut lane_codes = [0_usize; LANES];
        for level in 0..DEPTH {
            for (code, key) in lane_codes.iter_mut().zip(keys) {
                // The index is below the modulus; the remainder lets the compiler drop the bounds check.
                *code |= usize::from(*key > heap[((1 << level) + *code) % (1 << DEPTH)]) << level;
            }
        }
        *codes = lane_codes.map(|code| code as u16);
    }
    for level in 0..DEPTH {
        planes.bits[DEPTH - 1 - level].0[word] = gather_bits(&codes.map(|code| (code >> level) as u8 & 1));
    }
    planes.missing.0[word] = gather_bits(&values.map(|value| u8::from(value.is_nan())));
}

/// Converts values to integers that order as they do. The function is not inlined, because the compiler makes slower code of both
/// otherwise.
#[inline(never)]
fn fill_keys(values: &[f32], keys: &mut [i32; TILE_ROWS]) {
    for (key, &value) in keys.iter_mut().zip(values) {
        *key = search::ordered_bits(value);
    }
}

/// Copies columns in strips of rows, whose cells stay in the first-level cache from column to column (8 and 32 rows were slower).
pub(super) fn collect(columns: &[ArrayView1<'_, f64>], rows: Range<usize>, out: &mut [f64], stride: usize) {
    const STRIP: usize = 16;
    for start in rows.clone().step_by(STRIP) {
        let strip = start..rows.end.min(start + STRIP);
        for (column, out) in columns.iter().zip(out.chunks_mut(stride)) {
            // There are too few values for ndarray's loop, which takes longer to set up than to run.
            for (cell, row) in out[start - rows.start..].iter_mut().zip(strip.clone()) {
                *cell = column[row];
            }
        }
    }
}

/// Marks 64 values at a time, and the rest one by one.
pub(super) fn at_or_below(values: &[f32], threshold: f32, or_missing: bool, marks: &mut [u64]) {
    fn mark(values: &[f32], marks: &mut [u64], is_marked: impl Fn(f32) -> bool) {
        for (values, word) in values.chunks(TILE_ROWS).zip(marks) {
            *word = match values.as_array::<TILE_ROWS>() {
                Some(values) => gather_bits(&std::array::from_fn(|i| u8::from(is_marked(values[i])))),
                None => {
                    (values.iter().enumerate()).fold(0, |word, (i, &value)| word | u64::from(is_marked(value)) << i)
                }
            };
        }
    }
    if or_missing {
        mark(values, marks, |value| value <= threshold || value.is_nan());
    } else {
        mark(values, marks, |value| value <= threshold);
    }
}

/// Takes four rows at a time.
pub(super) fn shapley(tree: &ShapleyTree, block: &mut ShapleyBlock<'_>, scratch: &mut ShapleyScratch) {
    // SAFETY: `Plain` needs no special instructions.
    unsafe { shapley::explain::<Plain<4>>(tree, block, scratch) }
}

/// Combines the low bits of 64 bytes into a word.
#[inline(always)]
fn gather_bits(bytes: &[u8; TILE_ROWS]) -> u64 {
    let mut word = [0; 8];
    for (byte, eight) in word.iter_mut().zip(bytes.as_chunks::<8>().0) {
        // The product moves each byte's bit to its own position in the highest byte.
        *byte = (u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    }
    u64::from_le_bytes(word)
}

/// Adds table by table, so that each sum follows the order of the trees.
#[inline(always)]
pub(super) fn add(values: &[ClassValues], classes: &[[u8; BLOCK_ROWS]], sums: &mut [f64]) {
    assert!(sums.len() <= BLOCK_ROWS);
    let (eights, _) = sums.as_chunks_mut::<8>();
    for (eight, sums) in eights.iter_mut().enumerate() {
        let mut total = *sums;
        for (values, classes) in values.iter().zip(classes) {
            for (i, total) in total.iter_mut().enumerate() {
                *total += values.table[classes[eight * 8 + i] as usize];
            }
        }
        *sums = total;
    }
}

/// Returns byte `i` of a mask.
fn byte(mask: &Mask, i: usize) -> u8 {
    (mask.0[i / 8] >> (i % 8 * 8)) as u8
}

/// Moves bit `i` of byte `j` to bit `j` of byte `i` (Warren, "Hacker's Delight", 7-3).
fn transpose_bits(mut x: u64) -> u64 {
    for (shift, mask) in [
        (7, 0x00aa_00aa_00aa_00aa),
        (14, 0x0000_cccc_0000_cccc),
        (28, 0x0000_0000_f0f0_f0f0),
    ] {
        let swapped = (x ^ (x >> shift)) & mask;
        x ^= swapped ^ (swapped << shift);
    }
    x
}
