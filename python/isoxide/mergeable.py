"""Mergeable building blocks of a fit, an offset and ranks, for tables that are distributed or larger than memory.

Each object here (a piece) summarises the partitions that were added to it, in bounded memory. Pieces can be merged in
any order and grouping. Results are bit-identical to `isoxide.IsolationForest` and `isoxide.rank_features` on the whole
table in memory:

- `sample_plan` lists the rows that the trees draw, which depend only on the number of rows and the seed. `SampleRows`
  collects these rows, and `SamplePlan.grow` grows the forest on them.
- `ScoreSketch` summarises scores. The offset of a contamination depends on only two neighbouring scores.
- `RankCounts` counts the values below each ranked value, and at or below it. Percentile ranks follow from the counts.

`isoxide.stream`, `isoxide.spark` and `isoxide.dask` are built from these pieces; use them directly with other engines.
Pieces are pickled and sent as bytes (``to_bytes``, ``from_bytes``). The bytes begin with a format number, and all
machines need versions of isoxide with the same format number. Decoding untrusted bytes never executes code.

Examples
--------
>>> import numpy as np
>>> from isoxide import IsolationForest
>>> from isoxide.mergeable import SampleRows, ScoreSketch, sample_plan
>>> X = np.random.default_rng(0).normal(size=(5000, 3))
>>> partitions = {0: X[:3000], 3000: X[3000:]}
>>> plan = sample_plan(5000, 3, random_state=0)
>>> rows = SampleRows(plan.rows, 3)
>>> for first_row, partition in partitions.items():
...     rows.add(first_row, partition)
>>> forest = plan.grow(rows.X)
>>> sketch = ScoreSketch(5000, 0.01)
>>> for partition in partitions.values():
...     sketch.add(forest.score_samples(partition))
>>> bool(sketch.offset() == IsolationForest(random_state=0, contamination=0.01).fit(X).offset_)
True
"""

from isoxide._forest.sample_plan import SamplePlan, sample_plan
from isoxide._forest.sample_rows import SampleRows
from isoxide._forest.score_sketch import ScoreSketch
from isoxide._ranks.counts import RankCounts

__all__ = ["RankCounts", "SamplePlan", "SampleRows", "ScoreSketch", "sample_plan"]

for _public in (RankCounts, SamplePlan, SampleRows, ScoreSketch, sample_plan):
    _public.__module__ = __name__
