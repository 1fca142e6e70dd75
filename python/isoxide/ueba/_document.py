"""Read and write findings as a JSON document; reading checks every field.

```text
format, version      "isoxide-findings", 5
manifest             record of how the findings were made, as in Findings
entity, time         names of the columns
time_zone            name of the time zone of all times, or null
joined               names of joined columns
features             names of features
reference            {feature: {median, p95, p99}}
groups               null, or for each group [median, p95, p99], each of which is a list with one number per feature
comparisons          {name: groups as above}
explanation          {expected: binary logarithm of the expected anomaly score, families: [[indices of features]]}
entity_scores        [{entity, days: [...], anomaly_scores: [...]}] of the latest days of entities with findings
timeline             [{day, rows, lowest, highest, findings}]
review               {cutoff, today, source, sha256, n_decisions, expired: [indices of decisions], unmatched: [indices],
                     decisions: [{id, entity, time, features, score, status, until, who, when, note}], previous}
findings             [{id, row, entity, time, score, anomaly_score, severity, rarity, band, day_rank, day_rows,
                       rows_as_high, first_seen, rank_rows, rank_among, group, joined: {...}, values: [...],
                       percentiles: [...], order: [...], directions: [...],
                       contributions: [...] (to the binary logarithm of the anomaly score),
                       flags: [{feature, rule, limit}], status, state, seen, decision: index or null, outgrown,
                       comparisons: {name: {rank_rows, rank_among, group, percentiles: [...], order: [...],
                       directions: [...]}}}]
hidden               findings that decisions hide, in the same form
```

Findings without shares have no explanation and no contributions. Missing numbers are null. Times are in ISO 8601, days
have no time zone. Versions 1 to 4 can be read, too. They lack review, status, state, seen, decision, outgrown and
hidden. Versions 1 to 3 also lack id, anomaly_score, rows_as_high, rarity, band, highest, comparisons, explanation,
entity_scores and contributions. Version 1 also lacks time_zone, groups, rank_rows, rank_among and group; versions 1 and
2 use other names for some entries of the manifest (`_OLD_NAMES`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoxide._common.files import file_size, read_file
from isoxide._common.stores import Location
from isoxide.ueba import _fields as fields
from isoxide.ueba._columns import NEW_COLUMNS, RESULT_COLUMNS, REVIEW_COLUMNS, TICKET_COLUMNS
from isoxide.ueba._decision import Decision
from isoxide.ueba._entity_scores import entity_scores_to_list, load_entity_scores
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._identifiers import finding_ids
from isoxide.ueba._numbers import joined_rows
from isoxide.ueba._quantiles import STATISTICS
from isoxide.ueba._ranks import Ranked
from isoxide.ueba._rarity import BANDS, rarity_of
from isoxide.ueba._review_document import dump_review, judged_entries, load_judged, load_review
from isoxide.ueba._shares import load_explained
from isoxide.ueba._size import SizeBands

__all__ = ["dump", "load", "read", "read_manifest"]

FORMAT, VERSION = "isoxide-findings", 5
#: Names of manifest entries in versions 1 and 2, with their current names.
_OLD_NAMES = {"budget": "alerts_per_month", "check": "profile"}
#: Limits for files, so that an untrusted file cannot exhaust memory.
_MAX_BYTES = 2**32
_MAX_PERCENTILE = 100.0 + 1e-9  # rounding can make the largest percentile 100.00000000000001
_MAX_FEATURES, _MAX_FINDINGS, _MAX_DAYS, _MAX_JOINED = 100_000, 1_000_000, 4_000_000, 1_000
_MAX_COMPARISONS = 8
#: Range of anomaly scores; those of early versions are differences of decision scores and an offset set by hand.
_ANOMALY_SCORES = (-2 * fields.MAX_SCORE, 2 * fields.MAX_SCORE)

#: Write a value as JSON; NaN and infinities, which JSON does not have, are refused.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def dump(findings: FindingsData) -> str:
    """Return findings as the text of a JSON document.

    The text is what the module `json` makes of the whole document. The lists of numbers, which are nearly all of it,
    are written by `joined_rows`.
    """
    timeline = findings.timeline.assign(day=[day.isoformat() for day in pd.DatetimeIndex(findings.timeline["day"])])
    zone = findings.frame[findings.time].dt.tz
    typical, explained, hidden = findings.group_typical, findings.explained, findings.hidden_findings
    entity_scores = findings.entity_scores
    review, decisions = dump_review(findings.review, [findings, *([] if hidden is None else [hidden])])
    head = {
        "format": FORMAT,
        "version": VERSION,
        "manifest": findings.manifest,
        "entity": findings.entity,
        "time": findings.time,
        "time_zone": None if zone is None else _zone_name(zone),
        "joined": findings.joined,
        "features": findings.features,
        "reference": {
            name: {statistic: json_value(value) for statistic, value in row.items()}
            for name, row in zip(findings.features, findings.reference.to_dict("records"), strict=True)
        },
        "groups": None if typical is None else _typical(typical),
        "comparisons": {name: _typical(ranked.group_typical) for name, ranked in findings.comparisons.items()},
        **({} if explained is None else {"explanation": explained.to_dict()}),
        **({} if entity_scores is None else {"entity_scores": entity_scores_to_list(entity_scores)}),
        "timeline": [{name: json_value(value) for name, value in row.items()} for row in timeline.to_dict("records")],
        "review": review,
    }
    lists = ", ".join(
        f'"{name}": [{", ".join([] if own is None else _rows(own, decisions))}]'
        for name, own in (("findings", findings), ("hidden", hidden))
    )
    return f"{_encode(head)[:-1]}, {lists}}}"


def _rows(findings: FindingsData, decisions: dict[Decision, int]) -> Iterator[str]:
    """Yield each finding as a JSON object, given the position of each decision in the document."""
    frame = findings.frame
    columns = {name: frame[name].tolist() for name in frame.columns}
    times, first_seen = columns[findings.time], columns["first_seen"]
    lists = zip(
        *(_finite_rows(matrix) for matrix in (findings.values, findings.percentiles)),  # noqa: PD011
        *(joined_rows(matrix, ", ") for matrix in (findings.order, findings.directions)),
        _contribution_lists(findings),
        _flag_lists(findings),
        strict=True,
    )
    names = ("score", "anomaly_score", "severity", "rarity", "band", "day_rank", "day_rows")
    compared = _comparison_texts(findings)
    cells = zip(*([json_value(cell) for cell in columns[name]] for name in (findings.entity, *names)), strict=True)
    nothing = [None] * len(frame)
    ranked = zip(*(columns.get(name, nothing) for name in ("rank_rows", "rank_among")), strict=True)
    joined = [{name: json_value(columns[name][number]) for name in findings.joined} for number in range(len(frame))]
    rows = zip(frame.index.tolist(), cells, ranked, joined, lists, strict=True)
    for number, (index, (entity, *figures), (rank_rows, rank_among), known, numbers) in enumerate(rows):
        values, percentiles, order, directions, contributions, flags = numbers
        head = {
            "id": str(columns["finding_id"][number]),
            "row": int(index),
            "entity": entity,
            "time": times[number].isoformat(),
            **dict(zip(names, figures, strict=True)),
            "rows_as_high": _row_count(columns["rows_as_high"][number]),
            "first_seen": first_seen[number].isoformat(),
            "rank_rows": _row_count(rank_rows),
            "rank_among": json_value(rank_among),
            "group": _group(findings.group_of, number),
            "joined": known,
            **judged_entries(findings.judged[number], decisions),
        }
        yield (
            f'{_encode(head)[:-1]}, "values": [{values}], "percentiles": [{percentiles}], "order": [{order}], '
            f'"directions": [{directions}], {contributions}"flags": [{flags}], '
            f'"comparisons": {{{compared[number]}}}}}'
        )


def _contribution_lists(findings: FindingsData) -> Iterator[str]:
    """Yield the entry with the contributions of each finding; empty texts if there are none."""
    if findings.contributions is None:
        return iter([""] * len(findings))
    return (f'"contributions": [{numbers}], ' for numbers in _finite_rows(findings.contributions))


def _comparison_texts(findings: FindingsData) -> list[str]:
    """Return the ranks of each finding among other rows, as the entries of a JSON object."""
    texts: list[list[str]] = [[] for _ in range(len(findings))]
    for name, ranked in findings.comparisons.items():
        lists = zip(
            _finite_rows(ranked.percentiles),
            *(joined_rows(matrix, ", ") for matrix in (ranked.order, ranked.directions)),
            strict=True,
        )
        for number, (percentiles, order, directions) in enumerate(lists):
            head = {
                "rank_rows": int(ranked.rank_rows[number]),
                "rank_among": ranked.rank_among[number],
                "group": _group(ranked.group_of, number),
            }
            texts[number].append(
                f'{_encode(name)}: {_encode(head)[:-1]}, "percentiles": [{percentiles}], "order": [{order}], '
                f'"directions": [{directions}]}}'
            )
    return [", ".join(own) for own in texts]


def _finite_rows(values: np.ndarray[Any, Any]) -> Iterator[str]:
    """Yield each row of numbers as JSON, with null for those that are missing or infinite."""
    return joined_rows(np.where(np.isfinite(values), values, np.nan), ", ", missing="null")


def _flag_lists(findings: FindingsData) -> list[str]:
    """Return the flags of each finding as JSON objects."""
    lists: list[list[str]] = [[] for _ in range(len(findings))]
    columns = (findings.flags[name].tolist() for name in ("row", "feature", "rule", "limit"))
    # Most flags of a feature have the same limit. Zero has two signs, which are equal as keys.
    texts: dict[Any, str] = {}
    for row, feature, rule, limit in zip(*columns, strict=True):
        text = texts.get((feature, rule, limit)) if limit else None
        if text is None:
            text = texts[feature, rule, limit] = _encode(
                {"feature": json_value(feature), "rule": json_value(rule), "limit": json_value(limit)}
            )
        lists[int(row)].append(text)
    return [", ".join(own) for own in lists]


def _numbers(values: np.ndarray[Any, Any]) -> list[float | None]:
    """Convert numbers to a list; missing and infinite ones become None."""
    return [value if finite else None for value, finite in zip(values.tolist(), np.isfinite(values), strict=True)]


def _typical(groups: Any) -> list[list[list[float | None]]]:
    """Convert the typical values of groups to a list of [median, p95, p99] for each group."""
    return [[_numbers(own) for own in group.T] for group in groups]


def _row_count(value: Any) -> int | None:
    """Convert a number of rows to an integer, since a column with missing cells holds floats."""
    return None if value is None or math.isnan(value) else int(value)


def _group(group_of: Any, number: int) -> int | None:
    """Return the index of a finding's group, or None if it has no ranks within a group."""
    if group_of is None or group_of[number] < 0:
        return None
    return int(group_of[number])


def _zone_name(zone: Any) -> str:
    """Return the name of a time zone; the names of fixed offsets in pandas 2 are converted to ``UTC+02:00``."""
    offset = re.fullmatch(r"pytz\.FixedOffset\((-?\d+)\)", str(zone))
    if offset is None:
        return str(zone)
    minutes = int(offset[1])
    return f"UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def json_value(value: Any) -> Any:
    """Convert a cell to a JSON value; missing and infinite values become None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)


def read(path: Path | Location) -> dict[str, Any]:
    """Read a file, check the document in it, and return the arguments of `Findings`.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it does not hold findings, is damaged, or was written by a later version.
    """
    return load(_parsed(path), str(path))


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a file, which is checked less than `read` checks it.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If it is not a JSON document of findings.
    """
    document = _parsed(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"{path} does not hold findings: its format is not {FORMAT!r}")
    manifest = document.get("manifest")
    return manifest if isinstance(manifest, dict) else {}


def _parsed(path: Path | Location) -> Any:
    """Return the document in a file.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file does not hold findings, is damaged, or was written by a later version.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if (size := file_size(path)) > _MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, but files of findings have at most {_MAX_BYTES:,}")
    data = read_file(path)
    try:
        fields.check_depth(data)
        document = json.loads(
            data.decode("utf-8"), parse_constant=fields.refuse_constant, parse_int=fields.parse_integer
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file of findings: {error}") from None
    return document


def load(document: Any, source_name: str) -> dict[str, Any]:
    """Check a document, and return the arguments of `Findings`.

    Parameters
    ----------
    document : object
        Document that was parsed from JSON.
    source_name : str
        Name of the file, with which messages begin.

    Raises
    ------
    ValueError
        If a field is missing or invalid, or the document was written by a later version.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"{source_name} does not hold findings: its format is not {FORMAT!r}")
    version = document.get("version")
    if type(version) is not int or version not in range(1, VERSION + 1):
        raise ValueError(
            f"{source_name} has format version {fields.short(version)}; this release reads versions 1 to {VERSION}"
        )
    try:
        return _load(document, version)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        reason = f"it lacks {fields.short(error.args[0])}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{source_name} is damaged: {reason}") from error


def _renamed(manifest: Any) -> Any:
    """Return the manifest of a version 1 or 2 document with the current names."""
    if not isinstance(manifest, dict):
        return manifest
    renamed = {_OLD_NAMES.get(name, name): value for name, value in manifest.items()}
    ranking = renamed.get("ranking")
    if isinstance(ranking, dict) and ranking.get("tail") == "two":
        renamed["ranking"] = {**ranking, "tail": "both"}
    return renamed


def _load(document: dict[str, Any], version: int) -> dict[str, Any]:
    """Check the fields of a document, and return the arguments of `Findings`."""
    features = fields.names(document["features"], "features", _MAX_FEATURES)
    joined = fields.names(document["joined"], "joined", _MAX_JOINED)
    entity, time = fields.text(document["entity"], "entity"), fields.text(document["time"], "time")
    if not features:
        raise ValueError("'features' is empty")
    # The names of columns that early versions did not have were free for other columns.
    is_free = {
        *(NEW_COLUMNS if version < 4 else ()),
        *(REVIEW_COLUMNS if version < 5 else ()),
        *TICKET_COLUMNS,
    }
    known = {f"{name}_" if name in is_free else name: name for name in joined}
    joined = list(known)
    fields.check_distinct([entity, time, *joined, *RESULT_COLUMNS])
    fields.check_distinct([entity, time, *features, *joined, *(c for c in RESULT_COLUMNS if c not in is_free)])
    manifest = fields.manifest(_renamed(document["manifest"]) if version < 3 else document["manifest"])
    for holder in ("ranking", "model"):
        if (size := (manifest.get(holder) or {}).get("size")) is not None:
            SizeBands.from_dict(size, features)
    shown = fields.records(document["findings"], "findings", _MAX_FINDINGS)
    hidden = fields.records(document["hidden"], "hidden", _MAX_FINDINGS) if version > 4 else []
    # Hidden findings share the groups of the others, so that all are read together.
    rows = [*shown, *hidden]
    review, decisions = load_review(document["review"]) if version > 4 else (None, [])
    zone = fields.zone(document["time_zone"] if version > 1 else None)
    frame = _frame(rows, entity, time, known, zone)
    n_features = len(features)
    values = fields.matrix(rows, "values", n_features)
    percentiles = fields.matrix(rows, "percentiles", n_features, low=0.0, high=_MAX_PERCENTILE)
    order = _order(rows, n_features)
    group_of, group_typical = None, None
    if version == 1:
        group_of, group_typical = _first_version(frame, manifest, n_features)
    else:
        frame["rank_rows"] = fields.counts(rows, "rank_rows")
        frame["rank_among"] = fields.texts(rows, "rank_among")
        group_of, group_typical = _groups(document["groups"], [row["group"] for row in rows], n_features)
    if version > 3:
        _add_rarity(frame, rows, manifest, entity, time)
    else:
        # Early versions have no exact anomaly scores, and no rarities.
        frame["finding_id"] = finding_ids(frame[entity].tolist(), frame[time])
        frame["anomaly_score"] = -(frame["score"] + manifest["offset"])
        frame["rarity"] = frame["rows_as_high"] = np.nan
        frame["band"] = ""
    frame = frame[[*(name for name in frame.columns if name not in joined), *joined]]
    return {
        "frame": frame,
        "entity": entity,
        "time": time,
        "features": features,
        "values": values,
        "percentiles": percentiles,
        "order": order,
        "directions": fields.integer_matrix(rows, "directions", n_features, -1, 1).astype(np.int8),
        "reference": _reference(document["reference"], features),
        "group_of": group_of,
        "group_typical": group_typical,
        "flags": _flags(rows, features, values),
        "timeline": _timeline(document["timeline"], manifest["offset"], version),
        "comparisons": _comparisons(document["comparisons"], rows, n_features) if version > 3 else {},
        "explained": load_explained(document.get("explanation"), rows, n_features),
        "entity_scores": load_entity_scores(document.get("entity_scores")),
        "manifest": manifest,
        "joined": joined,
        "judged": load_judged(rows, len(shown), decisions) if version > 4 else None,
        "review": review,
    }


def _frame(rows: list[dict[str, Any]], entity: str, time: str, joined: dict[str, str], zone: Any) -> pd.DataFrame:
    """Return the frame of findings without the columns that early versions lack.

    The keys of `joined` are the names of the joined columns, and the values their names in the document.
    """
    return pd.DataFrame(
        {
            entity: pd.Series([fields.entity(row["entity"]) for row in rows], dtype=object).astype("str")
            if all(isinstance(row["entity"], str) for row in rows)
            else [fields.entity(row["entity"]) for row in rows],
            time: fields.times([row["time"] for row in rows], "time", zone),
            "score": fields.numbers([row["score"] for row in rows], "score", -fields.MAX_SCORE, fields.MAX_SCORE),
            "severity": fields.numbers([row["severity"] for row in rows], "severity", 0.0, _MAX_PERCENTILE),
            "day_rank": fields.integers([row["day_rank"] for row in rows], "day_rank", 1),
            "day_rows": fields.integers([row["day_rows"] for row in rows], "day_rows", 1),
            "first_seen": fields.days([row["first_seen"] for row in rows], "first_seen"),
            **{name: [fields.cell(fields.member(row["joined"], own)) for row in rows] for name, own in joined.items()},
        }
    ).set_axis(pd.Index(fields.integers([row["row"] for row in rows], "row", 0)), axis=0)


def _first_version(frame: pd.DataFrame, manifest: dict[str, Any], n_features: int) -> tuple[Any, Any]:
    """Add the columns that version 1 lacks to a frame, and return `group_of` and `group_typical`.

    If there are groups, version 1 stored the typical values of all rows, which must not be shown for a group.
    """
    groups = (manifest.get("ranking") or {}).get("groups")
    if groups is None:
        frame["rank_rows"] = np.full(len(frame), manifest["rows"], dtype=np.int64)
        frame["rank_among"] = f"all {manifest['rows']:,} rows"
        return None, None
    frame["rank_rows"] = np.full(len(frame), np.nan)
    frame["rank_among"] = f"the rows with the same {groups}"
    return np.full(len(frame), -1, dtype=np.intp), np.empty((0, n_features, len(STATISTICS)))


def _add_rarity(
    frame: pd.DataFrame, rows: list[dict[str, Any]], manifest: dict[str, Any], entity: str, time: str
) -> None:
    """Add the columns that early versions lack to a frame."""
    frame["finding_id"] = finding_ids(frame[entity].tolist(), frame[time])
    for own, row in zip(frame["finding_id"], rows, strict=True):
        if own != fields.text(row["id"], "id"):
            raise ValueError(f"'id' is {fields.short(row['id'])}, but must be {own!r} for this entity and time")
    frame["anomaly_score"] = fields.numbers([row["anomaly_score"] for row in rows], "anomaly_score", *_ANOMALY_SCORES)
    rows_as_high = fields.counts(rows, "rows_as_high")
    n_reference = manifest["rows"] if manifest.get("reference_rows") is None else manifest["reference_rows"]
    frame["rarity"] = rarity_of(rows_as_high, n_reference)
    frame["rows_as_high"] = rows_as_high
    bands = fields.texts(rows, "band")
    unknown = [band for band in bands if band not in ("", *BANDS)]
    if unknown:
        raise ValueError(f"'band' is {fields.short(unknown[0])}, but must be empty, {', '.join(BANDS)}")
    frame["band"] = pd.Series(bands, index=frame.index, dtype=object).astype(str)


def _comparisons(typical: Any, rows: list[dict[str, Any]], n_features: int) -> dict[str, Ranked]:
    """Return the ranks among other rows, by the name of these rows."""
    if not isinstance(typical, dict) or len(typical) > _MAX_COMPARISONS:
        raise ValueError(f"'comparisons' must be an object with at most {_MAX_COMPARISONS} entries")
    comparisons = {}
    for name, groups in typical.items():
        fields.text(name, "comparisons")
        own = fields.records([row["comparisons"][name] for row in rows], "comparisons", len(rows))
        among = fields.names([row["rank_among"] for row in own], "rank_among", len(rows))
        group_of, group_typical = _groups([] if groups is None else groups, [row["group"] for row in own], n_features)
        comparisons[name] = Ranked(
            fields.matrix(own, "percentiles", n_features, low=0.0, high=_MAX_PERCENTILE),
            _order(own, n_features),
            fields.integer_matrix(own, "directions", n_features, -1, 1).astype(np.int8),
            fields.integers([row["rank_rows"] for row in own], "rank_rows", 0),
            among,
            group_of,
            group_typical,
        )
    return comparisons


def _order(rows: list[dict[str, Any]], n_features: int) -> np.ndarray[Any, Any]:
    """Return the order of the features of each finding, which names each feature once."""
    order = fields.integer_matrix(rows, "order", n_features, 0, n_features - 1)
    if not np.array_equal(np.sort(order, axis=1), np.broadcast_to(np.arange(n_features), order.shape)):
        raise ValueError("'order' must name each feature once")
    return order


def _groups(groups: Any, group_of: list[Any], n_features: int) -> tuple[Any, Any]:
    """Return `group_of` and `group_typical`, which are both None if there are no groups."""
    if groups is None:
        if any(group is not None for group in group_of):
            raise ValueError("a finding has a 'group', but the document has no 'groups'")
        return None, None
    if not isinstance(groups, list) or len(groups) > len(group_of):
        raise ValueError("'groups' must be a list, not longer than the findings")
    for group in groups:
        if not isinstance(group, list) or len(group) != len(STATISTICS):
            raise ValueError(f"each of 'groups' must have {len(STATISTICS)} lists")
    typical = [
        fields.matrix([{"groups": group[k]} for group in groups], "groups", n_features) for k in range(len(STATISTICS))
    ]
    numbers = [-1 if group is None else group for group in group_of]
    return fields.integers(numbers, "group", -1, len(groups) - 1).astype(np.intp), np.stack(typical, axis=2)


def _reference(reference: Any, features: list[str]) -> pd.DataFrame:
    rows = [{"reference": [reference[name][statistic] for statistic in STATISTICS]} for name in features]
    typical = fields.matrix(rows, "reference", len(STATISTICS))
    return pd.DataFrame(typical, index=pd.Index(features), columns=pd.Index(list(STATISTICS)))


def _flags(rows: list[dict[str, Any]], features: list[str], values: np.ndarray[Any, Any]) -> pd.DataFrame:
    positions = {name: j for j, name in enumerate(features)}
    flags: dict[str, list[Any]] = {"row": [], "feature": [], "value": [], "rule": [], "limit": []}
    for number, row in enumerate(rows):
        for flag in fields.records(row["flags"], "flags", len(features)):
            name = fields.text(flag["feature"], "feature of a flag")
            if name not in positions:
                raise ValueError(f"a flag has the unknown feature {fields.short(name)}")
            flags["row"].append(number)
            flags["feature"].append(name)
            flags["value"].append(values[number, positions[name]])
            flags["rule"].append(fields.text(flag["rule"], "rule"))
            flags["limit"].append(flag["limit"])
    flags["limit"] = fields.numbers(flags["limit"], "limit").tolist()
    frame = pd.DataFrame(flags)
    return frame.astype({"row": np.int64, "feature": str, "value": np.float64, "rule": str, "limit": np.float64})


def _timeline(timeline: Any, offset: float, version: int) -> pd.DataFrame:
    days = fields.records(timeline, "timeline", _MAX_DAYS)
    if not days:
        raise ValueError("'timeline' is empty")
    lowest = fields.numbers([day["lowest"] for day in days], "lowest", -fields.MAX_SCORE, fields.MAX_SCORE)
    highest = -(lowest + offset)
    if version > 3:
        highest = fields.numbers([day["highest"] for day in days], "highest", *_ANOMALY_SCORES)
    return pd.DataFrame(
        {
            "day": fields.days([day["day"] for day in days], "day"),
            "rows": fields.integers([day["rows"] for day in days], "rows", 0),
            "lowest": lowest,
            "highest": highest,
            "findings": fields.integers([day["findings"] for day in days], "findings", 0),
        }
    )
