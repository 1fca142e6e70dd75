//! Tests that ranks counted in partitions equal the definition and the ranks in the whole table.

use crate::common::partitioned::{bytes_of, damage_is_refused, edited, edits, merged};
use isoxide::error::Error;
use isoxide::matrix::{Column, Matrix};
use isoxide::rank::mergeable::RankCounts;
use isoxide::rank::{Definition, Kind, NanPolicy, Ranks, Tail, percentile_ranks};
use ndarray::{Array2, ArrayView1, Axis, Slice};
use proptest::collection::vec;
use proptest::prelude::*;

const KINDS: [Kind; 4] = [Kind::Rank, Kind::Weak, Kind::Strict, Kind::Mean];
const TAILS: [Tail; 3] = [Tail::Upper, Tail::Lower, Tail::Two];
const POLICIES: [NanPolicy; 2] = [NanPolicy::Propagate, NanPolicy::Omit];

fn definitions() -> impl Iterator<Item = Definition> {
    let of_kind = |kind| {
        TAILS.into_iter().flat_map(move |tail| {
            POLICIES
                .into_iter()
                .map(move |nan_policy| Definition { kind, tail, nan_policy })
        })
    };
    KINDS.into_iter().flat_map(of_kind)
}

/// A column that owns its values.
#[derive(Debug, Clone)]
enum Owned {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    I64AsF64(Vec<i64>),
}

impl Owned {
    fn borrow(&self) -> Column<'_> {
        match self {
            Self::F32(v) => Column::F32(ArrayView1::from(v)),
            Self::F64(v) => Column::F64(ArrayView1::from(v)),
            Self::I64(v) => Column::I64(ArrayView1::from(v)),
            Self::I64AsF64(v) => Column::I64AsF64(ArrayView1::from(v)),
        }
    }

    fn floats(&self) -> Vec<f64> {
        match self {
            Self::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::F64(v) => v.clone(),
            Self::I64(v) | Self::I64AsF64(v) => v.iter().map(|&x| x as f64).collect(),
        }
    }
}

fn matrix(columns: &[Owned]) -> Matrix<'_> {
    Matrix::from_columns(columns.iter().map(Owned::borrow).collect()).unwrap()
}

/// Counts the values below a query, equal to it, and above it.
fn comparisons<T: Copy + PartialOrd>(reference: &[T], query: T) -> [u64; 3] {
    let count = |is: fn(&T, &T) -> bool| reference.iter().filter(|x| is(x, &query)).count() as u64;
    [count(T::lt), count(T::eq), count(T::gt)]
}

/// Computes the percentile and the direction of one cell by the definition: it compares the cell with all values of all partitions.
fn oracle(partitions: &[&Owned], rows: &Owned, row: usize, definition: Definition) -> (f64, i8) {
    let Definition { kind, tail, nan_policy } = definition;
    let query = rows.floats()[row];
    let (mut sums, mut n_missing) = ([0; 3], 0);
    for &partition in partitions {
        let counts = match (partition, rows) {
            (Owned::I64(partition), Owned::I64(rows)) => comparisons(partition, rows[row]),
            (partition, _) => comparisons(&partition.floats(), query),
        };
        n_missing += partition.floats().iter().filter(|x| x.is_nan()).count();
        sums = [0, 1, 2].map(|i| sums[i] + counts[i]);
    }
    let [below, equal, above] = sums;
    let n = (below + equal + above) as f64;
    if query.is_nan() || n == 0.0 || (n_missing > 0 && nan_policy == NanPolicy::Propagate) {
        return (f64::NAN, 0);
    }
    let percentile = |below: u64| match kind {
        Kind::Rank => (2 * below + equal + u64::from(equal > 0)) as f64 * (50.0 / n),
        Kind::Weak => (below + equal) as f64 * (100.0 / n),
        Kind::Strict => below as f64 * (100.0 / n),
        Kind::Mean => (2 * below + equal) as f64 * (50.0 / n),
    };
    let (upper, lower) = (percentile(below), percentile(above));
    let percentile = match tail {
        Tail::Upper => upper,
        Tail::Lower => lower,
        Tail::Two => upper.max(lower),
    };
    (percentile, if upper >= lower { 1 } else { -1 })
}

/// Returns the bits of a value. All NaN have the same bits, but zeros of both signs have different ones.
fn bits(x: f64) -> u64 {
    if x.is_nan() { f64::NAN } else { x }.to_bits()
}

fn equal(a: &Ranks, b: &Ranks) -> bool {
    a.percentiles.map(|&x| bits(x)) == b.percentiles.map(|&x| bits(x)) && a.directions == b.directions
}

fn counted(rows: &Matrix<'_>, partitions: &[Matrix<'_>], workers: usize) -> RankCounts {
    let mut counts = RankCounts::new(rows).unwrap();
    for partition in partitions {
        counts.add(partition, workers).unwrap();
    }
    counts
}

/// Draws a column of one of four types, with ties and special values.
fn column(n: usize) -> impl Strategy<Value = Owned> {
    let special = prop::sample::select(vec![
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        5e-324,
        (1_u64 << 53) as f64,
        (1_u64 << 63) as f64,
        -((1_u64 << 63) as f64),
    ]);
    let float = prop_oneof![
        5 => (-5_i8..5).prop_map(f64::from),
        1 => any::<u64>().prop_map(f64::from_bits),
        2 => special
    ];
    let integer = || {
        let base = prop::sample::select(vec![0_i64, 1 << 53, -(1 << 53), i64::MAX - 4, i64::MIN + 4, 1 << 62]);
        prop_oneof![
            6 => (base, -4_i64..5).prop_map(|(base, offset)| base + offset),
            1 => any::<i64>()
        ]
    };
    prop_oneof![
        1 => vec(float.clone(), n).prop_map(|v| Owned::F32(v.into_iter().map(|x| x as f32).collect())),
        2 => vec(float, n).prop_map(Owned::F64),
        2 => vec(integer(), n).prop_map(Owned::I64),
        1 => vec(integer(), n).prop_map(Owned::I64AsF64),
    ]
}

/// Draws columns, all with the same number of rows.
fn columns(n_columns: usize, n_rows: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Owned>> {
    n_rows.prop_flat_map(move |n| vec(column(n), n_columns))
}

/// Draws rows, and a reference in partitions. The type of a column may differ between partitions.
fn case() -> impl Strategy<Value = (Vec<Owned>, Vec<Vec<Owned>>)> {
    (1_usize..4).prop_flat_map(|d| (columns(d, 0..12), vec(columns(d, 0..12), 1..6)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn ranks_in_partitions_of_any_types_follow_the_definition(
        (rows, partitions) in case(), picks in vec(0_usize..60, 6), workers in 1_usize..4, stored: bool,
    ) {
        let cells = matrix(&rows);
        let reference_partitions: Vec<Matrix<'_>> = partitions.iter().map(|partition| matrix(partition)).collect();
        let whole = counted(&cells, &reference_partitions, workers);
        let each = reference_partitions.iter().map(|partition| {
            let counts = counted(&cells, std::slice::from_ref(partition), workers);
            if stored { RankCounts::from_bytes(&counts.to_bytes().unwrap()).unwrap() } else { counts }
        });
        let sum = merged(each.collect(), &picks, |a, b| {
            let mut swapped = b.clone();
            swapped.merge(a).unwrap();
            a.merge(b).unwrap();
            assert_eq!(a.to_bytes().unwrap(), swapped.to_bytes().unwrap());
        });
        prop_assert_eq!(sum.to_bytes().unwrap(), whole.to_bytes().unwrap());
        let read = RankCounts::from_bytes(&whole.to_bytes().unwrap()).unwrap();
        prop_assert_eq!(read.to_bytes().unwrap(), whole.to_bytes().unwrap());
        let n: usize = reference_partitions.iter().map(Matrix::n_rows).sum();
        prop_assert_eq!((read.n(), read.n_rows(), read.n_columns()), (n as u64, cells.n_rows(), rows.len()));
        for definition in definitions() {
            let ranks = sum.ranks(definition).unwrap();
            prop_assert!(equal(&read.ranks(definition).unwrap(), &ranks));
            for (j, rows) in rows.iter().enumerate() {
                let reference: Vec<&Owned> = partitions.iter().map(|partition| &partition[j]).collect();
                for row in 0..cells.n_rows() {
                    let (percentile, direction) = oracle(&reference, rows, row, definition);
                    let actual = (bits(ranks.percentiles[[row, j]]), ranks.directions[[row, j]]);
                    prop_assert_eq!(actual, (bits(percentile), direction), "{:?}, row {}, column {}", definition, row, j);
                }
            }
        }
        for (j, rows) in rows.iter().enumerate() {
            let missing = |partition: &Vec<Owned>| partition[j].floats().iter().filter(|x| x.is_nan()).count() as u64;
            prop_assert_eq!(read.n_missing().nth(j), Some(partitions.iter().map(missing).sum()));
            let (read_values, values) = (read.values(j), rows.floats());
            prop_assert!(read_values.iter().zip(&values).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
            prop_assert_eq!(read_values.len(), values.len());
        }
        prop_assert!(read.values(rows.len()).is_empty());
    }

    #[test]
    fn ranks_in_partitions_equal_those_in_the_whole_table(
        rows in columns(3, 0..20), reference in columns(3, 0..40), cuts in vec(0_usize..41, 0..5), picks in vec(0_usize..60, 6),
        workers in 1_usize..4,
    ) {
        let n = reference[0].floats().len();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(n)).chain([0, n]).collect();
        cuts.sort_unstable();
        let (cells, whole) = (matrix(&rows), matrix(&reference));
        let counts = cuts.windows(2).map(|ends| {
            let slice = Slice::from(ends[0]..ends[1]);
            let partition = (0..3).map(|j| match whole.column(j) {
                Column::F32(v) => Column::F32(v.slice_axis_move(Axis(0), slice)),
                Column::F64(v) => Column::F64(v.slice_axis_move(Axis(0), slice)),
                Column::I64(v) => Column::I64(v.slice_axis_move(Axis(0), slice)),
                Column::I64AsF64(v) => Column::I64AsF64(v.slice_axis_move(Axis(0), slice)),
            });
            counted(&cells, &[Matrix::from_columns(partition.collect()).unwrap()], workers)
        });
        let sum = merged(counts.collect(), &picks, |a, b| a.merge(b).unwrap());
        prop_assert_eq!(sum.to_bytes().unwrap(), counted(&cells, std::slice::from_ref(&whole), workers).to_bytes().unwrap());
        for definition in definitions() {
            let expected = percentile_ranks(&whole, &cells, definition, workers).unwrap();
            prop_assert!(equal(&sum.ranks(definition).unwrap(), &expected), "{:?}", definition);
        }
    }

    #[test]
    fn damaged_bytes_are_refused(rows in columns(2, 0..4), partition in columns(2, 0..5)) {
        let counts = counted(&matrix(&rows), &[matrix(&partition)], 1);
        prop_assert!(damage_is_refused(&counts.to_bytes().unwrap(), |bytes| RankCounts::from_bytes(bytes).is_ok()));
    }

    #[test]
    fn edited_bytes_are_refused_or_valid_counts(
        (rows, partitions) in case(), edits in edits(),
    ) {
        let honest = counted(&matrix(&rows), &[matrix(&partitions[0])], 1);
        let bytes = edited(&honest.to_bytes().unwrap(), &edits);
        if let Ok(counts) = RankCounts::from_bytes(&bytes) {
            prop_assert_eq!(counts.to_bytes().unwrap(), bytes);
            check_invariants(&counts, &honest, &partitions);
        }
    }
}

/// Checks invariants of all valid counts, even of counts that no reference can have.
fn check_invariants(counts: &RankCounts, honest: &RankCounts, partitions: &[Vec<Owned>]) {
    let (n, dim) = (counts.n(), (counts.n_rows(), counts.n_columns()));
    assert!(counts.n_missing().all(|n_missing| n_missing <= n));
    for definition in definitions() {
        let Ranks {
            percentiles,
            directions,
        } = counts.ranks(definition).unwrap();
        assert_eq!((percentiles.dim(), directions.dim()), (dim, dim));
        assert!(
            percentiles
                .iter()
                .all(|x| x.is_nan() || (0.0..=100.0 + 1e-9).contains(x)),
            "{percentiles}"
        );
    }
    for j in 0..dim.1 {
        assert_eq!(counts.values(j).len(), dim.0);
    }
    for other in [honest, counts] {
        let mut sum = counts.clone();
        if sum.merge(other).is_ok() {
            assert_eq!(sum.n(), n + other.n());
            RankCounts::from_bytes(&sum.to_bytes().unwrap()).unwrap();
            assert_eq!(sum.ranks(definitions().next().unwrap()).unwrap().percentiles.dim(), dim);
        } else {
            assert_eq!(sum.to_bytes().unwrap(), counts.to_bytes().unwrap());
        }
    }
    for partition in partitions {
        let mut sum = counts.clone();
        if sum.add(&matrix(partition), 1).is_ok() {
            assert_eq!(
                sum.n(),
                n + if dim.1 == 0 {
                    0
                } else {
                    partition[0].floats().len() as u64
                }
            );
            RankCounts::from_bytes(&sum.to_bytes().unwrap()).unwrap();
        } else {
            assert_eq!(sum.to_bytes().unwrap(), counts.to_bytes().unwrap());
        }
    }
}

/// Counts more columns than one group holds, and enough rows for several workers.
#[test]
fn many_columns_and_rows_are_counted_correctly() {
    let cell = |(i, j): (usize, usize)| {
        let mixed = (i * 7919 + j * 104_729).wrapping_mul(2_654_435_761) >> 7;
        if mixed.is_multiple_of(97) {
            f64::NAN
        } else {
            (mixed % (10 + 50 * j)) as f64 - 5.0
        }
    };
    for (n, d) in [(300, 70), (70_001, 2)] {
        let reference = Array2::from_shape_fn((n, d), cell);
        let rows = Array2::from_shape_fn((13, d), cell);
        let integers = rows.map(|&x| x as i64);
        let single = reference.map(|&x| x as f32);
        let views = [Matrix::from_f64(reference.view()), Matrix::from_f32(single.view())];
        for (rows, whole) in [Matrix::from_f64(rows.view()), Matrix::from_i64(integers.view())]
            .iter()
            .zip(&views)
        {
            let expected = counted(rows, std::slice::from_ref(whole), 1).to_bytes().unwrap();
            for workers in [2, 3] {
                assert!(counted(rows, std::slice::from_ref(whole), workers).to_bytes().unwrap() == expected);
            }
            let halves = reference.view().split_at(Axis(0), n / 3);
            let halves = [Matrix::from_f64(halves.0), Matrix::from_f64(halves.1)];
            let counts = counted(rows, &halves, 3);
            for definition in definitions() {
                let expected = percentile_ranks(whole, rows, definition, 2).unwrap();
                assert!(equal(&counts.ranks(definition).unwrap(), &expected), "{definition:?}");
            }
        }
    }
}

#[test]
fn counts_for_other_rows_do_not_merge() {
    let rows = [Owned::F64(vec![1.0, f64::NAN, 2.0]), Owned::I64(vec![1, 2, 2])];
    let others = [
        vec![Owned::F64(vec![1.0, f64::NAN, 3.0]), Owned::I64(vec![1, 2, 2])],
        vec![Owned::F64(vec![1.0, 2.0, f64::NAN]), Owned::I64(vec![1, 2, 2])],
        vec![Owned::F64(vec![1.0, f64::NAN, 2.0]), Owned::I64(vec![1, 2, 1])],
        vec![Owned::F64(vec![1.0, f64::NAN, 2.0]), Owned::F64(vec![1.0, 2.0, 2.0])],
        vec![Owned::F64(vec![1.0, f64::NAN, 2.0])],
        vec![Owned::F64(vec![1.0, f64::NAN]), Owned::I64(vec![1, 2])],
        Vec::new(),
    ];
    let partition = [Owned::F64(vec![1.5]), Owned::I64(vec![1])];
    let mut counts = counted(&matrix(&rows), &[matrix(&partition)], 1);
    let before = counts.to_bytes().unwrap();
    for other in others {
        for (mut a, b) in [
            (counts.clone(), RankCounts::new(&matrix(&other)).unwrap()),
            (RankCounts::new(&matrix(&other)).unwrap(), counts.clone()),
        ] {
            assert!(matches!(a.merge(&b), Err(Error::Partitions(_))), "{other:?}");
        }
    }
    let wide = [partition[0].clone(), partition[1].clone(), partition[0].clone()];
    for wrong in [&wide[..], &partition[..1], &[]] {
        assert!(matches!(counts.add(&matrix(wrong), 1), Err(Error::ColumnCount { .. })));
    }
    assert_eq!(counts.to_bytes().unwrap(), before);
}

/// Integers above 2^53 that round to the same double differ among integers, and are equal when compared with floats.
#[test]
fn large_integers_are_counted_exactly_after_writing_and_reading() {
    let big = 1_i64 << 53;
    let rows = [Owned::I64(vec![big, big + 1, big + 2, big + 3])];
    let partitions = [
        Owned::F64(vec![big as f64; 3]),
        Owned::I64(vec![big, big + 1, big + 1, big + 3]),
        Owned::F64(vec![(big + 4) as f64, f64::NAN]),
    ];
    let matrices: Vec<Matrix<'_>> = partitions
        .iter()
        .map(|partition| matrix(std::slice::from_ref(partition)))
        .collect();
    let counts = counted(&matrix(&rows), &matrices, 1);
    let read = RankCounts::from_bytes(&counts.to_bytes().unwrap()).unwrap();
    assert_eq!(read.to_bytes().unwrap(), counts.to_bytes().unwrap());
    let definition = Definition {
        kind: Kind::Weak,
        tail: Tail::Upper,
        nan_policy: NanPolicy::Omit,
    };
    let ranks = read.ranks(definition).unwrap().percentiles;
    assert_eq!(
        ranks.column(0).to_vec(),
        [4, 6, 6, 8].map(|n| f64::from(n) * (100.0 / 8.0))
    );
}

fn counts_of(numbers: &[u64]) -> Result<RankCounts, Error> {
    RankCounts::from_bytes(&bytes_of(*b"isoxrk1\n", numbers))
}

#[test]
fn bytes_of_impossible_counts_are_refused() {
    let values = [1_u64, 10];
    // Two rows and one column; of integers (0), two values, their positions, counts below, counts at or below, n, missing.
    let good = [2, 1, 0, 2, values[0], values[1], 2, 0, 1, 2, 1, 2, 2, 1, 3, 4, 1];
    let counts = counts_of(&good).unwrap();
    assert_eq!(counts.values(0), [1.0, 10.0]);
    let wrong: [(&str, usize, u64); 13] = [
        ("too few rows", 0, 3),
        ("too few columns", 1, 2),
        ("an unknown type of column", 2, 2),
        ("descending values", 4, 11),
        ("equal values", 4, 10),
        ("a position out of range", 7, 2),
        ("a position out of range", 8, u64::from(u32::MAX)),
        ("fewer counts than values", 9, 1),
        ("descending counts", 10, 3),
        ("more below than at or below", 11, 5),
        ("overlapping counts of integers that differ as doubles", 11, 0),
        ("more at or below than n", 14, 5),
        ("more missing than n", 16, 5),
    ];
    for (label, position, number) in wrong {
        let mut numbers = good;
        numbers[position] = number;
        assert!(counts_of(&numbers).is_err(), "{label}");
    }
    for n in [1 << 32, u64::MAX, 1 << 63] {
        assert!(counts_of(&[n, 0]).is_err(), "{n} rows without columns");
    }
    let no_columns = counts_of(&[3, 0]).unwrap();
    let definition = definitions().next().unwrap();
    assert_eq!(no_columns.ranks(definition).unwrap().percentiles.dim(), (3, 0));
}

/// Returns the stored numbers of one column: whether it has floats, its distinct values, the position of each row's value, the
/// counts below and at or below each value, and the numbers of all and of missing values.
fn stored(floats: bool, values: &[u64], positions: &[u64], counts: [&[u64]; 2], n: u64, n_missing: u64) -> Vec<u64> {
    let mut numbers = vec![u64::from(floats)];
    for list in [values, positions, counts[0], counts[1]] {
        numbers.push(list.len() as u64);
        numbers.extend(list);
    }
    numbers.extend([n, n_missing]);
    numbers
}

/// Maximum number of rows of a reference.
const MAX_ROWS: u64 = 1 << 53;

/// Each refused case differs from a valid one in a single property.
#[test]
fn bytes_at_the_limits_are_read_and_beyond_refused() {
    let bits = f64::to_bits;
    let (no_value, below, at_or_below) = (u64::MAX, [1, 2], [1, 3]);
    let counts = [&below[..], &at_or_below[..]];
    let floats = |values: [f64; 2], positions: &[u64], n, n_missing| {
        stored(true, &values.map(bits), positions, counts, n, n_missing)
    };
    let good = || floats([0.0, 1.0], &[0, 1], 5, 1);
    let single = |column: Vec<u64>| [vec![2, 1], column].concat();
    let pair = |a: Vec<u64>, b: Vec<u64>| [vec![2, 2], a, b].concat();
    let read = [
        ("a column", single(good())),
        (
            "a row without a value",
            single(floats([0.0, 1.0], &[1, no_value], 5, 1)),
        ),
        (
            "infinite values",
            single(floats([f64::NEG_INFINITY, f64::INFINITY], &[0, 1], 5, 1)),
        ),
        (
            "all values at or below the last",
            single(floats([0.0, 1.0], &[0, 1], 4, 1)),
        ),
        (
            "the maximum number of rows",
            single(floats([0.0, 1.0], &[0, 1], MAX_ROWS, 1)),
        ),
        (
            "only missing values",
            single(stored(true, &[bits(0.0)], &[0, 0], [&[0], &[0]], 7, 7)),
        ),
        (
            "two columns",
            pair(good(), stored(false, &[3], &[0, 0], [&[0], &[5]], 5, 0)),
        ),
    ];
    for (name, numbers) in read {
        let counts = counts_of(&numbers).expect(name);
        assert_eq!(counts.to_bytes().unwrap(), bytes_of(*b"isoxrk1\n", &numbers), "{name}");
    }
    let refused = [
        ("another type", single([vec![2], good()[1..].to_vec()].concat())),
        ("a negative zero", single(floats([-0.0, 1.0], &[0, 1], 5, 1))),
        ("NaN among the values", single(floats([0.0, f64::NAN], &[0, 1], 5, 1))),
        ("descending values", single(floats([1.0, 0.0], &[0, 1], 5, 1))),
        ("equal values", single(floats([1.0, 1.0], &[0, 1], 5, 1))),
        (
            "a position beyond the values",
            single(floats([0.0, 1.0], &[0, 2], 5, 1)),
        ),
        ("fewer rows than stated", single(floats([0.0, 1.0], &[0], 5, 1))),
        ("more rows than stated", single(floats([0.0, 1.0], &[0, 1, 1], 5, 1))),
        ("more values than n", single(floats([0.0, 1.0], &[0, 1], 3, 1))),
        ("more missing values than n", single(floats([0.0, 1.0], &[0, 1], 5, 6))),
        ("too many rows", single(floats([0.0, 1.0], &[0, 1], MAX_ROWS + 1, 1))),
        (
            "columns of different lengths",
            pair(good(), stored(false, &[3], &[0, 0], [&[0], &[5]], 6, 0)),
        ),
        (
            "fewer counts below",
            single(stored(true, &[bits(0.0), bits(1.0)], &[0, 1], [&[1], &[1, 3]], 5, 1)),
        ),
        (
            "fewer counts at or below",
            single(stored(true, &[bits(0.0), bits(1.0)], &[0, 1], [&[1, 2], &[1]], 5, 1)),
        ),
        (
            "fewer counts than values",
            single(stored(true, &[bits(0.0), bits(1.0)], &[0, 1], [&[1], &[1]], 5, 1)),
        ),
        (
            "more below than at or below",
            single(stored(true, &[bits(0.0)], &[0, 0], [&[2], &[1]], 5, 1)),
        ),
        (
            "values at or below one value, but not below the next",
            single(stored(true, &[bits(0.0), bits(1.0)], &[0, 1], [&[0, 1], &[2, 3]], 5, 1)),
        ),
    ];
    for (name, numbers) in refused {
        let outcome = counts_of(&numbers);
        assert!(matches!(outcome, Err(Error::File(_))), "{name}: {outcome:?}");
    }
}

#[test]
fn a_reference_of_too_many_rows_is_refused() {
    let of_rows = |n: u64| counts_of(&[vec![1, 1], stored(true, &[0], &[0], [&[0], &[n]], n, 0)].concat()).unwrap();
    for (n, is_counted) in [
        (MAX_ROWS - 3, true),
        (MAX_ROWS - 2, true),
        (MAX_ROWS - 1, false),
        (MAX_ROWS, false),
    ] {
        let mut sum = of_rows(n);
        assert_eq!(sum.merge(&of_rows(2)).is_ok(), is_counted, "{n}");
        assert_eq!(sum.n(), if is_counted { n + 2 } else { n });
        let mut sum = of_rows(n);
        assert_eq!(
            sum.add(&matrix(&[Owned::F64(vec![0.5, -1.0])]), 1).is_ok(),
            is_counted,
            "{n}"
        );
        assert_eq!(sum.n(), if is_counted { n + 2 } else { n });
    }
}

#[test]
fn counts_without_columns_merge_only_if_they_have_as_many_rows() {
    let (two_rows, three_rows) = (Array2::<f64>::zeros((2, 0)), Array2::<f64>::zeros((3, 0)));
    let counts = |rows: &Array2<f64>| RankCounts::new(&Matrix::from_f64(rows.view())).unwrap();
    assert!(counts(&two_rows).merge(&counts(&two_rows)).is_ok());
    assert!(matches!(
        counts(&two_rows).merge(&counts(&three_rows)),
        Err(Error::Partitions(_))
    ));
}
