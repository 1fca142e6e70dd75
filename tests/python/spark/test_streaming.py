"""Test that streams are scored with the scores of memory, also after a restart from a checkpoint."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal
from pyspark.errors import StreamingQueryException
from pyspark.sql import functions as F  # noqa: N812 (the name it has everywhere)

import isoxide
import isoxide.spark
from isoxide.spark.ml import IsolationForest, IsolationForestModel

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.spark,
    pytest.mark.not_parallel(reason="one Spark session for all"),
    pytest.mark.current_versions(reason="Spark is not installed with the oldest versions"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture
def rows(seed):
    rng = np.random.default_rng(seed)
    return pa.table({"id": np.arange(90), "x": rng.normal(size=90), "n": rng.integers(0, 9, 90)})


@pytest.fixture
def forest(rows):
    return isoxide.IsolationForest(n_estimators=5, contamination=0.1, random_state=0).fit(rows.select(["x", "n"]))


def arrive(folder, rows, number):
    """Let 30 more rows arrive in the folder that a stream reads."""
    folder.mkdir(exist_ok=True)
    pq.write_table(rows.slice(30 * number, 30), folder / f"{number}.parquet")


def write_all(stream, sink, checkpoint):
    """Run a query until it has processed all that has arrived."""
    query = stream.writeStream.trigger(availableNow=True).option("checkpointLocation", str(checkpoint)).start(str(sink))
    query.awaitTermination()
    assert query.exception() is None


def test_a_stream_is_scored_also_after_a_restart(spark, rows, forest, tmp_path):
    arrive(tmp_path / "in", rows, 0)
    schema = "id long, x double, n long"

    def run():
        stream = spark.readStream.schema(schema).parquet(str(tmp_path / "in"))
        scored = IsolationForestModel(forest).setInputCols(["x", "n"]).transform(stream)
        assert scored.isStreaming
        # `score` reads streams too, and the forest knows its columns by name.
        both = isoxide.spark.table(scored).score(forest)
        write_all(both, tmp_path / "out", tmp_path / "checkpoint")
        return pq.read_table(tmp_path / "out").sort_by("id")

    first = run()
    assert first["id"].to_pylist() == list(range(30))
    arrive(tmp_path / "in", rows, 1)
    arrive(tmp_path / "in", rows, 2)
    result = run()
    # Each row is written once: the second query goes on after the first.
    X = rows.select(["x", "n"])
    assert result["id"].to_pylist() == list(range(90))
    assert_array_equal(result["outlierScore"].to_numpy(), -forest.score_samples(X))
    assert_array_equal(result["score"].to_numpy(), forest.decision_function(X))
    assert_array_equal(result["predictedLabel"].to_numpy() == 1, result["anomaly"].to_numpy(zero_copy_only=False))


@pytest.mark.slow
def test_bad_rows_of_a_stream_are_refused_or_left_out(spark, rows, forest, tmp_path):
    bad = rows.set_column(1, "x", pa.array([None if i == 7 else x for i, x in enumerate(rows["x"].to_pylist())]))
    arrive(tmp_path / "in", bad, 0)
    stream = spark.readStream.schema("id long, x double, n long").parquet(str(tmp_path / "in"))
    values = F.when(F.col("id") == 4, F.array("x")).otherwise(F.array("x", F.col("n").cast("double")))
    model = IsolationForestModel(forest).setFeaturesCol("v")
    arrays = stream.select("id", values.alias("v"))

    def scored(treatment):
        out = tmp_path / treatment
        write_all(model.setHandleInvalid(treatment).transform(arrays), out, tmp_path / f"{treatment}-checkpoint")
        return pq.read_table(out)["id"].to_pylist()

    with pytest.raises(StreamingQueryException, match=r"'v' .*has a vector of 1 values, but the forest needs 2"):
        scored("keep")
    assert sorted(scored("skip")) == [i for i in range(30) if i not in (4, 7)]
    with pytest.raises(StreamingQueryException, match=r"has a vector of 1 values|column 'v' has a missing value"):
        scored("error")
    with pytest.raises(ValueError, match="cannot be fitted on a stream: fit on a batch, and transform the stream"):
        IsolationForest(orderBy="id", featuresCol="v").fit(arrays)
    with pytest.raises(ValueError, match="the DataFrame is a stream, which only score and explain can read: fit"):
        isoxide.spark.table(stream, order_by="id").fit(features=["x", "n"])


@pytest.mark.slow
def test_a_stream_in_memory_and_batch_by_batch(spark, rows, forest, tmp_path):
    for number in range(3):
        arrive(tmp_path / "in", rows, number)
    stream = (
        spark.readStream.schema("id long, x double, n long")
        .option("maxFilesPerTrigger", 1)
        .parquet(str(tmp_path / "in"))
    )
    model = IsolationForestModel(forest).setInputCols(["x", "n"])
    anomalies = model.transform(stream).where("predictedLabel = 1").select("id", "outlierScore")
    query = anomalies.writeStream.format("memory").queryName("anomalies").trigger(availableNow=True).start()
    query.awaitTermination()
    expected = np.flatnonzero(forest.predict(rows.select(["x", "n"])) == -1).tolist()
    assert [row["id"] for row in spark.table("anomalies").orderBy("id").collect()] == expected
    seen = []

    def keep(batch, number):
        seen.extend(row["id"] for row in model.transform(batch).where("predictedLabel = 1").collect())

    query = stream.writeStream.foreachBatch(keep).trigger(availableNow=True).start()
    query.awaitTermination()
    assert query.exception() is None
    assert sorted(seen) == expected
