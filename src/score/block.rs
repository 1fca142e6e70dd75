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

/// Columns of a row-major table that are compared with a block before the next columns, or up to twice as many: the caches keep their
/// planes and two tiles of their cells.
const RUN_COLUMNS: usize = 64;
/// Most columns of a run.
const MAX_RUN_COLUMNS: usize = 2 * RUN_COLUMNS - 1;

/// Columns between two prefetches of a part of the next tile: the processor waits for requests that come too fast.
const COLUMNS_PER_PREFETCH: usize = 4;

/// Memory that a worker needs beside the plan; under a megabyte for a plan of usual size.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Cells of a tile, or of a whole block if rows may have to be walked.
    cells: Vec<f32>,
    /// Planes of the columns of a run.
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
        let n_cells = if has_exits {
            plan.max_columns.saturating_mul(BLOCK_ROWS)
        } else {
            BLOCK_ROWS
        };
        let n_cells = n_cells.max(MAX_RUN_COLUMNS * TILE_ROWS);
        Account::new().take(needed(&[
            (n_cells, size_of::<f32>()),
            (MAX_RUN_COLUMNS, size_of::<Planes>()),
            (plan.max_masks + plan.max_slots, size_of::<Mask>()),
        ]))?;
        Ok(Self {
            cells: vec![0.0; n_cells],
            planes: vec![Planes::NONE; MAX_RUN_COLUMNS],
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
        for (index, group) in self.plan.groups.iter().enumerate() {
            if x.is_row_major() {
                // Another group compares the same rows again.
                let is_last = index + 1 == self.plan.groups.len();
                let next = is_large.then_some(if is_last { &next } else { &rows });
                self.compare_rows(group, x, rows.clone(), next, scratch);
            } else {
                self.compare_columns(group, x, rows.clone(), scratch);
            }
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

    /// Compares rows of a row-major table with all thresholds of a group. If the rows `next` are given, which will be compared after
    /// them, it prefetches one tile ahead.
    ///
    /// ```text
    /// for each run of columns:                  # their planes stay in the cache until they are complete
    ///     for each tile of 64 rows:             # the next tile is prefetched meanwhile
    ///         transpose, quantise
    ///     thermometer
    /// ```
    fn compare_rows(
        &self,
        group: &Group,
        x: &Matrix<'_>,
        rows: Range<usize>,
        next: Option<&Range<usize>>,
        scratch: &mut Scratch,
    ) {
        let Scratch {
            cells, planes, masks, ..
        } = scratch;
        let n_runs = (group.columns.len() / RUN_COLUMNS).max(1);
        let run_len = group.columns.len().div_ceil(n_runs).max(1);
        let mut runs = group.columns.chunks(run_len).enumerate().peekable();
        while let Some((run, columns)) = runs.next() {
            let start = run * run_len;
            let searches = &group.searches[start..start + columns.len()];
            for (word, top) in rows.clone().step_by(TILE_ROWS).enumerate() {
                let tile_rows = top..rows.end.min(top + TILE_ROWS);
                let ahead = next.map(|next| {
                    let (rows, columns) = if tile_rows.end < rows.end {
                        (tile_rows.end..rows.end, columns)
                    } else if let Some((_, columns)) = runs.peek() {
                        (rows.clone(), *columns)
                    } else {
                        (next.clone(), &group.columns[..run_len])
                    };
                    let columns = columns[0] as usize..columns[columns.len() - 1] as usize + 1;
                    (rows.start..rows.end.min(rows.start + TILE_ROWS), columns)
                });
                let (stride, first) = if group.has_exits {
                    (BLOCK_ROWS, word * TILE_ROWS)
                } else {
                    (TILE_ROWS, 0)
                };
                let values = if group.has_exits {
                    &mut cells[start * stride..]
                } else {
                    &mut cells[..]
                };
                let values = &mut values[..columns.len() * stride];
                let mut tile = Tile { values, stride, first };
                self.kernel.transpose(x, tile_rows, columns, &mut tile);
                let Some((rows, ahead_columns)) = ahead else {
                    self.kernel.quantise(searches, &tile, planes, word..word + 1);
                    continue;
                };
                let n_parts = columns.len().div_ceil(COLUMNS_PER_PREFETCH);
                let parts = searches
                    .chunks(COLUMNS_PER_PREFETCH)
                    .zip(tile.values.chunks_mut(COLUMNS_PER_PREFETCH * stride))
                    .zip(planes.chunks_mut(COLUMNS_PER_PREFETCH));
                for (part, ((searches, values), planes)) in parts.enumerate() {
                    let row = |part| rows.start + rows.len() * part / n_parts;
                    self.kernel
                        .prefetch_columns(x, row(part)..row(part + 1), ahead_columns.clone());
                    let tile = Tile { values, stride, first };
                    self.kernel.quantise(searches, &tile, planes, word..word + 1);
                }
            }
            for ((search, planes), &first) in searches.iter().zip(planes.iter()).zip(&group.first_masks[start..]) {
                let masks = &mut masks[first..first + search.n_masks()];
                self.kernel.thermometer(search, planes, rows.len(), masks);
            }
        }
    }

    /// Compares rows of a table that is not row-major with all thresholds of a group.
    fn compare_columns(&self, group: &Group, x: &Matrix<'_>, rows: Range<usize>, scratch: &mut Scratch) {
        let Scratch {
            cells, planes, masks, ..
        } = scratch;
        let planes = &mut planes[..1];
        let columns = group.columns.chunks(1).zip(group.searches.chunks(1));
        for (index, ((column, search), &first_mask)) in columns.zip(&group.first_masks).enumerate() {
            // Each column replaces the one before it, unless walked rows need the cells later.
            let first = if group.has_exits { index * BLOCK_ROWS } else { 0 };
            let mut tile = Tile {
                values: &mut cells[first..first + BLOCK_ROWS],
                stride: BLOCK_ROWS,
                first: 0,
            };
            self.kernel.transpose(x, rows.clone(), column, &mut tile);
            let words = 0..rows.len().div_ceil(TILE_ROWS);
            self.kernel.quantise(search, &tile, planes, words);
            let masks = &mut masks[first_mask..first_mask + search[0].n_masks()];
            self.kernel.thermometer(&search[0], &planes[0], rows.len(), masks);
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
        // The rows of whole tiles: those behind the last row are added to sums that nothing reads.
        let n_tiled = n_rows.next_multiple_of(TILE_ROWS);
        let sums = &mut sums[0][..n_tiled];
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
                self.kernel
                    .classes(&planes[..tree.logic.n_planes()], &mut classes[i][..n_tiled]);
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
