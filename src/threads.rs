//! Divides the work of a call among the calling thread and a shared pool of threads. The division never changes a result.
//!
//! The calling thread always works too, and it hires threads of the pool as helpers only while they are idle. So no job waits in a
//! queue for the work of another call to end. At its end a call waits only for the items that its own helpers have begun.
//!
//! A pool does not survive `fork`: its threads exist only in the parent, so a job given to the pool in the child would never run.
//! The pool is therefore stored with the id of the process that made it. A child process that reads another id than its own leaks
//! the pool (a few bytes) and makes a new one. If the pool is locked at that moment, or no thread can be started, the caller works
//! alone, which is slower but has the same result.
//!
//! Nothing here can deadlock or race:
//!
//! - Locks: no thread waits for the pool's lock; it is only tried. A call has two locks of its own, one for the queue of chunks and
//!   one for the first error. They are held for a few instructions, during which nothing else is locked, called or awaited.
//! - `idle` counts the pool's idle threads. It is lowered by one, never below zero, before a job is given to the pool, and raised
//!   when the job ends, even if it panics. So there are never more jobs than threads, and every job begins at once.
//! - A waiting caller sleeps until the last helper wakes it, or until it must poll its [`CancellationToken`]. A wake-up before the
//!   sleep ends it at once, and a spurious one does no harm. rayon's scope, not this count, guarantees that all helpers have ended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread, available_parallelism};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::cancellation::{CancellationToken, POLL_INTERVAL};
use crate::error::{Error, Result};
use crate::memory;

/// The number of threads that a call may use, and the token that cancels it.
#[derive(Clone, Copy)]
pub struct Workers<'a> {
    n: usize,
    token: Option<&'a CancellationToken<'a>>,
}

impl From<usize> for Workers<'_> {
    /// Allows up to `n` threads for a call that cannot be cancelled.
    fn from(n: usize) -> Self {
        Self { n, token: None }
    }
}

impl<'a> Workers<'a> {
    /// Allows up to `n` threads for a call that `token` can cancel.
    #[must_use]
    pub fn cancellable(n: usize, token: &'a CancellationToken<'a>) -> Self {
        Self { n, token: Some(token) }
    }

    /// Returns the maximum number of threads, including the caller's.
    #[must_use]
    pub fn n(self) -> usize {
        self.n.max(1)
    }

    /// Returns the same workers, but no more than `n`.
    #[must_use]
    pub fn at_most(self, n: usize) -> Self {
        Self {
            n: self.n.min(n),
            ..self
        }
    }

    /// Checks that the call has not been cancelled.
    ///
    /// # Errors
    /// [`Error::Interrupted`] once the call has been cancelled.
    pub fn check_cancelled(self) -> Result<()> {
        match self.token {
            Some(token) if token.is_cancelled() => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }
}

/// Bytes that a new thread needs: its stack, and a second stack for signal handlers.
const THREAD_BYTES: usize = 4 << 20;

struct Pool {
    process: u32,
    threads: ThreadPool,
    idle: AtomicUsize,
}

impl Pool {
    /// Takes one of the idle threads, if there is one.
    fn hire(&self) -> bool {
        let decrement = |idle: usize| idle.checked_sub(1);
        self.idle
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement)
            .is_ok()
    }
}

static POOL: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

/// Returns the number of cores that this process may use, given its CPU affinity and control group.
#[must_use]
pub fn available() -> usize {
    available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Returns the pool of this process, which the first call makes; `None` if the pool is locked or cannot be made.
fn shared_pool() -> Option<Arc<Pool>> {
    let mut slot = match POOL.try_lock() {
        Ok(slot) => slot,
        Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(std::sync::TryLockError::WouldBlock) => return None,
    };
    let process = std::process::id();
    if let Some(pool) = slot.as_ref()
        && pool.process == process
    {
        return Some(Arc::clone(pool));
    }
    // The calling thread works too.
    let n_threads = available().saturating_sub(1).max(1);
    // This is checked first, since the system ends a process that has no memory for the stack of a new thread.
    memory::check_available(&[(n_threads, THREAD_BYTES)]).ok()?;
    let threads = ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .thread_name(|i| format!("isoxide-{i}"))
        .build()
        .ok()?;
    let pool = Arc::new(Pool {
        process,
        threads,
        idle: AtomicUsize::new(n_threads),
    });
    if let Some(orphan) = slot.replace(Arc::clone(&pool)) {
        // This pool was made before a fork, so its threads do not exist here. Dropping it would signal them through locks that one
        // of them may have held.
        std::mem::forget(orphan);
    }
    Some(pool)
}

/// A thread of the pool that works for a call; dropping this value makes the thread idle again.
struct Helper<'a> {
    pool: &'a Pool,
    /// Number of helpers of the call.
    n_helpers: &'a AtomicUsize,
    caller: &'a Thread,
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        self.pool.idle.fetch_add(1, Ordering::Relaxed);
        if self.n_helpers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.caller.unpark();
        }
    }
}

/// Runs `job` on the calling thread and on helpers, and returns when all of them are done.
///
/// The argument of `job` is a function that hires idle threads of the pool, up to the allowed number. The calling thread should
/// call it between any two items, since threads may become idle at any time. On a helper the function does nothing.
fn run(workers: Workers<'_>, job: impl Fn(&dyn Fn()) + Sync) {
    let pool = if workers.n() > 1 { shared_pool() } else { None };
    let Some(pool) = pool else {
        return job(&|| ());
    };
    let (pool, job) = (&*pool, &job);
    let n_helpers = &AtomicUsize::new(0);
    let caller = &thread::current();
    pool.threads.in_place_scope(|scope| {
        job(&|| {
            while n_helpers.load(Ordering::Relaxed) + 1 < workers.n() && pool.hire() {
                n_helpers.fetch_add(1, Ordering::Relaxed);
                let helper = Helper {
                    pool,
                    n_helpers,
                    caller,
                };
                scope.spawn(move |_| {
                    let _helper = helper;
                    job(&|| ());
                });
            }
        });
        // The caller keeps polling while it waits, so that helpers with much work left notice a cancellation.
        while workers.token.is_some() && n_helpers.load(Ordering::Acquire) > 0 {
            let _ = workers.check_cancelled();
            thread::park_timeout(POLL_INTERVAL);
        }
    });
}

/// Calls `work(scratch, index, chunk)` for each chunk of `chunk_len` items of `out`, on up to `workers.n()` threads.
///
/// Each thread calls `scratch` once, for the memory that it reuses in all of its chunks. The chunks are handed out in order, one at
/// a time.
///
/// # Errors
/// The first error of `scratch` or `work`; [`Error::Interrupted`] when the call is cancelled. Chunks that no thread had begun stay
/// unchanged.
pub fn for_each_chunk<T: Send, S>(
    out: &mut [T],
    chunk_len: usize,
    workers: Workers<'_>,
    scratch: impl Fn() -> Result<S> + Sync,
    work: impl Fn(&mut S, usize, &mut [T]) -> Result<()> + Sync,
) -> Result<()> {
    let chunk_len = chunk_len.max(1);
    let n_chunks = out.len().div_ceil(chunk_len);
    let queue = Mutex::new(out.chunks_mut(chunk_len).enumerate());
    let failure = Mutex::new(None);
    let process_chunks = |hire: &dyn Fn()| -> Result<()> {
        let mut state = scratch()?;
        loop {
            workers.check_cancelled()?;
            hire();
            // A separate statement releases the lock before the work begins.
            let next = lock(&queue).next();
            match next {
                Some((index, chunk)) => work(&mut state, index, chunk)?,
                None => return Ok(()),
            }
        }
    };
    run(workers.at_most(n_chunks), |hire| {
        if let Err(error) = process_chunks(hire) {
            // An empty queue ends the work of the other threads.
            *lock(&queue) = <&mut [T]>::default().chunks_mut(1).enumerate();
            lock(&failure).get_or_insert(error);
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Locks a mutex, poisoned or not: no code can panic while the data behind a lock is half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `work(index)` for `0..n` on up to `workers.n()` threads and returns the results in the order of the indices.
///
/// # Errors
/// The first error of `work`; [`Error::Interrupted`] when the call is cancelled; [`Error::Memory`].
pub fn map<T: Send>(n: usize, workers: Workers<'_>, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let mut out: Vec<Option<T>> = memory::with_capacity(n)?;
    out.resize_with(n, || None);
    let fill = |(): &mut (), index: usize, slot: &mut [Option<T>]| {
        let result = work(index)?;
        if let [result_slot] = slot {
            *result_slot = Some(result);
        }
        Ok(())
    };
    for_each_chunk(&mut out, 1, workers, || Ok(()), fill)?;
    let mut results = memory::with_capacity(n)?;
    results.extend(out.into_iter().flatten());
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    #[test]
    fn map_keeps_order_for_any_number_of_workers() {
        for workers in [0, 1, 2, 7] {
            for n in [0, 1, 5, 1000] {
                let expected: Vec<usize> = (0..n).map(|i| i * i).collect();
                assert_eq!(map(n, workers.into(), |i| Ok(i * i)), Ok(expected));
            }
        }
    }

    #[test]
    fn every_chunk_is_visited_once() {
        let mut out = vec![0_usize; 1001];
        let calls = AtomicUsize::new(0);
        let fill = |(): &mut (), index: usize, chunk: &mut [usize]| {
            calls.fetch_add(1, Ordering::Relaxed);
            chunk.fill(index + 1);
            Ok(())
        };
        for_each_chunk(&mut out, 10, 3.into(), || Ok(()), fill).unwrap();
        assert_eq!(calls.into_inner(), 101);
        assert!(out.iter().enumerate().all(|(i, &v)| v == i / 10 + 1));
    }

    #[test]
    fn a_panic_in_a_worker_reaches_the_caller_and_leaves_the_pool_usable() {
        for _ in 0..10 {
            let work = |i| {
                assert_ne!(i, 50);
                Ok(())
            };
            let caught = std::panic::catch_unwind(|| map(100, 2.into(), work));
            assert!(caught.is_err());
            assert_eq!(map(3, 2.into(), Ok), Ok(vec![0, 1, 2]));
        }
    }

    #[test]
    fn an_error_ends_the_work_of_all_threads() {
        for workers in [1, 3] {
            let calls = AtomicUsize::new(0);
            let outcome = map(1_000_000, workers.into(), |i| {
                calls.fetch_add(1, Ordering::Relaxed);
                if i == 20 {
                    Err(Error::Sparse("item 20".into()))
                } else {
                    Ok(i)
                }
            });
            assert_eq!(outcome, Err(Error::Sparse("item 20".into())));
            assert!(calls.into_inner() < 1_000_000);
        }
    }

    #[test]
    fn a_cancelled_call_ends_the_work_of_all_threads() {
        for workers in [1, 2] {
            let cancelled = || true;
            let token = CancellationToken::new(&cancelled);
            let outcome = map(1000, Workers::cancellable(workers, &token), |_| {
                thread::sleep(POLL_INTERVAL);
                Ok(())
            });
            assert_eq!(outcome, Err(Error::Interrupted));
        }
    }

    #[test]
    fn a_waiting_caller_cancels_its_helper() {
        const N_ITEMS: usize = 200;
        let caller = thread::current().id();
        for _ in 0..50 {
            let (has_helper, n_done, n_polls) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
            // The call is cancelled at the second poll after all items but the helper's are done. At the first one, the caller may
            // not be waiting yet.
            let cancelled =
                || n_done.load(Ordering::Relaxed) == N_ITEMS - 1 && n_polls.fetch_add(1, Ordering::Relaxed) > 0;
            let token = CancellationToken::new(&cancelled);
            let workers = Workers::cancellable(2, &token);
            let outcome = map(N_ITEMS, workers, |_| {
                while thread::current().id() != caller {
                    has_helper.store(true, Ordering::Relaxed);
                    workers.check_cancelled()?;
                    thread::sleep(Duration::from_millis(1));
                }
                thread::sleep(Duration::from_millis(1));
                n_done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            if has_helper.into_inner() {
                assert_eq!(outcome, Err(Error::Interrupted));
                return;
            }
            // Other tests kept the pool busy, so the caller has done all items alone, and the call was never cancelled.
            assert_eq!(outcome, Ok(vec![(); N_ITEMS]));
        }
        panic!("no thread of the pool was idle in ten seconds");
    }

    #[test]
    fn no_call_waits_for_the_work_of_another_call() {
        // The pool has at least one thread. One call keeps all threads busy until the other calls are done.
        let n_threads = available().saturating_sub(1).max(1) + 1;
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                map(n_threads, n_threads.into(), |_| {
                    while done.load(Ordering::Relaxed) < 4 {
                        thread::sleep(Duration::from_millis(1));
                    }
                    Ok(())
                })
            });
            for _ in 0..4 {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(20));
                    assert_eq!(map(100, 4.into(), Ok).map(|out| out.len()), Ok(100));
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
    }
}
