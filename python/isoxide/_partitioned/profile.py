"""What a table in parts looks like before anything is made of it: the steps behind `isoxide.ueba.TableProfile`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._frames.keys import as_text
from isoxide._frames.profile import Profiler
from isoxide._frames.times import Times, zones
from isoxide._partitioned.aggregators import Fold, RowsStep, as_pickle, from_pickle, numbered
from isoxide._partitioned.table import ROW_NUMBER, Part

#: Files that hashes are parted into by their first bits.
_BITS = 6


class Zones(Fold):
    """The time zones in which the times of a text column are written."""

    def __init__(self, time: str) -> None:
        self.columns = (time,)

    def begin(self, part: Part) -> Any:
        """Return no zones."""
        return set()

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Add those of a batch."""
        return state | zones(batch.column(self.columns[0]))

    def finish(self, state: Any) -> bytes:
        """Return them as a list."""
        return as_pickle(sorted(state))

    def merge(self, results: Iterable[bytes]) -> bytes:
        """Return the zones of all parts."""
        return as_pickle(sorted({zone for result in results for zone in from_pickle(result)}))


class HashKeys(Fold):
    """A number for who and when of each row: equal ones for equal keys.

    Into files by their first bits, where a folder is given that all parts can write to; else 8 bytes a row.
    """

    def __init__(self, entity: str, times: Times, folder: Path | None) -> None:
        self.entity, self.times, self.folder = entity, times, folder
        self.columns = (entity, times.name)

    def begin(self, part: Part) -> Any:
        """Return no hashes."""
        return []

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Add those of a batch."""
        hashes = self.hashes(batch, first_row)
        if self.folder is None:
            state.append(hashes)
            return state
        bucket = (hashes >> np.uint64(64 - _BITS)).astype(np.int64)
        order = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket, minlength=1 << _BITS))
        for number, piece in enumerate(np.split(hashes[order], ends[:-1])):
            with open(self.folder / str(number), "ab") as file:
                file.write(piece.tobytes())
        return state

    def hashes(self, batch: pa.RecordBatch, first_row: int | None) -> NDArray[np.uint64]:
        """Return the numbers of a batch."""
        who = as_text(batch.column(self.entity), self.entity).to_pandas()
        frame = pd.DataFrame({"who": who, "when": self.times.of(batch, first_row)})
        hashes: NDArray[np.uint64] = np.asarray(pd.util.hash_pandas_object(frame, index=False), dtype=np.uint64)
        return hashes

    def finish(self, state: Any) -> bytes:
        """Return the hashes, if they are not in files."""
        return b"".join(piece.tobytes() for piece in state)

    def merge(self, results: Iterable[bytes]) -> bytes:
        """Return those of all parts."""
        return b"".join(results)

    def repeated(self, result: bytes) -> NDArray[np.uint64]:
        """Return the hashes that came more than once, ascending."""
        if self.folder is None:
            return _repeated(np.frombuffer(result, dtype=np.uint64))
        files = [self.folder / str(number) for number in range(1 << _BITS)]
        found = [_repeated(np.fromfile(path, np.uint64)) for path in files if path.exists()]
        return np.concatenate(found) if found else np.empty(0, dtype=np.uint64)


def _repeated(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


class FindKeys(RowsStep):
    """The rows whose keys have one of some hashes, with their numbers."""

    def __init__(self, hashes: NDArray[np.uint64], keys: HashKeys, schema: pa.Schema, most: int) -> None:
        self.hashes, self.keys, self.most = hashes, keys, most
        self.columns = tuple(schema.names)
        self.schema = pa.schema([*schema, pa.field(ROW_NUMBER, pa.int64())])

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Add those of a batch."""
        batch = batch.select(list(self.columns))
        rows = np.flatnonzero(np.isin(self.keys.hashes(batch, first_row), self.hashes))
        if rows.size:
            assert first_row is not None
            state.append(numbered(batch.take(pa.array(rows)), rows + first_row))
            self._check_number(sum(one.num_rows for one in state))
        return state

    def merge(self, results: Iterable[bytes]) -> bytes:
        """Return the rows of all parts."""
        merged = super().merge(results)
        self._check_number(pa.ipc.open_stream(merged).read_all().num_rows)
        return merged

    def _check_number(self, n: int) -> None:
        if n > self.most:
            raise ValueError(
                f"more than {self.most:,} rows share {self.keys.entity!r} and {self.keys.times.name!r} with others; "
                "drop duplicates first, or name other columns as entity and time"
            )


class Survey(Fold):
    """The profile of a table; see `isoxide._frames.profile`."""

    def __init__(self, profiler: Profiler) -> None:
        self.profiler = profiler
        self.columns = profiler.columns

    def begin(self, part: Part) -> Any:
        """Return the profile of no rows."""
        return self.profiler.start()

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Add a batch."""
        return self.profiler.update(state, batch, first_row) if batch.num_rows else state

    def finish(self, state: Any) -> bytes:
        """Return the profile of a part."""
        return self.profiler.to_bytes(state)

    def merge(self, results: Iterable[bytes]) -> bytes:
        """Return the profile of all parts."""
        return self.profiler.to_bytes(self.profiler.merge(map(self.profiler.from_bytes, results)))


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="isoxide-keys-")
