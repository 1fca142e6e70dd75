//! SIMD kernels, mostly over blocks of 512 rows, one implementation per instruction set.
//!
//! ```text
//! transpose     rows of a table      -> f32, column by column
//! quantise      f32 of a column      -> rank among the thresholds of the column, as bit planes
//! thermometer   bit planes           -> for each threshold a mask of the rows above it
//! evaluate      masks                -> for each tree the class of each row, as bit planes
//! classes       bit planes           -> a byte per row
//! add           bytes, class values  -> sums
//! ```
//!
//! `score::plan` explains how these steps score a forest. Explaining scores uses `transpose` and `shapley`, ranking uses `bins`,
//! `collect` and `count`, growing uses `at_or_below`, and drawing uses `twist`, `temper` and `select_low`. A [`Kernel`] has all of
//! these steps. [`Portable`] is the kernel in plain Rust, and every other kernel equals it bit for bit. No step branches on data.
//!
//! This is the only folder with `unsafe` code. It is needed for instructions that not every processor has (a kernel proves that its
//! processor has them, because only `detect` makes one), and for unchecked accesses whose bounds the constructors of [`TreeLogic`],
//! [`Search`] and [`Bins`] have checked.

#![allow(
    clippy::indexing_slicing,
    reason = "kernels work on blocks of fixed sizes, asserted where plans are made; a wrong index is a defect, and a panic becomes an exception at the boundary"
)]
#![allow(unsafe_code, reason = "the one folder where it is allowed")]
#![allow(
    clippy::inline_always,
    reason = "only what is inlined gets the instructions of the kernel it is inlined into"
)]

/// Calls a function with the depth of a search as its constant parameter, so that the compiler knows the number of steps. A search
/// deeper than [`search::MAX_DEPTH`] has no ranks as bit planes, and panics.
macro_rules! at_depth {
    ($depth:expr, $function:ident($($argument:expr),*)) => {
        match $depth {
            0 | 1 => $function::<1>($($argument),*),
            2 => $function::<2>($($argument),*),
            3 => $function::<3>($($argument),*),
            4 => $function::<4>($($argument),*),
            5 => $function::<5>($($argument),*),
            6 => $function::<6>($($argument),*),
            7 => $function::<7>($($argument),*),
            8 => $function::<8>($($argument),*),
            depth => {
                assert!(depth == 9, "a search of {depth} steps");
                $function::<9>($($argument),*)
            }
        }
    };
}

/// Evaluates an expression with the kernel in use.
macro_rules! with_kernel {
    ($kernel:ident => $call:expr) => {
        match $crate::simd::Choice::get() {
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Choice::Avx512($kernel) => $call,
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Choice::Avx2($kernel) => $call,
            #[cfg(target_arch = "aarch64")]
            $crate::simd::Choice::Neon($kernel) => $call,
            $crate::simd::Choice::Portable($kernel) => $call,
        }
    };
}
pub(crate) use with_kernel;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bins;
mod bits;
mod convert;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, reason = "the portable kernel does not search by them")
)]
mod i16_keys;
mod lanes;
mod logic;
// On other processors the source is tested over emulated instructions.
#[cfg(any(target_arch = "aarch64", test))]
mod neon;
mod portable;
mod prefetch;
mod search;
pub mod shapley;
#[cfg(test)]
mod tests;
mod tree;
mod twister;

use std::ops::Range;
use std::sync::OnceLock;

use ndarray::ArrayView1;

use crate::error::{Error, Result};
use crate::matrix::Matrix;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use bins::{
    BIN_BYTES_PER_QUERY, BINNED_VALUES, BinCounter, BinMap, Binned, Bins, COUNTER_BYTES_PER_QUERY, FEW_BINS_BYTES,
};
pub use bits::{BLOCK_ROWS, Mask, WORDS};
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use portable::Portable;
pub use prefetch::{prefetch_address, prefetch_cell};
pub use search::{MAX_THRESHOLDS, Search, Threshold, n_masks};
use shapley::{ShapleyBlock, ShapleyScratch, ShapleyTree};
pub use tree::{Path, Split, TreeLogic};
pub use twister::{MIDDLE_WORD, STATE_WORDS, WordBytes, tempered, twisted};

/// Rows that are transposed and quantised at once.
pub const TILE_ROWS: usize = 64;
/// Maximum number of bits of a class.
pub const MAX_PLANES: usize = 8;
/// Maximum number of thresholds that a kernel can count values against.
pub const MAX_COUNTED_THRESHOLDS: usize = (1 << search::MAX_DEPTH) - 1;

/// The ranks of a block of values as bit planes, and the missing values.
#[derive(Debug, Clone)]
pub struct Planes {
    /// Plane `b` holds bit `b` of every rank. Among few thresholds ([`Search::is_unary`]) it holds the values above threshold `b`.
    pub bits: [Mask; search::MAX_DEPTH],
    /// Rows whose value is NaN; their rank is 0.
    pub missing: Mask,
}

impl Planes {
    /// Planes without any bits.
    pub const NONE: Self = Self {
        bits: [Mask::NONE; search::MAX_DEPTH],
        missing: Mask::NONE,
    };
}

/// The value that each class of a tree adds to a sum.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct ClassValues {
    table: [f64; 256],
    /// Byte `k` of the values of the first classes, for lookups of bytes.
    #[cfg(target_arch = "x86_64")]
    bytes: [[u8; TABLED_CLASSES]; 8],
    len: usize,
}

/// Classes whose values are also stored byte by byte.
#[cfg(target_arch = "x86_64")]
const TABLED_CLASSES: usize = 32;

impl ClassValues {
    /// Stores the values of classes 0, 1, 2, ...; at most 256.
    ///
    /// # Panics
    /// When there are more.
    #[must_use]
    pub fn new(values: &[f64]) -> Self {
        let mut table = [0.0; 256];
        table[..values.len()].copy_from_slice(values);
        Self {
            #[cfg(target_arch = "x86_64")]
            bytes: std::array::from_fn(|k| std::array::from_fn(|class| table[class].to_le_bytes()[k])),
            table,
            len: values.len(),
        }
    }
}

/// Counts of values against the thresholds of a search.
#[derive(Debug, Clone)]
pub struct BlockCounter {
    /// Number of values above each threshold, in eight parts to be summed; the list may be longer than the thresholds.
    pub above: Vec<Mask>,
    /// Number of values equal to each threshold, in eight parts to be summed.
    pub equal: Vec<Mask>,
    /// Number of counted values.
    pub n: u64,
    /// Number of NaN, which are not counted.
    pub n_missing: u64,
    /// Number of values left out, which the caller counts in another way.
    pub n_left_out: u64,
    /// Whether every threshold equals its query exactly: the origin is 0, and all queries are f32.
    pub exact: bool,
}

impl BlockCounter {
    /// Creates a counter that has counted nothing yet.
    #[must_use]
    pub fn new(search: &Search, exact: bool) -> Self {
        Self {
            above: vec![Mask::NONE; search.len().next_multiple_of(search::GROUP)],
            equal: vec![Mask::NONE; search.len().next_multiple_of(search::GROUP)],
            n: 0,
            n_missing: 0,
            n_left_out: 0,
            exact,
        }
    }
}

/// A buffer for tiles of a block: `stride` values per column, of which the tile begins at `first`.
#[derive(Debug)]
pub struct Tile<'a> {
    /// All columns, one after another.
    pub values: &'a mut [f32],
    /// Values per column.
    pub stride: usize,
    /// First row of the tile in its column.
    pub first: usize,
}

/// The steps of scoring, ranking and growing for one instruction set; the module describes them.
pub trait Kernel: Copy + Send + Sync {
    /// Returns the name that `ISOXIDE_KERNEL` uses.
    fn name(self) -> &'static str;

    /// Copies some rows of the given columns (ascending) into a tile as f32: up to [`TILE_ROWS`] rows of a row-major array, up to
    /// [`BLOCK_ROWS`] of any other table.
    fn transpose(self, matrix: &Matrix<'_>, rows: Range<usize>, columns: &[u32], tile: &mut Tile<'_>);

    /// Ranks the values of a tile, whose column `j` belongs to `searches[j]`, into some words of the planes.
    fn quantise(self, searches: &[Search], tile: &Tile<'_>, planes: &mut [Planes], words: Range<usize>);

    /// Writes the masks of all thresholds ([`Search::n_masks`]) for the first `rows` rows.
    fn thermometer(self, search: &Search, planes: &Planes, rows: usize, masks: &mut [Mask]);

    /// Evaluates a tree on the rows of slot 0, which are among the first `rows`.
    fn evaluate(
        self,
        tree: &TreeLogic,
        masks: &[Mask],
        slots: &mut [Mask],
        rows: usize,
        planes: &mut [Mask; MAX_PLANES],
    );

    /// Combines the bits of each row's class into a byte, for the rows of whole tiles.
    fn classes(self, planes: &[Mask], classes: &mut [u8]);

    /// Adds to each sum the value of its class in the first tree, then in the second, and so on, for the rows of whole tiles.
    fn add(self, values: &[ClassValues], classes: &[[u8; BLOCK_ROWS]], sums: &mut [f64]);

    /// Writes the bin of each value, and returns the number of NaN.
    fn bins(self, map: &BinMap, values: &[f64], bins: &mut [u16]) -> u64 {
        map.fill(values, bins)
    }

    /// Copies some rows of columns to `out`, column after column, at a distance of `stride` cells; fast for columns that are
    /// neighbours in a row-major table.
    ///
    /// # Panics
    /// When there are no such rows, or `out` is too short.
    fn collect(self, columns: &[ArrayView1<'_, f64>], rows: Range<usize>, out: &mut [f64], stride: usize) {
        portable::collect(columns, rows, out, stride);
    }

    /// Returns whether the kernel implements [`count`](Self::count).
    fn counts(self) -> bool {
        false
    }

    /// Counts values by their keys `(value - origin) as f32`; all thresholds of the search differ. Returns the values that were
    /// left out because their key equals a threshold and does not decide.
    fn count(self, _search: &Search, _origin: f64, _values: &[f64; BLOCK_ROWS], _counter: &mut BlockCounter) -> Mask {
        Mask::ALL
    }

    /// Writes one bit for each value, a word per 64 values: whether the value is at or below a threshold, or NaN if `or_missing`.
    fn at_or_below(self, values: &[f32], threshold: f32, or_missing: bool, marks: &mut [u64]) {
        portable::at_or_below(values, threshold, or_missing, marks);
    }

    /// Adds the Shapley values of a tree to those of a block; [`shapley`] describes the steps.
    ///
    /// # Panics
    /// When the block or the scratch memory is too small for the tree.
    fn shapley(self, tree: &ShapleyTree, block: &mut ShapleyBlock<'_>, scratch: &mut ShapleyScratch) {
        portable::shapley(tree, block, scratch);
    }

    /// Advances a Mersenne Twister to its next state.
    fn twist(self, state: &mut [u32; STATE_WORDS]) {
        twister::twist(state);
    }

    /// Writes the outputs of a Mersenne Twister that belong to the words of its state.
    fn temper(self, state: &[u32; STATE_WORDS], outputs: &mut [WordBytes; STATE_WORDS]) {
        twister::temper(state, outputs);
    }

    /// Returns whether [`select_low`](Self::select_low) selects several words at a time.
    fn selects_together(self) -> bool {
        false
    }

    /// Masks words, copies those that are at most `top` to the front of `kept`, in their order, and returns their number. What comes
    /// behind them is arbitrary.
    ///
    /// # Panics
    /// When there are more words than `kept` has room for.
    fn select_low(self, words: &[WordBytes], mask: u32, top: u32, kept: &mut [WordBytes]) -> usize {
        assert!(words.len() <= kept.len());
        twister::select_low(words, mask, top, kept, 0)
    }

    /// Prefetches share `part` of `parts` of the cells of some rows, which will be read soon. May do nothing.
    fn prefetch(self, matrix: &Matrix<'_>, rows: Range<usize>, part: usize, parts: usize) {
        prefetch::prefetch_rows(matrix, rows, part, parts);
    }

    /// Prefetches the cells of some rows and columns of a row-major table, which will be read soon. May do nothing.
    fn prefetch_columns(self, matrix: &Matrix<'_>, rows: Range<usize>, columns: Range<usize>) {
        prefetch::prefetch_columns(matrix, rows, columns);
    }
}

/// Names of all kernels, for all processors.
const NAMES: [&str; 4] = ["avx512", "avx2", "neon", "portable"];

/// A kernel chosen at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The kernel for AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// The kernel for AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// The kernel for NEON.
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    /// The kernel in plain Rust.
    Portable(Portable),
}

impl Choice {
    /// Returns the kernels that this processor can run, the fastest first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        [
            #[cfg(target_arch = "x86_64")]
            Avx512::detect().map(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(Self::Avx2),
            #[cfg(target_arch = "aarch64")]
            Neon::detect().map(Self::Neon),
            Some(Self::Portable(Portable)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Returns the kernel with this name, or the fastest one if the name is empty.
    ///
    /// # Errors
    /// [`Error::Kernel`] when there is no such kernel, or this processor cannot run it.
    pub fn by_name(name: &str) -> Result<Self> {
        let all = Self::all();
        let choice = all.iter().find(|choice| name.is_empty() || choice.name() == name);
        choice.copied().ok_or_else(|| Error::Kernel {
            name: name.to_owned(),
            exists: NAMES.contains(&name),
            available: all.iter().map(|choice| choice.name()).collect(),
        })
    }

    /// Returns the kernel that the environment variable `ISOXIDE_KERNEL` requests, or the fastest one if it is empty or not set.
    /// Every computation asks here first, so that nothing is computed with another kernel than the requested one.
    ///
    /// # Errors
    /// [`Error::Kernel`] when there is no such kernel, or this processor cannot run it.
    pub fn requested() -> Result<Self> {
        Self::chosen().clone()
    }

    /// Returns the kernel in use; the portable one if [`requested`](Self::requested) fails.
    #[must_use]
    pub fn get() -> Self {
        Self::chosen().as_ref().copied().unwrap_or(Self::Portable(Portable))
    }

    /// Reads the environment on the first call.
    fn chosen() -> &'static Result<Self> {
        static CHOSEN: OnceLock<Result<Choice>> = OnceLock::new();
        CHOSEN.get_or_init(|| Self::by_name(&std::env::var_os("ISOXIDE_KERNEL").unwrap_or_default().to_string_lossy()))
    }

    /// Calls [`Kernel::bins`] of the kernel.
    pub fn bins(self, map: &BinMap, values: &[f64], bins: &mut [u16]) -> u64 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(kernel) => kernel.bins(map, values, bins),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(kernel) => kernel.bins(map, values, bins),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(kernel) => kernel.bins(map, values, bins),
            Self::Portable(kernel) => kernel.bins(map, values, bins),
        }
    }

    /// Calls [`Kernel::at_or_below`] of the kernel.
    pub fn at_or_below(self, values: &[f32], threshold: f32, or_missing: bool, marks: &mut [u64]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(kernel) => kernel.at_or_below(values, threshold, or_missing, marks),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(kernel) => kernel.at_or_below(values, threshold, or_missing, marks),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(kernel) => kernel.at_or_below(values, threshold, or_missing, marks),
            Self::Portable(kernel) => kernel.at_or_below(values, threshold, or_missing, marks),
        }
    }

    /// Calls [`Kernel::transpose`] of the kernel.
    pub fn transpose(self, matrix: &Matrix<'_>, rows: Range<usize>, columns: &[u32], tile: &mut Tile<'_>) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(kernel) => kernel.transpose(matrix, rows, columns, tile),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(kernel) => kernel.transpose(matrix, rows, columns, tile),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(kernel) => kernel.transpose(matrix, rows, columns, tile),
            Self::Portable(kernel) => kernel.transpose(matrix, rows, columns, tile),
        }
    }

    /// Calls [`Kernel::shapley`] of the kernel.
    pub fn shapley(self, tree: &ShapleyTree, block: &mut ShapleyBlock<'_>, scratch: &mut ShapleyScratch) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(kernel) => kernel.shapley(tree, block, scratch),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(kernel) => kernel.shapley(tree, block, scratch),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(kernel) => kernel.shapley(tree, block, scratch),
            Self::Portable(kernel) => kernel.shapley(tree, block, scratch),
        }
    }

    /// Returns the name that `ISOXIDE_KERNEL` uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(kernel) => kernel.name(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(kernel) => kernel.name(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(kernel) => kernel.name(),
            Self::Portable(kernel) => kernel.name(),
        }
    }
}
