//! Copies columns out of rows, eight rows by eight columns at a time, which are transposed in registers.

#[allow(clippy::wildcard_imports, reason = "the names of instructions are unambiguous")]
use std::arch::x86_64::*;
use std::ops::Range;

use ndarray::ArrayView1;

use super::lanes;
use crate::simd::{convert, prefetch};

/// Number of f64 in a register, and of rows and columns that are transposed together.
const SQUARE: usize = 8;
/// Distance in rows from the row that is read to the row that is prefetched. The processor's own prefetching does not reach as far.
const PREFETCH_DISTANCE: usize = 64;

/// Implements [`crate::simd::Kernel::collect`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn collect(columns: &[ArrayView1<'_, f64>], rows: Range<usize>, out: &mut [f64], stride: usize) {
    assert!(rows.len() <= stride && columns.iter().all(|column| rows.end <= column.len()));
    assert!(columns.is_empty() || (columns.len() - 1) * stride + rows.len() <= out.len());
    // Runs of columns whose cells lie side by side in each row.
    let runs = convert::neighbours(columns);
    for top in (0..rows.len()).step_by(SQUARE) {
        let n_rows = SQUARE.min(rows.len() - top);
        let mut column = 0;
        for neighbours in &runs {
            let row = |i: usize| {
                let offset = (rows.start + top + i).cast_signed() * neighbours.step;
                neighbours.first.wrapping_offset(offset)
            };
            for i in 0..SQUARE {
                prefetch::prefetch_cells(row(i + PREFETCH_DISTANCE), neighbours.len);
            }
            for left in (0..neighbours.len).step_by(SQUARE) {
                let n_columns = SQUARE.min(neighbours.len - left);
                let transposed = transpose(&std::array::from_fn(|i| {
                    if i < n_rows {
                        // SAFETY: the row exists, as asserted, and the mask leaves out cells beyond its neighbours.
                        unsafe { _mm512_maskz_loadu_pd(lanes(n_columns), row(i).wrapping_add(left)) }
                    } else {
                        _mm512_setzero_pd()
                    }
                }));
                for cells in &transposed[..n_columns] {
                    // SAFETY: there is room for all rows of all columns, as asserted.
                    unsafe {
                        let target = out.as_mut_ptr().add(column * stride + top);
                        _mm512_mask_storeu_pd(target, lanes(n_rows), *cells);
                    }
                    column += 1;
                }
            }
        }
    }
}

/// Transposes 8 x 8 cells.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn transpose(rows: &[__m512d; SQUARE]) -> [__m512d; SQUARE] {
    let low = |i: usize| _mm512_unpacklo_pd(rows[2 * i], rows[2 * i + 1]);
    let high = |i: usize| _mm512_unpackhi_pd(rows[2 * i], rows[2 * i + 1]);
    // Quarter q of pair i holds columns 2q (low) or 2q + 1 (high) of rows 2i and 2i + 1.
    let quarters = |pairs: [__m512d; 4]| {
        let [a, b, c, d] = pairs;
        let (ab, cd) = (
            _mm512_shuffle_f64x2::<0b10_00_10_00>(a, b),
            _mm512_shuffle_f64x2::<0b10_00_10_00>(c, d),
        );
        let (ab2, cd2) = (
            _mm512_shuffle_f64x2::<0b11_01_11_01>(a, b),
            _mm512_shuffle_f64x2::<0b11_01_11_01>(c, d),
        );
        [
            _mm512_shuffle_f64x2::<0b10_00_10_00>(ab, cd),
            _mm512_shuffle_f64x2::<0b10_00_10_00>(ab2, cd2),
            _mm512_shuffle_f64x2::<0b11_01_11_01>(ab, cd),
            _mm512_shuffle_f64x2::<0b11_01_11_01>(ab2, cd2),
        ]
    };
    let [c0, c2, c4, c6] = quarters([low(0), low(1), low(2), low(3)]);
    let [c1, c3, c5, c7] = quarters([high(0), high(1), high(2), high(3)]);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}
