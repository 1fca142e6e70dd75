"""The pieces of a fit, an offset and ranks: equal to those of the table in one piece, however it is parted."""

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
    """Edges of parts of random sizes, some empty."""
    edges = [0, *np.sort(r.integers(0, n + 1, n_parts - 1)).tolist(), n]
    return [slice(a, b) for a, b in pairwise(edges)]


def merged(r, parts):
    """All of them as one, in a random order and grouping, by way of bytes and pickles."""
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
def test_plan_and_growing(seed, trial):
    r = np.random.default_rng([seed, trial])
    X = random_table(r)
    X = np.where(np.abs(X) < 2**53, X, 1.0) if X.dtype.kind == "i" else X
    params = random_params(r, *X.shape)
    state = states(seed + trial)[trial % 3]
    theirs, their_warnings = outcome(lambda: SklearnForest(random_state=state(), **params).fit(X))
    make = lambda: sample_plan(*X.shape, random_state=state(), **params)  # noqa: E731
    plan, our_warnings = outcome(make)
    assert [message for _, message in our_warnings] == [message for _, message in their_warnings]
    assert [samples.dtype for samples in plan.samples] == [np.int64] * len(plan.samples)
    for ours, other in zip(plan.samples, theirs.estimators_samples_, strict=True):
        assert_array_equal(ours, other)
    assert_array_equal(plan.rows, np.unique(np.concatenate(plan.samples)))
    again = SamplePlan.from_bytes(plan.to_bytes())
    assert again == plan == pickle.loads(pickle.dumps(plan))
    parts = []
    for part in slices(r, len(X), 4):
        parts.append(SampleRows(plan.rows, X.shape[1]))
        parts[-1].add(part.start, X[part])
    rows = merged(r, parts)
    assert rows.n_missing == 0
    with np.errstate(over="ignore"):
        assert_array_equal(rows.X, X[plan.rows].astype(np.float32))
    for chosen in (plan, again):
        grown = chosen.grow(X[plan.rows])
        grown.offset_ = theirs.offset_
        assert_same_forest(grown, theirs)
        assert_same_scores(grown, theirs, X)
    assert plan.grow(rows.X).to_bytes() == plan.grow(X[plan.rows]).to_bytes()


def test_the_global_stream_is_drawn_from_as_in_memory():
    X = np.random.default_rng(0).normal(size=(600, 3))
    np.random.seed(7)
    theirs = IsolationForest(n_estimators=5).fit(X)
    np.random.seed(7)
    plan = sample_plan(600, 3, n_estimators=5)
    for ours, other in zip(plan.samples, theirs.estimators_samples_, strict=True):
        assert_array_equal(ours, other)


@pytest.mark.parametrize("n_samples", [2**20 - 1, 2**20, 2**20 + 1, 2_500_000])
def test_live_streams_of_many_rows(n_samples):
    X = np.random.default_rng(1).normal(size=(n_samples, 1))
    whole = IsolationForest(random_state=np.random.RandomState(5), n_estimators=7).fit(X)
    plan = sample_plan(n_samples, 1, random_state=np.random.RandomState(5), n_estimators=7)
    grown = plan.grow(X[plan.rows])
    for index in range(7):
        ours, other = grown._fitted.native.tree(index), whole._fitted.native.tree(index)
        for name in ours:
            assert_array_equal(ours[name], other[name], err_msg=name)


@pytest.mark.slow
def test_a_plan_of_more_rows_than_there_is_memory_for():
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
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_row_that_comes_twice():
    rows = SampleRows([1, 5], 2)
    rows.add(0, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="row 1 was added twice"):
        rows.add(1, np.zeros((3, 2)))
    other = SampleRows([1, 5], 2)
    other.add(0, np.zeros((8, 2)))
    with pytest.raises(ValueError, match="row 1 was added twice"):
        rows.merge(other)


@pytest.mark.parametrize("trial", range(40))
def test_sketches(seed, trial):
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
        seen, passes = merged(r, parts), passes + 1
        whole = ScoreSketch.from_bytes(sketch.to_bytes())
        whole.add(r.permutation(scores))
        assert whole == seen
        if seen.is_resolved:
            break
        with pytest.raises(ValueError, match="add all scores again"):
            seen.offset()
        sketch = seen.refined()
    assert passes <= 4
    if capacity == 2**16:
        assert passes == 1
    offset = seen.offset()
    assert offset == np.percentile(scores, 100.0 * contamination)
    assert type(offset) is np.float64


@pytest.mark.parametrize("trial", range(40))
def test_counts(seed, trial):
    r = np.random.default_rng([seed, trial])
    X = random_table(r)
    rows = X[r.integers(0, len(X), int(r.integers(0, 30)))]
    named = r.random() < 0.5
    names = [f"c{j}" for j in range(X.shape[1])]
    frame = lambda x: pd.DataFrame(x, columns=names) if named else x  # noqa: E731
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
    fresh = RankCounts(frame(rows))
    fresh.merge(counts)
    for found in (
        counts.ranks(kind=kind, tail=tail, nan_policy=policy, rank_last="c1"),
        fresh.ranks(kind=kind, tail=tail, nan_policy=policy, rank_last="c1"),
    ):
        assert_array_equal(found.percentiles, expected.percentiles)
        assert_array_equal(found.directions, expected.directions)
        assert_array_equal(found.order, expected.order)
        assert found.features == expected.features
    assert_array_equal(fresh.ranks().values, expected.values)
    whole = RankCounts(frame(rows))
    whole.add(frame(r.permutation(X)))
    assert whole == counts


def test_columns_are_found_by_name():
    counts = RankCounts(pd.DataFrame({"a": [1.0], "b": [2.0]}), features=["b"])
    counts.add(pd.DataFrame({"b": [1.0, 3.0], "text": ["x", "y"], "a": [0.0, 0.0]}))
    assert counts.ranks().percentiles.tolist() == [[50.0]]
    with pytest.raises(ValueError, match="features not in"):
        counts.add(pd.DataFrame({"a": [1.0]}))


def pieces():
    plan = sample_plan(5000, 3, random_state=np.random.RandomState(0), n_estimators=3)
    rows = SampleRows(plan.rows, 3)
    rows.add(0, np.zeros((4000, 3)))
    sketch = ScoreSketch(100, 0.5, capacity=4)
    sketch.add(-np.linspace(0.3, 0.9, 100))
    counts = RankCounts(np.arange(6.0).reshape(3, 2))
    counts.add(np.ones((7, 2)))
    return [plan, rows, sketch, counts]


@pytest.mark.parametrize("number", range(4))
def test_bytes_that_are_none(seed, number):
    piece = pieces()[number]
    data = piece.to_bytes()
    assert type(piece).from_bytes(data) == piece
    r = np.random.default_rng([seed, number])
    for end in {0, 1, 8, len(data) // 2, len(data) - 1, *r.integers(0, len(data), 20).tolist()}:
        with pytest.raises(ValueError, match="cannot decode these bytes"):
            type(piece).from_bytes(data[:end])
    for _ in range(200):
        damaged = bytearray(data)
        damaged[int(r.integers(len(data)))] ^= int(r.integers(1, 256))
        with pytest.raises(ValueError, match="cannot decode these bytes"):
            type(piece).from_bytes(bytes(damaged))
    for other in pieces():
        if type(other) is not type(piece):
            with pytest.raises(ValueError, match="they hold a "):
                type(piece).from_bytes(other.to_bytes())
    for other in (b"", b"{}", pickle.dumps(piece), IsolationForest(random_state=0).fit([[1.0], [2.0]]).to_bytes()):
        with pytest.raises(ValueError, match="cannot decode these bytes"):
            type(piece).from_bytes(other)


def test_what_pieces_say_of_themselves():
    plan, rows, sketch, counts = pieces()
    assert repr(plan).startswith("SamplePlan(3 trees of 256 rows: ")
    assert "rows)" in repr(rows)
    assert repr(sketch) == "ScoreSketch(100 of 100 scores, contamination=0.5)"
    assert repr(counts) == "RankCounts(3 rows, 2 features, counted among 7 rows)"
    assert repr(RankCounts.from_bytes(counts.to_bytes())) == repr(counts)
    assert (counts.features, counts.n_seen) == (["x0", "x1"], 7)
    assert hash(plan) == hash(SamplePlan.from_bytes(plan.to_bytes()))
