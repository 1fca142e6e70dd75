"""Read batches while the ones before them are worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pyarrow as pa

from isoxide._common.threads import ask_for_threads

__all__ = ["Prefetcher"]

#: Batches that are read ahead.
_MAX_AHEAD = 2


class Prefetcher:
    """Reads ahead on a thread of its own, which ends with the context.

    Reading and computing both release the interpreter's lock, so one goes on while the other waits.

    Parameters
    ----------
    batches : iterator of pyarrow.RecordBatch
        The batches that are read.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._queue: queue.Queue[Any] = queue.Queue(_MAX_AHEAD)
        self._is_cancelled = threading.Event()
        self._thread = threading.Thread(target=self._read, name="isoxide-reader", daemon=True)

    def __enter__(self) -> Iterator[pa.RecordBatch]:
        ask_for_threads(1)
        self._thread.start()
        return self._received()

    def __exit__(self, *error: object) -> None:
        self._is_cancelled.set()
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
        while not self._is_cancelled.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return True
        return False

    def _next(self) -> tuple[pa.RecordBatch | None, BaseException | None]:
        while True:
            # In this order: what the reader put before it ended is in the queue by then.
            is_over = not self._thread.is_alive()
            with suppress(queue.Empty):
                item: tuple[pa.RecordBatch | None, BaseException | None] = self._queue.get(timeout=0.1)
                return item
            if is_over:
                # Not even its error could be handed over.
                raise MemoryError("the thread that reads ahead has ended for want of memory")

    def _received(self) -> Iterator[pa.RecordBatch]:
        while True:
            batch, error = self._next()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch
