"""Findings as a JSON document, and back, with every part checked.

```text
format, version      "isoxide-findings", 1
manifest             as in Findings
entity, time         names
joined               names of joined columns
features             names
reference            {feature: {median, p95, p99}}
timeline             [{day, rows, lowest, findings}]
findings             [{row, entity, time, score, severity, day_rank, day_rows, first_seen, joined: {...},
                       values: [...], percentiles: [...], order: [...], directions: [...],
                       flags: [{feature, rule, limit}]}]
```

Missing numbers are null. Times are in ISO 8601.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from isoxide.ueba._findings import Findings

__all__ = ["dump", "load"]

FORMAT, VERSION = "isoxide-findings", 1
_NUMBERS = ("score", "severity", "day_rank", "day_rows")


def dump(findings: Findings) -> dict[str, Any]:
    """Everything, in types of JSON."""
    flags: dict[int, list[dict[str, Any]]] = {}
    for flag in findings.flags.to_dict("records"):
        told = {name: plain(flag[name]) for name in ("feature", "rule", "limit")}
        flags.setdefault(int(flag["row"]), []).append(told)
    rows = []
    records = findings.frame.to_dict("records")
    parts = zip(findings.frame.index, records, findings.values, strict=True)
    for number, (index, row, values) in enumerate(parts):
        rows.append(
            {
                "row": int(index),
                "entity": plain(row[findings.entity]),
                "time": row[findings.time].isoformat(),
                **{name: plain(row[name]) for name in _NUMBERS},
                "first_seen": row["first_seen"].isoformat(),
                "joined": {name: plain(row[name]) for name in findings.joined},
                "values": [plain(value) for value in values],
                "percentiles": [plain(value) for value in findings.percentiles[number]],
                "order": findings.order[number].tolist(),
                "directions": findings.directions[number].tolist(),
                "flags": flags.get(number, []),
            }
        )
    timeline = findings.timeline.assign(day=[day.isoformat() for day in pd.DatetimeIndex(findings.timeline["day"])])
    return {
        "format": FORMAT,
        "version": VERSION,
        "manifest": findings.manifest,
        "entity": findings.entity,
        "time": findings.time,
        "joined": findings.joined,
        "features": findings.features,
        "reference": {
            name: {statistic: plain(value) for statistic, value in row.items()}
            for name, row in zip(findings.features, findings.reference.to_dict("records"), strict=True)
        },
        "timeline": [{name: plain(value) for name, value in row.items()} for row in timeline.to_dict("records")],
        "findings": rows,
    }


def plain(value: Any) -> Any:
    """A cell as JSON knows it; what is missing or infinite as None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return None if pd.isna(value) else str(value)


def load(document: Any, place: str) -> dict[str, Any]:
    """What `Findings` is made of.

    Raises
    ------
    ValueError
        If something is missing or does not fit; the message begins with `place`.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"{place} has no findings: its format is not {FORMAT!r}")
    if document.get("version") != VERSION:
        raise ValueError(f"{place} is of version {document.get('version')!r}; this release reads version {VERSION}")
    try:
        return _load(document)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{place} is damaged: {what}") from error


def _load(document: dict[str, Any]) -> dict[str, Any]:
    features = [_text(name) for name in document["features"]]
    joined = [_text(name) for name in document["joined"]]
    entity, time = _text(document["entity"]), _text(document["time"])
    rows, n_features = document["findings"], len(features)
    if not rows:
        raise ValueError("it has no findings")

    def matrix(name: str, dtype: Any) -> np.ndarray[Any, Any]:
        array = np.array([row[name] for row in rows], dtype=dtype)
        if array.shape != (len(rows), n_features):
            raise ValueError(f"{name!r} must have {n_features} numbers for each of {len(rows)} findings")
        return array

    order = matrix("order", np.intp)
    if not np.array_equal(np.sort(order, axis=1), np.broadcast_to(np.arange(n_features), order.shape)):
        raise ValueError("'order' must name each feature once")
    frame = pd.DataFrame(
        {
            entity: [_cell(row["entity"]) for row in rows],
            time: pd.to_datetime([_text(row["time"]) for row in rows], format="ISO8601"),
            **{name: [_number(row[name]) for row in rows] for name in _NUMBERS},
            "first_seen": pd.to_datetime([_text(row["first_seen"]) for row in rows], format="ISO8601"),
            **{name: [_cell(row["joined"].get(name)) for row in rows] for name in joined},
        },
        index=[int(row["row"]) for row in rows],
    )
    flags = [
        {"row": number, "feature": _text(flag["feature"]), "value": values[flag["feature"]],
         "rule": _text(flag["rule"]), "limit": _number(flag["limit"])}
        for number, row in enumerate(rows)
        for values in [dict(zip(features, row["values"], strict=True))]
        for flag in row["flags"]
    ]  # fmt: skip
    reference = pd.DataFrame(
        [{name: document["reference"][feature][name] for name in ("median", "p95", "p99")} for feature in features],
        index=features,
        dtype=np.float64,
    )
    days = [
        {"day": _text(day["day"]), **{name: _number(day[name]) for name in ("rows", "lowest", "findings")}}
        for day in document["timeline"]
    ]
    timeline = pd.DataFrame(days, columns=["day", "rows", "lowest", "findings"])
    timeline["day"] = pd.to_datetime(timeline["day"], format="ISO8601")
    # What reports tell of it.
    for name in ("first_day", "last_day"):
        _text(document["manifest"][name])
    for name in ("days", "rows", "entities", "offset"):
        _number(document["manifest"][name])
    return {
        "frame": frame,
        "entity": entity,
        "time": time,
        "features": features,
        "values": matrix("values", np.float64),
        "percentiles": matrix("percentiles", np.float64),
        "order": order,
        "directions": matrix("directions", np.int8),
        "reference": reference,
        "flags": pd.DataFrame(flags, columns=["row", "feature", "value", "rule", "limit"]),
        "timeline": timeline,
        "manifest": document["manifest"],
        "joined": joined,
    }


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} must be text")
    return value


def _cell(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        raise ValueError(f"{value!r} must be a text or a number")
    return value


def _number(value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} must be a number")
    return value
