"""Write the scores of a stream batch by batch: to Arrow, one Parquet file, or a folder of files that can be resumed."""

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
from isoxide._common.stores import Location
from isoxide._forest.estimator import IsolationForest
from isoxide._partitioned.columns import check_column, features_of
from isoxide._partitioned.row_columns import RowColumns, ScoreColumns
from isoxide.stream._engine import StreamEngine
from isoxide.stream._prefetch import Prefetcher

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ROWS_PER_FILE", "Rebatcher", "ScoreWriter", "ScoredStream", "is_one_file"]

#: Names of the file that describes the scores in a folder, and of the file that marks them as complete. Readers of
#: Parquet ignore both.
_NOTE, _DONE = "_isoxide.json", "_SUCCESS"
_FORMAT = 2
#: Default number of rows of each file of a folder.
ROWS_PER_FILE = 10_000_000
_FILE_SUFFIXES = (".parquet", ".pq", ".parq")


class ScoredStream:
    """Columns of a stream, and the columns that a forest adds to its rows.

    Parameters
    ----------
    forest : IsolationForest
        Fitted forest.
    engine : StreamEngine
        Engine that reads the rows.
    keep : iterable of str
        Columns of the table to put before the scores.
    added : RowColumns, optional
        Columns that the forest adds to each row. By default these are ``score`` and ``anomaly``.

    Attributes
    ----------
    features : list of str
        Columns that the forest reads.
    schema : pyarrow.Schema
        Names and types of the columns.
    """

    def __init__(
        self,
        forest: IsolationForest,
        engine: StreamEngine,
        keep: Iterable[str],
        added: RowColumns | None = None,
    ) -> None:
        self.forest, self.engine, self.keep = forest, engine, list(keep)
        self.added = ScoreColumns() if added is None else added
        self.features = features_of(forest, engine.schema, engine.name)
        fields = [engine.schema.field(name) for name in self.keep]
        self.schema = pa.schema([*fields, *self.added.fields])

    def batches(self, first_row: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, beginning with the row `first_row`."""
        columns = dict.fromkeys([*self.features, *self.keep])
        with Prefetcher(self.engine.source.batches(columns, first_row)) as batches:
            for batch in self.engine.with_progress(batches, "scoring", first_row):
                added = self.added.of(batch, self.features, self.forest)
                arrays = [*(batch.column(name) for name in self.keep), *added]
                yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)


class ScoreWriter:
    """Writer of the scores of a stream, together with columns of its table.

    Parameters
    ----------
    forest : IsolationForest
        Fitted forest.
    engine : StreamEngine
        Engine that reads the rows.
    keep : iterable of str
        Names of the columns to write next to the scores.
    added : RowColumns, optional
        Columns that the forest adds to each row. By default these are ``score`` and ``anomaly``.
    """

    def __init__(
        self, forest: IsolationForest, engine: StreamEngine, keep: Iterable[str], added: RowColumns | None = None
    ) -> None:
        keep = list(keep)
        added = ScoreColumns() if added is None else added
        for name in keep:
            check_column(engine.schema, name, "keep", engine.name)
            if name in added.names:
                raise ValueError(f"keep has {name!r}, but scores are written to a column of this name; rename it")
            if keep.count(name) > 1:
                raise ValueError(f"keep has {name!r} twice")
        self.forest, self.source = forest, engine.source
        self.scored = ScoredStream(forest, engine, keep, added)
        self.schema, self.features = self.scored.schema, self.scored.features

    def frame(self) -> pd.DataFrame:
        """Return all scores as a pandas frame in memory."""
        import pandas as pd

        table = pa.Table.from_batches(self.scored.batches(), self.schema)
        columns = {}
        for name in table.column_names:
            column = table[name]
            # Integers with missing cells may be identifiers, which floats would round.
            is_nullable = pa.types.is_integer(column.type) and column.null_count
            columns[name] = column.to_pandas(types_mapper={column.type: pd.Int64Dtype()}.get if is_nullable else None)
        return pd.DataFrame(columns, columns=table.column_names)

    def write(self, out: Path | Location, *, rows_per_file: int, resume: bool) -> int:
        """Write all scores to a Parquet file, or to a folder for other names; return the number of rows."""
        if not is_one_file(out):
            return self.write_folder(out, rows_per_file, resume)
        if resume:
            raise ValueError(f"{out} is a single file, which cannot be resumed; give a folder with resume=True")
        return self.write_file(out)

    def write_file(self, out: Path | Location) -> int:
        """Write all scores to one file, and return the number of rows."""
        return self._replace(out, self.scored.batches())

    def write_folder(self, out: Path | Location, rows_per_file: int, resume: bool) -> int:
        """Write scores to a folder, file by file, and return the number of rows in the folder."""
        existing = self._begin(out, self._note(rows_per_file), resume)
        n_rows, n_files = sum(existing), len(existing)
        if (out / _DONE).exists():
            return n_rows
        batches = Rebatcher(self.scored.batches(n_rows))
        while True:
            file_batches = batches.take(rows_per_file)
            try:
                first = next(file_batches)
            except StopIteration:
                break
            n_rows += self._replace(_numbered_file(out, n_files), itertools.chain([first], file_batches))
            n_files += 1
        if n_files == 0:
            # Write an empty file, from which readers learn the columns.
            self._replace(_numbered_file(out, 0), [])
        replace_file(out / _DONE, lambda path: path.write_text(""))
        return n_rows

    def _replace(self, path: Any, batches: Iterable[pa.RecordBatch]) -> int:
        """Write a file, which replaces an existing one when it is complete, and return its number of rows."""
        n_rows = 0

        def write(temporary: Path) -> None:
            nonlocal n_rows
            # Scores rarely repeat, so a dictionary of them would only cost time.
            with pq.ParquetWriter(temporary, self.schema, use_dictionary=self.scored.keep) as writer:
                for batch in batches:
                    writer.write_batch(batch)
                    n_rows += batch.num_rows

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

    def _begin(self, out: Path | Location, note: dict[str, Any], resume: bool) -> list[int]:
        """Create the folder, and return the number of rows of each file that it already contains."""
        if out.exists() and not out.is_dir():
            raise FileExistsError(f"{out} is a file; give a folder, or a name that ends with .parquet")
        if isinstance(out, Path):
            clear_leftovers(out)
            is_begun = out.exists() and any(out.iterdir())
        else:
            is_begun = bool(out.files())
        if is_begun and not resume:
            raise FileExistsError(
                f"the folder {out} is not empty; continue it with resume=True, or choose another folder"
            )
        if is_begun:
            try:
                existing = json.loads(read_file(out / _NOTE))
            except (FileNotFoundError, ValueError, RecursionError):
                raise ValueError(f"cannot resume: {out} was not written by write_scores; it has no {_NOTE}") from None
            for name, value in note.items():
                if not isinstance(existing, dict) or existing.get(name) != value:
                    existing_value = existing.get(name) if isinstance(existing, dict) else None
                    if name == "source" and (other := self.source.other_version(existing_value)) is not None:
                        raise ValueError(
                            f"cannot resume: the scores in {out} are those of {other}, but the table is "
                            f"{self.source.name}; open {other}, or choose another folder"
                        )
                    raise ValueError(
                        f"cannot resume: the scores in {out} have a different {name}; give the same one, or "
                        "another folder"
                    )
        else:
            if isinstance(out, Path):
                out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(note, indent=1)
            replace_file(out / _NOTE, lambda path: path.write_text(text))
        return [*_rows_of_complete_files(out)]


def _rows_of_complete_files(out: Path | Location) -> Iterator[int]:
    """Yield the number of rows of each file, up to the first one that is missing or damaged."""
    for number in itertools.count():
        try:
            yield _n_rows(_numbered_file(out, number))
        except (PermissionError, ConnectionError):
            raise
        except (OSError, pa.ArrowException):
            return


def _n_rows(path: Path | Location) -> int:
    """Return the number of rows according to the metadata of a Parquet file."""
    if isinstance(path, Path):
        return int(pq.read_metadata(path).num_rows)
    with path.open() as file:
        return int(pq.read_metadata(file).num_rows)


class Rebatcher:
    """Divide batches into groups with a given number of rows.

    Parameters
    ----------
    batches : iterator of pyarrow.RecordBatch
        Batches to divide.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        #: Rows of the last batch that were not taken yet.
        self._remainder: pa.RecordBatch | None = None

    def take(self, n_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the next `n_rows` rows, or fewer at the end."""
        while n_rows > 0:
            batch = self._remainder if self._remainder is not None else next(self._batches, None)
            self._remainder = None
            if batch is None:
                return
            if batch.num_rows > n_rows:
                self._remainder, batch = batch.slice(n_rows), batch.slice(0, n_rows)
            n_rows -= batch.num_rows
            yield batch


def _numbered_file(out: Path | Location, number: int) -> Any:
    return out / f"part-{number:05d}.parquet"


def is_one_file(out: Path | Location) -> bool:
    """Return whether a path names a Parquet file instead of a folder."""
    return out.suffix.lower() in _FILE_SUFFIXES and not out.is_dir()
