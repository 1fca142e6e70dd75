//! Stores one tree as a list of bitwise operations on masks.

use super::bits::Mask;

/// Bytes of a mask.
const STRIDE: usize = size_of::<Mask>();

/// A split on a path through the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Index of the mask of the rows that leave the path here.
    pub mask: usize,
    /// Bits of the class that change for the leaving rows.
    pub delta: u8,
}

/// A path from the root, or from a split of another path, down to a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Slot of the rows that enter the path: 0 for the root, and `i + 1` for the rows that left a path at split `i`. Splits are
    /// numbered in the order of the paths.
    pub start: usize,
    /// Splits on the path, in order.
    pub splits: Vec<Split>,
}

/// The splits of a tree as paths, each after the path from which it branches off.
///
/// Every split is evaluated once, on the rows that reach it. The rows that leave the path there are stored in a slot, from which
/// another path may start. Rows begin in class `base`, the class of the leaf at the end of the first path. When a row leaves a
/// path, its class changes to that of the leaf where it arrives, or of the leaf at the end of the path that starts there. So the
/// class of every row is final after the last split.
#[derive(Debug, Clone)]
pub struct TreeLogic {
    /// For each path, the offset of its first slot in bytes, and its number of splits.
    paths: Vec<[u32; 2]>,
    /// For each split, the offset of its mask in bytes. Then for each plane, all ones if this bit of the class changes, else zero.
    ops: Vec<i32>,
    n_planes: usize,
    base: u8,
    n_masks: usize,
    n_slots: usize,
}

impl TreeLogic {
    /// Builds the operations of a tree with `n_classes` classes (1 to 256) over masks below `n_masks`.
    ///
    /// # Panics
    /// When a slot or a mask is out of range, or offsets do not fit in 31 bits.
    #[must_use]
    pub fn new(paths: &[Path], base: u8, n_classes: usize, n_masks: usize) -> Self {
        let n_planes = (usize::BITS - n_classes.saturating_sub(1).leading_zeros()) as usize;
        assert!(n_planes <= 8, "{n_classes} classes");
        // The kernels read and write unchecked, so everything that they rely on is asserted here.
        let mut n_splits = 0;
        let mut ops = Vec::new();
        for path in paths {
            assert!(path.start <= n_splits, "a path before its start");
            n_splits += path.splits.len();
            for split in &path.splits {
                assert!(split.mask < n_masks, "mask {} of {n_masks}", split.mask);
                ops.push((split.mask * STRIDE) as i32);
                ops.extend((0..n_planes).map(|plane| -i32::from(split.delta >> plane & 1)));
            }
        }
        assert!(n_masks.max(n_splits + 1) <= i32::MAX as usize / STRIDE, "too large");
        Self {
            paths: paths
                .iter()
                .map(|path| [(path.start * STRIDE) as u32, path.splits.len() as u32])
                .collect(),
            ops,
            n_planes,
            base,
            n_masks,
            n_slots: n_splits + 1,
        }
    }

    /// Returns the number of bits of a class.
    #[must_use]
    pub fn n_planes(&self) -> usize {
        self.n_planes
    }

    /// Returns the number of slots that [`super::Kernel::evaluate`] needs.
    #[must_use]
    pub fn n_slots(&self) -> usize {
        self.n_slots
    }

    /// Returns the number of masks that [`super::Kernel::evaluate`] may read.
    #[must_use]
    pub fn n_masks(&self) -> usize {
        self.n_masks
    }

    pub(super) fn paths(&self) -> &[[u32; 2]] {
        &self.paths
    }

    pub(super) fn ops(&self) -> &[i32] {
        &self.ops
    }

    pub(super) fn base(&self) -> u8 {
        self.base
    }
}
