"""Tables larger than memory on one machine: Parquet files and Arrow streams, batch by batch.

What comes out equals what the same rows in memory give, bit for bit; memory holds a few batches, the rows that trees
draw, and what is asked for. Needs ``pip install 'isoxide[stream]'``.
"""

try:
    import pyarrow  # noqa: F401
except ImportError as error:
    raise ImportError("isoxide.stream needs pyarrow: pip install 'isoxide[stream]'") from error

from isoxide.stream._verbs import detect, fit, offset, rank_features, score

__all__ = ["detect", "fit", "offset", "rank_features", "score"]

for _public in (detect, fit, offset, rank_features, score):
    _public.__module__ = __name__
