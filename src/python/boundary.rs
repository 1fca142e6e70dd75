//! Guards every call from Python: catches panics, handles signals, and lets calls end before the interpreter does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PySystemExit};
use pyo3::prelude::*;

use crate::cancellation::CancellationToken;
use crate::error::{Error, Result};
use crate::memory;
use crate::threads::Workers;

/// Runs the whole body of a function that Python calls.
///
/// An interpreter that is about to end waits for the bodies in progress ([`close`]). So `body` must contain all code that may run
/// Python code or release the interpreter's lock. That includes the conversion of arguments whose failure makes pyo3 inspect an
/// error.
///
/// A panic, which would be a defect of the core, becomes a `RuntimeError`. pyo3's own `PanicException` is not an `Exception`, so no
/// `except Exception` of the caller would catch it.
pub(super) fn guarded<T>(body: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    if CLOSER.get().is_some_and(|closer| *closer != thread::current().id()) {
        // The interpreter is about to end. `threading` ends this thread silently when it gets this exception.
        return Err(PySystemExit::new_err(()));
    }
    let _in_flight = InFlight::begin();
    // This much free memory is enough for all small allocations of the call.
    memory::check_headroom()?;
    // A panic may leave values half changed, but they belong to this call only.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        Err(PyRuntimeError::new_err(
            "internal error in isoxide; please report it together with the message on stderr",
        ))
    })
}

/// Runs `work` without the interpreter's lock, on up to `n_workers` threads.
///
/// A signal is handled within a fraction of a second; if its handler raises, as Ctrl-C's does, the work ends and the call raises
/// the exception.
pub(super) fn detached<T: Send>(
    py: Python<'_>,
    n_workers: usize,
    work: impl FnOnce(Workers<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    if CLOSER.get().is_some() {
        // An exit hook makes this call. It keeps the lock, because the other threads that wait for it must not run any more.
        return Ok(work(n_workers.into())?);
    }
    let raised = Mutex::new(None);
    #[allow(
        clippy::redundant_closure_for_method_calls,
        reason = "the method itself is not general enough for any lifetime of the lock"
    )]
    let is_cancelled = || {
        IS_CLOSING.load(Ordering::Relaxed)
            || Python::attach(|py| py.check_signals()).is_err_and(|error| {
                *raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                true
            })
    };
    let token = CancellationToken::new(&is_cancelled);
    let outcome = py.detach(|| work(Workers::cancellable(n_workers, &token)));
    outcome.map_err(|error| match error {
        Error::Interrupted => {
            let raised = raised.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Without an exception from a signal handler, the reason is that the interpreter is about to end.
            raised.unwrap_or_else(|| PySystemExit::new_err(()))
        }
        error => error.into(),
    })
}

/// The thread that ends the interpreter, once [`close`] has been called.
static CLOSER: OnceLock<ThreadId> = OnceLock::new();
/// Whether [`close`] has been called, so that calls in progress must end.
static IS_CLOSING: AtomicBool = AtomicBool::new(false);

/// The process id in the upper 32 bits, and the number of calls in progress in the lower 32. A forked child has none of its
/// parent's threads, so the number counts as zero if the id is that of another process.
static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);

/// A call in progress; dropping this value ends it. It stores the process id, because asking the system for it takes a large part
/// of the time in which a row is scored.
struct InFlight {
    process: u32,
}

impl InFlight {
    fn begin() -> Self {
        let call = Self { process: process::id() };
        call.count(|n| n + 1);
        call
    }

    /// Returns the number of calls in progress in this process.
    fn n() -> u64 {
        Self::n_in_process(process::id(), IN_FLIGHT.load(Ordering::Acquire))
    }

    fn n_in_process(process: u32, state: u64) -> u64 {
        if state >> 32 == u64::from(process) {
            state & u64::from(u32::MAX)
        } else {
            0
        }
    }

    fn count(&self, change: impl Fn(u64) -> u64) {
        let update = |state| Some(u64::from(self.process) << 32 | change(Self::n_in_process(self.process, state)));
        // The update cannot fail, because there is always a new state.
        let _ = IN_FLIGHT.fetch_update(Ordering::AcqRel, Ordering::Acquire, update);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count(|n| n.saturating_sub(1));
    }
}

/// End the calls of other threads and wait for them, before the interpreter ends.
///
/// A thread that requests the lock of an interpreter that has ended is killed at that point, which aborts the process if the thread
/// runs Rust code.
#[pyfunction]
pub(super) fn close(py: Python<'_>) {
    // The interpreter's lock is held here and when a call begins, so no call can begin in between.
    let _ = CLOSER.set(thread::current().id());
    IS_CLOSING.store(true, Ordering::Relaxed);
    while InFlight::n() > 0 {
        py.detach(|| thread::sleep(Duration::from_millis(1)));
    }
}

/// Panic on a thread of the pool, or on the caller's thread, for a test.
#[pyfunction]
pub(super) fn panic(py: Python<'_>, in_pool: bool) -> PyResult<()> {
    guarded(|| {
        let caller = thread::current().id();
        detached(py, 2, |workers| {
            crate::threads::map(1000, workers, |_| {
                thread::sleep(Duration::from_millis(1));
                assert!(
                    in_pool && thread::current().id() == caller,
                    "a test requested this panic"
                );
                Ok(())
            })
        })?;
        Ok(())
    })
}
