"""Folders of models are written as a whole or not at all; whatever does not fit is refused with one line."""

import hashlib
import json
import os
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isoxide import ueba
from isoxide.ueba._identifiers import document_id
from ueba_tables import actor_days

NAMES = {"entity": "actor", "time": "day"}


@pytest.fixture(scope="module")
def model(seed):
    return ueba.Model.fit(ueba.read_table(actor_days(seed), **NAMES), threshold=0.6, n_estimators=5)


@pytest.fixture
def folder(model, tmp_path):
    return model.save(tmp_path / "model")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def forged(folder, change):
    """Change the document, and give it the identifier that fits the change."""
    path = folder / "model.json"
    document = json.loads(path.read_text())
    change(document)
    content = {k: v for k, v in document.items() if k not in ("format", "version", "id", "provenance")}
    document["id"] = document_id(content)
    path.write_text(json.dumps(document))


def with_file(name, data):
    """Return a change that puts another file into the folder, and its hash into the document."""

    def change(document):
        document["files"][name]["sha256"] = hashlib.sha256(data).hexdigest()

    return change


@pytest.mark.parametrize("name", ["forest.safetensors", "reference.parquet", "entities.parquet"])
def test_one_changed_byte_is_refused(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"{name} is not the file that was saved with this model: its SHA-256") as told:
        ueba.Model.load(folder)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["forest.safetensors", "reference.parquet", "entities.parquet", "model.json"])
def test_missing_files_are_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no file {name}"):
        ueba.Model.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="other-model"), "is not a model of isoxide: its format is not 'isoxide-model'"),
        (lambda d: d.update(version=2), "has format version '2'; this release reads version 1"),
        (lambda d: d.update(version=True), "has format version 'True'"),
        (lambda d: d.update(version=None), "has format version 'None'"),
        (lambda d: d.pop("version"), "has format version 'None'"),
        (lambda d: d.update(threshold=0.55), "its forest has other features or another threshold"),
        (lambda d: d["features"].pop(), "its forest has other features or another threshold"),
        (lambda d: d["features"][0].update(name=5), "'features' is 5, but must be text"),
        (lambda d: d.pop("settings"), "is damaged: it lacks 'settings'"),
        (lambda d: d["settings"]["ranks"].update(side="left"), "'ranks' has the unknown entry 'side'"),
        (lambda d: d["settings"]["ranks"].update(tail="left"), "tail must be"),
        (lambda d: d["settings"].update(rules=[{"rule": "eval"}]), "is damaged: it lacks 'eval'"),
        (lambda d: d["settings"].update(entity=7), "'entity' is 7, but must be text"),
        (lambda d: d["settings"]["rules"][0].update(limit="3"), "the rule 'zscore' has a field of the wrong type"),
        (lambda d: d["settings"]["rules"][1].update(columns="is_weekend"), "the rule 'flag' has a field of the wrong"),
        (lambda d: d["settings"]["ranks"].update(domain_defaults=1), "'domain_defaults' must be true or false"),
        (lambda d: d["features"][0].update(median=1e9), "'features' does not fit the other files of the model"),
        (lambda d: d["features"][0].update(nan_share="none"), "'features' does not fit the other files"),
        (lambda d: d["features"][0].update(is_constant_within_days=2), "must be true or false"),
        (lambda d: d["score_quantiles"].update({"0.5": 0.9}), "'score_quantiles' does not fit the other files"),
        (lambda d: d["provenance"].update(source=5), "'source' is 5, but must be text"),
        (lambda d: d["provenance"].pop("profile"), "'provenance' must have the entries"),
        (lambda d: d["settings"].update(bands=[3, 2, 1]), "must ascend"),
        (lambda d: d["training"].update(rows=5), "another number of rows"),
        (lambda d: d["training"].update(has_zone="yes"), "'has_zone' must be true or false"),
        (lambda d: d.update(size={"feature": "n_0", "edges": [2], "n_counts": 2, "explained": 0.1}), "similar size"),
        (lambda d: d.update(size={"feature": "n_0"}), "'size' must have the entries"),
        (lambda d: d["training"].update(rows="many"), "'training' is 'many', but must be an integer"),
        (lambda d: d["training"].update(first_day="soon"), "'first_day' is 'soon', but must be a day"),
        (lambda d: d.update(files=[]), "is damaged"),
    ],
)
def test_documents_that_do_not_fit_are_refused(folder, change, message):
    forged(folder, change)
    with pytest.raises(ValueError, match=message) as told:
        ueba.Model.load(folder)
    assert "\n" not in str(told.value)
    assert str(folder) in str(told.value)


def test_a_changed_document_is_refused(folder):
    path = folder / "model.json"
    path.write_text(path.read_text().replace('"threshold": 0.6', '"threshold": 0.7', 1))
    with pytest.raises(ValueError, match="its content does not fit its identifier, so it was changed"):
        ueba.Model.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 10_000, '{"format": NaN}', "\x00"])
def test_other_texts_are_refused(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(ValueError, match="is not a"):
        ueba.Model.load(folder)


def other_reference(folder, change):
    """Replace the reference by one whose table is changed."""
    table = change(pq.read_table(folder / "reference.parquet"))
    pq.write_table(table, folder / "reference.parquet")
    forged(folder, with_file("reference.parquet", (folder / "reference.parquet").read_bytes()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["values of n_0"]), "its columns are not those of a reference"),
        (lambda t: t.slice(1), "does not begin with the distribution of all rows"),
        (lambda t: t.set_column(0, "scope", pa.array(["some"] * len(t))), "does not begin with the distribution"),
        (lambda t: t.set_column(2, "rows", pa.array([3] * len(t))), "counts that do not fit its rows"),
        (
            lambda t: t.set_column(6, t.column_names[6], pa.array([[2.0, 1.0]] * len(t), t.schema[6].type)),
            "counts that do not fit|do not ascend",
        ),
        (
            lambda t: t.set_column(6, t.column_names[6], pa.array([None] * len(t), t.schema[6].type)),
            "a distribution lacks values",
        ),
    ],
)
def test_references_that_do_not_fit_are_refused(folder, change, message):
    other_reference(folder, change)
    with pytest.raises(ValueError, match=message) as told:
        ueba.Model.load(folder)
    assert "reference.parquet" in str(told.value)


def test_a_file_that_is_no_parquet_is_refused(folder):
    (folder / "reference.parquet").write_bytes(b"PAR1 and more")
    forged(folder, with_file("reference.parquet", b"PAR1 and more"))
    with pytest.raises(ValueError, match="its Parquet cannot be read"):
        ueba.Model.load(folder)


def test_a_path_that_is_no_folder_is_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing does not exist; give the folder of a model"):
        ueba.Model.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"model.json is not a folder"):
        ueba.Model.load(folder / "model.json")


def test_another_model_replaces_all_files(model, folder, seed):
    """Other files in the folder stay."""
    (folder / "notes.txt").write_text("ours")
    other = ueba.Model.fit(ueba.read_table(actor_days(seed, n_days=20), **NAMES), threshold=0.7, n_estimators=3)
    other.save(folder)
    assert ueba.Model.load(folder).id == other.id != model.id
    assert (folder / "notes.txt").read_text() == "ours"


def test_the_document_of_another_product_is_not_replaced(model, tmp_path):
    (tmp_path / "model.json").write_text('{"format": "layers-model"}')
    with pytest.raises(FileExistsError, match=r"model.json is not a model of isoxide; choose another folder"):
        model.save(tmp_path)
    assert contents(tmp_path) == {"model.json": b'{"format": "layers-model"}'}


@pytest.mark.parametrize("name", ["forest.safetensors", "reference.parquet", "entities.parquet", "model.json"])
def test_a_file_that_cannot_be_written_leaves_the_earlier_model(model, folder, name, seed):
    other = ueba.Model.fit(ueba.read_table(actor_days(seed, n_days=20), **NAMES), threshold=0.7, n_estimators=3)
    before = contents(folder)
    if name != "model.json":
        (folder / name).unlink()
        (folder / name).mkdir()
        before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    else:
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / name).mkdir()
        before = {}
    with pytest.raises(OSError):  # noqa: PT011 (any of its subclasses)
        other.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_full_disk_leaves_the_earlier_model(model, folder, monkeypatch):
    before = contents(folder)

    def full(self, data):
        # Only opening a file names it; writing to it does not.
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left") as told:
        model.save(folder)
    assert told.value.filename == str(folder)
    monkeypatch.undo()
    assert contents(folder) == before


def test_a_model_that_is_replaced_while_it_is_read_is_read_again(model, folder, seed, monkeypatch):
    other = ueba.Model.fit(ueba.read_table(actor_days(seed, n_days=20), **NAMES), threshold=0.7, n_estimators=3)
    from isoxide.ueba import _model_files

    read, names = _model_files.read_file, []

    def read_late(path):
        names.append(path.name)
        if names == ["model.json", "forest.safetensors"]:
            other.save(folder)
        return read(path)

    monkeypatch.setattr(_model_files, "read_file", read_late)
    assert ueba.Model.load(folder).id == other.id


HOSTILE = [None, True, -1, 2**70, "x", "\ud800", [], {"a": 1}, ...]


def paths(value, path=()):
    """Yield the path of every value in a document, but only the first entries of lists."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(min(len(value), 2)):
            yield from paths(value[key], (*path, key))


@pytest.mark.slow
# A changed `has_zone` is harmless, and the day's times have no zone.
@pytest.mark.filterwarnings("ignore:the model was trained on times with a time zone:UserWarning")
def test_any_changed_value_is_refused_or_harmless(model, folder, tmp_path, seed):
    """Also with an identifier that fits the change, a model is refused with one line, or works and can be stored."""
    text = (folder / "model.json").read_text()
    rng = np.random.default_rng(seed)
    day = ueba.read_table(actor_days(seed).tail(20), **NAMES)
    messages, unused = [], []
    for path in list(paths(json.loads(text))):
        if not path or path[0] in ("format", "version", "id") or path[:2] == ("provenance", "profile"):
            continue
        for k in rng.choice(len(HOSTILE), 3, replace=False):
            (folder / "model.json").write_text(text)

            def change(document, path=path, value=HOSTILE[k]):
                *parents, last = path
                for key in parents:
                    document = document[key]
                if value is ...:
                    del document[last]
                else:
                    document[last] = value

            forged(folder, change)
            try:
                other = ueba.Model.load(folder)
            except ValueError as error:
                messages.append(str(error))
                continue
            try:
                result = other.detect(day)
            except ValueError as error:
                # Settings may name a column that the table lacks.
                unused.append(str(error))
                continue
            assert ueba.read_findings(result.to_json(tmp_path / "f.json")).manifest == result.manifest
    assert len(messages) > 100
    assert not any("\n" in message for message in messages)
    assert all(re.search("of the model is the column|has the groups of the model", message) for message in unused)
