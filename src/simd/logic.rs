//! Bitwise steps of scoring, written once for registers of any width: bit planes of ranks become masks, and masks become classes.
//!
//! Every function is generic over the register type [`Bits`]. It is inlined into functions that enable the type's instructions. In
//! this module a part is the piece of a mask that fits in one register, named by the index of its first 64-bit word.

use super::bits::{BLOCK_ROWS, Bits, Mask, WORDS};
use super::search::{GROUP, Search};
use super::tree::TreeLogic;
use super::{MAX_PLANES, Planes};

/// Writes the mask of each threshold: the rows whose rank is above the index of the threshold, which are the rows whose value is
/// above the threshold. The mask of an inverted threshold holds all other rows.
///
/// ```text
/// rank = 8 * high + low                             low: planes 0 to 2, high: the other planes
/// rank > 8 * group + s  =  high > group  or  high == group and low > s
/// ```
///
/// The eight masks of `low > s` are made once for all groups of eight thresholds. Each group combines them with its two masks
/// `high > group` and `high == group`.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn thermometer<V: Bits, const MISSING: bool>(
    search: &Search,
    planes: &Planes,
    rows: usize,
    masks: &mut [Mask],
) {
    assert!(masks.len() >= search.n_masks());
    if search.is_unary() {
        // SAFETY: the caller vouches for the processor.
        return unsafe { unary::<V, MISSING>(search, planes, rows, masks) };
    }
    let depth = search.depth();
    let (missing, inverted) = (search.missing(), search.inverted());
    for part in parts::<V>(rows) {
        // SAFETY: `part` is a multiple of the register's words below WORDS, so every access lies within one aligned mask.
        unsafe {
            let zero = V::splat(0);
            let bit = |b: usize| {
                if b < depth {
                    V::load(planes.bits[b].0.as_ptr().add(part))
                } else {
                    zero
                }
            };
            let (b0, b1, b2) = (bit(0), bit(1), bit(2));
            // The mask low[s] holds the rows whose three low bits are above s.
            let (b1_or_b0, b1_and_b0) = (b1.or(b0), b1.and(b0));
            let low = [
                b2.or(b1_or_b0),
                b2.or(b1),
                b2.or(b1_and_b0),
                b2,
                b2.and(b1_or_b0),
                b2.and(b1),
                b2.and(b1_and_b0),
                zero,
            ];
            let nan = if MISSING {
                V::load(planes.missing.0.as_ptr().add(part))
            } else {
                zero
            };
            for (group, out) in masks[..search.n_masks()].chunks_exact_mut(GROUP).enumerate() {
                let (mut equal, mut above) = (V::splat(u64::MAX), zero);
                for b in (3..depth).rev() {
                    let bit = V::load(planes.bits[b].0.as_ptr().add(part));
                    if group >> (b - 3) & 1 == 1 {
                        equal = equal.and(bit);
                    } else {
                        above = above.or_and(equal, bit);
                        equal = equal.and_not(bit);
                    }
                }
                for (s, out) in out.iter_mut().enumerate() {
                    let mut mask = above.or_and(equal, low[s]);
                    if MISSING {
                        mask = mask.or_and(nan, V::splat_i32(&raw const missing[group * GROUP + s]));
                    }
                    mask = mask.xor(V::splat_i32(&raw const inverted[group * GROUP + s]));
                    mask.store(out.0.as_mut_ptr().add(part));
                }
            }
        }
    }
}

/// Writes the mask of each threshold, given the rows that are above each of them.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn unary<V: Bits, const MISSING: bool>(search: &Search, planes: &Planes, rows: usize, masks: &mut [Mask]) {
    let flags = search.missing().iter().zip(search.inverted());
    for (((missing, inverted), above), out) in flags.zip(&planes.bits).zip(masks) {
        for part in parts::<V>(rows) {
            // SAFETY: `part` is a multiple of the register's words below WORDS, so every access lies within one aligned mask.
            unsafe {
                let mut mask = V::load(above.0.as_ptr().add(part));
                if MISSING {
                    let nan = V::load(planes.missing.0.as_ptr().add(part));
                    mask = mask.or_and(nan, V::splat_i32(missing));
                }
                mask.xor(V::splat_i32(inverted)).store(out.0.as_mut_ptr().add(part));
            }
        }
    }
}

/// Evaluates all splits of a tree for all rows, and writes the classes of the rows as bit planes. Slot 0 must hold the rows to
/// evaluate. `score::plan` has the pseudo-code.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn evaluate<V: Bits>(
    tree: &TreeLogic,
    masks: &[Mask],
    slots: &mut [Mask],
    rows: usize,
    planes: &mut [Mask; MAX_PLANES],
) {
    // SAFETY: the caller vouches for the processor.
    unsafe {
        match tree.n_planes() {
            0 => evaluate_planes::<V, 0>(tree, masks, slots, rows, planes),
            1 => evaluate_planes::<V, 1>(tree, masks, slots, rows, planes),
            2 => evaluate_planes::<V, 2>(tree, masks, slots, rows, planes),
            3 => evaluate_planes::<V, 3>(tree, masks, slots, rows, planes),
            4 => evaluate_planes::<V, 4>(tree, masks, slots, rows, planes),
            5 => evaluate_planes::<V, 5>(tree, masks, slots, rows, planes),
            6 => evaluate_planes::<V, 6>(tree, masks, slots, rows, planes),
            7 => evaluate_planes::<V, 7>(tree, masks, slots, rows, planes),
            _ => evaluate_planes::<V, 8>(tree, masks, slots, rows, planes),
        }
    }
}

/// Evaluates a tree whose classes have `N` bits.
///
/// # Safety
/// The processor has the instructions of `V`; `N` is the tree's number of planes.
#[inline(always)]
unsafe fn evaluate_planes<V: Bits, const N: usize>(
    tree: &TreeLogic,
    masks: &[Mask],
    slots: &mut [Mask],
    rows: usize,
    planes: &mut [Mask; MAX_PLANES],
) {
    assert!(masks.len() >= tree.n_masks() && slots.len() >= tree.n_slots() && tree.n_planes() == N);
    for part in parts::<V>(rows) {
        // SAFETY: the tree's constructor checked that starts and masks are in range, that there is a slot for each split and one
        // for the root, and an op of `1 + N` words for each split. `part` keeps every access within one aligned mask.
        unsafe {
            let masks = masks.as_ptr().cast::<u64>().add(part).cast::<u8>();
            let slots = slots.as_mut_ptr().cast::<u64>().add(part).cast::<u8>();
            let mut class: [V; N] =
                std::array::from_fn(|b| V::splat(0_u64.wrapping_sub(u64::from(tree.base() >> b & 1))));
            let mut op = tree.ops().as_ptr();
            let mut slot = slots;
            for &[start, len] in tree.paths() {
                let mut reach = V::load(slots.add(start as usize).cast());
                for _ in 0..len {
                    let leaving = reach.and(V::load(masks.add(*op as usize).cast()));
                    reach = reach.xor(leaving);
                    slot = slot.add(size_of::<Mask>());
                    leaving.store(slot.cast());
                    for (b, class) in class.iter_mut().enumerate() {
                        *class = class.xor_and(leaving, V::splat_i32(op.add(1 + b)));
                    }
                    op = op.add(1 + N);
                }
            }
            for (class, plane) in class.into_iter().zip(planes.iter_mut()) {
                class.store(plane.0.as_mut_ptr().add(part));
            }
        }
    }
}

/// Returns the first words of the parts that hold `rows` rows.
#[inline(always)]
fn parts<V: Bits>(rows: usize) -> impl Iterator<Item = usize> {
    debug_assert!(rows <= BLOCK_ROWS);
    (0..rows.div_ceil(64).min(WORDS)).step_by(V::WORDS)
}
