//! Every way in which the core refuses, one variant each, worded for the user.

use std::fmt;

/// A refusal of the core.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Columns of one matrix have different lengths.
    RaggedColumns {
        /// Index of the first column whose length differs.
        column: usize,
        /// Its length.
        actual: usize,
        /// The length of column 0.
        expected: usize,
    },
    /// The matrix has another number of columns than label it is used with.
    ColumnCount {
        /// Columns actual.
        actual: usize,
        /// Columns needed.
        expected: usize,
    },
    /// Two inputs that describe the same rows differ in length.
    RowCount {
        /// What has the wrong length.
        label: &'static str,
        /// Its length.
        actual: usize,
        /// The length needed.
        expected: usize,
    },
    /// A growth parameter is outside its range.
    Parameter {
        /// The parameter's name, as in scikit-learn.
        name: &'static str,
        /// What came.
        value: usize,
        /// The smallest allowed value.
        low: usize,
        /// The largest allowed value.
        high: usize,
    },
    /// The arrays of a sparse matrix do not describe one.
    Sparse(String),
    /// Rows cannot be drawn with these weights.
    Weights(String),
    /// A stored forest breaks one of its invariants.
    Forest(String),
    /// There is not so much memory.
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// The environment variable `ISOXIDE_KERNEL` asks for a kernel that cannot be had.
    Kernel {
        /// Its value.
        name: String,
        /// Whether there is such a kernel, for other processors.
        exists: bool,
        /// The kernels that this processor can run, the fastest first.
        available: Vec<&'static str>,
    },
    /// The caller has given up the call.
    Interrupted,
    /// A file holds no forest that can be read, or a forest cannot be put in a file; or bytes are not those of label they should be.
    File(String),
    /// Parts of a table do not belong together, or do not tell label is asked.
    Partitions(String),
}

/// What the core's fallible functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RaggedColumns {
                column,
                actual,
                expected,
            } => write!(
                f,
                "all columns must have the same length, but column {column} has {actual} rows and column 0 has {expected}"
            ),
            Self::ColumnCount { actual, expected } => {
                write!(f, "X has {actual} features, but {expected} features are expected")
            }
            Self::RowCount {
                label,
                actual,
                expected,
            } => {
                write!(f, "{label} has {actual} entries, but {expected} are expected")
            }
            Self::Parameter { name, value, low, high } => write!(f, "{name} must be in [{low}, {high}], got {value}"),
            Self::Sparse(reason) => write!(f, "not a valid sparse matrix: {reason}"),
            Self::Weights(reason) | Self::File(reason) | Self::Partitions(reason) => f.write_str(reason),
            Self::Forest(reason) => write!(f, "not a valid forest: {reason}"),
            Self::Memory { bytes } => write!(f, "{} MiB of memory could not be had", bytes.div_ceil(1 << 20)),
            Self::Kernel {
                name,
                exists,
                available,
            } => {
                let reason = if *exists {
                    "this processor cannot run that kernel"
                } else {
                    "there is no such kernel"
                };
                write!(
                    f,
                    "ISOXIDE_KERNEL={name}: {reason}; set it to one of {}, or leave it out for the fastest",
                    available.join(", ")
                )
            }
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {}
