//! What scikit-learn and NumPy draw: their generators, their samplers, and the order in which they are used.

pub mod mt19937;
pub mod sampling;
pub mod streams;
pub mod xorshift;
