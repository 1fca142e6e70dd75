"""Test how cells of columns without a declared dtype are read: as numbers, as missing, as text, or refused."""

import datetime
import decimal
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from frame_tables import csv_of, frame_of, jsonl_of, read, xlsx_of
from isoxide._frames.cells import BadCellError, CellFacts, NumberStyle, parse_numbers

NUMBERS = {
    " 5": 5.0,
    "5 ": 5.0,
    "+5": 5.0,
    "-5": -5.0,
    "5.": 5.0,
    ".5": 0.5,
    "1e5": 1e5,
    "1E-2": 0.01,
    "007": 7.0,
    "inf": np.inf,
    "-Infinity": -np.inf,
    "1e400": np.inf,
    "1e-400": 0.0,
    "99999999999999999999": 1e20,
}
MISSING = ["", "   ", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "None", "<NA>", "\\N"]
#: Cells that are refused in a column of numbers, and the advice that the message gives.
REFUSED = {
    "-": "missing='-'",
    "--": "missing='--'",
    "TBD": "missing='TBD'",
    "12:30": "missing='12:30'",
    "2025-01-01": "exclude",
    "1 234": "thousands=' '",
    "1\u00a0234": "thousands='\\xa0'",
    "1'234": 'thousands="\'"',
    "1_000": "thousands='_'",
    "1,234": "decimal=','; if it separates thousands, give thousands=','",
    "1,5": "decimal=','",
    "1,234,567": "thousands=','",
    "1.234,5": "thousands='.', decimal=','",
    "1.234.567": "thousands='.', decimal=','",
    "5%": "the number alone",
    "<5": "the number alone",
    "$5": "the number alone",
    "5 €": "the number alone",
    "(5)": "the number alone",
    "5-": "the number alone",
    "\u22125": "the number alone",
    "\u0663": "the number alone",
    "\uff11\uff12": "the number alone",
    "5 MB": "the number alone",
    "10ms": "the number alone",
    '"5"': "the number alone",
    "TRUE": "write 1 and 0",
    "#DIV/0!": "missing='#DIV/0!'",
    "0x1F": "exclude",
    "1/2": "exclude",
    "1e": "exclude",
}


@pytest.fixture(params=["csv", "jsonl", "xlsx", "pandas"])
def source_of(request, tmp_path):
    """Return a function that makes a source with a column `x` of `n` numbers and one more cell."""
    if request.param == "csv":
        return lambda cell, n=8: csv_of(tmp_path / "t.csv", [*(str(i * 1.5) for i in range(n)), cell])
    maker = {"jsonl": jsonl_of, "xlsx": xlsx_of}.get(request.param)
    if maker is None:
        return lambda cell, n=8: frame_of(pd.Series([*(i * 1.5 for i in range(n)), cell], dtype=object))
    return lambda cell, n=8: maker(tmp_path / f"t.{request.param}", [*(i * 1.5 for i in range(n)), cell])


def location(source, row):
    """Return how a message names a row of a source: frames count from 0, and files from 1 with their header."""
    if isinstance(source, pd.DataFrame):
        return f"row {row} "
    if ".xlsx" in str(source):
        return f"row {row + 2},"
    if ".csv" in str(source):
        return f"line {row + 2},"
    return f"line {row + 1},"


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "value"), NUMBERS.items())
def test_every_spelling_of_a_number_is_read(source_of, cell, value):
    table = read(source_of(cell))
    assert table.features == ("y", "x")
    assert table.frame["x"].iloc[-1] == value


@pytest.mark.parametrize("cell", MISSING)
def test_every_spelling_of_a_missing_number_is_read(source_of, cell):
    table = read(source_of(cell))
    assert table.features == ("y", "x")
    assert table.profile.nan_share == {"x": 1 / 9}
    assert len(table.profile.notes) == bool(cell.strip())


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "advice"), REFUSED.items())
def test_refusals_name_column_location_and_value(source_of, cell, advice):
    source = source_of(cell)
    with pytest.raises(BadCellError) as refused:
        read(source)
    message = str(refused.value)
    assert message.startswith(f"column 'x' has {cell!r} in {location(source, 8)}")
    assert advice in message
    assert "exclude" in message
    assert read(source, exclude="x").features == ("y",)
    assert read(source, missing=cell).profile.nan_share == {"x": 1 / 9}


@pytest.mark.parametrize(
    ("cell", "options", "value"),
    [
        ("1,234", {"thousands": ","}, 1234.0),
        ("12,345,678.5", {"thousands": ","}, 12345678.5),
        ("1 234", {"thousands": " "}, 1234.0),
        ("1\u202f234", {"thousands": "\u202f"}, 1234.0),
        ("1'234", {"thousands": "'"}, 1234.0),
        ("-999", {"missing": "-999"}, np.nan),
        ("-999", {"missing": ["-", "-999"]}, np.nan),
        ("-999.0", {"missing": ["-999"]}, -999.0),
    ],
)
def test_options_describe_numbers_and_missing_values(source_of, cell, options, value):
    column = read(source_of(cell), **options).frame["x"]
    assert np.array_equal(column.iloc[-1], value, equal_nan=True)
    assert column.iloc[:-1].tolist() == [i * 1.5 for i in range(8)]


def test_decimal_commas_are_read_if_the_user_says_so(tmp_path):
    path = csv_of(tmp_path / "t.csv", ["1,5", "1.234,5", "2", "-,5", ""])
    with pytest.raises(BadCellError, match=r"'1,5' in line 2, .*decimal=','"):
        read(path, exclude="y")
    assert read(path, exclude="y", decimal=",", thousands=".").frame["x"].tolist()[:4] == [1.5, 1234.5, 2, -0.5]
    with pytest.raises(BadCellError, match=r"'1\.234,5' in line 3"):
        read(path, exclude="y", decimal=",")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"decimal": ""}, ValueError),
        ({"decimal": "ab"}, ValueError),
        ({"decimal": "1"}, ValueError),
        ({"decimal": ",", "thousands": ","}, ValueError),
        ({"thousands": "."}, ValueError),
        ({"missing": [1]}, TypeError),
        ({"encoding": "nope"}, ValueError),
        ({"encoding": 3}, TypeError),
        ({"sep": ";;"}, ValueError),
    ],
    ids=str,
)
def test_invalid_options_are_refused(tmp_path, options, error):
    with pytest.raises(error):
        read(csv_of(tmp_path / "t.csv", ["1"]), **options)


#: Cells of a column, whether it becomes a feature ("x"), is left out (None) or is refused, and the reason or message.
COLUMNS = {
    "numbers and blanks": (["1", "", "  ", "4"], "x", None),
    "booleans": (["TRUE", "false", "", "True"], "x", None),
    "booleans and words": (["True", "NA", "False", "None"], "x", None),
    "nothing": (["", " ", ""], None, "no values"),
    "words": (["NA", "NaN", ""], None, "no values"),
    "dashes": (["-"] * 5, None, "no values, only placeholders such as '-'"),
    "errors": (["#DIV/0!", "#REF!"], None, "no values, only placeholders such as '#DIV/0!'"),
    "text": (["red", "blue"], None, "text"),
    "yes and no": (["yes", "no"], None, "text"),
    "few numbers": (["a", "b", "1"], None, "text; 1 of its 3 cells are numbers, but not 'a'"),
    "addresses": (["10.0.0.1", "10.0.0.2"], None, "text"),
    "days": (["2025-01-01", "2025-01-02"], None, "text"),
    "versions": (["1.2.3", "1.2.4"], None, "text"),
    "phones": (["+47 12 34 56 78"] * 2, None, "text"),
    "hexadecimals": (["0x1F", "0x2F"], None, "text"),
    "half": (["1", "2", "a", "b"], BadCellError, "'a' in line 4"),
    "a number and dashes": (["-", "1", "-", "-"], BadCellError, "'-' in line 2"),
    "per cent": (["5%", "6%", "7%"], BadCellError, "'5%' in line 2"),
    "units": (["5 MB", "1 GB"], BadCellError, "'5 MB' in line 2"),
    "thousands": (["1,234", "5,678"], BadCellError, "'1,234' in line 2"),
    "booleans among numbers": (["true", "1", "0"], BadCellError, "'true' in line 2"),
    "other digits": (["\u0663", "\u0664"], BadCellError, "'\u0663' in line 2"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_all_cells_decide_whether_a_column_is_a_feature(tmp_path, name):
    cells, result, reason = COLUMNS[name]
    path = csv_of(tmp_path / "t.csv", cells)
    if result is BadCellError:
        with pytest.raises(BadCellError, match=reason):
            read(path)
        return
    table = read(path)
    assert ("x" in table.features) == (result == "x")
    assert table.profile.left_out.get("x") == reason
    if result is None:
        assert "x" in str(table.profile)


def test_a_column_named_by_include_must_be_numbers(tmp_path):
    path = csv_of(tmp_path / "t.csv", ["1", "a", "b", "c"])
    assert read(path).features == ("y",)
    with pytest.raises(BadCellError, match="'a' in line 3"):
        read(path, include=["x", "y"])


@pytest.mark.parametrize(
    "cell",
    [
        datetime.date(2025, 1, 1),
        b"5",
        [1],
        (1,),
        {"a": 1},
        1j,
        np.array([1]),
        pd.Timedelta("1s"),
        np.datetime64("2025-01-01"),
    ],
    ids=repr,
)
def test_objects_among_numbers_are_refused(cell):
    values = pd.Series([*map(float, range(8)), cell], dtype=object)
    with pytest.raises(BadCellError, match=r"column 'x' has .* in row 8 .*8 of 9 cells"):
        read(frame_of(values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None, 3], [1, np.nan, 3]),
        ([1, pd.NA, 3.5], [1, np.nan, 3.5]),
        ([True, None, False], [1, np.nan, 0]),
        ([True, 2, 3.0], [1, 2, 3]),
        ([2**70, None, 3], [2.0**70, np.nan, 3]),
        ([decimal.Decimal("1.5"), None, decimal.Decimal("NaN")], [1.5, np.nan, np.nan]),
        ([np.float32(1.5), np.int8(2), 3], [1.5, 2, 3]),
        ([True, "false", None], [1, 0, np.nan]),
        (["1", 2, "NA"], [1, 2, np.nan]),
    ],
    ids=str,
)
def test_objects_that_are_numbers_become_features(values, expected):
    table = read(frame_of(pd.Series(values, dtype=object)))
    assert table.features == ("y", "x")
    np.testing.assert_array_equal(table.frame["x"].to_numpy(dtype=float), expected)


def test_declared_text_is_left_out_with_a_warning():
    for values in (["1", "2", "3"], ["1", "-", "3"]):
        for column in (pd.Series(values, dtype="str"), pd.Series(values, dtype=object)):
            profile = read(frame_of(column)).profile
            assert profile.features == ["y"]
            assert "cells are numbers" in profile.left_out["x"]
            assert any("'x'" in warning for warning in profile.warnings)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, None], [1, 2, np.nan]),
        ([1, 2.5], [1, 2.5]),
        ([2**70, 1], [2.0**70, 1]),
        (["1", "2"], [1, 2]),
        (["1", 2], [1, 2]),
        ([True, None], [1, np.nan]),
    ],
    ids=str,
)
def test_columns_of_json_lines_become_numbers(tmp_path, values, expected):
    table = read(jsonl_of(tmp_path / "t.jsonl", values))
    np.testing.assert_array_equal(table.frame["x"].to_numpy(dtype=float), expected)


@pytest.mark.parametrize("values", [[1, 2, [3]], [1, {"a": 2}], ["1", "2", "-"], [True, 1, 2]], ids=str)
def test_columns_of_json_lines_with_other_values_are_refused(tmp_path, values):
    with pytest.raises(BadCellError, match=r"column 'x' has .* in line \d"):
        read(jsonl_of(tmp_path / "t.jsonl", values))


@pytest.mark.parametrize("values", [[[1], [2]], [{"a": 1}, None]], ids=str)
def test_nested_values_are_left_out(tmp_path, values):
    assert read(jsonl_of(tmp_path / "t.jsonl", values)).profile.left_out == {"x": "nested values"}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([datetime.time(1), None], "times"),
        ([datetime.datetime(2025, 1, 1), None], "times"),
        ([datetime.timedelta(hours=30)], "durations; convert them to a number of seconds to use them"),
        ([None, None], "no values"),
    ],
    ids=str,
)
def test_columns_of_spreadsheets_that_hold_no_numbers_are_left_out(tmp_path, values, reason):
    assert read(xlsx_of(tmp_path / "t.xlsx", values)).profile.left_out.get("x", reason) == reason


def test_facts_merge_in_any_order():
    texts = ["1", "2", "x", "NA", "", "5%", None, "true", "-", "y"]
    expected = CellFacts()
    expected.update(pa.array(texts), 0)
    partitions = []
    for first in range(0, len(texts), 3):
        partitions.append(CellFacts())
        partitions[-1].update(pa.array(texts[first : first + 3]), first)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        merged = CellFacts()
        for index in order:
            merged.merge(partitions[index])
        assert merged == expected


def test_errors_can_be_pickled():
    error = BadCellError("x", 3, "-", "no number").at("line 5")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.row, copy.location) == (str(error), 3, "line 5")


def test_parse_numbers_reads_missing_cells_as_null():
    numbers, is_bad = parse_numbers(pa.array(["1", None, "NA", "x"]), NumberStyle())
    assert numbers.to_pylist() == [1.0, None, None, None]
    assert is_bad.to_pylist() == [False, False, False, True]
