"""Number the entities of a table while it is read, and keep the first day of each.

    codes    number of the entity of each row, in the order in which entities first occur; -1 if a row has none
    merge    combine the entities of two partitions

Work that needs the text of an entity (hashes, checksums) is then done once for each entity instead of once for each
row. A table with very many entities has no codes and no first days; only the set of its names is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["Entities"]

#: Maximum number of entities with codes, and of the bytes of their names. Each batch is looked up among all of them.
MAX_CODED, _MAX_BYTES = 2**18, 2**27
#: First day of an entity that has no row yet.
_NO_DAY = np.iinfo(np.int64).max


class Entities:
    """Names of the entities of a table or partition, with the first day of each."""

    def __init__(self) -> None:
        #: Name of each code, and first day of each, in days since 1970.
        self.names = pa.array([], pa.string())
        self.first_days = np.empty(0, dtype=np.int64)
        #: First day of the rows without an entity.
        self.first_unnamed = _NO_DAY
        #: All names if there are too many for codes, otherwise None.
        self.uncoded: set[str] | None = None

    def __len__(self) -> int:
        return len(self.names) if self.uncoded is None else len(self.uncoded)

    def __iter__(self) -> Iterator[str]:
        """Yield the name of each entity that occurs."""
        yield from self.names.to_pylist() if self.uncoded is None else self.uncoded

    def codes(self, column: pa.Array) -> tuple[NDArray[np.int64] | None, pa.Array]:
        """Return the code of each row, and the names that are new.

        Parameters
        ----------
        column : pyarrow.Array of strings
            Entity of each row.

        Returns
        -------
        codes : ndarray of int64, or None
            Code of each row, or None if the entities have no codes.
        new : pyarrow.Array of strings
            Names that got a code just now; without codes, all names of the batch.
        """
        if self.uncoded is None:
            indices = (
                pc.index_in(column, value_set=self.names) if len(self.names) else pa.nulls(len(column), pa.int32())
            )
            rest, new = None, self.names.slice(0, 0)
            if indices.null_count > column.null_count:
                rest = pc.filter(column, pc.is_null(indices))
                new = rest.unique().drop_null()
                self._add(new)
            if self.uncoded is None:
                codes = pc.fill_null(indices, -1).to_numpy().astype(np.int64)
                if rest is not None:
                    added = pc.index_in(rest, value_set=new, skip_nulls=True)
                    shifted = pc.add(added, len(self.names) - len(new))
                    codes[codes < 0] = pc.fill_null(shifted, -1).to_numpy(zero_copy_only=False)
                return codes, new
        new = column.unique().drop_null()
        self.uncoded.update(new.to_pylist())
        return None, new

    def _add(self, new: pa.Array) -> None:
        """Give codes to new names, or give up the codes of all."""
        if len(self.names) + len(new) > MAX_CODED or self.names.nbytes + new.nbytes > _MAX_BYTES:
            self.uncoded = {*self.names.to_pylist(), *new.to_pylist()}
            self.names, self.first_days = self.names.slice(0, 0), self.first_days[:0]
        else:
            self.names = pa.concat_arrays([self.names, new])
            self.first_days = np.concatenate([self.first_days, np.full(len(new), _NO_DAY)])

    def add_days(self, codes: NDArray[np.int64] | None, days: NDArray[np.int64]) -> None:
        """Add the days of the rows of a batch, in days since 1970; `codes` are those of `codes`."""
        if codes is None:
            return
        is_unnamed = codes < 0
        if is_unnamed.any():
            self.first_unnamed = min(self.first_unnamed, int(days[is_unnamed].min()))
            codes, days = codes[~is_unnamed], days[~is_unnamed]
        np.minimum.at(self.first_days, codes, days)

    def merge(self, other: Entities) -> None:
        """Add the entities of another partition."""
        self.first_unnamed = min(self.first_unnamed, other.first_unnamed)
        if self.uncoded is None and other.uncoded is None:
            known = pc.index_in(other.names, value_set=self.names)
            is_new = pc.is_null(known)
            self._add(pc.filter(other.names, is_new))
            if self.uncoded is None:
                codes = pc.fill_null(known, 0).to_numpy().astype(np.int64)
                rows = is_new.to_numpy(zero_copy_only=False)
                codes[rows] = np.arange(len(self.names) - np.count_nonzero(rows), len(self.names))
                np.minimum.at(self.first_days, codes, other.first_days)
            return
        self.uncoded = {*self, *other}
        self.names, self.first_days = self.names.slice(0, 0), self.first_days[:0]

    def first_days_of(self, entities: pa.Array) -> NDArray[np.datetime64] | None:
        """Return the first day of each of the given entities, which occur in the table; None if it is not known."""
        if self.uncoded is not None:
            return None
        codes = pc.fill_null(pc.index_in(entities, value_set=self.names), -1).to_numpy()
        days: NDArray[np.datetime64] = np.append(self.first_days, self.first_unnamed)[codes].astype("datetime64[D]")
        return days
