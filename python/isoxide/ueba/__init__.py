"""User and entity behaviour analytics: from a table with a row per actor and day to a report an analyst can act on.

`read_table` reads and profiles a table. `calibrate` fits one forest and counts the rows that each threshold makes
anomalies. `detect` finds the anomalies and ranks their features. `Findings` are written as CSV, Parquet, JSON, Markdown
or HTML. The module needs ``pip install 'isoxide[ueba]'``.
"""

try:
    import pandas  # noqa: F401
except ImportError as error:
    raise ImportError("isoxide.ueba needs pandas: pip install 'isoxide[ueba]'") from error

from isoxide._frames.table_profile import TableProfile
from isoxide.ueba._calibrate import Calibration, calibrate
from isoxide.ueba._detect import detect
from isoxide.ueba._findings import Findings, read_findings
from isoxide.ueba._rules import Flag, Percentile, ZScore
from isoxide.ueba._table import FeatureTable, read_table

__all__ = [
    "Calibration",
    "FeatureTable",
    "Findings",
    "Flag",
    "Percentile",
    "TableProfile",
    "ZScore",
    "calibrate",
    "detect",
    "read_findings",
    "read_table",
]

for _public in (
    Calibration,
    FeatureTable,
    Findings,
    Flag,
    Percentile,
    TableProfile,
    ZScore,
    calibrate,
    detect,
    read_findings,
    read_table,
):
    _public.__module__ = __name__
