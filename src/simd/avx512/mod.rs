//! AVX-512 kernel: a block is one register of bits; values are compared sixteen at a time with thresholds held in registers.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;
use std::ops::Range;

use ndarray::ArrayView1;

mod bits;
mod collect;
mod count;
mod descend;
mod lanes;

use self::bits::{Xmm, Ymm, Zmm};
use self::lanes::Eight;
use super::bins::BinMap;
use super::bits::{BLOCK_ROWS, Mask};
use super::convert::{self, Rows};
use super::lanes::{Lanes, Two};
use super::search::Search;
use super::shapley::{self, ShapleyBlock, ShapleyScratch, ShapleyTree};
use super::tree::TreeLogic;
use super::{
    BlockCounter, ClassValues, Kernel, MAX_PLANES, Planes, STATE_WORDS, TILE_ROWS, Tile, WordBytes, logic, portable,
    twister,
};
use crate::matrix::Matrix;

/// Columns that are transposed together: a register of f64.
const RUN: usize = 8;
/// Rows that are transposed together: a register of f32.
const ROWS: usize = 16;

/// Proof that the processor has AVX-512 F, BW, DQ and VL, and POPCNT as every such processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512 {
    /// Whether the processor has VPOPCNTDQ too.
    counts: bool,
}

impl Avx512 {
    /// Returns a proof if the processor has AVX-512 F, BW, DQ and VL.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("popcnt");
        has.then(|| Self {
            counts: is_x86_feature_detected!("avx512vpopcntdq"),
        })
    }
}

impl Kernel for Avx512 {
    fn name(self) -> &'static str {
        "avx512"
    }

    fn transpose(self, matrix: &Matrix<'_>, rows: Range<usize>, columns: &[u32], tile: &mut Tile<'_>) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { transpose(matrix, rows, columns, tile) }
    }

    fn quantise(self, searches: &[Search], tile: &Tile<'_>, planes: &mut [Planes], words: Range<usize>) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { descend::quantise(searches, tile, planes, words) }
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
        if values.iter().any(|values| values.len > 32) {
            // This call must not be inlined below: with AVX-512 the compiler would use gathers, which take twice as long.
            return portable::add(values, classes, sums);
        }
        // SAFETY: `self` is proof of the instructions.
        unsafe { add(values, classes, sums) }
    }

    fn bins(self, map: &BinMap, values: &[f64], bins: &mut [u16]) -> u64 {
        // SAFETY: `self` is proof of the instructions.
        unsafe { fill_bins(map, values, bins) }
    }

    fn collect(self, columns: &[ArrayView1<'_, f64>], rows: Range<usize>, out: &mut [f64], stride: usize) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { collect::collect(columns, rows, out, stride) }
    }

    fn counts(self) -> bool {
        self.counts
    }

    fn count(self, search: &Search, origin: f64, values: &[f64; BLOCK_ROWS], counter: &mut BlockCounter) -> Mask {
        assert!(self.counts);
        // SAFETY: `self` is proof of the instructions, VPOPCNTDQ among them as asserted.
        unsafe { count::count(search, origin, values, counter) }
    }

    fn at_or_below(self, values: &[f32], threshold: f32, or_missing: bool, marks: &mut [u64]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { at_or_below(values, threshold, or_missing, marks) }
    }

    fn shapley(self, tree: &ShapleyTree, block: &mut ShapleyBlock<'_>, scratch: &mut ShapleyScratch) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { shapley(tree, block, scratch) }
    }

    fn twist(self, state: &mut [u32; STATE_WORDS]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { twist(state) }
    }

    fn temper(self, state: &[u32; STATE_WORDS], outputs: &mut [WordBytes; STATE_WORDS]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { temper(state, outputs) }
    }

    fn selects_together(self) -> bool {
        true
    }

    fn select_low(self, words: &[WordBytes], mask: u32, top: u32, kept: &mut [WordBytes]) -> usize {
        // SAFETY: `self` is proof of the instructions.
        unsafe { select_low(words, mask, top, kept) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn transpose(matrix: &Matrix<'_>, rows: Range<usize>, columns: &[u32], tile: &mut Tile<'_>) {
    let d = matrix.n_columns();
    match convert::row_major(matrix) {
        Some(Rows::F64(cells)) => {
            // SAFETY: the array has eight cells.
            let load = |cells: &[f64; RUN]| _mm512_cvtpd_ps(unsafe { _mm512_loadu_pd(cells.as_ptr()) });
            let load_some = |cells: &[f64]| {
                // SAFETY: the mask leaves out what lies beyond the slice.
                _mm512_cvtpd_ps(unsafe { _mm512_maskz_loadu_pd(lanes(cells.len()), cells.as_ptr()) })
            };
            transpose_rows(&cells[rows.start * d..rows.end * d], d, columns, tile, load, load_some);
        }
        Some(Rows::F32(cells)) => {
            // SAFETY: the array has eight cells.
            let load = |cells: &[f32; RUN]| unsafe { _mm256_loadu_ps(cells.as_ptr()) };
            // SAFETY: the mask leaves out what lies beyond the slice.
            let load_some = |cells: &[f32]| unsafe { _mm256_maskz_loadu_ps(lanes(cells.len()), cells.as_ptr()) };
            transpose_rows(&cells[rows.start * d..rows.end * d], d, columns, tile, load, load_some);
        }
        None => portable::transpose_columns(matrix, rows, columns, tile),
    }
}

/// Returns a mask of the first `n` of eight lanes.
fn lanes(n: usize) -> u8 {
    ((1_u32 << n.min(8)) - 1) as u8
}

/// Transposes sixteen rows by eight columns at a time in registers. `load_some` gets up to eight neighbouring cells.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn transpose_rows<T>(
    cells: &[T],
    d: usize,
    columns: &[u32],
    tile: &mut Tile<'_>,
    load: impl Fn(&[T; RUN]) -> __m256,
    load_some: impl Fn(&[T]) -> __m256,
) {
    let n_rows = cells.len() / d;
    let Tile { values, stride, first } = tile;
    let (stride, first) = (*stride, *first);
    assert!(n_rows <= TILE_ROWS && first + TILE_ROWS <= stride && columns.len() * stride <= values.len());
    for window in convert::windows::<RUN>(columns, d) {
        let out = window
            .indices
            .map(|index| values[index * stride + first..].as_mut_ptr());
        let start = window.columns.start;
        let mut top = 0;
        if window.columns.len() == RUN {
            for rows in cells.chunks_exact(ROWS * d) {
                let row = |i: usize| load(&rows[i * d + start..].as_chunks().0[0]);
                // SAFETY: `top + 16 <= TILE_ROWS`, and each column has as many values, as asserted.
                unsafe { store_transposed(row, out.map(|column| column.add(top))) };
                top += ROWS;
            }
        }
        while top < n_rows {
            // Rows behind the last one repeat it.
            let row = |i: usize| load_some(&cells[(top + i).min(n_rows - 1) * d..][window.columns.clone()]);
            // SAFETY: as above, because TILE_ROWS is a multiple of 16.
            unsafe { store_transposed(row, out.map(|column| column.add(top))) };
            top += ROWS;
        }
    }
}

/// Writes eight columns of sixteen rows, in descending order.
///
/// # Safety
/// Sixteen values can be written to each pointer.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
unsafe fn store_transposed(row: impl Fn(usize) -> __m256, out: [*mut f32; RUN]) {
    let pair = |a: usize, b: usize| _mm512_insertf32x8::<1>(_mm512_castps256_ps512(row(a)), row(b));
    // The lower halves hold columns 0 to 3 of eight rows, the upper halves columns 4 to 7.
    let upper = transpose_quarters([pair(0, 4), pair(1, 5), pair(2, 6), pair(3, 7)]);
    let lower = transpose_quarters([pair(8, 12), pair(9, 13), pair(10, 14), pair(11, 15)]);
    let low = |j: usize| _mm512_shuffle_f32x4::<0b10_00_10_00>(upper[j], lower[j]);
    let high = |j: usize| _mm512_shuffle_f32x4::<0b11_01_11_01>(upper[j], lower[j]);
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        _mm512_storeu_ps(out[7], high(3));
        _mm512_storeu_ps(out[6], high(2));
        _mm512_storeu_ps(out[5], high(1));
        _mm512_storeu_ps(out[4], high(0));
        _mm512_storeu_ps(out[3], low(3));
        _mm512_storeu_ps(out[2], low(2));
        _mm512_storeu_ps(out[1], low(1));
        _mm512_storeu_ps(out[0], low(0));
    }
}

/// Transposes the 4 x 4 cells of each quarter.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn transpose_quarters([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    let ab = (
        _mm512_castps_pd(_mm512_unpacklo_ps(a, b)),
        _mm512_castps_pd(_mm512_unpackhi_ps(a, b)),
    );
    let cd = (
        _mm512_castps_pd(_mm512_unpacklo_ps(c, d)),
        _mm512_castps_pd(_mm512_unpackhi_ps(c, d)),
    );
    [
        _mm512_castpd_ps(_mm512_unpacklo_pd(ab.0, cd.0)),
        _mm512_castpd_ps(_mm512_unpackhi_pd(ab.0, cd.0)),
        _mm512_castpd_ps(_mm512_unpacklo_pd(ab.1, cd.1)),
        _mm512_castpd_ps(_mm512_unpackhi_pd(ab.1, cd.1)),
    ]
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn thermometer(search: &Search, planes: &Planes, rows: usize, masks: &mut [Mask]) {
    // SAFETY: the caller's instructions are those of `Zmm`, `Ymm` and `Xmm`.
    unsafe {
        match (planes.missing.any(), rows) {
            (false, ..=128) => logic::thermometer::<Xmm, false>(search, planes, rows, masks),
            (true, ..=128) => logic::thermometer::<Xmm, true>(search, planes, rows, masks),
            (false, ..=256) => logic::thermometer::<Ymm, false>(search, planes, rows, masks),
            (true, ..=256) => logic::thermometer::<Ymm, true>(search, planes, rows, masks),
            (false, _) => logic::thermometer::<Zmm, false>(search, planes, rows, masks),
            (true, _) => logic::thermometer::<Zmm, true>(search, planes, rows, masks),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn evaluate(tree: &TreeLogic, masks: &[Mask], slots: &mut [Mask], rows: usize, planes: &mut [Mask; MAX_PLANES]) {
    // SAFETY: the caller's instructions are those of `Zmm`, `Ymm` and `Xmm`.
    unsafe {
        match rows {
            ..=128 => logic::evaluate::<Xmm>(tree, masks, slots, rows, planes),
            129..=256 => logic::evaluate::<Ymm>(tree, masks, slots, rows, planes),
            _ => logic::evaluate::<Zmm>(tree, masks, slots, rows, planes),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn spread(planes: &[Mask], classes: &mut [u8]) {
    let (chunks, _) = classes.as_chunks_mut::<64>();
    for (word, bytes) in chunks.iter_mut().enumerate() {
        let mut class = _mm512_maskz_set1_epi8(planes.first().map_or(0, |plane| plane.0[word]), 1);
        for (b, plane) in planes.iter().enumerate().skip(1) {
            class = _mm512_mask_add_epi8(class, plane.0[word], class, _mm512_set1_epi8((1_u8 << b) as i8));
        }
        // SAFETY: the array has 64 bytes.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), class) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn add(values: &[ClassValues], classes: &[[u8; BLOCK_ROWS]], sums: &mut [f64]) {
    assert!(sums.len() <= BLOCK_ROWS);
    let (chunks, _) = sums.as_chunks_mut::<64>();
    for (chunk, sums) in chunks.iter_mut().enumerate() {
        let (eights, _) = sums.as_chunks_mut::<8>();
        // SAFETY: eight sums are a register.
        let mut total: [__m512d; 8] = std::array::from_fn(|k| unsafe { _mm512_loadu_pd(eights[k].as_ptr()) });
        for (values, classes) in values.iter().zip(classes) {
            // SAFETY: the table is aligned and holds 256 values.
            let table = |i: usize| unsafe { _mm512_load_pd(values.table.as_ptr().add(i * 8)) };
            let (eights, _) = classes[chunk * 64..][..64].as_chunks::<8>();
            for (total, eight) in total.iter_mut().zip(eights) {
                // SAFETY: the array has eight bytes.
                let class = _mm512_cvtepu8_epi64(unsafe { _mm_loadl_epi64(eight.as_ptr().cast()) });
                let mut value = _mm512_permutex2var_pd(table(0), class, table(1));
                if values.len > 16 {
                    let upper = _mm512_test_epi64_mask(class, _mm512_set1_epi64(16));
                    value = _mm512_mask_blend_pd(upper, value, _mm512_permutex2var_pd(table(2), class, table(3)));
                }
                *total = _mm512_add_pd(*total, value);
            }
        }
        for (sums, total) in eights.iter_mut().zip(total) {
            // SAFETY: eight sums are a register.
            unsafe { _mm512_storeu_pd(sums.as_mut_ptr(), total) };
        }
    }
}

/// Runs the portable code, which the compiler vectorises with the instructions of this kernel.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn fill_bins(map: &BinMap, values: &[f64], bins: &mut [u16]) -> u64 {
    map.fill(values, bins)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn at_or_below(values: &[f32], threshold: f32, or_missing: bool, marks: &mut [u64]) {
    let threshold = _mm512_set1_ps(threshold);
    let marked_missing = if or_missing { u16::MAX } else { 0 };
    for (values, word) in values.chunks(64).zip(marks) {
        *word = 0;
        for (i, values) in values.chunks(16).enumerate() {
            let present = ((1_u32 << values.len()) - 1) as u16;
            // SAFETY: the mask leaves out what lies beyond the slice.
            let x = unsafe { _mm512_maskz_loadu_ps(present, values.as_ptr()) };
            let missing = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x) & marked_missing;
            let below = _mm512_mask_cmp_ps_mask::<_CMP_LE_OQ>(present, x, threshold);
            *word |= u64::from(missing | below) << (16 * i);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn shapley(tree: &ShapleyTree, block: &mut ShapleyBlock<'_>, scratch: &mut ShapleyScratch) {
    // SAFETY: the caller's instructions are those of `Eight`.
    unsafe {
        if block.rows > Eight::ROWS {
            shapley::explain::<Two<Eight>>(tree, block, scratch);
        } else {
            shapley::explain::<Eight>(tree, block, scratch);
        }
    }
}

/// Runs the portable code, which the compiler vectorises with the instructions of this kernel.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn twist(state: &mut [u32; STATE_WORDS]) {
    twister::twist(state);
}

/// Runs the portable code, which the compiler vectorises with the instructions of this kernel.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn temper(state: &[u32; STATE_WORDS], outputs: &mut [WordBytes; STATE_WORDS]) {
    twister::temper(state, outputs);
}

/// Selects low words sixteen at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn select_low(words: &[WordBytes], mask: u32, top: u32, kept: &mut [WordBytes]) -> usize {
    const LANES: usize = 16;
    assert!(words.len() <= kept.len());
    let (mask_of_all, top_of_all) = (_mm512_set1_epi32(mask as i32), _mm512_set1_epi32(top as i32));
    let mut n_kept = 0;
    let (groups, rest) = words.as_chunks::<LANES>();
    for group in groups {
        // SAFETY: the array has sixteen words.
        let masked = unsafe { _mm512_loadu_si512(group.as_ptr().cast()) };
        let masked = _mm512_and_si512(masked, mask_of_all);
        let is_low = _mm512_cmple_epu32_mask(masked, top_of_all);
        // A store of the kept words alone takes many times as long on some processors.
        let low = _mm512_maskz_compress_epi32(is_low, masked);
        // SAFETY: each earlier group kept at most sixteen words, so as many fit from here on, as asserted.
        unsafe { _mm512_storeu_si512(kept.as_mut_ptr().add(n_kept).cast(), low) };
        n_kept += is_low.count_ones() as usize;
    }
    twister::select_low(rest, mask, top, kept, n_kept)
}
