//! Ranks among sorted columns: two binary searches per query, and no pass over the reference.

use ndarray::ArrayView1;

use super::percentile::{Definition, NanPolicy, Rank, rank};
use super::{Ranks, filled};
use crate::error::{Error, Result};
use crate::matrix::{Column, Matrix};
use crate::memory;
use crate::threads::{self, Workers};

/// Bytes of a query: its value as f64, and its rank.
const QUERY_BYTES: usize = size_of::<f64>() + size_of::<Rank>();

/// A sorted column without NaN: all of its values, or the distinct ones with their counts.
#[derive(Debug, Clone)]
pub struct Sorted<'a> {
    values: Column<'a>,
    /// For each distinct value, the number of values at or below it; `None` if `values` has all values.
    ends: Option<ArrayView1<'a, i64>>,
    n_missing: u64,
}

impl<'a> Sorted<'a> {
    /// Creates a column. The order of the values is not checked: in another order the ranks are wrong, but memory stays safe.
    ///
    /// # Errors
    /// [`Error::RowCount`] when there are not as many `ends` as values.
    pub fn new(values: Column<'a>, ends: Option<ArrayView1<'a, i64>>, n_missing: u64) -> Result<Self> {
        match &ends {
            Some(ends) if ends.len() != values.len() => Err(Error::RowCount {
                label: "the list of counts",
                actual: ends.len(),
                expected: values.len(),
            }),
            _ => Ok(Self {
                values,
                ends,
                n_missing,
            }),
        }
    }

    /// Returns the number of reference values that the first `k` entries stand for.
    fn count(&self, k: usize) -> u64 {
        match &self.ends {
            Some(ends) => k.checked_sub(1).map_or(0, |last| ends[last].max(0) as u64),
            None => k as u64,
        }
    }

    /// Returns the ranks of queries. Two columns of integers are compared as integers, all others as f64.
    fn ranks(&self, queries: Column<'_>, definition: Definition) -> Vec<Rank> {
        let n = match definition.nan_policy {
            NanPolicy::Propagate if self.n_missing > 0 => 0,
            NanPolicy::Propagate | NanPolicy::Omit => self.count(self.values.len()),
        };
        let rank_at = |[below, at_or_below]: [usize; 2]| {
            // If the column is not sorted, the counts may be anything, so they are limited.
            let at_or_below = self.count(at_or_below).min(n);
            rank(self.count(below).min(at_or_below), at_or_below, n, definition)
        };
        if let (Column::I64(values), Column::I64(queries)) = (&self.values, &queries) {
            let bounds = |&query: &i64| bounds(values, |x| x < query, |x| x == query);
            return queries.iter().map(|query| rank_at(bounds(query))).collect();
        }
        let rank = |query: f64| {
            if query.is_nan() {
                return Rank::NONE;
            }
            rank_at(match &self.values {
                Column::F32(v) => bounds(v, |x| f64::from(x) < query, |x| f64::from(x) == query),
                Column::F64(v) => bounds(v, |x| x < query, |x| x == query),
                Column::I64(v) | Column::I64AsF64(v) => bounds(v, |x| (x as f64) < query, |x| x as f64 == query),
            })
        };
        super::floats(queries).into_iter().map(rank).collect()
    }
}

/// Returns the number of entries below a query, and at or below it.
fn bounds<T: Copy>(
    values: &ArrayView1<'_, T>,
    is_below: impl Fn(T) -> bool,
    is_equal: impl Fn(T) -> bool,
) -> [usize; 2] {
    let below = partition_point(0..values.len(), |k| is_below(values[k]));
    let mut end = below;
    // Most queries equal few values, so the search for their end starts with small steps.
    let mut step = 1;
    while end < values.len() && is_equal(values[end]) {
        let next = values.len().min(end + step);
        end = partition_point(end..next, |k| is_equal(values[k]));
        step *= 2;
    }
    [below, end]
}

fn partition_point(mut range: std::ops::Range<usize>, is_before: impl Fn(usize) -> bool) -> usize {
    while !range.is_empty() {
        let middle = range.start + range.len() / 2;
        if is_before(middle) {
            range.start = middle + 1;
        } else {
            range.end = middle;
        }
    }
    range.start
}

/// Ranks each cell `rows[i, j]` among the column `j` of the reference, as [`super::percentile_ranks`] does.
///
/// # Errors
/// [`Error::ColumnCount`] when the numbers of columns differ; [`Error::Memory`]; [`Error::Interrupted`].
pub fn ranks<'w>(
    reference: &[Sorted<'_>],
    rows: &Matrix<'_>,
    definition: Definition,
    workers: impl Into<Workers<'w>>,
) -> Result<Ranks> {
    if rows.n_columns() != reference.len() {
        return Err(Error::ColumnCount {
            actual: rows.n_columns(),
            expected: reference.len(),
        });
    }
    let workers = workers.into();
    memory::check_available(&[(rows.n_rows().saturating_mul(workers.n()), QUERY_BYTES)])?;
    filled(rows.n_rows(), rows.n_columns(), |columns| {
        threads::for_each_chunk(
            columns,
            1,
            workers,
            || Ok(()),
            |(), j, columns| {
                columns[0].fill(reference[j].ranks(rows.column(j), definition).into_iter());
                Ok(())
            },
        )
    })
}
