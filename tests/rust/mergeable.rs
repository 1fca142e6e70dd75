//! Tests that ranks counted in partitions equal those of the whole table, and the definition.

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

/// Values below a query, equal to it, and above, by the definition.
fn compared<T: Copy + PartialOrd>(reference: &[T], query: T) -> [u64; 3] {
    let count = |is: fn(&T, &T) -> bool| reference.iter().filter(|x| is(x, &query)).count() as u64;
    [count(T::lt), count(T::eq), count(T::gt)]
}

/// The rank of one cell: what each part says of it, added up.
fn oracle(parts: &[&Owned], rows: &Owned, row: usize, definition: Definition) -> (f64, i8) {
    let Definition { kind, tail, nan_policy } = definition;
    let query = rows.floats()[row];
    let (mut sums, mut n_missing) = ([0; 3], 0);
    for &part in parts {
        let counts = match (part, rows) {
            (Owned::I64(part), Owned::I64(rows)) => compared(part, rows[row]),
            (part, _) => compared(&part.floats(), query),
        };
        n_missing += part.floats().iter().filter(|x| x.is_nan()).count();
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

/// All NaN are one value here; zeros of both signs are not.
fn bits(x: f64) -> u64 {
    if x.is_nan() { f64::NAN } else { x }.to_bits()
}

fn same(a: &Ranks, b: &Ranks) -> bool {
    a.percentiles.map(|&x| bits(x)) == b.percentiles.map(|&x| bits(x)) && a.directions == b.directions
}

fn counted(rows: &Matrix<'_>, parts: &[Matrix<'_>], workers: usize) -> RankCounts {
    let mut counts = RankCounts::new(rows).unwrap();
    for part in parts {
        counts.add(part, workers).unwrap();
    }
    counts
}

/// Values with ties and all the odd ones, in one of four types.
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
            6 => (base, -4_i64..5).prop_map(|(base, more)| base + more),
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

/// Some columns of so many rows each.
fn columns(n_columns: usize, n_rows: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Owned>> {
    n_rows.prop_flat_map(move |n| vec(column(n), n_columns))
}

/// Rows, and a reference in parts whose columns are each of another type, or of the same.
fn case() -> impl Strategy<Value = (Vec<Owned>, Vec<Vec<Owned>>)> {
    (1_usize..4).prop_flat_map(|d| (columns(d, 0..12), vec(columns(d, 0..12), 1..6)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn parts_of_any_types_rank_by_the_definition(
        (rows, parts) in case(), picks in vec(0_usize..60, 6), workers in 1_usize..4, stored: bool,
    ) {
        let cells = matrix(&rows);
        let parts_of_reference: Vec<Matrix<'_>> = parts.iter().map(|part| matrix(part)).collect();
        let whole = counted(&cells, &parts_of_reference, workers);
        let each = parts_of_reference.iter().map(|part| {
            let counts = counted(&cells, std::slice::from_ref(part), workers);
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
        let n: usize = parts_of_reference.iter().map(Matrix::n_rows).sum();
        prop_assert_eq!((read.n(), read.n_rows(), read.n_columns()), (n as u64, cells.n_rows(), rows.len()));
        for definition in definitions() {
            let ranks = sum.ranks(definition).unwrap();
            prop_assert!(same(&read.ranks(definition).unwrap(), &ranks));
            for (j, rows) in rows.iter().enumerate() {
                let reference: Vec<&Owned> = parts.iter().map(|part| &part[j]).collect();
                for row in 0..cells.n_rows() {
                    let (percentile, direction) = oracle(&reference, rows, row, definition);
                    let found = (bits(ranks.percentiles[[row, j]]), ranks.directions[[row, j]]);
                    prop_assert_eq!(found, (bits(percentile), direction), "{:?}, row {}, column {}", definition, row, j);
                }
            }
        }
        for (j, rows) in rows.iter().enumerate() {
            let missing = |part: &Vec<Owned>| part[j].floats().iter().filter(|x| x.is_nan()).count() as u64;
            prop_assert_eq!(read.n_missing().nth(j), Some(parts.iter().map(missing).sum()));
            let (found, values) = (read.values(j), rows.floats());
            prop_assert!(found.iter().zip(&values).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
            prop_assert_eq!(found.len(), values.len());
        }
        prop_assert!(read.values(rows.len()).is_empty());
    }

    #[test]
    fn parts_rank_as_the_whole(
        rows in columns(3, 0..20), reference in columns(3, 0..40), cuts in vec(0_usize..41, 0..5), picks in vec(0_usize..60, 6),
        workers in 1_usize..4,
    ) {
        let n = reference[0].floats().len();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(n)).chain([0, n]).collect();
        cuts.sort_unstable();
        let (cells, whole) = (matrix(&rows), matrix(&reference));
        let counts = cuts.windows(2).map(|ends| {
            let slice = Slice::from(ends[0]..ends[1]);
            let part = (0..3).map(|j| match whole.column(j) {
                Column::F32(v) => Column::F32(v.slice_axis_move(Axis(0), slice)),
                Column::F64(v) => Column::F64(v.slice_axis_move(Axis(0), slice)),
                Column::I64(v) => Column::I64(v.slice_axis_move(Axis(0), slice)),
                Column::I64AsF64(v) => Column::I64AsF64(v.slice_axis_move(Axis(0), slice)),
            });
            counted(&cells, &[Matrix::from_columns(part.collect()).unwrap()], workers)
        });
        let sum = merged(counts.collect(), &picks, |a, b| a.merge(b).unwrap());
        prop_assert_eq!(sum.to_bytes().unwrap(), counted(&cells, std::slice::from_ref(&whole), workers).to_bytes().unwrap());
        for definition in definitions() {
            let expected = percentile_ranks(&whole, &cells, definition, workers).unwrap();
            prop_assert!(same(&sum.ranks(definition).unwrap(), &expected), "{:?}", definition);
        }
    }

    #[test]
    fn damaged_bytes_are_refused(rows in columns(2, 0..4), part in columns(2, 0..5)) {
        let counts = counted(&matrix(&rows), &[matrix(&part)], 1);
        prop_assert!(damage_is_refused(&counts.to_bytes().unwrap(), |bytes| RankCounts::from_bytes(bytes).is_ok()));
    }

    #[test]
    fn made_up_bytes_are_refused_or_counts_like_any_other(
        (rows, parts) in case(), edits in edits(),
    ) {
        let honest = counted(&matrix(&rows), &[matrix(&parts[0])], 1);
        let bytes = edited(&honest.to_bytes().unwrap(), &edits);
        if let Ok(counts) = RankCounts::from_bytes(&bytes) {
            prop_assert_eq!(counts.to_bytes().unwrap(), bytes);
            check_made_up(&counts, &honest, &parts);
        }
    }
}

/// What holds for any counts, whatever they say they have counted.
fn check_made_up(counts: &RankCounts, honest: &RankCounts, parts: &[Vec<Owned>]) {
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
    for part in parts {
        let mut sum = counts.clone();
        if sum.add(&matrix(part), 1).is_ok() {
            assert_eq!(sum.n(), n + if dim.1 == 0 { 0 } else { part[0].floats().len() as u64 });
            RankCounts::from_bytes(&sum.to_bytes().unwrap()).unwrap();
        } else {
            assert_eq!(sum.to_bytes().unwrap(), counts.to_bytes().unwrap());
        }
    }
}

/// More columns than are counted together, and rows enough to be shared out.
#[test]
fn many_columns_and_rows_are_like_few() {
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
                assert!(same(&counts.ranks(definition).unwrap(), &expected), "{definition:?}");
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
    let part = [Owned::F64(vec![1.5]), Owned::I64(vec![1])];
    let mut counts = counted(&matrix(&rows), &[matrix(&part)], 1);
    let before = counts.to_bytes().unwrap();
    for other in others {
        for (mut a, b) in [
            (counts.clone(), RankCounts::new(&matrix(&other)).unwrap()),
            (RankCounts::new(&matrix(&other)).unwrap(), counts.clone()),
        ] {
            assert!(matches!(a.merge(&b), Err(Error::Partitions(_))), "{other:?}");
        }
    }
    let wide = [part[0].clone(), part[1].clone(), part[0].clone()];
    for wrong in [&wide[..], &part[..1], &[]] {
        assert!(matches!(counts.add(&matrix(wrong), 1), Err(Error::ColumnCount { .. })));
    }
    assert_eq!(counts.to_bytes().unwrap(), before);
}

/// Large integers that one double stands for are compared with integers one by one, with floats as one.
#[test]
fn large_integers_among_integers_and_floats_survive_their_bytes() {
    let big = 1_i64 << 53;
    let rows = [Owned::I64(vec![big, big + 1, big + 2, big + 3])];
    let parts = [
        Owned::F64(vec![big as f64; 3]),
        Owned::I64(vec![big, big + 1, big + 1, big + 3]),
        Owned::F64(vec![(big + 4) as f64, f64::NAN]),
    ];
    let matrices: Vec<Matrix<'_>> = parts.iter().map(|part| matrix(std::slice::from_ref(part))).collect();
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
fn counts_that_cannot_be_are_refused() {
    let values = [1_u64, 10];
    // Rows, columns; integers, two values, a position each, values below and at or below, all, missing.
    let good = [2, 1, 0, 2, values[0], values[1], 2, 0, 1, 2, 1, 2, 2, 1, 3, 4, 1];
    let counts = counts_of(&good).unwrap();
    assert_eq!(counts.values(0), [1.0, 10.0]);
    let wrong: [(&str, usize, u64); 13] = [
        ("as many rows", 0, 3),
        ("as many columns", 1, 2),
        ("a kind of queries", 2, 2),
        ("ascending values", 4, 11),
        ("distinct values", 4, 10),
        ("a position", 7, 2),
        ("a position", 8, u64::from(u32::MAX)),
        ("counts of as many values", 9, 1),
        ("ascending counts", 10, 3),
        ("no more below than at or below", 11, 5),
        ("disjoint counts of integers that differ as doubles", 11, 0),
        ("no more than all", 14, 5),
        ("no more missing than all", 16, 5),
    ];
    for (label, position, number) in wrong {
        let mut numbers = good;
        numbers[position] = number;
        assert!(counts_of(&numbers).is_err(), "{label}");
    }
    for n in [1 << 32, u64::MAX, 1 << 63] {
        assert!(counts_of(&[n, 0]).is_err(), "{n} rows of nothing");
    }
    let nothing = counts_of(&[3, 0]).unwrap();
    let definition = definitions().next().unwrap();
    assert_eq!(nothing.ranks(definition).unwrap().percentiles.dim(), (3, 0));
}

/// Bytes of one column: whether it is of floats, values, the position of each row's value, values below, and at or below, all,
/// missing.
fn column_of(floats: bool, values: &[u64], positions: &[u64], counts: [&[u64]; 2], n: u64, n_missing: u64) -> Vec<u64> {
    let mut numbers = vec![u64::from(floats)];
    for list in [values, positions, counts[0], counts[1]] {
        numbers.push(list.len() as u64);
        numbers.extend(list);
    }
    numbers.extend([n, n_missing]);
    numbers
}

/// Maximum number of rows of a reference that are counted.
const MOST: u64 = 1 << 53;

/// Each refused one differs from one that is read in one thing only.
#[test]
fn bytes_of_counts_at_the_limits_are_read() {
    let bits = f64::to_bits;
    let (none, below, at_or_below) = (u64::MAX, [1, 2], [1, 3]);
    let counts = [&below[..], &at_or_below[..]];
    let floats = |values: [f64; 2], positions: &[u64], n, n_missing| {
        column_of(true, &values.map(bits), positions, counts, n, n_missing)
    };
    let good = || floats([0.0, 1.0], &[0, 1], 5, 1);
    let one = |column: Vec<u64>| [vec![2, 1], column].concat();
    let two = |a: Vec<u64>, b: Vec<u64>| [vec![2, 2], a, b].concat();
    let read = [
        ("a column", one(good())),
        ("a row without a value", one(floats([0.0, 1.0], &[1, none], 5, 1))),
        (
            "infinite values",
            one(floats([f64::NEG_INFINITY, f64::INFINITY], &[0, 1], 5, 1)),
        ),
        (
            "all values at or below the last",
            one(floats([0.0, 1.0], &[0, 1], 4, 1)),
        ),
        ("most rows", one(floats([0.0, 1.0], &[0, 1], MOST, 1))),
        (
            "only missing values",
            one(column_of(true, &[bits(0.0)], &[0, 0], [&[0], &[0]], 7, 7)),
        ),
        (
            "two columns",
            two(good(), column_of(false, &[3], &[0, 0], [&[0], &[5]], 5, 0)),
        ),
    ];
    for (name, numbers) in read {
        let counts = counts_of(&numbers).expect(name);
        assert_eq!(counts.to_bytes().unwrap(), bytes_of(*b"isoxrk1\n", &numbers), "{name}");
    }
    let refused = [
        ("another type", one([vec![2], good()[1..].to_vec()].concat())),
        ("a negative zero", one(floats([-0.0, 1.0], &[0, 1], 5, 1))),
        ("NaN among the values", one(floats([0.0, f64::NAN], &[0, 1], 5, 1))),
        ("descending values", one(floats([1.0, 0.0], &[0, 1], 5, 1))),
        ("equal values", one(floats([1.0, 1.0], &[0, 1], 5, 1))),
        ("a position behind the values", one(floats([0.0, 1.0], &[0, 2], 5, 1))),
        ("fewer rows than the others", one(floats([0.0, 1.0], &[0], 5, 1))),
        ("more rows than the others", one(floats([0.0, 1.0], &[0, 1, 1], 5, 1))),
        ("more values than were there", one(floats([0.0, 1.0], &[0, 1], 3, 1))),
        (
            "more missing values than were there",
            one(floats([0.0, 1.0], &[0, 1], 5, 6)),
        ),
        ("too many rows", one(floats([0.0, 1.0], &[0, 1], MOST + 1, 1))),
        (
            "columns of different lengths",
            two(good(), column_of(false, &[3], &[0, 0], [&[0], &[5]], 6, 0)),
        ),
        (
            "fewer counts below",
            one(column_of(true, &[bits(0.0), bits(1.0)], &[0, 1], [&[1], &[1, 3]], 5, 1)),
        ),
        (
            "fewer counts at or below",
            one(column_of(true, &[bits(0.0), bits(1.0)], &[0, 1], [&[1, 2], &[1]], 5, 1)),
        ),
        (
            "fewer counts than values",
            one(column_of(true, &[bits(0.0), bits(1.0)], &[0, 1], [&[1], &[1]], 5, 1)),
        ),
        (
            "more below than at or below",
            one(column_of(true, &[bits(0.0)], &[0, 0], [&[2], &[1]], 5, 1)),
        ),
        (
            "values at or below one, not below the next",
            one(column_of(
                true,
                &[bits(0.0), bits(1.0)],
                &[0, 1],
                [&[0, 1], &[2, 3]],
                5,
                1,
            )),
        ),
    ];
    for (name, numbers) in refused {
        let outcome = counts_of(&numbers);
        assert!(matches!(outcome, Err(Error::File(_))), "{name}: {outcome:?}");
    }
}

#[test]
fn a_reference_of_too_many_rows_is_refused() {
    let of_rows = |n: u64| counts_of(&[vec![1, 1], column_of(true, &[0], &[0], [&[0], &[n]], n, 0)].concat()).unwrap();
    for (n, is_counted) in [(MOST - 3, true), (MOST - 2, true), (MOST - 1, false), (MOST, false)] {
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
fn counts_of_no_columns_merge_only_for_as_many_rows() {
    let (two, three) = (Array2::<f64>::zeros((2, 0)), Array2::<f64>::zeros((3, 0)));
    let counts = |rows: &Array2<f64>| RankCounts::new(&Matrix::from_f64(rows.view())).unwrap();
    assert!(counts(&two).merge(&counts(&two)).is_ok());
    assert!(matches!(counts(&two).merge(&counts(&three)), Err(Error::Partitions(_))));
}
