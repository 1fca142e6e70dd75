//! A forest compiled into steps for the kernels of [`simd`](crate::simd).
//!
//! Per edge there are constants for each node t of the quadrature, with u = 1 - t. A column that is met for the first time on the
//! path has z = cover(child) / cover(node); one that was met before has z0 there, and z is z0 times that ratio. Every factor
//! `z + t (o - z)` is divided by its value of a row that does not take the edge, `z u`. That leaves 1 for such rows and
//! `(t + u z) / (z u)` for the others, and the product of all `z u` on a path is a constant of the leaf. H is divided by u besides,
//! so that the ratio of a row that does not take a new edge is -1, and phi is changed by subtraction. With `f(z) = t + u z`:
//!
//! ```text
//! K          = product of z and u over the columns on the path to the split, u once per column
//! leaf       = (value - shift) K / u
//! factor     a = f(z) / (z u)                                                     met before: a = f(z) z0 / (f(z0) z),  b = z0 u / f(z0)
//! attribute  a = -(1 - z) u / f(z)                                                met before: a = -(z0 - z) u / (f(z) f(z0)),  b = 1 / f(z0)
//! pair of leaves l (left) and r, both less the shift:
//!   s = K                                    e1 = -(l - r) (1 - z),  e0 = (l - r) z
//!   k1 = K (l f(z) + r (1 - z) u) / u,       k0 = K (l z u + r (t + u (1 - z))) / u
//! and met before:
//!   s = K / f(z0)^2                          e1 = -(l - r) (z0 - z), e0 = (l - r) z
//!   k1 = K (l f(z) + r (z0 - z) u) / (f(z0) u),  k0 = K (l z u + r (t + u (z0 - z))) / (f(z0) u),  k = K (l z + r (z0 - z)) / (z0 u)
//! ```

use super::quadrature::{self, QuadratureNode};
use crate::error::{Error, Result};
use crate::forest::{Forest, Node, NodeNoise, depths, path_length::leaf_value, round_down};
use crate::memory;
use crate::simd::shapley::{Action, MAX_SLOTS, PASS_NODES, Pass, ShapleyTree, Step};
use crate::threads::{self, Workers};

/// Marks a column that no split uses, in [`Plan::index_of`].
const UNUSED: u32 = u32::MAX;
/// Marks a column that is not on the path.
const NOT_MET: u8 = u8::MAX;
/// Largest relative difference between the cover of a split and that of its children, which weights of 32 bits can have.
const COVER_TOLERANCE: f64 = 1e-6;

/// Smallest share of a tree's training rows that a node may have: no tree of real rows comes near it, and constants stay finite above it.
const MIN_COVER_SHARE: f64 = 1e-30;

/// A forest as steps.
#[derive(Debug)]
pub(super) struct Plan {
    /// Columns of the input that some split uses, ascending.
    pub(super) columns: Vec<u32>,
    pub(super) trees: Vec<ShapleyTree>,
    /// For each column of the input its index in `columns`, or [`UNUSED`].
    index_of: Vec<u32>,
}

impl Plan {
    pub(super) fn new(forest: &Forest, average_path_lengths: &[f64], workers: Workers<'_>) -> Result<Self> {
        let trees = memory::collected((0..forest.n_trees()).map(|tree| (tree, forest.tree(tree))))?;
        let mut is_used = memory::filled(forest.n_features(), false)?;
        for &(tree, nodes) in &trees {
            check(nodes, forest.tree_noise(tree)).map_err(|reason| Error::Forest(format!("tree {tree}: {reason}")))?;
            let features = forest.tree_features(tree);
            for node in nodes.iter().filter(|node| !node.is_leaf()) {
                is_used[features[node.feature as usize] as usize] = true;
            }
        }
        let mut index_of = memory::filled(forest.n_features(), UNUSED)?;
        let mut columns = memory::with_capacity(is_used.iter().filter(|&&used| used).count())?;
        for (column, index) in index_of.iter_mut().enumerate() {
            if is_used[column] {
                *index = columns.len() as u32;
                columns.push(column as u32);
            }
        }
        let n_columns = columns.len();
        let compile = |tree: usize| {
            workers.check_cancelled()?;
            let features = forest.tree_features(tree);
            let indices = memory::collected(features.iter().map(|&column| index_of[column as usize]))?;
            Compiler::compile(
                forest.tree(tree),
                forest.tree_noise(tree),
                &indices,
                average_path_lengths,
                n_columns,
            )
        };
        let trees = threads::map(trees.len(), workers, compile)?;
        Ok(Self {
            columns,
            trees,
            index_of,
        })
    }

    /// Returns the index in `columns` of a column of the input that some split uses.
    pub(super) fn index_of(&self, column: usize) -> Option<usize> {
        let index = self.index_of[column];
        (index != UNUSED).then_some(index as usize)
    }
}

/// Returns the expected path length in a tree: the mean of its leaves, weighted by their training rows.
pub(super) fn expected_value(
    nodes: &[Node],
    noise: &[NodeNoise],
    average_path_lengths: &[f64],
) -> std::result::Result<f64, String> {
    check(nodes, noise)?;
    let leaves = nodes
        .iter()
        .zip(noise)
        .zip(depths(nodes))
        .filter(|((node, _), _)| node.is_leaf());
    Ok(leaves.fold(0.0, |sum, ((node, record), depth)| {
        sum + record.weight / noise[0].weight * value(node, depth, average_path_lengths)
    }))
}

/// Returns the path length of a leaf.
fn value(node: &Node, depth: u32, average_path_lengths: &[f64]) -> f64 {
    leaf_value(depth, average_path_lengths[node.n_node_samples as usize])
}

/// Checks that the training rows of a tree define its Shapley values, and that it is not deeper than the stack. Files and trees of
/// other libraries may contain anything.
fn check(nodes: &[Node], noise: &[NodeNoise]) -> std::result::Result<(), String> {
    let depth = depths(nodes).into_iter().max().unwrap_or(0) as usize;
    if depth > MAX_SLOTS {
        return Err(format!(
            "it is {depth} deep; trees up to a depth of {MAX_SLOTS} can be explained"
        ));
    }
    let all = noise[0].weight;
    if let Some(i) = noise.iter().position(|record| {
        !(record.weight.is_finite() && record.weight > 0.0 && record.weight >= MIN_COVER_SHARE * all)
    }) {
        return Err(format!(
            "node {i} has a weighted number of training rows of {}, which is no share of {all} that scores can be explained by",
            noise[i].weight
        ));
    }
    for (i, node) in nodes.iter().enumerate().filter(|(_, node)| !node.is_leaf()) {
        let (weight, sum) = (noise[i].weight, noise[i + 1].weight + noise[node.right as usize].weight);
        if (sum - weight).abs() > COVER_TOLERANCE * weight {
            return Err(format!(
                "node {i} has a weighted number of training rows of {weight}, but its children have {sum} together"
            ));
        }
    }
    Ok(())
}

/// A column on the path.
#[derive(Debug, Clone, Copy)]
struct Met {
    /// Product of the cover ratios of its edges.
    z: f64,
    /// Slot of its last edge.
    slot: u8,
}

/// A number for each node of the quadrature.
type PerNode = [f64; quadrature::MAX_NODES];

/// An edge of the tree.
#[derive(Debug, Clone, Copy)]
struct Edge {
    child: usize,
    /// Cover of the child divided by that of the split.
    ratio: f64,
    z: f64,
    /// z before the edge; 1 for a new column.
    z0: f64,
    again: bool,
}

struct Compiler<'a> {
    nodes: &'a [Node],
    noise: &'a [NodeNoise],
    /// For each feature of the tree its index among the columns of the plan.
    columns: &'a [u32],
    /// For each node the value of its leaves, if all of them have the same.
    values: Vec<Option<f64>>,
    /// For each feature of the tree.
    met: Vec<Met>,
    rule: Vec<QuadratureNode>,
    steps: Vec<Step>,
    passes: Vec<Pass>,
}

impl<'a> Compiler<'a> {
    fn compile(
        nodes: &'a [Node],
        noise: &'a [NodeNoise],
        columns: &'a [u32],
        average_path_lengths: &[f64],
        n_columns: usize,
    ) -> Result<ShapleyTree> {
        memory::check_available(&[
            (nodes.len(), size_of::<Option<f64>>() + size_of::<u32>()),
            (columns.len(), size_of::<Met>()),
        ])?;
        let mut compiler = Self {
            nodes,
            noise,
            columns,
            values: values(nodes, average_path_lengths),
            met: vec![Met { z: 1.0, slot: NOT_MET }; columns.len()],
            rule: Vec::new(),
            steps: Vec::new(),
            passes: Vec::new(),
        };
        if compiler.values[0].is_none() {
            // A polynomial of a degree one below the number of columns.
            let n_nodes = compiler.most_columns(0, 0).div_ceil(2);
            compiler.rule = quadrature::rule(n_nodes).collect();
            let mut rest = &compiler.rule[..];
            while !rest.is_empty() {
                let (nodes, after) = rest.split_at(rest.len().div_ceil(rest.len().div_ceil(PASS_NODES)));
                compiler.passes.push(Pass {
                    weights: nodes.iter().map(|node| node.weight).collect(),
                    constants: Vec::new(),
                });
                rest = after;
            }
            compiler.split(0, &[1.0; quadrature::MAX_NODES], 0.0, 0)?;
        }
        compiler.steps.shrink_to_fit();
        for pass in &mut compiler.passes {
            pass.constants.shrink_to_fit();
        }
        Ok(ShapleyTree::new(compiler.steps, compiler.passes, n_columns))
    }

    /// Returns the largest number of different columns on a path below a node, and those already met.
    fn most_columns(&mut self, node: usize, n_met: usize) -> usize {
        if self.values[node].is_some() {
            return n_met;
        }
        let Node { feature, right, .. } = self.nodes[node];
        let is_new = self.met[feature as usize].slot == NOT_MET;
        self.met[feature as usize].slot = 0;
        let n_met = n_met + usize::from(is_new);
        let most = self
            .most_columns(node + 1, n_met)
            .max(self.most_columns(right as usize, n_met));
        if is_new {
            self.met[feature as usize].slot = NOT_MET;
        }
        most
    }

    fn step(&mut self, step: Step) -> Result<()> {
        memory::grow(&mut self.steps)?;
        self.steps.push(step);
        Ok(())
    }

    /// Appends one constant for each node of the quadrature.
    fn each(&mut self, constant: impl Fn(usize, QuadratureNode) -> f64) -> Result<()> {
        let mut q = 0;
        for pass in &mut self.passes {
            for _ in 0..pass.weights.len() {
                memory::grow(&mut pass.constants)?;
                pass.constants.push(constant(q, self.rule[q]));
                q += 1;
            }
        }
        Ok(())
    }

    /// Appends a constant that is the same for all nodes of the quadrature.
    fn single(&mut self, constant: f64) -> Result<()> {
        for pass in &mut self.passes {
            memory::grow(&mut pass.constants)?;
            pass.constants.push(constant);
        }
        Ok(())
    }

    /// Appends the constants by which P is multiplied.
    fn factor(&mut self, edge: Edge) -> Result<()> {
        let Edge { z, z0, again, .. } = edge;
        if again {
            self.each(|_, node| f(z, node) * z0 / (f(z0, node) * z))?;
            self.each(|_, node| z0 * node.u / f(z0, node))
        } else {
            self.each(|_, node| f(z, node) / (z * node.u))
        }
    }

    /// Appends the constants by which H is multiplied.
    fn ratio(&mut self, edge: Edge) -> Result<()> {
        let Edge { z, z0, again, .. } = edge;
        if again {
            self.each(|_, node| -((z0 - z) * node.u) / (f(z, node) * f(z0, node)))?;
            self.each(|_, node| 1.0 / f(z0, node))
        } else {
            self.each(|_, node| -((1.0 - z) * node.u) / f(z, node))
        }
    }

    /// Appends the steps of a split whose leaves are not all equal; all leaves below count less the shift. `k` is K of the module's
    /// description.
    fn split(&mut self, node: usize, k: &PerNode, shift: f64, slot: u8) -> Result<()> {
        let split = self.nodes[node];
        let (left, right) = (node + 1, split.right as usize);
        let before = self.met[split.feature as usize];
        let again = before.slot != NOT_MET;
        let noise = self.noise;
        let edge_to = |child: usize| {
            let ratio = noise[child].weight / noise[node].weight;
            let z = before.z * ratio;
            Edge {
                child,
                ratio,
                z,
                z0: before.z,
                again,
            }
        };
        let step = |action: Action, again_action: Action| Step {
            action: if again { again_action } else { action },
            slot,
            older: if again { before.slot } else { 0 },
            missing_left: split.missing_go_to_left,
            column: self.columns[split.feature as usize],
            threshold: round_down(split.threshold),
        };
        let pair = step(Action::Pair, Action::PairAgain);
        let chain_left = step(Action::ChainLeft, Action::ChainLeftAgain);
        let chain_right = step(Action::ChainRight, Action::ChainRightAgain);
        let first = step(Action::First, Action::FirstAgain);
        let turn = step(Action::Turn, Action::TurnAgain);
        let up = step(Action::Up, Action::UpAgain);
        match (self.values[left], self.values[right]) {
            (Some(l), Some(r)) => {
                let edge = edge_to(left);
                self.step(pair)?;
                self.pair(edge, k, l - shift, r - shift)?;
            }
            (None, None) => {
                let (left_edge, right_edge) = (edge_to(left), edge_to(right));
                self.step(first)?;
                self.factor(left_edge)?;
                self.below(split.feature, left_edge, k, shift, slot)?;
                self.step(turn)?;
                self.ratio(left_edge)?;
                self.factor(right_edge)?;
                self.below(split.feature, right_edge, k, shift, slot)?;
                self.step(up)?;
                self.ratio(right_edge)?;
            }
            (leaf_left, leaf_right) => {
                // The sibling of a leaf: a constant added to all leaves below a split changes no Shapley value, so they count less
                // the leaf's value, and the leaf itself counts nothing.
                let goes_left = leaf_left.is_none();
                let value = leaf_left.or(leaf_right).unwrap_or_default();
                let edge = edge_to(if goes_left { left } else { right });
                self.step(if goes_left { chain_left } else { chain_right })?;
                self.each(|q, node| (value - shift) * k[q] / node.u)?;
                self.factor(edge)?;
                self.below(split.feature, edge, k, value, slot)?;
                self.step(up)?;
                self.ratio(edge)?;
            }
        }
        Ok(())
    }

    /// Appends the steps of the split behind an edge.
    fn below(&mut self, feature: u32, edge: Edge, k: &PerNode, shift: f64, slot: u8) -> Result<()> {
        let mut k = *k;
        for (k, node) in k.iter_mut().zip(&self.rule) {
            *k *= if edge.again { edge.ratio } else { edge.ratio * node.u };
        }
        let before = std::mem::replace(&mut self.met[feature as usize], Met { z: edge.z, slot });
        self.split(edge.child, &k, shift, slot + 1)?;
        self.met[feature as usize] = before;
        Ok(())
    }

    /// Appends the constants of a split into two leaves, whose values are less the shift.
    fn pair(&mut self, edge: Edge, k: &PerNode, left: f64, right: f64) -> Result<()> {
        let Edge { z, z0, again, .. } = edge;
        if again {
            self.each(|q, node| k[q] / (f(z0, node) * f(z0, node)))?;
        } else {
            self.each(|q, _| k[q])?;
        }
        // Without an earlier edge z0 is 1, and so is f(z0).
        let f0 = |node| if again { f(z0, node) } else { 1.0 };
        self.each(|q, node| k[q] * (left * f(z, node) + right * ((z0 - z) * node.u)) / (f0(node) * node.u))?;
        self.each(|q, node| k[q] * (left * (z * node.u) + right * (node.t + node.u * (z0 - z))) / (f0(node) * node.u))?;
        if again {
            self.each(|q, node| k[q] * (left * z + right * (z0 - z)) / (z0 * node.u))?;
        }
        self.single(-((left - right) * (z0 - z)))?;
        self.single((left - right) * z)
    }
}

/// Returns `z + t (1 - z)`.
fn f(z: f64, node: QuadratureNode) -> f64 {
    node.t + node.u * z
}

/// Returns for each node the value of its leaves, if all of them have the same.
fn values(nodes: &[Node], average_path_lengths: &[f64]) -> Vec<Option<f64>> {
    let depths = depths(nodes);
    let mut values = vec![None; nodes.len()];
    for (i, node) in nodes.iter().enumerate().rev() {
        values[i] = if node.is_leaf() {
            Some(value(node, depths[i], average_path_lengths))
        } else {
            // The children come after their parent.
            values[i + 1].filter(|_| values[i + 1] == values[node.right as usize])
        };
    }
    values
}
