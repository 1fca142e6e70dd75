//! One tree as a list of logical operations on masks.

use super::bits::Mask;

/// Bytes of a mask.
const STRIDE: usize = size_of::<Mask>();

/// A split as it is met on a path through the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Mask of the rows that leave the path here.
    pub mask: usize,
    /// Bits of the class that change for them.
    pub delta: u8,
}

/// A path from the root, or from where another path was left, down to a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Slot of the rows that enter it: 0 for the root's, `i + 1` for those that left at split `i` of all before.
    pub start: usize,
    /// The splits passed.
    pub splits: Vec<Split>,
}

/// The splits of a tree as paths, each after that from which it branches off.
///
/// Every split is passed once, with the rows that reach it; those that leave the path are kept in a slot, from where
/// another path may start. Rows begin in class `base`, that of the leaf at the end of the first path; where they leave a
/// path, the class changes to that of the leaf at the end of the next one, or of the leaf they have arrived at. So the class
/// of a row is known when all splits have been passed, whichever way it took.
#[derive(Debug, Clone)]
pub struct TreeLogic {
    /// Start (in bytes) and number of splits of each path.
    paths: Vec<[u32; 2]>,
    /// Per split the mask (in bytes), then per plane all ones if the bit of the class changes, else zero.
    ops: Vec<i32>,
    n_planes: usize,
    base: u8,
    n_masks: usize,
    n_slots: usize,
}

impl TreeLogic {
    /// A tree of `n_classes` classes (1 to 256) over masks below `n_masks`.
    ///
    /// # Panics
    /// When a slot or a mask is out of range, or offsets do not fit in 31 bits.
    #[must_use]
    pub fn new(paths: &[Path], base: u8, n_classes: usize, n_masks: usize) -> Self {
        let n_planes = (usize::BITS - n_classes.saturating_sub(1).leading_zeros()) as usize;
        assert!(n_planes <= 8, "{n_classes} classes");
        // The kernels read and write unchecked: all that they rely on is asserted here.
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

    /// Bits of a class.
    #[must_use]
    pub fn n_planes(&self) -> usize {
        self.n_planes
    }

    /// Slots that [`super::Kernel::evaluate`] needs.
    #[must_use]
    pub fn n_slots(&self) -> usize {
        self.n_slots
    }

    /// Masks that [`super::Kernel::evaluate`] may read.
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
