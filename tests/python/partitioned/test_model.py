"""Models of tables in partitions: the files of the same rows in memory, byte for byte."""

import json

import numpy as np
import pandas as pd
import pytest

from isoxide import stream, ueba
from list_engine import arrow, partitioned
from partition_findings import NAMES, actor_days

pytestmark = pytest.mark.current_versions(reason="Parquet of other versions of pyarrow has other bytes")


@pytest.fixture(scope="module")
def frame(seed):
    return actor_days(seed, n=900)


def assert_same_model(own, expected):
    """Everything is the same but where the table came from."""
    assert own._data.files == expected._data.files
    assert own._data.content == expected._data.content
    assert own.id == expected.id
    unlike = ("source", "sha256", "created")
    mine, theirs = ({k: v for k, v in model.training.items() if k not in unlike} for model in (own, expected))
    assert mine == theirs


@pytest.mark.parametrize("n_partitions", [1, 7])
@pytest.mark.parametrize(
    "chosen",
    [
        {"contamination": 0.03, "groups": "team", "min_group": 30},
        {"alerts_per_month": 20, "groups": "actor", "min_history": 15},
        {"threshold": 0.55, "exclude": ["id", "zscore_*"], "groups": "is_weekend", "min_history": 10},
        {"contamination": 0.03, "groups": "size", "min_group": 110},
        {"max_samples": 100, "tail": "both", "rules": [ueba.Percentile((90,))]},
    ],
    ids=str,
)
def test_the_files_are_those_of_the_same_rows_in_memory(frame, seed, n_partitions, chosen):
    reading = {name: chosen[name] for name in ("exclude",) if name in chosen}
    others = {name: value for name, value in chosen.items() if name not in reading}
    expected = ueba.Model.fit(ueba.read_table(frame, **NAMES, **reading), n_estimators=15, **others)
    own = partitioned(arrow(frame), n_partitions, seed).fit_model(**NAMES, n_estimators=15, **chosen)
    assert_same_model(own, expected)


def test_files_are_read_with_the_same_result(frame, tmp_path):
    """The order of the columns and of the rows of equal files is kept; CSV and Parquet give the same reference."""
    frame.to_csv(tmp_path / "t.csv", index=False)
    in_memory = ueba.Model.fit(ueba.read_table(tmp_path / "t.csv", **NAMES), n_estimators=10, groups="group")
    streamed = stream.open(tmp_path / "t.csv", batch_rows=100).fit_model(**NAMES, n_estimators=10, groups="group")
    assert_same_model(streamed, in_memory)
    again = ueba.Model.load(streamed.save(tmp_path / "model"))
    frame[frame["day"] == frame["day"].max()].to_csv(tmp_path / "day.csv", index=False)
    day = ueba.read_table(tmp_path / "day.csv", **NAMES)
    pd.testing.assert_frame_equal(again.detect(day).frame, in_memory.detect(day).frame)
    document = json.loads((tmp_path / "model" / "model.json").read_text())
    assert document["provenance"]["source"] == str(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("change", "chosen", "message"),
    [
        (lambda f: f.head(100), {}, "too small to train on: it has 9. rows|too small to train on: it has 100 rows"),
        (lambda f: f.assign(day="2025-01-01"), {}, "all of its rows belong to one day"),
        (lambda f: f.assign(normal=np.inf), {}, "'normal' has infinite values"),
        (lambda f: f.assign(band=1.0), {}, "'band' .a feature. has the name of a column that findings add"),
        (lambda f: f, {"groups": "nowhere"}, "groups='nowhere' is not a column"),
        (lambda f: f, {"groups": "size", "min_group": 600}, "needs at least two bands of 600 rows, but the 9.. values"),
        (lambda f: f.assign(size=1), {"groups": "size"}, "groups='size' is ambiguous: .* has a column 'size'"),
        (lambda f: f, {"threshold": 0.2}, "score above 0.2; at most half"),
        (lambda f: f, {"min_history": 0}, "min_history=0 must be at least 1 day"),
    ],
)
def test_refusals(frame, seed, change, chosen, message):
    with pytest.raises(ValueError, match=message):
        partitioned(arrow(change(frame)), 3, seed).fit_model(**NAMES, n_estimators=5, **chosen)


def test_a_small_table_can_be_used(frame, seed):
    small = frame.head(100)
    with pytest.warns(UserWarning, match="fewer than the 256 rows that a tree draws"):
        expected = ueba.Model.fit(ueba.read_table(small, **NAMES), n_estimators=5, train_on_this=True)
    with pytest.warns(UserWarning, match="fewer than the 256 rows that a tree draws"):
        own = partitioned(arrow(small), 3, seed).fit_model(**NAMES, n_estimators=5, train_on_this=True)
    assert_same_model(own, expected)


@pytest.mark.dask
@pytest.mark.not_parallel(reason="Dask has threads of its own")
def test_dask(frame):
    import dask.dataframe as dd

    import isoxide.dask

    expected = ueba.Model.fit(ueba.read_table(frame, **NAMES), n_estimators=10, contamination=0.02, groups="group")
    table = isoxide.dask.table(dd.from_pandas(frame, npartitions=4, sort=False))
    assert_same_model(table.fit_model(**NAMES, n_estimators=10, contamination=0.02, groups="group"), expected)
