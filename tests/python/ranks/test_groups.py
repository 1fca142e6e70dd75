"""Test that ranks within groups equal scipy's in each group, bit for bit."""

import datetime
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.stats

from isoxide import rank_features
from rank_tables import CONTAINERS, KINDS, TAILS, mixed_table, to_pandas

pytestmark = pytest.mark.parity


def by_subset(rows, reference, row_labels, labels, **kwargs):
    """Rank each row among the rows of its group in a separate call, and return percentiles and directions."""
    percentiles = np.full(rows.shape, np.nan)
    directions = np.zeros(rows.shape, dtype=np.int8)
    for i, label in enumerate(row_labels):
        members = [] if label is None else [j for j, other in enumerate(labels) if other == label]
        if members:
            ranks = rank_features(rows[i : i + 1], reference[members], **kwargs)
            percentiles[i], directions[i] = ranks.percentiles[0], ranks.directions[0]
    return percentiles, directions


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nan_policy", ["propagate", "omit"])
def test_ranks_in_groups_equal_scipys_in_the_subset(kind, nan_policy, seed):
    rng = np.random.default_rng(seed)
    reference = pd.DataFrame(
        {
            "x": rng.choice([0.0, 1.0, np.nan, -np.inf], 300, p=[0.5, 0.4, 0.02, 0.08]),
            "n": rng.integers(-3, 3, 300),
            "f": rng.standard_normal(300).astype(np.float32),
            "u": rng.integers(0, 3, 300).astype(np.uint64) + np.uint64(2**63),
        }
    )
    labels = rng.choice(["a", "b", "c", None], 300)
    rows, row_labels = reference.sample(40, random_state=seed), rng.choice(["a", "b", "new", None], 40)
    ranks = rank_features(rows, reference, groups=(row_labels, labels), kind=kind, nan_policy=nan_policy)
    for i, label in enumerate(row_labels):
        for j, name in enumerate(reference):
            if label in ("new", None):
                expected = np.nan
            else:
                subset = reference[name][labels == label]
                expected = scipy.stats.percentileofscore(subset, rows[name].iloc[i], kind=kind, nan_policy=nan_policy)
            np.testing.assert_array_equal(ranks.percentiles[i, j], expected)
    np.testing.assert_array_equal(ranks.directions == 0, np.isnan(ranks.percentiles))


@pytest.mark.parametrize("tail", TAILS)
def test_arrays_of_any_type_and_layout_are_ranked_in_groups(tail, seed):
    rng = np.random.default_rng(seed)
    labels, row_labels = rng.integers(0, 5, 200), rng.integers(0, 7, 30)
    for dtype in (np.float64, np.float32, np.int8, np.uint64, np.longdouble):
        reference = rng.integers(0, 9, (200, 4)).astype(dtype)
        rows = rng.integers(0, 9, (30, 4)).astype(dtype)
        expected = by_subset(rows, reference, row_labels, labels, tail=tail)
        for layout in (reference, np.asfortranarray(reference), np.repeat(reference, 2, axis=1)[:, ::2]):
            ranks = rank_features(rows, layout, groups=(row_labels, labels), tail=tail, n_jobs=2)
            np.testing.assert_array_equal(ranks.percentiles, expected[0], strict=True)
            np.testing.assert_array_equal(ranks.directions, expected[1], strict=True)


@pytest.mark.parametrize("container", CONTAINERS)
def test_groups_may_be_a_column_of_any_container(container, seed):
    rng = np.random.default_rng(seed)
    table = mixed_table(rng, 90)
    labels = rng.choice(["sales", "it", None], 90).tolist()
    rows = table[:20]
    reference = table.append_column("dept", pa.array(labels))
    make = CONTAINERS[container]
    ranks = rank_features(
        make(rows.append_column("dept", pa.array(labels[:20]))), make(reference), groups="dept", nan_policy="omit"
    )
    expected = rank_features(to_pandas(rows), to_pandas(table), groups=(labels[:20], labels), nan_policy="omit")
    assert ranks.features == expected.features == table.column_names
    np.testing.assert_array_equal(ranks.percentiles, expected.percentiles)
    np.testing.assert_array_equal(ranks.directions, expected.directions)
    without = [i for i, label in enumerate(labels[:20]) if label is None]
    assert np.isnan(ranks.percentiles[without]).all()


def test_one_group_gives_the_ranks_without_groups(seed):
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((50, 3))
    ranks = rank_features(reference, reference, groups=(["all"] * 50, ["all"] * 50), rank_last="x0")
    np.testing.assert_array_equal(ranks.order, rank_features(reference, reference, rank_last="x0").order)


DAYS = ["2025-01-01", "2025-01-02"]


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1]), pd.Series([0, 1], dtype="Int64"), pl.Series([0, 1]), pa.array([0, 1]), [0.0, 1.0], (0, 1),
        pd.Index([0, 1]), np.array([False, True]), pd.Series([0, 1], dtype="category"), pa.chunked_array([[0], [1]]),
    ],
    ids=lambda labels: f"{type(labels).__module__}.{type(labels).__name__}",
)  # fmt: skip
def test_equal_labels_match_across_containers(labels):
    ranks = rank_features([[1.0], [1.0]], [[1.0], [2.0]], groups=(labels, [0, 1]))
    np.testing.assert_array_equal(ranks.percentiles, [[100.0], [0.0]])
    ranks = rank_features([[1.0], [1.0]], [[1.0], [2.0]], groups=([0, 1], labels))
    np.testing.assert_array_equal(ranks.percentiles, [[100.0], [0.0]])


@pytest.mark.parametrize("unit", ["D", "s", "us", "ns"])
def test_equal_days_match_across_units(unit):
    days = np.array(DAYS, dtype=f"M8[{unit}]")
    datetimes = [datetime.datetime(2025, 1, 1), datetime.datetime(2025, 1, 2)]
    for labels in (pd.Series(pd.to_datetime(DAYS)), datetimes):
        ranks = rank_features([[1.0], [1.0]], [[1.0], [2.0]], groups=(days, labels))
        np.testing.assert_array_equal(ranks.percentiles, [[100.0], [0.0]])


@pytest.mark.parametrize(
    "missing",
    [
        [None, None], [np.nan, np.nan], np.array([np.nan, np.nan]), np.array(["NaT", "NaT"], dtype="M8[ns]"),
        pd.Series([pd.NA, pd.NA], dtype="Int64"), pd.Series([pd.NaT, pd.NaT]), pl.Series([None, None]),
        pa.array([None, None]), pd.Series(pd.Categorical([None, None])), [pd.NA, pd.NA],
        [float("nan"), np.float64("nan")],
    ],
    ids=lambda labels: type(labels).__name__,
)  # fmt: skip
def test_missing_labels_form_no_group(missing):
    ranks = rank_features([[1.0], [1.0]], [[1.0], [2.0]], groups=(missing, missing))
    assert np.isnan(ranks.percentiles).all()
    assert not ranks.directions.any()


def test_nan_is_refused_in_the_groups_that_occur():
    reference = pd.DataFrame({"a": [1.0, 2.0, np.nan], "g": ["x", "x", "y"]})
    ranks = rank_features(reference[:2], reference, groups="g", nan_policy="raise")
    np.testing.assert_array_equal(ranks.percentiles, [[50.0], [100.0]])
    rows = pd.DataFrame({"a": [1.0], "g": ["y"]})
    with pytest.raises(ValueError, match="The input contains nan values: column 'a' of reference"):
        rank_features(rows, reference, groups="g", nan_policy="raise")


def test_wrong_groups_are_refused_by_name():
    frame = pd.DataFrame({"a": [1.0, 2.0], "g": ["x", "y"]})
    for groups, match in [
        ("dept", r"groups='dept' is not a column of rows: its columns are \['a', 'g'\]"),
        ((["x"], ["x", "y"]), "groups has 1 labels for rows, which has 2 rows"),
        ((["x", "y"], ["x"]), "groups has 1 labels for reference, which has 2 rows"),
        ((["x", "y"],), r"groups must be the name of a column or a pair .*, got tuple of length 1"),
        (frame["g"], "groups must be the name of a column or a pair .*, got Series of length 2"),
        (7, "groups must be the name of a column or a pair .*, got int$"),
        (("g", "g"), "groups must be one-dimensional for rows, got str"),
        ((frame, ["x", "y"]), "groups must be one-dimensional for rows, got DataFrame"),
        ((["x", "y"], np.zeros((2, 1))), "groups must be one-dimensional for reference, got ndarray"),
    ]:
        with pytest.raises(ValueError, match=match):
            rank_features(frame, frame, features=["a"], groups=groups)
    with pytest.raises(ValueError, match="groups='g' is not a column of reference"):
        rank_features(frame, frame[["a"]], groups="g")
    with pytest.raises(ValueError, match="groups='g' is not a column of reference: its columns have no names"):
        rank_features(frame, [[1.0, 2.0]], groups="g")
    with pytest.raises(TypeError, match="groups must be labels such as names or numbers: unhashable type: 'list'"):
        rank_features([[1.0]], [[1.0]], groups=([["x"]], ["x"]))


def test_a_feature_may_hold_the_labels_too(seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.integers(0, 3, 50), "b": rng.normal(size=50)})
    ranks = rank_features(frame[:9], frame, features=["a", "b"], groups="a")
    expected = rank_features(frame[:9], frame, features=["a", "b"], groups=(frame["a"][:9], frame["a"]))
    np.testing.assert_array_equal(ranks.percentiles, expected.percentiles)
    np.testing.assert_array_equal(ranks.order, expected.order)


def test_many_groups_are_ranked_in_one_pass(seed):
    # 2,000 passes over the reference would take a minute.
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal((200_000, 10))
    labels = rng.integers(0, 10_000, 200_000)
    start = time.process_time()
    ranks = rank_features(reference[:2000], reference, groups=(labels[:2000], labels))
    assert time.process_time() - start < 10
    for i in (0, 1999):
        column = reference[labels == labels[i], 3]
        assert ranks.percentiles[i, 3] == scipy.stats.percentileofscore(column, reference[i, 3])
