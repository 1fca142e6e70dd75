"""Test that files of every format are read, also compressed, piped or in folders, and that damaged ones are refused."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import pickle
import sqlite3
import threading
import zipfile
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frame_tables import actors, frame_of, read, xlsx_of
from isoxide import stream
from isoxide._frames import open_source
from isoxide._frames.cells import BadCellError
from isoxide._frames.files import InputFile
from isoxide._frames.parquet import _unreadable

HEADER, ROWS = "actor,day,x\n", "a,2025-01-01,1\nb,2025-01-02,2\nc,2025-01-03,3\n"
TEXT = (HEADER + ROWS).encode()


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


COMPRESSED = {
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


@pytest.mark.parametrize("suffix", COMPRESSED)
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.jsonl"])
def test_compressed_text_files_are_read(tmp_path, suffix, name):
    compress = COMPRESSED[suffix]
    data = TEXT
    if name == "t.tsv":
        data = TEXT.replace(b",", b"\t")
    elif name == "t.jsonl":
        data = pd.read_csv(io.BytesIO(TEXT)).to_json(orient="records", lines=True).encode()
    path = tmp_path / (name + suffix)
    path.write_bytes(compress(data))
    table = read(path)
    assert table.frame["x"].tolist() == [1, 2, 3]
    assert table.checksum == hashlib.sha256(compress(data)).hexdigest()
    half = len(data) // 2
    path.write_bytes(compress(data[:half]) + compress(data[half:]))
    assert actors(path) == ["a", "b", "c"]
    path.write_bytes(compress(data)[:-6])
    with pytest.raises(ValueError, match="may be damaged or truncated"):
        read(path)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="although its name says so"):
        read(path)


def test_the_contents_of_a_file_decide_its_format(tmp_path):
    (tmp_path / "gz.csv").write_bytes(gzip.compress(TEXT))
    frame = pd.read_csv(io.BytesIO(TEXT))
    frame.to_parquet(tmp_path / "t.csv")
    (tmp_path / "none").write_bytes(TEXT)
    for name in ("gz.csv", "t.csv", "none"):
        assert actors(tmp_path / name) == ["a", "b", "c"]


#: Functions that write a frame, by the suffix of the file.
BINARY_FORMATS = {
    ".parquet": pd.DataFrame.to_parquet,
    ".parq": pd.DataFrame.to_parquet,
    ".pq": pd.DataFrame.to_parquet,
    ".feather": pd.DataFrame.to_feather,
    ".arrow": pd.DataFrame.to_feather,
    ".xlsx": lambda frame, path: frame.to_excel(path, index=False, engine="openpyxl"),
}


@pytest.mark.parametrize("suffix", BINARY_FORMATS)
def test_files_of_every_binary_format_are_read(tmp_path, suffix):
    # pandas writes Excel files only under their own suffix.
    path, written = tmp_path / f"t{suffix}", tmp_path / f"t{'.xlsx' if suffix == '.xlsx' else '.x'}"
    BINARY_FORMATS[suffix](pd.read_csv(io.BytesIO(TEXT)), written)
    written.rename(path)
    assert actors(path) == ["a", "b", "c"]
    assert list(stream.open(path).fit().feature_names_in_) == ["x"]
    assert read(path).checksum == hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("rb") as file:
        assert actors(file) == ["a", "b", "c"]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"cannot be read; it may be|cannot be read as"):
        read(path)
    path.write_bytes(TEXT)
    with pytest.raises(ValueError, match=r"is text, although its name ends with \.\w+; rename it to end with \.csv"):
        read(path)
    path.write_bytes(b"\0\1" + TEXT)
    with pytest.raises(ValueError, match=r"it is damaged, or not in the format of \.\w+ files"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        read(path)


def archive(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zip_file:
        for name in names:
            zip_file.writestr(name, "")
    return file.getvalue()


#: Contents of files of other formats, and the messages.
OTHER_FORMATS = {
    "t.xls": (b"\xd0\xcf\x11\xe0" + bytes(600), "Excel file of the old format"),
    "xls.csv": (b"\xd0\xcf\x11\xe0" + bytes(600), "Excel file of the old format"),
    "t.pickle": (pickle.dumps([1], protocol=2), "a pickle"),
    "t.pkl": (pickle.dumps([1]), "a pickle"),
    "t.h5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "t.orc": (b"ORC", "an ORC file"),
    "t.avro": (b"Obj\x01", "Avro"),
    "t.feather": (b"FEA1", "Feather file of the first version"),
    "t.zip": (archive("t.csv"), "ZIP archive; unpack it"),
    "zip.csv": (archive("t.csv"), "ZIP archive; unpack it"),
    "t.ods": (archive("mimetype", "content.xml"), "OpenDocument"),
    "t.json": (b"[]", "write one object per line"),
    "t.dat": (TEXT, r"files with the suffix '\.dat' cannot be read; give \.parquet"),
    "t.csv.2025": (TEXT, r"files with the suffix '\.2025' cannot be read"),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_files_of_other_formats_are_refused_with_advice(tmp_path, name):
    data, message = OTHER_FORMATS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name)


def test_a_database_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("create table t(a)")
    connection.close()
    with pytest.raises(ValueError, match="SQLite"):
        read(tmp_path / "t.db")


def test_paths_without_a_file_are_refused(tmp_path):
    for path in (tmp_path / "t.csv", tmp_path / "no" / "t.csv", [tmp_path / "t.csv"]):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            read(path)
    (tmp_path / "empty.csv").mkdir()
    with pytest.raises(FileNotFoundError, match="has no files that can be read"):
        read(tmp_path / "empty.csv")
    for address in ("https://x.example/t.csv", "jdbc://x/t"):
        with pytest.raises(ValueError, match=r"is a URL with the scheme '\w+', which is not opened; download"):
            read(address)
    with pytest.raises(ValueError, match="a device or a socket"):
        read("/dev/null")


@pytest.mark.parametrize(
    "source",
    [
        b"t.csv",
        {"a": [1]},
        None,
        pd.Series([1]),
        pl.Series([1]),
        pa.array([1]),
        (x for x in [1]),
        [],
        [1],
    ],
    ids=lambda source: type(source).__name__,
)
def test_objects_that_are_no_table_are_refused(source):
    with pytest.raises(TypeError, match="source"):
        read(source)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything may be read by the administrator")
def test_a_file_without_permission_raises_a_permission_error(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(TEXT)
    path.chmod(0)
    with pytest.raises(PermissionError):
        read(path)


def test_open_files_are_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(TEXT)
    with path.open() as text, path.open("rb") as binary:
        sources = [io.StringIO(TEXT.decode()), io.BytesIO(TEXT), io.BytesIO(gzip.compress(TEXT)), text, binary]
        for source in sources:
            table = read(source)
            assert table.frame["actor"].tolist() == ["a", "b", "c"]
            assert table.checksum is not None
    with pytest.raises(ValueError, match="is empty"):
        read(io.StringIO(""))
    path.write_text(HEADER + "ø,2025-01-01,1\n", encoding="cp1252")
    with path.open(encoding="cp1252") as text:
        assert actors(text) == ["ø"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@pytest.mark.parametrize("data", [TEXT, gzip.compress(TEXT)], ids=["text", "gzip"])
def test_pipes_are_read(tmp_path, data):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[data])
    writer.start()
    table = read(tmp_path / "pipe")
    writer.join()
    assert table.frame["x"].tolist() == [1, 2, 3]
    assert table.checksum == hashlib.sha256(data).hexdigest()


@pytest.mark.thread_unsafe(reason="standard input and the home directory are the process's")
def test_standard_input_and_home_folders_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TEXT)))
    assert actors("-") == ["a", "b", "c"]
    (tmp_path / "t.csv").write_bytes(TEXT)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert actors("~/t.csv") == ["a", "b", "c"]


def folder_of(root, **files):
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_folders_and_lists_of_files_are_read_in_order(tmp_path):
    folder = folder_of(
        tmp_path / "f", b=HEADER + "b,2025-01-02,2\n", a=HEADER + "a,2025-01-01,1\n", sub__c=HEADER + "c,2025-01-03,3\n"
    )
    for name in (".hidden.csv", "_SUCCESS", "notes.txt", "t.csv.crc"):
        (folder / name).write_text("nothing of a table")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "a.csv").write_text("nothing of a table")
    assert actors(folder) == actors(str(folder)) == ["a", "b", "c"]
    assert actors([folder / "b.csv", folder / "a.csv"]) == ["b", "a"]
    assert actors([folder / "sub", folder / "a.csv"]) == ["c", "a"]
    assert len(read(folder).checksum) == 64
    assert read(folder).checksum != read(folder / "a.csv").checksum


#: A cell of each of two files, and the values of the column.
CELLS_OF_FILES = {
    "int and float": ("1", "1.5", [1, 1.5]),
    "int and empty": ("1", "", [1, None]),
    "empty and int": ("", "1", [None, 1]),
    "a word": ("1", "NA", [1, None]),
}


@pytest.mark.parametrize("name", CELLS_OF_FILES)
def test_columns_whose_dtypes_differ_by_file_are_joined(tmp_path, name):
    first, second, expected = CELLS_OF_FILES[name]
    folder = folder_of(tmp_path, a=HEADER + f"a,2025-01-01,{first}\n", b=HEADER + f"b,2025-01-02,{second}\n")
    column = read(folder).frame["x"]
    assert [None if pd.isna(value) else value for value in column] == expected
    assert list(stream.open(folder).fit().feature_names_in_) == ["x"]


def test_the_cells_of_all_files_decide_the_dtype_of_a_column(tmp_path):
    bad = folder_of(tmp_path / "bad", a=HEADER + ROWS, b=HEADER + "d,2025-01-04,-\n")
    with pytest.raises(BadCellError, match=r"column 'x' has '-' in line 2 of .*b\.csv, which is not a number \(3 of 4"):
        read(bad)
    assert len(read(bad, missing="-")) == 4
    inside = folder_of(tmp_path / "inside", a=HEADER + ROWS, b=HEADER + ROWS + "d,2025-01-04,-\n")
    with pytest.raises(BadCellError, match=r"in line 5 of .*b\.csv"):
        read(inside)
    header = HEADER.replace("x", "x,code")
    text = folder_of(
        tmp_path / "text", a=header + "a,2025-01-01,1,007\n", b=header + "b,2025-01-02,2,x\nc,2025-01-03,3,y\n"
    )
    table = read(text)
    assert table.features == ("x",)
    assert table.frame["code"].tolist() == ["007", "x", "y"]
    assert table.profile.left_out == {"code": "text; 1 of its 3 cells are numbers, but not 'x'"}


def test_refusals_name_the_file(tmp_path):
    folder = folder_of(tmp_path / "time", a=HEADER + ROWS, b=HEADER + "d,soon,4\n")
    with pytest.raises(BadCellError, match=r"'soon' in line 2 of .*b\.csv"):
        read(folder)
    folder = folder_of(tmp_path / "column", a=HEADER + ROWS, b="actor,day\nd,2025-01-01\n")
    with pytest.raises(ValueError, match=r"b\.csv has no column 'x', but .*a\.csv does"):
        read(folder)
    folder = folder_of(tmp_path / "more", a=HEADER + ROWS, b="actor,day,x,z\nd,2025-01-01,1,2\n")
    with pytest.raises(ValueError, match=r"b\.csv has a column 'z', but .*a\.csv does not"):
        read(folder)
    folder = folder_of(tmp_path / "types", a=HEADER + "a,2025-01-01,true\n", b=HEADER + ROWS)
    with pytest.raises(ValueError, match=r"column 'x' is bool in .*a\.csv and int64 in .*b\.csv"):
        read(folder)


def test_folders_with_files_of_several_formats_are_read(tmp_path):
    folder = folder_of(tmp_path / "f", a=HEADER + "a,2025-01-01,1\n", b="x;day;actor\n2;2025-01-02;b\n", c=HEADER)
    pd.DataFrame({"actor": ["c"], "day": ["2025-01-03"], "x": [2.5]}).to_parquet(folder / "d.parquet")
    (folder / "e.jsonl").write_text('\n{"actor": "e", "day": "2025-01-04", "x": 4}\n')
    xlsx_of(folder / "f.xlsx", [5], "x")
    frame = pd.read_excel(folder / "f.xlsx").drop(columns="y").assign(day="2025-01-05")
    frame.to_excel(folder / "f.xlsx", index=False)
    table = read(folder)
    assert table.frame["actor"].tolist() == ["a", "b", "c", "e", "a0"]
    assert table.frame["x"].tolist() == [1, 2, 2.5, 4, 5]
    note = "files of several formats were read one after the other: 3 csv, 1 jsonl, 1 parquet, 1 xlsx"
    assert note in table.profile.notes


def test_files_and_folder_names_that_are_passed_over_are_noted(tmp_path):
    folder = tmp_path / "days" / "region=eu"
    folder_of(folder, a=HEADER + ROWS)
    for name in ("b.orc", "c.avro", "README.md", "_SUCCESS", ".hidden.orc"):
        (tmp_path / "days" / name).write_text("")
    notes = read(tmp_path / "days").profile.notes
    assert "2 files of the folder have formats that are not read: 'b.orc', 'c.avro'" in notes
    assert "the folders' names did not become columns, since not all files are Parquet: 'region'" in notes


def test_lines_that_are_no_json_objects_are_refused(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('\n{"actor": "a", "day": "2025-01-01", "x": 1}\n\n{"actor": "b", "day": "2025-01-02", "x": "-"}\n')
    with pytest.raises(BadCellError, match="'-' in line 4,"):
        read(path)
    for line, message in (
        ('{"actor"', "line 1 is not JSON"),
        ("[1]", "line 1 has list, not an object"),
        ("", "is empty"),
        ('{"x": ' + "[" * 200 + "]" * 200 + "}", "more than 100 levels deep"),
    ):
        path.write_text(line + "\n")
        with pytest.raises(ValueError, match=message):
            read(path)
    rows = [{"actor": "a", "day": "2025-01-01", "x": 1}, {"actor": "b", "day": "2025-01-02", "z": 2}]
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(map(json.dumps, rows)).encode())
    table = read(path)
    assert table.features == ("x", "z")
    assert table.profile.nan_share == {"x": 0.5, "z": 0.5}


def test_only_the_first_sheet_is_read_with_a_note(tmp_path):
    path = tmp_path / "t.xlsx"
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        frame_of([1, 2]).to_excel(writer, sheet_name="one", index=False)
        frame_of([3, 4]).to_excel(writer, sheet_name="two", index=False)
    table = read(path)
    assert table.frame["x"].tolist() == [1, 2]
    assert any("2 sheets" in note for note in table.profile.notes)
    with pytest.raises(BadCellError, match="in row 3,"):
        read(xlsx_of(path, [1, "-"]))


def test_checksums_cover_the_bytes_that_were_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(TEXT)
    source = open_source(path)
    path.write_bytes(TEXT + b"d,2025-01-04,4\n")
    with pytest.raises(ValueError, match="changed while it was read"):
        source.checksum()
    assert read(pd.read_csv(path)).checksum is None


def test_names_of_partition_folders_become_columns(tmp_path):
    for actor in ("007", "010", "a%2Fb", "__HIVE_DEFAULT_PARTITION__"):
        folder = tmp_path / f"actor={actor}"
        folder.mkdir()
        pq.write_table(pa.table({"day": ["2025-01-01"], "x": [1.5]}), folder / "t.parquet")
    assert actors(tmp_path) == ["007", "010", None, "a/b"]
    assert Path(read(tmp_path)._source.name) == tmp_path


def test_parquet_files_with_different_dtypes_are_refused(tmp_path):
    pq.write_table(pa.table({"actor": ["a"], "day": ["2025-01-01"], "x": [1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"actor": ["a"], "day": ["2025-01-01"], "x": ["1"]}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"column 'x' is int64 in .*a\.parquet and string in .*b\.parquet"):
        read(tmp_path)


def test_parquet_files_may_store_text_as_different_dtypes(tmp_path):
    table = pa.table({"actor": ["a"], "day": ["2025-01-01"], "x": [1.5], "t": pa.nulls(1)})
    pq.write_table(table, tmp_path / "a.parquet")
    large = [pa.field(name, pa.large_string()) for name in ("actor", "day")]
    schema = pa.schema([*large, pa.field("x", pa.float64()), pa.field("t", pa.large_string())])
    pq.write_table(table.cast(schema), tmp_path / "b.parquet")
    assert len(read(tmp_path)) == 1
    assert read(tmp_path).profile.n_duplicates == 1
    assert read([tmp_path / "b.parquet", tmp_path / "a.parquet"]).profile.left_out == {"t": "text"}


NO_MEMORY = "there is not enough memory to read t.parquet; read fewer columns, or smaller row groups"


@pytest.mark.parametrize(
    ("error", "expected_class", "message"),
    [
        (OSError("std::bad_alloc"), MemoryError, NO_MEMORY),
        (pa.ArrowMemoryError("malloc of size 8 failed"), MemoryError, NO_MEMORY),
        (
            pa.ArrowInvalid("no footer"),
            ValueError,
            "t.parquet cannot be read as Parquet; it may be truncated: no footer",
        ),
        (FileNotFoundError(2, "gone"), FileNotFoundError, "there is no file t.parquet"),
    ],
    ids=["C++", "Arrow", "damaged", "gone"],
)
def test_errors_of_parquet_files_are_told_apart(error, expected_class, message):
    raised = _unreadable(InputFile("t.parquet", None, io.BytesIO()), error)
    assert (type(raised), str(raised)) == (expected_class, message)
