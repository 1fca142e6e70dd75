"""Test delimiters, quotes and encodings of text files, and the refusal of rows that do not fit the header."""

import numpy as np
import pandas as pd
import pytest

from frame_tables import actors, read
from isoxide import stream
from isoxide._frames.cells import BadCellError

HEADER, ROWS = "actor,day,x\n", "a,2025-01-01,1\nb,2025-01-02,2\nc,2025-01-03,3\n"
TEXT = HEADER + ROWS
#: Text of more than one block, which is the unit in which files are read.
LONG = HEADER + "".join(f"a{i},2025-01-01,{i}\n" for i in range(300_000))


def written(tmp_path, text, encoding="utf-8", name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


#: Notations of the same table.
NOTATIONS = {
    "commas": TEXT,
    "CRLF": TEXT.replace("\n", "\r\n"),
    "CR": TEXT.replace("\n", "\r"),
    "no end of line": TEXT.rstrip(),
    "blank lines": "\n\n" + HEADER + "\n" + ROWS.replace("\n", "\n\n"),
    "semicolons": TEXT.replace(",", ";"),
    "tabs": TEXT.replace(",", "\t"),
    "bars": TEXT.replace(",", "|"),
    "sep=;": "sep=;\n" + TEXT.replace(",", ";"),
    "sep=; in quotes": '"sep=;"\r\n' + TEXT.replace(",", ";").replace("\n", "\r\n"),
    "quotes": "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in TEXT.splitlines()),
    "delimiters at the ends": TEXT.replace("\n", ",\n"),
    "three delimiters at the ends": TEXT.replace("\n", ",,,\n"),
}


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_files_are_read_in_every_notation_and_encoding(tmp_path, notation, encoding):
    table = read(written(tmp_path, NOTATIONS[notation], encoding))
    assert table.features == ("x",)
    assert table.frame["x"].tolist() == [1, 2, 3]
    assert table.frame["actor"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "cp1252", "latin-1", "utf-8", "UTF8"])
def test_text_is_read_in_the_given_encoding(tmp_path, encoding):
    path = written(tmp_path, TEXT.replace("a,", "ø,"), encoding)
    assert actors(path, encoding=encoding)[0] == "ø"


def test_text_in_another_encoding_than_expected_is_refused(tmp_path):
    marked = written(tmp_path, b"\xfe\xff" + TEXT.encode("utf-16-be"))
    assert actors(marked) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="encoding='utf-16-le'"):
        read(written(tmp_path, TEXT, "utf-16-le"))
    for text, line in ((TEXT + "ø,2025-01-04,4\n", 5), (LONG + "ø,2025-01-04,4\n", 300_002)):
        with pytest.raises(ValueError, match=rf"not UTF-8 text \(see line {line}\); give encoding='cp1252'"):
            read(written(tmp_path, text, "cp1252"))
    with pytest.raises(ValueError, match="not ASCII text"):
        read(written(tmp_path, TEXT + "ø,2025-01-04,4\n"), encoding="ascii")
    with pytest.raises(ValueError, match="is not a text file"):
        read(written(tmp_path, bytes(range(256)) * 9))


#: Texts that are refused, and the messages.
REFUSED = {
    "delimiters at the ends of rows": (HEADER + ROWS.replace("\n", ",\n"), r"line 2 has 4 values.*line ends with ','"),
    "a delimiter at the end of the header": (
        HEADER.replace("\n", ",\n") + ROWS,
        r"line 2 has 3 values.*header ends with ','",
    ),
    "a delimiter at the end of one row": (TEXT + "d,2025-01-04,4,\n", r"line 5 has 4 values"),
    "a short row": (TEXT + "d,2025-01-04\n", r"line 5 has 2 values, but the header has 3 names"),
    "a long row": (TEXT + "d,2025-01-04,4,5\n", r"line 5 has 4 values"),
    "rows with an index": ("actor,day,x\n1,a,2025-01-01,1\n", r"line 2 has 4 values"),
    "a quote that stays open": (TEXT + '"d,2025-01-04,4\ne,2025-01-05,5\n', r"line 5 opens a double quote"),
    "an open quote in the last column": (
        'actor,day,x,note\na,2025-01-01,1,z\nb,2025-01-02,2,"z\nc,2025-01-03,3,z\n',
        r"line 3 opens a double quote",
    ),
    "nothing": ("", "is empty"),
    "blank lines": ("\n\n \n", "is empty"),
    "a mark": ("\ufeff", "is empty"),
    "a header": (HEADER, "has no rows"),
    "a header without an end": (HEADER.strip(), "has no rows"),
    "a title": ("Report\n\n" + TEXT, r"no column 'actor' \(entity\); there are 'Report'"),
    "blanks": (TEXT.replace(",", " "), "no column 'actor'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rows_that_do_not_fit_the_header_are_refused(tmp_path, name):
    text, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        read(written(tmp_path, text))


def test_a_wrong_delimiter_is_refused_with_advice(tmp_path):
    with pytest.raises(ValueError, match="give sep=','"):
        read(written(tmp_path, TEXT), sep=";")
    assert actors(written(tmp_path, TEXT.replace(",", ":")), sep=":") == ["a", "b", "c"]


def test_delimiters_are_guessed_by_rows_too(tmp_path):
    text = "actor;day;x (a,b,c,d)\na;2025-01-01;1\n"
    assert read(written(tmp_path, text)).features == ("x (a,b,c,d)",)
    assert read(written(tmp_path, text.replace(";", "\t"), name="t.tsv")).features == ("x (a,b,c,d)",)


def test_quoted_fields_may_contain_line_breaks_and_delimiters(tmp_path):
    text = (
        HEADER
        + '"a\nb",2025-01-01,1\n"c\r\nd",2025-01-02,2\n"e,f",2025-01-03,3\n"g""h",2025-01-04,4\ni"j,2025-01-05,5\n'
    )
    assert actors(written(tmp_path, text)) == ["a\nb", "c\r\nd", "e,f", 'g"h', 'i"j']
    with pytest.raises(BadCellError, match="in line 7,"):
        read(written(tmp_path, text.replace('h",2025-01-04,4', 'h",2025-01-04,-')))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("before", ["", "sep=,\n", "\n\n"])
def test_messages_name_the_line_of_the_file(tmp_path, end, before):
    text = (before + TEXT + "\nd,2025-01-04,-\n").replace("\n", end)
    line = 6 + before.count("\n")
    with pytest.raises(BadCellError, match=rf"'-' in line {line},"):
        read(written(tmp_path, text))
    with pytest.raises(BadCellError, match=rf"'-' in line {line},"):
        stream.open(written(tmp_path, text)).fit(features=["x"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "value", "n_notes"),
    [
        ("nan", np.nan, 1),
        ("NA", np.nan, 1),
        ("", np.nan, 0),
        ("1.5", 1.5, 0),
        ("1e400", np.inf, 0),
        ("12345678901234567890123", 12345678901234567890123.0, 1),
    ],
)
def test_a_cell_after_the_first_block_is_read_like_the_others(tmp_path, cell, value, n_notes):
    table = read(written(tmp_path, LONG + f"z,2025-01-01,{cell}\n"))
    assert np.array_equal(table.frame["x"].iloc[-1], value, equal_nan=True)
    assert len(table.profile.notes) == n_notes


@pytest.mark.slow
@pytest.mark.parametrize("rest", ["", "b,2025-01-01,1\n"])
def test_a_cell_after_the_first_block_that_is_not_a_number_is_refused(tmp_path, rest):
    path = written(tmp_path, LONG + "z,2025-01-01,-\n" + rest)
    with pytest.raises(BadCellError, match="'-' in line 300002,"):
        read(path)
    assert read(path, missing="-").profile.nan_share == {"x": 1 / (300_001 + bool(rest))}


@pytest.mark.slow
def test_a_number_after_the_first_block_can_mean_missing(tmp_path):
    table = read(written(tmp_path, LONG + "z,2025-01-01,-999\n"), missing="-999")
    assert table.profile.nan_share == {"x": 1 / 300_001}


def test_integers_stay_integers(tmp_path):
    table = read(written(tmp_path, "actor,day,x,y,z\na,2025-01-01,1,1.0,1\nb,2025-01-01,2,2,\n"))
    assert table.frame[["x", "y", "z"]].dtypes.astype(str).tolist() == ["int64", "float64", "float64"]


@pytest.mark.slow
def test_long_headers_are_read_and_very_long_rows_refused(tmp_path):
    assert len(read(written(tmp_path, TEXT + "z" * 3_000_000 + ",2025-01-04,4\n"))) == 4
    with pytest.raises(ValueError, match="a row of more than 4 MB"):
        read(written(tmp_path, TEXT + "z" * 9_000_000 + ",2025-01-04,4\n"))
    names = [f"a_long_name_of_a_column_{i}" for i in range(4000)]
    wide = pd.DataFrame([["a", "2025-01-01", *range(4000)]], columns=["actor", "day", *names])
    wide.to_csv(tmp_path / "wide.csv", index=False)
    assert read(tmp_path / "wide.csv").features == tuple(names)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    from isoxide._frames import open_source

    path = written(tmp_path, TEXT)
    source = open_source(path)
    path.write_text(TEXT + "d,2025-01-04,4\n")
    with pytest.raises(ValueError, match="changed while it was read"):
        source.table()


def test_columns_without_names_get_one_or_are_left_out(tmp_path):
    table = read(written(tmp_path, "actor,,day,x\na,5,2025-01-01,1\nb,6,2025-01-01,1\n"))
    assert table.features == ("column_2", "x")
    table = read(written(tmp_path, TEXT.replace("\n", ",\n")))
    assert table.profile.notes == ["1 columns without a name and without values were left out"]
