//! Percentile ranks: a reference and queries become counts, and counts become percentiles.
//!
//! Columns are counted in groups. The columns of a row-major reference are copied out of it first (`column_blocks`). Groups are
//! divided among the workers. If there are too few groups, the rows of each group are divided instead, and their counts are merged.
//! Counts are integers, so neither changes a result. In addition to input and output, memory holds only the queries, counts and
//! column blocks of the groups in progress.

#![allow(
    clippy::indexing_slicing,
    reason = "positions come from searches in the very tables they index; a wrong one is a defect, and a panic becomes an exception at the boundary"
)]

mod column_blocks;
pub mod counts;
mod f32_keys;
pub mod mergeable;
pub mod percentile;
pub mod sorted;

use std::ops::Range;

use ndarray::{Array2, ArrayView1, Zip, s};

use crate::error::{Error, Result};
use crate::matrix::{Column, Matrix};
use crate::memory;
use crate::simd::Choice;
use crate::threads::{self, Workers};
use counts::{Countable, Counter, Counts, Queries};

pub use percentile::{Definition, Kind, NanPolicy, Rank, Tail};

/// Maximum number of columns counted together.
const MAX_GROUP_COLUMNS: usize = 64;
/// Maximum number of queries in a group of columns, unless one column has more.
const MAX_GROUP_QUERIES: usize = 1 << 21;
/// Maximum bytes of a query beside its counts: what [`Queries`] holds of it, a counter, and its rank.
const QUERY_BYTES: usize = counts::QUERY_BYTES + counts::COUNTER_QUERY_BYTES + 2 * size_of::<Rank>();
/// Bytes of a query's counts in one share of the reference.
const COUNT_BYTES: usize = 2 * size_of::<u64>();
/// Bytes of a column while it is counted, without its queries: its column block, and the histograms and masks for few queries.
const COLUMN_OVERHEAD_BYTES: usize = column_blocks::BYTES_PER_COLUMN + counts::COUNTER_BYTES;
/// Rows counted at once.
const CHUNK_ROWS: usize = 1024;
/// Chunks counted between two checks for cancellation.
const CHUNKS_PER_CHECK: usize = 64;
/// Minimum number of rows that are worth handing to another worker.
const MIN_SHARE_ROWS: usize = 16 * CHUNK_ROWS;
/// Chunks per worker: a worker that starts late or runs slowly delays the others by a fraction of its work only.
const CHUNKS_PER_WORKER: usize = 4;

/// Ranks of all cells of a table, column-major.
#[derive(Debug, Clone)]
pub struct Ranks {
    /// Percentiles from 0 to 100, or NaN.
    pub percentiles: Array2<f64>,
    /// Directions, see [`Rank::direction`].
    pub directions: Array2<i8>,
}

/// Ranks each cell `rows[i, j]` among the column `j` of the reference.
///
/// Two columns of integers are compared as integers, all others as f64 (large integers are rounded, as in NumPy).
///
/// # Errors
/// [`Error::ColumnCount`] when the numbers of columns differ; [`Error::Kernel`]; [`Error::Memory`]; [`Error::Interrupted`].
pub fn percentile_ranks<'w>(
    reference: &Matrix<'_>,
    rows: &Matrix<'_>,
    definition: Definition,
    workers: impl Into<Workers<'w>>,
) -> Result<Ranks> {
    if rows.n_columns() != reference.n_columns() {
        return Err(Error::ColumnCount {
            actual: rows.n_columns(),
            expected: reference.n_columns(),
        });
    }
    let workers = workers.into();
    let width = group_width(rows.n_rows());
    let n_groups = reference.n_columns().div_ceil(width);
    let split_rows = n_groups < CHUNKS_PER_WORKER * workers.n() && reference.n_rows() >= 2 * MIN_SHARE_ROWS;
    let alone = workers.at_most(1);
    let (outer, inner) = if split_rows { (alone, workers) } else { (workers, alone) };
    let in_flight = reference.n_columns().min(width.saturating_mul(outer.n()));
    let sets_of_counts = n_shares(reference.n_rows(), inner).saturating_add(1).saturating_mul(2);
    memory::check_available(&[
        (
            in_flight.saturating_mul(rows.n_rows()),
            sets_of_counts.saturating_mul(COUNT_BYTES).saturating_add(QUERY_BYTES),
        ),
        (in_flight.saturating_mul(inner.n()), COLUMN_OVERHEAD_BYTES),
        (
            outer.n().max(inner.n()),
            column_blocks::Shape::of(rows.n_rows()).extra_bytes(),
        ),
        (
            in_flight.saturating_mul(rows.n_rows()).saturating_mul(inner.n() - 1),
            counts::COUNTER_QUERY_BYTES,
        ),
    ])?;
    filled(rows.n_rows(), rows.n_columns(), |columns| {
        threads::for_each_chunk(
            columns,
            width,
            outer,
            || Ok(()),
            |(), group, columns| {
                let first = group * width;
                let queries = threads::map(columns.len(), inner, |j| {
                    let integers = matches!(reference.column(first + j), Column::I64(_));
                    Ok(ColumnQueries::new(rows.column(first + j), integers))
                })?;
                let pairs: Vec<Pair<'_, '_>> = queries
                    .iter()
                    .enumerate()
                    .map(|(j, queries)| Pair::new(reference.column(first + j), queries))
                    .collect();
                let counts = count(&pairs, reference.n_rows(), inner)?;
                threads::for_each_chunk(
                    columns,
                    1,
                    inner,
                    || Ok(()),
                    |(), j, columns| {
                        let ranks = percentile::ranks(&counts[j], definition);
                        queries[j].fill(rows.column(first + j), &ranks, &mut columns[0]);
                        Ok(())
                    },
                )
            },
        )
    })
}

/// Returns the number of columns to count together: fewer if the counts of `n_rows` rows take much memory.
fn group_width(n_rows: usize) -> usize {
    (MAX_GROUP_QUERIES / n_rows.max(1)).clamp(1, MAX_GROUP_COLUMNS)
}

/// One column of the result.
struct RankColumn<'o> {
    percentiles: &'o mut [f64],
    directions: &'o mut [i8],
}

impl RankColumn<'_> {
    fn fill(&mut self, ranks: impl Iterator<Item = Rank>) {
        let cells = self.percentiles.iter_mut().zip(self.directions.iter_mut());
        for ((percentile, direction), rank) in cells.zip(ranks) {
            (*percentile, *direction) = (rank.percentile, rank.direction);
        }
    }
}

/// Makes a result whose columns `fill` writes; a result without rows has no columns to write.
fn filled(n_rows: usize, n_columns: usize, fill: impl FnOnce(&mut [RankColumn<'_>]) -> Result<()>) -> Result<Ranks> {
    let n_cells = n_rows.saturating_mul(n_columns);
    memory::check_available(&[
        (n_cells, size_of::<f64>() + size_of::<i8>()),
        (n_columns, size_of::<RankColumn<'_>>()),
    ])?;
    let mut percentiles = Array2::zeros((n_columns, n_rows));
    let mut directions = Array2::zeros((n_columns, n_rows));
    if let (Some(percentiles), Some(directions)) = (percentiles.as_slice_mut(), directions.as_slice_mut()) {
        let directions = directions.chunks_mut(n_rows.max(1));
        let mut columns: Vec<RankColumn<'_>> = percentiles
            .chunks_mut(n_rows.max(1))
            .zip(directions)
            .map(|(percentiles, directions)| RankColumn {
                percentiles,
                directions,
            })
            .collect();
        fill(&mut columns)?;
    }
    Ok(Ranks {
        percentiles: percentiles.reversed_axes(),
        directions: directions.reversed_axes(),
    })
}

/// The queries of a column, in the type in which they are compared.
#[derive(Debug, Clone)]
enum ColumnQueries {
    Integers(Queries<i64>),
    Floats(Queries<f64>),
}

impl ColumnQueries {
    /// Collects the queries of a column. Integers are compared as integers only if `integers` is set.
    fn new(rows: Column<'_>, integers: bool) -> Self {
        match rows {
            Column::I64(rows) if integers => Self::Integers(Queries::new(rows.iter().copied())),
            rows => Self::Floats(Queries::new(floats(rows))),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Integers(queries) => queries.len(),
            Self::Floats(queries) => queries.len(),
        }
    }

    /// Writes the rank of each row's value.
    fn fill(&self, rows: Column<'_>, ranks: &[Rank], out: &mut RankColumn<'_>) {
        match (self, rows) {
            (Self::Integers(queries), Column::I64(rows)) => fill(&rows.to_vec(), queries, ranks, out),
            (Self::Floats(queries), rows) => fill(&floats(rows), queries, ranks, out),
            // Integer queries are only made of integer rows.
            (Self::Integers(_), _) => {}
        }
    }
}

fn fill<T: Countable>(values: &[T], queries: &Queries<T>, ranks: &[Rank], out: &mut RankColumn<'_>) {
    let mut cells = out.percentiles.iter_mut().zip(out.directions.iter_mut());
    queries.for_each_position(values, |position| {
        // Only a NaN is not among the queries.
        let rank = position.map_or(Rank::NONE, |k| ranks[k]);
        if let Some((percentile, direction)) = cells.next() {
            (*percentile, *direction) = (rank.percentile, rank.direction);
        }
    });
}

/// A column of the reference, and the queries it is counted for.
enum Pair<'r, 'q> {
    Integers(ArrayView1<'r, i64>, &'q Queries<i64>),
    Floats(Column<'r>, &'q Queries<f64>),
    /// Integer queries compared as f64 with a column of floats: the f64 queries, and the position of each integer among them.
    Mixed(Column<'r>, Box<Queries<f64>>, Vec<usize>),
}

impl<'r, 'q> Pair<'r, 'q> {
    fn new(reference: Column<'r>, queries: &'q ColumnQueries) -> Self {
        match (reference, queries) {
            (Column::I64(reference), ColumnQueries::Integers(queries)) => Self::Integers(reference, queries),
            (reference, ColumnQueries::Floats(queries)) => Self::Floats(reference, queries),
            (reference, ColumnQueries::Integers(queries)) => {
                let values = || queries.values().iter().map(|&value| value as f64);
                let floats = Queries::new(values());
                let positions = values()
                    .map(|value| floats.position(value).unwrap_or_default())
                    .collect();
                Self::Mixed(reference, Box::new(floats), positions)
            }
        }
    }

    fn n_queries(&self) -> usize {
        match self {
            Self::Integers(_, queries) => queries.len(),
            Self::Floats(_, queries) => queries.len(),
            Self::Mixed(_, queries, _) => queries.len(),
        }
    }

    fn counter(&self) -> PairCounter<'r, '_> {
        match self {
            Self::Integers(reference, queries) => PairCounter::Integers(*reference, Counter::new(queries)),
            Self::Floats(reference, queries) => PairCounter::Floats(*reference, Counter::new(queries)),
            Self::Mixed(reference, queries, _) => PairCounter::Floats(*reference, Counter::new(queries)),
        }
    }

    /// Returns the counts of each original query, given those of the compared queries.
    fn counts(&self, counts: Counts) -> Counts {
        match self {
            Self::Integers(..) | Self::Floats(..) => counts,
            Self::Mixed(_, _, positions) => counts.at_positions(positions),
        }
    }
}

/// The counter of one pair, and the column that it counts.
enum PairCounter<'r, 't> {
    Integers(ArrayView1<'r, i64>, Counter<'t, i64>),
    Floats(Column<'r>, Counter<'t, f64>),
}

impl<'r> PairCounter<'r, '_> {
    fn add(&mut self, rows: Range<usize>, buffers: &mut Buffers) {
        match self {
            Self::Integers(reference, counter) => counter.add(read(reference, rows, &mut buffers.integers)),
            Self::Floats(Column::F64(reference), counter) => counter.add(read(reference, rows, &mut buffers.floats)),
            Self::Floats(Column::F32(reference), counter) => {
                counter.add(convert(reference, rows, &mut buffers.floats, f64::from));
            }
            Self::Floats(Column::I64(reference) | Column::I64AsF64(reference), counter) => {
                counter.add(convert(reference, rows, &mut buffers.floats, |x| x as f64));
            }
        }
    }

    /// Returns the column if its values do not lie side by side and are compared as f64.
    fn scattered(&self) -> Option<Column<'r>> {
        match self {
            Self::Floats(column, _) if !column.is_contiguous() => Some(*column),
            _ => None,
        }
    }

    /// Counts values of the column that have been converted to f64.
    fn add_floats(&mut self, values: &[f64]) {
        if let Self::Floats(_, counter) = self {
            counter.add(values);
        }
    }

    fn finish(self) -> Counts {
        match self {
            Self::Integers(_, counter) => counter.finish(),
            Self::Floats(_, counter) => counter.finish(),
        }
    }
}

/// Buffers for chunks of a column that is not contiguous or has another type.
struct Buffers {
    integers: [i64; CHUNK_ROWS],
    floats: [f64; CHUNK_ROWS],
}

fn read<'t, T: Copy>(column: &ArrayView1<'t, T>, rows: Range<usize>, buffer: &'t mut [T; CHUNK_ROWS]) -> &'t [T] {
    match column.slice_move(s![rows.clone()]).to_slice() {
        Some(values) => values,
        None => convert(column, rows, buffer, |x| x),
    }
}

fn convert<'t, S: Copy, T>(
    column: &ArrayView1<'_, S>,
    rows: Range<usize>,
    buffer: &'t mut [T; CHUNK_ROWS],
    cast: impl Fn(S) -> T,
) -> &'t [T] {
    let buffer = &mut buffer[..rows.len()];
    copy(*column, rows, buffer, cast);
    buffer
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "views are passed by value, as everywhere in ndarray"
)]
fn copy<S: Copy, T>(column: ArrayView1<'_, S>, rows: Range<usize>, out: &mut [T], cast: impl Fn(S) -> T) {
    // ndarray's own loop handles strides; an iterator over a strided view would check for its end at every step.
    Zip::from(out)
        .and(column.slice(s![rows]))
        .for_each(|cell, &x| *cell = cast(x));
}

fn floats(column: Column<'_>) -> Vec<f64> {
    match column {
        Column::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Column::F64(v) => v.to_vec(),
        Column::I64(v) | Column::I64AsF64(v) => v.iter().map(|&x| x as f64).collect(),
    }
}

/// Returns the number of shares of the reference that are counted separately.
fn n_shares(n_rows: usize, workers: Workers<'_>) -> usize {
    let shared_out = if workers.n() == 1 {
        1
    } else {
        (CHUNKS_PER_WORKER * workers.n()).min(n_rows / MIN_SHARE_ROWS).max(1)
    };
    // Each share must be small enough for one counter.
    shared_out.max(n_rows.div_ceil(counts::MAX_COUNTED_VALUES as usize - CHUNK_ROWS))
}

/// Returns the rows of a share. Every share but the last one is a whole number of chunks; the last shares may be empty.
fn share_rows(share: usize, n_shares: usize, n_rows: usize) -> Range<usize> {
    let share_len = n_rows.div_ceil(n_shares).next_multiple_of(CHUNK_ROWS);
    let end = n_rows.min((share + 1).saturating_mul(share_len));
    share.saturating_mul(share_len).min(end)..end
}

/// Counts the values of each pair over all rows of the reference.
fn count(pairs: &[Pair<'_, '_>], n_rows: usize, workers: Workers<'_>) -> Result<Vec<Counts>> {
    Choice::requested()?;
    let n_shares = n_shares(n_rows, workers);
    let shares = threads::map(n_shares, workers, |share| {
        count_rows(pairs, share_rows(share, n_shares, n_rows), workers)
    })?;
    let sum = shares.into_iter().reduce(|mut sums, share| {
        sums.iter_mut().zip(&share).for_each(|(sum, share)| sum.add(share));
        sums
    });
    Ok(sum.unwrap_or_default())
}

fn count_rows(pairs: &[Pair<'_, '_>], rows: Range<usize>, workers: Workers<'_>) -> Result<Vec<Counts>> {
    let mut counters: Vec<PairCounter<'_, '_>> = pairs.iter().map(Pair::counter).collect();
    let mut buffers = Buffers {
        integers: [0; CHUNK_ROWS],
        floats: [0.0; CHUNK_ROWS],
    };
    let mut scattered = Vec::new();
    for (k, counter) in counters.iter_mut().enumerate() {
        if let Some(column) = counter.scattered() {
            scattered.push((k, column));
            continue;
        }
        for (chunk, start) in rows.clone().step_by(CHUNK_ROWS).enumerate() {
            if chunk % CHUNKS_PER_CHECK == 0 {
                workers.check_cancelled()?;
            }
            counter.add(start..rows.end.min(start + CHUNK_ROWS), &mut buffers);
        }
    }
    let check_cancelled = || workers.check_cancelled();
    let shape = column_blocks::Shape::of(pairs.iter().map(Pair::n_queries).max().unwrap_or(0));
    column_blocks::for_each_chunk(&scattered, &rows, shape, check_cancelled, |k, values| {
        counters[k].add_floats(values);
    })?;
    let counts = counters.into_iter().map(PairCounter::finish);
    Ok(counts.zip(pairs).map(|(counts, pair)| pair.counts(counts)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_share_fits_in_one_counter() {
        let limit = counts::MAX_COUNTED_VALUES as usize;
        let near = [limit - CHUNK_ROWS, limit, 2 * limit].map(|n| [n - 1, n, n + 1, n + CHUNK_ROWS]);
        for n_rows in near.into_iter().flatten().chain([0, 1, MIN_SHARE_ROWS]) {
            for n_workers in [1, 2, 16] {
                let n_shares = n_shares(n_rows, n_workers.into());
                let mut next = 0;
                for share in 0..n_shares {
                    let rows = share_rows(share, n_shares, n_rows);
                    assert!(rows.start == next && rows.len() <= limit, "{rows:?} of {n_rows}");
                    next = rows.end;
                }
                assert_eq!(next, n_rows, "{n_workers} workers");
            }
        }
    }
}
