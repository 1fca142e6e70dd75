//! Helpers for tests of mergeable aggregates.

use isoxide::bytes::Writer;
use proptest::prelude::*;

/// Changes of the numbers in stored bytes: the index of a number, which change it is, and its operand.
pub(crate) type Edits = Vec<(usize, u8, u64)>;

/// Merges all partitions into one, two at a time; `picks` chooses the two.
pub(crate) fn merged<T>(mut partitions: Vec<T>, picks: &[usize], merge: impl Fn(&mut T, &T)) -> T {
    for step in 0.. {
        if partitions.len() == 1 {
            break;
        }
        let pick = picks[step % picks.len()];
        let mut first = partitions.remove(pick % partitions.len());
        let second = partitions.swap_remove(pick / 7 % partitions.len());
        merge(&mut first, &second);
        partitions.push(first);
    }
    partitions.remove(0)
}

/// Draws up to four changes.
pub(crate) fn edits() -> impl Strategy<Value = Edits> {
    let number = prop_oneof![
        0_u64..4,
        any::<u64>(),
        prop::sample::select(vec![
            1 << 53,
            (1 << 53) + 1,
            1 << 63,
            (1 << 63) - 1,
            u64::MAX,
            u64::MAX - 1,
            u64::from(u32::MAX),
            1 << 32,
            !f64::NEG_INFINITY.to_bits(),
            f64::INFINITY.to_bits() | 1 << 63,
        ]),
    ];
    prop::collection::vec((0_usize..40, 0_u8..7, number), 0..5)
}

/// Returns the bytes with changed numbers and a valid checksum.
pub(crate) fn edited(bytes: &[u8], edits: &Edits) -> Vec<u8> {
    let (signature, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (numbers, _) = rest.split_last_chunk::<32>().unwrap();
    let mut numbers: Vec<u64> = numbers
        .as_chunks::<8>()
        .0
        .iter()
        .map(|&word| u64::from_le_bytes(word))
        .collect();
    for &(position, change, number) in edits {
        let n = numbers.len().max(1);
        let (position, other) = (position % n, number as usize % n);
        if numbers.is_empty() || (change == 0 && numbers.len() == 1) {
            break;
        }
        match change {
            0 => drop(numbers.remove(position)),
            1 => numbers.insert(position, number),
            2 => numbers[position] = number,
            3 => numbers[position] = numbers[position].wrapping_add(number % 4),
            4 => numbers[position] = numbers[position].wrapping_sub(number % 4),
            5 => numbers.swap(position, other),
            _ => numbers[position] = numbers[other],
        }
    }
    bytes_of(*signature, &numbers)
}

/// Returns the bytes of a signature and numbers, with a valid checksum.
pub(crate) fn bytes_of(signature: [u8; 8], numbers: &[u64]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(signature, 0).unwrap();
    for &number in numbers {
        writer.put(number);
    }
    writer.finish()
}

/// Returns whether the bytes are accepted, but rejected if they are cut off, longer, or changed in any bit.
pub(crate) fn damage_is_refused(bytes: &[u8], is_accepted: impl Fn(&[u8]) -> bool) -> bool {
    let cut = (0..bytes.len()).all(|end| !is_accepted(&bytes[..end]));
    let flipped = (0..8 * bytes.len()).all(|bit| {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        !is_accepted(&damaged)
    });
    let longer = [bytes, &[0]].concat();
    is_accepted(bytes) && cut && flipped && !is_accepted(&longer)
}
