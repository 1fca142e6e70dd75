//! Memory that may not be there.
//!
//! Rust ends the process when an allocation fails. So before a call takes much memory it asks for as much in one piece and gives it
//! back at once: if the allocation fails, the call is refused and nothing has happened. Between asking and taking, others may
//! take it; what a call takes without asking is small, and [`HEADROOM_BYTES`] is asked for on top of all else.
//!
//! ```text
//! check_available           before a call takes memory whose size is known
//! Account           where much is taken little by little: asks again whenever much has been taken
//! with_capacity     a list whose memory is asked for and taken in one step, as are filled() and copied()
//! check_headroom  at the beginning of each call from Python: for everything that is small
//! ```

use crate::error::{Error, Result};

/// Less is not asked for: asking takes two microseconds, as long as a small call.
const MIN_CHECKED_BYTES: usize = 1 << 20;
/// Kept free for all that is small.
const HEADROOM_BYTES: usize = 8 << 20;
/// After so many bytes an [`Account`] asks whether there is memory left: often enough to be told before an allocation fails, and
/// seldom enough to cost nothing that can be measured.
const CHECK_INTERVAL_BYTES: usize = 256 << 10;

/// Asks for memory for so many items of these sizes in bytes.
///
/// # Errors
/// [`Error::Memory`] when it can't be had.
pub fn check_available(needs: &[(usize, usize)]) -> Result<()> {
    let bytes = needed(needs);
    if bytes < MIN_CHECKED_BYTES {
        return Ok(());
    }
    check_bytes(bytes.saturating_add(HEADROOM_BYTES))
}

/// Bytes of so many items of these sizes; the largest number if they are too many to count.
#[must_use]
pub fn needed(needs: &[(usize, usize)]) -> usize {
    needs
        .iter()
        .fold(0_usize, |sum, &(n, size)| sum.saturating_add(n.saturating_mul(size)))
}

/// Asks for memory for what is small, where much of it adds up.
///
/// # Errors
/// [`Error::Memory`] when it can't be had.
pub fn check_headroom() -> Result<()> {
    check_bytes(HEADROOM_BYTES)
}

fn check_bytes(bytes: usize) -> Result<()> {
    let mut piece = Vec::<u8>::new();
    piece.try_reserve_exact(bytes).map_err(|_| Error::Memory { bytes })?;
    // An allocation that nobody looks at may be left out by the compiler.
    std::hint::black_box(&mut piece);
    Ok(())
}

/// What a worker takes little by little.
#[derive(Debug)]
pub struct Account {
    /// Bytes taken since memory was last asked for.
    taken: usize,
}

impl Account {
    /// An account that asks at once.
    #[must_use]
    pub fn new() -> Self {
        Self {
            taken: CHECK_INTERVAL_BYTES,
        }
    }

    /// Notes that so many bytes are about to be taken, or have just been, and asks for memory if it is time for that.
    ///
    /// # Errors
    /// [`Error::Memory`] when it can't be had.
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

/// An empty list with room for `n` items.
///
/// # Errors
/// [`Error::Memory`] when there is no memory for them.
pub fn with_capacity<T>(n: usize) -> Result<Vec<T>> {
    let mut items = Vec::new();
    items.try_reserve_exact(n).map_err(|_| no_memory_for::<T>(n))?;
    Ok(items)
}

/// A list of `n` equal items.
///
/// # Errors
/// [`Error::Memory`] when there is no memory for them.
pub fn filled<T: Clone>(n: usize, item: T) -> Result<Vec<T>> {
    let mut items = with_capacity(n)?;
    items.resize(n, item);
    Ok(items)
}

/// A list of the same items.
///
/// # Errors
/// [`Error::Memory`] when there is no memory for them.
pub fn copied<T: Copy>(items: &[T]) -> Result<Vec<T>> {
    let mut list = with_capacity(items.len())?;
    list.extend_from_slice(items);
    Ok(list)
}

/// A list of items whose number is known.
///
/// # Errors
/// [`Error::Memory`] when there is no memory for them.
pub fn collected<T>(items: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let mut list = with_capacity(items.len())?;
    list.extend(items);
    Ok(list)
}

/// Makes room for one more item in a list that grows: as much as the list's own growth would take.
///
/// # Errors
/// [`Error::Memory`] when there is no memory for them.
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
    fn what_nobody_has_is_refused() {
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
    fn lists_that_nobody_has_room_for_are_refused() {
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
    fn an_account_asks_for_what_is_taken_at_once_and_for_what_adds_up() {
        let mut account = Account::new();
        account.take(1).unwrap();
        for _ in 0..1000 {
            account.take(CHECK_INTERVAL_BYTES / 3).unwrap();
        }
        assert!(account.take(1 << 60).is_err());
        assert!(account.take(usize::MAX).is_err());
    }
}
