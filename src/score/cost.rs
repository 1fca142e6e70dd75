//! Estimates of the time that each strategy takes, from the size of the forest alone.
//!
//! ```text
//! walk = rows * (steps of all trees * step + columns * FILL)
//! plan = tiles of 64 rows * (trees * tree + columns read by the groups * column) + registers of rows * splits * split
//! ```
//!
//! The constants are nanoseconds on an AMD EPYC (Zen 5, 2026-11-29). Another processor takes another time, but it takes it for
//! both strategies. `docs/design/scoring.md` compares the estimates with measurements.

use crate::forest::Forest;
use crate::simd::{BLOCK_ROWS, Choice, TILE_ROWS};

/// Steps of walks down a tree, eight rows side by side, for forests of at most as many nodes: the second-level cache holds few, and
/// the third one more.
const STEPS: [(usize, f64); 3] = [(40_000, 0.7), (200_000, 1.0), (usize::MAX, 2.0)];
/// A cell that is copied for a walk.
const FILL: f64 = 0.27;
/// Splits whose masks a group of a plan holds.
const GROUP_SPLITS: usize = 6 * 1024;
/// Most splits that a plan evaluates in a tree: the rarer ones are exits.
const MAX_TREE_SPLITS: usize = 700;

/// What a plan takes on a kernel.
struct KernelCost {
    /// A tile of a tree, whatever its size.
    tree: f64,
    /// A split, for the rows of a register.
    split: f64,
    /// A tile of a column.
    column: f64,
    /// Rows of a register.
    register_rows: usize,
}

#[cfg(target_arch = "x86_64")]
const AVX512: KernelCost = KernelCost {
    tree: 17.0,
    split: 1.5,
    column: 20.0,
    register_rows: 512,
};
#[cfg(target_arch = "x86_64")]
const AVX2: KernelCost = KernelCost {
    tree: 24.0,
    split: 2.1,
    column: 25.0,
    register_rows: 256,
};
/// Not measured: AVX2's with registers of half the length.
#[cfg(target_arch = "aarch64")]
const NEON: KernelCost = KernelCost {
    tree: 48.0,
    split: 2.1,
    column: 50.0,
    register_rows: 128,
};
const PORTABLE: KernelCost = KernelCost {
    tree: 35.0,
    split: 7.5,
    column: 80.0,
    register_rows: 256,
};

/// What the time of scoring depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct ForestSize {
    trees: usize,
    nodes: usize,
    columns: usize,
}

impl ForestSize {
    pub(super) fn new(forest: &Forest) -> Self {
        Self {
            trees: forest.n_trees(),
            nodes: forest.nodes().len(),
            columns: forest.n_features(),
        }
    }

    /// Returns whether evaluating a plan that exists takes less time than walking.
    pub(super) fn plan_is_faster(self, kernel: Choice, n_rows: usize) -> bool {
        let cost = match kernel {
            #[cfg(target_arch = "x86_64")]
            Choice::Avx512(_) => AVX512,
            #[cfg(target_arch = "x86_64")]
            Choice::Avx2(_) => AVX2,
            #[cfg(target_arch = "aarch64")]
            Choice::Neon(_) => NEON,
            Choice::Portable(_) => PORTABLE,
        };
        self.plan(&cost, n_rows) < self.walk(n_rows)
    }

    fn walk(self, n_rows: usize) -> f64 {
        // Trees are about one level deeper than balanced ones.
        let height = (self.nodes / self.trees).max(1).ilog2() + 2;
        let step = STEPS.iter().find(|(n_nodes, _)| self.nodes <= *n_nodes);
        let step = step.map_or(0.0, |&(_, step)| step);
        n_rows as f64 * (self.trees as f64 * f64::from(height) * step + self.columns as f64 * FILL)
    }

    fn plan(self, cost: &KernelCost, n_rows: usize) -> f64 {
        let n_splits = self.trees * (self.nodes / self.trees / 2).min(MAX_TREE_SPLITS);
        let n_groups = n_splits.div_ceil(GROUP_SPLITS);
        let n_read = self.columns.saturating_mul(n_groups).min(n_splits);
        let tile = self.trees as f64 * cost.tree + n_read as f64 * cost.column;
        let block = |n_rows: usize| {
            let n_registers = n_rows.div_ceil(cost.register_rows) as f64;
            n_rows.div_ceil(TILE_ROWS) as f64 * tile + n_registers * n_splits as f64 * cost.split
        };
        (n_rows / BLOCK_ROWS) as f64 * block(BLOCK_ROWS) + block(n_rows % BLOCK_ROWS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns, trees, nodes of a tree, rows, and the measured microseconds of a walk and of a plan with AVX-512, AVX2 and the portable
    /// kernel (AMD EPYC, Zen 5, 2026-11-29).
    const MEASURED: [([usize; 4], [f64; 4]); 24] = [
        ([10, 100, 16, 1], [0.40, 2.66, 3.79, 8.72]),
        ([10, 100, 16, 16], [4.78, 2.74, 3.97, 8.89]),
        ([10, 100, 16, 64], [18.73, 2.83, 3.83, 9.03]),
        ([10, 100, 88, 16], [9.36, 7.23, 10.18, 28.94]),
        ([10, 100, 88, 32], [18.05, 7.22, 10.13, 28.97]),
        ([50, 10, 80, 16], [1.09, 1.60, 1.98, 6.3]),
        ([50, 10, 80, 64], [4.05, 1.96, 2.25, 7.10]),
        ([50, 100, 80, 1], [0.73, 7.21, 10.31, 32.69]),
        ([50, 100, 80, 16], [9.68, 7.33, 10.54, 34.33]),
        ([50, 100, 80, 32], [19.17, 7.60, 10.80, 34.76]),
        ([50, 100, 80, 128], [73.88, 9.55, 14.82, 47.82]),
        ([50, 100, 257, 16], [13.32, 26.38, 34.36, 108.19]),
        ([50, 100, 257, 128], [99.12, 29.74, 42.71, 130.19]),
        ([50, 100, 558, 64], [59.3, 57.0, 71.8, 185.2]),
        ([50, 100, 1331, 64], [66.9, 89.1, 105.2, 256.9]),
        ([50, 100, 1331, 512], [643.3, 246.9, 373.4, 861.8]),
        ([50, 100, 3303, 512], [1056.0, 395.8, 646.5, 1269.0]),
        ([50, 1000, 80, 16], [118.4, 94.2, 129.8, 371.7]),
        ([50, 1000, 80, 64], [399.2, 110.5, 140.2, 392.5]),
        ([1000, 100, 81, 16], [13.61, 23.76, 27.43, 75.03]),
        ([1000, 100, 81, 64], [54.80, 36.14, 39.67, 105.4]),
        ([1000, 100, 81, 256], [228.4, 112.4, 112.2, 327.7]),
        ([1000, 1000, 81, 16], [141.1, 320.9, 413.2, 933.1]),
        ([1000, 1000, 81, 256], [2187.0, 1277.0, 1559.0, 3598.0]),
    ];

    #[test]
    fn the_estimates_choose_well_where_it_matters() {
        for ([columns, trees, tree_nodes, n_rows], [walk, plans @ ..]) in MEASURED {
            let size = ForestSize {
                trees,
                nodes: trees * tree_nodes,
                columns,
            };
            let check = |cost: &KernelCost, plan: f64| {
                let chosen = if size.plan(cost, n_rows) < size.walk(n_rows) {
                    plan
                } else {
                    walk
                };
                // A wrong choice may cost half as much again.
                assert!(
                    chosen < 1.5 * walk.min(plan),
                    "{n_rows} rows, {size:?}: {walk} or {plan}"
                );
            };
            #[cfg(target_arch = "x86_64")]
            {
                check(&AVX512, plans[0]);
                check(&AVX2, plans[1]);
            }
            check(&PORTABLE, plans[2]);
        }
    }

    #[test]
    fn a_single_row_is_walked_and_many_are_not() {
        for columns in [1, 50] {
            for (trees, tree_nodes) in [(100, 80), (1_000, 500)] {
                let size = ForestSize {
                    trees,
                    nodes: trees * tree_nodes,
                    columns,
                };
                for kernel in Choice::all() {
                    assert!(!size.plan_is_faster(kernel, 1), "{size:?} {kernel:?}");
                    assert!(size.plan_is_faster(kernel, 100 * BLOCK_ROWS), "{size:?} {kernel:?}");
                }
            }
        }
    }
}
