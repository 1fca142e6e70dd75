//! The generators and samplers against NumPy's and scikit-learn's own output.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, a panic is a failure"
)]

mod common;

use common::{bits, integers, load, numbers};
use isoxide::forest::path_length::average_path_length;
use isoxide::random::mt19937::{below, permutation, seeded, unit, up_to};
use isoxide::random::sampling::{with_replacement, without_replacement};
use isoxide::random::xorshift::XorShift;
use proptest::prelude::*;
use std::collections::HashSet;

const SEEDS: [u32; 4] = [0, 1, 12345, u32::MAX];

#[test]
fn mt19937_equals_numpy() {
    let golden = load("00_generators");
    for seed in SEEDS {
        let expected = &golden[format!("mt_seed_{seed}")];
        let mut rng = seeded(seed);
        let words: Vec<u32> = (0..8).map(|_| rng.next_u32()).collect();
        assert_eq!(words, integers::<u32>(&expected["raw_u32"]), "seed {seed}");
        let mut rng = seeded(seed);
        let doubles: Vec<f64> = (0..5).map(|_| unit(&mut rng)).collect();
        assert_eq!(bits(&doubles), bits(&numbers(&expected["unit"])), "seed {seed}");
        for (key, n, k) in [
            ("below_2147483647", 2_147_483_647, 6),
            ("below_10", 10, 12),
            ("below_1000", 1000, 8),
        ] {
            let drawn = with_replacement(&mut seeded(seed), n, k, &|| Ok(())).unwrap();
            assert_eq!(drawn, integers::<usize>(&expected[key]), "seed {seed}, {key}");
        }
        assert_eq!(
            permutation(&mut seeded(seed), 12, 12, &|| Ok(())).unwrap(),
            integers::<usize>(&expected["permutation_12"])
        );
        for (n, k) in [(1000, 5), (20, 12), (200, 199), (7, 7)] {
            let drawn = without_replacement(&mut seeded(seed), n, k, &|| Ok(())).unwrap();
            let key = format!("draw_without_{n}_{k}");
            assert_eq!(drawn, integers::<usize>(&expected[key.as_str()]), "seed {seed}, {key}");
        }
    }
}

#[test]
fn xorshift_equals_scikit_learn() {
    let golden = load("00_generators");
    for (state, expected) in golden["xorshift_next31"].as_object().unwrap() {
        let mut rng = XorShift::new(state.parse().unwrap());
        let drawn: Vec<u32> = (0..6).map(|_| rng.next31()).collect();
        assert_eq!(drawn, integers::<u32>(expected), "state {state}");
    }
}

#[test]
fn average_path_length_equals_scikit_learn() {
    let golden = load("00_generators");
    let expected = golden["avg_path_bits"].as_object().unwrap();
    assert_eq!(expected.len(), 1025);
    for (n, hex) in expected {
        let found = average_path_length(n.parse().unwrap());
        assert_eq!(format!("{:016x}", found.to_bits()), hex.as_str().unwrap(), "n = {n}");
    }
}

proptest! {
    #[test]
    fn without_replacement_draws_different_indices_in_range(seed: u32, n in 1_usize..3000, share in 0.0..=1.0) {
        let k = ((n as f64 * share) as usize).max(1);
        let drawn = without_replacement(&mut seeded(seed), n, k, &|| Ok(())).unwrap();
        prop_assert_eq!(drawn.len(), k);
        prop_assert!(drawn.iter().all(|&i| i < n));
        prop_assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), k);
    }

    #[test]
    fn bounded_integers_stay_in_bounds(seed: u32, top: u64) {
        let mut rng = seeded(seed);
        prop_assert!(up_to(&mut rng, top) <= top);
        prop_assert!(below(&mut rng, (top as usize).max(1)) < (top as usize).max(1));
    }

    #[test]
    fn xorshift_keeps_its_ranges(state: u32, low in 0_usize..100, width in 1_usize..100) {
        let mut rng = XorShift::new(state);
        prop_assert!(rng.next31() <= XorShift::MAX);
        prop_assert!((low..low + width).contains(&rng.int(low, low + width)));
        prop_assert!((-1.5..=2.5).contains(&rng.uniform(-1.5, 2.5)));
    }
}
