"""Spark DataFrames: forests fitted, rows scored and ranked, and findings, where the rows are.

``fit``, ``score``, ``offset``, ``rank_features`` and ``detect`` do to a DataFrame what the rest of the package does to
a table in memory, to the same bits, whatever its partitions are. No worker holds more than a batch of rows; the driver
holds the rows that trees are grown on, and what is found. Needs ``pip install 'isoxide[spark]'`` here and on the
executors; findings also ``isoxide[ueba]`` here.
"""

try:
    import pyspark
except ImportError as error:
    raise ImportError("isoxide.spark needs PySpark: pip install 'isoxide[spark]'") from error
if int(pyspark.__version__.split(".")[0]) < 4:
    raise ImportError(f"isoxide.spark needs PySpark 4, this is {pyspark.__version__}: pip install 'isoxide[spark]'")

from isoxide.spark._verbs import detect, fit, offset, rank_features, score

__all__ = ["detect", "fit", "offset", "rank_features", "score"]

for _public in (detect, fit, offset, rank_features, score):
    _public.__module__ = __name__
