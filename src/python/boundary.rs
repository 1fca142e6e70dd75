//! The boundary that every call from Python crosses: panics, signals and the end of the interpreter.

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

/// Runs the whole body of a function that Python calls. Code that may run Python code or release the interpreter's lock belongs
/// inside, the reading of such arguments too (pyo3 does so when it looks at an error): an interpreter that ends waits for what is
/// inside.
///
/// A panic, which would be a defect of the core, becomes a `RuntimeError`: pyo3's own `PanicException` is no `Exception` and would
/// pass through every handler of the caller.
pub(super) fn guarded<T>(body: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    if CLOSER.get().is_some_and(|closer| *closer != thread::current().id()) {
        // The interpreter ends as soon as its lock is released. `threading` ignores this exception silently.
        return Err(PySystemExit::new_err(()));
    }
    let _in_flight = InFlight::begin();
    // The headroom covers all small allocations of the call.
    memory::check_headroom()?;
    // Values that a panic leaves half changed belong to this call only.
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
        // An exit hook makes this call: threads that wait for the lock must not get it any more.
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
            // The call belongs to a thread whose interpreter ends.
            raised.unwrap_or_else(|| PySystemExit::new_err(()))
        }
        error => error.into(),
    })
}

/// The thread that ends the interpreter, once it does.
static CLOSER: OnceLock<ThreadId> = OnceLock::new();
static IS_CLOSING: AtomicBool = AtomicBool::new(false);

/// Calls in progress: the process id in the upper half, their number in the lower one. A forked child has none of its parent's
/// threads, so counts of another process are ignored.
static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);

/// A call in progress until it is dropped. It stores its process id, since asking the system takes a good part of scoring a row.
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
        let changed = |state| Some(u64::from(self.process) << 32 | change(Self::n_in_process(self.process, state)));
        // The update cannot fail, because there is always a new state.
        let _ = IN_FLIGHT.fetch_update(Ordering::AcqRel, Ordering::Acquire, changed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count(|n| n.saturating_sub(1));
    }
}

/// End the calls of other threads and wait for them, before the interpreter ends.
///
/// A thread that asks for the lock of an interpreter that has ended is killed in the middle of its work, which aborts the process
/// if Rust is on its stack.
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
                assert!(in_pool && thread::current().id() == caller, "asked for by a test");
                Ok(())
            })
        })?;
        Ok(())
    })
}
