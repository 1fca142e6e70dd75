//! Fuzz target: any bytes are rejected as a file, or hold a forest that can be scored with every strategy, written, and read again.

use std::sync::OnceLock;

use isoxide::forest::file::{ForestMetadata, SampleWeight, UNKNOWN_SEED, read, write};
use isoxide::forest::path_length;
use isoxide::grow::{NoiseTarget, Params, grow};
use isoxide::matrix::{Input, Matrix};
use isoxide::random::streams;
use isoxide::score::Scorer;
use ndarray::Array2;
use safetensors::tensor::SafeTensors;
use sha2::{Digest, Sha256};

use super::bytes::Bytes;
use super::sums;

/// Most columns of a forest that is scored.
const MAX_COLUMNS: usize = 600;

/// Returns files of all kinds, from which inputs are made.
fn some_files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| (0..8).map(some_file).collect())
}

fn some_file(kind: u32) -> Vec<u8> {
    let (n, d, n_trees) = (5 + 30 * kind as usize, 1 + kind as usize % 4, 1 + kind as usize % 3);
    let x = Array2::from_shape_fn((n, d), |(row, column)| {
        match (row * 7 + column * 3 + kind as usize) % 11 {
            0 => f64::NAN,
            value => value as f64 / 3.0,
        }
    });
    let params = Params {
        max_samples: n.min(40),
        max_features: 1 + kind as usize % d,
        bootstrap: kind % 2 == 1,
    };
    let seeds = streams::tree_seeds(kind, 0, n_trees);
    let x = Input::Dense(Matrix::from_f64(x.view()));
    let forest = grow(&x, NoiseTarget::Seed(kind), &seeds, params, None, None, 1).unwrap();
    let mut tree_seeds: Vec<i64> = seeds.into_iter().map(i64::from).collect();
    if kind % 3 == 2 {
        tree_seeds[0] = UNKNOWN_SEED;
    }
    let forest_metadata = ForestMetadata {
        header: r#"{"a":["text",1.5]}"#.into(),
        tree_seeds,
        tree_depths: vec![6; n_trees],
        sample_weight: match kind % 3 {
            0 => None,
            1 => Some(SampleWeight::F32(vec![0.5; 3])),
            _ => Some(SampleWeight::F64(vec![0.25; 4])),
        },
    };
    write(
        &forest,
        &path_length::table(forest.largest_node()),
        &forest_metadata,
        kind > 3,
    )
    .unwrap()
}

/// Corrects the checksum, if there is one.
fn seal(bytes: &mut [u8]) {
    let Ok((header_len, metadata)) = SafeTensors::read_metadata(bytes) else {
        return;
    };
    let Some(info) = metadata.info("checksum") else { return };
    let data_start = 8 + header_len;
    let (start, end) = (data_start + info.data_offsets.0, data_start + info.data_offsets.1);
    let mut hasher = Sha256::new();
    hasher.update(&bytes[..start]);
    hasher.update(&bytes[end..]);
    let sum: [u8; 32] = hasher.finalize().into();
    if end - start == sum.len() {
        bytes[start..end].copy_from_slice(&sum);
    }
}

/// Changes some bytes anywhere.
fn edit(file: &mut Vec<u8>, bytes: &mut Bytes<'_>) {
    let at = bytes.below(65_536) * file.len().max(1) / 65_536;
    let Some(byte) = file.get_mut(at) else { return };
    match bytes.below(8) {
        0 | 1 => *byte = bytes.byte(),
        2 => *byte ^= 1 << bytes.below(8),
        3 => *byte = byte.wrapping_add(1),
        4 => *byte = byte.wrapping_sub(1),
        5 => file.insert(at, bytes.byte()),
        6 => {
            file.remove(at);
        }
        _ => {
            let n = bytes.below(64).min(file.len() - at);
            let piece: Vec<u8> = file[at..at + n].to_vec();
            let to = bytes.below(65_536) * (file.len() - n).max(1) / 65_536;
            file[to..to + n].copy_from_slice(&piece);
        }
    }
}

/// Runs the target on one input.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let file = if bytes.one_in(4) {
        let mut file = data[1..].to_vec();
        seal(&mut file);
        file
    } else {
        let mut file = bytes.of(&[0, 1, 2, 3, 4, 5, 6, 7_usize]);
        file %= some_files().len();
        let mut file = some_files()[file].clone();
        for _ in 0..bytes.below(12) {
            edit(&mut file, &mut bytes);
        }
        if !bytes.one_in(8) {
            seal(&mut file);
        }
        file
    };
    let Ok((forest, c, forest_metadata)) = read(&file) else {
        return;
    };
    for complete in [true, false] {
        let again = write(&forest, &c, &forest_metadata, complete).unwrap();
        let (same, same_c, same_facts) = read(&again).unwrap();
        assert_eq!(same.nodes(), forest.nodes());
        assert_eq!((same.starts(), same.features()), (forest.starts(), forest.features()));
        assert_eq!(same_facts.header, forest_metadata.header);
        let bits = |c: &[f64]| -> Vec<u64> { c.iter().map(|c| c.to_bits()).collect() };
        assert_eq!(bits(&same_c), bits(&c));
        assert_eq!(write(&same, &same_c, &same_facts, complete).unwrap(), again);
    }
    let d = forest.n_features();
    if d > MAX_COLUMNS {
        return;
    }
    let n = bytes.of(&[1, 9, 300]);
    let cells = bytes.numbers(n * d);
    let x = Array2::from_shape_fn((n, d), |(row, column)| cells[row * d + column] as f32);
    let scorer = Scorer::new(forest, c).unwrap();
    sums::check(&scorer, &Input::Dense(Matrix::from_f32(x.view())), |row, column| {
        x[[row, column]]
    });
}
