"""Test that every notation of a time gives the day that was written, or an error that says what is expected."""

import datetime
import decimal
import json
import zoneinfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from frame_tables import arrow_of, csv_of, day_list, frame_of, read, xlsx_of
from isoxide._frames.cells import BadCellError

pytestmark = pytest.mark.current_versions(reason="pandas 2.2, polars 1.17 and pyarrow 18 lack types that are read")

OSLO = zoneinfo.ZoneInfo("Europe/Oslo")
AT = datetime.datetime
PLUS_1, PLUS_2 = (datetime.timezone(datetime.timedelta(hours=hours)) for hours in (1, 2))
#: Values, options, and the days of April 2025 that they give (one day means the same for all values).
DAYS = {
    "eight digits": ([20250426, 20250427], {}, "26 27"),
    "eight digits as text": (["20250426", "20250427"], {}, "26 27"),
    "uint32": (np.array([20250426], "u4"), {}, "26"),
    "Int64": (pd.array([20250426], dtype="Int64"), {}, "26"),
    "decimals": (pd.Series([decimal.Decimal(20250426)], dtype=object), {}, "26"),
    "T": (["2025-04-26T13:00:00", "2025-04-27T13"], {}, "26 27"),
    "blank": (["2025-04-26 13:00", "2025-04-27 13:00:00.123456789"], {}, "26 27"),
    "slashes": (["2025/04/26", "2025/4/27"], {}, "26 27"),
    "blanks around": ([" 2025-04-26 ", "2025-04-27"], {}, "26 27"),
    "one zone": (
        ["2025-04-26T23:00:00Z", "2025-04-26 23:00 UTC", "2025-04-26T23:00GMT", "2025-04-26T23:00+00:00"],
        {},
        "26",
    ),
    "offsets": (["2025-04-26T23:00+0000", "2025-04-26T00:00+01", "2025-04-27T00:30:00+02:00"], {}, "26 26 27"),
    "with and without zone": (["2025-04-26T23:00", "2025-04-26T23:00:00+02:00"], {}, "26"),
    "brought to a zone": (["2025-04-26T23:00", "2025-04-26T23:00Z"], {"timezone": "Europe/Oslo"}, "26 27"),
    "objects of zones": (
        pd.Series([AT(2025, 4, 26, tzinfo=PLUS_1), AT(2025, 4, 27, tzinfo=PLUS_2)], dtype=object),
        {},
        "26 27",
    ),
    "objects of one zone": (
        pd.Series([AT(2025, 4, 26, tzinfo=OSLO), AT(2025, 4, 27, tzinfo=OSLO)], dtype=object),
        {},
        "26 27",
    ),
    "objects with and without": (
        pd.Series([AT(2025, 4, 26), AT(2025, 4, 27, 1, tzinfo=PLUS_2)], dtype=object),
        {},
        "26 27",
    ),
    "dates": ([datetime.date(2025, 4, 26)], {}, "26"),
    "dates and times": (pd.Series([datetime.date(2025, 4, 26), AT(2025, 4, 27, 5)], dtype=object), {}, "26 27"),
    "dates and text": (pd.Series([datetime.date(2025, 4, 26), "2025-04-27"], dtype=object), {}, "26 27"),
    "digits and text": (pd.Series([20250426, "2025-04-27"], dtype=object), {}, "26 27"),
    "periods": (pd.period_range("2025-04-26", periods=2, freq="D"), {}, "26 27"),
    "hours": (pd.period_range("2025-04-26 13:00", periods=2, freq="h"), {}, "26"),
    "seconds": (np.array(["2025-04-26"], "M8[s]"), {}, "26"),
    "milliseconds": (np.array(["2025-04-26"], "M8[ms]"), {}, "26"),
    "nanoseconds": (np.array(["2025-04-26T13"], "M8[ns]"), {}, "26"),
    "categories": (pd.Categorical(["2025-04-26"]), {}, "26"),
    "a zone": (pd.date_range("2025-04-26", periods=2, tz="Europe/Oslo"), {}, "26 27"),
    "another zone": (pd.DatetimeIndex(["2025-04-26 23:00"], tz="UTC"), {"timezone": "Europe/Oslo"}, "27"),
    "no zone in a zone": (pd.DatetimeIndex(["2025-04-26 23:00"]), {"timezone": "Asia/Tokyo"}, "26"),
    "day first": (["26.04.2025", " 27.04.2025"], {"time_format": "%d.%m.%Y"}, "26 27"),
    "month in letters": (["26-Apr-2025"], {"time_format": "%d-%b-%Y"}, "26"),
    "offsets in a pattern": (
        ["26.04.2025 23:00 +0200", "27.04.2025 0:30 +0100"],
        {"time_format": "%d.%m.%Y %H:%M %z"},
        "26 27",
    ),
    "digits in a pattern": ([26042025], {"time_format": "%d%m%Y"}, "26"),
    "day of the year": (["2025116"], {"time_format": "%Y%j"}, "26"),
    "epoch": ([1745625600, 1745712000], {"time_format": "s"}, "26 27"),
    "epoch as text": (["1745625600"], {"time_format": "epoch_s"}, "26"),
    "epoch as float": ([1745625600.5], {"time_format": "unix_seconds"}, "26"),
    "epoch in milliseconds": ([1745625600123], {"time_format": "unix_ms"}, "26"),
    "epoch in a zone": ([1745618400], {"time_format": "s", "timezone": "Europe/Oslo"}, "26"),
}


@pytest.mark.parametrize("name", DAYS)
def test_every_notation_of_a_time_gives_its_day(name):
    values, options, days = DAYS[name]
    result = day_list(frame_of(values, "day"), **options)
    expected = [f"2025-04-{day}" for day in days.split()]
    assert result == (expected if len(expected) == len(result) else expected * len(result))


ARROW = {
    "seconds": pa.array([1745625600], pa.timestamp("s")),
    "a zone": pa.array([1745618400 * 10**9], pa.timestamp("ns", "Europe/Oslo")),
    "an offset": pa.array([1745618400], pa.timestamp("s", "+02:00")),
    "date32": pa.array([datetime.date(2025, 4, 26)]),
    "date64": pa.array([datetime.date(2025, 4, 26)], pa.date64()),
    "text": pa.array(["2025-04-26"], pa.string_view()),
    "dictionary": pa.array(["2025-04-26"]).dictionary_encode(),
    "decimal": pa.array([decimal.Decimal(20250426)], pa.decimal128(8, 0)),
}


@pytest.mark.parametrize("name", ARROW)
def test_every_arrow_type_of_times_gives_its_day(name):
    assert day_list(arrow_of(ARROW[name], "day")) == ["2025-04-26"]


def test_times_in_files_give_their_days(tmp_path):
    assert day_list(xlsx_of(tmp_path / "t.xlsx", [AT(2025, 4, 26, 5), datetime.date(2025, 4, 27)], "day")) == [
        "2025-04-26",
        "2025-04-27",
    ]
    assert day_list(csv_of(tmp_path / "t.csv", ["20250426", "2025-04-27"], "day")) == ["2025-04-26", "2025-04-27"]
    assert day_list(pl.DataFrame({"actor": ["a"], "day": [datetime.date(2025, 4, 26)], "x": [1]})) == ["2025-04-26"]


REFUSED = {
    "six digits": ([202504], "eight digits"),
    "seven digits": ([2025116], "eight digits"),
    "a year": ([2025], "eight digits"),
    "Excel": ([45773], "eight digits"),
    "a negative": ([-20250426], "eight digits"),
    "month 13": ([20251301], "eight digits"),
    "a month": (["2025-04"], "a day in ISO 8601"),
    "a week": (["2025-W17"], "a day in ISO 8601"),
    "a day of a week": (["2025-W17-3"], "a day in ISO 8601"),
    "a day of the year": (["2025-116"], "a day in ISO 8601"),
    "six as text": (["202504"], "a day in ISO 8601"),
    "day first": (["26.04.2025"], "%d.%m.%Y"),
    "month first": (["04/26/2025"], "%d.%m.%Y"),
    "February 30": (["2025-02-30"], "a day in ISO 8601"),
    "an hour": (["12:30"], "a day in ISO 8601"),
    "other digits": (["٢٠٢٥-٠٤-٢٦"], "a day in ISO 8601"),
    "year 10000": (["10000-01-01"], "a day in ISO 8601"),
    "a word": (["null"], "a day in ISO 8601"),
    "a float": ([20250426.0], "value of type double"),
    "a boolean": ([True], "value of type bool"),
    "a duration": (pd.to_timedelta([1], "D"), "value of type duration"),
    "months": (pd.period_range("2025-04", periods=1, freq="M"), "a day in ISO 8601"),
    "weeks": (pd.period_range("2025-04", periods=1, freq="W"), "a day in ISO 8601"),
    "seconds": ([1745625600], "time_format='s'"),
    "milliseconds": ([1745625600000], "time_format='ms'"),
    "missing": (pd.to_datetime([None]), "every row needs one"),
    "None": ([None], "every row needs one"),
    "empty": ([""], "a day in ISO 8601"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_are_no_days_are_refused_by_column_and_row(name):
    values, message = REFUSED[name]
    with pytest.raises(BadCellError, match=r"column 'day' has .* in row 0 ") as refused:
        read(frame_of(values, "day"))
    assert message in str(refused.value)


def test_times_in_files_are_refused_by_line(tmp_path):
    with pytest.raises(BadCellError, match=r"column 'day' has 'soon' in line 3, .*1 more rows"):
        read(csv_of(tmp_path / "t.csv", ["2025-01-01", "soon", "later"], "day"))
    with pytest.raises(BadCellError, match=r"column 'day' has no value in line 3, "):
        read(csv_of(tmp_path / "t.csv", ["2025-01-01", ""], "day"))


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (["26.04.2025", "2025-04-27"], {"time_format": "%d.%m.%Y"}, "'2025-04-27' in row 1 .*not a time of the form"),
        (["1042025"], {"time_format": "%d%m%Y"}, "'1042025' in row 0"),
        (["12a"], {"time_format": "s"}, "not a number of s since 1970"),
        ([10**18], {"time_format": "s"}, "not a number of s since 1970"),
        ([np.nan], {"time_format": "s"}, "row 0"),
        (["9999-12-31T23:59:59Z"], {"timezone": "Asia/Tokyo"}, "years 1 to 9999"),
        (["0001-01-01T00:00:00Z"], {"timezone": "America/New_York"}, "years 1 to 9999"),
    ],
)
def test_times_that_do_not_fit_the_options_are_refused(values, options, message):
    with pytest.raises(BadCellError, match=message):
        read(frame_of(values, "day"), **options)


def test_arrow_types_that_are_no_times_are_refused():
    for values in (pa.array([["2025-04-26"]]), pa.array([1], pa.time32("s")), pa.array([{"a": 1}])):
        with pytest.raises(BadCellError, match="value of type"):
            read(arrow_of(values, "day"))
    with pytest.raises(BadCellError, match="years 1 to 9999"):
        read(arrow_of(pa.array([2**61], pa.timestamp("s")), "day"))


def test_numbers_get_the_leading_zeros_of_a_pattern():
    assert day_list(frame_of([1042025], "day"), time_format="%d%m%Y") == ["2025-04-01"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"time_format": "%Q"}, ValueError),
        ({"time_format": "dd.mm.yyyy"}, ValueError),
        ({"time_format": 3}, ValueError),
        ({"timezone": "Oslo"}, ValueError),
        ({"timezone": ""}, ValueError),
        ({"timezone": 3}, TypeError),
    ],
    ids=str,
)
def test_invalid_options_are_refused(options, error):
    with pytest.raises(error, match=next(iter(options))):
        read(frame_of(["2025-04-26"], "day"), **options)


def test_mixed_time_zones_give_a_warning():
    profile = read(frame_of(["2025-04-26T00:00Z", "2025-04-26T00:00+00:00", "2025-04-26T00:00+02:00"], "day")).profile
    assert profile.time_zones == ["+02:00", "UTC"]
    assert any("2 different zones" in warning for warning in profile.warnings)
    assert read(frame_of(["2025-04-26T00:00Z", "2025-04-26 00:00 UTC"], "day")).profile.time_zones == []


@pytest.mark.parametrize("zone", ["Europe/Oslo", "America/Santiago", "America/Sao_Paulo", "Asia/Beirut"])
def test_changes_of_the_clock_neither_lose_nor_repeat_a_day(zone):
    days = pd.date_range("2018-01-01", "2018-12-31")
    for values in (
        days.strftime("%Y-%m-%d"),
        days,
        days + pd.Timedelta(hours=12),
        days + pd.Timedelta(hours=2, minutes=30),
    ):
        table = read(frame_of(values, "day"), timezone=zone)
        assert [str(day)[:10] for day in table.days] == days.strftime("%Y-%m-%d").tolist()
        assert (table.profile.n_days, table.profile.n_period_days, table.profile.n_missing_days) == (365, 365, 0)


def test_local_midnights_keep_their_day_in_summer_and_winter():
    days = pd.date_range("2025-03-28", periods=5)
    texts = [f"{day:%Y-%m-%d}T00:00:00+0{1 + (day >= pd.Timestamp('2025-03-31'))}:00" for day in days]
    assert day_list(frame_of(texts, "day")) == days.strftime("%Y-%m-%d").tolist()
    assert day_list(frame_of(texts, "day"), timezone="Europe/Oslo") == days.strftime("%Y-%m-%d").tolist()


@pytest.mark.parametrize("far", ["9999-12-31", "0001-01-01", "1970-01-01", "1899-12-30"])
@pytest.mark.parametrize("as_time", [False, True])
def test_far_days_are_listed_and_do_not_count_as_gaps(far, as_time):
    frame = pd.concat([frame_of(range(40), "x")] * 5, ignore_index=True)
    frame["y"] = np.arange(200.0)
    frame.loc[33, "day"] = far
    if as_time:
        frame["day"] = frame["day"].astype("datetime64[us]")
    table = read(frame)
    assert table.profile.far_days == {far: 1}
    assert (table.profile.n_period_days, table.profile.n_missing_days, table.profile.gaps) == (40, 0, [])
    assert any(far in warning for warning in table.profile.warnings)
    assert len(json.dumps(table.profile.to_dict())) < 2000
