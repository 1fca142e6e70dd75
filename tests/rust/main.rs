//! Tests of the public crate, without Python; one program, so that they are linked once.
//!
//! `cargo test --test integration rank::` runs one module.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, a panic is a failure"
)]

mod common;
mod corpora;
mod drawn;
mod explain;
mod file;
mod forest;
mod generators;
mod golden;
mod grow;
mod kernels;
mod mergeable;
mod rank;
mod scoring;
mod sketch;
mod sparse;
