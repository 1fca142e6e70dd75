//! AVX2 kernel: a block is two registers of bits; values are compared eight at a time with thresholds held in registers.

mod lanes;

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;
use std::ops::Range;

mod add;
mod quantise;
mod select_low;

use super::bins::BinMap;
use super::bits::{BLOCK_ROWS, Bits, Mask, WORDS};
use super::convert::{self, Rows};
use super::search::{SLACK, Search};
use super::shapley::{self, ShapleyBlock, ShapleyScratch, ShapleyTree};
use super::tree::TreeLogic;
use super::{
    ClassValues, Kernel, MAX_PLANES, Planes, STATE_WORDS, TILE_ROWS, Tile, WordBytes, logic, portable, twister,
};
use crate::matrix::Matrix;
use lanes::Four;

/// Columns that are transposed together: a register of f64.
const RUN: usize = 4;
/// Rows that are transposed together: a register of f32.
const ROWS: usize = 8;
/// Registers searched at once; more would not stay in registers together with the thresholds.
const VECTORS: usize = 2;

/// Proof that the processor has AVX2, and POPCNT as every such processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// Returns a proof if the processor has AVX2.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
        has.then_some(Self(()))
    }
}

#[derive(Clone, Copy)]
struct Ymm(__m256i);

impl Bits for Ymm {
    const WORDS: usize = 4;

    #[inline(always)]
    unsafe fn load(words: *const u64) -> Self {
        // SAFETY: the caller vouches for processor and words.
        Self(unsafe { _mm256_load_si256(words.cast()) })
    }

    #[inline(always)]
    unsafe fn splat(word: u64) -> Self {
        // SAFETY: the caller vouches for the processor.
        Self(unsafe { _mm256_set1_epi64x(word as i64) })
    }

    #[inline(always)]
    unsafe fn splat_i32(half: *const i32) -> Self {
        // SAFETY: the caller vouches for processor and half word.
        Self(unsafe { _mm256_set1_epi32(*half) })
    }

    #[inline(always)]
    unsafe fn store(self, words: *mut u64) {
        // SAFETY: the caller vouches for the words, `self` for the processor.
        unsafe { _mm256_store_si256(words.cast(), self.0) }
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: `self` vouches for the processor, here and below.
        Self(unsafe { _mm256_and_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_or_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn and_not(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_andnot_si256(other.0, self.0) })
    }
}

impl Kernel for Avx2 {
    fn name(self) -> &'static str {
        "avx2"
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
        // SAFETY: `self` is proof of the instructions.
        unsafe { add::add(values, classes, sums) }
    }

    fn bins(self, map: &BinMap, values: &[f64], bins: &mut [u16]) -> u64 {
        // SAFETY: `self` is proof of the instructions.
        unsafe { fill_bins(map, values, bins) }
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
        unsafe { select_low::select_low(words, mask, top, kept) }
    }
}

#[target_feature(enable = "avx2")]
fn transpose(matrix: &Matrix<'_>, rows: Range<usize>, columns: &[u32], tile: &mut Tile<'_>) {
    let d = matrix.n_columns();
    match convert::row_major(matrix) {
        Some(Rows::F64(cells)) => {
            // SAFETY: the array has four cells.
            let load = |cells: &[f64; RUN]| _mm256_cvtpd_ps(unsafe { _mm256_loadu_pd(cells.as_ptr()) });
            let load_some = |cells: &[f64]| {
                let lanes = _mm256_cvtepi32_epi64(lanes(cells.len()));
                // SAFETY: the mask leaves out what lies beyond the slice.
                _mm256_cvtpd_ps(unsafe { _mm256_maskload_pd(cells.as_ptr(), lanes) })
            };
            transpose_rows(&cells[rows.start * d..rows.end * d], d, columns, tile, load, load_some);
        }
        Some(Rows::F32(cells)) => {
            // SAFETY: the array has four cells.
            let load = |cells: &[f32; RUN]| unsafe { _mm_loadu_ps(cells.as_ptr()) };
            // SAFETY: the mask leaves out what lies beyond the slice.
            let load_some = |cells: &[f32]| unsafe { _mm_maskload_ps(cells.as_ptr(), lanes(cells.len())) };
            transpose_rows(&cells[rows.start * d..rows.end * d], d, columns, tile, load, load_some);
        }
        None => portable::transpose_columns(matrix, rows, columns, tile),
    }
}

/// Returns all ones in the first `n` of four lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn lanes(n: usize) -> __m128i {
    _mm_cmpgt_epi32(_mm_set1_epi32(n as i32), _mm_setr_epi32(0, 1, 2, 3))
}

/// Transposes eight rows by four columns at a time in registers. `load_some` gets up to four neighbouring cells.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose_rows<T>(
    cells: &[T],
    d: usize,
    columns: &[u32],
    tile: &mut Tile<'_>,
    load: impl Fn(&[T; RUN]) -> __m128,
    load_some: impl Fn(&[T]) -> __m128,
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
                // SAFETY: `top + 8 <= TILE_ROWS`, and each column has as many values, as asserted.
                unsafe { store_transposed(row, out.map(|column| column.add(top))) };
                top += ROWS;
            }
        }
        while top < n_rows {
            // Rows behind the last one repeat it.
            let row = |i: usize| load_some(&cells[(top + i).min(n_rows - 1) * d..][window.columns.clone()]);
            // SAFETY: as above, because TILE_ROWS is a multiple of 8.
            unsafe { store_transposed(row, out.map(|column| column.add(top))) };
            top += ROWS;
        }
    }
}

/// Writes four columns of eight rows, in descending order.
///
/// # Safety
/// Eight values can be written to each pointer.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn store_transposed(row: impl Fn(usize) -> __m128, out: [*mut f32; RUN]) {
    let pair = |i: usize| _mm256_set_m128(row(i + 4), row(i));
    let (a, b, c, d) = (pair(0), pair(1), pair(2), pair(3));
    let double = |x, y| {
        (
            _mm256_castps_pd(_mm256_unpacklo_ps(x, y)),
            _mm256_castps_pd(_mm256_unpackhi_ps(x, y)),
        )
    };
    let (ab, cd) = (double(a, b), double(c, d));
    // SAFETY: the caller vouches for the pointers.
    unsafe {
        _mm256_storeu_ps(out[3], _mm256_castpd_ps(_mm256_unpackhi_pd(ab.1, cd.1)));
        _mm256_storeu_ps(out[2], _mm256_castpd_ps(_mm256_unpacklo_pd(ab.1, cd.1)));
        _mm256_storeu_ps(out[1], _mm256_castpd_ps(_mm256_unpackhi_pd(ab.0, cd.0)));
        _mm256_storeu_ps(out[0], _mm256_castpd_ps(_mm256_unpacklo_pd(ab.0, cd.0)));
    }
}

/// Takes the first `DEPTH` steps of a search, with the thresholds of the first seven steps in registers. Returns the codes, and for
/// each step the lanes that were above the threshold.
#[target_feature(enable = "avx2")]
#[inline]
fn descend<const DEPTH: usize>(
    search: &Search,
    x: &[__m256; VECTORS],
) -> ([__m256i; VECTORS], [[__m256; VECTORS]; DEPTH]) {
    let heap = search.heap();
    assert!(heap.len() >= (1 << DEPTH) + SLACK);
    let mut codes = [_mm256_setzero_si256(); VECTORS];
    let mut above = [[_mm256_setzero_ps(); VECTORS]; DEPTH];
    for level in 0..DEPTH {
        for v in 0..VECTORS {
            // Bits 0 to 2 of a code choose an entry of a register; the others choose the register. SAFETY: `first` is at most
            // 2^DEPTH, and 16 further entries exist, as asserted.
            let lookup_8 =
                |first: usize| _mm256_permutevar8x32_ps(unsafe { _mm256_loadu_ps(heap.as_ptr().add(first)) }, codes[v]);
            let lookup_16 = |first| _mm256_blendv_ps(lookup_8(first), lookup_8(first + 8), above[3][v]);
            let lookup_32 = |first| _mm256_blendv_ps(lookup_16(first), lookup_16(first + 16), above[4][v]);
            let threshold = match level {
                0 => _mm256_set1_ps(heap[1]),
                1..=3 => lookup_8(1 << level),
                4 => lookup_16(16),
                5 => lookup_32(32),
                6 => _mm256_blendv_ps(lookup_32(64), lookup_32(96), above[5][v]),
                _ => gather(heap, level, codes[v]),
            };
            above[level][v] = _mm256_cmp_ps::<_CMP_GT_OQ>(x[v], threshold);
            codes[v] = with_bit(codes[v], above[level][v], level);
        }
    }
    (codes, above)
}

/// Gathers the thresholds that a step compares with.
#[target_feature(enable = "avx2")]
#[inline]
fn gather(heap: &[f32], level: usize, codes: __m256i) -> __m256 {
    assert!(heap.len() >= 2 << level);
    // SAFETY: a code before step `level` is below 2^level.
    unsafe { _mm256_i32gather_ps::<4>(heap.as_ptr().add(1 << level), codes) }
}

/// Sets bit `level` in the lanes that are above.
#[target_feature(enable = "avx2")]
#[inline]
fn with_bit(codes: __m256i, above: __m256, level: usize) -> __m256i {
    let bit = _mm256_and_si256(_mm256_castps_si256(above), _mm256_set1_epi32(1 << level));
    _mm256_or_si256(codes, bit)
}

/// Runs the portable code, which the compiler vectorises with the instructions of this kernel.
#[target_feature(enable = "avx2")]
fn fill_bins(map: &BinMap, values: &[f64], bins: &mut [u16]) -> u64 {
    map.fill(values, bins)
}

#[target_feature(enable = "avx2")]
#[inline]
fn mask(lanes: [__m256; VECTORS]) -> u64 {
    let mut mask = 0;
    for lanes in lanes.into_iter().rev() {
        mask = mask << 8 | u64::from(_mm256_movemask_ps(lanes) as u32);
    }
    mask
}

#[target_feature(enable = "avx2")]
fn thermometer(search: &Search, planes: &Planes, rows: usize, masks: &mut [Mask]) {
    // SAFETY: the caller's instructions are those of `Ymm`.
    unsafe {
        if planes.missing.any() {
            logic::thermometer::<Ymm, true>(search, planes, rows, masks);
        } else {
            logic::thermometer::<Ymm, false>(search, planes, rows, masks);
        }
    }
}

#[target_feature(enable = "avx2")]
fn evaluate(tree: &TreeLogic, masks: &[Mask], slots: &mut [Mask], rows: usize, planes: &mut [Mask; MAX_PLANES]) {
    // SAFETY: the caller's instructions are those of `Ymm`.
    unsafe { logic::evaluate::<Ymm>(tree, masks, slots, rows, planes) }
}

/// Writes each row's class: each byte of a register takes the bit of its row out of a copy of the 32 bits of its rows.
#[target_feature(enable = "avx2")]
fn spread(planes: &[Mask], classes: &mut [u8]) {
    let source = _mm256_setr_epi8(
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3,
    );
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let (chunks, _) = classes.as_chunks_mut::<32>();
    for (chunk, bytes) in chunks.iter_mut().enumerate() {
        let mut class = _mm256_setzero_si256();
        for (b, plane) in planes.iter().enumerate() {
            let bits = _mm256_set1_epi32((plane.0[chunk / 2] >> (chunk % 2 * 32)) as u32 as i32);
            let bits = _mm256_and_si256(_mm256_shuffle_epi8(bits, source), bit);
            let set = _mm256_and_si256(_mm256_cmpeq_epi8(bits, bit), _mm256_set1_epi8((1_u8 << b) as i8));
            class = _mm256_or_si256(class, set);
        }
        // SAFETY: the array has 32 bytes.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), class) };
    }
}

const _: () = assert!(WORDS == 2 * 4);

#[target_feature(enable = "avx2")]
fn at_or_below(values: &[f32], threshold: f32, or_missing: bool, marks: &mut [u64]) {
    let threshold_of_all = _mm256_set1_ps(threshold);
    let marked_missing = _mm256_castsi256_ps(_mm256_set1_epi32(-i32::from(or_missing)));
    let (words, rest) = values.as_chunks::<64>();
    for (values, word) in words.iter().zip(marks.iter_mut()) {
        *word = 0;
        for (i, eight) in values.as_chunks::<8>().0.iter().enumerate() {
            // SAFETY: the array has eight values.
            let x = unsafe { _mm256_loadu_ps(eight.as_ptr()) };
            let missing = _mm256_and_ps(marked_missing, _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
            let marked = _mm256_or_ps(missing, _mm256_cmp_ps::<_CMP_LE_OQ>(x, threshold_of_all));
            *word |= u64::from(_mm256_movemask_ps(marked) as u8) << (8 * i);
        }
    }
    portable::at_or_below(rest, threshold, or_missing, &mut marks[words.len()..]);
}

#[target_feature(enable = "avx2")]
fn shapley(tree: &ShapleyTree, block: &mut ShapleyBlock<'_>, scratch: &mut ShapleyScratch) {
    // SAFETY: the caller's instructions are those of `Four`.
    unsafe { shapley::explain::<Four>(tree, block, scratch) }
}

/// Runs the portable code, which the compiler vectorises with the instructions of this kernel.
#[target_feature(enable = "avx2")]
fn twist(state: &mut [u32; STATE_WORDS]) {
    twister::twist(state);
}

/// Runs the portable code, which the compiler vectorises with the instructions of this kernel.
#[target_feature(enable = "avx2")]
fn temper(state: &[u32; STATE_WORDS], outputs: &mut [WordBytes; STATE_WORDS]) {
    twister::temper(state, outputs);
}
