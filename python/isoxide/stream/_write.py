"""Scores as Parquet: one file, or a folder of parts that can be gone on with."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from isoxide._common.files import clear_leftovers, read_file, replace_file
from isoxide._forest.estimator import IsolationForest
from isoxide._frames import Source
from isoxide._partitioned.columns import check_column, features_of, score_batch
from isoxide.stream._batches import Ahead
from isoxide.stream._table import StreamTable

if TYPE_CHECKING:
    import pandas as pd

#: What says which scores a folder holds; readers of Parquet pass over it.
_NOTE, _DONE = "_isoxide.json", "_SUCCESS"
_FORMAT = 1
#: Rows of each file of a folder.
ROWS_PER_FILE = 10_000_000
_ONE_FILE = (".parquet", ".pq", ".parq")


class ScoreWriter:
    """Scores the rows of a source, and writes them with some of its columns."""

    def __init__(self, forest: IsolationForest, source: Source, keep: Iterable[str], progress: bool | None) -> None:
        self.forest, self.source = forest, source
        self.features = features_of(forest, source.schema, source.name)
        self.keep = [keep] if isinstance(keep, str) else list(keep)
        for name in self.keep:
            check_column(source.schema, name, "keep", source.name)
            if name in ("score", "anomaly"):
                raise ValueError(f"keep has {name!r}, which is the name of a column that is written")
            if self.keep.count(name) > 1:
                raise ValueError(f"keep has {name!r} twice")
        kept = [source.schema.field(name) for name in self.keep]
        self.schema = pa.schema([*kept, pa.field("score", pa.float64()), pa.field("anomaly", pa.bool_())])
        self.table = StreamTable(source, progress=progress)

    def scored(self, first_row: int) -> Iterator[pa.RecordBatch]:
        """What is to be written, from a row on."""
        columns = dict.fromkeys([*self.features, *self.keep])
        with Ahead(self.source.batches(columns, first_row)) as batches:
            for batch in self.table.shown(batches, "scoring", first_row):
                scores = score_batch(batch, self.features, self.forest)
                kept = [batch.column(name) for name in self.keep]
                arrays = [*kept, pa.array(scores), pa.array(scores < 0)]
                yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def frame(self) -> pd.DataFrame:
        """Return all of them as a pandas frame, in memory."""
        import pandas as pd

        table = pa.Table.from_batches(self.scored(0), self.schema)
        columns = {}
        for name in table.column_names:
            column = table[name]
            # Identifiers with missing cells do not become floats.
            is_whole = pa.types.is_integer(column.type) and column.null_count
            columns[name] = column.to_pandas(types_mapper={column.type: pd.Int64Dtype()}.get if is_whole else None)
        return pd.DataFrame(columns, columns=table.column_names)

    def write(self, out: Path, *, rows_per_file: int, resume: bool) -> int:
        """Write all scores to a file or a folder, which the name tells; returns the number of rows."""
        if not is_one_file(out):
            return self.write_folder(out, rows_per_file, resume)
        if resume:
            raise ValueError(f"{out} is one file, which is written as a whole; resume=True needs a folder")
        return self.write_file(out)

    def write_file(self, out: Path) -> int:
        """All of them into one file; returns their number."""
        n_rows = 0

        def write(path: Path) -> None:
            nonlocal n_rows
            n_rows = self._write(path, self.scored(0))

        replace_file(out, write)
        return n_rows

    def _write(self, path: Path, batches: Iterable[pa.RecordBatch]) -> int:
        n_rows = 0
        # Scores hardly repeat: a dictionary of them would only take time.
        with pq.ParquetWriter(path, self.schema, use_dictionary=self.keep) as writer:
            for batch in batches:
                writer.write_batch(batch)
                n_rows += batch.num_rows
        return n_rows

    def write_folder(self, out: Path, rows_per_file: int, resume: bool) -> int:
        """Into a folder, part by part; returns the number of rows that are there at the end."""
        there = self._begin(out, self._note(rows_per_file), resume)
        n_rows, n_parts = sum(there), len(there)
        if (out / _DONE).exists():
            return n_rows
        batches = Rest(self.scored(n_rows))
        while True:
            taken = batches.take(rows_per_file)
            try:
                first = next(taken)
            except StopIteration:
                break
            path = _part(out, n_parts)
            n_rows += self._replace(path, first, taken)
            n_parts += 1
        if n_parts == 0:
            # A folder that readers can tell the columns from.
            replace_file(_part(out, 0), lambda path: self._write(path, []))
        replace_file(out / _DONE, lambda path: path.write_text(""))
        return n_rows

    def _replace(self, path: Path, first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> int:
        n_rows = 0

        def all_of_them() -> Iterator[pa.RecordBatch]:
            yield first
            yield from rest

        def write(temporary: Path) -> None:
            nonlocal n_rows
            n_rows = self._write(temporary, all_of_them())

        replace_file(path, write)
        return n_rows

    def _note(self, rows_per_file: int) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "forest": hashlib.sha256(self.forest.to_bytes()).hexdigest(),
            "source": self.source.fingerprint(),
            "columns": [[field.name, str(field.type)] for field in self.schema],
            "rows_per_file": rows_per_file,
        }

    def _begin(self, out: Path, note: dict[str, Any], resume: bool) -> list[int]:
        """Makes the folder, or finds how many rows the parts have that are there already."""
        if out.exists() and not out.is_dir():
            raise FileExistsError(f"{out} is a file; give a folder, or a name that ends with .parquet")
        clear_leftovers(out)
        existing = out.exists() and any(out.iterdir())
        if existing and not resume:
            raise FileExistsError(
                f"the folder {out} is not empty; resume=True goes on with what is there, or choose another"
            )
        if existing:
            try:
                found = json.loads(read_file(out / _NOTE))
            except (OSError, ValueError, RecursionError):
                raise ValueError(f"cannot resume: {out} was not written by score; it has no {_NOTE}") from None
            for name, value in note.items():
                if not isinstance(found, dict) or found.get(name) != value:
                    raise ValueError(
                        f"{out} holds scores of another {name}; give what it was begun with, or another folder"
                    )
        else:
            out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(note, indent=1)
            replace_file(out / _NOTE, lambda path: path.write_text(text))
        return [*_whole_parts(out)]


def _whole_parts(out: Path) -> Iterator[int]:
    """The rows of the parts up to the first one that is not there or not whole."""
    for number in itertools.count():
        try:
            yield pq.read_metadata(_part(out, number)).num_rows
        except (OSError, pa.ArrowException):
            return


class Rest:
    """Batches of which some are taken, and then some more."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._left: pa.RecordBatch | None = None

    def take(self, n_rows: int) -> Iterator[pa.RecordBatch]:
        """The next rows."""
        while n_rows > 0:
            batch = self._left if self._left is not None else next(self._batches, None)
            self._left = None
            if batch is None:
                return
            if batch.num_rows > n_rows:
                self._left, batch = batch.slice(n_rows), batch.slice(0, n_rows)
            n_rows -= batch.num_rows
            yield batch


def _part(out: Path, number: int) -> Path:
    return out / f"part-{number:05d}.parquet"


def is_one_file(out: Path) -> bool:
    """Whether a name is that of a file rather than of a folder."""
    return out.suffix.lower() in _ONE_FILE and not out.is_dir()
