"""Test that Spark tables have the same results as tables in memory, for any partitions."""

import decimal
import doctest
import importlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest
from numpy.testing import assert_array_equal
from pyspark.sql import functions as F  # noqa: N812 (the name it has everywhere)
from sklearn.exceptions import NotFittedError

import isoxide
import isoxide.spark
import isoxide.ueba
from enron_runs import mail
from isoxide import IsolationForest
from spark_results import assert_same_findings, assert_same_forest, assert_scored, in_memory
from spark_tables import FEATURES, KEY, PARTITIONS, actor_days, cached, shuffled

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.spark,
    pytest.mark.not_parallel(reason="one Spark session for all"),
    pytest.mark.current_versions(reason="Spark is not installed with the oldest versions"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.mark.parametrize(
    ("version", "message"), [(None, "needs PySpark: pip"), ("3.5.1", "needs PySpark 4, this is 3.5.1: pip")]
)
def test_the_message_without_pyspark_says_what_to_install(monkeypatch, version, message):
    for name in [name for name in sys.modules if name.startswith("isoxide.spark")]:
        monkeypatch.delitem(sys.modules, name)
    if version is None:
        monkeypatch.setitem(sys.modules, "pyspark", None)
    else:
        monkeypatch.setattr(pyspark, "__version__", version)
    with pytest.raises(ImportError, match=message + r" install 'isoxide\[spark\]'"):
        importlib.import_module("isoxide.spark")


@pytest.mark.parametrize("n_partitions", PARTITIONS)
def test_a_fitted_forest_equals_that_of_memory(spark, seed, n_partitions):
    expected = actor_days(seed)
    forest = isoxide.spark.table(shuffled(spark, expected, seed, n_partitions), order_by=KEY).fit(features=FEATURES)
    assert_same_forest(forest, in_memory(expected))


@pytest.mark.parametrize("n_partitions", PARTITIONS)
def test_scores_equal_those_of_memory(spark, seed, n_partitions):
    expected = actor_days(seed)
    forest = in_memory(expected, contamination=0.02)
    assert_scored(isoxide.spark.table(shuffled(spark, expected, seed, n_partitions)).score(forest), expected, forest)


def test_explanations_and_importances_equal_those_of_memory(spark, seed):
    rows = actor_days(seed)
    forest = in_memory(rows)
    table = isoxide.spark.table(shuffled(spark, rows, seed, 5))
    explained = table.explain(forest, top=2).orderBy(KEY).toArrow()
    expected = forest.explain(rows.select(FEATURES), top=2)
    names = np.array(FEATURES)[expected.indices]
    for k in (1, 2):
        assert explained[f"top_{k}_feature"].to_pylist() == names[:, k - 1].tolist()
        assert_array_equal(explained[f"top_{k}_contribution"].to_numpy(), np.asarray(expected)[:, k - 1])
        assert_array_equal(explained[f"top_{k}_share"].to_numpy(), expected.share()[:, k - 1])
    assert_array_equal(table.importance(forest), forest.importance(rows.select(FEATURES)))


@pytest.mark.parametrize("n_partitions", [1, 7])
def test_offsets_equal_those_of_memory(spark, seed, n_partitions):
    expected = actor_days(seed)
    df = shuffled(spark, expected, seed, n_partitions)
    table = isoxide.spark.table(df, order_by=KEY)
    forest = table.fit(IsolationForest(contamination=0.02, random_state=0), features=FEATURES)
    assert_same_forest(forest, in_memory(expected, contamination=0.02))
    assert table.offset(forest, 0.1) == in_memory(expected, contamination=0.1).offset_
    assert isoxide.spark.table(df).offset(forest, "auto") == -0.5


@pytest.mark.parametrize(
    "params",
    [
        {"max_samples": 1.0, "n_estimators": 5},
        {"bootstrap": True, "max_features": 0.5, "max_samples": 100},
        {"max_samples": 2, "n_estimators": 3, "contamination": 0.5},
    ],
    ids=str,
)
def test_forests_of_any_parameters_equal_those_of_memory(spark, seed, params):
    expected = actor_days(seed, 700)
    unfitted = IsolationForest(random_state=0, **params)
    forest = isoxide.spark.table(shuffled(spark, expected, seed, 3), order_by=KEY).fit(unfitted, features=FEATURES)
    assert not hasattr(unfitted, "offset_")
    assert_same_forest(forest, in_memory(expected, **params))


def test_all_numeric_columns_except_the_key_are_features_by_default(spark, seed):
    expected = actor_days(seed, 300).append_column("id", pa.array(np.arange(300)))
    df = shuffled(spark, expected, seed)
    assert_same_forest(isoxide.spark.table(df, order_by="id").fit(), in_memory(expected))
    assert isoxide.spark.table(df, order_by=KEY).fit().feature_names_in_.tolist() == [*FEATURES, "id"]
    assert isoxide.spark.table(df, order_by="id").fit(features=["share"]).feature_names_in_.tolist() == ["share"]


def test_nulls_are_missing_values(spark, seed):
    expected = actor_days(seed, 400)
    holes = np.random.default_rng(seed).random(400) < 0.2
    column = pa.array(expected["share"].to_numpy(), mask=holes)
    with_nulls = expected.set_column(3, "share", column)
    df = shuffled(spark, with_nulls, seed)
    table = isoxide.spark.table(df, order_by=KEY)
    forest = table.fit(features=FEATURES)
    assert_same_forest(forest, in_memory(with_nulls))
    scores = table.score(forest).orderBy(KEY).toArrow()["score"]
    np.testing.assert_array_equal(scores.to_numpy(), forest.decision_function(with_nulls.select(FEATURES)))


def test_scores_of_a_skewed_and_of_an_empty_frame(spark, seed):
    expected = actor_days(seed, 500)
    forest = in_memory(expected)
    df = shuffled(spark, expected, seed).repartition(5, F.lit(1))
    assert_scored(isoxide.spark.table(df).score(forest), expected, forest)
    empty = isoxide.spark.table(df.where("false")).score(forest, score="s", anomaly="a").toArrow()
    assert empty.num_rows == 0
    assert empty.schema.types[-2:] == [pa.float64(), pa.bool_()]


def test_scores_are_lazy(spark):
    df = spark.range(3).selectExpr("IF(id = 2, raise_error('computed'), 1.0D) AS x")
    forest = IsolationForest(n_estimators=2, random_state=0).fit(pa.table({"x": [1.0, 2.0]}))
    scored = isoxide.spark.table(df).score(forest)
    assert dict(scored.dtypes)["score"] == "double"
    with pytest.raises(Exception, match="computed"):
        scored.collect()


@pytest.mark.parametrize("n_partitions", [1, 7])
def test_ranks_equal_those_of_memory(spark, seed, n_partitions):
    expected = actor_days(seed, 1_000)
    df = shuffled(spark, expected, seed, n_partitions)
    rows = expected.slice(0, 50).to_pandas()
    for options in ({"nan_policy": "omit", "kind": "mean", "tail": "both"}, {"groups": "team", "rank_last": "same"}):
        ranks = isoxide.spark.table(df).rank_features(rows, features=FEATURES, **options)
        expected_ranks = isoxide.rank_features(rows, expected.to_pandas(), features=FEATURES, **options)
        assert ranks.features == expected_ranks.features
        for name in ("percentiles", "directions", "values", "order"):
            np.testing.assert_array_equal(getattr(ranks, name), getattr(expected_ranks, name), err_msg=name)
        assert type(ranks.to_frame()) is type(expected_ranks.to_frame())


@pytest.mark.parametrize(
    ("n_partitions", "options"),
    [
        (1, {"contamination": 0.02}),
        (2, {"alerts_per_month": 20, "groups": "team"}),
        (7, {"threshold": -0.02, "tail": "both"}),
        (13, {"contamination": 0.01, "groups": "actor"}),
        (3, {"contamination": 0.02, "groups": "actor", "min_group": 60}),
        (2, {"threshold": -0.9}),
        # A feature, and a column of the key, are the group too.
        (2, {"contamination": 0.02, "groups": "same"}),
        (2, {"contamination": 0.02, "groups": "day", "min_group": 10}),
    ],
    ids=str,
)
def test_findings_equal_those_of_memory(spark, seed, n_partitions, options):
    # pandas computes no quantiles of booleans, so flags are integers.
    expected = actor_days(seed, flag=np.int8)
    findings = isoxide.spark.table(shuffled(spark, expected, seed, n_partitions)).detect(
        entity="actor", time="day", **options
    )
    table = isoxide.ueba.read_table(expected.to_pandas(), entity="actor", time="day")
    assert_same_findings(findings, isoxide.ueba.detect(table, **options))


@pytest.mark.slow
def test_bands_of_similar_size_equal_those_of_memory(spark):
    rows = pa.Table.from_pandas(mail(), preserve_index=False)
    names, options = {"entity": "actor", "time": "day"}, {"groups": "size"}
    table = isoxide.spark.table(shuffled(spark, rows, 0, 7))
    findings = table.detect(**names, contamination=0.003, **options)
    read = isoxide.ueba.read_table(rows.to_pandas(), **names)
    expected = isoxide.ueba.detect(read, contamination=0.003, **options)
    assert len(expected) > 20
    assert findings.size_bands == expected.size_bands
    assert len(findings.size_bands.edges) > 1
    assert_same_findings(findings, expected)
    assert findings.frame["rank_among"].tolist() == expected.frame["rank_among"].tolist()
    options["n_estimators"] = 20
    ours = table.fit_model(**names, contamination=0.003, **options)
    assert ours.id == isoxide.ueba.Model.fit(read, contamination=0.003, **options).id


@pytest.mark.parametrize("n_partitions", [1, 5])
def test_a_model_has_the_files_of_the_same_rows_in_memory(spark, seed, n_partitions):
    rows = actor_days(seed, 900)
    names, options = {"entity": "actor", "time": "day"}, {"n_estimators": 10, "contamination": 0.02, "groups": "team"}
    ours = isoxide.spark.table(shuffled(spark, rows, seed, n_partitions)).fit_model(**names, **options)
    theirs = isoxide.ueba.Model.fit(isoxide.ueba.read_table(rows.to_pandas(), **names), **options)
    assert ours._data.files == theirs._data.files
    assert ours.id == theirs.id


def test_findings_of_several_rows_per_actor_and_day_equal_those_of_memory(spark, seed):
    days = actor_days(seed, 800, flag=np.int8)
    pairs = days["day"].to_numpy().astype("datetime64[D]").astype(np.int64) // 2 * 2
    expected = days.set_column(1, "day", pa.array(pairs.astype("datetime64[D]").astype("datetime64[us]")))
    expected = expected.append_column("number", pa.array([f"{i:05}" for i in range(800)]))
    df = shuffled(spark, expected, seed)
    with pytest.raises(ValueError, match="repeat the 'actor', 'day' of an earlier row, such as actor='actor0"):
        isoxide.spark.table(df).detect(entity="actor", time="day")
    findings = isoxide.spark.table(df, order_by="number").detect(entity="actor", time="day", contamination=0.02)
    table = isoxide.ueba.read_table(expected.to_pandas(), entity="actor", time="day")
    expected_findings = isoxide.ueba.detect(table, contamination=0.02)
    # Spark does not count shared keys if `order_by` distinguishes the rows.
    expected_findings.manifest["profile"]["n_duplicate_keys"] = findings.manifest["profile"]["n_duplicate_keys"]
    assert_same_findings(findings, expected_findings)


UNUSUAL_KEYS = {
    "identifiers with missing cells": lambda n: pa.array([None if i % 50 == 7 else 2**60 + i % 20 for i in range(n)]),
    "spellings": lambda n: pa.array([["007", "7", "NA", " 7", "null", "a\nb"][i % 6] for i in range(n)]),
    "decimals": lambda n: pa.array([decimal.Decimal(i % 9) for i in range(n)], pa.decimal128(20, 2)),
}


@pytest.mark.parametrize("keys", UNUSUAL_KEYS)
def test_findings_of_unusual_keys_and_types_equal_those_of_memory(spark, seed, keys):
    n = 400
    r = np.random.default_rng(seed)
    x = r.normal(size=n)
    table = pa.table(
        {
            "Unnamed: 0": pa.array(range(n)),
            "actor": UNUSUAL_KEYS[keys](n),
            "day": pa.array([f"2025-{1 + i // 200:02}-{1 + i % 28:02}T00:00:00+0{1 + i % 2}:00" for i in range(n)]),
            "row": pa.array([f"{i:04}" for i in range(n)]),
            "bytes [MB]": x,
            "amount": pa.array(
                [None if i % 9 == 0 else decimal.Decimal(i % 7) / 4 for i in range(n)], pa.decimal128(9, 2)
            ),
            "flag": pa.array([None if i % 11 == 0 else i % 3 == 0 for i in range(n)]),
            "text": pa.array(["1", "-"] * (n // 2)),
        }
    )
    options = {"contamination": 0.02, "groups": "actor", "min_group": 5}
    findings = isoxide.spark.table(shuffled(spark, table, seed), order_by="row").detect(
        entity="actor", time="day", **options
    )
    read = isoxide.ueba.read_table(table, entity="actor", time="day")
    assert read.features == ("bytes [MB]", "amount", "flag")
    expected_findings = isoxide.ueba.detect(read, **options)
    expected_findings.manifest["profile"]["n_duplicate_keys"] = findings.manifest["profile"]["n_duplicate_keys"]
    assert_same_findings(findings, expected_findings)


def test_wrong_arguments_are_refused(spark, seed):
    expected = actor_days(seed, 100)
    df = shuffled(spark, expected, seed)
    forest = in_memory(expected)
    table = isoxide.spark.table(df, order_by=KEY)
    for no_columns in (None, [], ()):
        with pytest.raises(
            ValueError,
            match=r"a forest depends on the order of the rows.*: name the columns of a unique key in order_by",
        ):
            isoxide.spark.table(df, order_by=no_columns).fit(features=FEATURES)
    with pytest.raises(ValueError, match=r"the DataFrame has no column 'shares' \(features\); did you mean 'share'"):
        table.fit(features=["shares"])
    with pytest.raises(ValueError, match="column 'team' of the DataFrame holds text, not numbers"):
        table.fit(features=["team"])
    with pytest.raises(TypeError, match="features must be names of columns, not int"):
        table.fit(features=[1])
    with pytest.raises(TypeError, match="order_by must be names of columns, not int"):
        isoxide.spark.table(df, order_by=[1])
    with pytest.raises(TypeError, match="df must be a Spark DataFrame, not Table"):
        isoxide.spark.table(expected)
    with pytest.raises(ValueError, match=r"no column 'dya' \(order_by\); did you mean 'day'"):
        isoxide.spark.table(df, order_by=["actor", "dya"])
    with pytest.raises(ValueError, match="the DataFrame has no rows"):
        isoxide.spark.table(df.where("false"), order_by=KEY).fit(features=FEATURES)
    with pytest.raises(ValueError, match="rows repeat the 'actor' of an earlier row"):
        isoxide.spark.table(df, order_by="actor").fit(features=FEATURES)
    with pytest.raises(ValueError, match="'day' has no value in 100 rows"):
        isoxide.spark.table(df.withColumn("day", F.lit(None).cast("date")), order_by=KEY).fit(features=FEATURES)
    with pytest.raises(ValueError, match="the DataFrame has no column 'count'"):
        isoxide.spark.table(df.drop("count")).score(forest)
    with pytest.raises(NotFittedError):
        table.score(IsolationForest())
    with pytest.raises(ValueError, match="already has a column 'Score'; choose another name with score= or anomaly="):
        isoxide.spark.table(df.withColumn("Score", F.lit(1))).score(forest)
    with pytest.raises(ValueError, match="already has a column 'team'"):
        table.score(forest, anomaly="team")
    # Spark does not distinguish upper and lower case in names of columns.
    with pytest.raises(ValueError, match="already has a column 'a'"):
        table.score(forest, score="a", anomaly="A")
    with pytest.raises(ValueError, match="no column 'shares'"):
        table.rank_features(pa.table({"shares": [1.0]}))
    with pytest.raises(ValueError, match="no column 'who'"):
        table.detect(entity="who", time="day")


def test_workers_without_a_module_are_named_in_one_line(spark, tmp_path, monkeypatch):
    missing = tmp_path / "modules" / "pyarrow"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'pyarrow'\", name='pyarrow')")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={missing.parent}:$PYTHONPATH exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(spark.sparkContext, "pythonExec", str(python))
    table = isoxide.spark.table(spark.range(9).selectExpr("id", "sin(id) AS x"), order_by="id")
    with pytest.raises(ImportError, match="Spark's workers cannot import pyarrow: install isoxide") as caught:
        table.fit()
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None


def test_files_with_other_types_than_the_frame_are_named_in_one_line(spark, tmp_path):
    pq.write_table(pa.table({"id": [1, 2], "x": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [3, 4], "x": [1.5, 2.5]}), tmp_path / "b.parquet")
    df = spark.read.schema("id long, x long").parquet(str(tmp_path))
    message = r"Spark cannot read the DataFrame: .*b\.parquet.* all files must have the columns and types"
    with pytest.raises(ValueError, match=message) as caught:
        isoxide.spark.table(df, order_by="id").fit(features=["x"])
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None


def test_cached_data_is_released(spark, seed):
    expected = actor_days(seed, 300)
    before = set(cached(spark))
    df = shuffled(spark, expected, seed)
    table = isoxide.spark.table(df, order_by=KEY)
    table.fit(IsolationForest(contamination=0.1, random_state=0), features=FEATURES)
    isoxide.spark.table(df).detect(entity="actor", time="day", contamination=0.1)
    with pytest.raises(ValueError, match="rows repeat the 'actor' of an earlier row"):
        isoxide.spark.table(df, order_by="actor").fit(features=FEATURES)
    assert set(cached(spark)) <= before


@pytest.mark.parametrize("name", isoxide.spark.__all__)
def test_examples_run(spark, name):
    runner = doctest.DocTestRunner()
    public = getattr(isoxide.spark, name)
    for test in doctest.DocTestFinder().find(public, name, module=False, globs={}):
        runner.run(test)
    assert runner.tries > 0
    assert runner.failures == 0
