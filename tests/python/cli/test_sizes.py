"""The command compares rows with rows of similar size, with and without a model, in memory and in batches."""

import json

import pandas as pd
import pytest

from command import NAMES, Done
from isoxide import ueba
from ueba_tables import sized_days

pytestmark = [
    pytest.mark.not_parallel(reason="the command changes the handlers of signals"),
    pytest.mark.current_versions(reason="the command does not depend on scikit-learn"),
]
SPLIT = "2025-02-20"


@pytest.fixture(scope="module")
def folder(seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sizes")
    frame = sized_days(seed)
    frame.to_csv(folder / "all.csv", index=False)
    frame[frame["day"] < SPLIT].to_csv(folder / "old.csv", index=False)
    frame[frame["day"] >= SPLIT].to_csv(folder / "new.csv", index=False)
    return folder


def notes(path):
    return pd.read_csv(path, keep_default_na=False)["size_note"].tolist()


def test_detect(folder, tmp_path):
    options = [folder / "all.csv", *NAMES, "--contamination", 0.02, "--groups", "size", "--format", "csv,json"]
    text = Done("detect", *options, "--out", tmp_path / "a").ok()
    expected = ueba.detect(
        ueba.read_table(folder / "all.csv", entity="actor", time="day"), contamination=0.02, groups="size"
    )
    written = next((tmp_path / "a").glob("*.csv"))
    assert notes(written) == expected.to_frame()["size_note"].tolist()
    assert f"  {expected.size_bands.note()}\n" in text
    n_explained = sum("o value is unusual" in note for note in notes(written))
    assert f"  {n_explained} of {len(expected)} findings have no value that is unusual for their size\n" in text
    Done("detect", *options, "--stream", "--out", tmp_path / "b")
    assert next((tmp_path / "b").glob("*.csv")).read_bytes() == written.read_bytes()


def test_a_model_keeps_its_bands(folder, tmp_path):
    options = [folder / "old.csv", *NAMES, "--contamination", 0.04, "--trees", 40, "--groups", "size"]
    Done("train", *options, "--out", tmp_path / "model").ok()
    document = json.loads((tmp_path / "model" / "model.json").read_text())
    Done("train", *options, "--stream", "--out", tmp_path / "streamed")
    assert json.loads((tmp_path / "streamed" / "model.json").read_text())["id"] == document["id"]
    text = Done("detect", folder / "new.csv", "--model", tmp_path / "model", "--out", tmp_path / "run").ok()
    model = ueba.Model.load(tmp_path / "model")
    expected = model.detect(ueba.read_table(folder / "new.csv", entity="actor", time="day"))
    assert expected.size_bands.to_dict() == document["size"]
    assert notes(next((tmp_path / "run").glob("*.csv"))) == expected.to_frame()["size_note"].tolist()
    assert expected.size_bands.note() in text


@pytest.mark.parametrize("command", ["detect", "train"])
def test_a_column_of_that_name_makes_it_ambiguous(folder, tmp_path, command):
    pd.read_csv(folder / "all.csv").assign(size="large").to_csv(tmp_path / "t.csv", index=False)
    options = [tmp_path / "t.csv", *NAMES, "--contamination", 0.02, "--groups", "size", "--out", tmp_path / "out"]
    assert Done(command, *options).failed("has a column 'size'; rename the column")
    assert Done(command, *options, "--stream").returncode == 1


def test_numbers_of_findings_are_singular_or_left_out(folder, tmp_path):
    """One finding is no findings, and nothing is said about the sizes of none."""
    train = [folder / "old.csv", *NAMES, "--trees", 10, "--groups", "size", "--out"]
    frame = pd.read_csv(folder / "new.csv")
    Done("train", *train, tmp_path / "low", "--threshold", 0.45).ok()
    Done("train", *train, tmp_path / "high", "--threshold", 0.99).ok()
    scores = ueba.Model.load(tmp_path / "low").forest.score_samples(frame[ueba.Model.load(tmp_path / "low").features])
    frame.iloc[[scores.argmin()]].to_csv(tmp_path / "one.csv", index=False)
    text = Done("detect", tmp_path / "one.csv", "--model", tmp_path / "low", "--out", tmp_path / "a").stdout
    assert "\n1 finding of 1 entity, anomaly score above 0.45" in text
    assert " of 1 finding has no value that is unusual for its size\n" in text
    text = Done("detect", tmp_path / "one.csv", "--model", tmp_path / "high", "--out", tmp_path / "b").stdout
    assert "\n0 findings of 0 entities, anomaly score above 0.99" in text
    assert "unusual for" not in text


@pytest.mark.parametrize("option", ["--out", "--decisions", "--model", "--log"])
def test_a_url_is_no_folder_of_this_machine(folder, tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    options = ["detect", folder / "new.csv", *NAMES, "--train-on-this", option]
    Done(*options, "memory://lake/x").failed("'memory://lake/x' is a URL, but this must be a path of this", code=2)
    Done(*options, "s3:/lake/x").failed("s3:/lake/x is neither a URL nor likely a local path", code=2)
    assert list(tmp_path.iterdir()) == []
