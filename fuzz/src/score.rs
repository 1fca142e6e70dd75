//! Fuzz target: any arrays are refused as a forest or make a valid one. A valid forest must score any table as the definition does,
//! with every strategy, and explain the scores with the same bits on every kernel.

use isoxide::error::Error;
use isoxide::forest::{Forest, LEAF, Node, NodeNoise, depths, path_length};
use isoxide::matrix::Input;
use isoxide::score::Scorer;

use super::bytes::Bytes;
use super::table::{Table, cell, n_rows};
use super::{explain, sums};

/// Maximum number of training rows for which a table of c(n) is made; a forest that claims more is only read.
const MAX_SAMPLES: u32 = 100_000;
/// Maximum number of columns of a table that is scored.
const MAX_COLUMNS: usize = 600;

/// The arrays of a forest, valid or not.
#[derive(Debug)]
struct ForestArrays {
    n_features: usize,
    features: Vec<u32>,
    feature_starts: Vec<usize>,
    nodes: Vec<Node>,
    noise: Vec<NodeNoise>,
    starts: Vec<usize>,
}

impl ForestArrays {
    /// Makes arrays of a valid forest.
    fn valid(bytes: &mut Bytes<'_>, thresholds: &[f64]) -> Self {
        let n_features = bytes.choose(&[1, 2, 3, 5, 9, 40, 300]);
        let mut arrays = Self {
            n_features,
            features: Vec::new(),
            feature_starts: vec![0],
            nodes: Vec::new(),
            noise: Vec::new(),
            starts: vec![0],
        };
        for _ in 0..=bytes.below(6) {
            let n_used = 1 + bytes.below(n_features);
            let first = bytes.below(n_features);
            arrays
                .features
                .extend((0..n_used).map(|i| ((first + i) % n_features) as u32));
            arrays.feature_starts.push(arrays.features.len());
            let tree = tree(bytes, n_used, thresholds);
            arrays.nodes.extend(tree);
            arrays.starts.push(arrays.nodes.len());
        }
        arrays.noise = zero_noise(arrays.nodes.len());
        arrays
    }

    /// Makes arrays of arbitrary numbers, which are rarely a valid forest.
    fn any(bytes: &mut Bytes<'_>) -> Self {
        fn list<T>(bytes: &mut Bytes<'_>, item: impl Fn(&mut Bytes<'_>) -> T) -> Vec<T> {
            (0..bytes.below(12)).map(|_| item(bytes)).collect()
        }
        let nodes = list(bytes, |bytes| Node {
            threshold: bytes.number(),
            feature: small(bytes, LEAF),
            right: small(bytes, u32::MAX),
            n_node_samples: small(bytes, u32::MAX),
            missing_go_to_left: bytes.one_in(2),
        });
        Self {
            n_features: bytes.below(6),
            features: list(bytes, |bytes| small(bytes, u32::MAX)),
            feature_starts: list(bytes, |bytes| small(bytes, u32::MAX) as usize),
            noise: zero_noise(if bytes.one_in(8) { bytes.below(12) } else { nodes.len() }),
            nodes,
            starts: list(bytes, |bytes| small(bytes, u32::MAX) as usize),
        }
    }

    /// Overwrites one number of one array.
    fn overwrite(&mut self, bytes: &mut Bytes<'_>) {
        let target = bytes.below(8);
        let (position, value) = (bytes.below(4096), small(bytes, u32::MAX));
        let node = position % self.nodes.len().max(1);
        if target < 4 {
            let Some(node) = self.nodes.get_mut(node) else { return };
            match target {
                0 => node.right = value,
                1 => node.feature = if value == u32::MAX { LEAF } else { value },
                2 => node.n_node_samples = value,
                _ => node.threshold = bytes.number(),
            }
            return;
        }
        match target {
            4 => self.n_features = value as usize,
            5 => {
                let i = position % self.features.len();
                self.features[i] = value;
            }
            6 => {
                let i = position % self.feature_starts.len();
                self.feature_starts[i] = value as usize;
            }
            _ => {
                let i = position % self.starts.len();
                self.starts[i] = value as usize;
            }
        }
    }

    fn forest(self) -> isoxide::error::Result<Forest> {
        Forest::new(
            self.n_features,
            self.features,
            self.feature_starts,
            self.nodes,
            self.noise,
            self.starts,
        )
    }
}

/// Makes a number: most often a small one, sometimes `high` or slightly below, and sometimes any number.
fn small(bytes: &mut Bytes<'_>, high: u32) -> u32 {
    let choice = bytes.byte();
    match choice {
        0..200 => u32::from(choice % 16),
        200..220 => high - u32::from(choice - 200),
        220.. => bytes.u32(),
    }
}

/// Makes the noise values of `n` nodes, which scores do not depend on.
fn zero_noise(n: usize) -> Vec<NodeNoise> {
    let noise = NodeNoise {
        impurity: 0.0,
        mean: 0.0,
        weight: 1.0,
    };
    vec![noise; n]
}

/// Makes a tree of any shape over `n_features` columns.
fn tree(bytes: &mut Bytes<'_>, n_features: usize, thresholds: &[f64]) -> Vec<Node> {
    let n_splits = match bytes.below(4) {
        0 => bytes.below(5),
        1 | 2 => bytes.below(256),
        _ => 8 * bytes.below(256),
    };
    let size = bytes.choose(&[1, 2, 8, 60, 400_u32]);
    let shape = bytes.below(5);
    let mut nodes: Vec<Node> = Vec::with_capacity(2 * n_splits + 1);
    // The nodes to be made: the number of splits in the branch, and the parent if the node is its right child.
    let mut waiting = vec![(n_splits, None)];
    while let Some((n_splits, parent)) = waiting.pop() {
        let index = nodes.len();
        if let Some(parent) = parent {
            let parent: &mut Node = &mut nodes[parent];
            parent.right = index as u32;
        }
        if n_splits == 0 {
            nodes.push(Node::leaf(size >> bytes.below(16)));
            continue;
        }
        let left = match shape {
            0 => 0,
            1 => n_splits - 1,
            2 => (n_splits - 1) / 2,
            3 => bytes.choose(&[0, n_splits - 1]),
            _ => bytes.below(n_splits),
        };
        nodes.push(Node {
            threshold: thresholds[(index * 7 + usize::from(bytes.byte())) % thresholds.len()],
            feature: bytes.below(n_features) as u32,
            right: 0,
            n_node_samples: 0,
            missing_go_to_left: bytes.one_in(2),
        });
        waiting.push((n_splits - 1 - left, Some(index)));
        waiting.push((left, None));
    }
    // Children have higher indices than their parents.
    for index in (0..nodes.len()).rev() {
        if !nodes[index].is_leaf() {
            let right = nodes[index].right as usize;
            nodes[index].n_node_samples = nodes[index + 1].n_node_samples + nodes[right].n_node_samples;
        }
    }
    nodes
}

/// Runs the target on one input.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let bytes = &mut bytes;
    let forest = if bytes.one_in(4) {
        ForestArrays::any(bytes).forest()
    } else {
        let n_overwritten = if bytes.one_in(3) { 1 + bytes.below(3) } else { 0 };
        let n_thresholds = bytes.choose(&[1, 4, 40, 300, 3000]);
        let thresholds = bytes.numbers(n_thresholds);
        let mut arrays = ForestArrays::valid(bytes, &thresholds);
        for _ in 0..n_overwritten {
            arrays.overwrite(bytes);
        }
        let forest = arrays.forest();
        assert!(n_overwritten > 0 || forest.is_ok(), "{forest:?}");
        forest
    };
    match forest {
        Ok(forest) => score(forest, bytes),
        Err(error) => assert!(matches!(error, Error::Forest(_)), "{error}"),
    }
}

fn score(forest: Forest, bytes: &mut Bytes<'_>) {
    let deepest = (0..forest.n_trees()).flat_map(|tree| depths(forest.tree(tree))).max();
    let same = Forest::new(
        forest.n_features(),
        forest.features().to_vec(),
        forest.feature_starts().to_vec(),
        forest.nodes().to_vec(),
        forest.noise().to_vec(),
        forest.starts().to_vec(),
    );
    assert_eq!(same.as_ref(), Ok(&forest));
    let largest = forest.largest_node();
    if largest > MAX_SAMPLES {
        assert!(Scorer::new(forest, path_length::table(MAX_SAMPLES)).is_err());
        return;
    }
    // The caller passes the average path lengths, so they may be any numbers.
    let lengths = if bytes.one_in(8) {
        bytes.numbers(largest as usize + 1)
    } else {
        path_length::table(largest)
    };
    let short = lengths[..largest as usize].to_vec();
    assert!(Scorer::new(forest.clone(), short).is_err());
    let d = forest.n_features();
    let scorer = Scorer::new(forest, lengths).unwrap();
    if d > MAX_COLUMNS {
        let table = Table::new(bytes, 2, 1);
        assert!(scorer.path_length_sums(&Input::Dense(table.matrix()), 1).is_err());
        return;
    }
    // Walking deep trees takes long, so they score fewer rows.
    let max_rows = (40_000 / d).min(400_000 / (1 + deepest.unwrap_or(0) as usize * scorer.forest().n_trees()));
    let n = n_rows(bytes, max_rows);
    let table = Table::new(bytes, n, d);
    let matrix = table.matrix();
    sums::check(&scorer, &Input::Dense(matrix.clone()), |row, column| {
        cell(&matrix, row, column)
    });
    explain::check(&scorer, &Input::Dense(matrix));
}
