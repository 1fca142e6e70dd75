"""Tables of Spark: forests, scores, ranks and findings of DataFrames, computed where the rows are.

`table` returns a `SparkTable`, whose methods do to a DataFrame what the rest of the package does to a table in memory,
to the same bits, whatever its partitions are. No worker holds more than a batch of rows; the driver holds the rows that
trees are grown on, and the results. Needs ``pip install 'isoxide[spark]'`` here and on the executors; findings also
``isoxide[ueba]`` here.
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
