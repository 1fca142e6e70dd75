//! Converts Python objects and decimals to float32, by way of float64 as NumPy and scikit-learn do.
//!
//! NumPy takes 7 ns to convert an object, which is longer than a forest of 100 trees takes to score a cell. Most objects are
//! floats, whose value only has to be read. NumPy converts an array with a cell of any type that is not in [`Types::value`].

use ndarray::Ix2;
use numpy::{IntoPyArray, PyArray1, PyArrayDescrMethods, dtype};
use pyo3::exceptions::PyValueError;
use pyo3::ffi::PyTypeObject;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFloat, PyInt, PyType, PyTypeMethods};

use super::arrays::{Readable, Readable1};
use super::boundary::{detached, guarded};
use crate::{decimal, memory, simd};

/// Number of cells converted between two checks for signals.
const VALUES_PER_CHECK: usize = 1 << 16;
/// Number of objects between the one that is read and the one that is prefetched.
const PREFETCH_DISTANCE: usize = 16;

/// Convert floats, integers, booleans, `None` (missing), `Decimal` and NumPy's float64 to float32; return `None` if a cell has
/// another type or is out of range.
///
/// `addresses` is the memory of `cells` as integers: NumPy allows null pointers in it, which Rust must not see as objects.
#[pyfunction]
pub(super) fn float32_of_objects<'py>(
    py: Python<'py>,
    cells: Bound<'_, PyAny>,
    addresses: Bound<'_, PyAny>,
) -> PyResult<Option<Bound<'py, PyArray1<f32>>>> {
    guarded(|| {
        let cells: Readable1<'_, Py<PyAny>> = cells.extract()?;
        let addresses: Readable1<'_, usize> = addresses.extract()?;
        if cells.len() != addresses.len() || cells.address() != addresses.address() {
            return Err(PyValueError::new_err(
                "addresses must be the memory of the array of objects",
            ));
        }
        let types = Types::new(py);
        let mut values = memory::with_capacity(cells.len())?;
        let starts = (0..cells.len()).step_by(VALUES_PER_CHECK);
        for start in starts {
            // The handler of a signal can change the array, so its slices are read again after each check.
            py.check_signals()?;
            let piece = start..cells.len().min(start + VALUES_PER_CHECK);
            let (Some(objects), Some(addresses)) = (cells.slice()?.get(piece.clone()), addresses.slice()?.get(piece))
            else {
                return Ok(None);
            };
            if addresses.contains(&0) {
                return Ok(None);
            }
            let next_addresses = addresses.chunks(PREFETCH_DISTANCE).skip(1).chain([&[][..]]);
            for (objects, next_addresses) in objects.chunks(PREFETCH_DISTANCE).zip(next_addresses) {
                // Objects may lie anywhere in memory, so the processor cannot predict the next addresses.
                for &address in next_addresses {
                    simd::prefetch_address(address);
                }
                for cell in objects {
                    let Some(value) = types.value(cell.bind(py))? else {
                        return Ok(None);
                    };
                    values.push(value as f32);
                }
            }
        }
        Ok(Some(values.into_pyarray(py)))
    })
}

/// Python objects that the conversion compares cells with, looked up once.
struct Types<'py> {
    /// NumPy's float64, a subclass of Python's float with the same value.
    float64: *mut PyTypeObject,
    /// Python's `True`.
    true_object: Borrowed<'py, 'py, PyBool>,
}

impl<'py> Types<'py> {
    fn new(py: Python<'py>) -> Self {
        Self {
            float64: dtype::<f64>(py).typeobj().as_type_ptr(),
            true_object: PyBool::new(py, true),
        }
    }

    /// Returns Python's `float(cell)`, or `None` for a cell of another type. A subclass of a known type is another type, because it
    /// may define its own conversion.
    #[inline]
    fn value(&self, cell: &Bound<'py, PyAny>) -> PyResult<Option<f64>> {
        if cell.is_exact_instance_of::<PyFloat>() {
            return Ok(cell.extract().ok());
        }
        self.value_of_other_type(cell)
    }

    fn value_of_other_type(&self, cell: &Bound<'py, PyAny>) -> PyResult<Option<f64>> {
        if cell.is_exact_instance_of::<PyInt>() {
            // Most integers fit in an i64. Larger ones take longer, and NumPy converts those beyond the range of f64.
            let small: Option<i64> = cell.extract().ok();
            return Ok(small.map(|small| small as f64).or_else(|| cell.extract().ok()));
        }
        if cell.is_exact_instance_of::<PyBool>() {
            return Ok(Some(f64::from(u8::from(cell.is(self.true_object)))));
        }
        if cell.is_none() {
            return Ok(Some(f64::NAN));
        }
        let type_pointer = cell.get_type_ptr();
        if type_pointer == self.float64 {
            return Ok(cell.extract().ok());
        }
        if type_pointer == decimal_type(cell.py())?.as_type_ptr() {
            // Python's `float` parses the same text with the same result, but more slowly.
            return Ok(cell.str()?.to_str()?.parse().ok());
        }
        Ok(None)
    }
}

fn decimal_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    DECIMAL.import(py, "decimal", "Decimal")
}

/// Convert decimals to float32. `unscaled` has a row of two 64-bit words for each decimal, the lower word first; `scale` is the
/// number of decimal places.
#[pyfunction]
pub(super) fn float32_of_decimals<'py>(
    py: Python<'py>,
    unscaled: Bound<'_, PyAny>,
    scale: i32,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    guarded(|| {
        let unscaled: Readable<'_, i64, Ix2> = unscaled.extract()?;
        let rows = unscaled.view();
        let Some(words) = rows.as_slice().filter(|_| rows.ncols() == 2) else {
            return Err(PyValueError::new_err(
                "decimals must be a C-contiguous array with two columns",
            ));
        };
        let mut values = memory::with_capacity(words.len() / 2)?;
        detached(py, 1, |workers| {
            for piece in words.chunks(2 * VALUES_PER_CHECK) {
                workers.check_cancelled()?;
                values.extend(
                    piece
                        .iter()
                        .step_by(2)
                        .zip(piece.iter().skip(1).step_by(2))
                        .map(|(&lower, &upper)| {
                            let number = i128::from(upper) << 64 | i128::from(lower.cast_unsigned());
                            decimal::to_f64(number, scale) as f32
                        }),
                );
            }
            Ok(())
        })?;
        Ok(values.into_pyarray(py))
    })
}
