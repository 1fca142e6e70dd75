//! Growing: a table, a noise target, seeds and parameters become a forest.
//!
//! Trees are independent of one another: each draws from streams of its own, so they are grown on as many threads as
//! there are and kept in the order of their seeds. Only the cells of drawn rows and features are ever read.

mod noise;
mod params;
mod splitter;

pub use params::{Params, ValidParams};

use crate::error::{Error, Result};
use crate::forest::{Forest, Node};
use crate::matrix::Matrix;
use crate::random::streams::{self, Bag};
use crate::threads;
use noise::{EPSILON, Noise};
use splitter::{Split, Splitter};

/// Grows one tree per seed and appends them to `existing`, if any.
///
/// `y` is the noise target, one value per row of `x` (see [`streams::noise_target`]).
///
/// # Errors
/// [`Error::Parameter`], [`Error::RowCount`] or [`Error::ColumnCount`] when parameters, `y` or `existing` do not fit `x`.
pub fn grow(
    x: &Matrix<'_>,
    y: &[f64],
    seeds: &[u32],
    params: Params,
    existing: Option<&Forest>,
    workers: usize,
) -> Result<Forest> {
    let params = params.check(x.n_rows(), x.n_columns())?;
    if y.len() != x.n_rows() {
        return Err(Error::RowCount {
            what: "the noise target",
            found: y.len(),
            expected: x.n_rows(),
        });
    }
    let trees = threads::map(seeds.len(), workers, |i| grow_tree(x, y, seeds[i], &params));
    Forest::from_trees(x.n_columns(), existing, trees)
}

/// A node that waits to be grown.
struct Pending {
    start: usize,
    end: usize,
    depth: u32,
    /// The split whose right child this is.
    right_child_of: Option<usize>,
    impurity: f64,
    n_constant: usize,
}

fn grow_tree(x: &Matrix<'_>, y: &[f64], seed: u32, params: &ValidParams) -> (Vec<u32>, Vec<Node>) {
    let Bag { features, rows } = streams::bag(seed, &params.bagging);
    let (sample, noise) = in_bag(rows, y);
    let mut splitter = Splitter::new(x, &features, &sample, streams::splits(seed));
    let mut nodes = Vec::with_capacity(2 * sample.len());
    let root = 0..sample.len();
    let mut stack = vec![Pending {
        start: root.start,
        end: root.end,
        depth: 0,
        right_child_of: None,
        impurity: noise.sums(splitter.rows(root)).impurity(),
        n_constant: 0,
    }];
    // Left children are grown first: the order of nodes is the order of all draws of the tree.
    while let Some(node) = stack.pop() {
        let index = nodes.len();
        if let Some(parent) = node.right_child_of {
            let parent: &mut Node = &mut nodes[parent];
            parent.right = index as u32;
        }
        let range = node.start..node.end;
        let mut grown = Node::leaf(range.len() as u32);
        let is_leaf = node.depth >= params.max_depth || range.len() < 2 || node.impurity <= EPSILON;
        if !is_leaf {
            let sums = noise.sums(splitter.rows(range.clone()));
            let (split, n_constant) = splitter.split(range.clone(), node.n_constant);
            if let Some(split) = split {
                let gain = noise.gain(splitter.rows(range.clone()), split.n_left, sums, node.impurity);
                let worsens = gain.improvement + EPSILON < 0.0;
                if !worsens {
                    grown = split_node(&split, grown);
                    let middle = node.start + split.n_left;
                    let child = |start, end, right_child_of, impurity| Pending {
                        start,
                        end,
                        depth: node.depth + 1,
                        right_child_of,
                        impurity,
                        n_constant,
                    };
                    stack.push(child(middle, node.end, Some(index), gain.right));
                    stack.push(child(node.start, middle, None, gain.left));
                }
            }
        }
        nodes.push(grown);
    }
    let features = features.into_iter().map(|f| f as u32).collect();
    (features, nodes)
}

fn split_node(split: &Split, leaf: Node) -> Node {
    Node {
        threshold: split.threshold,
        feature: split.feature,
        missing_go_to_left: split.missing_go_to_left,
        ..leaf
    }
}

/// The drawn rows in ascending order, each once, with their noise and how often they were drawn.
fn in_bag(mut rows: Vec<usize>, y: &[f64]) -> (Vec<usize>, Noise) {
    rows.sort_unstable();
    let (mut sample, mut target, mut weight) = (Vec::new(), Vec::new(), Vec::new());
    for same in rows.chunk_by(|a, b| a == b) {
        sample.push(same[0]);
        target.push(y[same[0]]);
        weight.push(same.len() as f64);
    }
    (sample, Noise::new(target, weight))
}
