"""Raise errors of Spark, its workers and files with one line instead of pages of Java's traces."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from pyspark.errors import IllegalArgumentException, PySparkException

try:
    from py4j.protocol import Py4JError
except ImportError:
    # The client of Spark Connect comes without Py4J, and no error is of this class.
    class Py4JError(Exception):  # type: ignore[no-redef]
        """Error that no call raises."""


__all__ = ["BAD_ROW", "InvalidArgumentError", "Py4JError", "check_session", "in_one_line", "raise_in_one_line"]

M = TypeVar("M", bound=Callable[..., Any])

#: Beginning of the messages about rows that a query of isoxide refuses itself, in Spark's ``raise_error``.
BAD_ROW = "isoxide: "
#: Messages of Spark about a module that a worker cannot import, about Arrow of an old version, and about a file that it
#: cannot read, such as one whose columns have other types than the DataFrame.
_NO_MODULE = re.compile(r"No module named '([A-Za-z_]+)|\b(PyArrow|Pandas) >= [0-9.]+ must be installed")
_BAD_FILE = re.compile(r"\[(?:FAILED_READ_FILE|CANNOT_READ_FILE|PARQUET_COLUMN)[A-Z_.]*\] (.*)")
#: Messages about the Python of the workers.
_OTHER_PYTHON = re.compile(
    r"PYTHON_VERSION_MISMATCH\].*?worker has different version: ([\d.]+) than that in driver: ([\d.]+)", re.DOTALL
)
_NO_PYTHON = re.compile(r'Cannot run program "([^"]+)"')
#: Messages about a session that ended during a call.
_STOPPED = re.compile(
    r"stopped SparkContext|SparkContext was shut down|cancelled because SparkContext|SESSION_CLOSED|SESSION_CHANGED"
    r"|SESSION_NOT_FOUND|Answer from Java side is empty|trying to connect to the Java server"
)
_HAS_STOPPED = "the Spark session has been stopped: start a session, and read the DataFrame with it again"
_REFUSED_ROW = re.compile(rf"\[USER_RAISED_EXCEPTION\] {BAD_ROW}([^\n]*)")


class InvalidArgumentError(IllegalArgumentException, ValueError):
    """Invalid parameter or schema: both Spark's ``IllegalArgumentException`` and Python's ``ValueError``.

    Parameters
    ----------
    message : str
        Message of one line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message=message)
        # Exceptions are copied with their arguments.
        self.args = (message,)


def check_session(session: Any) -> None:
    """Refuse a session that has been stopped, since Spark's own errors do not say so.

    Parameters
    ----------
    session : pyspark.sql.SparkSession
        Session of a DataFrame.

    Raises
    ------
    RuntimeError
        If it has been stopped.
    """
    context = getattr(session, "_sc", None)
    if context._jsc is None if context is not None else getattr(session, "is_stopped", False):
        raise RuntimeError(_HAS_STOPPED)


def in_one_line(method: M) -> M:
    """Raise errors that users meet when workers, files or the session do not fit with a message of one line.

    Parameters
    ----------
    method : callable
        Method that computes something on Spark.
    """

    @functools.wraps(method)
    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        try:
            return method(*arguments, **keywords)
        except (PySparkException, Py4JError) as error:
            original = error
        raise_in_one_line(original)

    return wrapped  # type: ignore[return-value]


def raise_in_one_line(original: Exception) -> NoReturn:
    """Raise the error with one line that stands for an error of Spark, or the error itself if it is not known."""
    text = str(original)
    if (refused := _REFUSED_ROW.search(text)) is not None:
        raise ValueError(refused[1].split(" SQLSTATE")[0].rstrip())
    if _STOPPED.search(text) is not None:
        raise RuntimeError(_HAS_STOPPED)
    if (other := _OTHER_PYTHON.search(text)) is not None:
        raise RuntimeError(
            f"Spark's workers run Python {other[1]}, the driver runs Python {other[2]}: let PYSPARK_PYTHON or "
            "spark.pyspark.python name a Python of the same version on all executors"
        )
    if (missing := _NO_MODULE.search(text)) is not None:
        name = (missing[1] or missing[2]).lower()
        raise ImportError(
            f"Spark's workers cannot import {name}: install isoxide[spark] in the Python environment of all "
            "executors, which PYSPARK_PYTHON or spark.pyspark.python names",
            name=name,
        )
    if (program := _NO_PYTHON.search(text)) is not None:
        raise RuntimeError(
            f"Spark's workers cannot start Python: there is no program {program[1]!r}; let PYSPARK_PYTHON or "
            "spark.pyspark.python name the Python of all executors"
        )
    if (unread := _BAD_FILE.search(text)) is not None:
        reason = unread[1].split(" SQLSTATE")[0].strip()
        raise ValueError(
            f"Spark cannot read the DataFrame: {reason}; all files must have the columns and types of the "
            "DataFrame: write the file again with these types, or read the files in groups and cast them"
        )
    raise original
