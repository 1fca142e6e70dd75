//! Tables and calls that benchmarks and instruction counts share; the tables are the same on every machine.

use isoxide::error::Result;
use isoxide::explain::Explainer;
use isoxide::forest::{Forest, path_length};
use isoxide::grow::{NoiseTarget, Params, grow};
use isoxide::matrix::{Input, Matrix};
use isoxide::random::streams;
use isoxide::score::Scorer;
use ndarray::Array2;

/// `SplitMix64` (Steele, Lea and Flood, 2014), written out here so that no release of another crate changes a table.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// Draws any 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Draws a number from 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Draws a number near 0, approximately normal. It only adds, because a logarithm may differ by machine.
    pub(crate) fn continuous(&mut self) -> f64 {
        (0..4).map(|_| self.unit()).sum::<f64>() - 2.0
    }

    /// Draws a small count; most are 0.
    pub(crate) fn count(&mut self) -> f64 {
        let (occurs, size) = (self.unit() >= 0.7, self.unit());
        if occurs {
            (1.0 + 3.0 * size / (1.01 - size)).floor()
        } else {
            0.0
        }
    }
}

/// Makes alternating columns of continuous values and of counts, row-major.
pub(crate) fn table(n: usize, d: usize) -> Array2<f64> {
    let mut numbers = Numbers(0);
    Array2::from_shape_fn((n, d), |(_, j)| {
        if j % 2 == 0 {
            numbers.continuous()
        } else {
            numbers.count()
        }
    })
}

/// The inputs of growing other than the table.
pub(crate) struct GrowInputs {
    noise: Vec<f64>,
    seeds: Vec<u32>,
    params: Params,
}

impl GrowInputs {
    /// Prepares trees of `max_samples` of `n` rows and of all `d` columns.
    pub(crate) fn new(n: usize, d: usize, max_samples: usize, n_trees: usize) -> Result<Self> {
        Ok(Self {
            noise: streams::noise_target(0, n, 1)?,
            seeds: streams::tree_seeds(0, 0, n_trees),
            params: Params {
                max_samples,
                max_features: d,
                bootstrap: false,
            },
        })
    }

    /// Grows on one thread.
    pub(crate) fn grow(&self, x: &Input<'_>) -> Result<Forest> {
        grow(
            x,
            NoiseTarget::Drawn(&self.noise),
            &self.seeds,
            self.params,
            None,
            None,
            1,
        )
    }
}

/// Grows 100 trees of 256 rows, and prepares them for scoring.
pub(crate) fn scorer(x: &Input<'_>) -> Result<Scorer> {
    let inputs = GrowInputs::new(x.n_rows(), x.n_columns(), 256, 100)?;
    Scorer::new(inputs.grow(x)?, path_length::table(256))
}

/// Grows 100 trees of 256 rows, and prepares them for explaining.
pub(crate) fn explainer(x: &Input<'_>) -> Result<Explainer> {
    let inputs = GrowInputs::new(x.n_rows(), x.n_columns(), 256, 100)?;
    Explainer::new(inputs.grow(x)?, path_length::table(256))
}

/// Borrows a table of f64 as input.
pub(crate) fn dense(x: &Array2<f64>) -> Input<'_> {
    Input::Dense(Matrix::from_f64(x.view()))
}
