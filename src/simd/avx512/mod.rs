//! AVX-512: a block is one register of bits; values are compared sixteen at a time with thresholds held in registers.

#[allow(clippy::wildcard_imports, reason = "names of instructions tell themselves apart")]
use std::arch::x86_64::*;
use std::ops::Range;

mod count;

use super::avx2::prefetch;
use super::bits::{BLOCK, Bits, Mask};
use super::convert::{self, Rows};
use super::search::{SLACK, Search};
use super::tree::Tree;
use super::{Kernel, MAX_PLANES, Planes, TILE, Tally, Tile, Values, logic, portable};
use crate::matrix::Matrix;

/// Columns that are transposed together: a register of f64.
const RUN: usize = 8;
/// Registers that hold a tile's share of a column.
const VECTORS: usize = TILE / 16;

/// Proof that the processor has AVX-512 F, BW, DQ and VL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512 {
    /// Whether it has VPOPCNTDQ too.
    counts: bool,
}

impl Avx512 {
    /// Asks the processor.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        has.then(|| Self {
            counts: is_x86_feature_detected!("avx512vpopcntdq"),
        })
    }
}

macro_rules! bits {
    ($name:ident, $vector:ty, $words:literal, $load:ident, $splat:ident, $splat32:ident, $store:ident, $and:ident, $or:ident, $xor:ident, $andnot:ident, $ternary:ident) => {
        #[derive(Clone, Copy)]
        struct $name($vector);

        impl Bits for $name {
            const WORDS: usize = $words;

            #[inline(always)]
            unsafe fn load(words: *const u64) -> Self {
                // SAFETY: the caller vouches for processor and words.
                Self(unsafe { $load(words.cast()) })
            }

            #[inline(always)]
            unsafe fn splat(word: u64) -> Self {
                // SAFETY: the caller vouches for the processor.
                Self(unsafe { $splat(word as i64) })
            }

            #[inline(always)]
            unsafe fn splat_i32(half: *const i32) -> Self {
                // SAFETY: the caller vouches for processor and half word.
                Self(unsafe { $splat32(*half) })
            }

            #[inline(always)]
            unsafe fn store(self, words: *mut u64) {
                // SAFETY: the caller vouches for the words, `self` for the processor.
                unsafe { $store(words.cast(), self.0) }
            }

            #[inline(always)]
            fn and(self, other: Self) -> Self {
                // SAFETY: `self` vouches for the processor, here and below.
                Self(unsafe { $and(self.0, other.0) })
            }

            #[inline(always)]
            fn or(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $or(self.0, other.0) })
            }

            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $xor(self.0, other.0) })
            }

            #[inline(always)]
            fn and_not(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $andnot(other.0, self.0) })
            }

            #[inline(always)]
            fn or_and(self, a: Self, b: Self) -> Self {
                // SAFETY: as above. The truth table of `self | (a & b)`.
                Self(unsafe { $ternary::<0xf8>(self.0, a.0, b.0) })
            }

            #[inline(always)]
            fn xor_and(self, a: Self, b: Self) -> Self {
                // SAFETY: as above. The truth table of `self ^ (a & b)`.
                Self(unsafe { $ternary::<0x78>(self.0, a.0, b.0) })
            }
        }
    };
}

bits!(
    Zmm,
    __m512i,
    8,
    _mm512_load_si512,
    _mm512_set1_epi64,
    _mm512_set1_epi32,
    _mm512_store_si512,
    _mm512_and_si512,
    _mm512_or_si512,
    _mm512_xor_si512,
    _mm512_andnot_si512,
    _mm512_ternarylogic_epi32
);
bits!(
    Ymm,
    __m256i,
    4,
    _mm256_load_si256,
    _mm256_set1_epi64x,
    _mm256_set1_epi32,
    _mm256_store_si256,
    _mm256_and_si256,
    _mm256_or_si256,
    _mm256_xor_si256,
    _mm256_andnot_si256,
    _mm256_ternarylogic_epi32
);
bits!(
    Xmm,
    __m128i,
    2,
    _mm_load_si128,
    _mm_set1_epi64x,
    _mm_set1_epi32,
    _mm_store_si128,
    _mm_and_si128,
    _mm_or_si128,
    _mm_xor_si128,
    _mm_andnot_si128,
    _mm_ternarylogic_epi32
);

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
        unsafe { quantise(searches, tile, planes, words) }
    }

    fn thermometer(self, search: &Search, planes: &Planes, rows: usize, masks: &mut [Mask]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { thermometer(search, planes, rows, masks) }
    }

    fn evaluate(self, tree: &Tree, masks: &[Mask], slots: &mut [Mask], rows: usize, planes: &mut [Mask; MAX_PLANES]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { evaluate(tree, masks, slots, rows, planes) }
    }

    fn classes(self, planes: &[Mask], classes: &mut [u8; BLOCK]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { spread(planes, classes) }
    }

    fn add(self, values: &[Values], classes: &[[u8; BLOCK]], sums: &mut [f64; BLOCK]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { add(values, classes, sums) }
    }

    fn find(self, search: &Search, origin: f64, values: &[f64], found: &mut [u16]) {
        // SAFETY: `self` is proof of the instructions.
        unsafe { find(search, origin, values, found) }
    }

    fn counts(self) -> bool {
        self.counts
    }

    fn count(self, search: &Search, origin: f64, values: &[f64; BLOCK], tally: &mut Tally) -> Mask {
        assert!(self.counts);
        // SAFETY: `self` is proof of the instructions, VPOPCNTDQ among them as asserted.
        unsafe { count::count(search, origin, values, tally) }
    }

    fn prefetch(self, matrix: &Matrix<'_>, rows: Range<usize>, part: usize, parts: usize) {
        prefetch(matrix, rows, part, parts);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn transpose(matrix: &Matrix<'_>, rows: Range<usize>, columns: &[u32], tile: &mut Tile<'_>) {
    let d = matrix.n_columns();
    match convert::row_major(matrix) {
        Some(Rows::F64(cells)) => transpose_rows(
            &cells[rows.start * d..rows.end * d],
            d,
            columns,
            tile,
            |cells: &[f64]| load_f64(cells),
        ),
        Some(Rows::F32(cells)) => transpose_rows(
            &cells[rows.start * d..rows.end * d],
            d,
            columns,
            tile,
            |cells: &[f32]| load_f32(cells),
        ),
        None => portable::transpose_columns(matrix, rows, columns, tile),
    }
}

/// Up to eight neighbouring cells.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn load_f64(cells: &[f64]) -> __m256 {
    // SAFETY: the mask leaves out what lies beyond the slice.
    _mm512_cvtpd_ps(unsafe { _mm512_maskz_loadu_pd(lanes(cells.len()), cells.as_ptr()) })
}

/// Up to eight neighbouring cells.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn load_f32(cells: &[f32]) -> __m256 {
    // SAFETY: the mask leaves out what lies beyond the slice.
    unsafe { _mm256_maskz_loadu_ps(lanes(cells.len()), cells.as_ptr()) }
}

/// The first `n` of eight lanes.
fn lanes(n: usize) -> u8 {
    ((1_u32 << n.min(8)) - 1) as u8
}

/// Sixteen rows by eight columns at a time, turned round in registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn transpose_rows<T>(cells: &[T], d: usize, columns: &[u32], tile: &mut Tile<'_>, load: impl Fn(&[T]) -> __m256) {
    let n_rows = cells.len() / d;
    let Tile { values, stride, first } = tile;
    let (stride, first) = (*stride, *first);
    assert!(n_rows <= TILE && first + TILE <= stride && columns.len() * stride <= values.len());
    for (place, run) in convert::runs::<RUN>(columns) {
        for top in (0..n_rows).step_by(16) {
            let row = |i: usize| match cells.get((top + i) * d..(top + i + 1) * d) {
                Some(row) => load(&row[run.clone()]),
                None => _mm256_setzero_ps(),
            };
            let pair = |a: usize, b: usize| _mm512_insertf32x8::<1>(_mm512_castps256_ps512(row(a)), row(b));
            // Columns 0 to 3 of eight rows in the lower halves, 4 to 7 in the upper ones.
            let upper = transpose_quarters([pair(0, 4), pair(1, 5), pair(2, 6), pair(3, 7)]);
            let lower = transpose_quarters([pair(8, 12), pair(9, 13), pair(10, 14), pair(11, 15)]);
            for j in 0..run.len() {
                let (a, b) = (upper[j % 4], lower[j % 4]);
                let column = if j < 4 {
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b)
                } else {
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b)
                };
                // SAFETY: as asserted: `place + j < columns.len()`, and `top + 16 <= TILE`.
                unsafe { _mm512_storeu_ps(values.as_mut_ptr().add((place + j) * stride + first + top), column) };
            }
        }
    }
}

/// Transposes the 4 x 4 cells of each quarter.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
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
fn quantise(searches: &[Search], tile: &Tile<'_>, planes: &mut [Planes], words: Range<usize>) {
    for ((search, values), planes) in searches.iter().zip(tile.values.chunks(tile.stride)).zip(planes) {
        for (values, word) in values[tile.first..].chunks_exact(TILE).zip(words.clone()) {
            let (sixteens, _) = values.as_chunks::<16>();
            // SAFETY: a chunk holds sixteen values.
            let x = std::array::from_fn(|v| unsafe { _mm512_loadu_ps(sixteens[v].as_ptr()) });
            match search.depth() {
                0 | 1 => quantise_values::<1>(search, &x, planes, word),
                2 => quantise_values::<2>(search, &x, planes, word),
                3 => quantise_values::<3>(search, &x, planes, word),
                4 => quantise_values::<4>(search, &x, planes, word),
                5 => quantise_values::<5>(search, &x, planes, word),
                6 => quantise_values::<6>(search, &x, planes, word),
                7 => quantise_values::<7>(search, &x, planes, word),
                8 => quantise_values::<8>(search, &x, planes, word),
                _ => quantise_values::<9>(search, &x, planes, word),
            }
        }
    }
}

/// Binary search, all values in step, with the thresholds of a step in registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn quantise_values<const DEPTH: usize>(search: &Search, x: &[__m512; VECTORS], planes: &mut Planes, word: usize) {
    let (_, bits, _) = descend::<DEPTH, false>(search, x);
    for (level, bits) in bits.into_iter().enumerate() {
        planes.bits[DEPTH - 1 - level].0[word] = word_of(bits);
    }
    planes.missing.0[word] = word_of(x.map(|x| _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x)));
}

/// The first `DEPTH` steps of a search: what was found, in which lanes each step found something, and with `EQUAL` the lanes
/// that met their equal.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn descend<const DEPTH: usize, const EQUAL: bool>(
    search: &Search,
    x: &[__m512; VECTORS],
) -> ([__m512i; VECTORS], [[u16; VECTORS]; DEPTH], [u16; VECTORS]) {
    let heap = search.heap();
    assert!(heap.len() >= (1 << DEPTH) + SLACK);
    // SAFETY: `first` is at most 2^DEPTH, and 16 entries more are there, as asserted.
    let table = |first: usize| unsafe { _mm512_loadu_ps(heap.as_ptr().add(first)) };
    let mut found = [_mm512_setzero_si512(); VECTORS];
    let mut bits = [[0_u16; VECTORS]; DEPTH];
    let mut equal = [0_u16; VECTORS];
    for level in 0..DEPTH {
        for v in 0..VECTORS {
            // Bits 0 to 4 of what was found choose an entry in a pair of registers; the others choose the pair.
            let pair = |first: usize| _mm512_permutex2var_ps(table(first), found[v], table(first + 16));
            let two = |first| _mm512_mask_blend_ps(bits[5][v], pair(first), pair(first + 32));
            let four = |first| _mm512_mask_blend_ps(bits[6][v], two(first), two(first + 64));
            let threshold = match level {
                0 => _mm512_set1_ps(heap[1]),
                1..=4 => _mm512_permutexvar_ps(found[v], table(1 << level)),
                5 => pair(32),
                6 => two(64),
                7 => four(128),
                _ => _mm512_mask_blend_ps(bits[7][v], four(256), four(384)),
            };
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x[v], threshold);
            if EQUAL {
                equal[v] |= _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(x[v], threshold);
            }
            found[v] = _mm512_mask_or_epi32(found[v], above, found[v], _mm512_set1_epi32(1 << level));
            bits[level][v] = above;
        }
    }
    (found, bits, equal)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn find(search: &Search, origin: f64, values: &[f64], found: &mut [u16]) {
    match search.depth() {
        0 | 1 => find_from::<1>(search, origin, values, found),
        2 => find_from::<2>(search, origin, values, found),
        3 => find_from::<3>(search, origin, values, found),
        4 => find_from::<4>(search, origin, values, found),
        5 => find_from::<5>(search, origin, values, found),
        6 => find_from::<6>(search, origin, values, found),
        7 => find_from::<7>(search, origin, values, found),
        8 => find_from::<8>(search, origin, values, found),
        _ => find_from::<9>(search, origin, values, found),
    }
}

/// Values as f32 distances from an origin, and which of them lost nothing on the way.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn images(origin: f64, values: &[f64; TILE]) -> ([__m512; VECTORS], u64) {
    let mut exact = 0;
    let (eights, _) = values.as_chunks::<8>();
    let halves: [__m256; 2 * VECTORS] = std::array::from_fn(|i| {
        // SAFETY: eight values.
        let x = unsafe { _mm512_loadu_pd(eights[i].as_ptr()) };
        let image = _mm512_cvtpd_ps(_mm512_sub_pd(x, _mm512_set1_pd(origin)));
        exact |= u64::from(_mm512_cmp_pd_mask::<_CMP_EQ_OQ>(_mm512_cvtps_pd(image), x)) << (8 * i);
        image
    });
    let x = std::array::from_fn(|v| _mm512_insertf32x8::<1>(_mm512_castps256_ps512(halves[2 * v]), halves[2 * v + 1]));
    (x, exact)
}

/// The upper steps with the thresholds in registers, the lower ones, if any, with thresholds gathered.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn find_from<const DEPTH: usize>(search: &Search, origin: f64, values: &[f64], found: &mut [u16]) {
    let heap = search.heap();
    let (whole, rest) = values.as_chunks::<TILE>();
    let (whole_found, rest_found) = found.split_at_mut(whole.len() * TILE);
    for (values, found) in whole.iter().zip(whole_found.as_chunks_mut::<TILE>().0) {
        let (x, _) = images(origin, values);
        let (mut at, _, _) = descend::<DEPTH, false>(search, &x);
        for level in DEPTH..search.depth() {
            for v in 0..VECTORS {
                // SAFETY: what was found is below 2^level, and the heap has 2^(level + 1) entries at least.
                let threshold = unsafe { _mm512_i32gather_ps::<4>(at[v], heap.as_ptr().add(1 << level)) };
                let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x[v], threshold);
                at[v] = _mm512_mask_or_epi32(at[v], above, at[v], _mm512_set1_epi32(1 << level));
            }
        }
        let (sixteens, _) = found.as_chunks_mut::<16>();
        for (sixteen, at) in sixteens.iter_mut().zip(at) {
            // SAFETY: sixteen places.
            unsafe { _mm256_storeu_si256(sixteen.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(at)) };
        }
    }
    portable::find(search, origin, rest, rest_found);
}

fn word_of(bits: [u16; VECTORS]) -> u64 {
    u64::from_le_bytes([
        bits[0] as u8,
        (bits[0] >> 8) as u8,
        bits[1] as u8,
        (bits[1] >> 8) as u8,
        bits[2] as u8,
        (bits[2] >> 8) as u8,
        bits[3] as u8,
        (bits[3] >> 8) as u8,
    ])
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
fn evaluate(tree: &Tree, masks: &[Mask], slots: &mut [Mask], rows: usize, planes: &mut [Mask; MAX_PLANES]) {
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
fn spread(planes: &[Mask], classes: &mut [u8; BLOCK]) {
    let (chunks, _) = classes.as_chunks_mut::<64>();
    for (word, bytes) in chunks.iter_mut().enumerate() {
        let mut class = _mm512_maskz_set1_epi8(planes.first().map_or(0, |plane| plane.0[word]), 1);
        for (b, plane) in planes.iter().enumerate().skip(1) {
            class = _mm512_mask_add_epi8(class, plane.0[word], class, _mm512_set1_epi8((1_u8 << b) as i8));
        }
        // SAFETY: 64 bytes.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), class) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn add(values: &[Values], classes: &[[u8; BLOCK]], sums: &mut [f64; BLOCK]) {
    if values.iter().any(|values| values.len > 32) {
        return portable::add(values, classes, sums);
    }
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
                // SAFETY: eight bytes.
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
