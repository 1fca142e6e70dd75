"""Start Spark sessions, and make and compare tables on Spark."""

import contextlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

import isoxide
import isoxide.spark
import isoxide.ueba

PARTITIONS = [1, 2, 7, 64]
#: Options for a JVM that starts quickly; it does not run long enough for its optimizing compiler to pay.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
KEY = ["actor", "day"]
FEATURES = ["count", "share", "same", "flag"]


def stop_spark():
    """End the Spark session of this process, if there is one, and its JVM."""
    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()
    gateway = SparkContext._gateway
    if gateway is None:
        return
    SparkContext._gateway = SparkContext._jvm = None
    gateway.shutdown()
    # The JVM exits when its standard input is closed.
    gateway.proc.stdin.close()
    try:
        gateway.proc.wait(timeout=20)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait(timeout=20)


@contextlib.contextmanager
def spark_session(folder, master, **settings):
    """Start a session in a new JVM, which looks up no host name and writes into `folder` only; stop it at the end."""
    with pytest.MonkeyPatch.context() as patch:
        sort_in_ranges(patch)
        try:
            yield start_spark(patch, folder, master, **settings)
        finally:
            stop_spark()


def shared_session(folder):
    """Return the session of two cores of this process; start it if there is none, or if a test stopped it."""
    session = SparkSession.getActiveSession()
    if session is not None and session.sparkContext.master == "local[2]" and session.sparkContext._jsc is not None:
        return session
    # The variables are read when the JVM starts.
    with pytest.MonkeyPatch.context() as patch:
        return start_spark(patch, folder, "local[2]")


def sort_in_ranges(patch):
    """Sort the keys of small tables in several ranges too."""
    patch.setattr("isoxide.spark._engine._KEYS_PER_RANGE", 100)


def start_spark(patch, folder, master, **settings):
    """Stop the session of this process, and start another one in a new JVM with variables that `patch` sets."""
    stop_spark()
    patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    patch.setenv("PYSPARK_PYTHON", sys.executable)
    # Let the workers import the same package as this process.
    home = str(pathlib.Path(isoxide.__file__).parents[1])
    paths = os.pathsep.join(dict.fromkeys([home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]))
    patch.setenv("PYTHONPATH", paths)
    builder = SparkSession.builder.master(master).appName("isoxide")
    for name, value in {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraJavaOptions": QUICK,
        "spark.driver.memory": "1g",
        "spark.executor.extraJavaOptions": QUICK,
        "spark.executorEnv.PYTHONPATH": paths,
        "spark.local.dir": str(folder),
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **settings,
    }.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def actor_days(seed, n_rows=3_000, flag=np.bool_):
    """Return a table sorted by `KEY`, with counts, shares with NaN, a column of many ties, a flag and a peer group."""
    rng = np.random.default_rng(seed)
    n_actors = max(1, n_rows // 60)
    actors = np.sort(np.arange(n_rows) % n_actors)
    days = np.arange(n_rows) - np.searchsorted(actors, actors)
    share = rng.normal(size=n_rows)
    share[rng.random(n_rows) < 0.1] = np.nan
    counts = np.where(rng.random(n_rows) < 0.6, 0, rng.geometric(0.2, n_rows))
    unusual = rng.random(n_rows) < 0.01
    return pa.table(
        {
            "actor": [f"actor{i:03}" for i in actors],
            "day": pa.array(days.astype("datetime64[D]"), pa.date32()).cast(pa.timestamp("us")),
            "count": counts + 50 * unusual,
            "share": np.where(unusual, 9.0, share),
            "same": np.float32(rng.integers(0, 3, n_rows)),
            "flag": (rng.random(n_rows) < 0.05).astype(flag),
            "team": [f"team{i % 5}" for i in actors],
        }
    )


def shuffled(spark, table, seed, n_partitions=2):
    """Return the rows as a Spark frame, in random order."""
    order = np.random.default_rng(seed).permutation(len(table))
    schema = from_arrow_schema(table.schema, prefer_timestamp_ntz=True)
    return spark.createDataFrame(table.take(order), schema).repartition(n_partitions)


def assert_same_table(ours, theirs):
    assert ours.schema.names == theirs.schema.names
    assert ours.schema.types == theirs.schema.types
    for name in ours.column_names:
        # For pyarrow no NaN equals another, so NumPy compares the columns.
        np.testing.assert_array_equal(ours[name].to_pylist(), theirs[name].to_pylist(), err_msg=name)


def cached(spark):
    """Return the identifiers of the datasets that Spark keeps cached."""
    return [int(number) for number in spark.sparkContext._jsc.getPersistentRDDs()]
