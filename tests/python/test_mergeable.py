"""Test that mergeable plans, sketches and counts give the results of the whole table, however it is divided."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import IsolationForest as SklearnForest

from isoxide import IsolationForest, rank_features
from isoxide.mergeable import RankCounts, SamplePlan, SampleRows, ScoreSketch, sample_plan
from parity import assert_same_forest, assert_same_scores, outcome, random_params, random_table

pytestmark = pytest.mark.current_versions(reason="scikit-learn 1.6 grows other forests on some tables")


def slices(r, n, n_parts):
    """Return slices that divide `n` rows into parts of random sizes, some of them empty."""
    edges = [0, *np.sort(r.integers(0, n + 1, n_parts - 1)).tolist(), n]
    return [slice(a, b) for a, b in pairwise(edges)]


def merged(r, parts):
    """Merge the parts in a random order, and serialize or pickle them between merges."""
    parts = list(parts)
    while len(parts) > 1:
        i, j = r.choice(len(parts), 2, replace=False)
        first, second = parts[i], parts[j]
        first = type(first).from_bytes(first.to_bytes()) if r.random() < 0.5 else pickle.loads(pickle.dumps(first))
        first.merge(second)
        parts = [part for k, part in enumerate(parts) if k not in (i, j)] + [first]
    return parts[0]


def states(seed):
    return [lambda: seed % 2**32, lambda: np.random.RandomState(seed % 2**32), lambda: np.random.RandomState(3)]


@pytest.mark.parametrize("trial", range(40))
def test_a_forest_grown_by_a_plan_equals_scikit_learns(seed, trial):
    r = np.random.default_rng([seed, trial])
    X = random_table(r)
    X = np.where(np.abs(X) < 2**53, X, 1.0) if X.dtype.kind == "i" else X
    params = random_params(r, *X.shape)
    state = states(seed + trial)[trial % 3]
    expected, expected_warnings = outcome(lambda: SklearnForest(random_state=state(), **params).fit(X))
    plan, warnings = outcome(lambda: sample_plan(*X.shape, random_state=state(), **params))
    assert [message for _, message in warnings] == [message for _, message in expected_warnings]
    assert [samples.dtype for samples in plan.samples] == [np.int64] * len(plan.samples)
    for samples, expected_samples in zip(plan.samples, expected.estimators_samples_, strict=True):
        assert_array_equal(samples, expected_samples)
    assert_array_equal(plan.rows, np.unique(np.concatenate(plan.samples)))
    restored = SamplePlan.from_bytes(plan.to_bytes())
    assert restored == plan == pickle.loads(pickle.dumps(plan))
    parts = []
    for part in slices(r, len(X), 4):
        parts.append(SampleRows(plan.rows, X.shape[1]))
        parts[-1].add(part.start, X[part])
    rows = merged(r, parts)
    assert rows.n_missing == 0
    with np.errstate(over="ignore"):
        assert_array_equal(rows.X, X[plan.rows].astype(np.float32))
    for each in (plan, restored):
        grown = each.grow(X[plan.rows])
        grown.offset_ = expected.offset_
        assert_same_forest(grown, expected)
        assert_same_scores(grown, expected, X)
    assert plan.grow(rows.X).to_bytes() == plan.grow(X[plan.rows]).to_bytes()


def test_a_plan_draws_the_same_rows_from_the_global_random_state_as_a_fit():
    X = np.random.default_rng(0).normal(size=(600, 3))
    np.random.seed(7)
    forest = IsolationForest(n_estimators=5).fit(X)
    np.random.seed(7)
    plan = sample_plan(600, 3, n_estimators=5)
    for samples, expected in zip(plan.samples, forest.estimators_samples_, strict=True):
        assert_array_equal(samples, expected)


@pytest.mark.parametrize("n_samples", [2**20 - 1, 2**20, 2**20 + 1, 2_500_000])
def test_a_plan_with_a_random_state_grows_the_same_trees_as_a_fit(n_samples):
    X = np.random.default_rng(1).normal(size=(n_samples, 1))
    fitted = IsolationForest(random_state=np.random.RandomState(5), n_estimators=7).fit(X)
    plan = sample_plan(n_samples, 1, random_state=np.random.RandomState(5), n_estimators=7)
    grown = plan.grow(X[plan.rows])
    for index in range(7):
        tree, expected = grown._fitted.native.tree(index), fitted._fitted.native.tree(index)
        for name in tree:
            assert_array_equal(tree[name], expected[name], err_msg=name)


@pytest.mark.slow
def test_a_plan_can_be_made_for_more_rows_than_fit_in_memory():
    plan = sample_plan(10**10, 50, random_state=0)
    assert plan.n_samples == 10**10
    assert 25_590 <= len(plan.rows) <= 25_600
    assert plan.rows.max() > 2**32
    grown = plan.grow(np.random.default_rng(0).normal(size=(len(plan.rows), 50)))
    assert len(grown.estimators_samples_) == 100


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_plan(0, 3), "n_samples must be at least 1"),
        (lambda: sample_plan(3, 0), "n_features must be at least 1"),
        (lambda: sample_plan(3, 3, n_estimators=0), "n_estimators"),
        (lambda: sample_plan(3, 3, max_features=4), "max_features must be <= n_features"),
        (lambda: SamplePlan(IsolationForest(warm_start=True), 10, 2), "warm_start=True cannot be planned"),
        (
            lambda: sample_plan(10, 2, random_state=0).grow(np.zeros((9, 2))),
            "must have the 10 drawn rows and 2 columns",
        ),
        (lambda: SampleRows([1, 1], 2), "without duplicates"),
        (lambda: SampleRows([1], 0), "n_features"),
        (lambda: SampleRows([1], 2).add(0, np.zeros((3, 1))), "must have 2 columns"),
        (lambda: SampleRows([1, 5], 2).X, "2 of 2 rows are missing, the first of them is row 1; add"),
        (lambda: SampleRows([1], 2).merge(SampleRows([2], 2)), "but its rows or columns differ"),
        (lambda: ScoreSketch(0, 0.1), "n_samples"),
        (lambda: ScoreSketch(9, 0.6), "contamination"),
        (lambda: ScoreSketch(9, "auto"), "contamination"),
        (lambda: ScoreSketch(9, 0.1, capacity=1), "capacity"),
        (lambda: ScoreSketch(9, 0.1).offset(), "0 of 9 scores have been added; add all"),
        (lambda: ScoreSketch(9, 0.1).add([0.5]), "scores must come from score_samples"),
        (lambda: ScoreSketch(9, 0.1).add([np.nan]), "scores must come from score_samples"),
        (lambda: ScoreSketch(9, 0.1).add([[-0.5]]), "one-dimensional"),
        (
            lambda: ScoreSketch(9, 0.1).merge(ScoreSketch(9, 0.2)),
            "sketch of the same table and contamination",
        ),
        (lambda: RankCounts([[1.0]]).merge(RankCounts([[2.0]])), "other rows"),
        (lambda: RankCounts([[1.0]]).add([[1.0, 2.0]]), "X has 2 columns|rows has 2 columns"),
        (lambda: RankCounts(np.array([[2**64 - 1]], dtype=np.uint64)), "integers beyond"),
        (lambda: RankCounts([[1.0]]).ranks(kind="other"), "kind can only be"),
        (lambda: RankCounts([[np.nan]]).ranks(nan_policy="raise"), "column 'x0' of rows"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_row_that_is_added_twice_is_refused():
    rows = SampleRows([1, 5], 2)
    rows.add(0, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="row 1 was added twice"):
        rows.add(1, np.zeros((3, 2)))
    other = SampleRows([1, 5], 2)
    other.add(0, np.zeros((8, 2)))
    with pytest.raises(ValueError, match="row 1 was added twice"):
        rows.merge(other)


@pytest.mark.parametrize("trial", range(40))
def test_the_offset_of_merged_sketches_is_the_percentile_of_all_scores(seed, trial):
    r = np.random.default_rng([seed, trial])
    n = int(r.choice([1, 2, 3, 50, 1000, 30_000]))
    scores = -r.uniform(0.3, 0.9, n) if r.random() < 0.6 else -r.choice([0.4, 0.41, 0.5, 0.8], n)
    contamination = float(r.choice([0.5, 0.001, float(r.uniform(1e-6, 0.5))]))
    capacity = int(r.choice([2, 10, 500, 2**16]))
    sketch, passes = ScoreSketch(n, contamination, capacity=capacity), 0
    while True:
        parts = []
        for part in slices(r, n, int(r.integers(1, 6))):
            parts.append(ScoreSketch.from_bytes(sketch.to_bytes()))
            parts[-1].add(scores[part])
        merged_sketch, passes = merged(r, parts), passes + 1
        undivided = ScoreSketch.from_bytes(sketch.to_bytes())
        undivided.add(r.permutation(scores))
        assert undivided == merged_sketch
        if merged_sketch.is_resolved:
            break
        with pytest.raises(ValueError, match="add all scores again"):
            merged_sketch.offset()
        sketch = merged_sketch.refined()
    assert passes <= 4
    if capacity == 2**16:
        assert passes == 1
    offset = merged_sketch.offset()
    assert offset == np.percentile(scores, 100.0 * contamination)
    assert type(offset) is np.float64


@pytest.mark.parametrize("trial", range(40))
def test_ranks_of_merged_counts_equal_those_of_rank_features(seed, trial):
    r = np.random.default_rng([seed, trial])
    X = random_table(r)
    rows = X[r.integers(0, len(X), int(r.integers(0, 30)))]
    has_names = r.random() < 0.5
    names = [f"c{j}" for j in range(X.shape[1])]
    frame = lambda x: pd.DataFrame(x, columns=names) if has_names else x  # noqa: E731
    kind, tail, policy = (
        r.choice(["rank", "weak", "strict", "mean"]),
        r.choice(["upper", "lower", "both"]),
        r.choice(["omit", "propagate"]),
    )
    expected = rank_features(frame(rows), frame(X), kind=kind, tail=tail, nan_policy=policy, rank_last="c1")
    parts = []
    for part in slices(r, len(X), int(r.integers(1, 6))):
        parts.append(RankCounts(frame(rows)))
        parts[-1].add(frame(X[part]), n_jobs=int(r.integers(1, 3)))
    counts = merged(r, parts)
    assert counts.n_seen == len(X)
    copied = RankCounts(frame(rows))
    copied.merge(counts)
    for ranks in (
        counts.ranks(kind=kind, tail=tail, nan_policy=policy, rank_last="c1"),
        copied.ranks(kind=kind, tail=tail, nan_policy=policy, rank_last="c1"),
    ):
        assert_array_equal(ranks.percentiles, expected.percentiles)
        assert_array_equal(ranks.directions, expected.directions)
        assert_array_equal(ranks.order, expected.order)
        assert ranks.features == expected.features
    assert_array_equal(copied.ranks().values, expected.values)
    undivided = RankCounts(frame(rows))
    undivided.add(frame(r.permutation(X)))
    assert undivided == counts


def test_columns_are_matched_by_name():
    counts = RankCounts(pd.DataFrame({"a": [1.0], "b": [2.0]}), features=["b"])
    counts.add(pd.DataFrame({"b": [1.0, 3.0], "text": ["x", "y"], "a": [0.0, 0.0]}))
    assert counts.ranks().percentiles.tolist() == [[50.0]]
    with pytest.raises(ValueError, match="features not in"):
        counts.add(pd.DataFrame({"a": [1.0]}))


def mergeable_objects():
    plan = sample_plan(5000, 3, random_state=np.random.RandomState(0), n_estimators=3)
    rows = SampleRows(plan.rows, 3)
    rows.add(0, np.zeros((4000, 3)))
    sketch = ScoreSketch(100, 0.5, capacity=4)
    sketch.add(-np.linspace(0.3, 0.9, 100))
    counts = RankCounts(np.arange(6.0).reshape(3, 2))
    counts.add(np.ones((7, 2)))
    return [plan, rows, sketch, counts]


@pytest.mark.parametrize("number", range(4))
def test_damaged_or_foreign_bytes_are_refused(seed, number):
    original = mergeable_objects()[number]
    data = original.to_bytes()
    assert type(original).from_bytes(data) == original
    r = np.random.default_rng([seed, number])
    for end in {0, 1, 8, len(data) // 2, len(data) - 1, *r.integers(0, len(data), 20).tolist()}:
        with pytest.raises(ValueError, match="cannot decode these bytes"):
            type(original).from_bytes(data[:end])
    for _ in range(200):
        damaged = bytearray(data)
        damaged[int(r.integers(len(data)))] ^= int(r.integers(1, 256))
        with pytest.raises(ValueError, match="cannot decode these bytes"):
            type(original).from_bytes(bytes(damaged))
    for other in mergeable_objects():
        if type(other) is not type(original):
            with pytest.raises(ValueError, match="they hold a "):
                type(original).from_bytes(other.to_bytes())
    for foreign in (
        b"",
        b"{}",
        pickle.dumps(original),
        IsolationForest(random_state=0).fit([[1.0], [2.0]]).to_bytes(),
    ):
        with pytest.raises(ValueError, match="cannot decode these bytes"):
            type(original).from_bytes(foreign)


def test_reprs_and_hashes_describe_the_contents():
    plan, rows, sketch, counts = mergeable_objects()
    assert repr(plan).startswith("SamplePlan(3 trees of 256 rows: ")
    assert "rows)" in repr(rows)
    assert repr(sketch) == "ScoreSketch(100 of 100 scores, contamination=0.5)"
    assert repr(counts) == "RankCounts(3 rows, 2 features, counted among 7 rows)"
    assert repr(RankCounts.from_bytes(counts.to_bytes())) == repr(counts)
    assert (counts.features, counts.n_seen) == (["x0", "x1"], 7)
    assert hash(plan) == hash(SamplePlan.from_bytes(plan.to_bytes()))
