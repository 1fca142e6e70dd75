//! The noise target of an integer seed: the first doubles of a `RandomState`, or only those that are read.
//!
//! The generator's states are made one after another, but only the requested words are tempered.

use super::mt19937::State;
use super::random_state::double_of;
use crate::error::Result;
use crate::memory;
use crate::simd::{STATE_WORDS, tempered};

/// Doubles made of one state.
const DOUBLES_PER_STATE: usize = STATE_WORDS / 2;
/// Maximum number of bytes that [`doubles_at`] takes for each position.
pub(super) const BYTES_PER_POSITION: usize =
    size_of::<(usize, usize)>() + size_of::<f64>() + MAX_STATES_PER_POSITION * size_of::<usize>();
/// Maximum number of states per position for which positions are sorted by counting.
const MAX_STATES_PER_POSITION: usize = 4;
/// States made between two calls of `check_cancelled`: about a millisecond.
const STATES_PER_CHECK: usize = 1 << 12;

/// Returns the first `n` doubles of `RandomState(seed)`; calls `check_cancelled` at intervals.
///
/// # Errors
/// [`Error::Memory`](crate::error::Error::Memory), and the errors of `check_cancelled`.
pub(super) fn doubles(seed: u32, n: usize, check_cancelled: impl Fn() -> Result<()>) -> Result<Vec<f64>> {
    let [mut state] = State::new([seed]);
    memory::check_available(&[(n, size_of::<f64>())])?;
    let mut out = vec![0.0; n];
    let mut words = [[0; _]; STATE_WORDS];
    for (index, out) in out.chunks_mut(DOUBLES_PER_STATE).enumerate() {
        if index % STATES_PER_CHECK == 0 {
            check_cancelled()?;
        }
        state.next_words(&mut words);
        let (pairs, _) = words.as_chunks::<2>();
        for (double, &[first, second]) in out.iter_mut().zip(pairs) {
            *double = double_of(u32::from_le_bytes(first), u32::from_le_bytes(second));
        }
    }
    Ok(out)
}

/// Returns the doubles of `RandomState(seed)` at `positions`, which are below `n` and may come in any order.
///
/// Only the words of these doubles are tempered and kept, so memory depends on the number of positions and not on `n`. Calls
/// `check_cancelled` at intervals.
///
/// # Errors
/// [`Error::Memory`](crate::error::Error::Memory), and the errors of `check_cancelled`.
pub(super) fn doubles_at(
    seed: u32,
    n: usize,
    positions: &[usize],
    check_cancelled: impl Fn() -> Result<()>,
) -> Result<Vec<f64>> {
    let sorted = by_state(n, positions)?;
    let [mut state] = State::new([seed]);
    let (mut n_twists, mut end) = (0_usize, 0);
    let mut out = memory::filled(positions.len(), 0.0)?;
    for (position, i) in sorted {
        // Advances to the state of this position; a state holds the doubles before `end`.
        while end <= position {
            if n_twists.is_multiple_of(STATES_PER_CHECK) {
                check_cancelled()?;
            }
            state.twist();
            n_twists += 1;
            end += DOUBLES_PER_STATE;
        }
        let (pairs, _) = state.0.as_chunks::<2>();
        let [first, second] = pairs[position + DOUBLES_PER_STATE - end];
        out[i] = double_of(tempered(first), tempered(second));
    }
    Ok(out)
}

/// Returns the positions, which are below `n`, each with its index in the list, in the order of the states.
fn by_state(n: usize, positions: &[usize]) -> Result<Vec<(usize, usize)>> {
    let n_states = n.div_ceil(DOUBLES_PER_STATE);
    let max_counted = positions
        .len()
        .saturating_mul(MAX_STATES_PER_POSITION)
        .max(DOUBLES_PER_STATE);
    if n_states > max_counted {
        let mut sorted = memory::collected(positions.iter().enumerate().map(|(i, &position)| (position, i)))?;
        sorted.sort_unstable();
        return Ok(sorted);
    }
    // A counting sort: after the first pass state `b` begins at `ends[b + 1]`, after the last pass it ends there.
    let mut ends = memory::filled(n_states + 2, 0_usize)?;
    for position in positions {
        ends[position / DOUBLES_PER_STATE + 2] += 1;
    }
    for i in 2..ends.len() {
        ends[i] += ends[i - 1];
    }
    let mut sorted = memory::filled(positions.len(), (0_usize, 0_usize))?;
    for (i, &position) in positions.iter().enumerate() {
        let end = &mut ends[position / DOUBLES_PER_STATE + 1];
        sorted[*end] = (position, i);
        *end += 1;
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::super::{Mt19937, random_state::next_double};
    use super::*;
    use crate::error::Error;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn doubles_at_positions_are_those_of_the_stream(seed: u32, positions in prop::collection::vec(0_usize..2000, 0..50), n in 2000_usize..3000) {
            let mut stream = Mt19937::new(seed);
            let all: Vec<f64> = (0..n).map(|_| next_double(&mut stream)).collect();
            let never = || Ok(());
            prop_assert_eq!(&doubles(seed, n, never).unwrap(), &all);
            let expected: Vec<f64> = positions.iter().map(|&position| all[position]).collect();
            prop_assert_eq!(&doubles_at(seed, n, &positions, never).unwrap(), &expected);
            // The largest `n` has more states than memory could count, so positions are sorted otherwise.
            prop_assert_eq!(doubles_at(seed, usize::MAX, &positions, never).unwrap(), expected);
            let states = |n| by_state(n, &positions).unwrap().iter().map(|&(position, _)| position / DOUBLES_PER_STATE).collect::<Vec<_>>();
            prop_assert_eq!(states(n), states(usize::MAX));
        }
    }

    #[test]
    fn a_cancelled_draw_ends() {
        let cancelled = || Err(Error::Interrupted);
        assert_eq!(doubles(0, 1 << 20, cancelled), Err(Error::Interrupted));
        let last = doubles_at(0, usize::MAX, &[usize::MAX - 1], cancelled);
        assert_eq!(last, Err(Error::Interrupted));
    }

    #[test]
    fn more_doubles_than_memory_holds_are_refused() {
        assert!(matches!(doubles(0, 1 << 50, || Ok(())), Err(Error::Memory { .. })));
    }
}
