"""Findings as OCSF and ECS events: required fields, types and allowed values of the published schemas."""

import copy
import datetime
import ipaddress
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isoxide import ueba
from isoxide.ueba._events import ECS_VERSION, OCSF_VERSION
from ueba_tables import actor_days, users_of

FIXTURES = Path(__file__).parents[1] / "fixtures"
#: Attributes of the schemas that are required or that the package writes; each file names its source.
OCSF = json.loads((FIXTURES / f"ocsf-{OCSF_VERSION}.json").read_text())["objects"]
ECS = json.loads((FIXTURES / f"ecs-{ECS_VERSION}.json").read_text())["fields"]
TYPES = {
    "string_t": str, "integer_t": int, "long_t": int, "timestamp_t": int, "boolean_t": bool, "ip_t": str,
    "username_t": str, "hostname_t": str, "object": dict, "json_t": dict,
}  # fmt: skip
KINDS = ("user", "host", "ip", "other")


def detected(frame, **options):
    table = ueba.read_table(frame, entity=frame.columns[0], time="day")
    return ueba.detect(table, **{"contamination": 0.02, **options})


@pytest.fixture(scope="module")
def findings():
    frame = actor_days(0)
    frame.loc[::7, "n_1"] = np.nan
    return detected(frame, bands=(10, 100, 500)).join(users_of(frame).assign(salary=np.nan))


def lines(text):
    """Return the documents of newline-delimited JSON, which has neither NaN nor infinities."""
    assert text.isascii()
    assert not text or text.endswith("\n")

    def refuse(name):
        raise AssertionError(name)

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def check_object(document, name):
    """Check the attributes of an OCSF object: all required ones, no unknown ones, and their types and values."""
    schema = OCSF[name]
    missing = {key for key, own in schema["attributes"].items() if own["required"]} - document.keys()
    assert not missing, f"{name} lacks {missing}"
    if schema["at_least_one"]:
        assert document.keys() & schema["at_least_one"], f"{name} needs one of {schema['at_least_one']}"
    for key, value in document.items():
        own = schema["attributes"][key]
        assert isinstance(value, list) == own["array"], f"{name}.{key} is {value!r}"
        for item in value if own["array"] else [value]:
            if own["type"] in TYPES:
                assert type(item) is TYPES[own["type"]], f"{name}.{key} is {item!r}, but must be {own['type']}"
            else:
                check_object(item, own["type"])
            if own["type"] == "ip_t":
                ipaddress.ip_address(item)
            if "enum" in own:
                assert item in own["enum"], f"{name}.{key} is {item}"


def flat(document, prefix=""):
    """Yield the fields of an ECS document with their dotted names, without the custom field of the package."""
    for key, value in document.items():
        if isinstance(value, dict) and prefix + key != "isoxide":
            yield from flat(value, f"{prefix}{key}.")
        elif prefix + key != "isoxide":
            yield prefix + key, value


def check_ecs(document):
    own = dict(flat(document))
    assert {name for name, field in ECS.items() if field["required"]} <= own.keys()
    for name, value in own.items():
        field = ECS[name]
        assert isinstance(value, list) == field["array"], name
        for item in value if field["array"] else [value]:
            if field["type"] in ("keyword", "match_only_text"):
                assert type(item) is str, name
            elif field["type"] == "date":
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", item), name
            elif field["type"] == "ip":
                ipaddress.ip_address(item)
            else:
                assert type(item) is {"long": int, "float": float}[field["type"]], name
                assert math.isfinite(item), name
            if "allowed" in field:
                assert item in field["allowed"], name
    for category in own["event.category"]:
        assert {*own["event.type"]} <= {*ECS["event.category"]["types"][category]}


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_events_follow_the_published_schemas(findings, kind):
    ocsf, ecs = lines(findings.to_ocsf(entity_type=kind)), lines(findings.to_ecs(entity_type=kind))
    assert len(ocsf) == len(ecs) == len(findings) > 10
    for document in ocsf:
        check_object(document, "detection_finding")
        assert document["class_uid"] == 2004
        assert document["category_uid"] == 2
        assert document["type_uid"] == document["class_uid"] * 100 + document["activity_id"]
        assert document["metadata"]["version"] == OCSF_VERSION
        assert document["metadata"]["product"]["name"] == "isoxide"
    for document in ecs:
        check_ecs(document)
        assert document["event"]["kind"] == "alert"
        assert document["ecs"]["version"] == ECS_VERSION


def test_the_checks_of_this_file_notice_faults(findings):
    ocsf, ecs = lines(findings.to_ocsf())[0], lines(findings.to_ecs())[0]
    for change in (
        {"time": "2025"}, {"severity_id": 7}, {"is_alert": 1}, {"finding_info": {}}, {"planet": "Mars"},
        {"evidences": {}}, {"metadata": {"version": "1.8.0", "product": {}}},
    ):  # fmt: skip
        with pytest.raises((AssertionError, KeyError, TypeError)):
            check_object(ocsf | change, "detection_finding")
    for change in ({"@timestamp": 7}, {"event": {"kind": "oops"}}, {"tags": "a"}, {"planet": "Mars"}, {"ecs": {}}):
        with pytest.raises((AssertionError, KeyError, TypeError)):
            check_ecs(ecs | change)


def test_events_have_the_numbers_of_the_findings(findings):
    frame = findings.frame
    ocsf, ecs = lines(findings.to_ocsf()), lines(findings.to_ecs())
    wide = findings.to_frame()
    severities = {"": (2, 21), "minor": (3, 47), "major": (4, 73), "critical": (5, 99)}
    for row in range(len(findings)):
        own, theirs = ocsf[row], ecs[row]
        day = frame["day"].iloc[row]
        start = int(day.tz_localize("UTC").timestamp()) * 1000
        score, actor = frame["anomaly_score"].iloc[row], frame["actor"].iloc[row]
        assert own["finding_info"]["uid"] == theirs["event"]["id"] == frame["finding_id"].iloc[row]
        assert (own["start_time"], own["end_time"]) == (start, start + 86_400_000 - 1)
        assert theirs["@timestamp"] == theirs["event"]["start"] == f"{day:%Y-%m-%d}T00:00:00.000Z"
        assert theirs["event"]["end"] == f"{day:%Y-%m-%d}T23:59:59.999Z"
        created = datetime.datetime.fromisoformat(findings.manifest["created"])
        assert own["time"] == own["finding_info"]["created_time"] == int(created.timestamp() * 1000)
        assert datetime.datetime.fromisoformat(theirs["event"]["created"].replace("Z", "+00:00")) == created
        assert own["evidences"] == [{"user": {"name": actor}}]
        assert theirs["user"] == {"name": actor}
        assert own["risk_score"] == round(100 * score)
        assert (theirs["event"]["risk_score"], theirs["event"]["risk_score_norm"]) == (score, 100 * score)
        band = frame["band"].iloc[row]
        assert (own["severity_id"], theirs["event"]["severity"]) == severities[band]
        assert actor in own["finding_info"]["title"]
        assert f"{day:%Y-%m-%d}" in own["finding_info"]["title"]
        texts = [text for text in wide[["reason_1", "reason_2", "reason_3"]].iloc[row] if text]
        assert own["finding_info"]["desc"] == theirs["event"]["reason"] == "; ".join(texts)
        assert own["unmapped"]["rarity"] == frame["rarity"].iloc[row]
        joined = {entry["name"]: entry["value"] for entry in own["unmapped"]["joined"]}
        assert joined == {"email": f"{actor}@example.org", "department": frame["department"].iloc[row], "salary": None}
        for reason, anomaly in zip(own["unmapped"]["reasons"], own["anomaly_analyses"][0]["anomalies"], strict=True):
            j = findings.features.index(reason["feature"])
            value = findings.values[row, j]  # noqa: PD011
            assert reason["value"] == (None if np.isnan(value) else value)
            assert reason["typical"] == findings.typical("median")[row, j]
            percentile = findings.percentiles[row, j]
            assert reason["percentile"] == (None if np.isnan(percentile) else percentile)
            shown = anomaly["observations"][0]["value"]
            assert shown == "missing" if np.isnan(value) else float(shown) == value
    assert any(own["severity_id"] > 3 for own in ocsf)


def test_entities_are_in_the_fields_of_their_type():
    frame = actor_days(3).rename(columns={"actor": "src_ip"})
    frame["src_ip"] = frame["src_ip"].str.replace("actor", "10.0.0.", regex=False).str.replace("10.0.0.0", "10.0.0.")
    frame.loc[frame["src_ip"] == "10.0.0.3", "src_ip"] = "unknown host"
    frame.loc[frame["src_ip"] == "10.0.0.4", "src_ip"] = None
    findings = detected(frame, contamination=0.3)
    kinds = set()
    for ocsf, ecs in zip(lines(findings.to_ocsf()), lines(findings.to_ecs()), strict=True):
        check_object(ocsf, "detection_finding")
        check_ecs(ecs)
        name = ecs["isoxide"]["entity"]["name"]
        assert ecs["isoxide"]["entity"]["column"] == "src_ip"
        target = ocsf["anomaly_analyses"][0]["analysis_targets"]
        if name is None:
            kinds.add("none")
            assert not {"source", "user", "host", "related"} & ecs.keys()
            assert "observables" not in ocsf
            assert target == [{"name": "unknown", "type": "src_ip"}]
        elif name == "unknown host":
            kinds.add("text")
            assert ecs["source"] == {"address": name}
            assert ocsf["observables"][0] == {
                "name": "anomaly_analyses.analysis_targets.name", "type": "src_ip", "type_id": 99, "value": name,
            }  # fmt: skip
        else:
            kinds.add("ip")
            assert ecs["source"] == {"address": name, "ip": name}
            assert ecs["related"] == {"ip": [name]}
            assert ocsf["evidences"] == [{"src_endpoint": {"ip": name}}]
    assert kinds == {"none", "text", "ip"}
    hosts = lines(findings.to_ocsf(entity_type="host"))
    assert next(h for h in hosts if "device" in h)["device"].keys() == {"hostname", "type_id", "type"}
    assert lines(findings.to_ecs(entity_type="host"))[0].get("source") is None
    with pytest.raises(ValueError, match=r"entity_type='robot' must be one of \['user', 'host', 'ip', 'other'\]"):
        findings.to_ocsf(entity_type="robot")


@pytest.mark.parametrize("zone", ["Europe/Oslo", "America/Sao_Paulo", "Asia/Kolkata"])
def test_days_of_a_time_zone_end_where_the_next_one_begins(zone):
    # Oslo changes to summer time on 2018-03-25; in Sao Paulo midnight of 2018-11-04 does not exist.
    frame = actor_days(5, n_actors=12, n_days=340)
    frame["day"] = pd.date_range("2018-02-01", periods=340).to_numpy()[(frame["day"] - frame["day"].min()).dt.days]
    frame["day"] = frame["day"].dt.tz_localize(zone, nonexistent="shift_forward")
    findings = detected(frame, contamination=0.5)
    lengths = set()
    for time, ocsf in zip(findings.frame["day"], lines(findings.to_ocsf()), strict=True):
        assert ocsf["start_time"] == round(time.timestamp() * 1000)
        after = time.tz_localize(None).normalize() + pd.Timedelta(days=1)
        after = after.tz_localize(zone, nonexistent="shift_forward")
        is_day = time.hour == 0
        assert ocsf["end_time"] == (round(after.timestamp() * 1000) - 1 if is_day else ocsf["start_time"])
        lengths.add((ocsf["end_time"] + 1 - ocsf["start_time"]) // 3_600_000)
    assert lengths >= ({23, 24, 25} if zone == "Europe/Oslo" else {24})


def test_times_of_day_are_moments_and_hostile_names_stay_text():
    frame = actor_days(1, n_days=90).astype({"actor": object})
    frame["day"] = frame["day"] + pd.Timedelta(hours=13, milliseconds=250)
    names = ['a"b\n{"x":1}', "\u2028é東京", "\x1b[31m", "=cmd()", "NaN"]
    frame["actor"] = [names[int(text[5:]) % 5] for text in frame["actor"]]
    frame = frame.rename(columns={"n_0": 'n"0\n', "n_3": "n.3.€"}).drop_duplicates(["actor", "day"])
    findings = detected(frame, contamination=0.2)
    ocsf, ecs = lines(findings.to_ocsf()), lines(findings.to_ecs())
    assert {own["evidences"][0]["user"]["name"] for own in ocsf} == {*findings.frame["actor"]}
    for own, theirs, time in zip(ocsf, ecs, findings.frame["day"], strict=True):
        check_object(own, "detection_finding")
        check_ecs(theirs)
        assert own["start_time"] == own["end_time"] == round(time.tz_localize("UTC").timestamp() * 1000)
        assert theirs["@timestamp"].endswith("T13:00:00.250Z")


def test_files_are_written_whole_and_a_quiet_day_is_an_empty_file(findings, tmp_path):
    path = findings.to_ocsf(tmp_path / "f.ndjson")
    assert path.read_text() == findings.to_ocsf()
    assert findings.to_ecs(path).read_text() == findings.to_ecs()
    stored = ueba.read_findings(findings.to_json(tmp_path / "f.json"))
    assert (stored.to_ocsf(), stored.to_ecs()) == (findings.to_ocsf(), findings.to_ecs())
    quiet = detected(actor_days(0), contamination=None, anomaly_threshold=0.99)
    assert len(quiet) == 0
    assert quiet.to_ocsf() == quiet.to_ecs() == ""


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("isoxide-findings-*.json")))
def test_findings_of_early_versions_become_events_too(name):
    findings = ueba.read_findings(FIXTURES / name)
    for document in lines(findings.to_ocsf()):
        check_object(document, "detection_finding")
    for document in lines(findings.to_ecs()):
        check_ecs(document)


def test_statuses_of_decisions_become_statuses_of_ocsf(findings):
    decided = copy.copy(findings)
    cls = type(
        "Decided",
        (type(findings),),
        {"statuses": ["confirmed", "known-good", "false-positive", "mine"] + ["open"] * (len(findings) - 4)},
    )
    decided.__class__ = cls
    documents = lines(decided.to_ocsf())
    statuses = [(own["status_id"], own["status"]) for own in documents]
    assert statuses[:5] == [(2, "In Progress"), (3, "Suppressed"), (3, "Suppressed"), (99, "mine"), (1, "New")]
    for document in documents:
        check_object(document, "detection_finding")
    assert [own["isoxide"]["status"] for own in lines(decided.to_ecs())[:4]] == cls.statuses[:4]
