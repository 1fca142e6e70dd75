//! Serialization of forests in the safetensors format: numbers and one text, no code.
//!
//! The nodes of all trees are stored depth first, left before right. So the tensor `kind` alone determines whose child a node is
//! and where a tree ends: the format cannot express a cycle or a child in another tree. All tensors have one axis and are
//! little-endian:
//!
//! | tensor | type | one per | content |
//! |---|---|---|---|
//! | `format` | U32 | file | [`FORMAT`] |
//! | `checksum` | U8 | file | SHA-256 of all other bytes of the file |
//! | `n_features` | U64 | file | columns of the input |
//! | `kind` | U8 | node | 0 for a leaf, 1 for a split that sends missing values right, 2 for one that sends them left |
//! | `feature`, `threshold` | U32, F64 | split | as in [`Node`] |
//! | `n_leaf_samples` | U32 | leaf | its training rows; a split has as many as its children |
//! | `weight` | F64 | node | as in [`NodeNoise`]; omitted if it is the number of training rows everywhere |
//! | `impurity`, `mean` | F64 | node | as in [`NodeNoise`]; omitted unless requested |
//! | `n_features_of_tree` | U32 | tree | number of its entries in `features` |
//! | `features` | U32 | column of a tree | the columns of the trees, in the order drawn |
//! | `tree_seeds`, `tree_depths` | I64, U32 | tree | as in [`ForestMetadata`] |
//! | `average_path_lengths` | F64 | 0 to the largest node | c(n) |
//! | `sample_weight` | F32 or F64 | training row | as in [`ForestMetadata`]; optional |
//!
//! The only entry of `__metadata__`, `isoxide`, is the text [`ForestMetadata::header`].
//!
//! Untrusted input is safe, even with a valid checksum: a forest that [`read()`] returns keeps all invariants of a [`Forest`], and
//! reading allocates no more memory than the bytes of the file account for.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod read;

pub use read::read;

use std::borrow::Cow;
use std::ops::Range;

use safetensors::tensor::{Dtype, Metadata, SafeTensorError, SafeTensors, View, serialize};
use sha2::{Digest, Sha256};

use super::{Forest, Node, NodeNoise, depths};
use crate::error::{Error, Result};
use crate::memory;

/// Version of the layout. Later versions keep `format` and `checksum` as they are.
pub const FORMAT: u32 = 1;
/// Marks an unknown seed in [`ForestMetadata::tree_seeds`].
pub const UNKNOWN_SEED: i64 = -1;
/// Largest depth of a tree: the limit is the logarithm of its number of rows.
pub const MAX_DEPTH: u32 = 64;

/// Maximum number of commas and colons in the header of a file. A forest has a tenth of them; a file with more is refused with a
/// message that says so.
const MAX_MARKS: u32 = 4096;
/// Deepest nesting of lists and objects in the header of a file; a forest has three levels.
const MAX_NESTING: u32 = 8;

const METADATA_KEY: &str = "isoxide";
const CHECKSUM: &str = "checksum";
const KIND: &str = "kind";
const NAMES: [&str; 16] = [
    CHECKSUM,
    KIND,
    "average_path_lengths",
    "feature",
    "features",
    "format",
    "impurity",
    "mean",
    "n_features",
    "n_features_of_tree",
    "n_leaf_samples",
    "sample_weight",
    "threshold",
    "tree_depths",
    "tree_seeds",
    "weight",
];

/// The content of a file other than the trees.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestMetadata {
    /// A text for the caller, which is stored as it is.
    pub header: String,
    /// Seed of each tree, or [`UNKNOWN_SEED`].
    pub tree_seeds: Vec<i64>,
    /// Depth limit of each tree.
    pub tree_depths: Vec<u32>,
    /// Weights with which the training rows were drawn.
    pub sample_weight: Option<SampleWeight>,
}

/// Weights in the type in which they were passed, because they are summed in it.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleWeight {
    /// Weights of 32 bits.
    F32(Vec<f32>),
    /// Weights of 64 bits.
    F64(Vec<f64>),
}

/// Serializes a forest; equal forests give equal bytes on every machine. Impurities and means are included if `complete`, unless
/// they are all unknown.
///
/// # Errors
/// [`Error::File`] when [`read()`] would reject the bytes.
pub fn write(
    forest: &Forest,
    average_path_lengths: &[f64],
    forest_metadata: &ForestMetadata,
    complete: bool,
) -> Result<Vec<u8>> {
    forest_metadata.check(forest)?;
    let largest = forest.largest_node() as usize;
    let c = average_path_lengths
        .get(..=largest)
        .ok_or_else(|| invalid("the table of average path lengths ends before the largest node"))?;
    let (nodes, noise) = (&forest.nodes, &forest.noise);
    let splits = || nodes.iter().filter(|node| !node.is_leaf());
    let leaves = nodes.iter().filter(|node| node.is_leaf());
    let kind = |node: &Node| match (node.is_leaf(), node.missing_go_to_left) {
        (true, _) => [0],
        (false, false) => [1],
        (false, true) => [2],
    };
    let n_splits = splits().count();
    let mut columns_of_tree = memory::with_capacity(forest.n_trees())?;
    for tree in 0..forest.n_trees() {
        let n = u32::try_from(forest.tree_features(tree).len());
        columns_of_tree.push(n.map_err(|_| invalid("a tree has too many columns"))?);
    }
    let mut tensors = vec![
        tensor("format", Dtype::U32, 1, [FORMAT].map(u32::to_le_bytes))?,
        tensor(CHECKSUM, Dtype::U8, 32, [[0]; 32])?,
        tensor("n_features", Dtype::U64, 1, [(forest.n_features as u64).to_le_bytes()])?,
        tensor(KIND, Dtype::U8, nodes.len(), nodes.iter().map(kind))?,
        tensor(
            "feature",
            Dtype::U32,
            n_splits,
            splits().map(|node| node.feature.to_le_bytes()),
        )?,
        tensor(
            "threshold",
            Dtype::F64,
            n_splits,
            splits().map(|node| node.threshold.to_le_bytes()),
        )?,
        tensor(
            "n_leaf_samples",
            Dtype::U32,
            nodes.len().saturating_sub(n_splits),
            leaves.map(|leaf| leaf.n_node_samples.to_le_bytes()),
        )?,
        list("n_features_of_tree", Dtype::U32, &columns_of_tree, |n| n.to_le_bytes())?,
        list("features", Dtype::U32, &forest.features, |f| f.to_le_bytes())?,
        list("tree_seeds", Dtype::I64, &forest_metadata.tree_seeds, |seed| {
            seed.to_le_bytes()
        })?,
        list("tree_depths", Dtype::U32, &forest_metadata.tree_depths, |depth| {
            depth.to_le_bytes()
        })?,
        list("average_path_lengths", Dtype::F64, c, |c| c.to_le_bytes())?,
    ];
    match &forest_metadata.sample_weight {
        Some(SampleWeight::F32(w)) => tensors.push(list("sample_weight", Dtype::F32, w, |w| w.to_le_bytes())?),
        Some(SampleWeight::F64(w)) => tensors.push(list("sample_weight", Dtype::F64, w, |w| w.to_le_bytes())?),
        None => {}
    }
    let mut push_for_nodes = |name, field: fn(&NodeNoise) -> f64| -> Result<()> {
        tensors.push(list(name, Dtype::F64, noise, |noise| field(noise).to_le_bytes())?);
        Ok(())
    };
    let is_plain =
        |(noise, node): (&NodeNoise, &Node)| noise.weight.to_bits() == f64::from(node.n_node_samples).to_bits();
    if !noise.iter().zip(nodes).all(is_plain) {
        push_for_nodes("weight", |noise| noise.weight)?;
    }
    // A forest read from a file without them has NaN for impurities and means.
    let is_unknown = |noise: &NodeNoise| noise.impurity.is_nan() && noise.mean.is_nan();
    if complete && !noise.iter().all(is_unknown) {
        push_for_nodes("impurity", |noise| noise.impurity)?;
        push_for_nodes("mean", |noise| noise.mean)?;
    }
    // The text is copied, and each quotation mark in it becomes two characters.
    let n_bytes = tensors
        .iter()
        .map(|(_, tensor)| tensor.bytes.len())
        .fold(0, usize::saturating_add);
    memory::check_available(&[(n_bytes, 1), (forest_metadata.header.len(), 6)])?;
    // More than one entry would be written in random order.
    let metadata = [(METADATA_KEY.to_owned(), forest_metadata.header.clone())]
        .into_iter()
        .collect();
    let mut bytes = serialize(tensors, Some(metadata)).map_err(|error| invalid(error.to_string()))?;
    let (data_start, metadata) = container(&bytes)?;
    let range = checksum_range(&metadata, data_start)?;
    let checksum = checksum(&bytes, &range);
    for (byte, sum) in bytes.get_mut(range).into_iter().flatten().zip(checksum) {
        *byte = sum;
    }
    Ok(bytes)
}

impl ForestMetadata {
    /// Checks that the metadata fits the forest.
    fn check(&self, forest: &Forest) -> Result<()> {
        let n_trees = forest.n_trees();
        for (label, n) in [("seeds", self.tree_seeds.len()), ("depths", self.tree_depths.len())] {
            if n != n_trees {
                return Err(invalid(format!("it has {n} {label}, but {n_trees} trees")));
            }
        }
        if let Some(seed) = self
            .tree_seeds
            .iter()
            .find(|&&s| s != UNKNOWN_SEED && u32::try_from(s).is_err())
        {
            return Err(invalid(format!("{seed} is not a valid seed of a tree")));
        }
        let largest = |len: fn(&Forest, usize) -> usize| (0..n_trees).map(|tree| len(forest, tree)).max().unwrap_or(0);
        memory::check_available(&[
            (largest(|forest, tree| forest.tree(tree).len()), size_of::<u32>()),
            (
                largest(|forest, tree| forest.tree_features(tree).len()),
                size_of::<u32>(),
            ),
        ])?;
        for (tree, &limit) in self.tree_depths.iter().enumerate() {
            let depth = depths(forest.tree(tree)).into_iter().max().unwrap_or(0);
            if depth > limit || !(1..=MAX_DEPTH).contains(&limit) {
                return Err(invalid(format!(
                    "tree {tree} is {depth} deep, its limit is {limit} of at most {MAX_DEPTH}"
                )));
            }
        }
        for tree in 0..n_trees {
            let columns = forest.tree_features(tree);
            // If a tree takes all columns, none is drawn: they come in ascending order, which scikit-learn relies on.
            let is_possible = if columns.len() < forest.n_features {
                let mut sorted = columns.to_vec();
                sorted.sort_unstable();
                sorted.is_sorted_by(|a, b| a < b)
            } else {
                columns.iter().copied().eq((0..=u32::MAX).take(forest.n_features))
            };
            if !is_possible {
                return Err(invalid(format!("the columns of tree {tree} cannot have been drawn")));
            }
        }
        let is_valid = |weight: f64| weight.is_finite() && weight >= 0.0;
        let all_valid = match &self.sample_weight {
            Some(SampleWeight::F32(weights)) => weights.iter().all(|&weight| is_valid(f64::from(weight))),
            Some(SampleWeight::F64(weights)) => weights.iter().copied().all(is_valid),
            None => true,
        };
        if !all_valid {
            return Err(invalid("a sample weight is negative or not finite"));
        }
        Ok(())
    }
}

/// Makes the error for bytes that are not a valid file.
fn invalid(reason: impl AsRef<str>) -> Error {
    Error::File(format!("not an isoxide forest: {}", reason.as_ref()))
}

/// A tensor to be written.
struct Tensor {
    dtype: Dtype,
    shape: [usize; 1],
    bytes: Vec<u8>,
}

/// Makes a tensor of `n` items.
fn tensor<const N: usize>(
    name: &'static str,
    dtype: Dtype,
    n: usize,
    items: impl IntoIterator<Item = [u8; N]>,
) -> Result<(&'static str, Tensor)> {
    let mut bytes = memory::with_capacity(n.saturating_mul(N))?;
    for item in items {
        bytes.extend_from_slice(&item);
    }
    let shape = [n];
    Ok((name, Tensor { dtype, shape, bytes }))
}

/// Makes a tensor with one item for each of a list.
fn list<T, const N: usize>(
    name: &'static str,
    dtype: Dtype,
    items: &[T],
    item: impl Fn(&T) -> [u8; N],
) -> Result<(&'static str, Tensor)> {
    tensor(name, dtype, items.len(), items.iter().map(item))
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Returns the start of the tensors and their description; the library checks that they lie end to end and fill the file.
fn container(bytes: &[u8]) -> Result<(usize, Metadata)> {
    check_marks(bytes)?;
    let (header_len, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| {
        // The first byte of a valid file is part of a length, and may be anything.
        let reason = match (bytes, error) {
            ([], _) => "the file is empty".to_owned(),
            ([0x80, 2..=5, ..], _) => {
                "it is a pickle, as scikit-learn's models are; read it with the library that wrote it, \
                 and convert a scikit-learn forest with IsolationForest.from_sklearn"
                    .to_owned()
            }
            ([b'P', b'K', ..], _) => "it is a zip archive, as skops writes".to_owned(),
            (_, SafeTensorError::MetadataIncompleteBuffer) => {
                "its length does not match its header: it is truncated, or something was appended".to_owned()
            }
            (_, SafeTensorError::HeaderTooSmall | SafeTensorError::InvalidHeaderLength) => {
                "it is not a safetensors file, or truncated".to_owned()
            }
            (_, error) => format!("it is not a safetensors file, or damaged ({error})"),
        };
        invalid(reason)
    })?;
    let data_start = header_len.checked_add(size_of::<u64>());
    Ok((data_start.ok_or_else(|| invalid("its header is too large"))?, metadata))
}

/// Rejects a header with more or deeper JSON than a forest has before it is parsed: parsing would take seconds, and overflow the
/// stack.
fn check_marks(bytes: &[u8]) -> Result<()> {
    let text = bytes.split_first_chunk().and_then(|(n, rest)| {
        let n = usize::try_from(u64::from_le_bytes(*n)).ok()?;
        rest.get(..n)
    });
    let (mut n_marks, mut depth) = (0_u32, 0_u32);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in text.unwrap_or_default() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' | b':' => n_marks = n_marks.saturating_add(1),
            _ => {}
        }
        if depth > MAX_NESTING || n_marks > MAX_MARKS {
            return Err(invalid(
                "its header has more entries, or deeper ones, than a forest has",
            ));
        }
    }
    Ok(())
}

fn checksum_range(metadata: &Metadata, data_start: usize) -> Result<Range<usize>> {
    let info = metadata.info(CHECKSUM);
    let info = info.filter(|info| info.dtype == Dtype::U8 && info.shape == [32]);
    info.and_then(|info| {
        let (start, end) = info.data_offsets;
        Some(data_start.checked_add(start)?..data_start.checked_add(end)?)
    })
    .ok_or_else(|| invalid("it is a safetensors file without a checksum"))
}

fn checksum(bytes: &[u8], range: &Range<usize>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(bytes.get(..range.start).unwrap_or_default());
    hasher.update(bytes.get(range.end..).unwrap_or_default());
    hasher.finalize().into()
}
