"""Folder of a kept model: written as a whole or not at all, and checked when it is read.

```text
model.json           format, version, identifier, and the content that the identifier is a hash of: threshold, settings,
                     training span, features with their facts, quantiles of the scores, and SHA-256 of the other files;
                     then the provenance: source and checksum of the table, its profile, versions and time
forest.safetensors   the forest
reference.parquet    distributions of all rows, of each group and of each entity with enough days
entities.parquet     entity, first day, numbers of days and rows
```
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from isoxide._common.files import FileSet, file_size, named_if_full, read_file, replace_file
from isoxide._common.json import loads
from isoxide._common.stores import Location, located
from isoxide._forest.estimator import IsolationForest
from isoxide.ueba import _fields as fields
from isoxide.ueba._identifiers import document_id
from isoxide.ueba._model_data import (
    ENTITIES_FILE,
    FOREST_FILE,
    REFERENCE_FILE,
    ModelData,
    Training,
    feature_facts,
)
from isoxide.ueba._model_settings import ModelSettings
from isoxide.ueba._reference import Reference
from isoxide.ueba._shares import check_families
from isoxide.ueba._size import SizeBands

__all__ = ["DOCUMENT_FILE", "MODEL_FILES", "read_model", "write_model"]

DOCUMENT_FILE = "model.json"
#: Names of all files of a model.
MODEL_FILES = (DOCUMENT_FILE, FOREST_FILE, REFERENCE_FILE, ENTITIES_FILE)
FORMAT, VERSION = "isoxide-model", 1
#: Largest size of the document in bytes, and largest number of its keys and items.
_MAX_BYTES, _MAX_ENTRIES = 2**28, 4_000_000
#: Number of times that a model is read again if another process replaces it meanwhile.
_N_ATTEMPTS = 3


def write_model(
    data: ModelData,
    folder: Any,
    move: Callable[[FileSet], None] = FileSet.put_in_place,
    filesystem: Any = None,
) -> Any:
    """Write the folder of a model: all of its files, or none.

    A store cannot replace several files in one step, so the document is sent last. It has the hashes of the other
    files, so nobody reads a model of which one half was replaced.

    Parameters
    ----------
    data : ModelData
        The model.
    folder : path or URL
        Folder, which is created if it does not exist. An earlier model in it is replaced.
    move : callable, default=FileSet.put_in_place
        Function that moves the files to a local folder.
    filesystem : pyarrow or fsspec file system, optional
        File system of the folder. By default a URL names it.

    Raises
    ------
    FileExistsError
        If the folder has a file ``model.json`` of something else.
    OSError
        If a file cannot be written; then a local folder is unchanged.
    """
    folder = located(folder, filesystem)
    existing = folder / DOCUMENT_FILE
    if existing.exists() and not _is_model(existing):
        raise FileExistsError(f"{existing} is not a model of isoxide; choose another folder")
    provenance = {name: value for name, value in data.training.to_dict().items() if name in Training.PROVENANCE}
    document = {"format": FORMAT, "version": VERSION, "id": data.id, **data.content, "provenance": provenance}
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if isinstance(folder, Location):
        for name, content in data.files.items():
            replace_file(folder / name, lambda file, content=content: file.write_bytes(content))  # type: ignore[misc]
        replace_file(existing, lambda file: file.write_text(text, encoding="utf-8"))
        return str(folder)
    files = FileSet(folder)
    try:
        files.open()
        with named_if_full(folder):
            for name, content in data.files.items():
                (files / name).write_bytes(content)
            (files / DOCUMENT_FILE).write_text(text, encoding="utf-8")
        move(files)
    finally:
        files.close()
    return folder


def _is_model(path: Path | Location) -> bool:
    """Return whether a file is the document of a model, of any version."""
    try:
        document = loads(read_file(path)) if file_size(path) <= _MAX_BYTES else None
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


def read_model(folder: Any, filesystem: Any = None) -> ModelData:
    """Read the folder of a model, and check every file. Untrusted input is safe: reading never executes code.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or it lacks a file of a model.
    ValueError
        If a file was changed or damaged, or another product or a later version wrote it.
    """
    folder = located(folder, filesystem)
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"{folder} {problem}; give the folder of a model that `isoxide train` wrote")
    for attempt in range(_N_ATTEMPTS):
        text = _read(folder, DOCUMENT_FILE)
        try:
            return _model(folder, text)
        except ValueError:
            # Another process may have replaced the model while it was read.
            if attempt == _N_ATTEMPTS - 1 or _read(folder, DOCUMENT_FILE) == text:
                raise
    raise AssertionError("unreachable")


def _read(folder: Path | Location, name: str) -> bytes:
    path = folder / name
    if not path.exists():
        raise FileNotFoundError(f"{folder} has no file {name}; it is not the folder of a model, or not all of it")
    if name == DOCUMENT_FILE and file_size(path) > _MAX_BYTES:
        raise ValueError(f"{path} is larger than any document of a model")
    return read_file(path)


def _model(folder: Path | Location, text: bytes) -> ModelData:
    path = folder / DOCUMENT_FILE
    try:
        document = loads(text, max_keys=_MAX_ENTRIES, max_items=_MAX_ENTRIES, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON document of a model: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"{path} is not a model of isoxide: its format is not {FORMAT!r}")
    if document.get("version") != VERSION or isinstance(document["version"], bool):
        raise ValueError(
            f"{path} has format version {str(document.get('version'))[:20]!r}; this release reads version {VERSION}"
        )
    try:
        content = {k: v for k, v in document.items() if k not in ("format", "version", "id", "provenance")}
        if document["id"] != document_id(content):
            raise ValueError("its content does not fit its identifier, so it was changed; restore it, or train again")
        fields.check_json_values(content, "model")
        files = {
            name: _checked(folder, name, content["files"]) for name in (FOREST_FILE, REFERENCE_FILE, ENTITIES_FILE)
        }
        return _data(folder, content, document["provenance"], files)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is damaged: {reason}") from error
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(str(folder)) else f"{path}: {message}") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def _checked(folder: Path | Location, name: str, files: Mapping[str, Any]) -> bytes:
    """Return the content of a file, if it has the hash that the document states."""
    data = _read(folder, name)
    expected = files[name]["sha256"]
    if hashlib.sha256(data).hexdigest() != expected:
        raise ValueError(
            f"{folder / name} is not the file that was saved with this model: its SHA-256 is not "
            f"{str(expected)[:12]}...; restore it, or train again"
        )
    return data


def _data(
    folder: Path | Location, content: dict[str, Any], provenance: dict[str, Any], files: dict[str, bytes]
) -> ModelData:
    """Return the data of a model, if the document fits the other files in every detail."""
    names = fields.names([own["name"] for own in content["features"]], "features", len(content["features"]))
    settings = ModelSettings.from_dict(content["settings"])
    training = Training(**content["training"], **_checked_provenance(provenance))
    fields.integers([training.rows, training.entities, training.days, training.period_days], "training", 1)
    if "has_zone" in content["training"] and not isinstance(training.has_zone, bool):
        raise ValueError("'has_zone' must be true or false")
    fields.day(training.first_day, "first_day")
    fields.day(training.last_day, "last_day")
    try:
        forest = IsolationForest.from_bytes(files[FOREST_FILE])
    except ValueError as error:
        raise ValueError(f"{folder / FOREST_FILE}: {error}") from error
    if list(getattr(forest, "feature_names_in_", [])) != names or -float(forest.offset_) != content["threshold"]:
        raise ValueError("its forest has other features or another threshold than the document")
    try:
        reference = Reference.read(names, files[REFERENCE_FILE], files[ENTITIES_FILE])
    except ValueError as error:
        raise ValueError(f"{folder / REFERENCE_FILE}: {error}") from error
    if reference.n_rows != training.rows or not reference.n_rows or reference.scores.n != reference.n_rows:
        raise ValueError("its reference has another number of rows than the document")
    is_constant = [own["is_constant_within_days"] for own in content["features"]]
    if any(not isinstance(flag, bool) for flag in is_constant):
        raise ValueError("'is_constant_within_days' must be true or false")
    families = content.get("families")
    families = None if families is None else check_families(families, len(names))
    size = content.get("size")
    size = None if size is None else SizeBands.from_dict(size, names)
    if size is not None and reference.labels("group") != sorted(size.names):
        raise ValueError("its bands of similar size are not those of its reference")
    data = ModelData(
        forest, settings, reference, feature_facts(reference, is_constant), training, files, families, size
    )
    # Facts and quantiles follow from the reference, so that any other value is a mistake.
    for name, value in data.content.items():
        if value != content[name]:
            raise ValueError(f"{name!r} does not fit the other files of the model")
    return data


def _checked_provenance(provenance: Any) -> dict[str, Any]:
    """Return the provenance of a model, if it has the right types."""
    fields.check_json_values(provenance, "provenance")
    if not isinstance(provenance, dict) or set(provenance) != set(Training.PROVENANCE):
        raise ValueError(f"'provenance' must have the entries {', '.join(Training.PROVENANCE)}")
    for name in ("source", "sha256"):
        if provenance[name] is not None:
            fields.text(provenance[name], name)
    fields.text(provenance["created"], "created")
    for name in ("profile", "versions"):
        if not isinstance(provenance[name], dict):
            raise ValueError(f"{name!r} must be an object")
    return provenance
