"""Decisions, and their cells in a file."""

import datetime

import pytest

from isoxide import ueba
from isoxide.ueba._decision import COLUMNS, Decision, distinct

WHEN = datetime.datetime(2026, 7, 3, 9, 30, tzinfo=datetime.timezone.utc)


def row(**cells):
    return {**dict.fromkeys(COLUMNS, ""), "entity": "user07", "status": "known-good", "when": "2026-07-03", **cells}


@pytest.mark.parametrize("text", ["user07", " a", "=1+1", "'=1+1", "''=x", "' =x", "-", "+47", "@b", 'a,"b"\nc', "ü"])
def test_rows_hold_every_text(text):
    decision = Decision(
        id="2c5e3193ed71", entity=text, time="2025-04-26", features=("a", 'b"', "ü"), score=0.6123456789012345,
        status="false-positive", until=datetime.date(2026, 9, 1), who=text, when=WHEN, note=text,
    )  # fmt: skip
    cells = decision.to_row()
    assert Decision.from_row(cells) == decision
    # No spreadsheet runs a cell.
    assert not any(cell.lstrip(" ").startswith(("=", "+", "-", "@")) for cell in cells.values())


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-07-03", "2026-07-03T00:00:00.000000Z"),
        ("2026-07-03 09:30", "2026-07-03T09:30:00.000000Z"),
        ("2026-07-03T09:30:05.5+02:00", "2026-07-03T07:30:05.500000Z"),
        ("2026-07-03T09:30:05.123Z", "2026-07-03T09:30:05.123000Z"),
        ("2026-07-03T09:30:05.123456789Z", "2026-07-03T09:30:05.123456Z"),
    ],
)
def test_times_are_those_of_iso_8601(when, expected):
    assert Decision.from_row(row(when=when)).to_row()["when"] == expected


def test_decisions_that_hide_end_after_ninety_days_by_default():
    assert Decision.from_row(row()).until == datetime.date(2026, 10, 1)
    assert Decision.from_row(row(status="confirmed")).until is None
    assert Decision.from_row(row(when="9999-12-01")).until == datetime.date.max
    assert Decision.from_row(row(until="2026-08-01")).until == datetime.date(2026, 8, 1)
    decision = Decision.from_row(row(until="2026-08-01"))
    assert not decision.is_over(datetime.date(2026, 8, 1))
    assert decision.is_over(datetime.date(2026, 8, 2))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"status": "good"}, "status is 'good', but must be known-good, false-positive, confirmed or open"),
        ({"status": "knowngood"}, "did you mean 'known-good'?"),
        ({"status": ""}, "status is '', but must be"),
        ({"until": "2026-02-30"}, "until is '2026-02-30', but must be an existing day such as 2026-10-01"),
        ({"until": "1.10.2026"}, "until is '1.10.2026', but must be"),
        ({"when": ""}, "when is '', but must be a time such as"),
        ({"when": "2026-07-03T25:00"}, "when is '2026-07-03T25:00', but must be"),
        ({"time": "yesterday"}, "time is 'yesterday', but must be"),
        ({"id": "4.1E+11"}, r"id is '4\.1E\+11', but must be the 12 hexadecimal digits of a finding"),
        ({"entity": ""}, "id and entity are both empty"),
        ({"score": "high"}, "score is 'high', but must be an anomaly score from 0 to 1"),
        ({"score": "nan"}, "score is 'nan', but must be"),
        ({"score": "1.5"}, "score is '1.5', but must be"),
        ({"features": "n_to"}, "features is 'n_to', but must be a JSON array such as"),
        ({"when": "0001-01-01T00:00:00+10:00"}, r"when is '0001-01-01T00:00:00\+10:00', but must be"),
        ({"when": "9999-12-31T23:00:00-10:00", "until": "2030-01-01"}, "when is '9999-12-31T23:00:00-10:00'"),
        ({"features": r'["\ud800"]'}, "but must be a JSON array"),
        ({"features": "[1]"}, r"features is '\[1\]', but must be"),
        ({"features": "[" * 100_000}, "but must be a JSON array"),
    ],
)
def test_invalid_cells_are_refused(cells, message):
    with pytest.raises(ValueError, match=message) as caught:
        Decision.from_row(row(**cells))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"status": "good"}, ValueError, "status is 'good'"),
        ({"entity": None}, ValueError, "needs the id of a finding, or an entity"),
        ({"id": "xyz"}, ValueError, "id is 'xyz'"),
        ({"score": 2}, ValueError, "score=2 must be"),
        ({"when": "2026-07-03"}, TypeError, "when must be a datetime"),
        ({"until": WHEN}, TypeError, "until must be a date"),
    ],
)
def test_invalid_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ueba.Decision(**{"entity": "a", "status": "open", "when": WHEN, **arguments})


def test_texts_for_people():
    decision = Decision(
        id="2c5e3193ed71", entity="user07", status="known-good", when=WHEN, until=datetime.date(2026, 10, 1),
        who="Ana", note="backup",
    )  # fmt: skip
    assert str(decision) == "known-good until 2026-10-01 (Ana): backup"
    assert decision.named() == "2c5e3193ed71 (user07)"
    assert str(Decision(entity="a", status="open", when=WHEN)) == "open"
    assert distinct([decision, None, decision]) == [decision]
