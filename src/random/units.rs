//! The first doubles of NumPy's legacy stream, or some of them: the noise target.
//!
//! Words are made block by block, and only those that are asked for are tempered.

use super::mt19937::{Block, N, tempered, unit_of};
use crate::error::Result;
use crate::memory;

/// Doubles in a block.
const UNITS: usize = N / 2;
/// Bytes that [`units_at`] takes for each place, at most.
pub(super) const PLACE_BYTES: usize = size_of::<(usize, usize)>() + size_of::<f64>() + MAX_STARTS * size_of::<usize>();
/// Blocks for each place, at most, where places are sorted by counting.
const MAX_STARTS: usize = 4;
/// Blocks after which it is looked whether they are still wanted: about a millisecond.
const BLOCKS_BETWEEN_LOOKS: usize = 1 << 12;

/// The first `n` doubles of `RandomState(seed)`; `go_on` is asked every now and then whether they are still wanted.
///
/// # Errors
/// [`Error::Memory`](crate::error::Error::Memory), and those of `go_on`.
pub(super) fn units(seed: u32, n: usize, go_on: impl Fn() -> Result<()>) -> Result<Vec<f64>> {
    let [mut block] = Block::new([seed]);
    memory::ask_for(&[(n, size_of::<f64>())])?;
    let mut out = vec![0.0; n];
    for (index, out) in out.chunks_mut(UNITS).enumerate() {
        if index % BLOCKS_BETWEEN_LOOKS == 0 {
            go_on()?;
        }
        block.twist();
        let (pairs, _) = block.0.as_chunks::<2>();
        for (unit, &[first, second]) in out.iter_mut().zip(pairs) {
            *unit = unit_of(tempered(first), tempered(second));
        }
    }
    Ok(out)
}

/// Some of the first `n` doubles of `RandomState(seed)`: those at `places`, which are below `n` and may come in any order.
///
/// Only the words of those are tempered, and only those are kept: memory follows from the number of places, whatever `n` is. `go_on` is
/// asked every now and then whether they are still wanted.
///
/// # Errors
/// [`Error::Memory`](crate::error::Error::Memory), and those of `go_on`.
pub(super) fn units_at(seed: u32, n: usize, places: &[usize], go_on: impl Fn() -> Result<()>) -> Result<Vec<f64>> {
    let sorted = by_block(n, places)?;
    let [mut block] = Block::new([seed]);
    let (mut n_twists, mut end) = (0_usize, 0);
    let mut out = memory::filled(places.len(), 0.0)?;
    for (place, i) in sorted {
        // On to the block of this place, which ends with the doubles before `end`.
        while end <= place {
            if n_twists.is_multiple_of(BLOCKS_BETWEEN_LOOKS) {
                go_on()?;
            }
            block.twist();
            n_twists += 1;
            end += UNITS;
        }
        let (pairs, _) = block.0.as_chunks::<2>();
        let [first, second] = pairs[place + UNITS - end];
        out[i] = unit_of(tempered(first), tempered(second));
    }
    Ok(out)
}

/// The places, which are below `n`, and their positions in the list, in the order of the blocks.
fn by_block(n: usize, places: &[usize]) -> Result<Vec<(usize, usize)>> {
    let n_blocks = n.div_ceil(UNITS);
    if n_blocks > places.len().saturating_mul(MAX_STARTS).max(UNITS) {
        let mut sorted = memory::collected(places.iter().enumerate().map(|(i, &place)| (place, i)))?;
        sorted.sort_unstable();
        return Ok(sorted);
    }
    // A counting sort: after the first pass `ends[b + 1]` is where block `b` begins, after the last one where it ends.
    let mut ends = memory::filled(n_blocks + 2, 0_usize)?;
    for place in places {
        ends[place / UNITS + 2] += 1;
    }
    for i in 2..ends.len() {
        ends[i] += ends[i - 1];
    }
    let mut sorted = memory::filled(places.len(), (0_usize, 0_usize))?;
    for (i, &place) in places.iter().enumerate() {
        let at = &mut ends[place / UNITS + 1];
        sorted[*at] = (place, i);
        *at += 1;
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::super::mt19937::{seeded, unit};
    use super::*;
    use crate::error::Error;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn some_doubles_are_those_of_the_stream(seed: u32, places in prop::collection::vec(0_usize..2000, 0..50), n in 2000_usize..3000) {
            let mut stream = seeded(seed);
            let all: Vec<f64> = (0..n).map(|_| unit(&mut stream)).collect();
            let wanted = || Ok(());
            prop_assert_eq!(&units(seed, n, wanted).unwrap(), &all);
            let some: Vec<f64> = places.iter().map(|&place| all[place]).collect();
            prop_assert_eq!(&units_at(seed, n, &places, wanted).unwrap(), &some);
            // Of so many doubles there is no room even for the numbers of their blocks.
            prop_assert_eq!(units_at(seed, usize::MAX, &places, wanted).unwrap(), some);
            let blocks = |n| by_block(n, &places).unwrap().iter().map(|&(place, _)| place / UNITS).collect::<Vec<_>>();
            prop_assert_eq!(blocks(n), blocks(usize::MAX));
        }
    }

    #[test]
    fn doubles_that_are_not_wanted_any_more_are_not_drawn() {
        let given_up = || Err(Error::Interrupted);
        assert_eq!(units(0, 1 << 20, given_up), Err(Error::Interrupted));
        let last = units_at(0, usize::MAX, &[usize::MAX - 1], given_up);
        assert_eq!(last, Err(Error::Interrupted));
    }

    #[test]
    fn what_nobody_has_room_for_is_refused() {
        assert!(matches!(units(0, 1 << 50, || Ok(())), Err(Error::Memory { .. })));
    }
}
