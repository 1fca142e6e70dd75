//! Tests that the steps of Shapley values equal their definition, row by row and bit by bit, on random trees.

use super::*;
use crate::simd::shapley::{Action, GROUP_ROWS, MAX_SLOTS, PASS_NODES, Pass, Step};

/// Draws the steps of a tree.
struct Drawing<'a> {
    random: &'a mut Random,
    steps: Vec<Step>,
    /// For each column the slot of its last edge on the path.
    met: Vec<Option<u8>>,
}

impl Drawing<'_> {
    fn push(&mut self, step: Step, new: Action, again: Action) {
        let action = if self.met[step.column as usize].is_some() {
            again
        } else {
            new
        };
        self.steps.push(Step { action, ..step });
    }

    /// Draws a split into `n_leaves` leaves or more at a depth.
    fn split(&mut self, n_leaves: usize, slot: u8) {
        let column = self.random.below(self.met.len());
        let before = self.met[column];
        let step = Step {
            action: Action::Pair,
            slot,
            older: before.unwrap_or(0),
            missing_left: self.random.one_in(2),
            column: column as u32,
            threshold: self.random.cell() as f32,
        };
        let below = |this: &mut Self, n_leaves| {
            this.met[column] = Some(slot);
            this.split(n_leaves, slot + 1);
            this.met[column] = before;
        };
        if n_leaves <= 2 || usize::from(slot) == MAX_SLOTS - 1 {
            self.push(step, Action::Pair, Action::PairAgain);
        } else if n_leaves == 3 || self.random.one_in(2) {
            if self.random.one_in(2) {
                self.push(step, Action::ChainLeft, Action::ChainLeftAgain);
            } else {
                self.push(step, Action::ChainRight, Action::ChainRightAgain);
            }
            below(self, n_leaves - 1);
            self.push(step, Action::Up, Action::UpAgain);
        } else {
            let n_left = 2 + self.random.below(n_leaves - 3);
            self.push(step, Action::First, Action::FirstAgain);
            below(self, n_left);
            self.push(step, Action::Turn, Action::TurnAgain);
            below(self, n_leaves - n_left);
            self.push(step, Action::Up, Action::UpAgain);
        }
    }
}

/// A tree with the parts that it was made of.
struct Drawn {
    tree: ShapleyTree,
    passes: Vec<Pass>,
}

fn drawn(random: &mut Random, n_columns: usize, n_leaves: usize, n_nodes: &[usize]) -> Drawn {
    let mut drawing = Drawing {
        random,
        steps: Vec::new(),
        met: vec![None; n_columns],
    };
    drawing.split(n_leaves, 0);
    let steps = drawing.steps;
    let mut number = || random.below(2001) as f64 / 1000.0 - 1.0;
    let passes: Vec<Pass> = n_nodes
        .iter()
        .map(|&n| Pass {
            weights: (0..n).map(|_| number()).collect(),
            constants: (steps.iter().map(|step| n_constants(step.action)))
                .flat_map(|(per_node, single)| std::iter::repeat_n((), per_node * n + single))
                .map(|()| number())
                .collect(),
        })
        .collect();
    let tree = ShapleyTree::new(steps, passes.clone(), n_columns);
    Drawn { tree, passes }
}

/// Constants per node and per step.
#[allow(clippy::match_same_arms, reason = "the sums say which constants they are")]
fn n_constants(action: Action) -> (usize, usize) {
    match action {
        Action::ChainLeft | Action::ChainRight => (1 + 1, 0),
        Action::ChainLeftAgain | Action::ChainRightAgain => (1 + 2, 0),
        Action::First | Action::Up => (1, 0),
        Action::FirstAgain | Action::UpAgain => (2, 0),
        Action::Turn => (1 + 1, 0),
        Action::TurnAgain => (2 + 2, 0),
        Action::Pair => (1 + 2, 2),
        Action::PairAgain => (1 + 3, 2),
    }
}

/// The definition for one row: adds to `phi` as the module's description says.
#[allow(clippy::too_many_lines, reason = "the definition in one piece")]
fn define(drawn: &Drawn, pass: &Pass, row: &[f32], missing: bool, phi: &mut [f64]) {
    let n = pass.weights.len();
    let (mut p, mut h) = (pass.weights.clone(), vec![0.0; n]);
    let mut slots = vec![vec![0.0; n]; MAX_SLOTS];
    let mut masks = [false; MAX_SLOTS];
    let mut rest = &pass.constants[..];
    let mut take = |n| {
        let (taken, after) = rest.split_at(n);
        rest = after;
        taken.to_vec()
    };
    for step in drawn.tree.steps() {
        let (slot, column) = (usize::from(step.slot), step.column as usize);
        let value = row[column];
        let goes_left = value <= step.threshold || (missing && value.is_nan() && step.missing_left);
        let again = matches!(
            step.action,
            Action::ChainLeftAgain
                | Action::ChainRightAgain
                | Action::FirstAgain
                | Action::TurnAgain
                | Action::UpAgain
                | Action::PairAgain
        );
        // For a new column every row has met all conditions so far.
        let older = !again || masks[usize::from(step.older)];
        let sum = |terms: Vec<f64>| terms.into_iter().reduce(|sum, term| sum + term).unwrap();
        let descend =
            |p: &mut Vec<f64>, masks: &mut [bool; MAX_SLOTS], mask: bool, take: &mut dyn FnMut(usize) -> Vec<f64>| {
                let a = take(n);
                let b = if again { take(n) } else { vec![1.0; n] };
                for q in 0..n {
                    p[q] *= if mask {
                        a[q]
                    } else if older {
                        b[q]
                    } else {
                        1.0
                    };
                }
                masks[slot] = mask;
            };
        let attribute = |h: &[f64], phi: &mut [f64], mask: bool, take: &mut dyn FnMut(usize) -> Vec<f64>| {
            let a = take(n);
            let b = if again { take(n) } else { vec![1.0; n] };
            let ratio = |q: usize| {
                if mask {
                    a[q]
                } else if older {
                    b[q]
                } else {
                    0.0
                }
            };
            phi[column] -= sum((0..n).map(|q| h[q] * ratio(q)).collect());
        };
        match step.action {
            Action::ChainLeft | Action::ChainLeftAgain | Action::ChainRight | Action::ChainRightAgain => {
                let leaf = take(n);
                slots[slot] = p.iter().zip(leaf).map(|(p, leaf)| p * leaf).collect();
                let goes_right = matches!(step.action, Action::ChainRight | Action::ChainRightAgain);
                descend(&mut p, &mut masks, older && goes_left != goes_right, &mut take);
            }
            Action::First | Action::FirstAgain => {
                slots[slot].clone_from(&p);
                descend(&mut p, &mut masks, older && goes_left, &mut take);
            }
            Action::Turn | Action::TurnAgain => {
                attribute(&h, phi, masks[slot], &mut take);
                std::mem::swap(&mut p, &mut slots[slot]);
                slots[slot].clone_from(&h);
                descend(&mut p, &mut masks, older && !goes_left, &mut take);
            }
            Action::Up | Action::UpAgain => {
                attribute(&h, phi, masks[slot], &mut take);
                h.iter_mut().zip(&slots[slot]).for_each(|(h, waiting)| *h += waiting);
            }
            Action::Pair | Action::PairAgain => {
                let mask = older && goes_left;
                let (s, k1, k0) = (take(n), take(n), take(n));
                let k = if again { take(n) } else { k0.clone() };
                let (e1, e0) = (take(1)[0], take(1)[0]);
                let total = sum((0..n).map(|q| p[q] * s[q]).collect());
                h = (0..n)
                    .map(|q| {
                        p[q] * if mask {
                            k1[q]
                        } else if older {
                            k0[q]
                        } else {
                            k[q]
                        }
                    })
                    .collect();
                phi[column] -= total
                    * if mask {
                        e1
                    } else if older {
                        e0
                    } else {
                        0.0
                    };
            }
        }
    }
}

fn check_shapley(kernel: impl Kernel, drawn: &Drawn, values: &[f32], stride: usize, rows: usize, missing: bool) {
    let n_columns = values.len() / stride;
    let mut phi = vec![0.25; values.len()];
    let mut block = ShapleyBlock {
        values,
        phi: &mut phi,
        stride,
        rows,
        missing,
    };
    let mut scratch = ShapleyScratch::new();
    kernel.shapley(&drawn.tree, &mut block, &mut scratch);
    for row in 0..rows {
        let cells: Vec<f32> = (0..n_columns).map(|column| values[column * stride + row]).collect();
        let mut expected = vec![0.25; n_columns];
        for pass in &drawn.passes {
            define(drawn, pass, &cells, missing, &mut expected);
        }
        for column in 0..n_columns {
            let (actual, expected) = (phi[column * stride + row], expected[column]);
            assert_eq!(
                actual.to_bits(),
                expected.to_bits(),
                "{}: {actual} is not {expected} in row {row}, column {column}",
                kernel.name()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn shapley_equals_its_definition(
        n_columns in 1..6_usize,
        n_leaves in 2..40_usize,
        n_nodes in prop::collection::vec(1..=PASS_NODES, 1..3),
        rows in rows(70),
        missing: bool,
        seed: u64,
    ) {
        let mut random = Random::new(seed);
        let drawn = drawn(&mut random, n_columns, n_leaves, &n_nodes);
        let stride = rows.next_multiple_of(GROUP_ROWS) + GROUP_ROWS * random.below(2);
        let values: Vec<f32> = (0..n_columns * stride).map(|_| random.cell() as f32).collect();
        for_every_kernel!(check_shapley(&drawn, &values, stride, rows, missing));
    }
}

#[test]
#[should_panic(expected = "constants")]
fn missing_constants_are_refused() {
    let mut random = Random::new(1);
    let Drawn { tree, mut passes } = drawn(&mut random, 2, 5, &[3]);
    passes[0].constants.pop();
    let _ = ShapleyTree::new(tree.steps().to_vec(), passes, 2);
}

#[test]
#[should_panic(expected = "a column beyond")]
fn a_column_beyond_the_block_is_refused() {
    let mut random = Random::new(1);
    let Drawn { tree, passes } = drawn(&mut random, 3, 40, &[3]);
    let _ = ShapleyTree::new(tree.steps().to_vec(), passes, 2);
}

#[test]
#[should_panic(expected = "a block too small")]
fn a_block_too_small_is_refused() {
    let drawn = drawn(&mut Random::new(1), 3, 40, &[3]);
    check_shapley(Portable, &drawn, &[0.0; 2 * GROUP_ROWS], GROUP_ROWS, 1, false);
}
