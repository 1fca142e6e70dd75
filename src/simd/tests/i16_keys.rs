//! Tests of 16-bit keys, and of searches by them.

use super::*;
use crate::simd::i16_keys::{I16Keys, MAX_STEPS};

/// Draws ascending numbers that keys tell apart.
fn numbers(random: &mut Random, n: usize) -> Vec<f32> {
    let family = random.below(5);
    let mut numbers: Vec<f32> = (0..n)
        .map(|i| {
            let unit = random.word() as f32 / u64::MAX as f32;
            match family {
                0 => 1e3 * (unit - 0.5),
                // Between counts, the lowest of which are frequent.
                1 => i as f32 + unit,
                2 => 1e3 + unit,
                3 => 1e-30 * unit,
                _ => 6e37 * (unit - 0.5),
            }
        })
        .collect();
    // Some neighbours have the same key, and some thresholds are equal.
    for _ in 0..n / 40 {
        let (i, j) = (random.below(n), random.below(n));
        numbers[i] = random.of(&[numbers[j], numbers[j].next_up()]);
    }
    numbers.sort_by(f32::total_cmp);
    numbers
}

/// Draws a number that may have the same key as a threshold.
fn near(random: &mut Random, thresholds: &[Threshold]) -> f32 {
    let near = random.of(thresholds).value;
    let range = thresholds.last().unwrap().value - thresholds[0].value;
    match random.below(6) {
        0 => near,
        1 => near.next_up(),
        2 => near.next_down(),
        3 => near + range / 65e3 * 0.4,
        4 => near - range / 65e3 * 0.4,
        _ => near + range / 65e3 * 0.6,
    }
}

fn search(numbers: &[f32]) -> Search {
    Search::new(&numbers.iter().copied().map(Threshold::plain).collect::<Vec<_>>())
}

fn keys(numbers: &[f32]) -> Option<I16Keys> {
    search(numbers).i16_keys().cloned()
}

proptest! {
    /// `ties` is the number of values of 64 that are near thresholds: some tiles are finished one by one, some searched again.
    #[test]
    fn quantise_by_keys_counts_the_thresholds_below(
        n in prop_oneof![2..=255_usize, prop::sample::select(vec![2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255])],
        ties in prop_oneof![0..=64_usize, 8..=16_usize], tiles: bool, seed: u64,
    ) {
        let mut random = Random::new(seed);
        let numbers = numbers(&mut random, n);
        let search = search(&numbers);
        // Rarely, too many of a few thresholds have the same key.
        prop_assume!(search.i16_keys().is_some());
        let (first, last) = (numbers[0], numbers[n - 1]);
        let mut values: Vec<f32> = (0..BLOCK_ROWS)
            .map(|_| {
                if random.below(64) < ties {
                    near(&mut random, search.thresholds())
                } else if random.one_in(8) {
                    random.cell() as f32
                } else {
                    first + (last - first) * (random.word() as f32 / u64::MAX as f32 * 1.2 - 0.1)
                }
            })
            .collect();
        let start = random.below(WORDS);
        let words = start..start + 1 + random.below(WORDS - start);
        for_every_kernel!(check_quantise(std::slice::from_ref(&search), &mut values, words.clone(), tiles));
    }

    #[test]
    fn keys_order_as_numbers(n in 2..=255_usize, seed: u64) {
        let mut random = Random::new(seed);
        let numbers = numbers(&mut random, n);
        let search = search(&numbers);
        prop_assume!(search.i16_keys().is_some());
        let keys = search.i16_keys().unwrap();
        let mut values: Vec<f32> = (0..300)
            .map(|_| match random.below(3) {
                0 => random.cell() as f32,
                1 => near(&mut random, search.thresholds()),
                _ => random.of(&numbers) * 1.5,
            })
            .filter(|value| !value.is_nan())
            .collect();
        values.sort_by(f32::total_cmp);
        for pair in values.windows(2) {
            prop_assert!(keys.key(pair[0]) <= keys.key(pair[1]), "{:?}", pair);
            prop_assert!(pair[0] != pair[1] || keys.key(pair[0]) == keys.key(pair[1]), "{:?}", pair);
        }
    }
}

#[test]
fn keys_that_tell_too_little_are_not_made() {
    assert!(keys(&[]).is_none());
    assert!(keys(&[1.0]).is_none());
    assert!(keys(&[1.0, 1.0]).is_none());
    assert!(keys(&[0.0, f32::INFINITY]).is_none());
    assert!(keys(&[f32::NEG_INFINITY, 0.0]).is_none());
    assert!(keys(&[f32::NEG_INFINITY, f32::INFINITY]).is_none());
    assert!(keys(&[-f32::MAX, f32::MAX]).is_none());
    assert!(keys(&[0.0, 1e-45]).is_none());
    assert!(keys(&[0.0, 6e-30]).is_none());
    assert!(keys(&[0.0, 7e-30]).is_some());
    // Three thresholds in 48 have the key of another one, then four.
    let mut numbers: Vec<f32> = (0..48).map(|i| i as f32).collect();
    for i in [1, 11, 21] {
        numbers[i] = numbers[i - 1].next_up();
    }
    assert!(keys(&numbers).is_some());
    numbers[31] = numbers[30].next_up();
    assert!(keys(&numbers).is_none());
}

#[test]
fn keys_are_made_for_searches_of_up_to_eight_steps() {
    let numbers: Vec<f32> = (0..1 << MAX_STEPS).map(|i| i as f32).collect();
    assert!(keys(&numbers).is_none());
    assert!(keys(&numbers[1..]).is_some());
}
