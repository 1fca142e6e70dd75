"""Provide the simplest engine, over a list of Arrow tables in memory, and divide tables into partitions."""

import contextlib
from itertools import pairwise

import numpy as np
import pyarrow as pa

from isoxide._partitioned.aggregators import Partition, PickRows, decode, encode
from isoxide._partitioned.engine import Engine
from isoxide._partitioned.table import PartitionedTable
from isoxide._partitioned.views import ScoredRows


class ListEngine(Engine):
    """Engine that encodes all aggregators and states, and merges random groups of states in random order."""

    name = "the list"
    n_jobs = 1

    def __init__(self, partitions, seed=0, batch_rows=50):
        self.partitions, self.schema = partitions, partitions[0].schema
        self.random, self.batch_rows, self.is_counted = np.random.default_rng(seed), batch_rows, False

    def aggregate(self, aggregator):
        states, first_row = [], 0
        for number, table in enumerate(self.partitions):
            decoded = decode(encode(aggregator))
            batches = table.select(list(decoded.columns)).to_batches(max_chunksize=self.batch_rows)
            if not decoded.columns:
                batches = table.to_batches(max_chunksize=self.batch_rows)
            partition = Partition(number, first_row if self.is_counted else None)
            states.append(encode(decoded.accumulate(partition, batches)))
            first_row += table.num_rows
        while len(states) > 1:
            self.random.shuffle(states)
            n = int(self.random.integers(2, len(states) + 1))
            states = [encode(aggregator.merge(map(decode, states[:n]))), *states[n:]]
        return aggregator.finish(aggregator.merge(map(decode, states)))

    def count(self):
        self.is_counted = True
        return sum(table.num_rows for table in self.partitions)

    def fetch(self, rows, columns):
        return self.aggregate(PickRows(rows, self.schema, columns, self.name))

    def scores(self, forest):
        return ScoredRows(self, forest)


class ListTable(PartitionedTable):
    """Table whose public methods use a `ListEngine`."""

    def __init__(self, engine):
        self.engine = engine

    def _open(self, roles, *, order_by=None):
        return contextlib.nullcontext(self.engine)

    def _with_columns(self, forest, added):
        raise NotImplementedError


def partitioned(table, n_partitions, seed=0, **options):
    """Return a table divided into partitions of random sizes, some of them empty."""
    r = np.random.default_rng(seed)
    cuts = (
        np.sort(r.integers(0, table.num_rows + 1, n_partitions - 1))
        if r.random() < 0.7
        else np.sort(r.choice([0, table.num_rows // 3, table.num_rows], n_partitions - 1))
    )
    edges = [0, *cuts.tolist(), table.num_rows]
    return ListTable(ListEngine([table.slice(a, b - a) for a, b in pairwise(edges)], seed, **options))


def arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)
