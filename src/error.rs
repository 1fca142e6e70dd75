//! Errors of the core: one variant for each reason, with a message for the user.

use std::fmt;

/// A reason why the core cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The columns of one matrix have different lengths.
    RaggedColumns {
        /// Index of the first column whose length differs.
        column: usize,
        /// Length of that column.
        actual: usize,
        /// Length of column 0.
        expected: usize,
    },
    /// The matrix has another number of columns than the forest or table that it is used with.
    ColumnCount {
        /// Number of columns of the matrix.
        actual: usize,
        /// Number of columns needed.
        expected: usize,
    },
    /// Two inputs that describe the same rows differ in length.
    RowCount {
        /// Name of the input whose length is wrong.
        label: &'static str,
        /// Length of that input.
        actual: usize,
        /// Length needed.
        expected: usize,
    },
    /// A growth parameter is out of range.
    Parameter {
        /// Name of the parameter, as in scikit-learn.
        name: &'static str,
        /// Value that was passed.
        value: usize,
        /// Smallest allowed value.
        low: usize,
        /// Largest allowed value.
        high: usize,
    },
    /// The arrays of a sparse matrix contradict each other.
    Sparse(String),
    /// Rows cannot be drawn with these weights.
    Weights(String),
    /// A forest breaks one of its invariants.
    Forest(String),
    /// An allocation failed, or would fail.
    Memory {
        /// Bytes that were requested.
        bytes: usize,
    },
    /// There is no memory for the Shapley values of a table.
    ShapleyMemory {
        /// Bytes that were requested.
        bytes: usize,
        /// Number of rows to explain.
        n_rows: usize,
        /// Number of columns of the table.
        n_columns: usize,
    },
    /// The environment variable `ISOXIDE_KERNEL` names a kernel that cannot be used.
    Kernel {
        /// Value of the variable.
        name: String,
        /// Whether a kernel of this name exists for other processors.
        exists: bool,
        /// Names of the kernels that this processor can run, the fastest first.
        available: Vec<&'static str>,
    },
    /// The caller has cancelled the call.
    Interrupted,
    /// Bytes cannot be read as what they should be, or a forest cannot be written to a file.
    File(String),
    /// Partitions of a table do not belong together, or do not contain what is needed.
    Partitions(String),
}

/// Result of the core's fallible functions.
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
            Self::Memory { bytes } => write!(
                f,
                "could not allocate {} MiB of memory; pass fewer rows at a time, or free some memory",
                bytes.div_ceil(1 << 20)
            ),
            Self::ShapleyMemory {
                bytes,
                n_rows,
                n_columns,
            } => write!(
                f,
                "could not allocate {} MiB of memory for the Shapley values of {n_rows} rows and {n_columns} columns; \
                 pass top= to explain() to keep only the largest values of each row, or pass fewer rows at a time",
                bytes.div_ceil(1 << 20)
            ),
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
            Self::Interrupted => f.write_str("the call was cancelled before it ended"),
        }
    }
}

impl std::error::Error for Error {}
