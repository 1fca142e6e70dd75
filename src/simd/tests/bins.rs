//! Tests that bins keep the order of values, and that counts by bins are those of plain comparisons.

use super::*;

/// Draws distinct numbers in ascending order: spread evenly, over many powers of two, in tight groups, or of every kind.
fn queries(random: &mut Random, n: usize) -> Vec<f64> {
    let spread = random.below(5);
    let origin = random.of(&[0.0, 1.0, -1e9, 1e300]);
    let mut queries: Vec<f64> = (0..n)
        .map(|_| {
            let unit = random.word() as f64 / u64::MAX as f64;
            match spread {
                0 => origin + unit,
                1 => (unit * 60.0 - 30.0).exp2() * random.of(&[-1.0, 1.0]),
                2 => origin + random.below(4) as f64 + unit * 1e-9,
                3 => origin + random.below(300) as f64,
                _ => random.cell(),
            }
        })
        .filter(|query| !query.is_nan())
        .collect();
    queries.sort_unstable_by(f64::total_cmp);
    queries.dedup();
    queries
}

/// Draws a value near one of these numbers, or any.
fn near(random: &mut Random, numbers: &[f64]) -> f64 {
    let number = random.of(numbers);
    match random.below(7) {
        0 => number,
        1 => number.next_up(),
        2 => number.next_down(),
        3 => f64::midpoint(number, random.of(numbers)),
        4 => -number,
        5 => number + (random.word() as f64 / u64::MAX as f64 - 0.5) * 4.0,
        _ => random.cell(),
    }
}

fn check_order(kernel: impl Kernel, map: &BinMap, values: &[f64], n_bins: usize) {
    let name = kernel.name();
    let mut bins = vec![0; values.len()];
    let n_missing = kernel.bins(map, values, &mut bins);
    assert_eq!(
        n_missing,
        values.iter().filter(|value| value.is_nan()).count() as u64,
        "{name}"
    );
    let mut by_portable = bins.clone();
    Portable.bins(map, values, &mut by_portable);
    assert_eq!(bins, by_portable, "{name}: {map:?}");
    assert!(bins.iter().all(|&bin| usize::from(bin) < n_bins), "{name}: {map:?}");
    let mut pairs: Vec<(f64, u16)> = values.iter().copied().zip(bins).collect();
    // Negative NaN come first, then the numbers, then positive NaN.
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (missing, numbers): (Vec<(f64, u16)>, Vec<_>) = pairs.into_iter().partition(|pair| pair.0.is_nan());
    for pair in numbers.windows(2) {
        assert!(pair[0].1 <= pair[1].1, "{name}: {pair:?} in {map:?}");
        assert!(
            pair[0].0 != pair[1].0 || pair[0].1 == pair[1].1,
            "{name}: {pair:?} in {map:?}"
        );
    }
    let lowest = numbers.first().map_or(u16::MAX, |pair| pair.1);
    assert!(
        missing.iter().all(|pair| pair.1 <= lowest),
        "{name}: {missing:?} in {map:?}"
    );
}

/// Counts values by their bins and by comparing each with every query.
fn check_counts<T: Binned + std::fmt::Debug>(queries: &[T], highest: T, values: &[T], floats: &[f64], bins: &Bins) {
    let mut table = queries.to_vec();
    table.resize(bins.table_len(), highest);
    let below = |value: T| queries.iter().filter(|&&query| query < value).count();
    let mut counter = bins.counter();
    for (values, floats) in values.chunks(BINNED_VALUES).zip(floats.chunks(BINNED_VALUES)) {
        let n_missing = bins.count(&table, values, floats, &mut counter, below);
        assert_eq!(n_missing, floats.iter().filter(|value| value.is_nan()).count() as u64);
    }
    let mut expected = vec![[0; 2]; queries.len() + 1];
    for &value in values {
        let bucket = below(value);
        expected[bucket][usize::from(queries.get(bucket) == Some(&value))] += 1;
    }
    assert_eq!(bins.totals(&counter), expected);
    let mut ranks = Vec::new();
    bins.for_each_rank(&table, values, floats, below, |_, rank| ranks.push(rank));
    assert_eq!(ranks, values.iter().map(|&value| below(value)).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn bins_keep_the_order_of_values(n in 1..200_usize, n_bins in prop::sample::select(vec![256_usize, 4096, 65_536]), seed: u64) {
        let mut random = Random::new(seed);
        let mut ends = queries(&mut random, 2);
        ends.extend(queries(&mut random, 2));
        ends.sort_unstable_by(f64::total_cmp);
        if let [low, .., high] = ends[..] {
            let values: Vec<f64> = (0..n).map(|_| near(&mut random, &ends)).collect();
            for map in [BinMap::linear(low, high, n_bins), BinMap::logarithmic(low, high, n_bins)].into_iter().flatten() {
                for_every_kernel!(check_order(&map, &values, n_bins));
            }
        }
    }

    #[test]
    fn counts_by_bins_are_those_of_comparisons(
        n in prop_oneof![2..40_usize, 2..600_usize], n_values in prop_oneof![0..20_usize, 1..4000_usize], few: bool, seed: u64,
    ) {
        let mut random = Random::new(seed);
        let queries = queries(&mut random, n);
        if let Some(bins) = Bins::new(&queries) {
            // With few distinct values, most of them equal a query.
            let pool: Vec<f64> = (0..5).map(|_| near(&mut random, &queries)).collect();
            let values: Vec<f64> = (0..n_values).map(|_| if few { random.of(&pool) } else { near(&mut random, &queries) }).collect();
            check_counts(&queries, f64::INFINITY, &values, &values, &bins);
        }
    }

    #[test]
    fn integers_that_are_equal_as_floats_are_told_apart(n in 2..200_usize, n_values in 1..2000_usize, large: bool, seed: u64) {
        let mut random = Random::new(seed);
        let mut draw = |edges: bool| {
            let small = random.below(400) as i64 - 200;
            let offset = if large { random.of(&[1 << 53, 1 << 62, i64::MIN + 200, i64::MAX - 199]) } else { 0 };
            if edges { random.of(&[i64::MIN, i64::MAX, 0]) } else { offset.saturating_add(small) }
        };
        let mut queries: Vec<i64> = (0..n).map(|i| draw(i % 50 == 49)).collect();
        queries.sort_unstable();
        queries.dedup();
        let floats = |values: &[i64]| values.iter().map(|&value| value as f64).collect::<Vec<_>>();
        if let Some(bins) = Bins::new(&floats(&queries)) {
            let values: Vec<i64> = (0..n_values).map(|i| draw(i % 50 == 49)).collect();
            check_counts(&queries, i64::MAX, &values, &floats(&values), &bins);
        }
    }
}

#[test]
fn far_queries_do_not_crowd_the_others() {
    let mut queries: Vec<f64> = (0..300).map(f64::from).collect();
    queries.extend([1e30, 2e30, 3e30]);
    let bins = Bins::new(&queries).unwrap();
    assert!(bins.table_len() <= queries.len() + 8, "{}", bins.table_len());
    assert!(!bins.counter().is_slow());
    assert!(Bins::new(&[1.0]).is_none());
}
