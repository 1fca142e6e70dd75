//! Cancellation of a long call by its caller.
//!
//! The call polls its caller every [`POLL_INTERVAL`], on the caller's own thread, because that is where Python handles signals. The
//! other threads of the call read the last result.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Time between two polls. A poll takes some microseconds, or until another thread releases the interpreter.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Tells the threads of one call whether the caller has cancelled it.
pub struct CancellationToken<'a> {
    caller: ThreadId,
    is_cancelled: &'a (dyn Fn() -> bool + Sync),
    cancelled: AtomicBool,
    started: Instant,
    /// Time of the next poll, in milliseconds since the start.
    next: AtomicU64,
}

impl<'a> CancellationToken<'a> {
    /// Creates a token for a call of the current thread, which is the only one on which `is_cancelled` is called.
    pub fn new(is_cancelled: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self {
            caller: thread::current().id(),
            is_cancelled,
            cancelled: AtomicBool::new(false),
            started: Instant::now(),
            next: AtomicU64::new(POLL_INTERVAL.as_millis() as u64),
        }
    }

    /// Returns whether the call has been cancelled. On the caller's thread it polls the caller first, if the interval is over.
    pub(crate) fn is_cancelled(&self) -> bool {
        // These atomics publish no other memory, so relaxed ordering is enough.
        if self.cancelled.load(Ordering::Relaxed) {
            return true;
        }
        let now = self.started.elapsed().as_millis() as u64;
        if now < self.next.load(Ordering::Relaxed) || thread::current().id() != self.caller {
            return false;
        }
        let cancelled = (self.is_cancelled)();
        self.cancelled.store(cancelled, Ordering::Relaxed);
        let next = (self.started.elapsed() + POLL_INTERVAL).as_millis() as u64;
        self.next.store(next, Ordering::Relaxed);
        cancelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn only_the_calling_thread_polls_and_once_per_interval() {
        let n_polls = AtomicUsize::new(0);
        let poll = || n_polls.fetch_add(1, Ordering::Relaxed) == 1;
        let token = CancellationToken::new(&poll);
        assert!(!token.is_cancelled());
        thread::sleep(POLL_INTERVAL * 2);
        thread::scope(|scope| scope.spawn(|| assert!(!token.is_cancelled())).join().unwrap());
        assert_eq!(n_polls.load(Ordering::Relaxed), 0);
        assert!(!token.is_cancelled());
        assert!(!token.is_cancelled());
        assert_eq!(n_polls.load(Ordering::Relaxed), 1);
        thread::sleep(POLL_INTERVAL * 2);
        assert!(token.is_cancelled());
        thread::scope(|scope| scope.spawn(|| assert!(token.is_cancelled())).join().unwrap());
        assert_eq!(n_polls.load(Ordering::Relaxed), 2);
    }
}
