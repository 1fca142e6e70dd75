"""A Spark session, tables on it, and comparisons."""

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


#: For a JVM that does not live long enough for more to pay.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def stop_spark():
    """Ends the session of this process, if there is one, and the JVM in which it was."""
    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()
    gateway = SparkContext._gateway
    if gateway is None:
        return
    SparkContext._gateway = SparkContext._jvm = None
    gateway.shutdown()
    # It ends with its input.
    gateway.proc.stdin.close()
    try:
        gateway.proc.wait(timeout=20)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait(timeout=20)


@contextlib.contextmanager
def spark_session(folder, master, **settings):
    """A session in a JVM of its own, which asks for no name of this machine and writes into the folder only."""
    stop_spark()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        # Workers find the package that is tested, wherever that is.
        home = str(pathlib.Path(isoxide.__file__).parents[1])
        paths = os.pathsep.join(
            dict.fromkeys([home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
        )
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
        try:
            yield builder.getOrCreate()
        finally:
            stop_spark()


def actor_days(seed, n_rows=3_000, flag=np.bool_):
    """A table in the order of its key: counts, shares with NaN, equal rows, a flag, a peer group."""
    rng = np.random.default_rng(seed)
    n_actors = max(1, n_rows // 60)
    places = np.arange(n_rows)
    who = np.sort(places % n_actors)
    days = np.arange(n_rows) - np.searchsorted(who, who)
    share = rng.normal(size=n_rows)
    share[rng.random(n_rows) < 0.1] = np.nan
    counts = np.where(rng.random(n_rows) < 0.6, 0, rng.geometric(0.2, n_rows))
    odd = rng.random(n_rows) < 0.01
    return pa.table(
        {
            "actor": [f"actor{i:03}" for i in who],
            "day": pa.array(days.astype("datetime64[D]"), pa.date32()).cast(pa.timestamp("us")),
            "count": counts + 50 * odd,
            "share": np.where(odd, 9.0, share),
            "same": np.float32(rng.integers(0, 3, n_rows)),
            "flag": (rng.random(n_rows) < 0.05).astype(flag),
            "team": [f"team{i % 5}" for i in who],
        }
    )


KEY = ["actor", "day"]


FEATURES = ["count", "share", "same", "flag"]


def shuffled(spark, table, seed, n_partitions=2):
    """The rows in any order, in so many partitions."""
    order = np.random.default_rng(seed).permutation(len(table))
    schema = from_arrow_schema(table.schema, prefer_timestamp_ntz=True)
    return spark.createDataFrame(table.take(order), schema).repartition(n_partitions)


def assert_same_table(ours, theirs):
    assert ours.schema.names == theirs.schema.names
    assert ours.schema.types == theirs.schema.types
    for name in ours.column_names:
        # pyarrow says of no NaN that it equals another.
        np.testing.assert_array_equal(ours[name].to_pylist(), theirs[name].to_pylist(), err_msg=name)


def cached(spark):
    return [int(number) for number in spark.sparkContext._jsc.getPersistentRDDs()]
