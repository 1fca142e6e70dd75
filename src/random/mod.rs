//! Draws random numbers as scikit-learn and NumPy do: generators, samplers, and the order in which a fit uses them.
//!
//! The generators [`Mt19937`] and [`XorShift32`] implement the traits of [`rand_core`], so they work with all code that is written
//! for the crate `rand`. The samplers are generic over [`rand_core::Rng`], so they accept any other generator too. Only the
//! generators of this module make scikit-learn's draws.
//!
//! ```text
//! mt19937       the generator of numpy.random.RandomState
//! random_state  doubles, bounded integers and permutations, drawn from any generator as RandomState does
//! xorshift      the generator of one tree's splits, and the numbers that scikit-learn draws from it
//! sampling      rows and columns with and without replacement, weighted or not
//! doubles       the noise target of an integer seed; values that no tree reads are skipped
//! streams       all draws of a fit, in scikit-learn's order
//! ```
//!
//! A forest can be grown from a stream that was used before, as with scikit-learn's `random_state=RandomState(7)`, or from any
//! other generator:
//!
//! ```
//! use isoxide::{grow::{NoiseTarget, Params, grow}, matrix::{Input, Matrix}, random::{Mt19937, streams}};
//! use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};
//!
//! fn forest_of(rng: &mut impl Rng) -> isoxide::error::Result<isoxide::forest::Forest> {
//!     let x = ndarray::array![[-1.1], [0.3], [0.5], [100.0]];
//!     let noise = streams::noise_target_from(rng, x.nrows(), 1)?;
//!     let seeds = streams::tree_seeds_from(rng, 100);
//!     let params = Params { max_samples: 4, max_features: 1, bootstrap: false };
//!     grow(&Input::Dense(Matrix::from_f64(x.view())), NoiseTarget::Drawn(&noise), &seeds, params, None, None, 1)
//! }
//!
//! let as_scikit_learn = forest_of(&mut Mt19937::new(7))?;
//! let from_another_generator = forest_of(&mut Xoshiro256PlusPlus::seed_from_u64(7))?;
//! assert_ne!(as_scikit_learn, from_another_generator);
//! # Ok::<(), isoxide::error::Error>(())
//! ```

#![allow(
    clippy::indexing_slicing,
    reason = "indices are drawn below the length of what they index, which the tests check"
)]

mod doubles;
pub mod mt19937;
pub mod random_state;
pub mod sampling;
pub mod streams;
pub mod xorshift;

pub use mt19937::Mt19937;
pub use rand_core::{Rng, SeedableRng};
pub use xorshift::XorShift32;
