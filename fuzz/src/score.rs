//! Fuzz target: any arrays are rejected as a forest or make one; any forest scores any table by the definition, with every
//! strategy.

use isoxide::error::Error;
use isoxide::forest::{Forest, LEAF, Node, NodeNoise, depths, path_length};
use isoxide::matrix::Input;
use isoxide::score::Scorer;

use super::bytes::Bytes;
use super::sums;
use super::table::{Table, cell, n_rows};

/// Maximum number of training rows for which a table of c(n) is made; a forest that claims more is only read.
const MAX_SAMPLES: u32 = 100_000;
/// Maximum number of columns of a table that is scored.
const MAX_COLUMNS: usize = 600;

/// The arrays of a forest, valid or not.
#[derive(Debug)]
struct Parts {
    n_features: usize,
    features: Vec<u32>,
    feature_starts: Vec<usize>,
    nodes: Vec<Node>,
    noise: Vec<NodeNoise>,
    starts: Vec<usize>,
}

impl Parts {
    /// Makes arrays that fit one another.
    fn valid(bytes: &mut Bytes<'_>, thresholds: &[f64]) -> Self {
        let n_features = bytes.of(&[1, 2, 3, 5, 9, 40, 300]);
        let mut parts = Self {
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
            parts
                .features
                .extend((0..n_used).map(|i| ((first + i) % n_features) as u32));
            parts.feature_starts.push(parts.features.len());
            let tree = tree(bytes, n_used, thresholds);
            parts.nodes.extend(tree);
            parts.starts.push(parts.nodes.len());
        }
        parts.noise = silence(parts.nodes.len());
        parts
    }

    /// Makes arrays of any numbers.
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
            noise: silence(if bytes.one_in(8) { bytes.below(12) } else { nodes.len() }),
            nodes,
            starts: list(bytes, |bytes| small(bytes, u32::MAX) as usize),
        }
    }

    /// Overwrites something.
    fn spoil(&mut self, bytes: &mut Bytes<'_>) {
        let what = bytes.below(8);
        let (at, value) = (bytes.below(4096), small(bytes, u32::MAX));
        let node = at % self.nodes.len().max(1);
        if what < 4 {
            let Some(node) = self.nodes.get_mut(node) else { return };
            match what {
                0 => node.right = value,
                1 => node.feature = if value == u32::MAX { LEAF } else { value },
                2 => node.n_node_samples = value,
                _ => node.threshold = bytes.number(),
            }
            return;
        }
        match what {
            4 => self.n_features = value as usize,
            5 => {
                let i = at % self.features.len();
                self.features[i] = value;
            }
            6 => {
                let i = at % self.feature_starts.len();
                self.feature_starts[i] = value as usize;
            }
            _ => {
                let i = at % self.starts.len();
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

/// Makes a small number, or rarely one near `high`, or any.
fn small(bytes: &mut Bytes<'_>, high: u32) -> u32 {
    let kind = bytes.byte();
    match kind {
        0..200 => u32::from(kind % 16),
        200..220 => high - u32::from(kind - 200),
        220.. => bytes.u32(),
    }
}

fn silence(n: usize) -> Vec<NodeNoise> {
    let noise = NodeNoise {
        impurity: 0.0,
        mean: 0.0,
        weight: 1.0,
    };
    vec![noise; n]
}

/// Makes a tree of any shape over this many columns.
fn tree(bytes: &mut Bytes<'_>, n_features: usize, thresholds: &[f64]) -> Vec<Node> {
    let n_splits = match bytes.below(4) {
        0 => bytes.below(5),
        1 | 2 => bytes.below(256),
        _ => 8 * bytes.below(256),
    };
    let size = bytes.of(&[1, 2, 8, 60, 400_u32]);
    let shape = bytes.below(5);
    let mut nodes: Vec<Node> = Vec::with_capacity(2 * n_splits + 1);
    // Splits below the nodes to come, and the splits whose right children they are.
    let mut waiting = vec![(n_splits, None)];
    while let Some((n_splits, parent)) = waiting.pop() {
        let at = nodes.len();
        if let Some(parent) = parent {
            let parent: &mut Node = &mut nodes[parent];
            parent.right = at as u32;
        }
        if n_splits == 0 {
            nodes.push(Node::leaf(size >> bytes.below(16)));
            continue;
        }
        let left = match shape {
            0 => 0,
            1 => n_splits - 1,
            2 => (n_splits - 1) / 2,
            3 => bytes.of(&[0, n_splits - 1]),
            _ => bytes.below(n_splits),
        };
        nodes.push(Node {
            threshold: thresholds[(at * 7 + usize::from(bytes.byte())) % thresholds.len()],
            feature: bytes.below(n_features) as u32,
            right: 0,
            n_node_samples: 0,
            missing_go_to_left: bytes.one_in(2),
        });
        waiting.push((n_splits - 1 - left, Some(at)));
        waiting.push((left, None));
    }
    // Children lie behind their parents.
    for at in (0..nodes.len()).rev() {
        if !nodes[at].is_leaf() {
            let right = nodes[at].right as usize;
            nodes[at].n_node_samples = nodes[at + 1].n_node_samples + nodes[right].n_node_samples;
        }
    }
    nodes
}

/// Runs the target on one input.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let bytes = &mut bytes;
    let forest = if bytes.one_in(4) {
        Parts::any(bytes).forest()
    } else {
        let n_spoilt = if bytes.one_in(3) { 1 + bytes.below(3) } else { 0 };
        let n_thresholds = bytes.of(&[1, 4, 40, 300, 3000]);
        let thresholds = bytes.numbers(n_thresholds);
        let mut parts = Parts::valid(bytes, &thresholds);
        for _ in 0..n_spoilt {
            parts.spoil(bytes);
        }
        let forest = parts.forest();
        assert!(n_spoilt > 0 || forest.is_ok(), "{forest:?}");
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
    // Lengths that no sample has: whoever makes a scorer may bring them.
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
    // Deep trees take long to walk.
    let most = (40_000 / d).min(400_000 / (1 + deepest.unwrap_or(0) as usize * scorer.forest().n_trees()));
    let n = n_rows(bytes, most);
    let table = Table::new(bytes, n, d);
    let matrix = table.matrix();
    sums::check(&scorer, &Input::Dense(matrix.clone()), |row, column| {
        cell(&matrix, row, column)
    });
}
