"""What a table in parts looks like before anything is made of it: the steps behind `ueba.TableCheck`."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from isoxide._parts._columns import is_number, number_column
from isoxide._parts._quantiles import SketchColumns, whole_sketch
from isoxide._parts._steps import Fold, RowsStep, as_pickle, from_pickle, numbered, packed, unpacked
from isoxide._parts._table import ROW_NUMBER, Part
from isoxide.ueba._table import parse_times, zones

#: Values that tell of most columns that they number no rows.
_FIRST = 200
_ID_LIKE = 0.95
#: Files that hashes are parted into by their first bits.
_BITS = 6


def series(batch: pa.RecordBatch, name: str) -> pd.Series:
    """A column as pandas reads it from a file."""
    column: pd.Series = batch.column(name).to_pandas()
    return column.rename(name)


def _coded(column: pa.Array) -> pa.DictionaryArray:
    """A column as its distinct values and their places."""
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


class Zones(Fold):
    """The time zones of times in words."""

    def __init__(self, time: str) -> None:
        self.columns = (time,)

    def begin(self, part: Part) -> Any:
        """None."""
        return set()

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """More."""
        return state | zones(_coded(batch.column(self.columns[0])).dictionary.to_pandas())

    def finish(self, state: Any) -> bytes:
        """As a list."""
        return as_pickle(sorted(state))

    def merge(self, results: Iterable[bytes]) -> bytes:
        """All."""
        return as_pickle(sorted({zone for result in results for zone in from_pickle(result)}))


class Times:
    """How times become times, the same in every part."""

    def __init__(self, name: str, *, mixed_zones: bool) -> None:
        self.name, self.mixed_zones = name, mixed_zones

    def of(self, batch: pa.RecordBatch, first_row: int | None) -> pd.Series:
        """The times of a batch."""
        column = batch.column(self.name)
        if not (pa.types.is_timestamp(column.type) or is_number(column.type)) and not column.null_count:
            # There are few days and many rows: each is looked at once. What cannot be read is told from all rows.
            coded = _coded(column)
            with suppress(ValueError):
                times = self.parsed(coded.dictionary.to_pandas())
                return pd.Series(times.array.take(coded.indices.to_numpy()), name=self.name)
        return self.parsed(series(batch, self.name), first_row or 0)

    def parsed(self, column: pd.Series, first_row: int = 0) -> pd.Series:
        """The times of a column as it was read."""
        return parse_times(column, self.name, mixed_zones=self.mixed_zones, first_row=first_row)


class HashKeys(Fold):
    """A number for who and when of each row: equal ones for equal keys.

    Into files by their first bits, where a folder is given that all parts can write to; else 8 bytes a row.
    """

    def __init__(self, entity: str, times: Times, folder: Path | None) -> None:
        self.entity, self.times, self.folder = entity, times, folder
        self.columns = (entity, times.name)

    def begin(self, part: Part) -> Any:
        """No hashes."""
        return []

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Those of a batch."""
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
        """The numbers of a batch."""
        frame = pd.DataFrame({"who": series(batch, self.entity), "when": self.times.of(batch, first_row)})
        hashes: NDArray[np.uint64] = np.asarray(pd.util.hash_pandas_object(frame, index=False), dtype=np.uint64)
        return hashes

    def finish(self, state: Any) -> bytes:
        """The hashes, if they are not in files."""
        return b"".join(piece.tobytes() for piece in state)

    def merge(self, results: Iterable[bytes]) -> bytes:
        """All."""
        return b"".join(results)

    def repeated(self, result: bytes) -> NDArray[np.uint64]:
        """The hashes that came more than once, ascending."""
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
        """Those of a batch."""
        batch = batch.select(list(self.columns))
        rows = np.flatnonzero(np.isin(self.keys.hashes(batch, first_row), self.hashes))
        if rows.size:
            assert first_row is not None
            state.append(numbered(batch.take(pa.array(rows)), rows + first_row))
        if sum(one.num_rows for one in state) > self.most:
            raise ValueError(
                f"more than {self.most:,} rows share {self.columns[0]!r} and time with others; "
                "drop duplicates first, or give columns that tell rows apart"
            )
        return state


class Survey(Fold):
    """Days, entities, and of each column a sketch and whether it may number the rows."""

    def __init__(self, entity: str, times: Times, names: Iterable[str]) -> None:
        self.entity, self.times, self.names = entity, times, list(names)
        self.columns = tuple(dict.fromkeys([entity, times.name, *self.names]))
        self.sketches = SketchColumns((name, whole_sketch()) for name in self.names)

    def begin(self, part: Part) -> Any:
        """Nothing seen."""
        return {
            "n": 0,
            "days": Counter(),
            "entities": [],
            "has_times_of_day": False,
            "id_like": dict.fromkeys(self.names, True),
            "sketches": self.sketches.begin(part),
        }

    def feed(self, state: Any, batch: pa.RecordBatch, first_row: int | None) -> Any:
        """Looks at a batch."""
        times = self.times.of(batch, first_row)
        days = times.dt.normalize()
        state["days"].update(days.value_counts().to_dict())
        state["has_times_of_day"] |= bool((times != days).any())
        state["entities"] = [_distinct(pa.chunked_array([*state["entities"], batch.column(self.entity)]))]
        for name, is_id_like in state["id_like"].items():
            # Of most columns the first values tell.
            if is_id_like:
                state["id_like"][name] = _may_number_rows(number_column(batch, name), is_first=state["n"] == 0)
        state["sketches"] = self.sketches.feed(state["sketches"], batch, first_row)
        state["n"] += batch.num_rows
        return state

    def finish(self, state: Any) -> bytes:
        """All of it."""
        facts = {name: state[name] for name in ("n", "days", "entities", "has_times_of_day", "id_like")}
        return packed([as_pickle(facts), self.sketches.finish(state["sketches"])])

    def merge(self, results: Iterable[bytes]) -> bytes:
        """All parts."""
        facts, sketches = [], []
        for result in results:
            own, sketch = unpacked(result)
            facts.append(from_pickle(own))
            sketches.append(sketch)
        seen = [one for one in facts if one["n"]] or facts[:1]
        columns = [column for one in seen for column in one["entities"]]
        merged = {
            "n": sum(one["n"] for one in seen),
            "days": sum((one["days"] for one in seen), Counter()),
            "entities": [_distinct(pa.chunked_array(columns))] if columns else [],
            "has_times_of_day": any(one["has_times_of_day"] for one in seen),
            "id_like": {name: all(one["id_like"][name] for one in seen) for name in self.names},
        }
        return packed([as_pickle(merged), self.sketches.merge(sketches)])

    @staticmethod
    def read(data: bytes) -> tuple[dict[str, Any], list[Any]]:
        """The facts and the sketches."""
        facts, sketches = unpacked(data)
        return from_pickle(facts), SketchColumns.read(sketches)


def _distinct(column: pa.ChunkedArray) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.unique()


def _may_number_rows(values: NDArray[Any], *, is_first: bool) -> bool:
    values = values[np.isfinite(values)]
    if not np.all(np.mod(values, 1) == 0):
        return False
    first = values[:_FIRST]
    return not is_first or len(np.unique(first)) >= _ID_LIKE * len(first)


def numbers_rows(sketch: Any) -> bool:
    """Whether nearly all values of a column of whole numbers differ."""
    n, extremes = sketch.n, sketch.extremes()
    if n < 20 or extremes is None:
        return False
    # Of more distinct values than a sketch can tell, their range says how many there can be.
    n_distinct = sketch.n_distinct()
    n_distinct = extremes[1] - extremes[0] + 1 if n_distinct is None else n_distinct
    return bool(n_distinct >= _ID_LIKE * n)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="isoxide-keys-")
