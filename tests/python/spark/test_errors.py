"""Test that what is wrong with the setup of Spark is told in one line."""

import pyarrow as pa
import pytest
from pyspark.errors import PySparkException

import isoxide
import isoxide.spark
from isoxide.spark._errors import InvalidArgumentError, in_one_line
from isoxide.spark.ml import IsolationForest, IsolationForestModel
from spark_tables import spark_session

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.spark,
    pytest.mark.not_parallel(reason="one Spark session for all"),
    pytest.mark.current_versions(reason="Spark is not installed with the oldest versions"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


def frame(spark):
    return spark.range(20).selectExpr("id", "sin(id) AS x")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("pythonVer", "3.9", r"workers run Python 3\.\d+, the driver runs Python 3.9: let PYSPARK_PYTHON or"),
        (
            "pythonExec",
            "/absent/python",
            "workers cannot start Python: there is no program '/absent/python';",
        ),
    ],
)
def test_another_python_of_the_workers_is_named(spark, monkeypatch, attribute, value, message):
    monkeypatch.setattr(spark.sparkContext, attribute, value)
    for fit in (
        isoxide.spark.table(frame(spark), order_by="id").fit,
        lambda: IsolationForest(inputCols=["x"], orderBy="id", handleInvalid="error").fit(frame(spark)),
    ):
        with pytest.raises(RuntimeError, match=message) as caught:
            fit()
        assert "\n" not in str(caught.value)
        assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "Job 3 cancelled because SparkContext was shut down\n\tat a",
            RuntimeError,
            "stopped: start",
        ),
        ("Answer from Java side is empty", RuntimeError, "the Spark session has been stopped: start a session"),
        ("[INVALID_HANDLE.SESSION_CLOSED] The handle\n", RuntimeError, "the Spark session has been stopped"),
        ("\n[USER_RAISED_EXCEPTION] isoxide: a row SQLSTATE: P0001\n\tat b", ValueError, "^a row$"),
        ("[USER_RAISED_EXCEPTION] another's row", PySparkException, "another's row"),
        ("an error that nobody knows", PySparkException, "^an error that nobody knows$"),
    ],
)
def test_errors_of_spark_become_one_line(text, error, message):
    @in_one_line
    def fail():
        raise PySparkException(message=text)

    with pytest.raises(error, match=message) as caught:
        fail()
    assert caught.value.__context__ is None


def test_invalid_arguments_are_errors_of_spark_and_of_python():
    error = InvalidArgumentError("one line")
    assert (str(error), error.args) == ("one line", ("one line",))
    assert isinstance(error, ValueError)
    assert isinstance(error, PySparkException)


@pytest.mark.slow
def test_stopped_sessions_are_named(tmp_path):
    with spark_session(tmp_path, "local[1]") as spark:
        df = frame(spark)
        table = isoxide.spark.table(df, order_by="id")
        estimator = IsolationForest(inputCols=["x"], orderBy="id", numEstimators=2)
        model = estimator.fit(df)
        spark.stop()
        calls = [
            table.fit,
            lambda: table.score(model.forest),
            lambda: table.rank_features(pa.table({"x": [1.0]})),
            lambda: isoxide.spark.table(df),
            lambda: estimator.fit(df),
            lambda: model.transform(df),
        ]
        for call in calls:
            with pytest.raises(RuntimeError, match="stopped: start a session, and read the DataFrame"):
                call()
        # Spark's own words are one line.
        for call in (lambda: model.save(str(tmp_path / "m")), lambda: IsolationForestModel.load(str(tmp_path / "m"))):
            with pytest.raises(PySparkException, match="No active or default Spark session found") as caught:
                call()
            assert "\n" not in str(caught.value)
