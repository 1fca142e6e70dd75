//! Tests the groups and exits of plans, which the tests of scores cannot see.

use super::*;
use crate::forest::{self, NodeNoise, path_length};
use proptest::prelude::*;

proptest! {
    #[test]
    fn split_tests_have_the_order_of_their_thresholds(a: f64, b: f64, left: bool) {
        prop_assume!(!a.is_nan() && !b.is_nan());
        let threshold = |threshold| SplitTest::new(&Node { threshold, missing_go_to_left: left, ..Node::leaf(1) }, left);
        let (x, y) = (threshold(a), threshold(b));
        prop_assert_eq!(x.value().partial_cmp(&y.value()), Some(x.cmp(&y)));
        prop_assert_eq!(x.value(), round_down(a));
    }
}

/// Makes a balanced tree. `node(i)` returns the threshold, the feature and the number of training rows of the `i`-th node; a split
/// uses the first two, and a leaf the last one.
fn tree(n_splits: usize, d: usize, node: impl Fn(usize) -> (f64, u32, u32)) -> forest::Tree {
    let mut nodes: Vec<Node> = Vec::new();
    let mut waiting = vec![(n_splits, None)];
    while let Some((n_splits, parent)) = waiting.pop() {
        let at = nodes.len();
        if let Some(parent) = parent {
            let parent: &mut Node = &mut nodes[parent];
            parent.right = at as u32;
        }
        let (threshold, feature, n_node_samples) = node(at);
        let mut node = Node::leaf(n_node_samples);
        if n_splits > 0 {
            (node.threshold, node.feature) = (threshold, feature);
            let left = (n_splits - 1) / 2;
            waiting.push((n_splits - 1 - left, Some(at)));
            waiting.push((left, None));
        }
        nodes.push(node);
    }
    for at in (0..nodes.len()).rev() {
        if !nodes[at].is_leaf() {
            nodes[at].n_node_samples = nodes[at + 1].n_node_samples + nodes[nodes[at].right as usize].n_node_samples;
        }
    }
    let noise = NodeNoise {
        impurity: 0.0,
        mean: 0.0,
        weight: 1.0,
    };
    forest::Tree {
        features: (0..d as u32).collect(),
        noise: vec![noise; nodes.len()],
        nodes,
    }
}

/// Makes the plan of a forest, and checks the invariants of plans.
fn plan(d: usize, trees: Vec<forest::Tree>) -> Plan {
    let n_trees = trees.len();
    let forest = Forest::from_trees(d, None, trees).unwrap();
    let plan = Plan::new(&forest, &path_length::table(forest.largest_node()), 1.into()).unwrap();
    let mut first_tree = 0;
    for group in &plan.groups {
        assert_eq!(group.first_tree, first_tree);
        assert_eq!(group.trees.len(), group.values.len());
        first_tree += group.trees.len();
        assert!(group.searches.iter().all(|search| search.len() <= MAX_GROUP_THRESHOLDS));
        assert!(group.trees.iter().all(|tree| tree.logic.n_slots() <= MAX_SPLITS + 1));
        assert!(group.has_exits || group.trees.iter().all(|tree| tree.exits.is_empty()));
        assert!(group.columns.is_sorted_by(|a, b| a < b));
    }
    assert_eq!(first_tree, n_trees);
    plan
}

fn n_exits(plan: &Plan) -> usize {
    let trees = plan.groups.iter().flat_map(|group| &group.trees);
    trees.map(|tree| tree.exits.len()).sum()
}

#[test]
fn trees_share_a_group_up_to_the_maximum_number_of_thresholds() {
    let far = |tree_index: usize| tree(100, 1, move |i| ((tree_index * 1_000 + i) as f64, 0, i as u32));
    let groups = plan(1, (0..6).map(far).collect()).groups;
    assert_eq!(
        groups.iter().map(|group| group.trees.len()).collect::<Vec<_>>(),
        [2, 2, 2]
    );
    assert!(
        groups
            .iter()
            .all(|group| group.searches[0].len() == 200 && !group.has_exits)
    );
    // Thresholds that trees share are stored once.
    let same = || tree(100, 1, |i| (i as f64, 0, i as u32));
    let groups = plan(1, (0..6).map(|_| same()).collect()).groups;
    assert_eq!((groups.len(), groups[0].searches[0].len()), (1, 100));
}

#[test]
fn trees_share_a_group_up_to_the_maximum_number_of_masks() {
    let wide = |tree_index: usize| {
        tree(150, 100, move |i| {
            ((tree_index * 1_000 + i) as f64, (i % 100) as u32, i as u32)
        })
    };
    let groups = plan(100, (0..60).map(wide).collect()).groups;
    assert!(groups.len() > 1);
    assert!(groups.iter().all(|group| group.n_masks() <= MAX_MASKS));
}

#[test]
fn rare_branches_of_large_trees_are_exits() {
    // Most rows are in the first leaves.
    let size = |i: usize| if i < 10 { 100_000 } else { 1 + i as u32 % 2 };
    let plans = |n_splits| plan(1, vec![tree(n_splits, 1, |i| (i as f64, 0, size(i)))]);
    assert_eq!(n_exits(&plans(MIN_SPLITS_FOR_RARE_EXITS)), 0);
    assert!(n_exits(&plans(250)) > 0);
}

#[test]
fn leaves_of_rare_values_are_exits_if_there_are_too_many_values() {
    // The leaves have different sizes, so that 300 of them add different values; no branch is rare.
    let leaves = |n_splits: usize| tree(n_splits, 20, |i| (i as f64, (i % 20) as u32, 1_000 + i as u32));
    let few = plan(20, vec![leaves(150)]);
    assert!(!few.groups[0].has_exits);
    let many = plan(20, vec![leaves(299)]);
    let planned = &many.groups[0].trees[0];
    assert!(many.groups[0].has_exits && !planned.exits.is_empty());
    assert_eq!(planned.logic.n_planes(), 8);
}

#[test]
fn splits_with_a_nan_threshold_are_exits() {
    let missing = |at: usize| {
        tree(7, 2, move |i| {
            (if i == at { f64::NAN } else { i as f64 }, (i % 2) as u32, i as u32)
        })
    };
    let plans = |at| plan(2, vec![missing(at)]);
    assert_eq!(n_exits(&plans(99)), 0);
    for at in [1, 2] {
        let plan = plans(at);
        assert!(plan.groups[0].has_exits && plan.groups[0].trees[0].exits[0].node as usize == at);
    }
    // If the root is an exit, the plan has no splits, and the walk reads both columns.
    let plan = plans(0);
    let exits: Vec<_> = plan.groups[0].trees[0]
        .exits
        .iter()
        .map(|exit| (exit.slot, exit.node))
        .collect();
    assert_eq!((exits, plan.groups[0].columns.len()), (vec![(0, 0)], 2));
}

#[test]
fn splits_beyond_the_limits_of_a_column_or_a_tree_are_exits() {
    // No branch is rare with these numbers of training rows.
    let one_column = plan(1, vec![tree(400, 1, |i| (i as f64, 0, 100 + (i % 50) as u32))]);
    assert!(n_exits(&one_column) > 0);
    let large = plan(
        400,
        vec![tree(5_000, 400, |i| (i as f64, (i % 400) as u32, 1 + i as u32))],
    );
    assert!(n_exits(&large) > 0);
}

#[test]
fn sibling_leaves_of_equal_value_are_merged() {
    let even = plan(1, vec![tree(1, 1, |_| (0.0, 0, 5))]);
    assert_eq!((even.groups[0].columns.len(), even.max_slots), (0, 1));
    let uneven = plan(1, vec![tree(1, 1, |i| (0.0, 0, 5 + i as u32))]);
    assert_eq!((uneven.groups[0].columns.len(), uneven.max_slots), (1, 2));
}
