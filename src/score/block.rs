//! Execution of a plan on blocks of rows.

use std::ops::Range;

use super::plan::{Group, Plan};
use super::walk::Walk;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::matrix::csr::Csr;
use crate::memory::{Account, needed};
use crate::simd::{BLOCK_ROWS, Kernel, MAX_PLANES, Mask, Planes, TILE_ROWS, Tile};

/// Trees whose values are added at once: the sums stay in registers meanwhile.
const TREES_PER_ADD: usize = 4;

/// Bytes of a row-major block from which on it no longer stays in the second-level cache beside masks and slots.
const LARGE_BLOCK_BYTES: usize = 256 * 1024;

/// Columns between two prefetches of a large block: requests that come too fast are dropped.
const COLUMNS_PER_PREFETCH: usize = 4;

/// Memory that a worker needs beside the plan; under a megabyte for a plan of usual size.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Columns of a tile, or of a whole block if rows may have to be walked.
    cells: Vec<f32>,
    planes: Vec<Planes>,
    masks: Vec<Mask>,
    slots: Vec<Mask>,
    /// Classes of all rows, per tree that is added.
    classes: Vec<[u8; BLOCK_ROWS]>,
    /// Rows that have taken an exit of the current tree, and the node where they are.
    at_exits: Vec<(u32, u32)>,
    /// Sums of the block; a list of one array, so that it lies on the heap.
    sums: Vec<[f64; BLOCK_ROWS]>,
}

impl Scratch {
    pub(super) fn new(plan: &Plan) -> Result<Self> {
        let has_exits = plan.groups.iter().any(|group| group.has_exits);
        let stride = if has_exits { BLOCK_ROWS } else { TILE_ROWS };
        let n_cells = plan.max_columns.saturating_mul(stride).max(BLOCK_ROWS);
        Account::new().take(needed(&[
            (n_cells, size_of::<f32>()),
            (plan.max_columns, size_of::<Planes>()),
            (plan.max_masks + plan.max_slots, size_of::<Mask>()),
        ]))?;
        Ok(Self {
            cells: vec![0.0; n_cells],
            planes: vec![Planes::NONE; plan.max_columns],
            masks: vec![Mask::NONE; plan.max_masks],
            slots: vec![Mask::NONE; plan.max_slots],
            classes: vec![[0; BLOCK_ROWS]; TREES_PER_ADD],
            at_exits: Vec::with_capacity(if has_exits { BLOCK_ROWS } else { 0 }),
            sums: vec![[0.0; BLOCK_ROWS]],
        })
    }
}

/// A plan, the walk for rows that leave it, and the kernel that runs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runner<'a, K> {
    pub(super) plan: &'a Plan,
    pub(super) walk: &'a Walk,
    pub(super) kernel: K,
}

impl<K: Kernel> Runner<'_, K> {
    /// Writes the sums of path lengths of up to [`BLOCK_ROWS`] rows; prefetches the rows `next`, which follow them, meanwhile.
    pub(super) fn dense(
        &self,
        x: &Matrix<'_>,
        rows: Range<usize>,
        next: Range<usize>,
        scratch: &mut Scratch,
        out: &mut [f64],
    ) {
        let n_trees = self.walk.n_trees();
        // The trees leave a small block in the cache until it is compared; of a large one only a tile.
        let is_large = x.is_row_major() && BLOCK_ROWS * x.n_columns() * size_of::<f64>() > LARGE_BLOCK_BYTES;
        scratch.sums.fill([0.0; BLOCK_ROWS]);
        for group in &self.plan.groups {
            let prefetch_end = if is_large { next.end } else { 0 };
            self.compare(group, x, rows.clone(), prefetch_end, scratch);
            let prefetch = |tree| {
                if !next.is_empty() && !is_large {
                    self.kernel.prefetch(x, next.clone(), tree, n_trees);
                }
            };
            let cell = |cells: &[f32], row, column| cells[group.index_or_first(column) * BLOCK_ROWS + row as usize];
            self.evaluate_trees::<true>(group, rows.len(), scratch, prefetch, cell);
        }
        out.copy_from_slice(&scratch.sums[0][..rows.len()]);
    }

    /// Writes the sums of path lengths of up to [`BLOCK_ROWS`] rows of a sparse matrix. Their missing values always go right, as in
    /// scikit-learn.
    pub(super) fn sparse(&self, x: &Csr<'_>, rows: Range<usize>, scratch: &mut Scratch, out: &mut [f64]) {
        scratch.sums.fill([0.0; BLOCK_ROWS]);
        for group in &self.plan.groups {
            compare_sparse(group, x, rows.clone(), &mut scratch.masks);
            let cell = |_: &[f32], row: u32, column: u32| x.cell(rows.start + row as usize, column as usize);
            self.evaluate_trees::<false>(group, rows.len(), scratch, |_| (), cell);
        }
        out.copy_from_slice(&scratch.sums[0][..rows.len()]);
    }

    /// Compares the rows with all thresholds of a group. Meanwhile it prefetches the next tile of a row-major table, up to
    /// row `prefetch_end`.
    fn compare(&self, group: &Group, x: &Matrix<'_>, rows: Range<usize>, prefetch_end: usize, scratch: &mut Scratch) {
        let Scratch {
            cells, planes, masks, ..
        } = scratch;
        if x.is_row_major() {
            let stride = if group.has_exits { BLOCK_ROWS } else { TILE_ROWS };
            let values = &mut cells[..group.columns.len() * stride];
            for (word, top) in rows.clone().step_by(TILE_ROWS).enumerate() {
                let first = if group.has_exits { word * TILE_ROWS } else { 0 };
                let mut tile = Tile { values, stride, first };
                let rows = top..rows.end.min(top + TILE_ROWS);
                let later = rows.end..prefetch_end.min(rows.end + TILE_ROWS);
                self.kernel.transpose(x, rows, &group.columns, &mut tile);
                if later.is_empty() {
                    self.kernel.quantise(&group.searches, &tile, planes, word..word + 1);
                    continue;
                }
                let n_parts = group.searches.len().div_ceil(COLUMNS_PER_PREFETCH);
                let searches = group.searches.chunks(COLUMNS_PER_PREFETCH);
                let planes = planes.chunks_mut(COLUMNS_PER_PREFETCH);
                let values = tile.values.chunks_mut(COLUMNS_PER_PREFETCH * stride);
                for (part, ((searches, planes), values)) in searches.zip(planes).zip(values).enumerate() {
                    self.kernel.prefetch(x, later.clone(), part, n_parts);
                    let tile = Tile { values, stride, first };
                    self.kernel.quantise(searches, &tile, planes, word..word + 1);
                }
            }
        } else {
            // Each column replaces the one before it, unless walked rows need the cells later.
            let columns = group.columns.chunks(1).zip(group.searches.chunks(1));
            for (index, (column, search)) in columns.enumerate() {
                let first = if group.has_exits { index * BLOCK_ROWS } else { 0 };
                let mut tile = Tile {
                    values: &mut cells[first..first + BLOCK_ROWS],
                    stride: BLOCK_ROWS,
                    first: 0,
                };
                self.kernel.transpose(x, rows.clone(), column, &mut tile);
                let words = 0..rows.len().div_ceil(TILE_ROWS);
                self.kernel.quantise(search, &tile, &mut planes[index..=index], words);
            }
        }
        for ((search, planes), &first) in group.searches.iter().zip(planes).zip(&group.first_masks) {
            let masks = &mut masks[first..first + search.n_masks()];
            self.kernel.thermometer(search, planes, rows.len(), masks);
        }
    }

    /// Evaluates the trees of a group on the rows, given the masks. `prefetch` gets the index of the current tree; `cell` returns
    /// the value of a row that has to be walked.
    fn evaluate_trees<const MISSING: bool>(
        &self,
        group: &Group,
        n_rows: usize,
        scratch: &mut Scratch,
        prefetch: impl Fn(usize),
        cell: impl Fn(&[f32], u32, u32) -> f32,
    ) {
        let Scratch {
            cells,
            masks,
            slots,
            classes,
            sums,
            at_exits,
            ..
        } = scratch;
        let sums = &mut sums[0];
        let mut planes = [Mask::NONE; MAX_PLANES];
        let rows = Mask::first(n_rows);
        let batches = group
            .trees
            .chunks(TREES_PER_ADD)
            .zip(group.values.chunks(TREES_PER_ADD));
        for (batch, (trees, values)) in batches.enumerate() {
            // Values of the trees before this index have been added.
            let mut added = 0;
            for (i, tree) in trees.iter().enumerate() {
                let index = group.first_tree + batch * TREES_PER_ADD + i;
                prefetch(index);
                slots[0] = rows;
                self.kernel.evaluate(&tree.logic, masks, slots, n_rows, &mut planes);
                self.kernel.classes(&planes[..tree.logic.n_planes()], &mut classes[i]);
                if tree.exits.is_empty() {
                    continue;
                }
                // Path lengths must be added in the order of the trees: those of the trees so far come first.
                self.kernel.add(&values[added..=i], &classes[added..=i], sums);
                added = i + 1;
                at_exits.clear();
                for exit in &tree.exits {
                    // Bits behind the rows of this block are left from earlier blocks.
                    let taken = slots[exit.slot].rows().take_while(|&row| row < n_rows);
                    at_exits.extend(taken.map(|row| (row as u32, exit.node)));
                }
                let value = |row, column| cell(cells, row, column);
                let add = |row, value| sums[row as usize] += value;
                self.walk.walk_on::<MISSING>(index, at_exits, value, add);
            }
            self.kernel.add(&values[added..], &classes[added..trees.len()], sums);
        }
    }
}

/// Writes the masks of sparse rows: those of zeros, with the bits of stored cells corrected.
fn compare_sparse(group: &Group, x: &Csr<'_>, rows: Range<usize>, masks: &mut [Mask]) {
    for (search, &first) in group.searches.iter().zip(&group.first_masks) {
        for (threshold, mask) in search.thresholds().iter().zip(&mut masks[first..]) {
            let leaving = (0.0 > threshold.value) != threshold.inverted;
            *mask = if leaving { Mask::ALL } else { Mask::NONE };
        }
    }
    for (i, row) in rows.enumerate() {
        let (word, bit) = (i / 64, 1 << (i % 64));
        for (column, value) in x.row(row) {
            let Some(index) = group.index_of(column) else {
                continue;
            };
            let masks = &mut masks[group.first_masks[index]..];
            for (threshold, mask) in group.searches[index].thresholds().iter().zip(masks) {
                // Missing values go right.
                let leaving = (value > threshold.value || value.is_nan()) != threshold.inverted;
                mask.0[word] = mask.0[word] & !bit | if leaving { bit } else { 0 };
            }
        }
    }
}
