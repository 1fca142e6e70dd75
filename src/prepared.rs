//! A value that is prepared when it is first needed, without waiting for other threads.

use std::hint::spin_loop;
use std::sync::{Arc, PoisonError, RwLock, TryLockError};

use crate::error::Result;

/// Maximum number of tries at a lock, which other threads hold only while they move a pointer.
const MAX_LOCK_TRIES: usize = 1000;

/// A value that is prepared by the first call that needs it. If several calls prepare it at once, one of them wins.
///
/// No call waits: a process that was forked at the wrong moment would wait for a thread that it does not have. In such a process
/// the lock is never free, and the value is prepared again for every call, slower but equal.
#[derive(Debug)]
pub(crate) struct Prepared<T>(RwLock<Option<Arc<T>>>);

impl<T> Prepared<T> {
    /// Creates a value that is not prepared yet.
    pub(crate) fn new() -> Self {
        Self(RwLock::new(None))
    }

    /// Returns whether the value has been prepared.
    pub(crate) fn is_prepared(&self) -> bool {
        self.0.try_read().is_ok_and(|value| value.is_some())
    }

    fn get(&self) -> Option<Arc<T>> {
        for _ in 0..MAX_LOCK_TRIES {
            match self.0.try_read() {
                Ok(value) => return value.clone(),
                Err(TryLockError::Poisoned(poisoned)) => return PoisonError::into_inner(poisoned).clone(),
                Err(TryLockError::WouldBlock) => spin_loop(),
            }
        }
        None
    }

    /// Returns the value, and prepares it first if no call has.
    pub(crate) fn get_or(&self, prepare: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let value = Arc::new(prepare()?);
        for _ in 0..MAX_LOCK_TRIES {
            match self.0.try_write() {
                Ok(mut slot) => return Ok(Arc::clone(slot.get_or_insert(value))),
                Err(TryLockError::Poisoned(poisoned)) => {
                    return Ok(Arc::clone(poisoned.into_inner().get_or_insert(value)));
                }
                Err(TryLockError::WouldBlock) => spin_loop(),
            }
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_value_is_kept_and_a_failure_is_not() {
        let cell = Prepared::new();
        assert_eq!(cell.get_or(|| Err(Error::Interrupted)), Err(Error::Interrupted));
        assert_eq!(cell.get(), None);
        assert_eq!(*cell.get_or(|| Ok(1)).unwrap(), 1);
        assert_eq!(*cell.get_or(|| Ok(2)).unwrap(), 1);
    }

    #[test]
    fn no_call_waits_for_a_lock_that_is_never_free() {
        let cell = Prepared::new();
        let _held = cell.0.write().unwrap();
        assert_eq!(cell.get(), None);
        assert_eq!(*cell.get_or(|| Ok(3)).unwrap(), 3);
    }
}
