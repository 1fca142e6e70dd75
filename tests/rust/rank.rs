//! Tests that percentile ranks equal their definition, for every layout, size and number of workers.

use std::collections::BTreeSet;

use isoxide::error::Error;
use isoxide::matrix::{Column, Matrix};
use isoxide::rank::counts::{Countable, Counter, Counts, Queries};
use isoxide::rank::sorted::{self, Sorted};
use isoxide::rank::{Definition, Kind, NanPolicy, Ranks, Tail, percentile_ranks};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use proptest::collection::vec;
use proptest::prelude::*;

const KINDS: [Kind; 4] = [Kind::Rank, Kind::Weak, Kind::Strict, Kind::Mean];
const TAILS: [Tail; 3] = [Tail::Upper, Tail::Lower, Tail::Two];
const POLICIES: [NanPolicy; 2] = [NanPolicy::Propagate, NanPolicy::Omit];

/// Computes the percentile of a query by SciPy's definition: it compares the query with all values of the reference.
fn oracle(reference: &[f64], query: f64, kind: Kind, policy: NanPolicy) -> f64 {
    let missing = reference.iter().filter(|x| x.is_nan()).count();
    let n = (reference.len() - missing) as f64;
    if query.is_nan() || n == 0.0 || (missing > 0 && policy == NanPolicy::Propagate) {
        return f64::NAN;
    }
    let below = reference.iter().filter(|&&x| x < query).count() as f64;
    let equal = reference.iter().filter(|&&x| x == query).count() as f64;
    match kind {
        Kind::Rank => (2.0 * below + equal + f64::from(u8::from(equal > 0.0))) * (50.0 / n),
        Kind::Weak => (below + equal) * (100.0 / n),
        Kind::Strict => below * (100.0 / n),
        Kind::Mean => (2.0 * below + equal) * (50.0 / n),
    }
}

/// Computes the percentile and the direction for any tail. The lower percentile is that of the negated query among the negated
/// values.
fn oracle_of_tail(reference: &[f64], query: f64, definition: Definition) -> (f64, i8) {
    let Definition { kind, tail, nan_policy } = definition;
    let mirrored: Vec<f64> = reference.iter().map(|x| -x).collect();
    let upper = oracle(reference, query, kind, nan_policy);
    let lower = oracle(&mirrored, -query, kind, nan_policy);
    let percentile = match tail {
        Tail::Upper => upper,
        Tail::Lower => lower,
        Tail::Two => upper.max(lower),
    };
    let direction = if upper >= lower { 1 } else { -1 };
    (percentile, if percentile.is_nan() { 0 } else { direction })
}

/// Returns the percentiles of the tail `Upper`.
fn percentiles(
    reference: &Matrix<'_>,
    rows: &Matrix<'_>,
    kind: Kind,
    nan_policy: NanPolicy,
    workers: usize,
) -> Array2<f64> {
    let tail = Tail::Upper;
    let definition = Definition { kind, tail, nan_policy };
    percentile_ranks(reference, rows, definition, workers)
        .unwrap()
        .percentiles
}

fn count<T: Countable>(reference: &[T], queries: &Queries<T>) -> Counts {
    let mut counter = Counter::new(queries);
    counter.add(reference);
    counter.finish()
}

/// Returns the bits of values. All NaN have the same bits, but zeros of both signs have different ones.
fn bits(values: impl IntoIterator<Item = f64>) -> Vec<u64> {
    let nan = f64::NAN.to_bits();
    values
        .into_iter()
        .map(|x| if x.is_nan() { nan } else { x.to_bits() })
        .collect()
}

fn column(values: &[f64]) -> ArrayView2<'_, f64> {
    ArrayView1::from(values).insert_axis(Axis(1))
}

/// Draws a value: often one of ten, so that there are ties, and sometimes NaN, an infinity or another special value.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-5_i8..5).prop_map(f64::from),
        2 => any::<f64>(),
        1 => prop::sample::select(vec![
            f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX,
        ]),
    ]
}

/// Draws a value that is not NaN. With `float` alone, almost every long reference would contain NaN.
fn number() -> impl Strategy<Value = f64> {
    float().prop_map(|x| if x.is_nan() { 0.0 } else { x })
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -3_i64..3,
        2 => any::<i64>(),
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX, 1 << 53, (1 << 53) + 1]),
    ]
}

proptest! {
    #[test]
    fn floats_equal_the_oracle(
        reference in prop_oneof![vec(float(), 0..300), vec(number(), 0..300)],
        queries in prop_oneof![vec(float(), 0..300), vec(float(), 0..7)],
        workers in 1_usize..4,
    ) {
        for kind in KINDS {
            for policy in POLICIES {
                let (a, b) = (Matrix::from_f64(column(&reference)), Matrix::from_f64(column(&queries)));
                for tail in TAILS {
                    let definition = Definition { kind, tail, nan_policy: policy };
                    let Ranks { percentiles, directions } = percentile_ranks(&a, &b, definition, workers).unwrap();
                    let (expected, sides): (Vec<f64>, Vec<i8>) =
                        queries.iter().map(|&q| oracle_of_tail(&reference, q, definition)).unzip();
                    prop_assert_eq!(bits(percentiles), bits(expected));
                    prop_assert_eq!(directions.into_iter().collect::<Vec<_>>(), sides);
                }
            }
        }
    }

    #[test]
    fn sorted_columns_have_the_same_ranks(
        reference in prop_oneof![vec(float(), 0..300), vec(number(), 0..300)],
        queries in vec(float(), 0..50),
        distinct in any::<bool>(),
        workers in 1_usize..4,
    ) {
        let mut values: Vec<f64> = reference.iter().copied().filter(|x| !x.is_nan()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let n_missing = (reference.len() - values.len()) as u64;
        let mut ends: Vec<i64> = (1..=values.len() as i64).collect();
        if distinct {
            ends = (0..values.len()).filter(|&i| values.get(i + 1) != Some(&values[i])).map(|i| i as i64 + 1).collect();
            values.dedup();
        }
        let ends = distinct.then(|| ArrayView1::from(&ends));
        let sorted = Sorted::new(Column::F64(ArrayView1::from(&values)), ends, n_missing).unwrap();
        let (a, b) = (Matrix::from_f64(column(&reference)), Matrix::from_f64(column(&queries)));
        for kind in KINDS {
            for nan_policy in POLICIES {
                for tail in TAILS {
                    let definition = Definition { kind, tail, nan_policy };
                    let expected = percentile_ranks(&a, &b, definition, 1).unwrap();
                    let actual = sorted::ranks(std::slice::from_ref(&sorted), &b, definition, workers).unwrap();
                    prop_assert_eq!(bits(actual.percentiles), bits(expected.percentiles));
                    prop_assert_eq!(actual.directions, expected.directions);
                }
            }
        }
    }

    #[test]
    fn sorted_integers_have_the_same_ranks(
        mut reference in vec(integer(), 0..100),
        integers in vec(integer(), 0..50),
        floats in vec(float(), 0..50),
    ) {
        reference.sort_unstable();
        let cells = Column::I64(ArrayView1::from(&reference));
        let a = Matrix::from_columns(vec![cells]).unwrap();
        let column = Sorted::new(cells, None, 0).unwrap();
        for queries in [Column::I64(ArrayView1::from(&integers)), Column::F64(ArrayView1::from(&floats))] {
            let b = Matrix::from_columns(vec![queries]).unwrap();
            let definition = Definition { kind: Kind::Rank, tail: Tail::Two, nan_policy: NanPolicy::Omit };
            let expected = percentile_ranks(&a, &b, definition, 1).unwrap();
            let actual = sorted::ranks(std::slice::from_ref(&column), &b, definition, 1).unwrap();
            prop_assert_eq!(bits(actual.percentiles), bits(expected.percentiles));
            prop_assert_eq!(actual.directions, expected.directions);
        }
    }

    #[test]
    fn integers_are_compared_as_integers(reference in vec(integer(), 0..300), queries in vec(integer(), 1..300)) {
        let distinct = Queries::new(queries.iter().copied());
        let counts = count(&reference, &distinct);
        for query in queries {
            let k = distinct.position(query).unwrap();
            prop_assert_eq!(counts.below()[k], reference.iter().filter(|&&x| x < query).count() as u64);
            prop_assert_eq!(counts.at_or_below()[k], reference.iter().filter(|&&x| x <= query).count() as u64);
        }
        prop_assert_eq!((counts.n(), counts.n_missing()), (reference.len() as u64, 0));
    }

    #[test]
    fn merged_counts_of_partitions_equal_one_pass(
        reference in vec(float(), 0..300),
        queries in vec(float(), 0..50),
        cuts in (0_usize..300, 0_usize..300),
    ) {
        let queries = Queries::new(queries);
        let second = cuts.0.max(cuts.1).min(reference.len());
        let first = cuts.0.min(cuts.1).min(second);
        let [a, b, c] = [&reference[..first], &reference[first..second], &reference[second..]].map(|p| count(p, &queries));
        let mut left = a.clone();
        left.merge(&b).unwrap();
        left.merge(&c).unwrap();
        let mut right = b;
        right.merge(&c).unwrap();
        let mut sum = a;
        sum.merge(&right).unwrap();
        prop_assert_eq!(&left, &sum);
        prop_assert_eq!(left, count(&reference, &queries));
    }
}

/// Draws many queries, which have bins and may have f32 keys, and a reference. There may be more queries than the kernels count
/// without a histogram, and some queries may be so close that they share a bin and a key. A value of the reference equals a query,
/// lies next to one, or is any number.
fn many_queries() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    let single = prop_oneof![
        any::<f32>().prop_map(f64::from),
        (-900_i16..900).prop_map(|x| f64::from(x) / 8.0)
    ];
    let queries = prop_oneof![
        vec(single.prop_filter("no NaN", |x| !x.is_nan()), 5..700),
        vec(0.0..1.0, 5..700),
        vec(-1e3..1e3, 500..530),
        vec(-1.0..1.0, 200..600).prop_map(|values| {
            let near = values.iter().step_by(150).map(|x| x + 1e-15).collect();
            [values, near].concat()
        }),
        vec(0.0..1.0, 5..300).prop_map(|values| [values, vec![f64::NEG_INFINITY, f64::INFINITY]].concat()),
    ];
    let draws = vec((any::<prop::sample::Index>(), 0_u8..12, any::<f64>()), 0..3_000);
    let most_frequent = 0_u8..12;
    (queries, draws, most_frequent).prop_map(|(queries, draws, most_frequent)| {
        let value = |(index, choice, any): &(prop::sample::Index, u8, f64)| {
            let query = *index.get(&queries);
            match if *choice < 6 { most_frequent } else { *choice } {
                0 | 6 => query,
                1 | 7 => query.next_up(),
                2 | 8 => query.next_down(),
                3 | 9 => query * 0.75,
                4 | 10 => *any,
                _ => f64::NAN,
            }
        };
        let reference = draws.iter().map(value).collect();
        (queries, reference)
    })
}

/// Checks the counts of each query against positions in the sorted reference.
fn check_counts(counts: &Counts, queries: &Queries<f64>, reference: &[f64]) {
    let mut sorted: Vec<f64> = reference.iter().copied().filter(|x| !x.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let expected = |condition: fn(f64, f64) -> bool| -> Vec<u64> {
        let values = queries.values().iter();
        values
            .map(|&query| sorted.partition_point(|&x| condition(x, query)) as u64)
            .collect()
    };
    assert_eq!(counts.below(), expected(|x, query| x < query));
    assert_eq!(counts.at_or_below(), expected(|x, query| x <= query));
    let n_missing = reference.len() - sorted.len();
    assert_eq!(
        (counts.n(), counts.n_missing()),
        (reference.len() as u64, n_missing as u64)
    );
}

proptest! {
    #[test]
    fn many_queries_are_counted_by_the_definition((queries, reference) in many_queries(), cut in any::<prop::sample::Index>()) {
        let distinct = Queries::new(queries);
        let mut counter = Counter::new(&distinct);
        // The first values are added in small chunks, the others at once.
        let (first, second) = reference.split_at(cut.index(reference.len() + 1));
        first.chunks(600).for_each(|values| counter.add(values));
        counter.add(second);
        check_counts(&counter.finish(), &distinct, &reference);
    }

    #[test]
    fn queries_in_groups_of_any_width_are_counted_by_the_definition(
        origins in vec(any::<f64>().prop_filter("no NaN", |x| !x.is_nan()), 1..5),
        exponents in vec(-40_i32..4, 1..5),
        n_queries in prop_oneof![5..300_usize, 8_000..20_000_usize],
        n_ordinary in 0..10_000_usize,
        seed: u64,
    ) {
        // Most values may be in narrow groups, whose bins hold more queries than values are compared with.
        let mut state = seed;
        let mut draw = |n_groups: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let unit = (state >> 11) as f64 / (1_u64 << 53) as f64;
            let group = (state >> 3) as usize % n_groups;
            let width = f64::from(exponents[group % exponents.len()]).exp2();
            let origin = origins[group % origins.len()];
            origin + unit * width * origin.abs().clamp(1e-300, 1e300)
        };
        let queries: Vec<f64> = (0..n_queries).map(|_| draw(20)).collect();
        let ordinary = (0..n_ordinary).map(|i| f64::from(i as u32) - 5_000.0);
        let mut reference: Vec<f64> = ordinary.chain((0..5_000).map(|_| draw(1))).collect();
        reference.extend(queries.iter().flat_map(|query| [*query, query.next_down(), f64::NAN, query.next_up()]).take(5_000));
        let distinct = Queries::new(queries.iter().copied());
        check_counts(&count(&reference, &distinct), &distinct, &reference);
    }

    #[test]
    fn queries_have_their_position_among_the_distinct_ones(queries in vec(integer(), 0..20), others in vec(integer(), 0..20)) {
        let distinct = Queries::new(queries.iter().copied());
        let expected: Vec<i64> = queries.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        prop_assert_eq!(distinct.values(), &expected);
        prop_assert_eq!((distinct.len(), distinct.is_empty()), (expected.len(), expected.is_empty()));
        for value in queries.into_iter().chain(others).chain([i64::MIN, i64::MAX]) {
            prop_assert_eq!(distinct.position(value), expected.iter().position(|&x| x == value));
        }
    }

    #[test]
    fn sorted_columns_of_each_type_have_the_same_ranks(
        reference in vec(integer(), 0..60),
        integers in vec(integer(), 0..20),
        floats in vec(float(), 0..20),
    ) {
        let mut singles: Vec<f32> = reference.iter().map(|&x| x as f32 / 2.0).chain([0.1, f32::INFINITY]).collect();
        singles.sort_unstable_by(f32::total_cmp);
        let mut ordered = reference;
        ordered.sort_unstable();
        let columns = [
            Column::F32(ArrayView1::from(&singles)),
            Column::I64(ArrayView1::from(&ordered)),
            Column::I64AsF64(ArrayView1::from(&ordered)),
        ];
        let near: Vec<f64> = singles.iter().map(|&x| f64::from(x).next_up()).chain([0.1]).collect();
        let equal: Vec<f64> = singles.iter().map(|&x| f64::from(x)).collect();
        for values in columns {
            let a = Matrix::from_columns(vec![values]).unwrap();
            let sorted = [Sorted::new(values, None, 0).unwrap()];
            for queries in [
                Column::I64(ArrayView1::from(&integers)),
                Column::I64AsF64(ArrayView1::from(&integers)),
                Column::F64(ArrayView1::from(&floats)),
                Column::F64(ArrayView1::from(&near)),
                Column::F64(ArrayView1::from(&equal)),
                Column::F32(ArrayView1::from(&singles)),
            ] {
                let b = Matrix::from_columns(vec![queries]).unwrap();
                for kind in KINDS {
                    let definition = Definition { kind, tail: Tail::Upper, nan_policy: NanPolicy::Omit };
                    let expected = percentile_ranks(&a, &b, definition, 1).unwrap();
                    let actual = sorted::ranks(&sorted, &b, definition, 1).unwrap();
                    prop_assert_eq!(bits(actual.percentiles), bits(expected.percentiles));
                    prop_assert_eq!(actual.directions, expected.directions);
                }
            }
        }
    }
}

/// Makes a table with ties, and with missing values in every third column if `missing`. It is the same on every run.
fn table(n_rows: usize, n_columns: usize, missing: bool) -> Array2<f64> {
    Array2::from_shape_fn((n_rows, n_columns), |(i, j)| {
        let mixed = (i * 7919 + j * 104_729).wrapping_mul(2_654_435_761) >> 7;
        match mixed % 97 {
            0 if missing && j % 3 == 1 => f64::NAN,
            1 => f64::INFINITY,
            2 => -0.0,
            _ => (mixed % (10 + 500 * j)) as f64 - 5.0,
        }
    })
}

fn oracle_of_all_cells(
    reference: &ArrayView2<'_, f64>,
    rows: &ArrayView2<'_, f64>,
    kind: Kind,
    policy: NanPolicy,
) -> Vec<u64> {
    bits(
        rows.indexed_iter()
            .map(|((_, j), &query)| oracle(&reference.column(j).to_vec(), query, kind, policy)),
    )
}

/// The sizes lie around the multiples of lanes, tiles and groups of columns, and around the number of rows that workers share.
#[test]
fn sizes_layouts_and_workers_do_not_change_a_bit() {
    for (n_rows, n_columns) in [
        (0, 3),
        (1, 1),
        (7, 8),
        (8, 9),
        (1023, 2),
        (1025, 17),
        (40_000, 3),
        (70_001, 1),
    ] {
        let reference = table(n_rows, n_columns, true);
        let rows = table(13, n_columns, true);
        let fortran = reference.t().as_standard_layout().into_owned().reversed_axes();
        let mut wide = Array2::zeros((n_rows * 2, n_columns * 3));
        wide.slice_mut(s![..;2, ..;3]).assign(&reference);
        let mut backwards = Array2::zeros((n_rows, n_columns));
        backwards.slice_mut(s![..;-1, ..]).assign(&reference);
        let views = [
            reference.view(),
            fortran.view(),
            wide.slice(s![..;2, ..;3]),
            backwards.slice(s![..;-1, ..]),
        ];
        for (kind, policy) in KINDS.into_iter().zip(POLICIES.into_iter().cycle()) {
            let expected = oracle_of_all_cells(&reference.view(), &rows.view(), kind, policy);
            for view in &views {
                for workers in [1, 2, 3, 16] {
                    let (a, b) = (Matrix::from_f64(*view), Matrix::from_f64(rows.view()));
                    let actual = percentiles(&a, &b, kind, policy, workers);
                    assert_eq!(
                        bits(actual),
                        expected,
                        "{n_rows} x {n_columns}, {kind:?}, {workers} workers"
                    );
                }
            }
        }
    }
}

#[test]
fn columns_of_several_types_are_compared_as_numpy_does() {
    let big = 1_i64 << 53;
    let integers = [big, big + 1, big + 2];
    let floats = integers.map(|x| x as f64);
    let singles = [0.1_f32, 0.5, f32::NAN];
    let reference = Matrix::from_columns(vec![
        Column::I64(ArrayView1::from(&integers)),
        Column::I64(ArrayView1::from(&integers)),
        Column::F64(ArrayView1::from(&floats)),
        Column::F32(ArrayView1::from(&singles)),
    ])
    .unwrap();
    let (int_row, float_row, tenth) = ([big + 1], [floats[0]], [0.1]);
    let rows = Matrix::from_columns(vec![
        Column::I64(ArrayView1::from(&int_row)),
        Column::F64(ArrayView1::from(&float_row)),
        Column::I64(ArrayView1::from(&int_row)),
        Column::F64(ArrayView1::from(&tenth)),
    ])
    .unwrap();
    let actual = percentiles(&reference, &rows, Kind::Strict, NanPolicy::Omit, 1);
    // The second integer rounds to the first as f64. The f32 nearest to 0.1 is above the f64 nearest to 0.1.
    let third = 100.0 / 3.0;
    assert_eq!(actual.row(0).to_vec(), [third, 0.0, 0.0, 0.0]);
    let weak = percentiles(&reference, &rows, Kind::Weak, NanPolicy::Omit, 1);
    assert_eq!(weak.row(0).to_vec(), [2.0 * third, 2.0 * third, 2.0 * third, 0.0]);
}

#[test]
fn ranking_no_rows_or_no_columns_gives_an_empty_table() {
    let reference = table(5, 3, false);
    for (n_rows, n_columns) in [(0, 3), (0, 0)] {
        let rows = table(n_rows, n_columns, false);
        let a = Matrix::from_f64(reference.slice(s![.., ..n_columns]));
        let actual = percentiles(&a, &Matrix::from_f64(rows.view()), Kind::Rank, NanPolicy::Omit, 2);
        assert_eq!(actual.dim(), (n_rows, n_columns));
    }
}

#[test]
fn rows_with_another_number_of_columns_are_refused() {
    let (a, b) = (table(5, 3, false), table(5, 2, false));
    let (a, b) = (Matrix::from_f64(a.view()), Matrix::from_f64(b.view()));
    let definition = Definition {
        kind: Kind::Rank,
        tail: Tail::Upper,
        nan_policy: NanPolicy::Omit,
    };
    let error = percentile_ranks(&a, &b, definition, 1).unwrap_err();
    assert_eq!(error, Error::ColumnCount { actual: 2, expected: 3 });
}

#[test]
fn sorted_columns_that_do_not_match_are_refused() {
    let (values, ends, rows) = ([1.0, 2.0], [1_i64], table(2, 3, false));
    let values = Column::F64(ArrayView1::from(&values));
    let error = Sorted::new(values, Some(ArrayView1::from(&ends)), 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the list of counts has 1 entries, but 2 are expected"
    );
    let definition = Definition {
        kind: Kind::Rank,
        tail: Tail::Upper,
        nan_policy: NanPolicy::Omit,
    };
    let column = Sorted::new(values, None, 0).unwrap();
    let error = sorted::ranks(&[column], &Matrix::from_f64(rows.view()), definition, 1).unwrap_err();
    assert_eq!(error, Error::ColumnCount { actual: 3, expected: 1 });
}
