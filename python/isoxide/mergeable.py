"""The pieces of a fit, an offset and ranks on a table that comes in parts: pure, mergeable, and exact.

The rows that trees draw depend on the number of rows and the seed alone (`sample_plan`), so a fit needs these and no
others (`SampleRows`, `SamplePlan.grow`). The offset of a contamination needs two neighbouring scores (`ScoreSketch`),
and ranks are sums of counts (`RankCounts`). What is collected merges with its like in any order and grouping, and
travels as bytes. What comes out equals what `isoxide.IsolationForest` and `isoxide.rank_features` give on the table in
one piece, bit for bit.

`isoxide.stream`, `isoxide.spark` and `isoxide.dask` do this on one machine and on clusters; these pieces are for other
engines.
"""

from isoxide._forest.sample_plan import SamplePlan, sample_plan
from isoxide._forest.sample_rows import SampleRows
from isoxide._forest.score_sketch import ScoreSketch
from isoxide._ranks.counts import RankCounts

__all__ = ["RankCounts", "SamplePlan", "SampleRows", "ScoreSketch", "sample_plan"]

for _public in (RankCounts, SamplePlan, SampleRows, ScoreSketch, sample_plan):
    _public.__module__ = __name__
