//! Tests that the order statistics of sketches equal those of the sorted values.

use crate::common::partitioned::{bytes_of, damage_is_refused, edited, edits, merged};
use isoxide::error::Error;
use isoxide::sketch::Sketch;
use proptest::collection::vec;
use proptest::prelude::*;

const INFINITE: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);
/// Each pass finds 16 of 64 bits.
const MAX_PASSES: usize = 4;

/// The parameters of a sketch.
#[derive(Debug, Clone, Copy)]
struct SketchParams {
    scope: (f64, f64),
    lowest: Option<u64>,
    capacity: usize,
}

impl SketchParams {
    fn sketch(self, values: &[f64]) -> Sketch {
        let mut sketch = Sketch::new(self.scope.0, self.scope.1, self.lowest, self.capacity).unwrap();
        sketch.add(values.iter().copied());
        sketch
    }
}

/// All values in ascending order, from which order statistics are read by definition.
struct Sorted {
    values: Vec<f64>,
    n_missing: u64,
    /// Positions of the values whose order statistics the sketch must know.
    kept: std::ops::Range<usize>,
    /// Number of distinct values at these positions.
    n_distinct: usize,
}

impl Sorted {
    fn new(values: &[f64], params: SketchParams) -> Self {
        let mut sorted: Vec<f64> = values.iter().filter(|x| !x.is_nan()).map(|x| x + 0.0).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let start = sorted.partition_point(|&x| x < params.scope.0);
        let mut end = sorted.partition_point(|&x| x <= params.scope.1);
        if let Some(lowest) = params.lowest.filter(|&lowest| lowest <= params.capacity as u64) {
            let last = sorted[start..end].get(lowest as usize - 1).copied();
            end = last.map_or(end, |last| sorted.partition_point(|&x| x <= last));
        }
        let mut distinct = sorted[start..end].to_vec();
        distinct.dedup();
        Self {
            n_missing: (values.len() - sorted.len()) as u64,
            values: sorted,
            kept: start..end,
            n_distinct: distinct.len(),
        }
    }

    /// Returns the value at position `k` and the next one, if the sketch must know both.
    fn neighbours(&self, k: usize) -> Option<(f64, f64)> {
        let next = (k + 1).min(self.values.len().saturating_sub(1));
        (self.kept.contains(&k) && self.kept.contains(&next)).then(|| (self.values[k], self.values[next]))
    }
}

/// Returns the bits of two values. Zeros of both signs have different bits, since a sketch must return the positive zero only.
fn bits(pair: (f64, f64)) -> (u64, u64) {
    (pair.0.to_bits(), pair.1.to_bits())
}

/// Returns the value at position `k` and the next one, and the number of passes over the values that the sketch needed.
fn neighbours_after_passes(mut sketch: Sketch, values: &[f64], k: u64) -> (Option<(f64, f64)>, usize) {
    for pass in 1..=MAX_PASSES {
        match sketch.neighbours(k) {
            Ok(Some(pair)) => return (Some(pair), pass),
            Ok(None) => {}
            Err(Error::Partitions(_)) => {
                assert!(matches!(sketch.refined(k), Err(Error::Partitions(_))), "{k}");
                return (None, pass);
            }
            Err(error) => panic!("{error}"),
        }
        let mut refined = sketch.refined(k).unwrap();
        refined.add(values.iter().copied());
        assert_eq!((refined.n(), refined.n_missing()), (sketch.n(), sketch.n_missing()));
        sketch = refined;
    }
    panic!("position {k} is not known after {MAX_PASSES} passes");
}

fn check(params: SketchParams, values: &[f64], sketch: &Sketch) {
    let sorted = Sorted::new(values, params);
    let n = sorted.values.len();
    assert_eq!((sketch.n(), sketch.n_missing()), (n as u64, sorted.n_missing));
    let is_exact = sorted.n_distinct <= params.capacity;
    let n_distinct = (is_exact && sorted.kept == (0..n)).then_some(sorted.n_distinct as u64);
    assert_eq!(sketch.clone().n_distinct(), n_distinct);
    let ends = sorted.values[sorted.kept.clone()]
        .first()
        .zip(sorted.values[sorted.kept.clone()].last());
    let extremes = sketch.clone().extremes();
    assert_eq!(extremes.map(bits), ends.map(|(&low, &high)| bits((low, high))));
    for k in 0..n + 2 {
        let (pair, passes) = neighbours_after_passes(sketch.clone(), values, k as u64);
        assert_eq!(pair.map(bits), sorted.neighbours(k).map(bits), "position {k}");
        assert!(!is_exact || passes == 1, "position {k} took {passes} passes");
    }
    assert!(sketch.clone().neighbours(u64::MAX).is_err());
}

/// Draws up to `max_len` values, most of which have something in common, such as their exponent.
fn values(max_len: usize) -> impl Strategy<Value = Vec<f64>> {
    let special = prop::sample::select(vec![
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        5e-324,
        -5e-324,
        f64::MIN_POSITIVE,
    ]);
    let any_bits = any::<u64>().prop_map(f64::from_bits);
    let tied = (-4_i8..4).prop_map(|x| f64::from(x) / 2.0);
    let subnormal = (0_u64..2_000, any::<bool>()).prop_map(|(x, low)| f64::from_bits(x | u64::from(low) << 63));
    let binade = (0_u64..1 << 52).prop_map(|x| f64::from_bits(1.0_f64.to_bits() | x));
    let near = (0_u64..300).prop_map(|x| f64::from_bits(0.1_f64.to_bits() + x));
    let mixed = prop_oneof![
        3 => special.clone(),
        2 => any_bits.clone(),
        2 => tied.clone(),
        1 => subnormal.clone(),
        1 => near.clone()
    ];
    prop_oneof![
        vec(mixed, 0..max_len),
        vec(any_bits, 0..max_len),
        vec(tied, 0..max_len),
        vec(subnormal, 0..max_len),
        vec(binade, 0..max_len),
        vec(near, 0..max_len),
        (special, 0..max_len).prop_map(|(x, n)| vec![x; n]),
    ]
}

fn scope() -> impl Strategy<Value = (f64, f64)> {
    prop_oneof![
        4 => Just(INFINITE),
        1 => Just((0.0, -0.0)),
        1 => Just((-1.0, 1.0)),
        1 => Just((0.1, 0.1 + 1e-15)),
        1 => Just((f64::NEG_INFINITY, -0.0)),
        1 => Just((0.5, f64::INFINITY)),
    ]
}

fn sketch_params() -> impl Strategy<Value = SketchParams> {
    let lowest = prop_oneof![2 => Just(None), 1 => (1_u64..30).prop_map(Some)];
    let capacity = prop_oneof![3 => 2_usize..6, 1 => 6_usize..60];
    let of_any = (lowest, capacity);
    // The sketch has room for the lowest values, so it drops all others.
    let of_lowest = (1_u64..30, 0_usize..9).prop_map(|(lowest, more)| (Some(lowest), (lowest as usize + more).max(2)));
    (scope(), prop_oneof![2 => of_any, 1 => of_lowest]).prop_map(|(scope, (lowest, capacity))| SketchParams {
        scope,
        lowest,
        capacity,
    })
}

/// Draws the partition of each value, one of six, and the order in which partitions are merged.
fn partitioning() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    (vec(0_usize..6, 60), vec(0_usize..60, 6))
}

fn partitions(values: &[f64], assignment: &[usize]) -> Vec<Vec<f64>> {
    let partition = |index| {
        let assigned = values.iter().zip(assignment.iter().cycle());
        assigned
            .filter(|&(_, &i)| i == index)
            .map(|(&value, _)| value)
            .collect()
    };
    (0..6).map(partition).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn order_statistics_equal_those_of_the_sorted_values(params in sketch_params(), values in values(40)) {
        check(params, &values, &params.sketch(&values));
    }

    /// With so many values, neighbours often lie in one bucket, so the sketch must be refined.
    #[test]
    fn every_position_is_known_after_a_few_passes(values in values(60), capacity in 2_usize..4) {
        let params = SketchParams { scope: INFINITE, lowest: None, capacity };
        check(params, &values, &params.sketch(&values));
    }

    #[test]
    fn the_lowest_values_need_one_pass_and_none_is_lost(
        values in values(60), lowest in 1_u64..20, more in 0_usize..3, (assignment, picks) in partitioning(),
    ) {
        let params = SketchParams { scope: INFINITE, lowest: Some(lowest), capacity: (lowest as usize + more).max(2) };
        let sketches = partitions(&values, &assignment).iter().map(|partition| params.sketch(partition)).collect();
        let mut sketch: Sketch = merged(sketches, &picks, |a, b| a.merge(b).unwrap());
        let sorted = Sorted::new(&values, params);
        let n = sorted.values.len();
        for k in 0..n.min(lowest as usize).saturating_sub(usize::from(n > lowest as usize)) {
            let pair = sketch.neighbours(k as u64).unwrap().unwrap();
            prop_assert_eq!(bits(pair), bits((sorted.values[k], sorted.values[(k + 1).min(n - 1)])));
        }
        check(params, &values, &sketch);
    }

    #[test]
    fn merged_sketches_equal_one_sketch_of_all_values(params in sketch_params(), values in values(60), (assignment, picks) in partitioning(), stored: bool) {
        let whole = params.sketch(&values);
        let mut backwards = values.clone();
        backwards.reverse();
        prop_assert_eq!(params.sketch(&backwards).to_bytes().unwrap(), whole.to_bytes().unwrap());
        let sketches = partitions(&values, &assignment).into_iter().map(|partition| {
            let sketch = params.sketch(&partition);
            if stored { Sketch::from_bytes(&sketch.to_bytes().unwrap()).unwrap() } else { sketch }
        });
        let mut sum = merged(sketches.collect(), &picks, |a, b| {
            let mut swapped = b.clone();
            swapped.merge(a).unwrap();
            a.merge(b).unwrap();
            assert_eq!(a.to_bytes().unwrap(), swapped.to_bytes().unwrap());
        });
        prop_assert_eq!(sum.to_bytes().unwrap(), whole.to_bytes().unwrap());
        check(params, &values, &sum);
        // Values can be added after a merge.
        sum.add(values.iter().copied());
        let twice = [values.clone(), values].concat();
        prop_assert_eq!(sum.to_bytes().unwrap(), params.sketch(&twice).to_bytes().unwrap());
    }

    /// Reading the sketch in between sorts the values so far, and changes no result.
    #[test]
    fn values_can_be_added_in_pieces(params in sketch_params(), values in values(60), size in 1_usize..20) {
        let mut sketch = params.sketch(&[]);
        for piece in values.chunks(size) {
            sketch.add(piece.iter().copied());
            let _ = sketch.extremes();
        }
        prop_assert_eq!(sketch.to_bytes().unwrap(), params.sketch(&values).to_bytes().unwrap());
        check(params, &values, &sketch);
    }

    #[test]
    fn a_sketch_read_from_bytes_equals_the_written_one(params in sketch_params(), values in values(60)) {
        let sketch = params.sketch(&values);
        let bytes = sketch.to_bytes().unwrap();
        let read = Sketch::from_bytes(&bytes).unwrap();
        prop_assert_eq!(read.to_bytes().unwrap(), bytes);
        check(params, &values, &read);
    }

    #[test]
    fn damaged_bytes_are_refused(params in sketch_params(), values in values(12)) {
        prop_assert!(damage_is_refused(&params.sketch(&values).to_bytes().unwrap(), |bytes| Sketch::from_bytes(bytes).is_ok()));
    }

    #[test]
    fn edited_bytes_are_refused_or_a_valid_sketch(params in sketch_params(), values in values(12), edits in edits()) {
        let honest = params.sketch(&values);
        let bytes = edited(&honest.to_bytes().unwrap(), &edits);
        if let Ok(sketch) = Sketch::from_bytes(&bytes) {
            prop_assert_eq!(sketch.to_bytes().unwrap(), bytes);
            check_invariants(sketch, &honest, &values);
        }
    }
}

/// Checks invariants of every valid sketch, even of one that no values can produce.
fn check_invariants(mut sketch: Sketch, honest: &Sketch, values: &[f64]) {
    let n = sketch.n();
    let extremes = sketch.extremes();
    assert!(sketch.n_distinct().is_none_or(|distinct| distinct <= n));
    let mut last: Option<(f64, f64)> = None;
    for k in (0..n.min(20)).chain(n.saturating_sub(20).max(20)..n.max(20) + 2) {
        match (sketch.neighbours(k), sketch.refined(k)) {
            (Ok(pair), Ok(mut refined)) => {
                let (lowest, highest) = extremes.unwrap();
                if let Some((low, high)) = pair {
                    assert!(lowest <= low && low <= high && high <= highest && k < n);
                    assert!(last.is_none_or(|last| last.0 <= low && last.1 <= high));
                }
                last = pair.or(last);
                refined.add(values.iter().copied());
                Sketch::from_bytes(&refined.to_bytes().unwrap()).unwrap();
            }
            (Err(_), Err(_)) => {}
            (pair, refined) => panic!("{pair:?} {refined:?}"),
        }
    }
    let before = sketch.to_bytes().unwrap();
    for other in [honest, &sketch.clone()] {
        let mut sum = sketch.clone();
        if sum.merge(other).is_ok() {
            assert_eq!(
                (sum.n(), sum.n_missing()),
                (n + other.n(), sketch.n_missing() + other.n_missing())
            );
            let mut swapped = other.clone();
            swapped.merge(&sketch).unwrap();
            assert_eq!(sum.to_bytes().unwrap(), swapped.to_bytes().unwrap());
            Sketch::from_bytes(&sum.to_bytes().unwrap()).unwrap();
        } else {
            // A refused merge changes nothing.
            assert_eq!(sum.to_bytes().unwrap(), before);
        }
    }
    sketch.add(values.iter().copied());
    assert!(sketch.n() >= n);
    let _ = (sketch.to_bytes().unwrap(), sketch.neighbours(0), sketch.neighbours(n));
}

/// Makes more than twice as many values as a sketch collects before it sorts them.
fn many_values() -> Vec<f64> {
    (0..200_000_u64)
        .map(|i| {
            let mixed = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            match mixed >> 57 {
                0 => f64::NAN,
                1..40 => ((mixed >> 20) % 900) as f64 - 450.0,
                _ => (mixed >> 12) as f64 / 1e12 - 1_000.0,
            }
        })
        .collect()
}

#[test]
fn many_values_are_sketched_correctly() {
    let values = many_values();
    for (lowest, capacity) in [(None, 1_000), (None, 300_000), (Some(500), 1_000), (Some(1_000), 1_000)] {
        let params = SketchParams {
            scope: INFINITE,
            lowest,
            capacity,
        };
        let whole = params.sketch(&values);
        let sorted = Sorted::new(&values, params);
        for k in [0, 1, 499, 998, 999, 50_000, 123_456, sorted.values.len() - 1] {
            let (pair, _) = neighbours_after_passes(whole.clone(), &values, k as u64);
            assert_eq!(pair, sorted.neighbours(k), "position {k}");
        }
        for sizes in [[1, 65_536, 7], [65_535, 65_537, 100_000], [0, 199_999, 3]] {
            let mut rest = values.as_slice();
            let mut sketches = Vec::new();
            for size in sizes.into_iter().cycle().take(12) {
                let (partition, later) = rest.split_at(size.min(rest.len()));
                sketches.push(params.sketch(partition));
                rest = later;
            }
            sketches.push(params.sketch(rest));
            let sum = merged(sketches, &[3, 50, 1, 7, 22], |a, b| a.merge(b).unwrap());
            assert!(
                sum.to_bytes().unwrap() == whole.to_bytes().unwrap(),
                "{lowest:?} {capacity} {sizes:?}"
            );
        }
    }
}

#[test]
fn values_can_be_added_one_by_one() {
    let values = &many_values()[..3_000];
    for lowest in [None, Some(50)] {
        let params = SketchParams {
            scope: (-400.0, 900.0),
            lowest,
            capacity: 64,
        };
        let mut slow = params.sketch(&[]);
        for (i, &value) in values.iter().enumerate() {
            slow.add([value]);
            if i % 7 == 0 {
                // Reading the sketch in between changes nothing.
                let _ = (slow.neighbours(0), slow.n_distinct(), slow.extremes());
            }
        }
        assert_eq!(slow.to_bytes().unwrap(), params.sketch(values).to_bytes().unwrap());
    }
}

#[test]
fn sketches_with_other_parameters_do_not_merge() {
    let params = SketchParams {
        scope: (-1.0, 1.0),
        lowest: Some(2),
        capacity: 4,
    };
    let others = [
        SketchParams {
            scope: (-1.0, 2.0),
            ..params
        },
        SketchParams {
            scope: (-2.0, 1.0),
            ..params
        },
        SketchParams { lowest: None, ..params },
        SketchParams {
            lowest: Some(3),
            ..params
        },
        SketchParams { capacity: 5, ..params },
    ];
    for other in others {
        let mut sketch = params.sketch(&[0.5, f64::NAN]);
        let before = sketch.to_bytes().unwrap();
        assert!(
            matches!(sketch.merge(&other.sketch(&[0.5])), Err(Error::Partitions(_))),
            "{other:?}"
        );
        assert_eq!(sketch.to_bytes().unwrap(), before);
    }
    // If there is no room for the lowest values, both sketches keep all values, so they can be merged.
    let (five, nine) = (
        SketchParams {
            lowest: Some(5),
            ..params
        },
        SketchParams {
            lowest: Some(9),
            ..params
        },
    );
    five.sketch(&[0.5]).merge(&nine.sketch(&[0.5])).unwrap();
}

#[test]
fn invalid_parameters_are_refused() {
    let infinity = f64::INFINITY;
    for (low, high, lowest, capacity) in [
        (1.0, 0.5, None, 9),
        (f64::NAN, 1.0, None, 9),
        (0.0, f64::NAN, None, 9),
        (-infinity, infinity, Some(0), 9),
        (-infinity, infinity, None, 1),
        (-infinity, infinity, None, 0),
    ] {
        let error = Sketch::new(low, high, lowest, capacity).unwrap_err();
        assert!(matches!(error, Error::Partitions(_)), "{error}");
    }
}

/// Returns the bits of a number as an integer that has the order of the numbers.
fn key(value: f64) -> u64 {
    let bits = value.to_bits();
    if value.is_sign_negative() {
        !bits
    } else {
        bits | 1 << 63
    }
}

/// Returns the first numbers of a stored sketch: the scope, the number of lowest values, the capacity, and the numbers of values,
/// of missing values and of values below the scope.
fn head(scope: (f64, f64), lowest: u64, capacity: u64, n: u64, n_missing: u64, n_below: u64) -> Vec<u64> {
    vec![key(scope.0), key(scope.1), lowest, capacity, n, n_missing, n_below]
}

/// Returns the bytes of a sketch that keeps each distinct value with its count.
fn exact(head: &[u64], values: &[f64], counts: &[u64]) -> Vec<u8> {
    let mut numbers = [head, &[0, values.len() as u64]].concat();
    numbers.extend(values.iter().copied().map(key));
    numbers.push(counts.len() as u64);
    numbers.extend(counts);
    bytes_of(*b"isoxsk1\n", &numbers)
}

/// Returns the bytes of a sketch of buckets: the number of values in each, and the lowest and the highest value of each.
fn buckets(head: &[u64], counts: &[u64], lowest: &[f64], highest: &[f64]) -> Vec<u8> {
    let mut numbers = [head, &[1, counts.len() as u64], counts].concat();
    for values in [lowest, highest] {
        numbers.push(values.len() as u64);
        numbers.extend(values.iter().copied().map(key));
    }
    bytes_of(*b"isoxsk1\n", &numbers)
}

/// Maximum number of values that a sketch counts.
const MAX_VALUES: u64 = 1 << 53;

#[test]
fn bytes_at_the_limits_are_read() {
    let (unit, low, high) = ((-1.0, 1.0), (f64::NEG_INFINITY, 1.0), (-1.0, f64::INFINITY));
    let sketches = [
        ("nothing", exact(&head(unit, 0, 2, 0, 0, 0), &[], &[])),
        (
            "a scope of one value",
            exact(&head((0.5, 0.5), 0, 2, 1, 0, 0), &[0.5], &[1]),
        ),
        (
            "both ends of the scope",
            exact(&head(unit, 0, 2, 2, 0, 0), &[-1.0, 1.0], &[1, 1]),
        ),
        (
            "values on both sides of the scope",
            exact(&head(unit, 0, 2, 6, 1, 1), &[0.0, 0.5], &[1, 2]),
        ),
        (
            "values above a scope without a lower end",
            exact(&head(low, 0, 2, 3, 0, 0), &[0.0], &[2]),
        ),
        (
            "values below a scope without an upper end",
            exact(&head(high, 0, 2, 3, 0, 1), &[0.0], &[2]),
        ),
        (
            "as many of the lowest as there is room for",
            exact(&head(high, 4, 4, 9, 0, 0), &[0.0, 0.5], &[3, 1]),
        ),
        (
            "the last of the lowest tied",
            exact(&head(high, 2, 4, 9, 0, 1), &[0.0, 0.5], &[1, 5]),
        ),
        (
            "as many distinct values as there is room for",
            exact(&head(INFINITE, 0, 3, 3, 0, 0), &[0.0, 1.0, 2.0], &[1; 3]),
        ),
        (
            "the maximum number of values",
            exact(&head(INFINITE, 0, 2, MAX_VALUES, 0, 0), &[0.0], &[MAX_VALUES]),
        ),
        (
            "the maximum number of values with missing ones",
            exact(&head(INFINITE, 0, 2, 1, MAX_VALUES - 1, 0), &[0.0], &[1]),
        ),
        (
            "buckets",
            buckets(&head(INFINITE, 0, 2, 3, 0, 0), &[2, 1], &[1.0, 2.0], &[1.01, 2.0]),
        ),
        (
            "a bucket of equal values",
            buckets(&head(INFINITE, 0, 2, 4, 0, 0), &[2, 2], &[1.0, 2.0], &[1.01, 2.0]),
        ),
        (
            "a bucket at the end",
            buckets(&head((0.0, 1.0), 0, 2, 3, 0, 0), &[2, 1], &[0.0, 1.0], &[5e-324, 1.0]),
        ),
    ];
    for (name, bytes) in sketches {
        let sketch = Sketch::from_bytes(&bytes).expect(name);
        assert_eq!(sketch.to_bytes().unwrap(), bytes, "{name}");
    }
}

fn check_refused(name: &str, bytes: &[u8]) {
    let outcome = Sketch::from_bytes(bytes);
    assert!(matches!(outcome, Err(Error::File(_))), "{name}: {outcome:?}");
}

/// Each case differs from valid bytes in a single property.
#[test]
fn bytes_of_impossible_values_are_refused() {
    let (unit, low, high) = ((-1.0, 1.0), (f64::NEG_INFINITY, 1.0), (-1.0, f64::INFINITY));
    let nothing = |scope| exact(&head(scope, 0, 2, 0, 0, 0), &[], &[]);
    let state = [head(unit, 0, 2, 0, 0, 0), vec![2, 0, 0]].concat();
    let sketches = [
        ("a scope that ends before it begins", nothing((1.0, -1.0))),
        ("a scope from NaN", nothing((-f64::NAN, 1.0))),
        ("a scope to NaN", nothing((-1.0, f64::NAN))),
        ("a scope from negative zero", nothing((-0.0, 1.0))),
        ("a scope to negative zero", nothing((-1.0, -0.0))),
        ("room for one value", exact(&head(unit, 0, 1, 0, 0, 0), &[], &[])),
        (
            "more of the lowest than there is room for",
            exact(&head(unit, 3, 2, 0, 0, 0), &[], &[]),
        ),
        ("another state", bytes_of(*b"isoxsk1\n", &state)),
        (
            "more values held than there are",
            exact(&head(INFINITE, 0, 2, 2, 0, 0), &[0.0], &[3]),
        ),
        (
            "more values held and below than there are",
            exact(&head(unit, 0, 2, 3, 0, 2), &[0.0], &[2]),
        ),
        (
            "counts whose sum overflows",
            exact(&head(unit, 0, 2, 3, 0, 0), &[0.0, 0.5], &[u64::MAX, 4]),
        ),
        (
            "too many values",
            exact(&head(INFINITE, 0, 2, MAX_VALUES + 1, 0, 0), &[0.0], &[MAX_VALUES + 1]),
        ),
        (
            "too many values with missing ones",
            exact(&head(INFINITE, 0, 2, 1, MAX_VALUES, 0), &[0.0], &[1]),
        ),
        (
            "a value whose count is zero",
            exact(&head(INFINITE, 0, 2, 2, 0, 0), &[0.0, 0.5], &[2, 0]),
        ),
        (
            "values in descending order",
            exact(&head(INFINITE, 0, 2, 2, 0, 0), &[0.5, 0.0], &[1, 1]),
        ),
        (
            "a value twice",
            exact(&head(INFINITE, 0, 2, 2, 0, 0), &[0.5, 0.5], &[1, 1]),
        ),
        (
            "a value below the scope",
            exact(&head(unit, 0, 2, 1, 0, 0), &[-2.0], &[1]),
        ),
        (
            "a value above the scope",
            exact(&head(unit, 0, 2, 1, 0, 0), &[2.0], &[1]),
        ),
        ("a negative zero", exact(&head(unit, 0, 2, 1, 0, 0), &[-0.0], &[1])),
        (
            "fewer counts than values",
            exact(&head(INFINITE, 0, 2, 1, 0, 0), &[0.0, 0.5], &[1]),
        ),
        (
            "more counts than values",
            exact(&head(INFINITE, 0, 2, 2, 0, 0), &[0.0], &[1, 1]),
        ),
        (
            "values below negative infinity",
            exact(&head(low, 0, 2, 3, 0, 1), &[0.0], &[2]),
        ),
        ("values above infinity", exact(&head(high, 0, 2, 3, 0, 0), &[0.0], &[2])),
        (
            "values missing among the lowest",
            exact(&head(high, 3, 4, 9, 0, 1), &[0.0], &[2]),
        ),
        (
            "more of the lowest than wanted",
            exact(&head(high, 2, 4, 9, 0, 0), &[0.0, 0.5], &[2, 1]),
        ),
        (
            "more distinct values than there is room for",
            exact(&head(INFINITE, 0, 2, 3, 0, 0), &[0.0, 1.0, 2.0], &[1; 3]),
        ),
    ];
    for (name, bytes) in sketches {
        check_refused(name, &bytes);
    }
}

/// Each case differs from valid bytes in a single property.
#[test]
fn bytes_of_impossible_buckets_are_refused() {
    let unit = (-1.0, 1.0);
    let of_buckets = |n: u64, counts: &[u64], lowest: &[f64], highest: &[f64]| {
        buckets(&head(INFINITE, 0, 2, n, 0, 0), counts, lowest, highest)
    };
    let sketches = [
        (
            "a bucket with values of two buckets",
            of_buckets(3, &[2, 1], &[1.0, 2.0], &[1.9, 2.0]),
        ),
        (
            "two buckets in one position",
            of_buckets(4, &[2, 2], &[1.0, 1.01], &[1.001, 1.02]),
        ),
        (
            "a bucket of one value whose lowest and highest differ",
            of_buckets(3, &[1, 2], &[1.0, 2.0], &[1.01, 2.0]),
        ),
        (
            "a bucket whose highest is below its lowest",
            of_buckets(3, &[2, 1], &[1.01, 2.0], &[1.0, 2.0]),
        ),
        (
            "a bucket that ends beyond the scope",
            buckets(
                &head((0.0, 1.0), 0, 2, 3, 0, 0),
                &[1, 2],
                &[0.0, 1.0],
                &[0.0, 1.000_001],
            ),
        ),
        (
            "a bucket that ends in negative zero",
            buckets(&head(unit, 0, 2, 3, 0, 0), &[1, 2], &[-1.0, -5e-324], &[-1.0, -0.0]),
        ),
        (
            "fewer lowest values than buckets",
            of_buckets(3, &[2, 1], &[1.0], &[1.01, 2.0]),
        ),
        (
            "fewer highest values than buckets",
            of_buckets(3, &[2, 1], &[1.0, 2.0], &[1.01]),
        ),
        (
            "fewer counts than buckets",
            of_buckets(3, &[3], &[1.0, 2.0], &[1.01, 2.0]),
        ),
        (
            "buckets of the lowest values",
            buckets(&head(INFINITE, 1, 2, 3, 0, 0), &[2, 1], &[1.0, 2.0], &[1.01, 2.0]),
        ),
        (
            "buckets where there is room for all values",
            buckets(&head(INFINITE, 0, 3, 3, 0, 0), &[2, 1], &[1.0, 2.0], &[1.01, 2.0]),
        ),
    ];
    for (name, bytes) in sketches {
        check_refused(name, &bytes);
    }
}

#[test]
fn sketches_of_too_many_values_do_not_merge() {
    let of_values = |n: u64, n_missing: u64| {
        Sketch::from_bytes(&exact(&head(INFINITE, 0, 2, n, n_missing, 0), &[0.0], &[n])).unwrap()
    };
    for largest in 0..4 {
        for (more, is_merged) in [(MAX_VALUES - 3, true), (MAX_VALUES - 2, false)] {
            let mut numbers = [1; 4];
            numbers[largest] = more;
            let [n, n_missing, other_n, other_n_missing] = numbers;
            let mut sketch = of_values(n, n_missing);
            let outcome = sketch.merge(&of_values(other_n, other_n_missing));
            assert_eq!(outcome.is_ok(), is_merged, "{numbers:?}");
            assert_eq!(sketch.n() + sketch.n_missing() == MAX_VALUES, is_merged, "{numbers:?}");
        }
    }
}

/// A sketch needs 48 bytes for each value that it keeps, including the memory for a merge, and at least 8 MiB for buckets.
#[test]
fn memory_follows_from_the_distinct_values_that_can_be_kept() {
    let (min_bytes, pending) = (8 << 20, 65_536);
    for capacity in [300_000, 400_000] {
        let params = SketchParams {
            scope: INFINITE,
            lowest: None,
            capacity,
        };
        let mut sketch = params.sketch(&[]);
        for (n_more, n_kept) in [
            (0, 0),
            (150_000, 0),
            (200_000, 200_000),
            (usize::MAX, capacity + pending),
        ] {
            assert_eq!(sketch.memory(n_more), min_bytes.max(48 * n_kept), "{n_more} more");
        }
        // Some of these values have been sorted, and others are still pending.
        sketch.add((0..100_000).map(f64::from));
        for (n_more, n_kept) in [(0, 0), (150_000, 250_000), (usize::MAX, capacity + pending)] {
            assert_eq!(sketch.memory(n_more), min_bytes.max(48 * n_kept), "{n_more} more");
        }
        sketch.add((0..=capacity as u32).map(f64::from));
        assert_eq!((sketch.n_distinct(), sketch.memory(usize::MAX)), (None, min_bytes));
    }
}
