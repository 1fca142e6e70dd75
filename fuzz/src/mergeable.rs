//! Fuzz target for mergeable aggregates: any bytes are refused, or make a valid sketch or valid counts. The merged aggregates of
//! partitions equal the aggregate of the whole table.

use isoxide::matrix::{Column, Matrix};
use isoxide::rank::mergeable::RankCounts;
use isoxide::rank::{Definition, Kind, NanPolicy, Tail};
use isoxide::sketch::Sketch;
use sha2::{Digest, Sha256};

use super::bytes::Bytes;
use super::rank::{floats, rank};
use super::table::Table;

/// Maximum number of passes after which any two neighbours are known: each finds 16 of 64 bits.
const MAX_PASSES: usize = 4;

/// Merges all aggregates into one, two at a time in any order.
fn merged<T>(mut aggregates: Vec<T>, bytes: &mut Bytes<'_>, merge: impl Fn(&mut T, &T)) -> T {
    while aggregates.len() > 1 {
        let mut first = aggregates.swap_remove(bytes.below(aggregates.len()));
        let second = aggregates.swap_remove(bytes.below(aggregates.len()));
        merge(&mut first, &second);
        aggregates.push(first);
    }
    aggregates.remove(0)
}

/// Corrects the checksum of stored bytes.
fn correct_checksum(file: &mut [u8]) {
    if let Some((rest, checksum)) = file.split_last_chunk_mut::<32>() {
        *checksum = Sha256::digest(&*rest).into();
    }
}

/// Changes one of the numbers behind the signature.
fn edit(file: &mut Vec<u8>, bytes: &mut Bytes<'_>) {
    let n = file.len().saturating_sub(40) / 8;
    if n == 0 {
        return;
    }
    let start = |index: usize| 8 + 8 * index;
    let (position, other) = (start(bytes.below(65_536) % n), start(bytes.below(256) % n));
    let get = |file: &[u8], start: usize| u64::from_le_bytes(file[start..start + 8].try_into().unwrap());
    let number = get(file, position);
    let number = match bytes.below(8) {
        0 => bytes.u64(),
        1 => bytes.below(5) as u64,
        2 => number.wrapping_add(1 + bytes.below(3) as u64),
        3 => number.wrapping_sub(1 + bytes.below(3) as u64),
        4 => get(file, other),
        5 => bytes.choose(&[1 << 53, (1 << 53) + 1, 1 << 63, u64::MAX, 1 << 32, (1 << 32) - 2]),
        6 => {
            file.splice(position..position, bytes.u64().to_le_bytes());
            return;
        }
        _ => {
            file.drain(position..position + 8);
            return;
        }
    };
    file[position..position + 8].copy_from_slice(&number.to_le_bytes());
}

/// Checks invariants of every valid sketch, even of one that no values can produce.
fn check_any_sketch(file: &[u8], values: &[f64]) {
    let Ok(mut sketch) = Sketch::from_bytes(file) else {
        return;
    };
    assert_eq!(sketch.to_bytes().unwrap(), file);
    let n = sketch.n();
    let extremes = sketch.extremes();
    assert!(sketch.n_distinct().is_none_or(|distinct| distinct <= n));
    for k in [0, 1, n / 2, n.saturating_sub(2), n.saturating_sub(1), n, u64::MAX] {
        match (sketch.neighbours(k), sketch.refined(k)) {
            (Ok(pair), Ok(mut refined)) => {
                let (lowest, highest) = extremes.unwrap();
                assert!(pair.is_none_or(|(low, high)| lowest <= low && low <= high && high <= highest));
                refined.add(values.iter().copied());
                assert!(Sketch::from_bytes(&refined.to_bytes().unwrap()).is_ok());
            }
            (pair, refined) => assert!(pair.is_err() && refined.is_err()),
        }
    }
    let mut sum = sketch.clone();
    if sum.merge(&sketch).is_ok() {
        assert_eq!(sum.n(), 2 * n);
        assert!(Sketch::from_bytes(&sum.to_bytes().unwrap()).is_ok());
    }
    sketch.add(values.iter().copied());
    drop(sketch.to_bytes().unwrap());
}

/// Checks invariants of all valid counts, even of counts that no reference can have.
fn check_any_counts(file: &[u8], partition: &Matrix<'_>, definition: Definition) {
    let Ok(mut counts) = RankCounts::from_bytes(file) else {
        return;
    };
    assert_eq!(counts.to_bytes().unwrap(), file);
    let (n, dim) = (counts.n(), (counts.n_rows(), counts.n_columns()));
    assert!(counts.n_missing().all(|n_missing| n_missing <= n));
    assert!((0..dim.1).all(|j| counts.values(j).len() == dim.0));
    let in_range = |x: &f64| x.is_nan() || (0.0..=100.0 + 1e-9).contains(x);
    let ranks = counts.ranks(definition).unwrap();
    assert_eq!((ranks.percentiles.dim(), ranks.directions.dim()), (dim, dim));
    assert!(ranks.percentiles.iter().all(in_range));
    let before = counts.clone();
    if counts.merge(&before).is_ok() {
        assert_eq!(counts.n(), 2 * n);
    }
    let _ = counts.add(partition, 1);
    assert!(RankCounts::from_bytes(&counts.to_bytes().unwrap()).is_ok());
    assert!(counts.ranks(definition).unwrap().percentiles.iter().all(in_range));
}

/// Checks a sketch of partitions against the sorted values.
fn check_sketch(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let (low, high) = match bytes.below(4) {
        0 | 1 => (f64::NEG_INFINITY, f64::INFINITY),
        2 => (bytes.number(), f64::INFINITY),
        _ => (bytes.number(), bytes.number()),
    };
    let capacity = 2 + bytes.choose(&[0, 1, 4, 40, 600]);
    let lowest = bytes.one_in(2).then(|| 1 + bytes.below(48) as u64);
    let is_scope = !low.is_nan() && !high.is_nan() && low <= high;
    let Ok(empty) = Sketch::new(low, high, lowest, capacity) else {
        assert!(!is_scope);
        return Vec::new();
    };
    assert!(is_scope);
    let n = bytes.choose(&[4, 40, 700]);
    let n = bytes.below(n);
    let values = bytes.numbers(n);
    let mut partitions = vec![empty.clone(); 1 + bytes.below(5)];
    for value in &values {
        let partition = bytes.below(partitions.len());
        partitions[partition].add([*value]);
    }
    let mut sketch = merged(partitions, bytes, |a, b| a.merge(b).unwrap());
    let mut whole = empty;
    whole.add(values.iter().rev().copied());
    let file = sketch.to_bytes().unwrap();
    assert_eq!(whole.to_bytes().unwrap(), file);
    assert_eq!(Sketch::from_bytes(&file).unwrap().to_bytes().unwrap(), file);
    let mut sorted: Vec<f64> = values.iter().filter(|x| !x.is_nan()).map(|x| x + 0.0).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    assert_eq!((sketch.n(), sketch.n_missing()), (n as u64, (values.len() - n) as u64));
    let start = sorted.partition_point(|&x| x < low);
    let mut end = sorted.partition_point(|&x| x <= high);
    if let Some(lowest) = lowest.filter(|&lowest| lowest <= capacity as u64) {
        let last = sorted[start..end].get(lowest as usize - 1).copied();
        end = last.map_or(end, |last| sorted.partition_point(|&x| x <= last));
    }
    let ends = (start < end).then(|| (sorted[start], sorted[end - 1]));
    assert_eq!(sketch.extremes(), ends);
    let is_kept = |k: usize| start <= k && k < end;
    for k in [start, end.saturating_sub(1), bytes.below(700), bytes.below(n)] {
        let next = (k + 1).min(n.saturating_sub(1));
        let expected = (is_kept(k) && is_kept(next)).then(|| (sorted[k], sorted[next]));
        let mut refined = sketch.clone();
        let mut n_passes = 1;
        let neighbours = loop {
            match refined.neighbours(k as u64) {
                Ok(Some(pair)) => break Some(pair),
                Ok(None) => refined = refined.refined(k as u64).unwrap(),
                Err(_) => break None,
            }
            refined.add(values.iter().copied());
            n_passes += 1;
        };
        assert_eq!(neighbours, expected, "position {k}");
        assert!(n_passes <= MAX_PASSES && (lowest.is_none_or(|lowest| lowest > capacity as u64) || n_passes == 1));
    }
    file
}

/// Counts the values below a query, equal to it, above it, and NaN. Two columns of integers are compared as integers.
fn comparisons(reference: Column<'_>, rows: Column<'_>, row: usize) -> [usize; 4] {
    fn count<T: PartialOrd>(reference: impl Iterator<Item = T>, query: &T) -> [usize; 4] {
        let mut counts = [0; 4];
        for x in reference {
            let missing = x.partial_cmp(&x).is_none();
            let comparisons = [x < *query, x == *query, x > *query, missing];
            counts
                .iter_mut()
                .zip(comparisons)
                .for_each(|(n, is_true)| *n += usize::from(is_true));
        }
        counts
    }
    match (reference, rows) {
        (Column::I64(reference), Column::I64(rows)) => count(reference.iter().copied(), &rows[row]),
        (reference, rows) => count(floats(reference).into_iter(), &floats(rows)[row]),
    }
}

/// Checks ranks among partitions of any types against the definition.
fn check_counts(bytes: &mut Bytes<'_>, definition: Definition) -> Vec<u8> {
    let n_columns = bytes.choose(&[1, 1, 2, 3]);
    let n_rows = bytes.below(40);
    let rows = Table::new(bytes, n_rows, n_columns);
    let partitions: Vec<Table> = (0..=bytes.below(4))
        .map(|_| {
            let n = bytes.choose(&[0, 1, 9, 60, 600]);
            let n = bytes.below(n + 1);
            Table::new(bytes, n, n_columns)
        })
        .collect();
    let (rows, partitions) = (rows.matrix(), partitions.iter().map(Table::matrix).collect::<Vec<_>>());
    let mut whole = RankCounts::new(&rows).unwrap();
    let mut counts = Vec::new();
    for partition in &partitions {
        let mut own = RankCounts::new(&rows).unwrap();
        own.add(partition, 1).unwrap();
        counts.push(own);
        whole.add(partition, 2).unwrap();
    }
    let sum = merged(counts, bytes, |a, b| a.merge(b).unwrap());
    let file = sum.to_bytes().unwrap();
    assert_eq!(whole.to_bytes().unwrap(), file);
    let read = RankCounts::from_bytes(&file).unwrap();
    assert_eq!(read.to_bytes().unwrap(), file);
    let ranks = read.ranks(definition).unwrap();
    for j in 0..n_columns {
        for row in 0..n_rows {
            let mut counts = [0; 4];
            for partition in &partitions {
                let added = comparisons(partition.column(j), rows.column(j), row);
                counts.iter_mut().zip(added).for_each(|(sum, added)| *sum += added);
            }
            let (percentile, direction) = rank(counts, definition);
            let actual = ranks.percentiles[[row, j]];
            assert!(
                actual == percentile || (actual.is_nan() && percentile.is_nan()),
                "{row} {j}"
            );
            assert_eq!(ranks.directions[[row, j]], direction, "{row} {j}");
        }
    }
    file
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
    let source = bytes.below(4);
    let mut file = match source {
        0 | 1 => check_counts(bytes, definition),
        2 => check_sketch(bytes),
        _ => data.get(4..).unwrap_or_default().to_vec(),
    };
    if source < 3 {
        for _ in 0..bytes.below(6) {
            edit(&mut file, bytes);
        }
    }
    let (values, partition) = (bytes.numbers(9), Table::new(bytes, 7, 1));
    let check = |file: &[u8]| {
        check_any_sketch(file, &values);
        check_any_counts(file, &partition.matrix(), definition);
    };
    check(&file);
    correct_checksum(&mut file);
    check(&file);
}
