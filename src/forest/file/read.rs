//! Deserialization of forests: everything is checked, in the order that gives the most helpful message.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use safetensors::tensor::{Dtype, Metadata};

use super::super::{Forest, LEAF, Node, NodeNoise};
use super::{
    FORMAT, ForestMetadata, KIND, MAX_DEPTH, METADATA_KEY, NAMES, SampleWeight, checksum, checksum_range, container,
    invalid,
};
use crate::error::{Error, Result};
use crate::memory;

/// Reads the bytes of [`write`](super::write): the forest, c(n) up to the largest node, and the metadata.
///
/// Impurities and means that the file does not contain are NaN.
///
/// # Errors
/// [`Error::File`] when the bytes are not a valid file, damaged, or of a later format; [`Error::Forest`] when the trees break an
/// invariant.
pub fn read(bytes: &[u8]) -> Result<(Forest, Vec<f64>, ForestMetadata)> {
    let file = File::open(bytes)?;
    let n_features = usize::try_from(file.single("n_features", Dtype::U64, u64::from_le_bytes)?)
        .map_err(|_| invalid("too many columns for this machine"))?;
    let tree_depths: Vec<u32> = file.all("tree_depths", Dtype::U32, u32::from_le_bytes)?;
    let nodes = Nodes::open(&file)?;
    let (nodes, starts) = nodes.trees(&tree_depths)?;
    let noise = noise(&file, &nodes)?;
    let n_features_of_tree = file.all("n_features_of_tree", Dtype::U32, u32::from_le_bytes)?;
    let mut feature_starts = memory::with_capacity(n_features_of_tree.len().saturating_add(1))?;
    let mut end = 0_usize;
    feature_starts.push(end);
    for n in n_features_of_tree {
        end = end.saturating_add(n as usize);
        feature_starts.push(end);
    }
    let features = file.all("features", Dtype::U32, u32::from_le_bytes)?;
    let forest = Forest::new(n_features, features, feature_starts, nodes, noise, starts)?;
    let average_path_lengths = file.all("average_path_lengths", Dtype::F64, f64::from_le_bytes)?;
    let n = (forest.largest_node() as usize).checked_add(1);
    if n != Some(average_path_lengths.len()) {
        return Err(invalid(format!(
            "it has {} average path lengths, but its largest node has {} training rows",
            average_path_lengths.len(),
            forest.largest_node()
        )));
    }
    let forest_metadata = ForestMetadata {
        tree_seeds: file.all("tree_seeds", Dtype::I64, i64::from_le_bytes)?,
        tree_depths,
        sample_weight: match file.dtype("sample_weight") {
            None => None,
            Some(Dtype::F32) => Some(SampleWeight::F32(file.all(
                "sample_weight",
                Dtype::F32,
                f32::from_le_bytes,
            )?)),
            Some(_) => Some(SampleWeight::F64(file.all(
                "sample_weight",
                Dtype::F64,
                f64::from_le_bytes,
            )?)),
        },
        header: file.header,
    };
    forest_metadata.check(&forest)?;
    Ok((forest, average_path_lengths, forest_metadata))
}

/// A file with a valid checksum and a known format, all of whose tensors are known.
struct File<'a> {
    metadata: Metadata,
    data: &'a [u8],
    header: String,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let (data_start, metadata) = container(bytes)?;
        let entries = metadata.metadata().iter().flatten();
        let header = entries
            .filter(|(name, _)| *name == METADATA_KEY)
            .map(|(_, text)| text.clone())
            .next()
            .ok_or_else(|| invalid("it is a safetensors file without a forest"))?;
        let range = checksum_range(&metadata, data_start)?;
        if bytes.get(range.clone()) != Some(&checksum(bytes, &range)) {
            return Err(Error::File("the checksum does not match: the file is damaged".into()));
        }
        let file = Self {
            metadata,
            data: bytes.get(data_start..).unwrap_or_default(),
            header,
        };
        let format = file.single("format", Dtype::U32, u32::from_le_bytes)?;
        if format > FORMAT {
            return Err(Error::File(format!(
                "format {format} is newer than this isoxide reads ({FORMAT}): upgrade isoxide"
            )));
        }
        if format < FORMAT {
            return Err(invalid(format!("there is no format {format}")));
        }
        if file
            .metadata
            .metadata()
            .as_ref()
            .is_some_and(|entries| entries.len() > 1)
        {
            return Err(invalid("it has more than one entry of metadata"));
        }
        let names = file.metadata.offset_keys();
        if let Some(name) = names.iter().find(|name| !NAMES.contains(&name.as_str())) {
            return Err(invalid(format!("format {format} has no tensor {name:?}")));
        }
        Ok(file)
    }

    fn dtype(&self, name: &str) -> Option<Dtype> {
        self.metadata.info(name).map(|info| info.dtype)
    }

    /// Returns the items of a tensor as bytes.
    fn items<const N: usize>(&self, name: &str, dtype: Dtype) -> Result<&'a [[u8; N]]> {
        let info = self.metadata.info(name);
        let info = info.ok_or_else(|| invalid(format!("the tensor {name} is missing")))?;
        let (start, end) = info.data_offsets;
        let (items, rest) = self.data.get(start..end).unwrap_or_default().as_chunks();
        if info.dtype != dtype || info.shape != [items.len()] || !rest.is_empty() {
            let actual = format!("{} of shape {:?}", info.dtype, info.shape);
            return Err(invalid(format!(
                "the tensor {name} is {actual} instead of {dtype} with one axis"
            )));
        }
        Ok(items)
    }

    fn all<T, const N: usize>(&self, name: &str, dtype: Dtype, item: fn([u8; N]) -> T) -> Result<Vec<T>> {
        memory::collected(self.items(name, dtype)?.iter().copied().map(item))
    }

    fn single<T, const N: usize>(&self, name: &str, dtype: Dtype, item: fn([u8; N]) -> T) -> Result<T> {
        match self.items(name, dtype)? {
            [bytes] => Ok(item(*bytes)),
            items => Err(invalid(format!(
                "the tensor {name} has {} items instead of one",
                items.len()
            ))),
        }
    }
}

/// The stored nodes of all trees.
struct Nodes<'a> {
    kinds: &'a [[u8; 1]],
    features: &'a [[u8; 4]],
    thresholds: &'a [[u8; 8]],
    leaves: &'a [[u8; 4]],
}

impl<'a> Nodes<'a> {
    /// Reads the tensors of nodes, and checks that their lengths fit each other.
    fn open(file: &File<'a>) -> Result<Self> {
        let nodes = Self {
            kinds: file.items(KIND, Dtype::U8)?,
            features: file.items("feature", Dtype::U32)?,
            thresholds: file.items("threshold", Dtype::F64)?,
            leaves: file.items("n_leaf_samples", Dtype::U32)?,
        };
        let n_leaves = nodes.kinds.iter().filter(|&&[kind]| kind == 0).count();
        let n_splits = nodes.kinds.len().saturating_sub(n_leaves);
        let expected = [
            ("feature", nodes.features.len(), n_splits),
            ("threshold", nodes.thresholds.len(), n_splits),
            ("n_leaf_samples", nodes.leaves.len(), n_leaves),
        ];
        for (name, actual, expected) in expected {
            if actual != expected {
                return Err(invalid(format!(
                    "the tensor {name} has {actual} items, but there are {expected} such nodes"
                )));
            }
        }
        Ok(nodes)
    }

    /// Returns the nodes of all trees, and the start of each tree.
    fn trees(&self, depth_limits: &[u32]) -> Result<(Vec<Node>, Vec<usize>)> {
        let mut nodes = memory::with_capacity(self.kinds.len())?;
        let mut starts = memory::with_capacity(depth_limits.len().saturating_add(1))?;
        starts.push(0);
        let mut kinds = self.kinds.iter().map(|&[kind]| kind);
        let mut splits = self.features.iter().zip(self.thresholds);
        let mut leaves = self.leaves.iter();
        for (index, &limit) in depth_limits.iter().enumerate() {
            let tree = tree(&mut kinds, &mut splits, &mut leaves, limit);
            nodes.extend(tree.map_err(|reason| invalid(format!("tree {index}: {reason}")))?);
            starts.push(nodes.len());
        }
        match kinds.next() {
            None => Ok((nodes, starts)),
            Some(_) => Err(invalid("there are nodes after the last tree")),
        }
    }
}

/// Reads the next tree: it ends when no split lacks a child.
fn tree<'a>(
    kinds: &mut impl Iterator<Item = u8>,
    splits: &mut impl Iterator<Item = (&'a [u8; 4], &'a [u8; 8])>,
    leaves: &mut impl Iterator<Item = &'a [u8; 4]>,
    depth_limit: u32,
) -> std::result::Result<Vec<Node>, String> {
    let mut nodes: Vec<Node> = Vec::new();
    // Splits whose right child has not been read yet, with its depth; at most as many as the tree is deep.
    let mut waiting: Vec<(usize, u32)> = Vec::new();
    let mut depth = 0_u32;
    loop {
        match kinds.next() {
            Some(0) => {
                let n_node_samples = leaves.next().copied().map(u32::from_le_bytes);
                nodes.push(Node::leaf(n_node_samples.ok_or("it lacks leaves")?));
                let Some((split, below)) = waiting.pop() else { break };
                let right = u32::try_from(nodes.len()).map_err(|_| "it has too many nodes")?;
                if let Some(split) = nodes.get_mut(split) {
                    split.right = right;
                }
                depth = below;
            }
            Some(kind @ 1..=2) => {
                depth = depth.saturating_add(1);
                if depth > depth_limit.min(MAX_DEPTH) {
                    return Err(format!(
                        "it is deeper than its limit, {depth_limit} of at most {MAX_DEPTH}"
                    ));
                }
                waiting.push((nodes.len(), depth));
                let (feature, threshold) = splits.next().ok_or("it lacks splits")?;
                let feature = u32::from_le_bytes(*feature);
                if feature == LEAF {
                    return Err(format!("a split uses feature {feature}"));
                }
                nodes.push(Node {
                    threshold: f64::from_le_bytes(*threshold),
                    feature,
                    right: 0,
                    n_node_samples: 0,
                    missing_go_to_left: kind == 2,
                });
            }
            Some(kind) => return Err(format!("there is no node of kind {kind}")),
            None => return Err("its nodes end before it does".into()),
        }
    }
    // In reverse order children come before their parents, and the left child last.
    let mut below: Vec<u32> = Vec::new();
    for node in nodes.iter_mut().rev() {
        if !node.is_leaf() {
            let (left, right) = (below.pop().unwrap_or(0), below.pop().unwrap_or(0));
            node.n_node_samples = left.checked_add(right).ok_or("it has too many training rows")?;
        }
        below.push(node.n_node_samples);
    }
    Ok(nodes)
}

/// Reads the records of the noise target at the nodes.
fn noise(file: &File<'_>, nodes: &[Node]) -> Result<Vec<NodeNoise>> {
    let field = |name: &str| -> Result<Option<Vec<f64>>> {
        if file.dtype(name).is_none() {
            return Ok(None);
        }
        let values = file.all(name, Dtype::F64, f64::from_le_bytes)?;
        if values.len() == nodes.len() {
            Ok(Some(values))
        } else {
            Err(invalid(format!(
                "the tensor {name} has {} items for {} nodes",
                values.len(),
                nodes.len()
            )))
        }
    };
    let (weight, impurity, mean) = (field("weight")?, field("impurity")?, field("mean")?);
    if impurity.is_some() != mean.is_some() {
        return Err(invalid("it has only one of the tensors impurity and mean"));
    }
    let value = |values: &Option<Vec<f64>>, node: usize| values.as_ref().and_then(|values| values.get(node)).copied();
    let records = nodes.iter().enumerate().map(|(i, node)| NodeNoise {
        impurity: value(&impurity, i).unwrap_or(f64::NAN),
        mean: value(&mean, i).unwrap_or(f64::NAN),
        weight: value(&weight, i).unwrap_or(f64::from(node.n_node_samples)),
    });
    memory::collected(records)
}
