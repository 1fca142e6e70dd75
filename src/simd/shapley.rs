//! The Shapley values of one tree for many rows: the steps of [`explain`](crate::explain), written once for registers of any width.
//!
//! A tree is a list of steps in depth-first order, and each step has constants for every node of the quadrature. The lanes of a
//! register are rows. For a few rows the list is run from end to end with `P` and `H` (one register per node) in registers;
//! `explain` says what they are. What has to wait for a subtree waits on a stack, at the step's `slot`, its depth.
//!
//! ```text
//! [m: a, o: b, c] = a in the rows of m, else b in the rows of o, else c      m: rows that take the edge
//! new  = (a, 1)                                                              o: rows that took the last edge by the same column
//!
//! chain  (to a split whose sibling is a leaf)   push P * leaf;      P *= factor
//! first  (to the left of two splits)            push P;             P *= factor
//! turn   (back from it, and to the right)       attribute H;  P = popped;  push H;  m = rows that went right;  P *= factor
//! up     (back from a split)                    attribute H;  H += popped
//! pair   (two leaves)                           phi -= sum_q (P * s) * [m: e1, o: e0, 0];   H = P * [m: k1, o: k0, k]
//!
//! factor           new column: [m: a, 1]        column met before: [m: a, o: b, 1]
//! attribute H      new column: phi -= sum_q H * [m: a, 1]
//!                  met before: phi -= sum_q H * [m: a, o: b, 0]
//! ```
//!
//! The order of the operations is fixed, so the bits are too: a sum over nodes is `((t0 + t1) + t2) + t3`, then come further passes
//! over the tree with up to four nodes each, and each step of a pass changes `phi` once.

use super::lanes::Lanes;

/// Largest number of quadrature nodes of a pass: as many values of P and of H stay in registers.
pub const PASS_NODES: usize = 4;
/// Rows of the widest group of registers; strides are multiples of it.
pub const GROUP_ROWS: usize = 16;
/// Largest number of slots of the stack.
pub const MAX_SLOTS: usize = 64;

/// What a step does; the module describes it. `Again` stands for a column that was met before on the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// Go left to a split; the right child is a leaf.
    ChainLeft,
    /// The same by a column met before.
    ChainLeftAgain,
    /// Go right to a split; the left child is a leaf.
    ChainRight,
    /// The same by a column met before.
    ChainRightAgain,
    /// Go left to the first of two splits.
    First,
    /// The same by a column met before.
    FirstAgain,
    /// Come back from the first of two splits, and go right to the second.
    Turn,
    /// The same by a column met before.
    TurnAgain,
    /// Come back from a split.
    Up,
    /// The same by a column met before.
    UpAgain,
    /// Both children are leaves; the edge is the left one.
    Pair,
    /// The same by a column met before.
    PairAgain,
}

impl Action {
    /// Returns the number of constants per node of the quadrature, and of further constants.
    fn n_constants(self) -> (usize, usize) {
        match self {
            Self::First | Self::Up => (1, 0),
            Self::ChainLeft | Self::ChainRight | Self::FirstAgain | Self::Turn | Self::UpAgain => (2, 0),
            Self::ChainLeftAgain | Self::ChainRightAgain => (3, 0),
            Self::TurnAgain => (4, 0),
            Self::Pair => (3, 2),
            Self::PairAgain => (4, 2),
        }
    }
}

/// A step through a tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// Slot of the stack, and of the mask of the edge.
    pub slot: u8,
    /// Slot of the mask of the last edge by the same column, if it was met before.
    pub older: u8,
    /// Whether missing values go left.
    pub missing_left: bool,
    /// Index of the column in the block.
    pub column: u32,
    /// Threshold of the split: values at or below it go left.
    pub threshold: f32,
}

/// A part of the quadrature: up to [`PASS_NODES`] nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    /// Weight of each node, with which P begins.
    pub weights: Vec<f64>,
    /// Constants of all steps, in order: for each constant in the description of a step, one number per node, and after them `e1`
    /// and `e0` of a pair.
    pub constants: Vec<f64>,
}

/// A tree as steps, whose indices have been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ShapleyTree {
    steps: Vec<Step>,
    passes: Vec<Pass>,
    n_columns: usize,
    n_slots: usize,
}

impl ShapleyTree {
    /// Stores the steps of a tree over a block with `n_columns` columns.
    ///
    /// # Panics
    /// When a column or a slot is out of range, or constants are missing.
    #[must_use]
    pub fn new(steps: Vec<Step>, passes: Vec<Pass>, n_columns: usize) -> Self {
        // The kernels read and write unchecked, so everything that they rely on is asserted here.
        let n_slots = steps
            .iter()
            .map(|step| usize::from(step.slot.max(step.older)) + 1)
            .max();
        let n_slots = n_slots.unwrap_or(0);
        assert!(n_slots <= MAX_SLOTS, "{n_slots} slots");
        assert!(
            steps.iter().all(|step| (step.column as usize) < n_columns),
            "a column beyond the {n_columns} of the block"
        );
        let add = |sum: (usize, usize), step: &Step| {
            let n = step.action.n_constants();
            (sum.0 + n.0, sum.1 + n.1)
        };
        let (per_node, single) = steps.iter().fold((0, 0), add);
        for pass in &passes {
            let n_nodes = pass.weights.len();
            assert!((1..=PASS_NODES).contains(&n_nodes), "a pass of {n_nodes} nodes");
            assert_eq!(pass.constants.len(), per_node * n_nodes + single, "constants");
        }
        Self {
            steps,
            passes,
            n_columns,
            n_slots,
        }
    }

    /// Returns the steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// A line of memory, aligned as the widest register.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f64; 8]);

/// Lines of a slot: the values of a pass, and a mask.
const SLOT_LINES: usize = PASS_NODES * GROUP_ROWS / 8 + 1;

/// Memory that a worker needs beside the block.
#[derive(Debug)]
pub struct ShapleyScratch {
    stack: Vec<Line>,
}

impl ShapleyScratch {
    /// Allocates the stack of a run, which is enough for every tree.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stack: vec![Line([0.0; 8]); MAX_SLOTS * SLOT_LINES],
        }
    }
}

impl Default for ShapleyScratch {
    fn default() -> Self {
        Self::new()
    }
}

/// A block of rows, column by column.
#[derive(Debug)]
pub struct ShapleyBlock<'a> {
    /// Values, `stride` per column.
    pub values: &'a [f32],
    /// Shapley values, `stride` per column, to which those of the tree are added.
    pub phi: &'a mut [f64],
    /// Numbers per column; a multiple of [`GROUP_ROWS`].
    pub stride: usize,
    /// Rows to explain; up to the next multiple of [`GROUP_ROWS`], further rows may be explained too.
    pub rows: usize,
    /// Whether the splits decide where missing values go; otherwise they go right.
    pub missing: bool,
}

/// Adds the Shapley values of a tree to those of a block.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn explain<L: Lanes>(tree: &ShapleyTree, block: &mut ShapleyBlock<'_>, scratch: &mut ShapleyScratch) {
    let n_cells = tree.n_columns * block.stride;
    assert!(
        block.values.len() >= n_cells && block.phi.len() >= n_cells,
        "a block too small"
    );
    assert!(
        block.stride.is_multiple_of(GROUP_ROWS) && block.rows <= block.stride,
        "rows"
    );
    const { assert!(GROUP_ROWS.is_multiple_of(L::ROWS)) };
    const { assert!(size_of::<[L; PASS_NODES]>() <= (SLOT_LINES - 1) * size_of::<Line>()) };
    const { assert!(size_of::<L::Mask>() <= size_of::<Line>() && align_of::<L>() <= align_of::<Line>()) };
    for pass in &tree.passes {
        // SAFETY: the caller vouches for the processor; everything else was asserted here and in the tree's constructor.
        unsafe {
            match (pass.weights.len(), block.missing) {
                (1, false) => run_pass::<L, 1, false>(tree, pass, block, scratch),
                (2, false) => run_pass::<L, 2, false>(tree, pass, block, scratch),
                (3, false) => run_pass::<L, 3, false>(tree, pass, block, scratch),
                (_, false) => run_pass::<L, 4, false>(tree, pass, block, scratch),
                (1, true) => run_pass::<L, 1, true>(tree, pass, block, scratch),
                (2, true) => run_pass::<L, 2, true>(tree, pass, block, scratch),
                (3, true) => run_pass::<L, 3, true>(tree, pass, block, scratch),
                (_, true) => run_pass::<L, 4, true>(tree, pass, block, scratch),
            }
        }
    }
}

/// Runs a pass with `Q` nodes over all rows.
///
/// # Safety
/// The processor has the instructions of `L`; the tree fits the block.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "as below")]
unsafe fn run_pass<L: Lanes, const Q: usize, const MISSING: bool>(
    tree: &ShapleyTree,
    pass: &Pass,
    block: &mut ShapleyBlock<'_>,
    scratch: &mut ShapleyScratch,
) {
    assert_eq!(pass.weights.len(), Q);
    let stride = block.stride;
    for top in (0..block.rows).step_by(L::ROWS) {
        // SAFETY: `top + L::ROWS` is at most the stride, since the stride is a multiple of `L::ROWS`. The stack has `MAX_SLOTS`
        // slots of `SLOT_LINES` lines: first those for values, behind them one line per slot for masks.
        unsafe {
            let stack = scratch.stack.as_mut_ptr();
            let mut run = Run::<L, Q> {
                p: [L::splat(0.0); Q],
                h: [L::splat(0.0); Q],
                constant: pass.constants.as_ptr(),
                values: stack.cast(),
                masks: stack.add(MAX_SLOTS * (SLOT_LINES - 1)).cast(),
            };
            for q in 0..Q {
                run.p[q] = L::splat(pass.weights[q]);
            }
            let values = block.values.as_ptr().add(top);
            let phi = block.phi.as_mut_ptr().add(top);
            for &step in &tree.steps {
                let column = step.column as usize * stride;
                let (values, phi) = (values.add(column), phi.add(column));
                match step.action {
                    Action::ChainLeft => run.chain::<false, false, MISSING>(step, values),
                    Action::ChainLeftAgain => run.chain::<false, true, MISSING>(step, values),
                    Action::ChainRight => run.chain::<true, false, MISSING>(step, values),
                    Action::ChainRightAgain => run.chain::<true, true, MISSING>(step, values),
                    Action::First => run.first::<false, MISSING>(step, values),
                    Action::FirstAgain => run.first::<true, MISSING>(step, values),
                    Action::Turn => run.turn::<false>(step, phi),
                    Action::TurnAgain => run.turn::<true>(step, phi),
                    Action::Up => run.up::<false>(step, phi),
                    Action::UpAgain => run.up::<true>(step, phi),
                    Action::Pair => run.pair::<false, MISSING>(step, values, phi),
                    Action::PairAgain => run.pair::<true, MISSING>(step, values, phi),
                }
            }
        }
    }
}

/// The state of a run through the tree. All its functions need the instructions of `L`, and a stack and constants as the tree's
/// constructor has checked them.
struct Run<L: Lanes, const Q: usize> {
    /// Product of the factors of all edges on the path, and the weight.
    p: [L; Q],
    /// Sum over the leaves of the last subtree.
    h: [L; Q],
    /// The next constant.
    constant: *const f64,
    values: *mut [L; Q],
    masks: *mut L::Mask,
}

#[allow(
    clippy::missing_safety_doc,
    reason = "the description of the type is that of each function"
)]
#[allow(
    clippy::needless_range_loop,
    reason = "an iterator that is not inlined keeps P and H in memory, which takes three times as long"
)]
impl<L: Lanes, const Q: usize> Run<L, Q> {
    /// Returns the address of the next `n` constants, and passes over them.
    #[inline(always)]
    unsafe fn take(&mut self, n: usize) -> *const f64 {
        let first = self.constant;
        // SAFETY: there are as many constants as the steps take, as the constructor of the tree has checked.
        self.constant = unsafe { first.add(n) };
        first
    }

    /// Returns the rows that take the edge and all edges before it by the same column, and remembers them.
    #[inline(always)]
    unsafe fn edge<const RIGHT: bool, const AGAIN: bool, const MISSING: bool>(
        &mut self,
        step: Step,
        values: *const f32,
    ) -> L::Mask {
        // SAFETY: the slots are in range, and a mask of any bits is valid.
        unsafe {
            let mut mask = if RIGHT {
                L::not_at_or_below(values, step.threshold)
            } else {
                L::at_or_below(values, step.threshold)
            };
            if MISSING {
                mask = L::with_missing(mask, values, step.missing_left != RIGHT);
            }
            if AGAIN {
                mask = L::both(mask, *self.masks.add(usize::from(step.older)));
            }
            mask
        }
    }

    /// Multiplies P by the factor of an edge.
    #[inline(always)]
    unsafe fn descend<const AGAIN: bool>(&mut self, step: Step, mask: L::Mask) {
        // SAFETY: the constants exist, and the slot is in range.
        unsafe {
            let a = self.take(Q);
            if AGAIN {
                let b = self.take(Q);
                let older = *self.masks.add(usize::from(step.older));
                for q in 0..Q {
                    self.p[q] = self.p[q].times_first(mask, a.add(q), older, b.add(q));
                }
            } else {
                for q in 0..Q {
                    self.p[q] = self.p[q].times_if(mask, a.add(q));
                }
            }
            *self.masks.add(usize::from(step.slot)) = mask;
        }
    }

    /// Attributes H to the column of an edge.
    #[inline(always)]
    unsafe fn attribute<const AGAIN: bool>(&mut self, step: Step, mask: L::Mask, phi: *mut f64) {
        // SAFETY: the constants exist, and the slot is in range.
        unsafe {
            let a = self.take(Q);
            let mut sum = self.h[0];
            if AGAIN {
                let b = self.take(Q);
                let older = *self.masks.add(usize::from(step.older));
                for q in 0..Q {
                    let ratio = L::constant(b.add(q)).if_in(older);
                    let term = self.h[q].times(ratio.or_if(mask, L::constant(a.add(q))));
                    sum = if q == 0 { term } else { sum.plus(term) };
                }
            } else {
                for q in 0..Q {
                    let term = self.h[q].times_if(mask, a.add(q));
                    sum = if q == 0 { term } else { sum.plus(term) };
                }
            }
            sum.subtract_from(phi);
        }
    }

    #[inline(always)]
    unsafe fn chain<const RIGHT: bool, const AGAIN: bool, const MISSING: bool>(
        &mut self,
        step: Step,
        values: *const f32,
    ) {
        // SAFETY: the constants exist, and the slot is in range.
        unsafe {
            let leaf = self.take(Q);
            let slot = &mut *self.values.add(usize::from(step.slot));
            for q in 0..Q {
                slot[q] = self.p[q].times(L::constant(leaf.add(q)));
            }
            let mask = self.edge::<RIGHT, AGAIN, MISSING>(step, values);
            self.descend::<AGAIN>(step, mask);
        }
    }

    #[inline(always)]
    unsafe fn first<const AGAIN: bool, const MISSING: bool>(&mut self, step: Step, values: *const f32) {
        // SAFETY: the slot is in range.
        unsafe {
            *self.values.add(usize::from(step.slot)) = self.p;
            let mask = self.edge::<false, AGAIN, MISSING>(step, values);
            self.descend::<AGAIN>(step, mask);
        }
    }

    #[inline(always)]
    unsafe fn turn<const AGAIN: bool>(&mut self, step: Step, phi: *mut f64) {
        // SAFETY: the slots are in range.
        unsafe {
            let left = *self.masks.add(usize::from(step.slot));
            self.attribute::<AGAIN>(step, left, phi);
            let slot = &mut *self.values.add(usize::from(step.slot));
            self.p = *slot;
            *slot = self.h;
            let right = if AGAIN {
                L::only_second(left, *self.masks.add(usize::from(step.older)))
            } else {
                L::none_of(left)
            };
            self.descend::<AGAIN>(step, right);
        }
    }

    #[inline(always)]
    unsafe fn up<const AGAIN: bool>(&mut self, step: Step, phi: *mut f64) {
        // SAFETY: the slots are in range.
        unsafe {
            let mask = *self.masks.add(usize::from(step.slot));
            self.attribute::<AGAIN>(step, mask, phi);
            let slot = &*self.values.add(usize::from(step.slot));
            for q in 0..Q {
                self.h[q] = self.h[q].plus(slot[q]);
            }
        }
    }

    #[inline(always)]
    unsafe fn pair<const AGAIN: bool, const MISSING: bool>(&mut self, step: Step, values: *const f32, phi: *mut f64) {
        // SAFETY: the constants exist, and the slot is in range.
        unsafe {
            let mask = self.edge::<false, AGAIN, MISSING>(step, values);
            let s = self.take(Q);
            let mut sum = self.p[0];
            for q in 0..Q {
                let term = self.p[q].times(L::constant(s.add(q)));
                sum = if q == 0 { term } else { sum.plus(term) };
            }
            let (k1, k0) = (self.take(Q), self.take(Q));
            if AGAIN {
                let k = self.take(Q);
                let older = *self.masks.add(usize::from(step.older));
                for q in 0..Q {
                    let rest = L::constant(k.add(q)).or_if(older, L::constant(k0.add(q)));
                    self.h[q] = self.p[q].times(rest.or_if(mask, L::constant(k1.add(q))));
                }
                let (e1, e0) = (self.take(1), self.take(1));
                let rest = L::constant(e0).if_in(older);
                sum.times(rest.or_if(mask, L::constant(e1))).subtract_from(phi);
            } else {
                for q in 0..Q {
                    self.h[q] = self.p[q].times_either(mask, k1.add(q), k0.add(q));
                }
                let (e1, e0) = (self.take(1), self.take(1));
                sum.times_either(mask, e1, e0).subtract_from(phi);
            }
        }
    }
}
