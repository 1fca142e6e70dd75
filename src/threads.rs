//! Workers on one shared pool. Which worker takes which item never changes a result.
//!
//! The calling thread always works itself, so a call can only be helped by the pool, never wait for a place in it.
//! A pool does not survive `fork`: its threads exist in the parent only, and joining it in the child would hang. The
//! pool is therefore kept with the id of the process that made it, and a child that finds another id forgets it (a
//! leak of some bytes) and makes its own. Where the pool's lock is taken at that moment, or no thread can be had, the
//! caller works alone: slower, equal in every bit.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;

use rayon::{ThreadPool, ThreadPoolBuilder};

struct Pool {
    process: u32,
    threads: Arc<ThreadPool>,
}

static POOL: Mutex<Option<Pool>> = Mutex::new(None);

/// Cores that this process may use (affinity and control groups are honoured).
#[must_use]
pub fn available() -> usize {
    available_parallelism().map_or(1, std::num::NonZero::get)
}

fn shared_pool() -> Option<Arc<ThreadPool>> {
    let mut slot = match POOL.try_lock() {
        Ok(slot) => slot,
        Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(std::sync::TryLockError::WouldBlock) => return None,
    };
    let process = std::process::id();
    if let Some(pool) = slot.as_ref()
        && pool.process == process
    {
        return Some(Arc::clone(&pool.threads));
    }
    let threads = ThreadPoolBuilder::new()
        // The caller is a worker too.
        .num_threads(available().saturating_sub(1).max(1))
        .thread_name(|i| format!("isoxide-{i}"))
        .build()
        .ok()?;
    let threads = Arc::new(threads);
    let pool = Pool {
        process,
        threads: Arc::clone(&threads),
    };
    if let Some(orphan) = slot.replace(pool) {
        // Made before a fork: its threads are not here, so it must not be dropped (that would wait for them).
        std::mem::forget(orphan);
    }
    Some(threads)
}

/// Runs `job` on the calling thread and on up to `workers - 1` threads of the pool at once; returns when all are done.
fn run(workers: usize, job: impl Fn() + Sync) {
    let pool = if workers > 1 { shared_pool() } else { None };
    match pool {
        Some(pool) => pool.in_place_scope(|scope| {
            for _ in 1..workers {
                scope.spawn(|_| job());
            }
            job();
        }),
        None => job(),
    }
}

/// Calls `work(scratch, index, chunk)` for each `chunk_len`-long piece of `out`, on at most `workers` threads.
///
/// Each worker makes one `scratch`. The pieces are handed out in order, one at a time.
pub fn for_each_chunk<T: Send, S>(
    out: &mut [T],
    chunk_len: usize,
    workers: usize,
    scratch: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize, &mut [T]) + Sync,
) {
    let n_chunks = out.len().div_ceil(chunk_len.max(1));
    let queue = Mutex::new(out.chunks_mut(chunk_len.max(1)).enumerate());
    run(workers.min(n_chunks), || {
        let mut state = scratch();
        loop {
            // Taken in a statement of its own, so that the lock is free again before the work begins.
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                Some((index, chunk)) => work(&mut state, index, chunk),
                None => break,
            }
        }
    });
}

/// Calls `work(index)` for `0..n` on at most `workers` threads and returns the results in index order.
pub fn map<T: Send>(n: usize, workers: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut out: Vec<Option<T>> = Vec::new();
    out.resize_with(n, || None);
    for_each_chunk(
        &mut out,
        1,
        workers,
        || (),
        |(), index, slot| slot[0] = Some(work(index)),
    );
    out.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn map_keeps_order_for_any_number_of_workers() {
        for workers in [0, 1, 2, 7] {
            for n in [0, 1, 5, 1000] {
                let expected: Vec<usize> = (0..n).map(|i| i * i).collect();
                assert_eq!(map(n, workers, |i| i * i), expected);
            }
        }
    }

    #[test]
    fn every_chunk_is_visited_once() {
        let mut out = vec![0_usize; 1001];
        let calls = AtomicUsize::new(0);
        for_each_chunk(
            &mut out,
            10,
            3,
            || (),
            |(), index, chunk| {
                calls.fetch_add(1, Ordering::Relaxed);
                chunk.fill(index + 1);
            },
        );
        assert_eq!(calls.into_inner(), 101);
        assert!(out.iter().enumerate().all(|(i, &v)| v == i / 10 + 1));
    }

    #[test]
    fn a_panic_in_a_worker_reaches_the_caller_and_leaves_the_pool_usable() {
        let caught = std::panic::catch_unwind(|| map(100, 2, |i| assert_ne!(i, 50)));
        assert!(caught.is_err());
        assert_eq!(map(3, 2, |i| i), [0, 1, 2]);
    }
}
