//! Partitions a node's rows into left and right, in exactly the order of scikit-learn.
//!
//! The order of rows within a node is part of the result, because the noise sums are added in this order. This is scikit-learn's
//! loop (`_partitioner.pyx`):
//!
//! ```text
//! next = 0; end = len(rows)
//! while next < end:
//!     if values[next] <= threshold: next += 1
//!     else: end -= 1; swap(rows[next], rows[end]); swap(values[next], values[end])
//! ```
//!
//! It branches on every value, and the processor mispredicts the branch half the time. This module computes the same order without
//! such a branch.
//!
//! Let `n_left` be the number of rows that go left. The first `n_left` positions are the front, and the others are the back. Let
//! `R_0, R_1, ...` be the rows of the front that go right, in ascending order of position, and `L_0, L_1, ...` the rows of the back
//! that go left, in descending order. There are as many `L` as `R`. Then scikit-learn's loop has this effect:
//!
//! - `L_k` moves to the position of `R_k`. All other rows of the front stay where they are.
//! - All rows of the back move one position towards the front, which takes the first of them out of the back, and `R_0` moves to
//!   the last position. Then `R_k+1` replaces `L_k` in the back. For the last `L_k` there is no `R_k+1`; the row that was taken out
//!   of the back replaces it.

use crate::simd::Choice;

/// The moves that partition the rows of a node.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// One bit per row, set if it goes left.
    marks: Vec<u64>,
    /// Positions in the front of rows that go right, ascending.
    front: Vec<u32>,
    /// Positions in the back of rows that go left, descending; as many as in `front`.
    back: Vec<u32>,
    n_left: usize,
    n: usize,
}

impl Partition {
    /// Computes the moves for rows with these values: values at or below the threshold go left, and missing values if
    /// `missing_left`.
    pub(super) fn prepare(&mut self, values: &[f32], threshold: f32, missing_left: bool) {
        // With one more word than needed, the word in which the front ends always exists.
        self.marks.clear();
        self.marks.resize(values.len() / 64 + 1, 0);
        Choice::get().at_or_below(values, threshold, missing_left, &mut self.marks);
        self.n = values.len();
        self.n_left = self.marks.iter().map(|word| word.count_ones() as usize).sum();
        let (word, bit) = (self.n_left / 64, self.n_left % 64);
        let in_front = (1 << bit) - 1;
        self.front.clear();
        for (i, &mark) in self.marks[..word].iter().enumerate() {
            if mark != u64::MAX {
                push_ones(!mark, 64 * i, &mut self.front);
            }
        }
        push_ones(!self.marks[word] & in_front, 64 * word, &mut self.front);
        self.back.clear();
        self.back.reserve(self.front.len());
        push_ones_reversed(&self.marks[word + 1..], 64 * (word + 1), &mut self.back);
        push_ones_reversed(&[self.marks[word] & !in_front], 64 * word, &mut self.back);
    }

    /// Returns the number of rows that go left.
    pub(super) fn n_left(&self) -> usize {
        self.n_left
    }

    /// Moves items, one per row, as the rows are moved.
    pub(super) fn apply<T: Copy>(&self, items: &mut [T]) {
        let Self {
            front, back, n_left, n, ..
        } = self;
        let (n, n_left) = (*n, *n_left);
        if n_left == n {
            return;
        }
        let taken_out = items[n_left];
        items.copy_within(n_left + 1..n, n_left);
        items[n - 1] = front.first().map_or(taken_out, |&first| items[first as usize]);
        // Each `L_k` except the last one is replaced by `R_k+1`.
        let Some((&last, back)) = back.split_last() else {
            return;
        };
        for (positions, &back) in front.windows(2).zip(back) {
            let (position, next) = (positions[0] as usize, positions[1] as usize);
            let moved = back as usize - 1;
            items[position] = items[moved];
            items[moved] = items[next];
        }
        let position = front[front.len() - 1] as usize;
        if last as usize == n_left {
            items[position] = taken_out;
        } else {
            items[position] = items[last as usize - 1];
            items[last as usize - 1] = taken_out;
        }
    }
}

/// Appends the positions of the set bits of a word, in ascending order.
fn push_ones(mut word: u64, start: usize, positions: &mut Vec<u32>) {
    while word != 0 {
        positions.push(start as u32 + word.trailing_zeros());
        word &= word - 1;
    }
}

/// Appends the positions of the set bits of several words, in descending order.
fn push_ones_reversed(words: &[u64], start: usize, positions: &mut Vec<u32>) {
    for (i, &word) in words.iter().enumerate().rev() {
        let mut word = word;
        while word != 0 {
            let bit = word.ilog2();
            positions.push((start + 64 * i) as u32 + bit);
            word ^= 1 << bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Partitions with scikit-learn's loop.
    fn plain(values: &mut [f32], items: &mut [usize], threshold: f32) -> usize {
        let (mut next, mut end) = (0, items.len());
        while next < end {
            if values[next] <= threshold {
                next += 1;
            } else {
                end -= 1;
                values.swap(next, end);
                items.swap(next, end);
            }
        }
        end
    }

    fn check(mut values: Vec<f32>, threshold: f32) {
        let (mut items, mut expected): (Vec<usize>, Vec<usize>) = (0..values.len()).map(|i| (i, i)).unzip();
        let mut partition = Partition::default();
        partition.prepare(&values, threshold, false);
        partition.apply(&mut items);
        assert_eq!(partition.n_left(), plain(&mut values, &mut expected, threshold));
        assert_eq!(items, expected);
    }

    proptest! {
        #[test]
        fn rows_end_where_scikit_learn_leaves_them(values in prop::collection::vec(0.0..1.0_f32, 0..300), threshold in -0.1..1.1_f32) {
            check(values, threshold);
        }
    }

    #[test]
    fn every_partition_of_up_to_nine_rows_equals_that_of_scikit_learn() {
        for n in 0..10 {
            for bits in 0..1 << n {
                check((0..n).map(|i| f32::from(u8::from(bits >> i & 1 == 1))).collect(), 0.5);
            }
        }
    }
}
