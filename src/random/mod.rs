//! What scikit-learn and NumPy draw: their generators, their samplers, and the order in which they are used.

#![allow(
    clippy::indexing_slicing,
    reason = "indices are drawn below the length of what they index, which the tests hold"
)]

pub mod mt19937;
pub mod sampling;
pub mod streams;
mod units;
pub mod xorshift;
