//! Which Python exception each refusal of the core becomes.

use pyo3::PyErr;
use pyo3::exceptions::{PyTypeError, PyValueError};

use crate::error::Error;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::ColumnType { .. } => PyTypeError::new_err(message),
            _ => PyValueError::new_err(message),
        }
    }
}
