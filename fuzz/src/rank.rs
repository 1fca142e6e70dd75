//! Fuzz target: ranks of any table among any other equal the definition, whether the reference is counted or has sorted columns.

use isoxide::matrix::{Column, Matrix};
use isoxide::rank::sorted::{self, Sorted};
use isoxide::rank::{Definition, Kind, NanPolicy, Ranks, Tail, percentile_ranks};
use ndarray::ArrayView1;

use super::bytes::Bytes;
use super::table::Table;

/// Maximum number of comparisons for one input.
const MAX_COMPARISONS: usize = 150_000;

/// Returns the percentile of a value, given the numbers of reference values below it, equal to it and above it.
fn percentile([below, equal, above]: [usize; 3], kind: Kind) -> f64 {
    let n = (below + equal + above) as f64;
    match kind {
        Kind::Rank => (2 * below + equal + usize::from(equal > 0)) as f64 * (50.0 / n),
        Kind::Weak => (below + equal) as f64 * (100.0 / n),
        Kind::Strict => below as f64 * (100.0 / n),
        Kind::Mean => (2 * below + equal) as f64 * (50.0 / n),
    }
}

/// Returns the percentile of a value for any tail, and its direction, given the numbers of reference values below it, equal to it,
/// above it, and NaN. If the reference has no numbers, the percentile is NaN. The lower tail exchanges below and above.
pub fn rank([below, equal, above, n_missing]: [usize; 4], definition: Definition) -> (f64, i8) {
    let Definition { kind, tail, nan_policy } = definition;
    if below + equal + above == 0 || (nan_policy == NanPolicy::Propagate && n_missing > 0) {
        return (f64::NAN, 0);
    }
    let upper = percentile([below, equal, above], kind);
    let lower = percentile([above, equal, below], kind);
    let percentile = match tail {
        Tail::Upper => upper,
        Tail::Lower => lower,
        Tail::Two => upper.max(lower),
    };
    (percentile, if upper >= lower { 1 } else { -1 })
}

/// Ranks a query as the definition does, by comparing it with each reference value. All comparisons with NaN are false.
fn oracle<T: Copy + PartialOrd>(reference: &[T], query: T, definition: Definition) -> (f64, i8) {
    let count = |compare: fn(&T, &T) -> bool| reference.iter().filter(|x| compare(x, &query)).count();
    let n_missing = reference.iter().filter(|x| x.partial_cmp(x).is_none()).count();
    rank([count(T::lt), count(T::eq), count(T::gt), n_missing], definition)
}

pub fn floats(column: Column<'_>) -> Vec<f64> {
    match column {
        Column::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        Column::F64(v) => v.iter().copied().collect(),
        Column::I64(v) | Column::I64AsF64(v) => v.iter().map(|&x| x as f64).collect(),
    }
}

/// Ranks all queries of a column as the definition does.
fn expected(reference: Column<'_>, queries: Column<'_>, definition: Definition) -> Vec<(f64, i8)> {
    if let (Column::I64(reference), Column::I64(queries)) = (reference, queries) {
        let reference = reference.to_vec();
        return queries
            .iter()
            .map(|&query| oracle(&reference, query, definition))
            .collect();
    }
    let reference = floats(reference);
    floats(queries)
        .into_iter()
        .map(|query| oracle(&reference, query, definition))
        .collect()
}

/// Asserts that ranks are equal. Zeros of both signs differ, and all NaN are equal.
fn assert_same(actual: &Ranks, expected: &[Vec<(f64, i8)>], label: &str) {
    let bits = |x: f64| if x.is_nan() { f64::NAN } else { x }.to_bits();
    for (j, column) in expected.iter().enumerate() {
        let cells = actual
            .percentiles
            .column(j)
            .into_iter()
            .zip(actual.directions.column(j));
        let cells = cells.map(|(&percentile, &direction)| (bits(percentile), direction));
        let wrong = cells
            .zip(column)
            .position(|(a, &(percentile, direction))| a != (bits(percentile), direction));
        assert_eq!(wrong, None, "{label}, column {j}");
    }
}

/// A sorted column without NaN.
struct Prepared {
    values: Values,
    /// For each value, the number of values at or below it, if equal values have been merged.
    ends: Option<Vec<i64>>,
    n_missing: u64,
}

enum Values {
    Floats(Vec<f64>),
    Singles(Vec<f32>),
    Integers(Vec<i64>),
}

/// Merges equal values, and returns the number of values at or below each of the others.
fn merged<T: Copy + PartialEq>(values: &mut Vec<T>) -> Vec<i64> {
    let last = |&i: &usize| values.get(i + 1) != Some(&values[i]);
    let ends = (0..values.len()).filter(last).map(|i| i as i64 + 1).collect();
    values.dedup();
    ends
}

impl Prepared {
    fn new(column: Column<'_>, distinct: bool) -> Self {
        let n = column.len();
        let mut values = match column {
            Column::F32(v) => Values::Singles(v.iter().copied().filter(|x| !x.is_nan()).collect()),
            Column::F64(v) => Values::Floats(v.iter().copied().filter(|x| !x.is_nan()).collect()),
            Column::I64(v) => Values::Integers(v.to_vec()),
            Column::I64AsF64(v) => Values::Floats(v.iter().map(|&x| x as f64).collect()),
        };
        let (n_left, ends) = match &mut values {
            Values::Floats(v) => {
                v.sort_unstable_by(f64::total_cmp);
                (v.len(), distinct.then(|| merged(v)))
            }
            Values::Singles(v) => {
                v.sort_unstable_by(f32::total_cmp);
                (v.len(), distinct.then(|| merged(v)))
            }
            Values::Integers(v) => {
                v.sort_unstable();
                (v.len(), distinct.then(|| merged(v)))
            }
        };
        let n_missing = (n - n_left) as u64;
        Self {
            values,
            ends,
            n_missing,
        }
    }

    fn sorted(&self) -> Sorted<'_> {
        let values = match &self.values {
            Values::Floats(v) => Column::F64(ArrayView1::from(v)),
            Values::Singles(v) => Column::F32(ArrayView1::from(v)),
            Values::Integers(v) => Column::I64(ArrayView1::from(v)),
        };
        Sorted::new(values, self.ends.as_ref().map(ArrayView1::from), self.n_missing).unwrap()
    }
}

/// Ranks among columns that are not sorted and have wrong counts. The ranks may be wrong, but ranking must not panic.
fn check_disorder(bytes: &mut Bytes<'_>, rows: &Matrix<'_>, definition: Definition) {
    let n = bytes.below(40);
    let values = bytes.numbers(n);
    let ends: Vec<i64> = (0..n).map(|_| bytes.integer()).collect();
    let ends = bytes.one_in(2).then(|| ArrayView1::from(&ends));
    let column = Sorted::new(Column::F64(ArrayView1::from(&values)), ends, bytes.u64()).unwrap();
    let columns = vec![column; rows.n_columns()];
    let ranks = sorted::ranks(&columns, rows, definition, 1).unwrap();
    assert_eq!(ranks.percentiles.dim(), (rows.n_rows(), rows.n_columns()));
}

/// Runs the target on one input.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let bytes = &mut bytes;
    let definition = Definition {
        kind: bytes.choose(&[Kind::Rank, Kind::Weak, Kind::Strict, Kind::Mean]),
        tail: bytes.choose(&[Tail::Upper, Tail::Lower, Tail::Two]),
        nan_policy: bytes.choose(&[NanPolicy::Omit, NanPolicy::Propagate]),
    };
    let n_columns = bytes.choose(&[1, 2, 3, 4, 9, 66]);
    let n_reference = match bytes.below(4) {
        0 => bytes.below(20),
        1 => bytes.below(700),
        2 => bytes.choose(&[511, 512, 513, 1023, 1024, 1025]),
        _ => bytes.below(5_000),
    };
    let n_queries = match bytes.below(4) {
        0 => bytes.below(8),
        1 | 2 => bytes.below(300),
        _ => bytes.below(1_500),
    };
    // Tables with fewer columns may have more rows.
    let n_reference = n_reference.min(20_000 / n_columns);
    let n_queries = n_queries.min(MAX_COMPARISONS / n_columns / n_reference.max(1));
    let (reference, rows) = (
        Table::new(bytes, n_reference, n_columns),
        Table::new(bytes, n_queries, n_columns),
    );
    let (reference, rows) = (reference.matrix(), rows.matrix());
    let workers = 1 + bytes.below(3);
    if bytes.one_in(16) {
        let other = Table::new(bytes, n_queries, n_columns + 1);
        assert!(percentile_ranks(&reference, &other.matrix(), definition, workers).is_err());
    }
    if bytes.one_in(8) {
        check_disorder(bytes, &rows, definition);
    }
    let expected: Vec<Vec<(f64, i8)>> = (0..n_columns)
        .map(|j| expected(reference.column(j), rows.column(j), definition))
        .collect();
    let counted = percentile_ranks(&reference, &rows, definition, workers).unwrap();
    assert_same(&counted, &expected, "counted");
    let distinct = bytes.one_in(2);
    let prepared: Vec<Prepared> = (0..n_columns)
        .map(|j| Prepared::new(reference.column(j), distinct))
        .collect();
    let columns: Vec<Sorted<'_>> = prepared.iter().map(Prepared::sorted).collect();
    let searched = sorted::ranks(&columns, &rows, definition, workers).unwrap();
    assert_same(&searched, &expected, "sorted");
}
