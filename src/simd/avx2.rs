//! AVX2 kernel: a block is two registers of bits; values are compared eight at a time with thresholds held in registers.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;
use std::ops::Range;

use super::bins::BinMap;
use super::bits::{BLOCK_ROWS, Bits, Mask, WORDS};
use super::convert::{self, Rows};
use super::search::{SLACK, Search};
use super::tree::TreeLogic;
use super::{ClassValues, Kernel, MAX_PLANES, Planes, TILE_ROWS, Tile, logic, portable};
use crate::matrix::Matrix;

/// Rows and columns that are transposed together.
const SQUARE: usize = 4;
/// Registers searched at once; more would not stay in registers together with the thresholds.
const VECTORS: usize = 2;

/// Proof that the processor has AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// Returns a proof if the processor has AVX2.
    #[must_use]
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
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
        // SAFETY: `self` is proof of the instructions.
        unsafe { add(values, classes, sums) }
    }

    fn bins(self, map: &BinMap, values: &[f64], bins: &mut [u16]) -> u64 {
        // SAFETY: `self` is proof of the instructions.
        unsafe { fill_bins(map, values, bins) }
    }

    fn at_or_below(self, values: &[f32], threshold: f32, or_missing: bool, marks: &mut [u64]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { at_or_below(values, threshold, or_missing, marks) }
    }
}

#[target_feature(enable = "avx2")]
fn transpose(matrix: &Matrix<'_>, rows: Range<usize>, columns: &[u32], tile: &mut Tile<'_>) {
    let d = matrix.n_columns();
    match convert::row_major(matrix) {
        Some(Rows::F64(cells)) => {
            let cells = &cells[rows.start * d..rows.end * d];
            // SAFETY: the array has four cells.
            let load = |cells: &[f64; SQUARE]| _mm256_cvtpd_ps(unsafe { _mm256_loadu_pd(cells.as_ptr()) });
            transpose_rows(cells, d, columns, tile, load, |x| x as f32);
        }
        Some(Rows::F32(cells)) => {
            let cells = &cells[rows.start * d..rows.end * d];
            // SAFETY: the array has four cells.
            let load = |cells: &[f32; SQUARE]| unsafe { _mm_loadu_ps(cells.as_ptr()) };
            transpose_rows(cells, d, columns, tile, load, |x| x);
        }
        None => portable::transpose_columns(matrix, rows, columns, tile),
    }
}

/// Transposes four rows by four columns at a time in registers, and the edges cell by cell.
#[target_feature(enable = "avx2")]
fn transpose_rows<T: Copy>(
    cells: &[T],
    d: usize,
    columns: &[u32],
    tile: &mut Tile<'_>,
    load: impl Fn(&[T; SQUARE]) -> __m128,
    cast: impl Fn(T) -> f32,
) {
    let n_rows = cells.len() / d;
    let Tile { values, stride, first } = tile;
    let (stride, first) = (*stride, *first);
    assert!(n_rows <= TILE_ROWS && first + TILE_ROWS <= stride && columns.len() * stride <= values.len());
    for (index, run) in convert::runs::<SQUARE>(columns) {
        let out = &mut values[index * stride + first..];
        let (fours, rest) = cells.as_chunks::<1>().0.split_at(n_rows / SQUARE * SQUARE * d);
        let rest = if run.len() == SQUARE {
            rest
        } else {
            cells.as_chunks::<1>().0
        };
        let whole = if run.len() == SQUARE { fours.as_flattened() } else { &[] };
        for (four, rows) in whole.chunks_exact(SQUARE * d).enumerate() {
            let row = |i: usize| {
                let (cells, _) = rows[i * d + run.start..].as_chunks::<SQUARE>();
                load(&cells[0])
            };
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
            let (ab2, cd2) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
            let turned = [
                _mm_movelh_ps(ab, cd),
                _mm_movehl_ps(cd, ab),
                _mm_movelh_ps(ab2, cd2),
                _mm_movehl_ps(cd2, ab2),
            ];
            for (j, column) in turned.into_iter().enumerate() {
                let cells = &mut out[j * stride + four * SQUARE..][..SQUARE];
                // SAFETY: the slice has four cells.
                unsafe { _mm_storeu_ps(cells.as_mut_ptr(), column) };
            }
        }
        let top = whole.len() / d;
        for (i, row) in rest.as_flattened().chunks_exact(d).enumerate() {
            for (j, &x) in row[run.clone()].iter().enumerate() {
                out[j * stride + top + i] = cast(x);
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn quantise(searches: &[Search], tile: &Tile<'_>, planes: &mut [Planes], words: Range<usize>) {
    for ((search, values), planes) in searches.iter().zip(tile.values.chunks(tile.stride)).zip(planes) {
        for (values, word) in values[tile.first..].chunks_exact(TILE_ROWS).zip(words.clone()) {
            quantise_column(search, values, planes, word);
        }
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn quantise_column(search: &Search, values: &[f32], planes: &mut Planes, word: usize) {
    at_depth!(search.depth(), quantise_values(search, values, planes, word));
}

/// Searches all values in step; each step gives one bit of the ranks.
#[target_feature(enable = "avx2")]
#[inline]
fn quantise_values<const DEPTH: usize>(search: &Search, values: &[f32], planes: &mut Planes, word: usize) {
    let mut bits = [0_u64; DEPTH];
    let mut missing = 0;
    let (groups, _) = values.as_chunks::<{ 8 * VECTORS }>();
    for group in groups.iter().rev() {
        let (eights, _) = group.as_chunks::<8>();
        // SAFETY: the array has eight values.
        let x: [__m256; VECTORS] = std::array::from_fn(|v| unsafe { _mm256_loadu_ps(eights[v].as_ptr()) });
        let (_, above) = descend::<DEPTH>(search, &x);
        for (bits, above) in bits.iter_mut().zip(above) {
            *bits = *bits << (8 * VECTORS) | mask(above);
        }
        missing = missing << (8 * VECTORS) | mask(x.map(|x| _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x)));
    }
    for (level, bits) in bits.into_iter().enumerate() {
        planes.bits[DEPTH - 1 - level].0[word] = bits;
    }
    planes.missing.0[word] = missing;
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
fn spread(planes: &[Mask], classes: &mut [u8; BLOCK_ROWS]) {
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

#[target_feature(enable = "avx2")]
fn add(values: &[ClassValues], classes: &[[u8; BLOCK_ROWS]], sums: &mut [f64; BLOCK_ROWS]) {
    const AT_ONCE: usize = 4;
    if values.iter().any(|values| values.len > 16) {
        return portable::add(values, classes, sums);
    }
    for (values, classes) in values.chunks(AT_ONCE).zip(classes.chunks(AT_ONCE)) {
        let mut halves = [[_mm256_setzero_ps(); 4]; AT_ONCE];
        for (halves, values) in halves.iter_mut().zip(values) {
            *halves = split(values);
        }
        let (eights, _) = sums.as_chunks_mut::<8>();
        for (eight, sums) in eights.iter_mut().enumerate() {
            // SAFETY: eight sums are two registers, here and below.
            let (a, b) = unsafe { (_mm256_loadu_pd(sums.as_ptr()), _mm256_loadu_pd(sums.as_ptr().add(4))) };
            // The order is rows 0, 1, 4, 5 and rows 2, 3, 6, 7, because the halves of their values come together so.
            let mut total = (
                _mm256_permute2f128_pd::<0x20>(a, b),
                _mm256_permute2f128_pd::<0x31>(a, b),
            );
            for (halves, classes) in halves.iter().zip(classes) {
                let (bytes, _) = classes[eight * 8..].as_chunks::<8>();
                // SAFETY: the array has eight bytes.
                let class = _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(bytes[0].as_ptr().cast()) });
                let upper = _mm256_castsi256_ps(_mm256_slli_epi32::<28>(class));
                let half = |i: usize| {
                    let (lower, higher) = (halves[i], halves[i + 1]);
                    _mm256_blendv_ps(
                        _mm256_permutevar8x32_ps(lower, class),
                        _mm256_permutevar8x32_ps(higher, class),
                        upper,
                    )
                };
                let (low, high) = (half(0), half(2));
                total.0 = _mm256_add_pd(total.0, _mm256_castps_pd(_mm256_unpacklo_ps(low, high)));
                total.1 = _mm256_add_pd(total.1, _mm256_castps_pd(_mm256_unpackhi_ps(low, high)));
            }
            let a = _mm256_permute2f128_pd::<0x20>(total.0, total.1);
            let b = _mm256_permute2f128_pd::<0x31>(total.0, total.1);
            // SAFETY: as above.
            unsafe {
                _mm256_storeu_pd(sums.as_mut_ptr(), a);
                _mm256_storeu_pd(sums.as_mut_ptr().add(4), b);
            }
        }
    }
}

/// Returns the lower halves of values 0 to 7 and 8 to 15, then the upper halves.
#[target_feature(enable = "avx2")]
fn split(values: &ClassValues) -> [__m256; 4] {
    let half = |first: usize, shift: u32| {
        let words: [i32; 8] = std::array::from_fn(|i| (values.table[first + i].to_bits() >> shift) as i32);
        // SAFETY: the array has eight words.
        unsafe { _mm256_loadu_ps(words.as_ptr().cast()) }
    };
    [half(0, 0), half(8, 0), half(0, 32), half(8, 32)]
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
