"""Test that MLflow logs and loads models of Spark ML, and scores DataFrames of Spark with forests of memory."""

import pytest

import isoxide
from new_process import run_in_new_process

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.slow,
    pytest.mark.spark,
    pytest.mark.not_parallel(reason="it starts processes"),
    pytest.mark.current_versions(reason="MLflow and Spark are not installed with the oldest versions"),
]


def log_and_load(folder, seed):
    import pathlib

    import numpy as np
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import VectorAssembler
    from test_mlflow import mlflow_in

    from isoxide.spark.ml import IsolationForest
    from spark_results import assert_same_forest
    from spark_tables import FEATURES, KEY, actor_days, shuffled, spark_session

    mlflow = mlflow_in(folder)
    rows = actor_days(seed, 300, flag=np.int8)
    with spark_session(pathlib.Path(folder), "local[2]") as spark:
        df = shuffled(spark, rows, seed, 3)
        assembler = VectorAssembler(inputCols=FEATURES, outputCol="features", handleInvalid="keep")
        # MLflow reads predictions of Spark's models from the column `prediction`.
        estimator = IsolationForest(orderBy=KEY, numEstimators=5, predictionCol="prediction")
        mlflow.pyspark.ml.autolog(log_models=False)
        with mlflow.start_run() as run:
            fitted = Pipeline(stages=[assembler, estimator]).fit(df)
            info = mlflow.spark.log_model(fitted, "model", pip_requirements=["isoxide"], dfs_tmpdir=f"{folder}/dfs")
        params = mlflow.get_run(run.info.run_id).data.params
        assert params["IsolationForest.numEstimators"] == "5", params
        loaded = mlflow.spark.load_model(info.model_uri, dfs_tmpdir=f"{folder}/dfs2")
        forest = loaded.stages[1].forest
        assert_same_forest(forest, fitted.stages[1].forest)
        scores = [row["outlierScore"] for row in loaded.transform(df).orderBy(KEY).select("outlierScore").collect()]
        assert len(scores) == 300
        served = mlflow.pyfunc.load_model(info.model_uri)
        frame = rows.to_pandas()
        expected = (forest.predict(frame[FEATURES].astype(float)) == -1).astype(float)
        assert served.predict(frame) == expected.tolist()

        # A forest of memory is a function of Spark's DataFrames.
        memory = isoxide.IsolationForest(n_estimators=5, contamination=0.1, random_state=0).fit(frame[FEATURES])
        signature = mlflow.models.infer_signature(frame[FEATURES], memory.predict(frame[FEATURES]))
        with mlflow.start_run():
            info = mlflow.sklearn.log_model(
                memory, name="forest", signature=signature, pip_requirements=["isoxide"],
                serialization_format="skops", skops_trusted_types=["isoxide.IsolationForest"],
            )  # fmt: skip
        predict = mlflow.pyfunc.spark_udf(spark, info.model_uri, result_type="long", env_manager="local")
        labels = [row["label"] for row in df.withColumn("label", predict(*FEATURES)).orderBy(KEY).collect()]
        assert labels == memory.predict(frame[FEATURES]).tolist()


def test_models_are_logged_loaded_and_served(seed, tmp_path):
    ended = run_in_new_process(log_and_load, str(tmp_path), seed, timeout=600)
    assert ended.code == 0, ended.err
