"""Test that estimators and models of Spark ML are saved and loaded, and that files that were changed are refused."""

import hashlib
import json
import pathlib
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.feature import Binarizer

import isoxide
from isoxide.spark.ml import IsolationForest, IsolationForestModel
from spark_results import assert_same_forest

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.spark,
    pytest.mark.not_parallel(reason="one Spark session for all"),
    pytest.mark.current_versions(reason="Spark is not installed with the oldest versions"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture(scope="module")
def forest(seed):
    X = np.random.default_rng(seed).normal(size=(60, 2))
    return isoxide.IsolationForest(n_estimators=4, contamination=0.1, random_state=0).fit(X)


@pytest.fixture(scope="module")
def saved(spark, forest, tmp_path_factory):
    """Return the folder of a saved model."""
    path = tmp_path_factory.mktemp("models") / "model"
    IsolationForestModel(forest).setInputCols(["a", "b"]).setScoreCol("s").save(str(path))
    return path


@pytest.fixture
def copied(saved, tmp_path):
    """Return a copy of the saved model, which a test may damage."""
    return pathlib.Path(shutil.copytree(saved, tmp_path / "copy"))


def data_file(path):
    (file,) = (path / "data").glob("*.parquet")
    return file


def metadata_file(path):
    (file,) = (path / "metadata").glob("part-*")
    return file


def without_checksum(file):
    """Delete the checksum that Hadoop keeps for files of this machine, as other file systems have none."""
    (file.parent / f".{file.name}.crc").unlink()
    return file


def test_a_model_is_saved_in_the_layout_of_spark(spark, forest, saved):
    loaded = IsolationForestModel.load(str(saved))
    assert_same_forest(loaded.forest, forest)
    assert (loaded.getInputCols(), loaded.getScoreCol(), loaded.isSet("featuresCol")) == (["a", "b"], "s", False)
    metadata = json.loads(metadata_file(saved).read_text())
    assert metadata["class"] == "isoxide.spark.ml.IsolationForestModel"
    assert metadata["uid"] == loaded.uid
    assert metadata["paramMap"] == {"inputCols": ["a", "b"], "scoreCol": "s"}
    # The data are one cell with the file of the forest, which needs no Spark.
    data = pq.read_table(data_file(saved))["forest"].to_pylist()
    assert data == [forest.to_bytes(complete=True)]
    assert metadata["forestSha256"] == hashlib.sha256(data[0]).hexdigest()


def test_paths_are_replaced_only_if_asked(spark, forest, saved, tmp_path):
    model = IsolationForestModel(forest)
    for estimator_or_model in (model, IsolationForest()):
        with pytest.raises(FileExistsError, match=r"model' exists already; replace it with write\(\).overwrite\(\)"):
            estimator_or_model.save(str(saved))
    assert IsolationForestModel.load(str(saved)).getScoreCol() == "s"
    path = f"file://{tmp_path}/replaced/"
    IsolationForest(orderBy="id", contamination=0.25, maxSamples=50).write().overwrite().save(path)
    estimator = IsolationForest.load(path)
    assert (estimator.getOrderBy(), estimator.getContamination(), estimator.getMaxSamples()) == (["id"], 0.25, 50)
    model.write().overwrite().session(spark).save(path)
    assert_same_forest(IsolationForestModel.load(path).forest, forest)
    for wrong in (3, tmp_path):
        with pytest.raises(TypeError, match="path must be a string, not"):
            model.save(wrong)
        with pytest.raises(TypeError, match="path must be a string, not"):
            IsolationForestModel.load(wrong)


def test_what_is_no_saved_model_is_refused(spark, saved, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no complete isoxide.spark.ml.IsolationForestModel at .*none'"):
        IsolationForestModel.load(str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"no isoxide.spark.ml.IsolationForest, but isoxide.spark.ml.*Model;"):
        IsolationForest.load(str(saved))
    Binarizer(threshold=1.0).save(str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"but org.apache.spark.ml.feature.Binarizer; load it with that class"):
        IsolationForestModel.load(str(tmp_path / "other"))


def test_changed_forests_are_refused(spark, forest, copied):
    path = str(copied)
    file = data_file(copied)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match="its files were changed or damaged since they were saved") as caught:
        IsolationForestModel.load(path)
    assert "\n" not in str(caught.value)
    without_checksum(file)
    with pytest.raises(ValueError, match=r"damaged since they were saved|SHA-256 is not that of the metadata"):
        IsolationForestModel.load(path)
    # Another valid forest is not the one of the metadata.
    other = isoxide.IsolationForest(n_estimators=3).fit([[1.0, 2.0], [3.0, 4.0]])
    IsolationForestModel(other).write().overwrite().save(f"{path}-other")
    file.unlink()
    shutil.copy(data_file(pathlib.Path(f"{path}-other")), copied / "data")
    with pytest.raises(ValueError, match="not the one that was saved: its SHA-256 is not that of the metadata"):
        IsolationForestModel.load(path)
    shutil.copy(data_file(copied), copied / "data" / "second.parquet")
    with pytest.raises(ValueError, match="must hold one forest, but its folder data has another number of rows"):
        IsolationForestModel.load(path)
    shutil.rmtree(copied / "data")
    with pytest.raises(FileNotFoundError, match=r"there is no complete .*IsolationForestModel"):
        IsolationForestModel.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["paramMap"].update(handleInvalid="drop"), 'handleInvalid must be "keep", "skip" or "error"'),
        (lambda m: m["paramMap"].update(scoreCol=3), "Could not convert"),
        (lambda m: m["paramMap"].update(forest="x"), "Cannot find param with name forest"),
        (lambda m: m["paramMap"].update(trees=3), "has no attribute 'trees'"),
        (lambda m: m.pop("defaultParamMap"), "`defaultParamMap` section not found"),
        (lambda m: m.pop("uid"), "uid"),
        (lambda m: m.update(sparkVersion="x"), "x"),
        (lambda m: m.pop("class"), "its metadata are not one line of JSON"),
        (lambda m: m.pop("forestSha256"), "SHA-256 is not that of the metadata"),
        (None, "its metadata are not one line of JSON of Spark ML"),
    ],
)
def test_changed_metadata_are_refused(spark, copied, change, message):
    file = without_checksum(metadata_file(copied))
    metadata = json.loads(file.read_text())
    if change is None:
        file.write_text("[" * 100_000)
    else:
        change(metadata)
        file.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=message) as caught:
        IsolationForestModel.load(str(copied))
    assert "\n" not in str(caught.value)


def test_a_denied_write_leaves_nothing_behind(spark, forest, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write to '.*model': .* is not a directory: file:") as caught:
        IsolationForestModel(forest).save(str(tmp_path / "file" / "model"))
    assert "\n" not in str(caught.value)

    def fail(*arguments):
        spark.sql("SELECT raise_error('full')").collect()

    monkeypatch.setattr("isoxide.spark._persistence.DefaultParamsWriter._get_metadata_to_save", fail)
    with pytest.raises(Exception, match="full"):
        IsolationForestModel(forest).save(str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_estimators_are_saved_in_pipelines(spark, tmp_path):
    pipeline = Pipeline(stages=[IsolationForest(orderBy=["a", "b"], numEstimators=3)])
    pipeline.save(str(tmp_path / "p"))
    (stage,) = Pipeline.load(str(tmp_path / "p")).getStages()
    assert type(stage) is IsolationForest
    assert (stage.uid, stage.getOrderBy(), stage.getNumEstimators()) == (pipeline.getStages()[0].uid, ["a", "b"], 3)
