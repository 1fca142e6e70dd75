//! Memory checks before large allocations.
//!
//! Rust aborts the process when an allocation fails. Therefore a call that is about to take much memory first allocates as much in
//! one piece and frees it at once: if that allocation fails, the call returns an error and nothing has happened. Another thread may
//! take the memory between the check and the use. Small allocations are not checked one by one; 8 MiB (`HEADROOM_BYTES`) are
//! checked for all of them.
//!
//! ```text
//! check_available   before a call takes memory whose size is known
//! Account           where memory is taken little by little: checks again whenever much has been taken
//! with_capacity     allocates a list and checks it in one step, as filled(), copied() and collected() do
//! check_headroom    at the beginning of each call from Python, for all small allocations
//! ```

use crate::error::{Error, Result};

/// Smaller needs are not checked: a check takes two microseconds, as long as a small call.
const MIN_CHECKED_BYTES: usize = 1 << 20;
/// Bytes that must stay free for small allocations.
const HEADROOM_BYTES: usize = 8 << 20;
/// Bytes taken from an [`Account`] between two checks: few enough to notice a shortage before an allocation fails, and enough that
/// the cost cannot be measured.
const CHECK_INTERVAL_BYTES: usize = 256 << 10;

/// Checks that memory is available for these numbers of items, each with its size in bytes.
///
/// # Errors
/// [`Error::Memory`] when it is not.
pub fn check_available(needs: &[(usize, usize)]) -> Result<()> {
    let bytes = needed(needs);
    if bytes < MIN_CHECKED_BYTES {
        return Ok(());
    }
    check_bytes(bytes.saturating_add(HEADROOM_BYTES))
}

/// Returns the bytes of these numbers of items with these sizes; the largest number if they overflow.
#[must_use]
pub fn needed(needs: &[(usize, usize)]) -> usize {
    needs
        .iter()
        .fold(0_usize, |sum, &(n, size)| sum.saturating_add(n.saturating_mul(size)))
}

/// Checks that memory is available for small allocations.
///
/// # Errors
/// [`Error::Memory`] when it is not.
pub fn check_headroom() -> Result<()> {
    check_bytes(HEADROOM_BYTES)
}

fn check_bytes(bytes: usize) -> Result<()> {
    let mut piece = Vec::<u8>::new();
    piece.try_reserve_exact(bytes).map_err(|_| Error::Memory { bytes })?;
    // The compiler may remove an allocation that nothing reads.
    std::hint::black_box(&mut piece);
    Ok(())
}

/// Counter of the memory that a worker takes little by little.
#[derive(Debug)]
pub struct Account {
    /// Bytes taken since the last check.
    taken: usize,
}

impl Account {
    /// Creates an account whose first `take` checks memory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            taken: CHECK_INTERVAL_BYTES,
        }
    }

    /// Counts bytes that are about to be taken, or have just been taken. Checks memory each time that enough have been counted.
    ///
    /// # Errors
    /// [`Error::Memory`] when it is not available.
    pub fn take(&mut self, bytes: usize) -> Result<()> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken < CHECK_INTERVAL_BYTES {
            return Ok(());
        }
        self.taken = 0;
        check_bytes(bytes.saturating_add(HEADROOM_BYTES))
    }
}

impl Default for Account {
    fn default() -> Self {
        Self::new()
    }
}

/// Allocates an empty list with room for `n` items.
///
/// # Errors
/// [`Error::Memory`] when the memory cannot be allocated.
pub fn with_capacity<T>(n: usize) -> Result<Vec<T>> {
    let mut items = Vec::new();
    items.try_reserve_exact(n).map_err(|_| no_memory_for::<T>(n))?;
    Ok(items)
}

/// Allocates a list of `n` equal items.
///
/// # Errors
/// [`Error::Memory`] when the memory cannot be allocated.
pub fn filled<T: Clone>(n: usize, item: T) -> Result<Vec<T>> {
    let mut items = with_capacity(n)?;
    items.resize(n, item);
    Ok(items)
}

/// Copies a list.
///
/// # Errors
/// [`Error::Memory`] when the memory cannot be allocated.
pub fn copied<T: Copy>(items: &[T]) -> Result<Vec<T>> {
    let mut list = with_capacity(items.len())?;
    list.extend_from_slice(items);
    Ok(list)
}

/// Collects items whose number is known into a list.
///
/// # Errors
/// [`Error::Memory`] when the memory cannot be allocated.
pub fn collected<T>(items: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let mut list = with_capacity(items.len())?;
    list.extend(items);
    Ok(list)
}

/// Makes room for one more item in a list that grows, as the list's own growth would.
///
/// # Errors
/// [`Error::Memory`] when the memory cannot be allocated.
#[inline]
pub fn grow<T>(items: &mut Vec<T>) -> Result<()> {
    if items.len() < items.capacity() {
        return Ok(());
    }
    items
        .try_reserve(1)
        .map_err(|_| no_memory_for::<T>(items.len().saturating_mul(2)))
}

#[cold]
fn no_memory_for<T>(n: usize) -> Error {
    Error::Memory {
        bytes: n.saturating_mul(size_of::<T>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_beyond_memory_are_refused() {
        assert!(check_available(&[(3, 8), (1000, 1)]).is_ok());
        assert!(check_available(&[(1 << 20, 64)]).is_ok());
        for needs in [
            [(usize::MAX, 8), (1, 1)],
            [(usize::MAX, 1), (usize::MAX, 1)],
            [(1 << 50, 1 << 10), (0, 0)],
        ] {
            let refusal = check_available(&needs).unwrap_err();
            assert!(refusal.to_string().contains("memory"), "{refusal}");
        }
        assert!(with_capacity::<u64>(usize::MAX).is_err());
        assert!(with_capacity::<u64>(1 << 58).is_err());
        assert_eq!(with_capacity::<u64>(7).unwrap().capacity(), 7);
    }

    #[test]
    fn lists_larger_than_memory_are_refused() {
        for n in [1 << 58, usize::MAX] {
            assert!(filled(n, 0_u64).is_err());
            assert!(collected((0..n).map(|i| i as u64)).is_err());
        }
        assert_eq!(filled(3, 7_u8), Ok(vec![7; 3]));
        assert_eq!(copied(&[1, 2]), Ok(vec![1, 2]));
        assert_eq!(collected([1, 2].into_iter()), Ok(vec![1, 2]));
    }

    #[test]
    fn a_list_that_grows_has_room_for_one_more() {
        let mut items = Vec::new();
        for i in 0..1000 {
            grow(&mut items).unwrap();
            let capacity = items.capacity();
            items.push(i);
            assert_eq!(items.capacity(), capacity);
        }
    }

    #[test]
    fn an_account_checks_large_amounts_at_once_and_small_ones_when_they_add_up() {
        let mut account = Account::new();
        account.take(1).unwrap();
        for _ in 0..1000 {
            account.take(CHECK_INTERVAL_BYTES / 3).unwrap();
        }
        assert!(account.take(1 << 60).is_err());
        assert!(account.take(usize::MAX).is_err());
    }
}
