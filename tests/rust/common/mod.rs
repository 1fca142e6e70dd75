//! Helpers of several tests: golden vectors, and mergeable aggregates in `partitioned`.

pub(crate) mod partitioned;

use std::path::PathBuf;

use serde_json::Value;

/// Returns the folder of golden vectors.
pub(crate) fn golden_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Reads one golden file.
pub(crate) fn load(name: &str) -> Value {
    let path = golden_folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Reads a number, which may be written as "nan", "inf" or "-inf".
pub(crate) fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        other => other.as_f64().unwrap(),
    }
}

/// Reads a list of numbers.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// Reads a list of integers.
pub(crate) fn integers<T: TryFrom<i64>>(value: &Value) -> Vec<T> {
    let entries = value.as_array().unwrap().iter();
    entries
        .map(|v| T::try_from(v.as_i64().unwrap()).ok().expect("in range"))
        .collect()
}

/// Returns bit patterns, so that comparisons see the sign of zero and treat equal NaN as equal.
pub(crate) fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}
