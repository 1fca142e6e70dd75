//! Turns the rows and columns that a tree drew into the order in which the tree grows on them.

use crate::error::Result;
use crate::random::sampling::Weights;
use crate::random::streams::{self, Bag, Bagging};
use crate::threads::Workers;

/// The columns of a tree in the order drawn, and its distinct rows in ascending order.
#[derive(Debug, Clone)]
pub(super) struct InBag {
    pub(super) features: Vec<usize>,
    pub(super) rows: Vec<usize>,
    /// Number of times that each row was drawn; empty without bootstrap, when every row was drawn once.
    pub(super) weights: Vec<f64>,
}

impl InBag {
    /// Draws the columns and rows of the trees with these seeds.
    pub(super) fn draw(
        seeds: &[u32],
        bagging: &Bagging,
        weights: Option<&Weights>,
        workers: Workers<'_>,
    ) -> Result<Vec<Self>> {
        let bags = streams::bags(seeds, bagging, weights, workers)?.into_iter();
        Ok(bags.map(|bag| Self::new(bag, bagging)).collect())
    }

    fn new(bag: Bag, bagging: &Bagging) -> Self {
        let Bag { features, rows } = bag;
        let (rows, weights) = if rows.len() >= bagging.n_samples / 8 && !rows.is_sorted() {
            count_repeats(&rows, bagging.n_samples)
        } else {
            let rows = ascending(rows, bagging.n_samples);
            if bagging.bootstrap {
                let distinct = rows.chunk_by(|a, b| a == b);
                distinct.map(|same| (same[0], same.len() as f64)).unzip()
            } else {
                (rows, Vec::new())
            }
        };
        Self {
            features,
            rows,
            weights: if bagging.bootstrap { weights } else { Vec::new() },
        }
    }
}

/// Returns the distinct rows in ascending order, and how often each occurs. It is fast if a large part of all `n` rows was drawn.
fn count_repeats(rows: &[usize], n: usize) -> (Vec<usize>, Vec<f64>) {
    let mut times = vec![0_u32; n];
    for &row in rows {
        times[row] += 1;
    }
    let (mut distinct, mut weights) = (vec![0; rows.len() + 1], vec![0.0; rows.len() + 1]);
    let mut n_kept = 0;
    // Every row is written, and the next one overwrites it if it was not drawn. A branch would often be mispredicted.
    for (row, times) in times.into_iter().enumerate() {
        distinct[n_kept] = row;
        weights[n_kept] = f64::from(times);
        n_kept += usize::from(times > 0);
    }
    distinct.truncate(n_kept);
    weights.truncate(n_kept);
    (distinct, weights)
}

/// Sorts rows in ascending order; all of them are below `n`.
fn ascending(rows: Vec<usize>, n: usize) -> Vec<usize> {
    if rows.is_sorted() {
        return rows;
    }
    // This is a counting sort with as many buckets as rows: rows are drawn evenly, so most buckets get about one row.
    let scale = ((rows.len() as u64) << 32) / n as u64;
    // The product cannot overflow: `row < n`, so it is below 2^32 times the number of rows, which is below 2^32 itself.
    let bucket = |row: usize| ((row as u64 * scale) >> 32) as usize;
    let mut starts = vec![0_u32; rows.len() + 2];
    for &row in &rows {
        starts[bucket(row) + 2] += 1;
    }
    for i in 2..starts.len() {
        starts[i] += starts[i - 1];
    }
    let mut sorted = vec![0; rows.len()];
    for &row in &rows {
        let position = &mut starts[bucket(row) + 1];
        sorted[*position as usize] = row;
        *position += 1;
    }
    for ends in starts.windows(2) {
        let bucket = &mut sorted[ends[0] as usize..ends[1] as usize];
        if bucket.len() > 1 {
            bucket.sort_unstable();
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn drawn_rows_are_sorted_and_counted(n in 1_usize..100_000, shares in prop::collection::vec(0.0..1.0_f64, 1..300), narrow: bool) {
            let spread = if narrow { 0.001 } else { 1.0 };
            let rows: Vec<usize> = shares.iter().map(|share| (n as f64 * share * spread) as usize).collect();
            let mut expected = rows.clone();
            expected.sort_unstable();
            prop_assert_eq!(&ascending(rows.clone(), n), &expected);
            let (distinct, weights) = count_repeats(&rows, n);
            let repeated = distinct.iter().zip(weights).flat_map(|(&row, times)| vec![row; times as usize]);
            prop_assert_eq!(repeated.collect::<Vec<_>>(), expected);
            prop_assert!(distinct.is_sorted_by(|a, b| a < b));
        }
    }
}
