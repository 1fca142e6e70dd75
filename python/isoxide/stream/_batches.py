"""Batches while the ones before them are worked on, in the sizes that are wanted."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa

#: Bytes of a batch, about, and how many rows that may be.
_BATCH_BYTES, _FEWEST, _MOST = 16 << 20, 1 << 12, 1 << 18
#: Bytes of a value of a type that does not say.
_UNKNOWN_WIDTH = 32
#: Batches that are read ahead.
_AHEAD = 2


def batch_rows(schema: pa.Schema, columns: Iterable[str]) -> int:
    """Rows of these columns that make a batch of a size that stays in bounds."""
    width = 0
    for name in columns:
        try:
            width += schema.field(name).type.bit_width // 8 + 1
        except ValueError:
            width += _UNKNOWN_WIDTH
    return max(_FEWEST, min(_MOST, _BATCH_BYTES // max(width, 1)))


def sliced(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of so many at most, and none without any."""
    for batch in batches:
        for start in range(0, batch.num_rows, n_rows):
            yield batch.slice(start, n_rows)


def without_first(batches: Iterable[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """All but the first rows."""
    for batch in batches:
        if n_rows >= batch.num_rows:
            n_rows -= batch.num_rows
        else:
            yield batch.slice(n_rows)
            n_rows = 0


class Ahead:
    """Reads ahead on a thread of its own; a context, so that the thread ends with whoever reads.

    Reading and computing both let go of the interpreter's lock, so one goes on while the other waits.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._queue: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._is_given_up = threading.Event()
        self._thread = threading.Thread(target=self._read, name="isoxide-reader", daemon=True)

    def __enter__(self) -> Iterator[pa.RecordBatch]:
        self._thread.start()
        return self._given()

    def __exit__(self, *what: object) -> None:
        self._is_given_up.set()
        # The reader may wait for room.
        while self._thread.is_alive():
            with suppress(queue.Empty):
                self._queue.get(timeout=0.01)
        self._thread.join()

    def _read(self) -> None:
        try:
            for batch in self._batches:
                if not self._put((batch, None)):
                    return
            self._put((None, None))
        except BaseException as error:
            self._put((None, error))

    def _put(self, item: Any) -> bool:
        while not self._is_given_up.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return True
        return False

    def _given(self) -> Iterator[pa.RecordBatch]:
        while True:
            batch, error = self._queue.get()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch
