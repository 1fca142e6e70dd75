"""User and entity behaviour analytics: from a table with one row per actor and day to a report for analysts.

`read_table` reads and profiles a table. `calibrate` fits a forest and counts the anomalies at each threshold. `detect`
finds the anomalies and ranks their features. `Model` is trained once and kept for every new day. `Findings` can be
written as CSV, Parquet, JSON, Markdown or HTML. The module needs ``pip install 'isoxide[ueba]'``.
"""

try:
    import pandas  # noqa: F401
except ImportError as error:
    raise ImportError("isoxide.ueba needs pandas: pip install 'isoxide[ueba]'") from error

from isoxide._frames.table_profile import TableProfile
from isoxide.ueba._calibrate import Calibration, calibrate
from isoxide.ueba._detect import detect
from isoxide.ueba._drift import Drift
from isoxide.ueba._findings import Findings, read_findings
from isoxide.ueba._model import Model
from isoxide.ueba._rules import Flag, Percentile, ZScore
from isoxide.ueba._table import FeatureTable, read_table

__all__ = [
    "Calibration",
    "Drift",
    "FeatureTable",
    "Findings",
    "Flag",
    "Model",
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
    Drift,
    FeatureTable,
    Findings,
    Flag,
    Model,
    Percentile,
    TableProfile,
    ZScore,
    calibrate,
    detect,
    read_findings,
    read_table,
):
    _public.__module__ = __name__
