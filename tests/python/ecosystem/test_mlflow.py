"""Test that MLflow logs, loads and serves forests, and that its autologging records forests in pipelines."""

import os
import warnings

import pytest
from sklearn.pipeline import make_pipeline

import isoxide
from new_process import run_in_new_process

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.slow,
    pytest.mark.not_parallel(reason="it starts processes"),
    pytest.mark.current_versions(reason="MLflow is not installed with the oldest versions"),
    pytest.mark.thread_unsafe(reason="it starts processes"),
]

FORMATS = {
    "skops": {"serialization_format": "skops", "skops_trusted_types": ["isoxide.IsolationForest"]},
    "cloudpickle": {"serialization_format": "cloudpickle"},
}


def mlflow_in(folder):
    """Return MLflow, set up to keep its runs in a folder."""
    # By default, MLflow needs a database, which needs another package.
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    os.chdir(folder)
    # Warnings of MLflow are ignored, those of isoxide are errors.
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", module="isoxide")
    import mlflow

    mlflow.set_tracking_uri(f"file:{folder}/runs")
    return mlflow


def table():
    import numpy as np

    return np.random.default_rng(0).normal(size=(300, 3))


def log_and_load(folder, name):
    import numpy as np

    mlflow, X = mlflow_in(folder), table()
    forest = isoxide.IsolationForest(n_estimators=6, contamination=0.1, random_state=0).fit(X)
    with mlflow.start_run() as run:
        mlflow.log_params(forest.get_params())
        model = mlflow.sklearn.log_model(forest, name="forest", input_example=X[:2], **FORMATS[name])
    assert mlflow.get_run(run.info.run_id).data.params["n_estimators"] == "6"
    loaded = mlflow.sklearn.load_model(model.model_uri)
    assert type(loaded) is isoxide.IsolationForest
    assert loaded.get_params() == forest.get_params()
    np.testing.assert_array_equal(loaded.score_samples(X), forest.score_samples(X))
    served = mlflow.pyfunc.load_model(model.model_uri)
    np.testing.assert_array_equal(served.predict(X), forest.predict(X))
    assert model.signature is not None
    # A server installs these packages.
    requirements = mlflow.pyfunc.get_model_dependencies(model.model_uri)
    with open(requirements) as file:
        packages = {line.split("==")[0].strip() for line in file}
    assert {"isoxide", "scikit-learn"} <= packages


def log_without_trust(folder):
    mlflow = mlflow_in(folder)
    forest = isoxide.IsolationForest(n_estimators=6).fit(table())
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"Untrusted types .*isoxide\.IsolationForest"):
        mlflow.sklearn.save_model(forest, f"{folder}/model", serialization_format="skops")


def autolog(folder):
    import sklearn.ensemble

    mlflow, X = mlflow_in(folder), table()
    mlflow.sklearn.autolog(log_models=False, log_datasets=False)
    sklearn.ensemble.IsolationForest(n_estimators=5).fit(X)
    first = mlflow.last_active_run()
    assert first.data.params["n_estimators"] == "5"
    # Autologging does not record a class of another package ...
    isoxide.IsolationForest(n_estimators=6).fit(X)
    assert mlflow.last_active_run().info.run_id == first.info.run_id
    # ... but it records a pipeline, which is a class of scikit-learn.
    make_pipeline(isoxide.IsolationForest(n_estimators=7)).fit(X)
    last = mlflow.last_active_run()
    assert last.info.run_id != first.info.run_id
    params = {k: v for k, v in last.data.params.items() if k.startswith("isolationforest__")}
    assert params["isolationforest__n_estimators"] == "7"
    assert len(params) == len(isoxide.IsolationForest().get_params())


@pytest.mark.parametrize("name", FORMATS)
def test_a_forest_is_logged_and_loaded(name, tmp_path):
    ended = run_in_new_process(log_and_load, str(tmp_path), name)
    assert ended.code == 0, ended.err


def test_the_format_skops_requires_trust_in_the_class(tmp_path):
    ended = run_in_new_process(log_without_trust, str(tmp_path))
    assert ended.code == 0, ended.err


def test_autologging_records_forests_in_pipelines(tmp_path):
    ended = run_in_new_process(autolog, str(tmp_path))
    assert ended.code == 0, ended.err
