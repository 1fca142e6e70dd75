//! Conversion of Python objects and decimals to float32, rounded to float64 first, as NumPy and scikit-learn do.
//!
//! NumPy takes 7 ns to convert an object, more than a forest of 100 trees takes to score its cell. Most objects are floats, whose
//! value only has to be read. An array that has a cell of another type than those listed here is left to NumPy.

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

/// Cells converted between two checks for signals.
const VALUES_PER_CHECK: usize = 1 << 16;
/// Objects between the one that is prefetched and the one that is read.
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
            // A signal's handler can change the array, so everything is read again.
            py.check_signals()?;
            let piece = start..cells.len().min(start + VALUES_PER_CHECK);
            let (Some(objects), Some(addresses)) = (cells.slice()?.get(piece.clone()), addresses.slice()?.get(piece))
            else {
                return Ok(None);
            };
            if addresses.contains(&0) {
                return Ok(None);
            }
            let ahead = addresses.chunks(PREFETCH_DISTANCE).skip(1).chain([&[][..]]);
            for (objects, ahead) in objects.chunks(PREFETCH_DISTANCE).zip(ahead) {
                // Objects may lie anywhere in memory.
                for &address in ahead {
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

/// Types that decide about the conversion of a cell, looked up once.
struct Types<'py> {
    /// NumPy's float64, a subclass of Python's float with the same value.
    float64: *mut PyTypeObject,
    yes: Borrowed<'py, 'py, PyBool>,
}

impl<'py> Types<'py> {
    fn new(py: Python<'py>) -> Self {
        Self {
            float64: dtype::<f64>(py).typeobj().as_type_ptr(),
            yes: PyBool::new(py, true),
        }
    }

    /// Returns the float that Python makes of an object of exactly a known type; a subclass may define another conversion.
    #[inline]
    fn value(&self, cell: &Bound<'py, PyAny>) -> PyResult<Option<f64>> {
        if cell.is_exact_instance_of::<PyFloat>() {
            return Ok(cell.extract().ok());
        }
        self.value_of_another(cell)
    }

    fn value_of_another(&self, cell: &Bound<'py, PyAny>) -> PyResult<Option<f64>> {
        if cell.is_exact_instance_of::<PyInt>() {
            // Most integers fit; others take longer, and those beyond the range of f64 are left to NumPy.
            let small: Option<i64> = cell.extract().ok();
            return Ok(small.map(|small| small as f64).or_else(|| cell.extract().ok()));
        }
        if cell.is_exact_instance_of::<PyBool>() {
            return Ok(Some(f64::from(u8::from(cell.is(self.yes)))));
        }
        if cell.is_none() {
            return Ok(Some(f64::NAN));
        }
        let type_pointer = cell.get_type_ptr();
        if type_pointer == self.float64 {
            return Ok(cell.extract().ok());
        }
        if type_pointer == decimal_type(cell.py())?.as_type_ptr() {
            // `float` parses the same text, also correctly rounded but more slowly.
            return Ok(cell.str()?.to_str()?.parse().ok());
        }
        Ok(None)
    }
}

fn decimal_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    DECIMAL.import(py, "decimal", "Decimal")
}

/// Convert decimals to float32: `unscaled` has a row of two words for each, the lower one first; `scale` is their number of decimal
/// places.
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
                "decimals must have two words each, and their rows must lie one behind the other",
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
