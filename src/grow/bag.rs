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
///
/// This is a radix sort, from the lowest byte to the highest one. It has no branch that depends on a row, and so takes half the time
/// of other sorts.
fn ascending(mut rows: Vec<usize>, n: usize) -> Vec<usize> {
    const DIGIT_BITS: u32 = 8;
    /// Number of rows for which counting takes longer than comparing.
    const FEW_ROWS: usize = 32;
    if rows.is_sorted() {
        return rows;
    }
    if rows.len() <= FEW_ROWS {
        rows.sort_unstable();
        return rows;
    }
    let mut sorted = vec![0; rows.len()];
    for shift in (0..usize::BITS - n.leading_zeros()).step_by(DIGIT_BITS as usize) {
        let digit = |row: usize| row >> shift & ((1 << DIGIT_BITS) - 1);
        // After the counts are summed, the rows with digit `i` begin at `starts[i]`.
        let mut starts = [0_usize; (1 << DIGIT_BITS) + 1];
        for &row in &rows {
            starts[digit(row) + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        for &row in &rows {
            let position = &mut starts[digit(row)];
            sorted[*position] = row;
            *position += 1;
        }
        std::mem::swap(&mut rows, &mut sorted);
    }
    rows
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
