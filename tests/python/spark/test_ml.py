"""Test that the estimator and the model of Spark ML have the results of memory, and the manners of Spark ML."""

import copy
import doctest
import gc
import pathlib
import pickle

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal
from pyspark.errors import IllegalArgumentException, SparkRuntimeException
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import Evaluator
from pyspark.ml.feature import VectorAssembler, VectorSizeHint
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import Vectors
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit
from pyspark.sql import functions as F  # noqa: N812 (the name it has everywhere)
from sklearn.exceptions import NotFittedError

import isoxide
from isoxide.spark import ml
from isoxide.spark.ml import IsolationForest, IsolationForestModel
from spark_results import assert_same_forest, in_memory
from spark_tables import FEATURES, KEY, actor_days, assert_same_table, cached, shuffled

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.spark,
    pytest.mark.not_parallel(reason="one Spark session for all"),
    pytest.mark.current_versions(reason="Spark is not installed with the oldest versions"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed running multiprocessing pool:ResourceWarning"),
]

OUTPUTS = ["outlierScore", "predictedLabel"]


def assert_transformed(transformed, rows, forest, X, key=KEY):
    """Assert that a result has all columns of the rows, and the score and label of a forest in memory for `X`."""
    result = transformed.orderBy(key).toArrow()
    assert result.column_names == [*rows.column_names, *OUTPUTS]
    assert_same_table(result.select(rows.column_names), rows)
    assert_array_equal(result["outlierScore"].to_numpy(), -forest.score_samples(X))
    assert_array_equal(result["predictedLabel"].to_numpy(), np.where(forest.predict(X) == -1, 1.0, 0.0))


@pytest.mark.parametrize(
    ("n_partitions", "skewed"),
    [
        pytest.param(1, False, marks=pytest.mark.slow),
        pytest.param(2, False, marks=pytest.mark.slow),
        (7, True),
        pytest.param(64, True, marks=pytest.mark.slow),
    ],
)
def test_forest_and_scores_equal_those_of_memory(spark, seed, n_partitions, skewed):
    rows = actor_days(seed, 600)
    df = shuffled(spark, rows, seed, 2)
    # A few values of the key are in a few of the partitions, and most are empty.
    df = df.repartition(n_partitions, F.col("actor") == "actor001") if skewed else df.repartition(n_partitions)
    model = IsolationForest(inputCols=FEATURES, orderBy=KEY, contamination=0.02).fit(df)
    expected = in_memory(rows, contamination=0.02)
    assert_same_forest(model.forest, expected)
    assert_transformed(model.transform(df), rows, expected, rows.select(FEATURES))


def test_params_become_those_of_the_forest(spark, seed):
    rows = actor_days(seed, 300)
    df = shuffled(spark, rows, seed)
    estimator = IsolationForest(
        inputCols=FEATURES, orderBy=KEY, numEstimators=7, maxSamples=0.5, maxFeatures=2, bootstrap=True, randomSeed=5
    )
    params = {"n_estimators": 7, "max_samples": 0.5, "max_features": 2, "bootstrap": True}
    expected = isoxide.IsolationForest(random_state=5, **params).fit(rows.select(FEATURES))
    assert_same_forest(estimator.fit(df).forest, expected)
    counted = estimator.fit(
        df, {estimator.maxSamples: 100, estimator.bootstrap: False, estimator.contamination: "auto"}
    )
    params |= {"max_samples": 100, "bootstrap": False}
    assert_same_forest(counted.forest, isoxide.IsolationForest(random_state=5, **params).fit(rows.select(FEATURES)))
    assert estimator.getMaxSamples() == 0.5


def vectors(spark, seed, n=200):
    """Return rows with a column of vectors, half of them sparse, and the values as an array."""
    # A sparse vector has no negative zeros.
    values = np.random.default_rng(seed).normal(size=(n, 3)).round(1) + 0.0
    values[::5, 1] = np.nan
    data = [
        (i, Vectors.dense(row) if i % 2 else Vectors.sparse(3, {j: x for j, x in enumerate(row) if x != 0}))
        for i, row in enumerate(values.tolist())
    ]
    order = np.random.default_rng(seed).permutation(n).tolist()
    return spark.createDataFrame([data[i] for i in order], ["id", "features"]), values


def test_dense_and_sparse_vectors_and_arrays(spark, seed):
    df, values = vectors(spark, seed)
    estimator = IsolationForest(orderBy="id", numEstimators=10, contamination=0.05)
    expected = isoxide.IsolationForest(n_estimators=10, contamination=0.05, random_state=0).fit(values)
    model = estimator.fit(df)
    assert_same_forest(model.forest, expected)
    scored = model.transform(df).orderBy("id").collect()
    assert [row["outlierScore"] for row in scored] == (-expected.score_samples(values)).tolist()
    # The vectors of the result are those of the input.
    assert [str(row["features"]) for row in scored] == [str(row["features"]) for row in df.orderBy("id").collect()]
    # An array with nulls is the same as a vector with NaN.
    arrays = df.select(
        "id", F.transform(vector_to_array("features"), lambda x: F.nullif(x, F.lit(float("nan")))).alias("a")
    )
    assert_same_forest(estimator.copy({estimator.featuresCol: "a"}).fit(arrays).forest, expected)
    assert model.setFeaturesCol("a").transform(arrays).where("outlierScore > 0").count() == len(values)
    # Trees read float32, so an array of float gives the same trees.
    floats = arrays.select("id", F.col("a").cast("array<float>").alias("a"))
    assert_same_forest(estimator.copy({estimator.featuresCol: "a"}).fit(floats).forest, expected)


def test_pipelines_are_saved_and_loaded(spark, seed, tmp_path):
    rows = actor_days(seed, 400)
    df = shuffled(spark, rows, seed, 3)
    assembler = VectorAssembler(inputCols=FEATURES, outputCol="features", handleInvalid="keep")
    pipeline = Pipeline(stages=[assembler, IsolationForest(orderBy=KEY, contamination=0.02)])
    pipeline.write().overwrite().save(str(tmp_path / "pipeline"))
    fitted = Pipeline.load(str(tmp_path / "pipeline")).fit(df)
    fitted.save(str(tmp_path / "fitted"))
    loaded = PipelineModel.load(str(tmp_path / "fitted"))
    forest = loaded.stages[1].forest
    # The assembler names the values, and the forest has these names.
    X = np.column_stack([np.asarray(rows[name], dtype=float) for name in FEATURES])
    expected = in_memory(pa.table(dict(zip(FEATURES, X.T, strict=True))), contamination=0.02)
    assert_same_forest(forest, expected)
    scored = loaded.transform(df)
    assert_transformed(scored.drop("features"), rows, expected, pa.table(dict(zip(FEATURES, X.T, strict=True))))
    # The forest also scores the columns that the assembler read.
    assert isoxide.spark.table(df).score(forest).where("anomaly").count() == scored.where("predictedLabel = 1").count()
    other = VectorAssembler(inputCols=FEATURES[::-1], outputCol="features", handleInvalid="keep")
    with pytest.raises(IllegalArgumentException, match=r"feature 0 of featuresCol is 'flag', .* fitted on 'count'"):
        loaded.stages[1].transform(other.transform(df))


@pytest.mark.slow
def test_names_may_be_odd(spark, seed):
    names = ["a.b", "a`b", "a", "A", "", "c1", "values", "features[0]"]
    rng = np.random.default_rng(seed)
    rows = pa.table({"id.": np.arange(150), **{name: rng.normal(size=150) for name in names}})
    df = shuffled(spark, rows, seed)
    model = IsolationForest(inputCols=names, orderBy="id.", numEstimators=5).fit(df)
    expected = isoxide.IsolationForest(n_estimators=5, random_state=0).fit(rows.select(names))
    assert_same_forest(model.forest, expected)
    assert_transformed(model.transform(df), rows, expected, rows.select(names), key="`id.`")
    # A vector whose elements are named like the key, in a frame with equal names that are not used.
    plain = df.toDF(*(f"c{i}" for i in range(9)))
    both = plain.select(F.array("c1", "c3"), "c3", "c3", "c8").toDF("features", "x", "x", "features[0]")
    ordered = IsolationForest(orderBy="features[0]", numEstimators=5).fit(both)
    order = np.argsort(rows["features[0]"].to_numpy())
    X = np.column_stack([rows["a.b"], rows["a"]])[order]
    assert_same_forest(ordered.forest, isoxide.IsolationForest(n_estimators=5, random_state=0).fit(X))
    result = ordered.transform(both)
    assert result.columns == ["features", "x", "x", "features[0]", *OUTPUTS]
    scores = [row[-2] for row in result.orderBy("`features[0]`").collect()]
    assert scores == (-ordered.forest.score_samples(X)).tolist()


def with_holes(spark, seed):
    """Return rows whose features have NULL and NaN, also as vectors, and the values in memory with NaN."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(120, 2))
    values[3, 0] = values[5, 1] = values[77] = np.nan
    table = pa.table(
        {
            "id": np.arange(120),
            "x": pa.array(values[:, 0], mask=np.arange(120) == 3),
            "n": pa.array(
                np.where(np.isnan(values[:, 1]), 0, values[:, 1] * 9).astype(np.int64), mask=np.isnan(values[:, 1])
            ),
        }
    )
    df = shuffled(spark, table, seed)
    assembler = VectorAssembler(inputCols=["x", "n"], outputCol="v", handleInvalid="keep")
    # VectorAssembler makes no null vector.
    df = assembler.transform(df).withColumn("v", F.when(F.col("id") != 77, F.col("v")))
    return df, table


@pytest.mark.slow
@pytest.mark.parametrize("columns", [{"inputCols": ["x", "n"]}, {"featuresCol": "v"}], ids=["columns", "vectors"])
def test_missing_values_are_kept_left_out_or_refused(spark, seed, columns):
    df, table = with_holes(spark, seed)
    estimator = IsolationForest(orderBy="id", numEstimators=5, contamination=0.1, **columns)
    X = table.select(["x", "n"])
    if "featuresCol" in columns:
        X = np.column_stack([np.asarray(X[name].to_pylist(), dtype=float) for name in X.column_names])
    params = isoxide.IsolationForest(n_estimators=5, contamination=0.1, random_state=0)
    expected = params.fit(X)
    kept = estimator.fit(df)
    assert_array_equal(kept.forest.score_samples(X), expected.score_samples(X))
    scores = [row["outlierScore"] for row in kept.transform(df).orderBy("id").collect()]
    assert scores == (-expected.score_samples(X)).tolist()

    full = np.delete(np.arange(120), [3, 5, 77])
    rows = X.take(full) if isinstance(X, pa.Table) else X[full]
    skipping = estimator.setHandleInvalid("skip").fit(df)
    expected = params.fit(rows)
    assert_array_equal(skipping.forest.score_samples(rows), expected.score_samples(rows))
    result = skipping.transform(df).orderBy("id").collect()
    assert [row["id"] for row in result] == full.tolist()
    assert [row["outlierScore"] for row in result] == (-expected.score_samples(rows)).tolist()

    named = "'(x|n)'" if "inputCols" in columns else "'v'"
    with pytest.raises(
        ValueError, match=f"^3 rows have a missing value .*, such as in column {named}; set handleInvalid"
    ):
        estimator.setHandleInvalid("error").fit(df)
    with pytest.raises(SparkRuntimeException, match=rf"column {named} has a missing value \(NULL or NaN\)") as caught:
        kept.setHandleInvalid("error").transform(df).collect()
    assert "\n" not in str(caught.value)
    valid = df.where("id NOT IN (3, 5, 77)")
    assert kept.transform(valid).count() == len(full)
    assert_same_forest(estimator.fit(valid).forest, skipping.forest)


@pytest.mark.slow
def test_vectors_of_other_lengths_are_refused_or_left_out(spark):
    df = spark.createDataFrame(
        [(i, Vectors.dense([1.0 * i] * (2 if i % 10 else 3))) for i in range(40)], ["id", "features"]
    )
    estimator = IsolationForest(orderBy="id", numEstimators=3)
    with pytest.raises(
        ValueError, match=r"'features' \(featuresCol\) has vectors of 2 to 3 values; all must have the same"
    ):
        estimator.fit(df)
    hinted = VectorSizeHint(inputCol="features", size=2, handleInvalid="optimistic").transform(df)
    with pytest.raises(
        ValueError, match=r"^column 'features' \(featuresCol\) has a vector of 3 values, .* needs 2; put"
    ):
        estimator.fit(hinted)
    model = estimator.setHandleInvalid("skip").fit(hinted)
    expected = np.array([[1.0 * i] * 2 for i in range(40) if i % 10])
    assert_same_forest(model.forest, isoxide.IsolationForest(n_estimators=3, random_state=0).fit(expected))
    assert model.transform(df).count() == 36
    for treatment in ("keep", "error"):
        with pytest.raises(SparkRuntimeException, match=r"has a vector of 3 values, but the forest needs 2") as caught:
            model.setHandleInvalid(treatment).transform(df).collect()
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="featuresCol has 3 features, but the forest has 2"):
        model.transform(VectorSizeHint(inputCol="features", size=3).transform(df))
    with pytest.raises(ValueError, match="has no vector with a value, so there is nothing to fit"):
        estimator.fit(df.where("false"))


def test_params_are_typed_described_and_copied():
    estimator = IsolationForest(orderBy="id")
    assert estimator.getOrderBy() == ["id"]
    assert estimator.getFeaturesCol() == "features"
    described = estimator.explainParams()
    for param in estimator.params:
        assert param.doc.endswith((".", "name.", "names."))
        assert f"{param.name}: {param.doc}" in described
    setters = {
        "BootStrap": None, "FeaturesCol": "v", "InputCols": ["a", "b"], "PredictionCol": "p", "ScoreCol": "s",
        "NumEstimators": 3, "MaxSamples": 0.5, "Contamination": 0.25, "MaxFeatures": 0.75, "Bootstrap": True,
        "RandomSeed": 9, "OrderBy": ["a", "b"], "HandleInvalid": "skip",
    }  # fmt: skip
    del setters["BootStrap"]
    assert {name[0].lower() + name[1:] for name in setters} == {param.name for param in estimator.params}
    for name, value in setters.items():
        assert getattr(estimator, f"set{name}")(value) is estimator
        assert getattr(estimator, f"get{name}")() == value
    copied = estimator.copy({estimator.numEstimators: 8})
    assert (copied.uid, copied.getNumEstimators(), estimator.getNumEstimators()) == (estimator.uid, 8, 3)
    assert copied.getScoreCol() == "s"
    again = IsolationForest(**{name[0].lower() + name[1:]: value for name, value in setters.items()})
    assert again.extractParamMap().values().__len__() == len(setters)
    assert [again.getOrDefault(p) for p in again.params] == [estimator.getOrDefault(p) for p in estimator.params]
    assert again.setParams(numEstimators=12, inputCols=None).getNumEstimators() == 12
    assert again.getInputCols() == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("numEstimators", 0, ValueError, "numEstimators must be an integer of at least 1, got 0"),
        ("numEstimators", 2.5, TypeError, 'param "numEstimators". Could not convert 2.5 to int'),
        ("maxSamples", 1, ValueError, "maxSamples=1 may mean all rows or one: write 1.0 for all rows"),
        ("maxSamples", 1.5, ValueError, "maxSamples must be a fraction of the rows .*, got 1.5"),
        ("maxSamples", 0.0, ValueError, r"in \(0, 1.0\] or a number of rows above 1, got 0.0"),
        ("maxSamples", "all", ValueError, "maxSamples must be \"auto\" or a number, got 'all'"),
        ("maxFeatures", -1, ValueError, "maxFeatures must be a fraction of the features .*, got -1"),
        ("maxFeatures", "auto", TypeError, 'param "maxFeatures". Could not convert auto to float'),
        ("contamination", 0.0, ValueError, r'contamination must be "auto" or .* in \(0, 0.5\], got 0.0'),
        ("contamination", 0.6, ValueError, "got 0.6"),
        ("contamination", True, TypeError, "Could not convert True to float"),
        ("bootstrap", 1, TypeError, "Boolean Param requires value of type bool"),
        ("randomSeed", -1, ValueError, r"randomSeed must be an integer in \[0, 2\*\*32 - 1\], got -1"),
        ("orderBy", 3, TypeError, 'param "orderBy". Could not convert'),
        ("inputCols", "x", TypeError, 'param "inputCols". Could not convert x to list of strings'),
        ("handleInvalid", "drop", ValueError, 'handleInvalid must be "keep", "skip" or "error", got \'drop\''),
        ("scoreCol", 3, TypeError, 'param "scoreCol". Could not convert'),
    ],
)
def test_wrong_params_are_refused(name, value, error, message):
    with pytest.raises(error, match=message):
        IsolationForest(**{name: value})
    estimator = IsolationForest()
    with pytest.raises(error, match=message):
        getattr(estimator, f"set{name[0].upper()}{name[1:]}")(value)
    with pytest.raises(error, match=message):
        estimator.copy({estimator.getParam(name): value})
    assert not estimator.isSet(name)
    with pytest.raises(TypeError, match="forces keyword arguments"):
        IsolationForest("features")


def test_schemas_are_checked_before_any_row_is_read(spark):
    df = spark.range(9).selectExpr("id", "IF(id >= 0, raise_error('read'), 1.0D) AS x", "'a' AS t", "array(1.5D) AS v")
    estimator = IsolationForest(orderBy="id", inputCols=["x"])
    with_model = IsolationForestModel(isoxide.IsolationForest(n_estimators=2).fit([[1.0], [2.0]])).setInputCols(["x"])
    added = ["id", "x", "t", "v", *OUTPUTS]
    assert estimator.transformSchema(df.schema).names == added
    assert with_model.transformSchema(df.schema) == with_model.transform(df).schema

    def refuse(message, changed=None, frame=df, **params):
        for error in (ValueError, IllegalArgumentException):
            with pytest.raises(error, match=message) as caught:
                (changed or IsolationForest(**{"orderBy": "id", "inputCols": ["x"]} | params)).fit(frame)
            assert "\n" not in str(caught.value)

    refuse(r"no column 'y' \(inputCols\); there are 'id', 'x', 't', 'v'", inputCols=["y"])
    refuse(r"no column 'ids' \(orderBy\); did you mean 'id'", orderBy="ids")
    refuse("orderBy is not set: a forest depends on the order of the rows", IsolationForest(inputCols=["x"]))
    refuse("column 't' .inputCols. must hold numbers, but it is string", inputCols=["x", "t"])
    refuse("inputCols has 'x' twice", inputCols=["x", "x"])
    refuse("inputCols is empty", inputCols=[])
    refuse(r"no column 'features' \(featuresCol\)", IsolationForest(orderBy="id"))
    refuse("'x' .featuresCol. must hold vectors, .*but it is double; name columns of numbers in inputCols",
           IsolationForest(orderBy="id", featuresCol="x"))  # fmt: skip
    refuse("featuresCol and inputCols are both set", featuresCol="v")
    refuse(
        "already has a column 'T'; choose another name with scoreCol",
        frame=df.withColumnRenamed("t", "T"),
        scoreCol="t",
    )
    refuse("already has a column 'id'; choose another name with predictionCol", predictionCol="id")
    refuse("already has a column 's'; choose another name with predictionCol", predictionCol="S", scoreCol="s")
    refuse("has several columns named 'x'", frame=df.withColumnRenamed("t", "x"))
    vector = VectorAssembler(inputCols=["id"], outputCol="w").transform(df)
    refuse(
        "'w' .inputCols. must hold numbers, but it is .*; name a column of vectors in featuresCol",
        frame=vector,
        inputCols=["w"],
    )
    with pytest.raises(IllegalArgumentException, match="inputCols has 2 features, but the forest has 1"):
        with_model.copy({with_model.inputCols: ["x", "id"]}).transform(df)
    with pytest.raises(TypeError, match="dataset must be a Spark DataFrame, not dict"):
        estimator.fit({"x": [1.0]})
    with pytest.raises(TypeError, match="dataset must be a Spark DataFrame, not dict"):
        with_model.transform({"x": [1.0]})
    with pytest.raises(TypeError, match=r"forest must be an isoxide.IsolationForest, not int"):
        IsolationForestModel(3)
    with pytest.raises(NotFittedError):
        IsolationForestModel(isoxide.IsolationForest())
    with pytest.raises(Exception, match="read"):
        with_model.transform(df).collect()


def test_rows_that_share_a_key_are_refused(spark):
    df = spark.range(9).selectExpr("id % 5 AS id", "1.0D * id AS x")
    with pytest.raises(ValueError, match="4 rows repeat the 'id' of an earlier row, such as id="):
        IsolationForest(orderBy="id", inputCols=["x"]).fit(df)
    with pytest.raises(ValueError, match="the DataFrame has no rows"):
        IsolationForest(orderBy="id", inputCols=["x"]).fit(df.where("false"))


@pytest.fixture(scope="module")
def fitted(spark, seed):
    rows = actor_days(seed, 300)
    df = shuffled(spark, rows, seed).persist()
    yield df, rows, IsolationForest(inputCols=FEATURES, orderBy=KEY, numEstimators=4, contamination=0.1).fit(df)
    df.unpersist()


def test_a_model_has_the_manners_of_spark_ml(fitted):
    df, rows, model = fitted
    assert model.numFeatures == len(FEATURES)
    assert model.outlierScoreThreshold == -model.forest.offset_
    assert model.uid.startswith("IsolationForest_")
    assert (model.getNumEstimators(), model.getOrderBy(), model.getInputCols()) == (4, KEY, FEATURES)
    renamed = model.copy({model.scoreCol: "s", model.predictionCol: "p"})
    assert renamed.transform(df).columns[-2:] == ["s", "p"]
    assert model.transform(df, {model.scoreCol: "t"}).columns[-2:] == ["t", "predictedLabel"]
    assert renamed.forest is model.forest
    again = pickle.loads(pickle.dumps(model))
    assert_transformed(again.transform(df), rows, model.forest, rows.select(FEATURES))
    # The threshold moves with the forest, and the broadcast variable is made once for a forest.
    moved = copy.deepcopy(model)
    moved.transform(df)
    sent = moved._sent
    moved.transform(df)
    assert moved._sent is sent
    moved.forest.recalibrate(rows.select(FEATURES), contamination=0.3)
    assert_transformed(moved.transform(df), rows, moved.forest, rows.select(FEATURES))


def test_scores_are_the_same_in_pyspark_4_0(spark, seed, fitted, monkeypatch):
    df, rows, model = fitted
    monkeypatch.setattr(ml, "_ARROW_UDF", None)
    assert_transformed(model.transform(df), rows, model.forest, rows.select(FEATURES))
    frame, values = vectors(spark, seed, 40)
    forest = isoxide.IsolationForest(n_estimators=3, random_state=0).fit(values)
    scored = IsolationForestModel(forest).transform(frame).orderBy("id").collect()
    assert [row["outlierScore"] for row in scored] == (-forest.score_samples(values)).tolist()
    model.setHandleInvalid("error")
    with pytest.raises(SparkRuntimeException, match="column 'share' has a missing value"):
        model.transform(df).collect()
    model.setHandleInvalid("keep")


@pytest.mark.slow
def test_fits_release_what_they_cache(spark, fitted):
    df, _, _ = fitted
    before = set(cached(spark))
    estimator = IsolationForest(inputCols=FEATURES, orderBy=KEY, numEstimators=3)
    first, second = estimator.fit(df, [{estimator.contamination: 0.1}, {estimator.numEstimators: 4}])
    assert set(cached(spark)) == before
    assert (first.getContamination(), len(first.forest), second.getContamination(), len(second.forest)) == (
        0.1,
        3,
        "auto",
        4,
    )


class Labelled(Evaluator):
    """Share of labels that equal the sign of a column."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def _evaluate(self, dataset):
        (row,) = dataset.agg(
            F.avg((F.col("predictedLabel") == (F.col(self.name) > 30).cast("double")).cast("double"))
        ).collect()
        return row[0]


@pytest.mark.slow
def test_cross_validation_with_an_evaluator_of_ones_own(spark, fitted, tmp_path):
    df, rows, _ = fitted
    estimator = IsolationForest(inputCols=FEATURES, orderBy=KEY, numEstimators=20)
    grid = ParamGridBuilder().addGrid(estimator.contamination, [0.01, 0.5]).build()
    arguments = {"estimator": estimator, "estimatorParamMaps": grid, "evaluator": Labelled("count"), "seed": 1}
    validated = CrossValidator(numFolds=2, parallelism=2, **arguments).fit(df)
    assert validated.avgMetrics[0] > validated.avgMetrics[1]
    assert_same_forest(validated.bestModel.forest, in_memory(rows, n_estimators=20, contamination=0.01))
    split = TrainValidationSplit(trainRatio=0.5, **arguments).fit(df)
    assert split.validationMetrics[0] > split.validationMetrics[1]
    assert_same_forest(split.bestModel.forest, validated.bestModel.forest)
    best = PipelineModel([split.bestModel])
    best.save(str(tmp_path / "best"))
    assert_same_forest(PipelineModel.load(str(tmp_path / "best")).stages[0].forest, split.bestModel.forest)
    # Spark does not close its pool of threads.
    gc.collect()


@pytest.mark.parametrize("name", ml.__all__)
def test_examples_run(spark, name):
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(getattr(ml, name), name, module=False, globs={}):
        runner.run(test)
    assert runner.tries > 0
    assert runner.failures == 0


@pytest.mark.slow
def test_examples_of_the_page_run(spark):
    page = pathlib.Path(__file__).parents[3] / "docs" / "spark.md"
    results = doctest.testfile(str(page), module_relative=False)
    assert results.attempted > 30
    assert results.failed == 0
