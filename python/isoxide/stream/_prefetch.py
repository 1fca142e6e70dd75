"""Read the next batches while the current one is processed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa

from isoxide._common.threads import check_thread_memory

__all__ = ["Prefetcher"]

#: Maximum number of batches that are read ahead.
_MAX_AHEAD = 2


class Prefetcher:
    """Context that reads batches ahead on its own thread.

    Reading and computing both release the interpreter's lock, so they run at the same time. Leaving the context ends
    the thread.

    Parameters
    ----------
    batches : iterator of pyarrow.RecordBatch
        Batches to read.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._queue: queue.Queue[Any] = queue.Queue(_MAX_AHEAD)
        self._is_cancelled = threading.Event()
        self._thread = threading.Thread(target=self._read, name="isoxide-reader", daemon=True)

    def __enter__(self) -> Iterator[pa.RecordBatch]:
        check_thread_memory(1)
        self._thread.start()
        return self._received()

    def __exit__(self, *error: object) -> None:
        self._is_cancelled.set()
        # Take batches out of the queue, since the reader may be waiting for space in it.
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
        while not self._is_cancelled.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return True
        return False

    def _next(self) -> tuple[pa.RecordBatch | None, BaseException | None]:
        while True:
            # Check the thread before the queue: if it has ended, its last batches are in the queue.
            is_over = not self._thread.is_alive()
            with suppress(queue.Empty):
                item: tuple[pa.RecordBatch | None, BaseException | None] = self._queue.get(timeout=0.1)
                return item
            if is_over:
                # The thread ended without passing on a batch or an error.
                raise MemoryError("the thread that reads ahead ended because memory ran out")

    def _received(self) -> Iterator[pa.RecordBatch]:
        while True:
            batch, error = self._next()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch
