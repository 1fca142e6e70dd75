//! Mergeable counts for ranks: the counts of the partitions of a table add up to the counts of the whole table.

use super::counts::{Counts, Queries};
use super::percentile::{self, Definition, Rank};
use super::{
    COLUMN_OVERHEAD_BYTES, COUNT_BYTES, ColumnQueries, Pair, QUERY_BYTES, Ranks, count, filled, floats, group_width,
    n_shares,
};
use crate::bytes::{Reader, Writer};
use crate::error::{Error, Result};
use crate::matrix::{Column, Matrix};
use crate::memory;
use crate::threads::Workers;

/// Maximum number of values that can be counted: beyond 2^53 a double is no longer exact.
const MAX_VALUES: u64 = 1 << 53;
/// Stored position of a NaN.
const NO_POSITION: u64 = u64::MAX;
const SIGNATURE: [u8; 8] = *b"isoxrk1\n";
/// Bytes that a column takes in addition to its queries.
const QUERIES_OVERHEAD_BYTES: usize = size_of::<ColumnCounts>() + 1024;
/// Bytes of a stored column without rows.
const MIN_COLUMN_BYTES: usize = 7 * size_of::<u64>();

/// Counts of the values of each column of a reference below, and at or below, each cell of the ranked rows.
#[derive(Debug, Clone)]
pub struct RankCounts {
    n_rows: usize,
    columns: Vec<ColumnCounts>,
}

#[derive(Debug, Clone)]
struct ColumnCounts {
    queries: ColumnQueries,
    /// Position of the value of each row among the queries; `None` for a NaN.
    positions: Vec<Option<u32>>,
    counts: Counts,
}

impl ColumnCounts {
    fn new(rows: Column<'_>) -> Self {
        let queries = match rows {
            Column::I64(_) => ColumnQueries::new(rows, true),
            // Adding 0.0 turns negative zeros into positive ones, so the stored query does not depend on which sign came first.
            rows => ColumnQueries::Floats(Queries::new(floats(rows).into_iter().map(|value| value + 0.0))),
        };
        let position = |position: Option<usize>| position.and_then(|position| u32::try_from(position).ok());
        let positions = match (&queries, rows) {
            (ColumnQueries::Integers(queries), Column::I64(rows)) => {
                rows.iter().map(|&value| position(queries.position(value))).collect()
            }
            (ColumnQueries::Floats(queries), rows) => floats(rows)
                .into_iter()
                .map(|value| position(queries.position(value)))
                .collect(),
            (ColumnQueries::Integers(_), _) => Vec::new(),
        };
        let counts = Counts::none(queries.len());
        Self {
            queries,
            positions,
            counts,
        }
    }
}

impl RankCounts {
    /// Creates counts of an empty reference for the cells of these rows.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Partitions`] when there are more than 2^32 - 2 rows.
    pub fn new(rows: &Matrix<'_>) -> Result<Self> {
        let n_rows = rows.n_rows();
        if n_rows >= u32::MAX as usize {
            return Err(Error::Partitions(format!(
                "cannot rank {n_rows} rows at once; rank fewer than 2^32 - 1"
            )));
        }
        memory::check_available(&[
            (n_rows.saturating_mul(rows.n_columns()), QUERY_BYTES + COUNT_BYTES),
            (rows.n_columns(), QUERIES_OVERHEAD_BYTES),
        ])?;
        Ok(Self {
            n_rows,
            columns: memory::collected((0..rows.n_columns()).map(|j| ColumnCounts::new(rows.column(j))))?,
        })
    }

    /// Counts a partition of the reference. Two columns of integers are compared as integers, all others as f64.
    ///
    /// # Errors
    /// [`Error::ColumnCount`], [`Error::Kernel`], [`Error::Memory`], [`Error::Interrupted`]; nothing is counted then.
    pub fn add<'w>(&mut self, partition: &Matrix<'_>, workers: impl Into<Workers<'w>>) -> Result<()> {
        let workers = workers.into();
        if partition.n_columns() != self.columns.len() {
            return Err(Error::ColumnCount {
                actual: partition.n_columns(),
                expected: self.columns.len(),
            });
        }
        self.check_total(partition.n_rows() as u64)?;
        let width = group_width(self.n_rows);
        let in_flight = width.min(self.columns.len());
        let sets_of_counts = n_shares(partition.n_rows(), workers)
            .saturating_add(1)
            .saturating_mul(2);
        memory::check_available(&[
            (self.n_rows.saturating_mul(self.columns.len()), COUNT_BYTES),
            (self.columns.len(), size_of::<Counts>() + 64),
            (
                self.n_rows.saturating_mul(in_flight),
                sets_of_counts.saturating_mul(COUNT_BYTES).saturating_add(QUERY_BYTES),
            ),
            (in_flight.saturating_mul(workers.n()), COLUMN_OVERHEAD_BYTES),
        ])?;
        let mut counted = memory::with_capacity(self.columns.len())?;
        for (group, columns) in self.columns.chunks(width).enumerate() {
            let pairs: Vec<Pair<'_, '_>> = columns
                .iter()
                .enumerate()
                .map(|(j, column)| Pair::new(partition.column(group * width + j), &column.queries))
                .collect();
            let counts = count(&pairs, partition.n_rows(), workers)?;
            counted.extend(counts);
        }
        for (column, counts) in self.columns.iter_mut().zip(&counted) {
            column.counts.add(counts);
        }
        Ok(())
    }

    /// Adds the counts of another partition, made for the same rows.
    ///
    /// # Errors
    /// [`Error::Partitions`] when they were made for other rows.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let same_queries = |(a, b): (&ColumnCounts, &ColumnCounts)| {
            a.positions == b.positions
                && match (&a.queries, &b.queries) {
                    (ColumnQueries::Integers(a), ColumnQueries::Integers(b)) => a.values() == b.values(),
                    (ColumnQueries::Floats(a), ColumnQueries::Floats(b)) => a.values() == b.values(),
                    _ => false,
                }
        };
        let columns = self.columns.iter().zip(&other.columns);
        if self.n_rows != other.n_rows
            || self.columns.len() != other.columns.len()
            || !columns.clone().all(same_queries)
        {
            return Err(Error::Partitions(
                "cannot merge these counts: they were made for other rows".into(),
            ));
        }
        self.check_total(other.n())?;
        for (column, other) in self.columns.iter_mut().zip(&other.columns) {
            column.counts.add(&other.counts);
        }
        Ok(())
    }

    fn check_total(&self, added: u64) -> Result<()> {
        if self.n().saturating_add(added) > MAX_VALUES {
            return Err(Error::Partitions(format!(
                "cannot count more than {MAX_VALUES} rows of a reference"
            )));
        }
        Ok(())
    }

    /// Returns the number of ranked rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Returns the number of columns.
    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.columns.len()
    }

    /// Returns the number of reference rows counted so far.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.columns.first().map_or(0, |column| column.counts.n())
    }

    /// Returns the number of NaN in each column of the reference counted so far.
    #[must_use]
    pub fn n_missing(&self) -> impl ExactSizeIterator<Item = u64> {
        self.columns.iter().map(|column| column.counts.n_missing())
    }

    /// Returns the values of one column of the ranked rows, as f64.
    #[must_use]
    pub fn values(&self, column: usize) -> Vec<f64> {
        let Some(ColumnCounts { queries, positions, .. }) = self.columns.get(column) else {
            return Vec::new();
        };
        let value = |&position: &Option<u32>| {
            let position = position? as usize;
            match queries {
                ColumnQueries::Integers(queries) => queries.values().get(position).map(|&value| value as f64),
                ColumnQueries::Floats(queries) => queries.values().get(position).copied(),
            }
        };
        positions
            .iter()
            .map(|position| value(position).unwrap_or(f64::NAN))
            .collect()
    }

    /// Returns the ranks of all cells among the values counted so far.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn ranks(&self, definition: Definition) -> Result<Ranks> {
        filled(self.n_rows, self.columns.len(), |out| {
            for (column, out) in self.columns.iter().zip(out) {
                let ranks = percentile::ranks(&column.counts, definition);
                let rank = |position: &Option<u32>| {
                    let rank = position.and_then(|position| ranks.get(position as usize));
                    rank.copied().unwrap_or(Rank::NONE)
                };
                out.fill(column.positions.iter().map(rank));
            }
            Ok(())
        })
    }

    /// Serializes the counts.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let numbers = |column: &ColumnCounts| column.positions.len().saturating_add(3 * column.queries.len());
        let n_numbers = self.columns.iter().map(numbers).fold(0, usize::saturating_add);
        let mut writer = Writer::with_capacity(
            SIGNATURE,
            memory::needed(&[
                (n_numbers, size_of::<u64>()),
                (self.columns.len(), MIN_COLUMN_BYTES),
                (2, size_of::<u64>()),
            ]),
        )?;
        writer.put(self.n_rows as u64);
        writer.put(self.columns.len() as u64);
        for column in &self.columns {
            match &column.queries {
                ColumnQueries::Integers(queries) => {
                    writer.put(0);
                    writer.put_all(queries.values().iter().map(|&value| value.cast_unsigned()));
                }
                ColumnQueries::Floats(queries) => {
                    writer.put(1);
                    writer.put_all(queries.values().iter().map(|value| value.to_bits()));
                }
            }
            writer.put_all(
                column
                    .positions
                    .iter()
                    .map(|position| position.map_or(NO_POSITION, u64::from)),
            );
            writer.put_all(column.counts.below().iter().copied());
            writer.put_all(column.counts.at_or_below().iter().copied());
            writer.put(column.counts.n());
            writer.put(column.counts.n_missing());
        }
        Ok(writer.finish())
    }

    /// Deserializes counts.
    ///
    /// # Errors
    /// [`Error::File`] when the bytes are not valid counts; [`Error::Memory`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("counts of ranks", SIGNATURE, bytes)?;
        let (n_rows, n_columns) = (reader.take()?, reader.take()?);
        // A stored column has a smallest size, which limits the number of columns.
        let n_possible = (bytes.len() / MIN_COLUMN_BYTES) as u64;
        memory::check_available(&[(n_columns.min(n_possible) as usize, QUERIES_OVERHEAD_BYTES)])?;
        let mut columns: Vec<ColumnCounts> = memory::with_capacity(n_columns.min(n_possible) as usize)?;
        for _ in 0..n_columns {
            let integers = match reader.take()? {
                0 => true,
                1 => false,
                _ => return Err(reader.invalid("the type of a column is unknown")),
            };
            let values = reader.take_all()?;
            let positions = reader.take_all()?;
            let (below, at_or_below) = (reader.take_all()?, reader.take_all()?);
            let (n, n_missing) = (reader.take()?, reader.take()?);
            let n_values = values.len();
            let queries = if integers {
                ColumnQueries::Integers(Queries::new(values.iter().map(|&value| value.cast_signed())))
            } else {
                ColumnQueries::Floats(Queries::new(values.iter().map(|&value| f64::from_bits(value))))
            };
            // Positions and counts belong to ascending values without a negative zero.
            let in_order = match &queries {
                ColumnQueries::Integers(queries) => {
                    let queries = queries.values().iter().map(|value| value.cast_unsigned());
                    queries.eq(values)
                }
                ColumnQueries::Floats(queries) => {
                    let queries = queries.values().iter().map(|value| (value + 0.0).to_bits());
                    queries.eq(values)
                }
            };
            let are_positions = positions
                .iter()
                .all(|&position| position < n_values as u64 || position == NO_POSITION);
            let counts =
                read_counts(&queries, below, at_or_below, n, n_missing).filter(|_| in_order && n <= MAX_VALUES);
            let same_n = columns.first().is_none_or(|first| first.counts.n() == n);
            let (Some(counts), true) = (counts, are_positions && same_n && positions.len() as u64 == n_rows) else {
                return Err(reader.invalid("its counts contradict each other"));
            };
            let positions = positions
                .into_iter()
                .map(|position| u32::try_from(position).ok())
                .collect();
            columns.push(ColumnCounts {
                queries,
                positions,
                counts,
            });
        }
        reader.end()?;
        let n_rows = usize::try_from(n_rows).unwrap_or(usize::MAX);
        if n_rows >= u32::MAX as usize {
            return Err(reader.invalid("it has too many rows"));
        }
        Ok(Self { n_rows, columns })
    }
}

/// Makes counts of stored numbers; `None` if they cannot be the counts of these queries.
///
/// Counts for integers may add up partitions of integers and partitions of floats. To the latter, all integers that round to the
/// same double are one query, so a value can be at or below one of these integers without being below the next one. Such values are
/// subtracted first; the remaining counts must be consistent as usual.
fn read_counts(
    queries: &ColumnQueries,
    mut below: Vec<u64>,
    mut at_or_below: Vec<u64>,
    n: u64,
    n_missing: u64,
) -> Option<Counts> {
    if (below.len(), at_or_below.len()) != (queries.len(), queries.len()) {
        return None;
    }
    let ColumnQueries::Integers(queries) = queries else {
        return Counts::from_stored(below, at_or_below, n, n_missing);
    };
    let (mut starts, mut ends, mut positions) = (Vec::new(), Vec::new(), Vec::with_capacity(queries.len()));
    let (mut lows, mut highs) = (below.as_mut_slice(), at_or_below.as_mut_slice());
    let mut start = 0_u64;
    for same in queries.values().chunk_by(|&a, &b| a as f64 == b as f64) {
        let (low, high) = (lows.split_off_mut(..same.len())?, highs.split_off_mut(..same.len())?);
        let next = low.iter().skip(1);
        let shared = high.iter().zip(next).map(|(&high, &next)| high.saturating_sub(next));
        let end = start.checked_add(shared.max().unwrap_or(0))?;
        for (low, high) in low.iter_mut().zip(high) {
            (*low, *high) = (low.checked_sub(start)?, high.checked_sub(end)?);
        }
        positions.resize(positions.len() + same.len(), starts.len());
        starts.push(start);
        ends.push(end);
        start = end;
    }
    let mut counts = Counts::from_stored(below, at_or_below, n.checked_sub(start)?, n_missing)?;
    counts.add(&Counts::from_stored(starts, ends, start, 0)?.at_positions(&positions));
    Some(counts)
}
