//! Fuzz target: reading any bytes as a model file returns an error, or a forest. Such a forest must score equally with every
//! strategy, and stay the same when it is written and read again.

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

/// Maximum number of columns of a forest that is scored.
const MAX_COLUMNS: usize = 600;

/// Returns valid files, which together have all optional contents. Inputs change parts of them.
fn valid_files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| (0..8).map(valid_file).collect())
}

fn valid_file(variant: u32) -> Vec<u8> {
    let (n, d, n_trees) = (
        5 + 30 * variant as usize,
        1 + variant as usize % 4,
        1 + variant as usize % 3,
    );
    let x = Array2::from_shape_fn((n, d), |(row, column)| {
        match (row * 7 + column * 3 + variant as usize) % 11 {
            0 => f64::NAN,
            value => value as f64 / 3.0,
        }
    });
    let params = Params {
        max_samples: n.min(40),
        max_features: 1 + variant as usize % d,
        bootstrap: variant % 2 == 1,
    };
    let seeds = streams::tree_seeds(variant, 0, n_trees);
    let x = Input::Dense(Matrix::from_f64(x.view()));
    let forest = grow(&x, NoiseTarget::Seed(variant), &seeds, params, None, None, 1).unwrap();
    let mut tree_seeds: Vec<i64> = seeds.into_iter().map(i64::from).collect();
    if variant % 3 == 2 {
        tree_seeds[0] = UNKNOWN_SEED;
    }
    let forest_metadata = ForestMetadata {
        header: r#"{"a":["text",1.5]}"#.into(),
        tree_seeds,
        tree_depths: vec![6; n_trees],
        sample_weight: match variant % 3 {
            0 => None,
            1 => Some(SampleWeight::F32(vec![0.5; 3])),
            _ => Some(SampleWeight::F64(vec![0.25; 4])),
        },
    };
    write(
        &forest,
        &path_length::table(forest.largest_node()),
        &forest_metadata,
        variant > 3,
    )
    .unwrap()
}

/// Corrects the checksum of a file, if the file has one.
fn correct_checksum(bytes: &mut [u8]) {
    let Ok((header_len, metadata)) = SafeTensors::read_metadata(bytes) else {
        return;
    };
    let Some(info) = metadata.info("checksum") else { return };
    let data_start = 8 + header_len;
    let (start, end) = (data_start + info.data_offsets.0, data_start + info.data_offsets.1);
    let mut hasher = Sha256::new();
    hasher.update(&bytes[..start]);
    hasher.update(&bytes[end..]);
    let checksum: [u8; 32] = hasher.finalize().into();
    if end - start == checksum.len() {
        bytes[start..end].copy_from_slice(&checksum);
    }
}

/// Changes, inserts, removes or copies bytes at a random position.
fn edit(file: &mut Vec<u8>, bytes: &mut Bytes<'_>) {
    let position = bytes.below(65_536) * file.len().max(1) / 65_536;
    let Some(byte) = file.get_mut(position) else { return };
    match bytes.below(8) {
        0 | 1 => *byte = bytes.byte(),
        2 => *byte ^= 1 << bytes.below(8),
        3 => *byte = byte.wrapping_add(1),
        4 => *byte = byte.wrapping_sub(1),
        5 => file.insert(position, bytes.byte()),
        6 => {
            file.remove(position);
        }
        _ => {
            let n = bytes.below(64).min(file.len() - position);
            let piece: Vec<u8> = file[position..position + n].to_vec();
            let target = bytes.below(65_536) * (file.len() - n).max(1) / 65_536;
            file[target..target + n].copy_from_slice(&piece);
        }
    }
}

/// Runs the target on one input.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let file = if bytes.one_in(4) {
        let mut file = data[1..].to_vec();
        correct_checksum(&mut file);
        file
    } else {
        let files = valid_files();
        let mut file = files[bytes.choose(&[0, 1, 2, 3, 4, 5, 6, 7_usize])].clone();
        for _ in 0..bytes.below(12) {
            edit(&mut file, &mut bytes);
        }
        if !bytes.one_in(8) {
            correct_checksum(&mut file);
        }
        file
    };
    let Ok((forest, c, forest_metadata)) = read(&file) else {
        return;
    };
    for complete in [true, false] {
        let rewritten = write(&forest, &c, &forest_metadata, complete).unwrap();
        let (read_forest, read_c, read_metadata) = read(&rewritten).unwrap();
        assert_eq!(read_forest.nodes(), forest.nodes());
        assert_eq!(
            (read_forest.starts(), read_forest.features()),
            (forest.starts(), forest.features())
        );
        assert_eq!(read_metadata.header, forest_metadata.header);
        let bits = |c: &[f64]| -> Vec<u64> { c.iter().map(|c| c.to_bits()).collect() };
        assert_eq!(bits(&read_c), bits(&c));
        assert_eq!(
            write(&read_forest, &read_c, &read_metadata, complete).unwrap(),
            rewritten
        );
    }
    let d = forest.n_features();
    if d > MAX_COLUMNS {
        return;
    }
    let n = bytes.choose(&[1, 9, 300]);
    let cells = bytes.numbers(n * d);
    let x = Array2::from_shape_fn((n, d), |(row, column)| cells[row * d + column] as f32);
    let scorer = Scorer::new(forest, c).unwrap();
    sums::check(&scorer, &Input::Dense(Matrix::from_f32(x.view())), |row, column| {
        x[[row, column]]
    });
}
