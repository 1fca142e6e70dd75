//! Partition of a node's rows into left and right, in exactly the order in which scikit-learn leaves them.
//!
//! The order of rows within a node is part of the result, because the noise sums follow it. scikit-learn goes over the rows from
//! the front; a row that goes right is swapped with the last row not visited yet, which is visited next (`_partitioner.pyx`). That
//! loop branches on every value, and the branch is mispredicted half the time. Its result can be computed directly.
//!
//! The first `n_left` positions are the front, the others the back. The front holds as many rows that go right, `R_0, R_1, ...`
//! from the front, as the back holds rows that go left, `L_0, L_1, ...` from the end. Then:
//!
//! - `L_k` moves to the position of `R_k`; all other rows of the front stay.
//! - The rows of the back move one position towards the front, `R_0` moves to the end, and `R_k+1` moves to the new position of `L_k`.
//!   If there is no `R_k+1`, the row that was moved out of the back takes that position.

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
        // One additional word makes sure that the front ends within a word.
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

    /// Moves the items that belong to the rows.
    pub(super) fn apply<T: Copy>(&self, items: &mut [T]) {
        let Self {
            front, back, n_left, n, ..
        } = self;
        let (n, n_left) = (*n, *n_left);
        if n_left == n {
            return;
        }
        let out_of_back = items[n_left];
        items.copy_within(n_left + 1..n, n_left);
        items[n - 1] = front.first().map_or(out_of_back, |&first| items[first as usize]);
        // The new position of each `L_k` is free for the next of the `R`.
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
            items[position] = out_of_back;
        } else {
            items[position] = items[last as usize - 1];
            items[last as usize - 1] = out_of_back;
        }
    }
}

/// Appends the positions of the ones of a word, ascending.
fn push_ones(mut word: u64, start: usize, positions: &mut Vec<u32>) {
    while word != 0 {
        positions.push(start as u32 + word.trailing_zeros());
        word &= word - 1;
    }
}

/// Appends the positions of the ones of some words, descending.
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

    /// Partitions in scikit-learn's loop.
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
    fn all_small_cases() {
        for n in 0..10 {
            for bits in 0..1 << n {
                check((0..n).map(|i| f32::from(u8::from(bits >> i & 1 == 1))).collect(), 0.5);
            }
        }
    }
}
