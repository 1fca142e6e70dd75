//! Compiles a forest into a plan that scores blocks of 512 rows: sorted thresholds per column, and trees as logic on bit masks.
//!
//! The idea comes from QuickScorer (Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of
//! regression trees", SIGIR 2015): no row walks down a tree. Instead, each value is compared with the sorted thresholds of its
//! column once for all trees, and bitwise operations then find the leaf that the row reaches. QuickScorer keeps one bit per leaf of
//! a tree. Each split whose test is false for the row clears the bits of the leaves in its left branch, and the first bit that is
//! still set is the row's leaf. The vectorised version (Lucchese et al., "Exploiting CPU SIMD extensions to speed-up document
//! scoring with tree ensembles", SIGIR 2016) scores a few rows at once in this way.
//!
//! This module transposes the bits: a mask has one bit per row of a block of 512, and a tree is evaluated for the whole block at
//! once. The splits of a tree are divided into paths. A path is a chain of splits from some node down to a leaf, and its end is
//! that leaf.
//!
//! ```text
//! compile (this module):
//!     for each group of consecutive trees:
//!         for each tree:
//!             merge sibling leaves of equal value into one leaf      # merge_equal_leaves
//!             mark the branches that the plan leaves out             # mark_exits
//!             divide the splits into paths                           # choose_paths
//!             class of a leaf = index of its value among the distinct values of the tree
//!         thresholds[column] = sort(distinct(thresholds of all splits on the column))
//!
//! score a block of rows (`super::block`, with the kernel's functions of `crate::simd`):
//!     for each group:
//!         for each column of the group:
//!             rank = number of thresholds below each row's value     # quantise; bit b of all ranks is one bit plane
//!             mask[t] = rows whose rank is above the index of t      # thermometer; the rows that go right at t
//!         for each tree of the group:
//!             class = class of the end of the first path             # the same for all rows
//!             slots = [all rows]
//!             for path in paths:                                     # evaluate; three operations per split, and the class
//!                 reach = slots[path.start]                          # the rows that enter the path
//!                 for split in path:
//!                     leaving = reach & split.mask
//!                     reach ^= leaving
//!                     append(slots, leaving)                         # another path may start with these rows
//!                     class ^= leaving & (class of this path's end ^ class of the end that `leaving` goes towards)
//!             sum += values[class]                                   # classes, add
//! ```
//!
//! It differs from QuickScorer in four ways:
//!
//! 1. **Paths.** At each split a path continues to the child with more splits below it. The rows that stay on the path remain in a
//!    register, and only the rows that leave it are stored. A split's mask holds the rows that leave the path, so it is inverted if
//!    the path continues to the right.
//! 2. **Classes.** Leaves of equal value share a class, and isolation trees have few distinct path lengths, so a tree needs 4 or
//!    5 bits per row, whatever its number of leaves. A row has the class of its current path's end. When it leaves the path, an
//!    exclusive or replaces this class by that of the end towards which it goes now. So the class is final after the last split.
//! 3. **Thermometer masks.** Three operations on the bit planes of the ranks make the mask of a threshold, instead of a comparison
//!    per split.
//! 4. **Exits.** A plan leaves out splits whose threshold is NaN, rare branches of large trees (a block takes as long for these as
//!    for common ones), and leaves of rare values if a tree has more than 255 distinct ones. The start of such a branch is an exit:
//!    the rows that reach it are walked from there, node by node.
//!
//! A group ends before the tree with which a column would have more than 255 thresholds, or with which the masks would no longer
//! fit in the second-level cache.

mod needs;

use std::collections::{BTreeMap, VecDeque};

use crate::error::Result;
use crate::forest::{Forest, Node, depths, path_length::leaf_value, round_down};
use crate::memory::{self, Account};
use crate::simd::{self, ClassValues, Path, Search, Split, TreeLogic};
use crate::threads::Workers;

/// Maximum number of thresholds of a column in a group: ranks have 8 bits.
const MAX_GROUP_THRESHOLDS: usize = 255;
/// Maximum number of masks of a group: 384 KiB.
const MAX_MASKS: usize = 6 * 1024;
/// Maximum number of splits that a plan evaluates in one tree; the rarest of the others are exits.
const MAX_SPLITS: usize = 4 * 1024;
/// In a tree with more splits than this, rare branches are exits, because evaluating a split for a block takes as long as walking a
/// few rows.
const MIN_SPLITS_FOR_RARE_EXITS: usize = 160;
/// A branch is rare if fewer than one in so many training rows reached it.
const RARE_BRANCH_RATIO: u32 = 700;

/// Marks a column that no tree of the group uses.
const NO_INDEX: u32 = u32::MAX;

/// The test of a split: its threshold, and which rows its mask holds. Tests are ordered by threshold first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SplitTest {
    /// Bits of the threshold as an integer that has the order of the f32; both zeros are equal.
    ordered_bits: i32,
    missing_above: bool,
    inverted: bool,
}

impl SplitTest {
    /// Makes the test of a split, given whether its path continues to the right.
    fn new(node: &Node, onward_right: bool) -> Self {
        let bits = (round_down(node.threshold) + 0.0).to_bits() as i32;
        Self {
            ordered_bits: bits ^ (((bits >> 31) as u32) >> 1) as i32,
            missing_above: !node.missing_go_to_left,
            inverted: onward_right,
        }
    }

    fn value(self) -> f32 {
        f32::from_bits((self.ordered_bits ^ (((self.ordered_bits >> 31) as u32) >> 1) as i32) as u32)
    }
}

/// A branch that the plan leaves out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exit {
    /// Slot of the rows that reach the branch.
    pub(super) slot: usize,
    /// Node from which these rows are walked.
    pub(super) node: u32,
}

/// One tree of a plan.
#[derive(Debug)]
pub(super) struct PlannedTree {
    pub(super) logic: TreeLogic,
    pub(super) exits: Vec<Exit>,
}

/// Consecutive trees. A block of rows is compared with the thresholds of a whole group at once.
#[derive(Debug)]
pub(super) struct Group {
    /// Columns that at least one of the trees uses, ascending.
    pub(super) columns: Vec<u32>,
    /// Index in `columns` of each column of the input, or [`NO_INDEX`].
    positions: Vec<u32>,
    /// Sorted thresholds of each column.
    pub(super) searches: Vec<Search>,
    /// Index of the first mask of each column.
    pub(super) first_masks: Vec<usize>,
    pub(super) trees: Vec<PlannedTree>,
    /// Value of each class of each tree.
    pub(super) values: Vec<ClassValues>,
    /// Index of the first tree.
    pub(super) first_tree: usize,
    /// Whether any tree has exits.
    pub(super) has_exits: bool,
}

/// All groups of a forest.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) groups: Vec<Group>,
    pub(super) max_columns: usize,
    pub(super) max_masks: usize,
    pub(super) max_slots: usize,
}

impl Plan {
    pub(super) fn new(forest: &Forest, average_path_lengths: &[f64], workers: Workers<'_>) -> Result<Self> {
        memory::check_available(&[(needs::of_plan(forest.nodes().len(), forest.n_trees()), 1)])?;
        let mut account = Account::new();
        let mut groups = Vec::new();
        let mut group = GroupBuilder::default();
        for tree in 0..forest.n_trees() {
            workers.check_cancelled()?;
            account.take(needs::of_tree(forest.tree(tree).len()))?;
            let layout = TreeLayout::new(forest.tree(tree), forest.tree_features(tree), average_path_lengths);
            if !group.has_room_for(&layout) {
                groups.push(std::mem::take(&mut group).finish(forest.n_features(), &mut account)?);
                group.first_tree = tree;
            }
            group.push(layout);
        }
        groups.push(group.finish(forest.n_features(), &mut account)?);
        let slots = groups.iter().flat_map(|group| &group.trees);
        Ok(Self {
            max_columns: groups.iter().map(|group| group.columns.len()).max().unwrap_or(0),
            max_masks: groups.iter().map(Group::n_masks).max().unwrap_or(0),
            max_slots: slots.map(|tree| tree.logic.n_slots()).max().unwrap_or(1),
            groups,
        })
    }
}

impl Group {
    fn n_masks(&self) -> usize {
        self.searches.iter().map(Search::n_masks).sum()
    }

    /// Returns the index in `columns` of a column of the input, if it is used.
    pub(super) fn index_of(&self, column: usize) -> Option<usize> {
        let position = self.positions[column];
        (position != NO_INDEX).then_some(position as usize)
    }

    /// Returns the index in `columns` of a column that is used; 0 for any other.
    pub(super) fn index_or_first(&self, column: u32) -> usize {
        self.index_of(column as usize).unwrap_or(0)
    }
}

/// The role of a node in a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    Split,
    /// A leaf, or a branch whose leaves all have the same value: the path length that the leaf adds.
    Leaf(f64),
    Exit,
}

/// The paths and thresholds of a tree, before its group is known.
struct TreeLayout<'a> {
    nodes: &'a [Node],
    features: &'a [u32],
    roles: Vec<Role>,
    /// Whether the path through each split continues to the right.
    onward_right: Vec<bool>,
    /// Distinct tests per column.
    thresholds: BTreeMap<u32, Vec<SplitTest>>,
}

impl<'a> TreeLayout<'a> {
    fn new(nodes: &'a [Node], features: &'a [u32], average_path_lengths: &[f64]) -> Self {
        let mut roles = merge_equal_leaves(nodes, average_path_lengths);
        mark_exits(nodes, &mut roles);
        let mut layout = Self {
            nodes,
            features,
            roles,
            onward_right: vec![false; nodes.len()],
            thresholds: BTreeMap::new(),
        };
        layout.choose_paths();
        while layout
            .thresholds
            .values()
            .any(|column| column.len() > MAX_GROUP_THRESHOLDS)
        {
            // The rarer half of the splits becomes exits, until the thresholds of the others fit.
            let mut sizes: Vec<u32> = layout.splits().iter().map(|&i| nodes[i].n_node_samples).collect();
            sizes.sort_unstable();
            let bound = sizes[sizes.len() / 2];
            for (role, node) in layout.roles.iter_mut().zip(nodes) {
                if *role == Role::Split && node.n_node_samples <= bound {
                    *role = Role::Exit;
                }
            }
            layout.choose_paths();
        }
        layout
    }

    /// Returns the splits that a row can reach without taking an exit.
    fn splits(&self) -> Vec<usize> {
        let mut splits = Vec::new();
        let mut waiting = vec![0];
        while let Some(node) = waiting.pop() {
            if self.roles[node] == Role::Split {
                splits.push(node);
                waiting.extend([node + 1, self.nodes[node].right as usize]);
            }
        }
        splits
    }

    fn column(&self, node: usize) -> u32 {
        self.features[self.nodes[node].feature as usize]
    }

    fn threshold(&self, node: usize) -> SplitTest {
        SplitTest::new(&self.nodes[node], self.onward_right[node])
    }

    /// Returns the node where a path continues after a split, and the node where leaving rows arrive.
    fn onward(&self, node: usize) -> (usize, usize) {
        let (left, right) = (node + 1, self.nodes[node].right as usize);
        if self.onward_right[node] {
            (right, left)
        } else {
            (left, right)
        }
    }

    /// Chooses the paths, and collects the tests.
    fn choose_paths(&mut self) {
        // Counts the splits below each node; children have higher indices than their parents.
        let mut n_splits = vec![0_usize; self.nodes.len()];
        for node in (0..self.nodes.len()).rev() {
            if self.roles[node] != Role::Split {
                continue;
            }
            let (left, right) = (node + 1, self.nodes[node].right as usize);
            if self.roles[left] == Role::Exit && self.roles[right] == Role::Exit {
                self.roles[node] = Role::Exit;
                continue;
            }
            n_splits[node] = 1 + n_splits[left] + n_splits[right];
            // The path continues to the side with more splits. If neither side has any, it ends in a leaf rather than in an exit,
            // because no slot holds the rows at the end of a path.
            let weight = |child: usize| (n_splits[child], self.roles[child] != Role::Exit);
            self.onward_right[node] = weight(right) > weight(left);
        }
        let mut thresholds: BTreeMap<u32, Vec<SplitTest>> = BTreeMap::new();
        for node in self.splits() {
            thresholds
                .entry(self.column(node))
                .or_default()
                .push(self.threshold(node));
        }
        for column in thresholds.values_mut() {
            column.sort_unstable();
            column.dedup();
        }
        self.thresholds = thresholds;
    }

    /// Returns the columns that the walk reads below an exit.
    fn columns_below_exits(&self) -> Vec<u32> {
        let mut below_exit = vec![false; self.nodes.len()];
        let mut columns = Vec::new();
        for (i, node) in self.nodes.iter().enumerate() {
            below_exit[i] |= self.roles[i] == Role::Exit;
            if below_exit[i] && !node.is_leaf() {
                columns.push(self.column(i));
                below_exit[i + 1] = true;
                below_exit[node.right as usize] = true;
            }
        }
        columns
    }
}

/// Returns the role of each node, without exits yet; sibling leaves of equal value are merged into one leaf.
fn merge_equal_leaves(nodes: &[Node], average_path_lengths: &[f64]) -> Vec<Role> {
    let mut roles = vec![Role::Split; nodes.len()];
    let depths = depths(nodes);
    // Children have higher indices than their parents.
    for (i, node) in nodes.iter().enumerate().rev() {
        if node.is_leaf() {
            roles[i] = Role::Leaf(leaf_value(
                depths[i],
                average_path_lengths[node.n_node_samples as usize],
            ));
        } else if let (Role::Leaf(left), Role::Leaf(right)) = (roles[i + 1], roles[node.right as usize])
            && left.to_bits() == right.to_bits()
        {
            roles[i] = Role::Leaf(left);
        }
    }
    roles
}

/// Marks the branches that the plan leaves out as exits.
fn mark_exits(nodes: &[Node], roles: &mut [Role]) {
    let mut sizes: Vec<u32> = (0..nodes.len())
        .filter(|&i| roles[i] == Role::Split)
        .map(|i| nodes[i].n_node_samples)
        .collect();
    let mut bound = 0;
    if sizes.len() > MIN_SPLITS_FOR_RARE_EXITS {
        bound = nodes[0].n_node_samples / RARE_BRANCH_RATIO;
    }
    if sizes.len() > MAX_SPLITS {
        sizes.sort_unstable();
        bound = bound.max(sizes[sizes.len() - MAX_SPLITS] + 1);
    }
    for (role, node) in roles.iter_mut().zip(nodes) {
        if *role == Role::Split && (node.threshold.is_nan() || node.n_node_samples < bound) {
            *role = Role::Exit;
        }
    }
    // The 255 values with the most training rows stay. Together with the class of the exits there are 256 classes.
    let leaves = roles.iter().zip(nodes).filter_map(|(role, node)| match role {
        Role::Leaf(value) => Some((value.to_bits(), u64::from(node.n_node_samples))),
        Role::Split | Role::Exit => None,
    });
    let mut leaves: Vec<(u64, u64)> = leaves.collect();
    if leaves.len() > 255 {
        leaves.sort_unstable();
        let classes = leaves.chunk_by(|a, b| a.0 == b.0);
        let mut counts: Vec<(u64, u64)> = classes
            .map(|leaves| (leaves.iter().map(|leaf| leaf.1).sum(), leaves[0].0))
            .collect();
        if counts.len() <= 255 {
            return;
        }
        counts.sort_unstable();
        let n_rare = counts.len() - 255;
        let mut rare: Vec<u64> = counts[..n_rare].iter().map(|&(_, value)| value).collect();
        rare.sort_unstable();
        for role in roles {
            if let Role::Leaf(value) = *role
                && rare.binary_search(&value.to_bits()).is_ok()
            {
                *role = Role::Exit;
            }
        }
    }
}

/// A group to which trees are still being added.
#[derive(Default)]
struct GroupBuilder<'a> {
    first_tree: usize,
    layouts: Vec<TreeLayout<'a>>,
    thresholds: BTreeMap<u32, Vec<SplitTest>>,
}

impl<'a> GroupBuilder<'a> {
    /// Returns whether another tree fits; the first tree always fits.
    fn has_room_for(&self, layout: &TreeLayout<'_>) -> bool {
        if self.layouts.is_empty() {
            return true;
        }
        let len = |column: &u32| self.thresholds.get(column).map_or(0, Vec::len);
        let total: usize = self.thresholds.values().map(|tests| simd::n_masks(tests.len())).sum();
        let n_new = |(column, new): (&u32, &Vec<SplitTest>)| {
            simd::n_masks(len(column) + new.len()) - simd::n_masks(len(column))
        };
        let n_new: usize = layout.thresholds.iter().map(n_new).sum();
        let fits = |(column, new): (&u32, &Vec<SplitTest>)| len(column) + new.len() <= MAX_GROUP_THRESHOLDS;
        total + n_new <= MAX_MASKS && layout.thresholds.iter().all(fits)
    }

    fn push(&mut self, layout: TreeLayout<'a>) {
        for (&column, new) in &layout.thresholds {
            let all = self.thresholds.entry(column).or_default();
            all.extend(new);
            // The stable sort merges two sorted runs in linear time.
            all.sort();
            all.dedup();
        }
        self.layouts.push(layout);
    }

    fn finish(mut self, n_features: usize, account: &mut Account) -> Result<Group> {
        let has_exits = self.layouts.iter().any(|layout| layout.roles.contains(&Role::Exit));
        for column in self.layouts.iter().flat_map(TreeLayout::columns_below_exits) {
            self.thresholds.entry(column).or_default();
        }
        account.take(needs::of_group(n_features, self.thresholds.values().map(Vec::len)))?;
        let mut searches = Vec::with_capacity(self.thresholds.len());
        let mut first_masks = Vec::with_capacity(self.thresholds.len());
        let mut n_masks = 0;
        for thresholds in self.thresholds.values() {
            let entries: Vec<simd::Threshold> = thresholds
                .iter()
                .map(|t| simd::Threshold {
                    value: t.value(),
                    missing_above: t.missing_above,
                    inverted: t.inverted,
                })
                .collect();
            let search = Search::new(&entries);
            first_masks.push(n_masks);
            n_masks += search.n_masks();
            searches.push(search);
        }
        let columns: Vec<u32> = self.thresholds.keys().copied().collect();
        let mut positions = vec![NO_INDEX; n_features];
        for (position, &column) in columns.iter().enumerate() {
            positions[column as usize] = position as u32;
        }
        let mask = |column: u32, threshold: SplitTest| {
            first_masks[positions[column as usize] as usize]
                + self.thresholds[&column].binary_search(&threshold).unwrap_or_default()
        };
        let (trees, values) = self
            .layouts
            .iter()
            .map(|layout| plan_tree(layout, &mask, n_masks))
            .unzip();
        Ok(Group {
            searches,
            trees,
            values,
            first_tree: self.first_tree,
            has_exits,
            first_masks,
            positions,
            columns,
        })
    }
}

/// Compiles one tree of a group; `mask` returns the index of the mask of a column and a test.
fn plan_tree(
    layout: &TreeLayout<'_>,
    mask: &impl Fn(u32, SplitTest) -> usize,
    n_masks: usize,
) -> (PlannedTree, ClassValues) {
    let roles = &layout.roles;
    let mut sources = Vec::new();
    let mut exits = Vec::new();
    let mut n_splits = 0;
    let mut waiting = VecDeque::from([(0, 0)]);
    if roles[0] == Role::Exit {
        exits.push(Exit { slot: 0, node: 0 });
    }
    while let Some((start, mut node)) = waiting.pop_front() {
        let mut path = Vec::new();
        while roles[node] == Role::Split {
            let (onward, off) = layout.onward(node);
            n_splits += 1;
            match roles[off] {
                Role::Split => waiting.push_back((n_splits, off)),
                Role::Exit => exits.push(Exit {
                    slot: n_splits,
                    node: off as u32,
                }),
                Role::Leaf(_) => {}
            }
            path.push((node, off));
            node = onward;
        }
        sources.push((start, path, node));
    }
    // Finds the node at the end of the path that begins at each node.
    let mut ends: Vec<usize> = (0..roles.len()).collect();
    for node in (0..roles.len()).rev() {
        if roles[node] == Role::Split {
            ends[node] = ends[layout.onward(node).0];
        }
    }
    let arrivals = sources
        .iter()
        .flat_map(|(_, path, end)| path.iter().map(|&(_, off)| off).chain([*end]));
    let mut values: Vec<f64> = arrivals.map(|node| arrival_value(roles[ends[node]])).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.dedup_by_key(|value| value.to_bits());
    let class = |node: usize| {
        let value = arrival_value(roles[ends[node]]);
        values.binary_search_by(|v| v.total_cmp(&value)).unwrap_or_default() as u8
    };
    let paths = sources
        .into_iter()
        .filter(|(_, path, _)| !path.is_empty())
        .map(|(start, path, end)| {
            let split = |(node, off): (usize, usize)| Split {
                mask: mask(layout.column(node), layout.threshold(node)),
                delta: class(off) ^ class(end),
            };
            Path {
                start,
                splits: path.into_iter().map(split).collect(),
            }
        });
    let paths: Vec<Path> = paths.collect();
    let logic = TreeLogic::new(&paths, class(0), values.len(), n_masks);
    (PlannedTree { logic, exits }, ClassValues::new(&values))
}

/// Returns the value of a node where a row arrives: 0 at an exit, since the walk adds the path length there.
fn arrival_value(role: Role) -> f64 {
    match role {
        Role::Leaf(value) => value,
        Role::Split | Role::Exit => 0.0,
    }
}

#[cfg(test)]
mod tests;
