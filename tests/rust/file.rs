//! Tests that forests are unchanged when written and read again, and that damaged or invented bytes are refused.

#![allow(clippy::too_many_lines, reason = "a list of refused files")]

use std::collections::BTreeMap;

use isoxide::forest::file::{FORMAT, ForestMetadata, MAX_DEPTH, SampleWeight, UNKNOWN_SEED, read, write};
use isoxide::forest::{Forest, path_length};
use isoxide::grow::{NoiseTarget, Params, grow};
use isoxide::matrix::{Input, Matrix};
use isoxide::random::streams;
use isoxide::score::{self, Scorer};
use isoxide::simd::Choice;
use ndarray::Array2;
use proptest::prelude::*;
use rand_mt::Mt64;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use sha2::{Digest, Sha256};

/// Grows a forest on a table with ties and missing values; returns it with the average path lengths c(n).
fn grown_forest(n: usize, d: usize, seed: u32, n_trees: usize) -> (Forest, Vec<f64>) {
    let mut random = Mt64::new(u64::from(seed));
    let x = Array2::from_shape_fn((n, d), |_| match random.next_u64() % 9 {
        0 => f64::NAN,
        1 => f64::INFINITY,
        value @ 2..6 => value as f64,
        _ => (random.next_u64() % 1_000) as f64 / 7.0,
    });
    let params = Params {
        max_samples: n.min(1 + seed as usize % 60),
        max_features: 1 + seed as usize % d,
        bootstrap: seed.is_multiple_of(3),
    };
    let seeds = streams::tree_seeds(seed, 0, n_trees);
    let x = Input::Dense(Matrix::from_f64(x.view()));
    let forest = grow(&x, NoiseTarget::Seed(seed), &seeds, params, None, None, 1).unwrap();
    let c = path_length::table(params.max_samples as u32);
    (forest, c)
}

fn sample_metadata(forest: &Forest, seed: u32) -> ForestMetadata {
    let n = forest.n_trees();
    let mut tree_seeds: Vec<i64> = streams::tree_seeds(seed, 0, n).into_iter().map(i64::from).collect();
    if seed.is_multiple_of(2) {
        tree_seeds[0] = UNKNOWN_SEED;
    }
    ForestMetadata {
        header: r#"{"any":"text, \"quoted\" and ä"}"#.into(),
        tree_seeds,
        tree_depths: vec![6 + seed % 50; n],
        sample_weight: match seed % 3 {
            0 => None,
            1 => Some(SampleWeight::F32(vec![0.0, 0.1, 7.0])),
            _ => Some(SampleWeight::F64(vec![0.1; 5])),
        },
    }
}

fn small_file() -> Vec<u8> {
    let (forest, c) = grown_forest(20, 2, 9, 2);
    write(&forest, &c, &sample_metadata(&forest, 1), true).unwrap()
}

/// The contents of a file, which can be changed and written again with a valid checksum.
#[derive(Clone)]
struct Contents {
    header: Option<String>,
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Contents {
    fn read(bytes: &[u8]) -> Self {
        let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
        let tensors = SafeTensors::deserialize(bytes).unwrap();
        let header = metadata.metadata().as_ref().unwrap().get("isoxide").cloned();
        let tensors = tensors.tensors().into_iter();
        let tensors = tensors.map(|(name, t)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec())));
        Self {
            header,
            tensors: tensors.collect(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter();
        let views = views
            .map(|(name, (dtype, shape, data))| (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        let metadata = self
            .header
            .clone()
            .map(|text| [("isoxide".to_owned(), text)].into_iter().collect());
        let mut bytes = serialize(views, metadata).unwrap();
        correct_checksum(&mut bytes);
        bytes
    }

    /// Returns the bytes with one tensor replaced or removed.
    fn with(&self, name: &str, dtype: Dtype, data: Option<Vec<u8>>) -> Vec<u8> {
        let mut contents = self.clone();
        contents.tensors.remove(name);
        if let Some(data) = data {
            let shape = vec![data.len() * 8 / dtype.bitsize()];
            contents.tensors.insert(name.into(), (dtype, shape, data));
        }
        contents.bytes()
    }

    /// Returns the bytes with some bytes of a tensor changed.
    fn edited(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let (dtype, _, mut data) = self.tensors[name].clone();
        edit(&mut data);
        self.with(name, dtype, Some(data))
    }
}

/// Corrects the checksum, if the file has one.
fn correct_checksum(bytes: &mut [u8]) {
    let Ok((header_len, metadata)) = SafeTensors::read_metadata(bytes) else {
        return;
    };
    let Some(info) = metadata.info("checksum") else { return };
    let (start, end) = (
        8 + header_len + info.data_offsets.0,
        8 + header_len + info.data_offsets.1,
    );
    let mut hasher = Sha256::new();
    hasher.update(&bytes[..start]);
    hasher.update(&bytes[end..]);
    let sum: [u8; 32] = hasher.finalize().into();
    if end - start == sum.len() {
        bytes[start..end].copy_from_slice(&sum);
    }
}

/// Checks that an accepted file can be scored with every strategy and written again; returns whether it was accepted.
fn check_if_accepted(bytes: &[u8]) -> bool {
    let Ok((forest, c, forest_metadata)) = read(bytes) else {
        return false;
    };
    let again = write(&forest, &c, &forest_metadata, true).unwrap();
    assert_eq!(read(&again).map(|(forest, _, _)| forest).as_ref(), Ok(&forest));
    let d = forest.n_features();
    if d > 1_000 {
        return true;
    }
    let mut random = Mt64::new(1);
    let x = Array2::from_shape_fn((300, d), |_| match random.next_u64() % 6 {
        0 => f64::NAN,
        value => value as f64,
    });
    let x = Input::Dense(Matrix::from_f64(x.view()));
    let scorer = Scorer::new(forest, c).unwrap();
    let walked = scorer
        .path_length_sums_with(&x, 1, score::Strategy::Walk, Choice::get())
        .unwrap();
    for kernel in Choice::all() {
        let planned = scorer
            .path_length_sums_with(&x, 1, score::Strategy::Plan, kernel)
            .unwrap();
        for (a, b) in walked.iter().zip(planned) {
            assert!(*a == b || (a.is_nan() && b.is_nan()), "{a} and {b}");
        }
    }
    true
}

proptest! {
    #[test]
    fn a_forest_read_from_its_bytes_equals_the_written_one(n in 1_usize..100, d in 1_usize..5, seed: u32, n_trees in 1_usize..6, complete: bool) {
        let (forest, c) = grown_forest(n, d, seed, n_trees);
        let forest_metadata = sample_metadata(&forest, seed);
        let bytes = write(&forest, &c, &forest_metadata, complete).unwrap();
        let (read_forest, read_c, read_metadata) = read(&bytes).unwrap();
        prop_assert_eq!(read_metadata, forest_metadata.clone());
        prop_assert_eq!(read_c.len(), forest.largest_node() as usize + 1);
        prop_assert!(c.starts_with(&read_c));
        prop_assert_eq!(read_forest.n_features(), d);
        prop_assert_eq!(read_forest.features(), forest.features());
        prop_assert_eq!(read_forest.feature_starts(), forest.feature_starts());
        prop_assert_eq!(read_forest.starts(), forest.starts());
        prop_assert_eq!(read_forest.nodes(), forest.nodes());
        for (read_noise, noise) in read_forest.noise().iter().zip(forest.noise()) {
            prop_assert_eq!(read_noise.weight, noise.weight);
            prop_assert!(complete || (read_noise.impurity.is_nan() && read_noise.mean.is_nan()));
        }
        if complete {
            prop_assert_eq!(&read_forest, &forest);
        }
        // Unknown values are not written, so the bytes are the same again.
        prop_assert_eq!(&write(&read_forest, &read_c, &forest_metadata, true).unwrap(), &bytes);
        let plain = write(&forest, &c, &forest_metadata, false).unwrap();
        prop_assert_eq!(&write(&read_forest, &read_c, &forest_metadata, false).unwrap(), &plain);
    }

    /// The checksum is corrected after each change, so that only the other checks can reject the bytes.
    #[test]
    fn changed_bytes_are_refused_or_make_a_valid_forest(seed in 0_u32..60, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), whole: bool) {
        let (forest, c) = grown_forest(30, 3, seed, 3);
        let mut bytes = write(&forest, &c, &sample_metadata(&forest, seed), seed % 2 == 0).unwrap();
        let header_end = 8 + usize::from(bytes[0]) + 256 * usize::from(bytes[1]);
        let start = if whole { 0 } else { header_end };
        for (position, value) in changes {
            let position = start + position.index(bytes.len() - start);
            bytes[position] = value;
        }
        correct_checksum(&mut bytes);
        check_if_accepted(&bytes);
    }

    /// Whole items are changed to small numbers, all bits set, or special floats, which more often pass the first checks.
    #[test]
    fn changed_items_are_refused_or_make_a_valid_forest(seed in 0_u32..60, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..9), 1..4)) {
        let (forest, c) = grown_forest(30, 3, seed, 3);
        let mut contents = Contents::read(&write(&forest, &c, &sample_metadata(&forest, seed), seed % 2 == 0).unwrap());
        for (tensor, position, choice) in changes {
            let names: Vec<String> = contents.tensors.keys().filter(|name| *name != "checksum").cloned().collect();
            let (dtype, shape, data) = contents.tensors.get_mut(tensor.get(&names)).unwrap();
            let size = dtype.bitsize() / 8;
            if data.is_empty() {
                continue;
            }
            let start = position.index(data.len() / size) * size;
            let item = match choice {
                0..3 => (choice as u64).to_le_bytes(),
                3 => u64::MAX.to_le_bytes(),
                4 => f64::NAN.to_le_bytes(),
                5 => f64::NEG_INFINITY.to_le_bytes(),
                6 => (u64::from(u32::MAX) / 2).to_le_bytes(),
                // One item is removed, or added below.
                7 => {
                    data.drain(start..start + size);
                    shape[0] -= 1;
                    continue;
                }
                _ => {
                    let item = data[start..start + size].to_vec();
                    data.extend(item);
                    shape[0] += 1;
                    continue;
                }
            };
            data[start..start + size].copy_from_slice(&item[..size]);
        }
        check_if_accepted(&contents.bytes());
    }
}

#[test]
fn a_file_with_any_bit_flipped_is_refused() {
    let bytes = small_file();
    read(&bytes).unwrap();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << bit;
            assert!(read(&damaged).is_err(), "bit {bit} of byte {position}");
        }
    }
}

#[test]
fn a_file_with_bytes_removed_or_added_at_its_end_is_refused() {
    let bytes = small_file();
    for end in 0..bytes.len() {
        let message = read(&bytes[..end]).unwrap_err().to_string();
        assert!(message.starts_with("not an isoxide forest: "), "{message}");
        // It is refused even if the checksum is correct.
        let mut cut = bytes[..end].to_vec();
        correct_checksum(&mut cut);
        assert!(read(&cut).is_err());
    }
    for addition in [&[0_u8][..], &bytes] {
        assert!(read(&[&bytes, addition].concat()).is_err());
    }
}

#[test]
fn special_floats_are_accepted_and_scored() {
    let contents = Contents::read(&small_file());
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX] {
        for name in ["threshold", "average_path_lengths", "impurity", "mean"] {
            let bytes = contents.edited(name, |data| {
                for item in data.chunks_mut(8).step_by(2) {
                    item.copy_from_slice(&value.to_le_bytes());
                }
            });
            assert!(check_if_accepted(&bytes), "{name} {value}");
        }
    }
}

#[test]
fn each_refusal_names_the_reason() {
    let (forest, c) = grown_forest(20, 2, 9, 2);
    let forest_metadata = sample_metadata(&forest, 1);
    let whole = write(&forest, &c, &forest_metadata, true).unwrap();
    let contents = Contents::read(&whole);
    assert_eq!(contents.bytes(), whole);
    let u32s = |values: &[u32]| Some(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    let f64s = |values: &[f64]| Some(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    let zeros = |n: usize| Some(vec![0; n]);
    let shaped = |name: &str, shape: &[usize]| {
        let mut contents = contents.clone();
        contents.tensors.get_mut(name).unwrap().1 = shape.to_vec();
        contents.bytes()
    };
    let unnamed = Contents {
        header: None,
        ..contents.clone()
    };
    let n_nodes = forest.nodes().len();
    let n_splits = forest.nodes().iter().filter(|node| !node.is_leaf()).count();
    let chain = |n: usize| {
        // A chain of left children, then one leaf more than there are splits.
        let mut contents =
            Contents::read(&contents.with("kind", Dtype::U8, Some([vec![1; n], vec![0; n + 1]].concat())));
        let mut put =
            |name: &str, dtype, data: Option<Vec<u8>>| contents = Contents::read(&contents.with(name, dtype, data));
        put("feature", Dtype::U32, zeros(4 * n));
        put("threshold", Dtype::F64, zeros(8 * n));
        put("n_leaf_samples", Dtype::U32, u32s(&vec![1; n + 1]));
        put("n_features_of_tree", Dtype::U32, u32s(&[2]));
        put("features", Dtype::U32, u32s(&[0, 1]));
        put("tree_seeds", Dtype::I64, zeros(8));
        put("tree_depths", Dtype::U32, u32s(&[n as u32]));
        put(
            "average_path_lengths",
            Dtype::F64,
            f64s(&path_length::table(n as u32 + 1)),
        );
        for name in ["weight", "impurity", "mean"] {
            put(name, Dtype::F64, None);
        }
        contents
    };
    // The files that the cases below change are valid themselves.
    assert!(check_if_accepted(&chain(5).bytes()));
    assert!(check_if_accepted(&chain(64).bytes()));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "not an isoxide forest: the file is empty"),
        (
            b"\x80\x04\x95\x00\x00\x00\x00\x00".to_vec(),
            "it is a pickle, as scikit-learn's models are",
        ),
        (b"PK\x03\x04 and so on".to_vec(), "it is a zip archive, as skops writes"),
        (b"{}".to_vec(), "it is not a safetensors file, or truncated"),
        (vec![b' '; 64], "it is not a safetensors file"),
        (
            whole[..whole.len() - 1].to_vec(),
            "truncated, or something was appended",
        ),
        (unnamed.bytes(), "it is a safetensors file without a forest"),
        (contents.with("checksum", Dtype::U8, None), "without a checksum"),
        (contents.with("checksum", Dtype::U8, zeros(31)), "without a checksum"),
        (contents.with("checksum", Dtype::I8, zeros(32)), "without a checksum"),
        (
            {
                let mut damaged = whole.clone();
                *damaged.last_mut().unwrap() ^= 1;
                damaged
            },
            "the checksum does not match: the file is damaged",
        ),
        (
            contents.with("format", Dtype::U32, u32s(&[FORMAT + 1])),
            "format 2 is newer than this isoxide reads (1): upgrade",
        ),
        (contents.with("format", Dtype::U32, u32s(&[0])), "there is no format 0"),
        (
            contents.with("format", Dtype::U32, u32s(&[1, 1])),
            "format has 2 items instead of one",
        ),
        (
            contents.with("surprise", Dtype::U8, zeros(3)),
            "format 1 has no tensor \"surprise\"",
        ),
        (contents.with("kind", Dtype::U8, None), "the tensor kind is missing"),
        (
            contents.with("threshold", Dtype::F32, zeros(4)),
            "the tensor threshold is F32 of shape [1] instead of F64",
        ),
        (
            contents.with("threshold", Dtype::I64, zeros(8 * n_splits)),
            "the tensor threshold is I64 of shape",
        ),
        (shaped("threshold", &[n_splits, 1]), "instead of F64 with one axis"),
        (shaped("threshold", &[1, n_splits]), "instead of F64 with one axis"),
        (
            contents.with("threshold", Dtype::F64, zeros(8)),
            "the tensor threshold has 1 items, but",
        ),
        (
            contents.with("feature", Dtype::U32, zeros(4)),
            "the tensor feature has 1 items, but",
        ),
        (
            contents.with("n_leaf_samples", Dtype::U32, zeros(4)),
            "the tensor n_leaf_samples has 1 items, but",
        ),
        (
            contents.with("impurity", Dtype::F64, None),
            "it has only one of the tensors impurity and mean",
        ),
        (
            contents.with("mean", Dtype::F64, zeros(8)),
            "the tensor mean has 1 items for",
        ),
        (
            contents.with("weight", Dtype::F64, zeros(8 * n_nodes + 8)),
            "the tensor weight has",
        ),
        (
            contents.with("tree_depths", Dtype::U32, u32s(&[9])),
            "there are nodes after the last tree",
        ),
        (
            contents.with("tree_depths", Dtype::U32, u32s(&[9; 3])),
            "tree 2: its nodes end before it does",
        ),
        (
            contents.with("tree_depths", Dtype::U32, u32s(&[9, 1])),
            "tree 1: it is deeper than its limit, 1",
        ),
        (
            contents.with("tree_depths", Dtype::U32, u32s(&[MAX_DEPTH + 1, 9])),
            "its limit is 65 of at most 64",
        ),
        (
            chain(65).bytes(),
            "tree 0: it is deeper than its limit, 65 of at most 64",
        ),
        (
            contents.with("tree_seeds", Dtype::I64, zeros(8)),
            "it has 1 seeds, but 2 trees",
        ),
        (
            contents.edited("tree_seeds", |data| data[4] = 1),
            "is not a valid seed of a tree",
        ),
        (
            contents.edited("tree_seeds", |data| data[..8].copy_from_slice(&(-2_i64).to_le_bytes())),
            "-2 is not a valid seed",
        ),
        (contents.edited("kind", |data| data[0] = 0), "the tensor feature has"),
        (
            {
                let mut contents = chain(1);
                contents.tensors.get_mut("kind").unwrap().2[0] = 3;
                contents.bytes()
            },
            "tree 0: there is no node of kind 3",
        ),
        (
            chain(1).edited("feature", |data| data.fill(255)),
            "a split uses feature 4294967295",
        ),
        (
            chain(1).edited("feature", |data| data[0] = 2),
            "node 0 uses feature 2 of 2",
        ),
        (
            chain(1).edited("features", |data| data[0] = 2),
            "a tree uses column 2, but there are 2",
        ),
        (
            chain(1).with("features", Dtype::U32, u32s(&[0])),
            "do not cover the 1 features",
        ),
        (
            chain(1).with("n_features_of_tree", Dtype::U32, u32s(&[2, 0])),
            "do not cover the 2 features",
        ),
        (
            chain(1).with("n_features_of_tree", Dtype::U32, u32s(&[0])),
            "do not cover the 2 features",
        ),
        (
            chain(1).with("n_features_of_tree", Dtype::U32, u32s(&[1, 1])),
            "the starts of nodes and of features describe different numbers of trees",
        ),
        (
            chain(1).with("n_leaf_samples", Dtype::U32, u32s(&[1, u32::MAX])),
            "tree 0: it has too many training rows",
        ),
        (
            chain(1).with("average_path_lengths", Dtype::F64, zeros(32)),
            "it has 4 average path lengths",
        ),
        (
            chain(1).with("average_path_lengths", Dtype::F64, zeros(16)),
            "it has 2 average path lengths",
        ),
        (
            chain(1).with("n_leaf_samples", Dtype::U32, u32s(&[1, u32::MAX - 1])),
            "has 4294967295 training rows",
        ),
        (
            chain(1).with("n_features", Dtype::U64, zeros(8)),
            "a tree uses column 0, but there are 0",
        ),
        (
            chain(1).with("features", Dtype::U32, u32s(&[1, 0])),
            "the columns of tree 0 cannot have been drawn",
        ),
        (
            {
                let wider = Contents::read(&chain(1).edited("n_features", |data| data[0] = 3));
                assert!(check_if_accepted(&wider.bytes()));
                wider.with("features", Dtype::U32, u32s(&[1, 1]))
            },
            "the columns of tree 0 cannot have been drawn",
        ),
        (
            contents.with("sample_weight", Dtype::F16, zeros(2)),
            "the tensor sample_weight is F16",
        ),
        (
            contents.with("sample_weight", Dtype::F64, f64s(&[1.0, -0.5])),
            "negative or not finite",
        ),
        (
            contents.with("sample_weight", Dtype::F64, f64s(&[f64::NAN])),
            "negative or not finite",
        ),
    ];
    for (bytes, expected) in cases {
        let message = read(&bytes).unwrap_err().to_string();
        assert!(message.contains(expected), "{message} does not contain {expected}");
    }
}

#[test]
fn a_second_entry_of_metadata_is_refused() {
    let whole = small_file();
    let text = String::from_utf8_lossy(&whole).into_owned();
    let header = &text[8..text
        .find("}  ")
        .map_or_else(|| text.find("]}}").unwrap() + 3, |end| end + 1)];
    let header = header.replacen(r#"{"isoxide":"#, r#"{"more":"","isoxide":"#, 1);
    let data_start = 8 + usize::from(whole[0]) + 256 * usize::from(whole[1]);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(&whole[data_start..]);
    correct_checksum(&mut bytes);
    let message = read(&bytes).unwrap_err().to_string();
    assert!(message.contains("more than one entry of metadata"), "{message}");
}

#[test]
fn a_forest_that_could_not_be_read_again_is_not_written() {
    let (forest, c) = grown_forest(20, 2, 9, 2);
    let forest_metadata = sample_metadata(&forest, 1);
    let with = |change: &dyn Fn(&mut ForestMetadata)| {
        let mut forest_metadata = forest_metadata.clone();
        change(&mut forest_metadata);
        forest_metadata
    };
    let cases = [
        with(&|forest_metadata| forest_metadata.tree_seeds.truncate(1)),
        with(&|forest_metadata| forest_metadata.tree_seeds[1] = -2),
        with(&|forest_metadata| forest_metadata.tree_depths.push(6)),
        with(&|forest_metadata| forest_metadata.tree_depths[0] = 1),
        with(&|forest_metadata| forest_metadata.tree_depths[0] = 65),
        with(&|forest_metadata| forest_metadata.sample_weight = Some(SampleWeight::F32(vec![f32::INFINITY]))),
    ];
    for forest_metadata in cases {
        assert!(write(&forest, &c, &forest_metadata, false).is_err());
    }
    assert!(write(&forest, &c[..1], &forest_metadata, false).is_err());
}
