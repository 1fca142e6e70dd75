"""Findings as events for other systems: OCSF Detection Findings and ECS alerts, one JSON object per line.

The documents follow OCSF 1.8.0 (class 2004) and ECS 9.4.0. Findings become the same events however often they are
written: all fields come from the findings, which record when they were made. Facts that a schema has no field for are
in ``unmapped`` (OCSF) and in the custom field ``isoxide`` (ECS).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from isoxide._common.format import format_time
from isoxide._common.version import package_version
from isoxide.ueba._entity_type import entity_type_of, is_address
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._reasons import TicketReason, reason_text

__all__ = ["ECS_VERSION", "OCSF_VERSION", "ecs_events", "ocsf_events", "to_ndjson"]

OCSF_VERSION, ECS_VERSION = "1.8.0", "9.4.0"
#: OCSF: category Findings, class Detection Finding, activity Create.
_CATEGORY, _CLASS, _ACTIVITY = 2, 2004, 1
#: For each band: OCSF's ``severity_id`` with its caption, and the severity of an ECS event, as Elastic's rules have it.
_SEVERITIES = {
    "": (2, "Low", 21),
    "minor": (3, "Medium", 47),
    "major": (4, "High", 73),
    "critical": (5, "Critical", 99),
}
#: OCSF's ``status_id`` and its caption for each status of a decision.
_STATUSES = {
    "open": (1, "New"),
    "confirmed": (2, "In Progress"),
    "known-good": (3, "Suppressed"),
    "false-positive": (3, "Suppressed"),
}
#: OCSF's types of observables.
_HOSTNAME, _IP_ADDRESS, _USER_NAME, _OTHER = 1, 2, 4, 99
#: Name of the product, and of the analytic or rule.
_PRODUCT, _RULE = "isoxide", "isoxide isolation forest"
_DAY = pd.Timedelta(days=1)
_MILLISECOND = pd.Timedelta(milliseconds=1)


@dataclass(frozen=True)
class Event:
    """Facts about a finding that both schemas need."""

    id: str
    entity: str | None
    #: First and last moment of the row, in UTC: of the whole day if the time is a day.
    start: pd.Timestamp
    end: pd.Timestamp
    band: str
    score: float
    title: str
    reasons: list[TicketReason]
    status: str
    details: dict[str, Any]


def to_ndjson(events: Iterator[dict[str, Any]]) -> str:
    """Return events as lines of JSON, in ASCII and without NaN, which JSON lacks."""
    return "".join(f"{json.dumps(_plain(event), allow_nan=False, separators=(',', ':'))}\n" for event in events)


def ocsf_events(findings: FindingsData, entity_type: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield each finding as a Detection Finding of OCSF.

    Parameters
    ----------
    findings : FindingsData
        Findings to convert.
    entity_type : {"user", "host", "ip", "other"}, optional
        Type of the entities. By default the name of their column decides.

    Raises
    ------
    ValueError
        If `entity_type` has another value.
    """
    kind, column = entity_type_of(findings.entity, entity_type), findings.entity
    created, product = _created(findings), _product(findings)
    forest = {"name": _RULE, "type_id": 4, "type": "Learning (ML/DL)", "algorithm": "Isolation forest"}
    forest |= {"uid": _rule_id(findings), "version": product["version"]}
    sources = [str(findings.manifest["source"])] if findings.manifest.get("source") else []
    for event in _events(findings):
        severity_id, severity, _ = _SEVERITIES[event.band]
        start, end = _milliseconds(event.start), _milliseconds(event.end)
        info = {
            "uid": event.id,
            "title": event.title,
            "desc": "; ".join(map(reason_text, event.reasons)),
            "types": ["Anomaly"],
            "analytic": forest,
            "created_time": start if created is None else _milliseconds(created),
            "first_seen_time": start,
            "last_seen_time": end,
        }
        status_id, status = _STATUSES.get(event.status, (99, event.status))
        document: dict[str, Any] = {
            "activity_id": _ACTIVITY,
            "activity_name": "Create",
            "category_uid": _CATEGORY,
            "category_name": "Findings",
            "class_uid": _CLASS,
            "class_name": "Detection Finding",
            "type_uid": _CLASS * 100 + _ACTIVITY,
            "type_name": "Detection Finding: Create",
            "severity_id": severity_id,
            "severity": severity,
            "status_id": status_id,
            "status": status,
            "time": info["created_time"],
            "start_time": start,
            "end_time": end,
            "message": event.title,
            "is_alert": True,
            "risk_score": round(100 * event.score),
            "metadata": {"version": OCSF_VERSION, "product": product, "uid": event.id, "log_name": "findings"},
            "finding_info": info | ({"data_sources": sources} if sources else {}),
            "anomaly_analyses": [_analysis(event, column)],
            "unmapped": event.details,
        }
        yield document | (_ocsf_entity(kind, column, event.entity) if event.entity is not None else {})


def _ocsf_entity(kind: str, column: str, entity: str) -> dict[str, Any]:
    """Return the fields of OCSF that name the entity: evidence, observables and, for a host, the device."""
    if kind == "host":
        device = {"hostname": entity, "type_id": 0, "type": "Unknown"}
        observable = ("device.hostname", "Hostname", _HOSTNAME)
        return {"device": device, "observables": [_observable(*observable, entity)]}
    if kind == "ip" and is_address(entity):
        observable = ("evidences.src_endpoint.ip", "IP Address", _IP_ADDRESS)
        return {"evidences": [{"src_endpoint": {"ip": entity}}], "observables": [_observable(*observable, entity)]}
    if kind == "user":
        observable = ("evidences.user.name", "User Name", _USER_NAME)
        return {"evidences": [{"user": {"name": entity}}], "observables": [_observable(*observable, entity)]}
    observable = ("anomaly_analyses.analysis_targets.name", column, _OTHER)
    return {"observables": [_observable(*observable, entity)]}


def _observable(name: str, type_: str, type_id: int, value: str) -> dict[str, Any]:
    return {"name": name, "type": type_, "type_id": type_id, "value": value}


def _analysis(event: Event, column: str) -> dict[str, Any]:
    """Return OCSF's analysis of an anomaly: the observed values, and the usual ones as baselines."""
    patterns = {1: "HIGH", -1: "LOW", 0: "UNUSUAL"}
    anomalies = [
        {
            "observation_parameter": reason.feature,
            "observation_type": "Isolation forest",
            "observed_pattern": patterns[reason.direction],
            "observations": [{"value": "missing" if reason.value is None else _digits(reason.value)}],
        }
        for reason in event.reasons
    ]
    baselines = [
        {
            "observation_parameter": reason.feature,
            "observation_type": "Median",
            "observations": [{"value": _digits(reason.typical)}],
        }
        for reason in event.reasons
        if reason.typical is not None
    ]
    target = {"name": "unknown" if event.entity is None else event.entity, "type": column}
    return {"analysis_targets": [target], "anomalies": anomalies} | ({"baselines": baselines} if baselines else {})


def ecs_events(findings: FindingsData, entity_type: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield each finding as an alert of the Elastic Common Schema.

    Parameters
    ----------
    findings : FindingsData
        Findings to convert.
    entity_type : {"user", "host", "ip", "other"}, optional
        Type of the entities. By default the name of their column decides.

    Raises
    ------
    ValueError
        If `entity_type` has another value.
    """
    kind, created, product = entity_type_of(findings.entity, entity_type), _created(findings), _product(findings)
    for event in _events(findings):
        document: dict[str, Any] = {
            "@timestamp": _iso(event.start),
            "ecs": {"version": ECS_VERSION},
            "message": event.title,
            "event": {
                "kind": "alert",
                "category": ["intrusion_detection"],
                "type": ["info"],
                "id": event.id,
                "module": _PRODUCT,
                "dataset": f"{_PRODUCT}.findings",
                "provider": _PRODUCT,
                "reason": "; ".join(map(reason_text, event.reasons)),
                "severity": _SEVERITIES[event.band][2],
                "risk_score": event.score,
                "risk_score_norm": 100 * event.score,
                "start": _iso(event.start),
                "end": _iso(event.end),
                **({} if created is None else {"created": _iso(created)}),
            },
            "rule": {"name": _RULE, "id": _rule_id(findings), "version": product["version"], "category": "Anomaly"},
            "observer": {"vendor": product["vendor_name"], "product": product["name"], "version": product["version"]},
            "tags": ["anomaly", *([event.band] if event.band else [])],
            "isoxide": {
                **event.details,
                "status": event.status,
                "entity": {"column": findings.entity, "name": event.entity},
            },
        }
        yield document | ({} if event.entity is None else _ecs_entity(kind, event.entity))


def _ecs_entity(kind: str, entity: str) -> dict[str, Any]:
    """Return the fields of ECS that name the entity; none for entities of another type."""
    if kind == "user":
        return {"user": {"name": entity}, "related": {"user": [entity]}}
    if kind == "host":
        return {"host": {"name": entity}, "related": {"hosts": [entity]}}
    if kind == "ip":
        address = {"ip": entity} if is_address(entity) else {}
        return {"source": {"address": entity, **address}} | ({"related": {"ip": [entity]}} if address else {})
    return {}


def _events(findings: FindingsData) -> Iterator[Event]:
    """Yield the facts about each finding."""
    frame, times = findings.frame, findings.frame[findings.time]
    starts = times.dt.tz_localize("UTC") if times.dt.tz is None else times.dt.tz_convert("UTC")
    # A local day may have 23 or 25 hours, so its end is found in local time.
    naive = times if times.dt.tz is None else times.dt.tz_localize(None)
    is_day = (naive == naive.dt.normalize()).tolist()
    midnights = (naive + _DAY).dt.tz_localize(
        times.dt.tz or "UTC", ambiguous=np.ones(len(naive), dtype=bool), nonexistent="shift_forward"
    )
    ends = midnights.dt.tz_convert("UTC") - _MILLISECOND
    statuses = list(findings.statuses)
    everything = zip(
        frame["finding_id"].tolist(), frame[findings.entity].tolist(), starts.tolist(), ends.tolist(), is_day,
        frame["band"].tolist(), frame["anomaly_score"].tolist(), findings.rarity_texts(), frame["rarity"].tolist(),
        findings._leading_reasons(), times.tolist(), statuses, strict=True,
    )  # fmt: skip
    joined = {name: frame[name].tolist() for name in findings.joined}
    notes = findings._size_notes()
    for row, values in enumerate(everything):
        own_id, entity, start, day_end, is_whole_day, band, score, rarity, in_rows, reasons, time, status = values
        name = None if pd.isna(entity) else str(entity)
        title = f"Unusual {'day' if is_whole_day else 'row'} of {'an unnamed entity' if name is None else name}"
        details: dict[str, Any] = {
            "anomaly_score": score,
            "threshold": findings.anomaly_threshold,
            "rarity": in_rows,
            "rarity_text": rarity,
            "band": band,
            "reasons": [reason._asdict() for reason in reasons],
        }
        if notes[row]:
            details["size_note"] = notes[row]
        if joined:
            # Lists of names and values, since names of columns may not be names of fields.
            details["joined"] = [{"name": key, "value": cells[row]} for key, cells in joined.items()]
        yield Event(
            id=own_id,
            entity=name,
            start=start,
            end=day_end if is_whole_day else start,
            band=band if isinstance(band, str) and band in _SEVERITIES else "",
            score=float(score),
            title=f"{title} ({format_time(time)}): {reason_text(reasons[0])}",
            reasons=reasons,
            status=status,
            details=details,
        )


def _created(findings: FindingsData) -> pd.Timestamp | None:
    """Return when the findings were made, or None if the file of an early version does not say it."""
    try:
        created = pd.Timestamp(findings.manifest["created"])
    except (KeyError, TypeError, ValueError):
        return None
    if pd.isna(created):
        return None
    return created.tz_localize("UTC") if created.tzinfo is None else created.tz_convert("UTC")


def _product(findings: FindingsData) -> dict[str, str]:
    """Return the product that made the findings, with its version."""
    own = (findings.manifest.get("versions") or {}).get("isoxide")
    return {"name": _PRODUCT, "vendor_name": _PRODUCT, "version": own if isinstance(own, str) else package_version()}


def _rule_id(findings: FindingsData) -> str:
    """Return what identifies the forest: the identifier of the model, or a checksum of the scores of all rows."""
    model = (findings.manifest.get("settings") or {}).get("model")
    return str(model or findings.manifest.get("scores_sha256") or "forest")[:64]


def _digits(value: float) -> str:
    """Return all digits of a number, without ".0" for whole numbers."""
    return repr(int(value)) if value.is_integer() else repr(value)


def _milliseconds(time: pd.Timestamp) -> int:
    """Return a time in milliseconds since 1970, as OCSF wants it."""
    return round(time.floor("ms").timestamp() * 1000)


def _iso(time: pd.Timestamp) -> str:
    """Return a time in ISO 8601 with milliseconds, in UTC, as ECS wants it."""
    return f"{time.tz_localize(None).isoformat(timespec='milliseconds')}Z"


def _plain(value: Any) -> Any:
    """Return a document of types that JSON has; NaN, infinities and missing values become None."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, (int, float)):
        return value if math.isfinite(value) else None
    return None if pd.isna(value) else str(value)
