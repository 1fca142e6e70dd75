"""Test that tables of other engines, read through their Arrow streams, have the same results as in memory."""

import datafusion
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import IsolationForest as SklearnForest

import isoxide
from isoxide import IsolationForest, stream, ueba
from parity import assert_same_forest
from ueba_tables import actor_days

pytestmark = pytest.mark.current_versions(reason="DuckDB and DataFusion are not installed with the oldest versions")

N = 5000
FEATURES = ["x", "small", "n", "none", "flag", "tiny"]


@pytest.fixture(scope="module")
def frame(seed):
    r = np.random.default_rng(seed)
    x = np.round(r.normal(size=N), 2)
    x[r.random(N) < 0.1] = np.nan
    return pd.DataFrame(
        {
            "team": r.choice(["a", "b", "c"], N),
            "x": x,
            "small": r.normal(size=N).astype(np.float32),
            "n": r.integers(-5, 5, N),
            "none": np.full(N, np.nan),
            "flag": r.random(N) < 0.1,
            "tiny": r.integers(0, 5, N).astype(np.uint8),
            "row": np.arange(N),
        }
    )


@pytest.fixture(scope="module")
def path(frame, tmp_path_factory):
    """Return the path of a Parquet file with nulls and several row groups, which several threads read."""
    path = tmp_path_factory.mktemp("streams") / "table.parquet"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=700)
    return path


def duckdb_file(frame, path):
    return duckdb.connect().read_parquet(str(path))


def duckdb_query(frame, path):
    """Return a query with a filter that all rows pass, and with the columns in another order."""
    return duckdb.connect().sql(f"SELECT row, * EXCLUDE row FROM '{path}' WHERE row >= 0 ORDER BY row")


def duckdb_from_frame(frame, path):
    connection = duckdb.connect()
    connection.register("frame", frame)
    return connection.table("frame")


def polars_frame(frame, path):
    return pl.from_pandas(frame)


def polars_collected(frame, path):
    return pl.scan_parquet(path).filter(pl.col("row") >= 0).collect()


def polars_chunks(frame, path):
    """Return a frame of several chunks, with categories."""
    rows = pl.from_pandas(frame).with_columns(pl.col("team").cast(pl.Categorical))
    return pl.concat([rows[:1], rows[1:1], rows[1:3000], rows[3000:]], rechunk=False)


def datafusion_file(frame, path):
    # With several partitions it does not keep the order of the rows.
    config = datafusion.SessionConfig().with_target_partitions(1)
    return datafusion.SessionContext(config).read_parquet(str(path))


def datafusion_query(frame, path):
    context = datafusion.SessionContext()
    context.register_parquet("rows", str(path))
    return context.sql("SELECT * FROM rows ORDER BY row")


def arrow_table(frame, path):
    return pq.read_table(path)


def arrow_chunks(frame, path):
    table = pq.read_table(path)
    return pa.concat_tables([table.slice(0, 10), table.slice(10, 0), table.slice(10)])


def arrow_nan(frame, path):
    """Return a table whose missing values are NaN instead of nulls."""
    columns = {name: pa.array(frame[name].to_numpy()) for name in [*FEATURES, "row"]}
    return pa.table({"team": pa.array(frame["team"]).dictionary_encode(), **columns})


def arrow_dataset(frame, path):
    return pa.dataset.dataset(path)


def pandas_frame(frame, path):
    return frame


SOURCES = [
    duckdb_file, duckdb_query, duckdb_from_frame, polars_frame, polars_collected, polars_chunks, datafusion_file,
    datafusion_query, arrow_table, arrow_chunks, arrow_nan, arrow_dataset, pandas_frame,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("batch_rows", [None, 333])
def test_results_equal_those_in_memory(frame, path, make, batch_rows, tmp_path):
    source = make(frame, path)
    expected = SklearnForest(random_state=1, contamination=0.02).fit(frame[FEATURES])
    params = IsolationForest(random_state=1, contamination=0.02)
    table = stream.open(source, batch_rows=batch_rows)
    forest = table.fit(params, features=FEATURES)
    assert_same_forest(forest, expected)
    assert forest.to_bytes() == params.fit(frame[FEATURES]).to_bytes()

    assert table.write_scores(forest, tmp_path / "scores.parquet", keep=["row"]) == N
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert_array_equal(scores["row"], frame["row"])
    assert_array_equal(scores["score"], expected.decision_function(frame[FEATURES]))
    assert_array_equal(scores["anomaly"], expected.predict(frame[FEATURES]) == -1)

    offset = table.offset(forest, 0.3)
    assert offset == params.recalibrate(frame[FEATURES], contamination=0.3).offset_

    rows = frame.iloc[np.flatnonzero(scores["anomaly"])[:40]]
    for options in ({"nan_policy": "omit"}, {"groups": "team", "tail": "both", "kind": "mean"}):
        ranks = table.rank_features(rows, features=FEATURES, **options)
        expected_ranks = isoxide.rank_features(rows, frame, features=FEATURES, **options)
        for name in ("percentiles", "values", "order", "directions"):
            assert_array_equal(getattr(ranks, name), getattr(expected_ranks, name), err_msg=name)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda table: duckdb.connect().from_arrow(table), id="duckdb"),
        pytest.param(lambda table: pl.from_arrow(table), id="polars"),
        pytest.param(
            lambda table: datafusion.SessionContext().from_arrow(table).sort(datafusion.col("row")), id="datafusion"
        ),
        pytest.param(lambda table: table, id="pyarrow"),
    ],
)
def test_findings_equal_those_in_memory(make, seed):
    frame = actor_days(seed)
    frame = pd.concat([frame, frame.iloc[3:9]], ignore_index=True).assign(row=lambda f: np.arange(len(f)))
    frame.loc[frame.index[-6:], "row"] = np.arange(3, 9)
    # Repeated rows follow each other; their order does not matter, because they are equal.
    frame = frame.sort_values("row", kind="stable", ignore_index=True)
    source = make(pa.Table.from_pandas(frame, preserve_index=False))
    options = {"contamination": 0.02, "groups": "actor"}
    columns = {"entity": "actor", "time": "day", "exclude": "row"}
    expected = ueba.detect(ueba.read_table(frame, **columns), **options)
    actual = stream.open(source).detect(**columns, **options)
    pd.testing.assert_frame_equal(actual.frame, expected.frame)
    pd.testing.assert_frame_equal(actual.reference, expected.reference)
    pd.testing.assert_frame_equal(actual.timeline, expected.timeline)
    for name in ("values", "percentiles", "order", "directions", "flags"):
        assert_array_equal(getattr(actual, name), getattr(expected, name), err_msg=name)


def test_a_reader_can_be_read_only_once(frame, path, tmp_path):
    forest = IsolationForest(random_state=0).fit(frame[FEATURES])

    def reader():
        return pq.ParquetFile(path).iter_batches(batch_size=500)

    def readers():
        schema = pq.read_schema(path)
        return pa.RecordBatchReader.from_batches(schema, reader())

    assert stream.open(readers()).write_scores(forest, tmp_path / "scores.parquet") == N
    scores = pd.read_parquet(tmp_path / "scores.parquet")["score"]
    assert_array_equal(scores, forest.decision_function(frame[FEATURES]))
    ranks = stream.open(readers()).rank_features(frame.iloc[:9], features=FEATURES)
    assert_array_equal(ranks.percentiles, isoxide.rank_features(frame[:9], frame, features=FEATURES).percentiles)
    with pytest.raises(ValueError, match="the pyarrow RecordBatchReader can be read only once"):
        stream.open(readers()).fit(features=FEATURES)


class OnceOnly:
    """Exporter that gives its rows to the first caller; later ones get an error, or no rows."""

    def __init__(self, table, later=None):
        self.reader, self.later = table.to_reader(max_chunksize=500), later

    def __arrow_c_schema__(self):
        return self.reader.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema=None):
        if self.reader is None:
            if self.later is None:
                raise RuntimeError("the rows are gone")
            return self.later.__arrow_c_stream__(requested_schema)
        reader, self.reader = self.reader, None
        return reader.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("gives_empty_streams", [False, True])
def test_an_exporter_that_gives_its_rows_once_is_named(frame, gives_empty_streams):
    rows = pa.Table.from_pandas(frame[FEATURES], preserve_index=False)
    later = rows.slice(0, 0) if gives_empty_streams else None
    forest = IsolationForest(random_state=0).fit(frame[FEATURES])
    scores = stream.open(OnceOnly(rows, later)).score(forest).read_all()["score"]
    assert_array_equal(scores, forest.decision_function(frame[FEATURES]))
    message = (
        "OnceOnly can be read only once, .* write it to Parquet"
        if gives_empty_streams
        else ("OnceOnly gave no further stream of its rows: the rows are gone; if it can be read only once, write it")
    )
    with pytest.raises(ValueError, match=message):
        stream.open(OnceOnly(rows, later)).fit()


def test_an_open_table_keeps_no_result_of_a_connection_open(path):
    connection = duckdb.connect()
    table = stream.open(connection.sql(f"SELECT * FROM '{path}' ORDER BY row"))
    assert connection.sql("SELECT 42").fetchall() == [(42,)]
    assert table.fit(features=FEATURES).n_features_in_ == len(FEATURES)


def test_objects_that_are_no_tables_are_refused(frame, path):
    for source in (duckdb.connect(), frame["x"].to_numpy(), iter([]), None):
        with pytest.raises(TypeError, match=r"source must be a path, a list of paths, .* or have an Arrow stream"):
            stream.open(source)
