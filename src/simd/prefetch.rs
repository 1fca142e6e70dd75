//! Asking for rows before they are read. Processors see by themselves what is read in a row, but not what lies in many indices.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0 as NEAREST, _MM_HINT_T1 as SECOND};
use std::ops::Range;

use crate::matrix::Matrix;

/// Bytes that come together.
const CACHE_LINE_BYTES: usize = 64;

/// Asks for share `part` of `parts` of the cells of some rows, into the second-level cache.
pub(super) fn prefetch_rows(matrix: &Matrix<'_>, rows: Range<usize>, part: usize, parts: usize) {
    let pieces = matrix.n_pieces();
    // As if all pieces were of f64; of a shorter one present is nothing to ask for in the end.
    let cells = rows.len() * matrix.n_columns() / pieces.max(1);
    let lines = (cells * size_of::<f64>()).div_ceil(CACHE_LINE_BYTES);
    let mut wanted = part * lines * pieces / parts..(part + 1) * lines * pieces / parts;
    while !wanted.is_empty() {
        let (piece, line) = (wanted.start / lines, wanted.start % lines);
        let end = wanted.end.min((piece + 1) * lines);
        if let Some(bytes) = matrix.piece(rows.clone(), piece) {
            let first = bytes.start.wrapping_add(line * CACHE_LINE_BYTES);
            let present = (bytes.end.addr().saturating_sub(first.addr())).div_ceil(CACHE_LINE_BYTES);
            for line in 0..present.min(end - wanted.start) {
                prefetch_line::<SECOND>(first.wrapping_add(line * CACHE_LINE_BYTES));
            }
        }
        wanted.start = end;
    }
}

/// Asks for some cells that lie side by side, of which none need to exist.
pub(super) fn prefetch_cells(first: *const f64, n: usize) {
    let bytes = first.cast::<u8>();
    for line in 0..(n * size_of::<f64>()).div_ceil(CACHE_LINE_BYTES) {
        prefetch_line::<SECOND>(bytes.wrapping_add(line * CACHE_LINE_BYTES));
    }
}

/// Asks for a value that will be read soon, into the nearest cache.
#[inline]
pub fn prefetch_cell(values: &[f32], index: usize) {
    prefetch_line::<NEAREST>(values.as_ptr().wrapping_add(index).cast());
}

/// Asks for what lies at an address and will be read soon, into the nearest cache. Nothing needs to be present.
#[inline]
pub fn prefetch_address(address: usize) {
    prefetch_line::<NEAREST>(std::ptr::without_provenance(address));
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch_line<const CACHE: i32>(address: *const u8) {
    // SAFETY: a prefetch never faults, and every x86-64 processor has it.
    unsafe { std::arch::x86_64::_mm_prefetch::<CACHE>(address.cast()) };
}

/// Other processors' instructions for it are not to be had yet.
#[cfg(not(target_arch = "x86_64"))]
fn prefetch_line<const CACHE: i32>(_address: *const u8) {}
#[cfg(not(target_arch = "x86_64"))]
const NEAREST: i32 = 0;
#[cfg(not(target_arch = "x86_64"))]
const SECOND: i32 = 1;
