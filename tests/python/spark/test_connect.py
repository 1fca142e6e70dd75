"""Test that Spark Connect (a client without objects of Java) gives the results of memory."""

import os
import sys
import warnings

import numpy as np
import pytest

from new_process import run_in_new_process

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.slow,
    pytest.mark.spark,
    pytest.mark.not_parallel(reason="it starts processes"),
    pytest.mark.current_versions(reason="Spark is not installed with the oldest versions"),
]


def session():
    """Return a session of Spark Connect, whose server is started in another process."""
    # Warnings of Spark are ignored, those of isoxide are errors.
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", module="isoxide")
    os.environ.update(SPARK_LOCAL_IP="127.0.0.1", PYSPARK_PYTHON=sys.executable)
    from pyspark.sql import SparkSession

    # Workers import the package of this process by PYTHONPATH.
    spark = SparkSession.builder.remote("local[2]").config("spark.sql.shuffle.partitions", "2").getOrCreate()
    assert type(spark).__module__ == "pyspark.sql.connect.session"
    return spark


def table_on_connect(seed):
    import isoxide.spark
    import isoxide.ueba
    from spark_results import assert_same_findings, assert_same_forest, assert_scored, in_memory
    from spark_tables import FEATURES, KEY, actor_days, shuffled

    spark = session()
    expected = actor_days(seed, 800, flag=np.int8)
    df = shuffled(spark, expected, seed, 3)
    table = isoxide.spark.table(df, order_by=KEY)
    forest = table.fit(isoxide.IsolationForest(contamination=0.02, random_state=0), features=FEATURES)
    assert_same_forest(forest, in_memory(expected, contamination=0.02))
    assert_scored(table.score(forest), expected, forest)
    assert table.offset(forest, 0.1) == in_memory(expected, contamination=0.1).offset_
    rows = expected.slice(100, 40)
    ranks = table.rank_features(rows, features=FEATURES, nan_policy="omit")
    expected_ranks = isoxide.rank_features(rows, expected, features=FEATURES, nan_policy="omit")
    np.testing.assert_array_equal(ranks.percentiles, expected_ranks.percentiles)
    np.testing.assert_array_equal(table.importance(forest), forest.importance(expected.select(FEATURES)))
    explained = table.explain(forest, top=1).orderBy(KEY).toArrow()["top_1_contribution"].to_numpy()
    np.testing.assert_array_equal(explained, np.asarray(forest.explain(expected.select(FEATURES), top=1))[:, 0])
    findings = isoxide.spark.table(df).detect(entity="actor", time="day", contamination=0.02)
    read = isoxide.ueba.read_table(expected.to_pandas(), entity="actor", time="day")
    assert_same_findings(findings, isoxide.ueba.detect(read, contamination=0.02))
    with pytest.raises(ValueError, match="repeat the 'actor' of an earlier row"):
        isoxide.spark.table(df, order_by="actor").fit(features=FEATURES)
    spark.stop()
    with pytest.raises(RuntimeError, match="the Spark session has been stopped: start a session"):
        table.fit(features=FEATURES)


def estimator_on_connect(seed, folder):
    from pyspark.ml import Pipeline, PipelineModel
    from pyspark.ml.evaluation import Evaluator
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit

    from isoxide.spark.ml import IsolationForest, IsolationForestModel
    from spark_results import assert_same_forest, in_memory
    from spark_tables import FEATURES, KEY, actor_days, shuffled

    class Anomalies(Evaluator):
        def _evaluate(self, dataset):
            return float(dataset.where("predictedLabel = 1").count())

    spark = session()
    rows = actor_days(seed, 300, flag=np.int8)
    df = shuffled(spark, rows, seed, 3)
    estimator = IsolationForest(inputCols=FEATURES, orderBy=KEY, numEstimators=5, contamination=0.1)
    model = estimator.fit(df)
    expected = in_memory(rows, contamination=0.1, n_estimators=5)
    assert_same_forest(model.forest, expected)
    scores = [row["outlierScore"] for row in model.transform(df).orderBy(KEY).select("outlierScore").collect()]
    assert scores == (-expected.score_samples(rows.select(FEATURES))).tolist()

    model.save(f"{folder}/model")
    with pytest.raises(FileExistsError, match="model' exists already"):
        model.save(f"{folder}/model")
    model.write().overwrite().save(f"{folder}/model")
    assert_same_forest(IsolationForestModel.load(f"{folder}/model").forest, expected)
    with pytest.raises(FileNotFoundError, match="there is no complete"):
        IsolationForestModel.load(f"{folder}/none")

    assembler = VectorAssembler(inputCols=["count", "same"], outputCol="features")
    pipeline = Pipeline(stages=[assembler, IsolationForest(orderBy=KEY, numEstimators=5)]).fit(df)
    pipeline.write().overwrite().save(f"{folder}/pipeline")
    loaded = PipelineModel.load(f"{folder}/pipeline")
    assert_same_forest(loaded.stages[1].forest, pipeline.stages[1].forest)
    assert loaded.transform(df).where("outlierScore > 0").count() == 300

    grid = ParamGridBuilder().addGrid(estimator.contamination, [0.1, 0.4]).build()
    split = TrainValidationSplit(estimator=estimator, estimatorParamMaps=grid, evaluator=Anomalies(), seed=1).fit(df)
    assert split.bestModel.getContamination() == 0.4
    with pytest.raises(Exception, match="column 'share' has a missing value"):
        model.setHandleInvalid("error").transform(df).collect()
    spark.stop()


def test_tables_give_the_results_of_memory(seed):
    ended = run_in_new_process(table_on_connect, seed, timeout=600)
    assert ended.code == 0, ended.err


def test_estimators_and_models_give_the_results_of_memory(seed, tmp_path):
    ended = run_in_new_process(estimator_on_connect, seed, str(tmp_path), timeout=600)
    assert ended.code == 0, ended.err
