//! Growing: a table, a noise target, seeds and parameters become a forest.
//!
//! Trees are independent of one another: each draws from streams of its own, so they are grown on as many threads as
//! there are and kept in the order of their seeds. Only the cells of drawn rows and features are ever read.

mod dense;
mod noise;
mod params;
mod sparse;
mod splitter;

pub use params::{Params, ValidParams};

use crate::error::{Error, Result};
use crate::forest::{Forest, Node, NodeNoise, Tree};
use crate::matrix::Input;
use crate::random::sampling::Weights;
use crate::random::streams::{self, Bag};
use crate::threads;
use dense::DenseSample;
use noise::{EPSILON, Noise};
use sparse::SparseSample;
use splitter::{Sample, Split, Splitter};

/// Grows one tree per seed and appends them to `existing`, if any.
///
/// `y` is the noise target, one value per row of `x` (see [`streams::noise_target`]); `weights`, if any, are the chances of
/// the rows to be drawn.
///
/// # Errors
/// [`Error::Parameter`], [`Error::RowCount`], [`Error::ColumnCount`] or [`Error::Weights`] when parameters, `y`, `existing` or
/// `weights` do not fit `x`.
pub fn grow(
    x: &Input<'_>,
    y: &[f64],
    seeds: &[u32],
    params: Params,
    weights: Option<&Weights>,
    existing: Option<&Forest>,
    workers: usize,
) -> Result<Forest> {
    let params = params.check(x.n_rows(), x.n_columns())?;
    check_rows("the noise target", y.len(), x)?;
    if let Some(weights) = weights {
        check_rows("the sample weights", weights.len(), x)?;
        if !params.bagging.bootstrap {
            weights.check(params.bagging.max_samples)?;
        }
    }
    let trees = threads::map(seeds.len(), workers, |i| {
        let bag = streams::bag(seeds[i], &params.bagging, weights);
        grow_bag(x, y, bag, seeds[i], params.max_depth)
    });
    Forest::from_trees(x.n_columns(), existing, trees)
}

fn check_rows(what: &'static str, found: usize, x: &Input<'_>) -> Result<()> {
    let expected = x.n_rows();
    if found == expected {
        Ok(())
    } else {
        Err(Error::RowCount { what, found, expected })
    }
}

/// Grows the tree of one bag.
fn grow_bag(x: &Input<'_>, y: &[f64], bag: Bag, seed: u32, max_depth: u32) -> Tree {
    let Bag { features, rows } = bag;
    let (sample, noise) = in_bag(rows, y);
    let stream = streams::splits(seed);
    let (nodes, noise) = match x {
        Input::Dense(x) => {
            let sample = DenseSample::new(x, &features, &sample);
            grow_tree(Splitter::new(sample, features.len(), stream), &noise, max_depth)
        }
        Input::Sparse(x) => {
            let sample = SparseSample::new(x, &features, &sample);
            grow_tree(Splitter::new(sample, features.len(), stream), &noise, max_depth)
        }
    };
    Tree {
        features: features.into_iter().map(|f| f as u32).collect(),
        nodes,
        noise,
    }
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

fn grow_tree<S: Sample>(mut splitter: Splitter<S>, noise: &Noise, max_depth: u32) -> (Vec<Node>, Vec<NodeNoise>) {
    let mut nodes = Vec::with_capacity(2 * noise.y.len());
    let mut records = Vec::with_capacity(2 * noise.y.len());
    let root = 0..noise.y.len();
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
        let sums = noise.sums(splitter.rows(range.clone()));
        let is_leaf = node.depth >= max_depth || range.len() < 2 || node.impurity <= EPSILON;
        if !is_leaf {
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
        records.push(sums.record(node.impurity));
    }
    (nodes, records)
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
