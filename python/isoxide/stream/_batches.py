"""Batches that are read while the ones before them are worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa

from isoxide._common.threads import ask_for_threads

#: Batches that are read ahead.
_AHEAD = 2


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
        ask_for_threads(1)
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

    def _next(self) -> tuple[pa.RecordBatch | None, BaseException | None]:
        while True:
            # In this order: what the reader has put before it ended is in the queue by then.
            is_over = not self._thread.is_alive()
            with suppress(queue.Empty):
                item: tuple[pa.RecordBatch | None, BaseException | None] = self._queue.get(timeout=0.1)
                return item
            if is_over:
                # Not even its error could be handed over.
                raise MemoryError("the thread that reads ahead has ended for want of memory")

    def _given(self) -> Iterator[pa.RecordBatch]:
        while True:
            batch, error = self._next()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch
