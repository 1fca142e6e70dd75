"""From a table with a row per actor and day to a report an analyst can act on.

``read_table`` reads and checks, ``calibrate`` fits one forest and says how many rows each threshold makes anomalies,
``detect`` finds them and ranks their features, and `Findings` are handed on as CSV, Parquet, JSON, Markdown or a page.
Needs ``pip install 'isoxide[ueba]'``.
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
