//! Prefetching of cells that will be read soon; processors prefetch only what is read in sequence.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0 as NEAREST, _MM_HINT_T1 as SECOND};
use std::ops::Range;

use crate::matrix::Matrix;

/// Bytes of a cache line.
const CACHE_LINE_BYTES: usize = 64;

/// Prefetches share `part` of `parts` of the cells of some rows into the second-level cache.
pub(super) fn prefetch_rows(matrix: &Matrix<'_>, rows: Range<usize>, part: usize, parts: usize) {
    let pieces = matrix.n_pieces();
    // All pieces are treated as f64; a piece of f32 has nothing to prefetch in its second half.
    let cells = rows.len() * matrix.n_columns() / pieces.max(1);
    let lines = (cells * size_of::<f64>()).div_ceil(CACHE_LINE_BYTES);
    let mut remaining = part * lines * pieces / parts..(part + 1) * lines * pieces / parts;
    while !remaining.is_empty() {
        let (piece, line) = (remaining.start / lines, remaining.start % lines);
        let end = remaining.end.min((piece + 1) * lines);
        if let Some(bytes) = matrix.piece(rows.clone(), piece) {
            let first = bytes.start.wrapping_add(line * CACHE_LINE_BYTES);
            let present = (bytes.end.addr().saturating_sub(first.addr())).div_ceil(CACHE_LINE_BYTES);
            for line in 0..present.min(end - remaining.start) {
                prefetch_line::<SECOND>(first.wrapping_add(line * CACHE_LINE_BYTES));
            }
        }
        remaining.start = end;
    }
}

/// Prefetches the cells of some rows and columns of a row-major table into the second-level cache.
pub(super) fn prefetch_columns(matrix: &Matrix<'_>, rows: Range<usize>, columns: Range<usize>) {
    let n_rows = rows.len();
    let Some(bytes) = matrix.piece(rows, 0) else {
        return;
    };
    let n_bytes = bytes.end.addr() - bytes.start.addr();
    let row_bytes = n_bytes / n_rows.max(1);
    let cell_bytes = row_bytes / matrix.n_columns().max(1);
    let (n_pieces, piece_bytes) = if columns.len() == matrix.n_columns() {
        (1, n_bytes)
    } else {
        (n_rows, columns.len() * cell_bytes)
    };
    for row in 0..n_pieces {
        let first = bytes.start.wrapping_add(row * row_bytes + columns.start * cell_bytes);
        // The first cell may lie anywhere in its line.
        let n_bytes = first.addr() % CACHE_LINE_BYTES + piece_bytes;
        for line in 0..n_bytes.div_ceil(CACHE_LINE_BYTES) {
            prefetch_line::<SECOND>(first.wrapping_add(line * CACHE_LINE_BYTES));
        }
    }
}

/// Prefetches contiguous cells, which need not exist.
#[cfg(target_arch = "x86_64")]
pub(super) fn prefetch_cells(first: *const f64, n: usize) {
    let bytes = first.cast::<u8>();
    for line in 0..(n * size_of::<f64>()).div_ceil(CACHE_LINE_BYTES) {
        prefetch_line::<SECOND>(bytes.wrapping_add(line * CACHE_LINE_BYTES));
    }
}

/// Prefetches a value into the nearest cache.
#[inline]
pub fn prefetch_cell(values: &[f32], index: usize) {
    prefetch_line::<NEAREST>(values.as_ptr().wrapping_add(index).cast());
}

/// Prefetches an address, which need not be valid, into the nearest cache.
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

#[cfg(target_arch = "aarch64")]
#[inline]
fn prefetch_line<const CACHE: i32>(address: *const u8) {
    // SAFETY: a prefetch never faults. Rust has no stable function for the instruction.
    unsafe {
        if CACHE == NEAREST {
            std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
        } else {
            std::arch::asm!("prfm pldl2keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
        }
    }
}

/// Does nothing on other processors.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn prefetch_line<const CACHE: i32>(_address: *const u8) {}
#[cfg(not(target_arch = "x86_64"))]
const NEAREST: i32 = 0;
#[cfg(not(target_arch = "x86_64"))]
const SECOND: i32 = 1;
