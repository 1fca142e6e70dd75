//! Memory that may not be there.
//!
//! Rust ends the process when an allocation fails. So before a call takes much memory it asks for as much in one piece and gives it
//! back at once: where it can't be had, the call is refused and nothing has happened. Between asking and taking, others may
//! take it; what a call takes without asking is small, and [`HEADROOM`] is asked for on top of all else.

use crate::error::{Error, Result};

/// Less is not asked for: asking takes two microseconds, as long as a small call.
const WORTH_ASKING: usize = 1 << 20;
/// Kept free for all that is small.
const HEADROOM: usize = 8 << 20;

/// Asks for memory for so many items of these sizes in bytes.
///
/// # Errors
/// [`Error::Memory`] when it can't be had.
pub fn ask_for(needs: &[(usize, usize)]) -> Result<()> {
    let bytes = needs
        .iter()
        .fold(0_usize, |sum, &(n, size)| sum.saturating_add(n.saturating_mul(size)));
    if bytes < WORTH_ASKING {
        return Ok(());
    }
    ask_for_bytes(bytes.saturating_add(HEADROOM))
}

/// Asks for memory for what is small, where much of it adds up.
///
/// # Errors
/// [`Error::Memory`] when it can't be had.
pub fn ask_for_headroom() -> Result<()> {
    ask_for_bytes(HEADROOM)
}

fn ask_for_bytes(bytes: usize) -> Result<()> {
    let mut piece = Vec::<u8>::new();
    piece.try_reserve_exact(bytes).map_err(|_| Error::Memory { bytes })?;
    // An allocation that nobody looks at may be left out by the compiler.
    std::hint::black_box(&mut piece);
    Ok(())
}

/// An empty list with room for `n` items.
///
/// # Errors
/// [`Error::Memory`] when there is no memory for them.
pub fn with_capacity<T>(n: usize) -> Result<Vec<T>> {
    let mut items = Vec::new();
    items.try_reserve_exact(n).map_err(|_| Error::Memory {
        bytes: n.saturating_mul(size_of::<T>()),
    })?;
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_is_refused() {
        assert!(ask_for(&[(3, 8), (1000, 1)]).is_ok());
        assert!(ask_for(&[(1 << 20, 64)]).is_ok());
        for needs in [
            [(usize::MAX, 8), (1, 1)],
            [(usize::MAX, 1), (usize::MAX, 1)],
            [(1 << 50, 1 << 10), (0, 0)],
        ] {
            let refusal = ask_for(&needs).unwrap_err();
            assert!(refusal.to_string().contains("memory"), "{refusal}");
        }
        assert!(with_capacity::<u64>(usize::MAX).is_err());
        assert!(with_capacity::<u64>(1 << 58).is_err());
        assert_eq!(with_capacity::<u64>(7).unwrap().capacity(), 7);
    }
}
