"""Fit, score, rank and detect on Spark DataFrames, with the same results as in memory.

`table` returns a `SparkTable`. Its methods compute in Spark's workers and return results that are bit-identical to the
results in memory, however the DataFrame is partitioned. A worker holds only one batch of rows at a time; the driver
holds the rows that trees draw, and the results. The driver and the executors need ``pip install 'isoxide[spark]'``;
`SparkTable.detect` also needs ``isoxide[ueba]`` on the driver. `isoxide.spark.ml` has an estimator and a model for the
pipelines of Spark ML.
"""

try:
    import pyspark
except ImportError as error:
    raise ImportError("isoxide.spark needs PySpark: pip install 'isoxide[spark]'") from error
if int(pyspark.__version__.split(".")[0]) < 4:
    raise ImportError(f"isoxide.spark needs PySpark 4, this is {pyspark.__version__}: pip install 'isoxide[spark]'")

from isoxide.spark._table import SparkTable, table

__all__ = ["SparkTable", "table"]

SparkTable.__module__ = table.__module__ = __name__
