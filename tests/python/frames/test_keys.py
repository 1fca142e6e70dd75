"""Test that keys become exact text, whatever the dtype of their column."""

import datetime
import decimal
import ipaddress
import uuid

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frame_tables import actors, arrow_of, csv_of, days, frame_of, jsonl_of, read, xlsx_of
from isoxide import stream, ueba
from isoxide._frames.cells import BadCellError
from isoxide._frames.keys import as_text, cell_text, similar_spellings, text_labels

D = decimal.Decimal
SPELLINGS = [
    "1e5",
    "0x1F",
    "+1",
    "1.0",
    "1",
    "1.00",
    "001",
    " 1",
    "a ",
    "'a'",
    "a,b",
    'a"b',
    "a\nb",
    "a\r\nb",
    "a\0b",
    "nan",
    "NaN",
    "NA",
    "None",
    "null",
    "NULL",
    "-",
    "N/A",
    "#N/A",
    "TRUE",
    "True",
    "1_000",
    "12345678901234567890123",
    "\u00e9",
    "e\u0301",
    "A",
    "a",
    "\t",
    "NaT",
    "<NA>",
    "\\N",
    "inf",
]
PANDAS = {
    "int64": (np.array([2**60 + 1, 1]), ["1152921504606846977", "1"]),
    "uint64": (np.array([2**64 - 1, 0], dtype="u8"), ["18446744073709551615", "0"]),
    "objects of many digits": (pd.Series([2**70, 2**70 + 1, None], dtype=object), [str(2**70), str(2**70 + 1), None]),
    "floats with missing": ([1001.0, np.nan, -0.0], ["1001", None, "0"]),
    "fractions": ([1001.5, 1.0], ["1001.5", "1"]),
    "half": (np.array([1, np.nan], dtype="f2"), ["1", None]),
    "Int64": (pd.array([2**60 + 1, None], dtype="Int64"), ["1152921504606846977", None]),
    "UInt64": (pd.array([2**64 - 1, None], dtype="UInt64"), ["18446744073709551615", None]),
    "ArrowDtype": (pd.array([2**60 + 1, None], dtype=pd.ArrowDtype(pa.int64())), ["1152921504606846977", None]),
    "Arrow text": (pd.array(["NA", None, ""], dtype=pd.ArrowDtype(pa.string())), ["NA", None, None]),
    "category": (pd.Categorical(["a", None, ""]), ["a", None, None]),
    "category of integers": (pd.Categorical([1, 2, None]), ["1", "2", None]),
    "category of both": (pd.Categorical([1, "a", None]), ["1", "a", None]),
    "booleans": ([True, False], ["True", "False"]),
    "boolean": (pd.array([True, None], dtype="boolean"), ["True", None]),
    "objects of booleans": (pd.Series([True, None], dtype=object), ["True", None]),
    "days": ([datetime.date(2025, 1, 1), None], ["2025-01-01", None]),
    "times": (
        pd.to_datetime(["2025-01-01", "2025-01-02 03:04:05.5"], format="ISO8601"),
        ["2025-01-01", "2025-01-02 03:04:05.5"],
    ),
    "months": (pd.period_range("2025-01", periods=2, freq="M"), ["2025-01", "2025-02"]),
    "mixed": (pd.Series([1, "a", 2.5, 3.0, True, None], dtype=object), ["1", "a", "2.5", "3", "True", None]),
    "integers and booleans": (pd.Series([1, True, None], dtype=object), ["1", "True", None]),
    "integers and floats": (pd.Series([1, 2.0, 2**60 + 1], dtype=object), ["1", "2", str(2**60 + 1)]),
    "decimals": (pd.Series([D("1"), D("2.50"), D("10E1"), None], dtype=object), ["1", "2.5", "100", None]),
    "uuids": (pd.Series([uuid.UUID(int=1), None], dtype=object), ["00000000-0000-0000-0000-000000000001", None]),
    "sparse": (pd.arrays.SparseArray([1, 2]), ["1", "2"]),
    "big-endian": (np.array([1, 2], dtype=">i8"), ["1", "2"]),
    "nothing": (pd.Series([None, None], dtype=object), [None, None]),
}


@pytest.mark.parametrize("name", PANDAS)
def test_keys_in_pandas_columns_become_text(name):
    values, expected = PANDAS[name]
    assert actors(frame_of(values, "actor")) == expected


ARROW = {
    "int64": (pa.array([2**60 + 1, None]), [str(2**60 + 1), None]),
    "uint64": (pa.array([2**64 - 1, None], pa.uint64()), [str(2**64 - 1), None]),
    "decimal": (pa.array([D("1.00"), None, D("2.50")], pa.decimal128(10, 2)), ["1", None, "2.5"]),
    "decimal of a database": (pa.array([D(10**37), None], pa.decimal128(38, 0)), [str(10**37), None]),
    "decimal 256": (pa.array([D(10**60), None], pa.decimal256(76, 0)), [str(10**60), None]),
    "dictionary": (pa.array(["a", None, "", "a"]).dictionary_encode(), ["a", None, None, "a"]),
    "missing in the dictionary": (
        pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["a", None])),
        ["a", None, None],
    ),
    "large text": (pa.array(["a", None], pa.large_string()), ["a", None]),
    "dates": (pa.array([datetime.date(2025, 1, 1), None]), ["2025-01-01", None]),
    "seconds": (pa.array([0, 1], pa.timestamp("s")), ["1970-01-01", "1970-01-01 00:00:01"]),
    "nanoseconds": (pa.array([0, 10**8], pa.timestamp("ns")), ["1970-01-01", "1970-01-01 00:00:00.1"]),
    "nothing": (pa.nulls(2), [None, None]),
}


@pytest.mark.parametrize("name", ARROW)
@pytest.mark.parametrize("storage", ["table", "parquet", "feather"])
def test_keys_in_arrow_columns_become_text(tmp_path, name, storage):
    values, expected = ARROW[name]
    table = arrow_of(values, "actor")
    if storage == "parquet" and pa.types.is_dictionary(values.type) and values.dictionary.null_count:
        # Arrow cannot write a dictionary with a null to Parquet.
        table = table.set_column(0, "actor", values.cast(pa.string()))
    if storage == "parquet":
        pq.write_table(table, tmp_path / "t.parquet")
    elif storage == "feather":
        pa.feather.write_feather(table, tmp_path / "t.feather")
    assert actors(table if storage == "table" else tmp_path / f"t.{storage}") == expected


def test_keys_in_arrow_columns_that_no_file_can_hold_become_text():
    assert actors(arrow_of(pa.array(["a", None, ""], pa.string_view()), "actor")) == ["a", None, None]
    assert actors(arrow_of(pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]), "actor")) == ["a", "a", "b"]
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16, None], pa.binary(16)))
    assert actors(arrow_of(uuids, "actor")) == ["61616161-6161-6161-6161-616161616161", None]
    assert actors(arrow_of(pa.array([D("1E3"), D("100")], pa.decimal128(10, -2)), "actor")) == ["1000", "100"]


POLARS = {
    "Categorical": (pl.Series(["a", None, ""], dtype=pl.Categorical), ["a", None, None]),
    "Enum": (pl.Series(["b", None], dtype=pl.Enum(["a", "b"])), ["b", None]),
    "UInt64": (pl.Series([2**64 - 1, None], dtype=pl.UInt64), [str(2**64 - 1), None]),
    "Float64": (pl.Series([1.0, None, float("nan")]), ["1", None, None]),
    "Decimal": (pl.Series([D("1.50"), None]), ["1.5", None]),
    "Date": (pl.Series([datetime.date(2025, 1, 1)]), ["2025-01-01"]),
}
if hasattr(pl, "Int128"):
    POLARS["Int128"] = (pl.Series([2**100, None], dtype=pl.Int128), [str(2**100), None])


@pytest.mark.parametrize("name", POLARS)
def test_keys_in_polars_columns_become_text(name):
    values, expected = POLARS[name]
    frame = pl.DataFrame({"actor": values, "day": days(len(values)), "x": [i * 1.5 for i in range(len(values))]})
    assert actors(frame) == expected


def test_every_spelling_is_kept(tmp_path):
    csv = csv_of(tmp_path / "t.csv", SPELLINGS, "actor")
    pq.write_table(arrow_of(SPELLINGS, "actor"), tmp_path / "t.parquet")
    sources = [
        csv,
        tmp_path / "t.parquet",
        jsonl_of(tmp_path / "t.jsonl", SPELLINGS, "actor"),
        frame_of(SPELLINGS, "actor"),
        frame_of(pd.Series(SPELLINGS, dtype=object), "actor"),
        pl.from_pandas(frame_of(SPELLINGS, "actor")),
    ]
    for source in sources:
        assert actors(source) == SPELLINGS
    profile = read(csv).profile
    assert (profile.n_entities, profile.n_unnamed) == (len(SPELLINGS), 0)
    assert ["A", "a", "a "] in profile.spellings
    assert ["e\u0301", "\u00e9"] in profile.spellings
    assert any("remain separate entities" in warning for warning in profile.warnings)


def test_only_empty_cells_are_missing_keys(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('actor,day,x\n,2025-01-01,1\n"",2025-01-02,2\n" ",2025-01-03,3\n"007",2025-01-04,4\n')
    assert actors(path) == [None, None, " ", "007"]
    assert read(path).profile.n_unnamed == 2


def test_a_key_that_is_text_late_in_a_long_file_makes_all_keys_text(tmp_path):
    n = 260_000
    ids = [f"{i % 500:04}" for i in range(n)]
    ids[255_000] = "svc-a"
    pd.DataFrame({"actor": ids, "day": "2025-01-01", "x": np.arange(n)}).to_csv(tmp_path / "t.csv", index=False)
    assert read(tmp_path / "t.csv").profile.n_entities == 501


def test_keys_in_json_lines_and_spreadsheets_become_text(tmp_path):
    assert actors(jsonl_of(tmp_path / "t.jsonl", [1, 2.0, None, 2**70, 1e5], "actor")) == [
        "1",
        "2",
        None,
        str(2**70),
        "100000",
    ]
    assert actors(jsonl_of(tmp_path / "t.jsonl", [1, "01", True, "true"], "actor")) == ["1", "01", "True", "true"]
    values = ["001", "1", 1, 1.0, None, "", 1.5, True]
    assert actors(xlsx_of(tmp_path / "t.xlsx", values, "actor")) == ["001", "1", "1", "1", None, None, "1.5", "True"]


@pytest.mark.parametrize(
    "values",
    [[1001.0, 2.0**60], [1.0, np.inf], pd.Series(["a", 2.0**60], dtype=object), pd.Series([1, 2.0**53], dtype=object)],
    ids=str,
)
def test_floats_too_large_for_exact_digits_are_refused(values):
    with pytest.raises(BadCellError, match=r"column 'actor' has .* in row 1 .*too large for exact digits"):
        read(frame_of(values, "actor"))


def test_inexact_numbers_of_files_are_refused(tmp_path):
    with pytest.raises(BadCellError, match="in row 3, which is a float"):
        read(xlsx_of(tmp_path / "t.xlsx", ["a", 2**53 + 1], "actor"))
    with pytest.raises(BadCellError, match="in line 2, which is a float"):
        read(jsonl_of(tmp_path / "t.jsonl", ["a", 1e20], "actor"))
    with pytest.raises(BadCellError, match="in line 1, which is neither text nor"):
        read(jsonl_of(tmp_path / "t.jsonl", [{"a": 1}, "b"], "actor"))


@pytest.mark.parametrize(
    "values",
    [
        [("a", 1)] * 2,
        [["a"]] * 2,
        [b"a"] * 2,
        [{"a": 1}] * 2,
        [1j] * 2,
        [ipaddress.ip_address(i) for i in range(2)],
        pd.to_timedelta([1, 2], "s"),
        pd.interval_range(0, 2),
        np.array([b"a", b"b"]),
        [object()] * 2,
    ],
    ids=lambda values: str(type(values[0])),
)
def test_objects_that_cannot_be_keys_are_refused(values):
    with pytest.raises(TypeError, match=r"column 'actor' (has|holds) .*convert it to text"):
        read(frame_of(values, "actor"))


@pytest.mark.parametrize(
    "values",
    [
        pa.array([b"a"]),
        pa.array([b"a"], pa.binary(1)),
        pa.array([[1]]),
        pa.array([{"a": 1}]),
        pa.array([1], pa.time32("s")),
    ],
    ids=lambda values: str(values.type),
)
def test_arrow_types_that_cannot_be_keys_are_refused(values):
    with pytest.raises(TypeError, match=r"column 'actor' holds .*convert it to text"):
        read(arrow_of(values, "actor"))


def test_group_labels_are_the_text_of_the_file(tmp_path):
    r = np.random.default_rng(0)
    n = 400
    teams = np.array(["007", "7", "1e3", "1000", ""])[r.integers(0, 5, n)]
    frame = pd.DataFrame(
        {
            "actor": [f"u{i % 20}" for i in range(n)],
            "day": np.repeat(days(20), 20),
            "x": r.normal(size=n),
            "team": teams,
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = read(tmp_path / "t.csv")
    assert table.features == ("x", "team")
    assert table.labels("team").fillna("").tolist() == teams.tolist()
    options = {"contamination": 0.05, "groups": "team"}
    expected = ueba.detect(table, **options)
    actual = stream.open(tmp_path / "t.csv").detect(entity="actor", time="day", **options)
    pd.testing.assert_frame_equal(actual.frame, expected.frame)
    assert list(actual.features) == ["x", "team"]
    np.testing.assert_array_equal(actual.percentiles, expected.percentiles)


def test_labels_keep_the_index_and_digits_of_their_rows(tmp_path):
    table = read(frame_of(pd.array([2**64 - 1, None, 3], dtype="UInt64"), "g"))
    assert table.labels("g").tolist()[::2] == [str(2**64 - 1), "3"]
    path = tmp_path / "t.csv"
    path.write_text("actor,day,x,g\na,2025-01-01,1,01\na,2025-01-01,1,01\nb,2025-01-01,2,1\n")
    table = read(path)
    assert (table.labels("g").tolist(), table.labels("g").index.tolist()) == (["01", "1"], [0, 2])
    with pytest.raises(ValueError, match="groups='h' is not a column"):
        table.labels("h")


def test_one_value_has_the_same_text_as_in_a_column():
    for value in (1, 2**70, 1.0, 1.5, True, D("1.50"), datetime.date(2025, 1, 1), "01"):
        if not (isinstance(value, int) and value > 2**64):
            assert as_text(pa.array([value]), "x").to_pylist() == [cell_text(value)]
    assert text_labels([1, "a", 2.0, None, ""], "x") == ["1", "a", "2", None, None]
    assert text_labels([1.0, float("nan")], "x") == ["1", None]


def test_spellings_that_differ_in_case_or_blanks_are_grouped():
    assert similar_spellings(["a", "A", "a b", "ab", None, "c", "\uff41"]) == [("A", "a", "\uff41"), ("a b", "ab")]
