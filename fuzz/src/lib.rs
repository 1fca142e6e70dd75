//! The functions that the fuzzer calls: one per target, which takes any bytes and must return.
//!
//! The test `corpora` includes these very files, so that `cargo test` runs every kept input without the fuzzer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a panic is what the fuzzer looks for; the modules are part of a library here and of a test there"
)]

mod bytes;
pub mod csr;
mod explain;
pub mod file;
pub mod mergeable;
pub mod rank;
pub mod score;
mod sums;
mod table;
