//! What the fuzzer calls: one function per target, which takes any bytes and must come back.
//!
//! `tests/rust/corpora.rs` includes these very files, so that what was found once is tried by `cargo test`, with no fuzzer at hand.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a panic is what the fuzzer looks for; the modules are part of a library here and of a test there"
)]

mod bytes;
pub mod csr;
pub mod file;
pub mod mergeable;
pub mod rank;
pub mod score;
mod sums;
mod table;
