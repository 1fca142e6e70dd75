"""Save and load estimators and models of Spark ML, in the layout of Spark's own.

A folder ``metadata`` has one line of JSON: the class, the uid and the params. A model also has a folder ``data``, a
Parquet file of one cell with the bytes of the forest, whose SHA-256 is in the metadata. Spark writes and reads both, so
they may be on any file system of Hadoop, and Spark Connect has them too. The metadata are written last: without them
nothing can be loaded.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from pyspark.errors import PySparkException
from pyspark.ml.param import Params
from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, MLReadable, MLReader, MLWriter
from pyspark.sql import SparkSession

from isoxide._forest.estimator import IsolationForest as Forest
from isoxide.spark._engine import context_of
from isoxide.spark._errors import Py4JError, in_one_line, raise_in_one_line

__all__ = ["Reader", "Writer"]

T = TypeVar("T", bound=MLReadable[Any])

#: Key of the metadata under which the checksum of the forest is kept.
_CHECKSUM = "forestSha256"
_EXISTS = re.compile(r"PATH_ALREADY_EXISTS|already exists")
_NOT_FOUND = re.compile(r"PATH_NOT_FOUND|Path does not exist|FileNotFoundException")
#: Exception of a file system, with its message.
_FILE_ERROR = re.compile(r"^: ((?:org\.apache\.hadoop|java\.n?io)\.\S+: [^\n]*)", re.MULTILINE)
_DENIED = re.compile(r"AccessControl|AccessDenied|Permission denied|Mkdirs failed")
_UNREADABLE = re.compile(r"ChecksumException|CANNOT_READ_FILE|FAILED_READ_FILE|is not a Parquet file|PARQUET")


class Writer(MLWriter):
    """Writer of an estimator or a model.

    Parameters
    ----------
    instance : Params
        Estimator or model.
    forest : isoxide.IsolationForest, optional
        Forest of a model.
    """

    def __init__(self, instance: Params, forest: Forest | None = None) -> None:
        super().__init__()
        self._instance, self._forest = instance, forest

    @in_one_line
    def save(self, path: str) -> None:
        """Save to a path of any file system that Spark writes to.

        Parameters
        ----------
        path : str
            Folder to make.

        Raises
        ------
        TypeError
            If `path` is not a string.
        FileExistsError
            If the path exists, and `overwrite` was not called.
        """
        path = _checked_path(path)
        session = self.sparkSession
        # `FileSystem` of Hadoop is there in a session of this machine only, so Spark Connect replaces folder by folder.
        delete = _deleter(session, path, overwrite=self.shouldOverwrite)
        try:
            self._write(session, path)
        except (PySparkException, Py4JError) as error:
            original = error
        else:
            return
        if delete is not None:
            delete()
        text = str(original)
        if _EXISTS.search(text) is not None:
            raise FileExistsError(_exists(path))
        if (failed := _FILE_ERROR.search(text)) is not None:
            kind = PermissionError if _DENIED.search(failed[1]) else OSError
            raise kind(f"cannot write to {path!r}: {failed[1].strip()}")
        raise_in_one_line(original)

    def _write(self, session: SparkSession, path: str) -> None:
        mode, extra = "overwrite" if self.shouldOverwrite else "error", None
        if self._forest is not None:
            data = self._forest.to_bytes(complete=True)
            extra = {_CHECKSUM: hashlib.sha256(data).hexdigest()}
            frame = session.createDataFrame([(bytearray(data),)], "forest binary")
            frame.coalesce(1).write.mode(mode).parquet(f"{path}/data")
        text = DefaultParamsWriter._get_metadata_to_save(self._instance, session, extra)
        session.createDataFrame([(text,)], "value string").coalesce(1).write.mode(mode).text(f"{path}/metadata")


class Reader(MLReader[T]):
    """Reader of an estimator or a model. Untrusted files are safe: reading runs no code of theirs.

    Parameters
    ----------
    cls : type
        Class of the estimator or model.
    of_forest : callable, optional
        Function that makes a model of a forest.
    """

    def __init__(self, cls: Any, of_forest: Callable[[Forest], Any] | None = None) -> None:
        super().__init__()
        self._cls, self._of_forest = cls, of_forest

    @in_one_line
    def load(self, path: str) -> T:
        """Load from a path.

        Parameters
        ----------
        path : str
            Folder that `Writer.save` made.

        Raises
        ------
        TypeError
            If `path` is not a string.
        FileNotFoundError
            If there is nothing at the path, or writing it was interrupted.
        ValueError
            If the files are of another class, or were changed since they were saved.
        """
        path = _checked_path(path)
        original: Exception | None = None
        try:
            return self._load(path)
        except (PySparkException, Py4JError) as error:
            original = error
        text = str(original)
        if _NOT_FOUND.search(text) is not None:
            raise FileNotFoundError(f"there is no complete {self._name} at {path!r}")
        if _UNREADABLE.search(text) is not None:
            raise ValueError(f"{path!r} holds no {self._name}: its files were changed or damaged since they were saved")
        raise_in_one_line(original)

    @property
    def _name(self) -> str:
        return f"{self._cls.__module__}.{self._cls.__name__}"

    def _load(self, path: str) -> T:
        session = self.sparkSession
        lines = [row["value"] for row in session.read.schema("value string").text(f"{path}/metadata").head(2)]
        metadata = self._metadata(lines, path)
        if self._of_forest is None:
            instance = self._cls()
        else:
            instance = self._of_forest(self._read_forest(session, path, metadata))
        try:
            instance._resetUid(metadata["uid"])
            DefaultParamsReader.getAndSetParams(instance, metadata)
        except (AttributeError, AssertionError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the metadata of {path!r} are not those of {self._name}: {error}") from None
        return instance  # type: ignore[no-any-return]

    def _metadata(self, lines: list[str], path: str) -> dict[str, Any]:
        try:
            (line,) = lines
            metadata = json.loads(line)
            name = metadata["class"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError(
                f"{path!r} holds no {self._name}: its metadata are not one line of JSON of Spark ML"
            ) from None
        if name != self._name:
            raise ValueError(f"{path!r} holds no {self._name}, but {str(name)[:200]}; load it with that class")
        return dict(metadata)

    def _read_forest(self, session: SparkSession, path: str, metadata: dict[str, Any]) -> Forest:
        rows = session.read.schema("forest binary").parquet(f"{path}/data").head(2)
        if len(rows) != 1 or rows[0]["forest"] is None:
            raise ValueError(f"{path!r} must hold one forest, but its folder data has another number of rows")
        data = bytes(rows[0]["forest"])
        if hashlib.sha256(data).hexdigest() != metadata.get(_CHECKSUM):
            raise ValueError(
                f"the forest in {path!r} is not the one that was saved: its SHA-256 is not that of the metadata"
            )
        return Forest.from_bytes(data)


def _checked_path(path: Any) -> str:
    if not isinstance(path, str):
        raise TypeError(f"path must be a string, not {type(path).__name__}")
    return path.rstrip("/") or path


def _exists(path: str) -> str:
    return f"{path!r} exists already; replace it with write().overwrite().save(path)"


def _deleter(session: SparkSession, path: str, *, overwrite: bool) -> Callable[[], Any] | None:
    """Make room at a path, and return a function that deletes what is written there; None with Spark Connect.

    Raises
    ------
    FileExistsError
        If the path exists and is not to be overwritten.
    """
    context = context_of(session)
    if context is None:
        return None
    jvm: Any = context._jvm
    hadoop_path = jvm.org.apache.hadoop.fs.Path(path)
    files = hadoop_path.getFileSystem(session._jsparkSession.sessionState().newHadoopConf())
    if files.exists(hadoop_path):
        if not overwrite:
            raise FileExistsError(_exists(path))
        files.delete(hadoop_path, True)
    return lambda: files.delete(hadoop_path, True)
