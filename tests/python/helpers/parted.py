"""A table in parts that lie in memory: the plainest engine, and ways to part a table."""

import pickle
from itertools import pairwise

import numpy as np
import pyarrow as pa

from isoxide._partitioned.aggregators import PickRows, picked_rows
from isoxide._partitioned.table import Part, PartedTable


class ListTable(PartedTable):
    """Parts as Arrow tables; steps go through pickle, and results are merged in some order and grouping."""

    name = "the list"

    def __init__(self, parts, seed=0, batch_rows=50):
        self.parts, self.schema = parts, parts[0].schema
        self.random, self.batch_rows, self.counted = np.random.default_rng(seed), batch_rows, False

    def gather(self, step):
        results, first_row = [], 0
        for number, part in enumerate(self.parts):
            own = pickle.loads(pickle.dumps(step))
            batches = part.select(list(step.columns)).to_batches(max_chunksize=self.batch_rows)
            if not step.columns:
                batches = part.to_batches(max_chunksize=self.batch_rows)
            results.append(own.run(Part(number, first_row if self.counted else None), iter(batches)))
            first_row += part.num_rows
        while len(results) > 1:
            self.random.shuffle(results)
            n = int(self.random.integers(2, len(results) + 1))
            results = [step.merge(results[:n]), *results[n:]]
        return step.merge(results)

    def count(self):
        self.counted = True
        return sum(part.num_rows for part in self.parts)

    def fetch(self, rows, columns):
        columns = list(columns)
        return picked_rows(self.gather(PickRows(rows, self.schema, columns)), rows, columns, self.name)


def parted(table, n_parts, seed=0, **options):
    """A table in so many parts of random sizes, some of them empty."""
    r = np.random.default_rng(seed)
    cuts = (
        np.sort(r.integers(0, table.num_rows + 1, n_parts - 1))
        if r.random() < 0.7
        else np.sort(r.choice([0, table.num_rows // 3, table.num_rows], n_parts - 1))
    )
    edges = [0, *cuts.tolist(), table.num_rows]
    return ListTable([table.slice(a, b - a) for a, b in pairwise(edges)], seed, **options)


def arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)
