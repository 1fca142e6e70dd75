//! Whether the caller still waits for the result.
//!
//! A call that takes long asks its caller every now and then, on the caller's own thread: that is where Python handles signals.
//! The other threads of the call look at what the last answer was.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// How long a caller is not asked: asking takes some microseconds, or until another thread lets go of the interpreter.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// What is known of one caller.
pub struct Watch<'a> {
    caller: ThreadId,
    is_given_up: &'a (dyn Fn() -> bool + Sync),
    given_up: AtomicBool,
    started: Instant,
    /// When to ask next, in milliseconds since the start.
    next: AtomicU64,
}

impl<'a> Watch<'a> {
    /// A watch for a call of the present thread, which is the only one on which `is_given_up` is called.
    pub fn new(is_given_up: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self {
            caller: thread::current().id(),
            is_given_up,
            given_up: AtomicBool::new(false),
            started: Instant::now(),
            next: AtomicU64::new(PATIENCE.as_millis() as u64),
        }
    }

    /// Whether the call has been given up; asks the caller if it is time for that, on the caller's thread.
    pub(crate) fn is_given_up(&self) -> bool {
        // Nothing else is told by these atomics than themselves, so the order of other memory does not matter.
        if self.given_up.load(Ordering::Relaxed) {
            return true;
        }
        let now = self.started.elapsed().as_millis() as u64;
        if now < self.next.load(Ordering::Relaxed) || thread::current().id() != self.caller {
            return false;
        }
        let given_up = (self.is_given_up)();
        self.given_up.store(given_up, Ordering::Relaxed);
        let next = (self.started.elapsed() + PATIENCE).as_millis() as u64;
        self.next.store(next, Ordering::Relaxed);
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn only_the_caller_is_asked_and_not_all_the_time() {
        let asked = AtomicUsize::new(0);
        let ask = || asked.fetch_add(1, Ordering::Relaxed) == 1;
        let watch = Watch::new(&ask);
        assert!(!watch.is_given_up());
        thread::sleep(PATIENCE * 2);
        thread::scope(|scope| scope.spawn(|| assert!(!watch.is_given_up())).join().unwrap());
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        assert!(!watch.is_given_up());
        assert!(!watch.is_given_up());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        thread::sleep(PATIENCE * 2);
        assert!(watch.is_given_up());
        thread::scope(|scope| scope.spawn(|| assert!(watch.is_given_up())).join().unwrap());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
