//! Tests that generators and samplers draw what NumPy and scikit-learn draw, and that they work with the crate `rand`.

use crate::common::{bits, integers, load, numbers};
use isoxide::forest::path_length::average_path_length;
use isoxide::random::mt19937::MAX_SEED;
use isoxide::random::random_state::{below, next_double, permutation, up_to};
use isoxide::random::sampling::{Weights, with_replacement, without_replacement};
use isoxide::random::streams::{self, Bag, Bagging};
use isoxide::random::xorshift::SplitDraws;
use isoxide::random::{Mt19937, Rng, SeedableRng, XorShift32};
use proptest::prelude::*;
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use rand_core::{Infallible, TryRng};
use std::collections::HashSet;

const SEEDS: [u32; 4] = [0, 1, 12345, u32::MAX];

#[test]
fn mt19937_equals_numpy() {
    let golden = load("00_generators");
    for seed in SEEDS {
        let expected = &golden[format!("mt_seed_{seed}")];
        let mut rng = Mt19937::new(seed);
        let words: Vec<u32> = (0..8).map(|_| rng.next_u32()).collect();
        assert_eq!(words, integers::<u32>(&expected["raw_u32"]), "seed {seed}");
        let mut rng = Mt19937::new(seed);
        let doubles: Vec<f64> = (0..5).map(|_| next_double(&mut rng)).collect();
        assert_eq!(bits(&doubles), bits(&numbers(&expected["unit"])), "seed {seed}");
        for (key, n, k) in [
            ("below_2147483647", 2_147_483_647, 6),
            ("below_10", 10, 12),
            ("below_1000", 1000, 8),
        ] {
            let drawn = with_replacement(&mut Mt19937::new(seed), n, k, &|| Ok(())).unwrap();
            assert_eq!(drawn, integers::<usize>(&expected[key]), "seed {seed}, {key}");
        }
        assert_eq!(
            permutation(&mut Mt19937::new(seed), 12, 12, &|| Ok(())).unwrap(),
            integers::<usize>(&expected["permutation_12"])
        );
        for (n, k) in [(1000, 5), (20, 12), (200, 199), (7, 7)] {
            let drawn = without_replacement(&mut Mt19937::new(seed), n, k, &|| Ok(())).unwrap();
            let key = format!("draw_without_{n}_{k}");
            assert_eq!(drawn, integers::<usize>(&expected[key.as_str()]), "seed {seed}, {key}");
        }
    }
}

#[test]
fn xorshift_equals_scikit_learn() {
    let golden = load("00_generators");
    for (state, expected) in golden["xorshift_next31"].as_object().unwrap() {
        let mut rng = XorShift32::new(state.parse().unwrap());
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
        let computed = average_path_length(n.parse().unwrap());
        assert_eq!(format!("{:016x}", computed.to_bits()), hex.as_str().unwrap(), "n = {n}");
    }
}

/// Counts up in steps of the golden ratio: evenly spread words that no generator of this crate draws.
#[derive(Debug, Clone)]
struct WeylSequence(u64);

impl TryRng for WeylSequence {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        rand_core::utils::fill_bytes_via_next_word(dst, || self.try_next_u32())
    }
}

/// Makes all draws of a fit from `rng`, and checks their ranges.
fn check_draws(mut rng: impl Rng + Clone) {
    let mut other = rng.clone();
    let target = streams::noise_target_from(&mut rng, 1000, 1).unwrap();
    assert!(target.iter().all(|y| (0.0..1.0).contains(y)));
    let expected: Vec<f64> = (0..1000).map(|_| next_double(&mut other)).collect();
    assert_eq!(target, expected);
    let seeds = streams::tree_seeds_from(&mut rng, 50);
    assert!(seeds.iter().all(|&seed| seed < MAX_SEED) && seeds.iter().collect::<HashSet<_>>().len() > 40);
    let weights = Weights::new(vec![0.001; 1000]).unwrap();
    for (bootstrap, weights) in [
        (false, None),
        (true, None),
        (false, Some(&weights)),
        (true, Some(&weights)),
    ] {
        let bagging = Bagging {
            n_samples: 1000,
            n_features: 40,
            max_samples: 300,
            max_features: 7,
            bootstrap,
        };
        let bag = streams::bag_from(&mut rng, &bagging, weights, 1).unwrap();
        let distinct = |indices: &[usize]| indices.iter().collect::<HashSet<_>>().len();
        assert!(bag.rows.iter().all(|&row| row < 1000) && bag.features.iter().all(|&column| column < 40));
        assert_eq!((bag.rows.len(), distinct(&bag.features)), (300, 7));
        assert!(bootstrap || distinct(&bag.rows) == 300);
    }
    for (n, k) in [(100_000, 20), (1000, 400), (200, 199)] {
        let drawn = without_replacement(&mut rng, n, k, &|| Ok(())).unwrap();
        assert!(drawn.iter().all(|&index| index < n) && drawn.iter().collect::<HashSet<_>>().len() == k);
    }
    assert!((3..10).contains(&rng.int(3, 10)) && (-1.0..=1.0).contains(&rng.uniform(-1.0, 1.0)));
    // A bound of more than 32 bits takes a word of 64.
    let mut other = rng.clone();
    assert_eq!(up_to(&mut rng, u64::MAX), other.next_u64());
}

#[test]
fn samplers_accept_generators_of_other_crates() {
    check_draws(WeylSequence(1));
    check_draws(Xoshiro256PlusPlus::seed_from_u64(3));
    check_draws(Mt19937::seed_from_u64(3));
    // A trait object is a generator as well.
    let (mut rng, mut copy) = (WeylSequence(9), WeylSequence(9));
    let dynamic: &mut dyn Rng = &mut rng;
    assert_eq!(
        with_replacement(dynamic, 10, 5, &|| Ok(())).unwrap(),
        with_replacement(&mut copy, 10, 5, &|| Ok(())).unwrap()
    );
}

#[test]
fn draws_from_a_used_stream_continue_as_those_of_a_random_state() {
    let mut stream = Mt19937::new(5);
    let target = streams::noise_target_from(&mut stream, 1000, 1).unwrap();
    assert_eq!(target, streams::noise_target(5, 1000, 1).unwrap());
    // An integer random_state starts again for the seeds, a RandomState does not.
    let seeds = streams::tree_seeds_from(&mut stream, 10);
    assert_ne!(seeds, streams::tree_seeds(5, 0, 10));
    assert_eq!(
        streams::tree_seeds_from(&mut Mt19937::new(5), 10),
        streams::tree_seeds(5, 0, 10)
    );
    assert_eq!(streams::tree_seeds(5, 0, 10)[4..], streams::tree_seeds(5, 4, 6));
}

/// Draws with the methods of `rand`, and checks that they draw alike from generators in the same state.
fn check_methods_of_rand(mut rng: impl RngExt + Clone) {
    let mut words = rng.clone();
    assert_eq!(rng.random::<u32>(), words.next_u32());
    assert_eq!(rng.random::<u64>(), words.next_u64());
    let mut bytes = [0; 11];
    rng.fill(&mut bytes);
    let expected: Vec<u8> = (0..3).flat_map(|_| words.next_u32().to_le_bytes()).collect();
    assert_eq!(bytes, expected[..11]);
    let mut seen = [false; 6];
    for _ in 0..200 {
        seen[rng.random_range(0..6_usize)] = true;
        assert!((0.0..1.0).contains(&rng.random::<f64>()));
    }
    assert_eq!(seen, [true; 6]);
    let n_true = (0..1000).filter(|_| rng.random_bool(0.25)).count();
    assert!((150..350).contains(&n_true), "{n_true}");
}

#[test]
fn the_methods_of_rand_work_with_our_generators() {
    check_methods_of_rand(Mt19937::new(1));
    check_methods_of_rand(XorShift32::new(1));
    // Seeds are bytes in little-endian order; those of 64 bits are mixed, the same way for every generator.
    let seed = 7_u32.to_le_bytes();
    assert_eq!(Mt19937::from_seed(seed).next_u32(), Mt19937::new(7).next_u32());
    assert_eq!(XorShift32::from_seed(seed).next_u32(), XorShift32::new(7).next_u32());
    assert_ne!(Mt19937::seed_from_u64(7).next_u32(), Mt19937::new(7).next_u32());
    let mut forked = Mt19937::from_rng(&mut Mt19937::new(7));
    assert_eq!(forked.next_u32(), Mt19937::new(Mt19937::new(7).next_u32()).next_u32());
}

proptest! {
    #[test]
    fn without_replacement_draws_different_indices_in_range(seed: u32, n in 1_usize..3000, share in 0.0..=1.0) {
        let k = ((n as f64 * share) as usize).max(1);
        let drawn = without_replacement(&mut Mt19937::new(seed), n, k, &|| Ok(())).unwrap();
        prop_assert_eq!(drawn.len(), k);
        prop_assert!(drawn.iter().all(|&i| i < n));
        prop_assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), k);
    }

    #[test]
    fn bounded_integers_stay_in_bounds(seed: u32, top: u64) {
        let mut rng = Mt19937::new(seed);
        prop_assert!(up_to(&mut rng, top) <= top);
        prop_assert!(below(&mut rng, (top as usize).max(1)) < (top as usize).max(1));
    }

    #[test]
    fn xorshift_draws_stay_in_range(state: u32, low in 0_usize..100, width in 1_usize..100) {
        let mut rng = XorShift32::new(state);
        prop_assert!(rng.next31() <= <XorShift32 as SplitDraws>::MAX);
        prop_assert!((low..low + width).contains(&rng.int(low, low + width)));
        prop_assert!((-1.5..=2.5).contains(&rng.uniform(-1.5, 2.5)));
    }
}

proptest! {
    #[test]
    fn bags_drawn_in_one_call_equal_those_drawn_alone(
        seeds in prop::collection::vec(any::<u32>(), 0..10),
        n_samples in 1_usize..300,
        n_features in 1_usize..10,
        left_out in (0_usize..3, 0_usize..3),
        bootstrap: bool,
        weighted: bool,
    ) {
        // Often all rows, all columns or both are drawn, which takes no words.
        let bagging = Bagging {
            n_samples,
            n_features,
            max_samples: n_samples.saturating_sub(left_out.0).max(1),
            max_features: n_features.saturating_sub(left_out.1).max(1),
            bootstrap,
        };
        let weights = Weights::new(vec![1.0 / n_samples as f64; n_samples]).unwrap();
        let weights = weighted.then_some(&weights);
        let alone: Vec<Bag> = seeds.iter().map(|&seed| streams::bag(seed, &bagging, weights, 1).unwrap()).collect();
        prop_assert_eq!(streams::bags(&seeds, &bagging, weights, 1).unwrap(), alone);
    }
}
