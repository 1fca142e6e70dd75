"""Findings say whether their values are unusual for their size, in sentences, files and events."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from isoxide import ueba
from isoxide.ueba._size import SizeBands
from isoxide.ueba._size_remarks import SizeRemark, remark_text, size_remarks
from ueba_tables import sized_days

NAMES = {"entity": "actor", "time": "day"}


def test_a_remark_counts_the_features_that_are_unusual_for_the_size():
    remarks = size_remarks(
        SizeBands("n", (8,), 2, 0.5),
        ["n", "m", "is_weekend"],
        values=np.array([[50.0, 1.0, 1.0], [9.0, 1.0, 0.0], [3.0, 1.0, 0.0], [np.nan, 1.0, 0.0], [60.0, 1.0, 0.0]]),
        percentiles=np.array([[98.9, 50, 100], [99.0, 99.9, 50], [20, 98.9, 50], [np.nan] * 3, [np.nan, 99.5, 0]]),
        order=np.array([[2, 0, 1], [1, 0, 2], [2, 1, 0], [0, 1, 2], [1, 2, 0]]),
        reference=pd.DataFrame({"p95": [40.0, 1.0, 1.0]}, index=["n", "m", "is_weekend"]),
        flags={2},
        cutoff=99.0,
    )
    assert remarks == [
        SizeRemark("8 or more", [], True), SizeRemark("8 or more", [1, 0], False), SizeRemark("at most 7", [], False),
        None, SizeRemark("8 or more", [1], True),
    ]  # fmt: skip
    name = ["n", "m", "is_weekend", "x", "y"].__getitem__
    texts = [remark_text(remark, "day", 0, name) for remark in remarks if remark is not None]
    assert texts == [
        "Just a big day: no value is unusual for a day of this size (n 8 or more).",
        "Compared with days of similar size (n 8 or more), 2 features are unusual: m and n.",
        "No value is unusual for a day of this size (n at most 7).",
        "Compared with days of similar size (n 8 or more), 1 feature is unusual: m.",
    ]
    many = remark_text(SizeRemark("0", [4, 3, 1, 0], False), "row", 0, name)
    assert many == "Compared with rows of similar size (n 0), 4 features are unusual: y, x, m and 1 more."


@pytest.fixture(scope="module")
def frame(seed):
    frame = sized_days(seed)
    # A day that is big and nothing else: all of its counts are those of other big days.
    biggest = frame.nlargest(40, "n_files").index
    for name in ("n_reads", "n_files", "n_writes", "n_hosts"):
        frame.loc[biggest[20], name] = int(frame.loc[biggest, name].median())
    return frame


@pytest.fixture(scope="module", params=["table", "model"])
def findings(request, frame):
    table = ueba.read_table(frame, **NAMES)
    if request.param == "table":
        return ueba.detect(table, contamination=0.05, groups="size")
    return ueba.Model.fit(table, contamination=0.05, groups="size", n_estimators=100).detect(table)


def listed(names):
    named = names[:3] + ([f"{len(names) - 3} more"] if len(names) > 3 else [])
    return " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0]


def expected_notes(findings):
    """Return the remark of each finding from its public attributes."""
    size, notes = findings.size_bands, []
    ranked = findings.comparisons.get("size", findings)
    j = findings.features.index(size.feature)
    for number in range(len(findings)):
        names = [
            findings.features[k]
            for k in ranked.order[number]
            if ranked.percentiles[number, k] >= 99 and findings.features[k] != "is_weekend"
        ]
        n = len(names)
        value = findings.values[number, j]  # noqa: PD011
        band = size.labels([value])[0]
        if n:
            are = "feature is" if n == 1 else "features are"
            notes.append(f"Compared with days of similar size (n_files {band}), {n} {are} unusual: {listed(names)}.")
        else:
            lead = "Just a big day: no" if value >= findings.reference.loc["n_files", "p95"] else "No"
            notes.append(f"{lead} value is unusual for a day of this size (n_files {band}).")
    return notes


def test_csv_and_events_have_the_remark(findings, tmp_path):
    notes = expected_notes(findings)
    assert len(set(notes)) > 2
    assert findings.to_frame()["size_note"].tolist() == notes
    own = pd.read_csv(findings.to_csv(tmp_path / "f.csv"))
    assert own["size_note"].tolist() == notes
    for write in (findings.to_ocsf, findings.to_ecs):
        lines = write(tmp_path / "f.ndjson").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        assert [size_note(event) for event in events] == notes


def size_note(event):
    return (event["unmapped"] if "unmapped" in event else event["isoxide"])["size_note"]


def test_both_reports_say_it_in_words(findings, tmp_path):
    pytest.importorskip("jinja2")
    notes = expected_notes(findings)
    page = findings.to_html(tmp_path / "r.html").read_text()
    markdown = findings.to_markdown(tmp_path / "r.md").read_text().replace("\\", "")
    for note in notes:
        assert re.sub(r"\b(n_[a-z]+|share)\b", r"<bdi>\1</bdi>", note) in page
        assert note in markdown
    assert "Similar size" in page
    assert "values are compared with rows of similar size, in " in page
    assert "days of similar size" in page


def test_other_findings_have_no_remark(frame, tmp_path):
    findings = ueba.detect(ueba.read_table(frame, **NAMES), contamination=0.05)
    assert "size_note" not in findings.to_frame()
    assert "similar size" not in findings.to_markdown(tmp_path / "r.md").read_text()
    assert all("size_note" not in line for line in findings.to_ocsf(tmp_path / "f.ndjson").read_text().splitlines())


def test_sentences_compare_with_the_usual_day_of_similar_size(frame, tmp_path):
    """Without a model, everyone's usual value follows; with one, the own history comes first."""
    table = ueba.read_table(frame, **NAMES)
    text = ueba.detect(table, contamination=0.02, groups="size").to_markdown(tmp_path / "a.md").read_text()
    assert "; the usual day of similar size is " in text
    assert ", everyone\\'s " in text
    model = ueba.Model.fit(table, contamination=0.02, groups="size", n_estimators=50)
    text = model.detect(table).to_markdown(tmp_path / "b.md").read_text()
    assert "; this actor\\'s usual day is " in text
    assert ", days of similar size " in text
