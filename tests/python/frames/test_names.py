"""Test that labels of columns become distinct names, and that an index that pandas wrote is left out."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frame_tables import read
from isoxide import stream, ueba
from isoxide._frames.names import pandas_index_positions, text_names


def frame_with(labels):
    frame = pd.DataFrame([["a", "2025-01-01", 1, 2], ["b", "2025-01-02", 3, 4]])
    frame.columns = pd.Index(["actor", "day", *labels], tupleize_cols=False, dtype=object)
    return frame


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([1, 2], ["1", "2"]),
        (["x", 1.5], ["x", "1.5"]),
        ([("a", "b"), ("a", "")], ["a_b", "a"]),
        ([b"x", True], ["b'x'", "True"]),
        ([np.nan, "x"], ["column_3", "x"]),
        (["x", None], ["x", "column_4"]),
        (["x", ""], ["x", "column_4"]),
        (["x", " "], ["x", "column_4"]),
    ],
    ids=str,
)
def test_labels_become_text_with_a_note(labels, names):
    table = read(frame_with(labels))
    assert list(table.features) == names
    assert any("were changed" in note for note in table.profile.notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "labels",
    [
        ["x[0]", "x?"],
        ['q"q', "a'b"],
        ["a\nb", "y"],
        [" lead", "trail "],
        ["x.y", "x"],
        ["a*", "ab"],
        ["index", "level_0"],
        ["é", "e\u0301"],
    ],
    ids=str,
)
def test_names_are_the_same_from_every_container_and_format(tmp_path, labels):
    frame = frame_with(labels)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    sources = [
        frame,
        pl.from_pandas(frame),
        *(tmp_path / f"t.{suffix}" for suffix in ("csv", "parquet", "xlsx", "jsonl")),
    ]
    for source in sources:
        assert list(read(source).features) == labels
        assert list(read(source, exclude=[labels[0]]).features) == labels[1:]
        assert list(read(source, include=[labels[0]]).features) == labels[:1]
        assert list(stream.open(source).fit(features=labels).feature_names_in_) == labels


@pytest.mark.parametrize(
    "labels", [["x", "x"], [1, "1"], ["column_4", ""], [("a", "b"), "a_b"], ["__isoxide_row", "x"]], ids=str
)
def test_names_that_are_equal_as_text_or_reserved_are_refused(labels):
    with pytest.raises(ValueError, match="rename"):
        read(frame_with(labels))


def test_names_that_occur_twice_in_a_file_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("actor,day,x,x\na,2025-01-01,1,2\n")
    columns = [pa.array(["a"]), pa.array(["2025-01-01"]), pa.array([1]), pa.array([2])]
    pq.write_table(pa.Table.from_arrays(columns, names=["actor", "day", "x", "x"]), tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text('{"actor": "a", "day": "2025-01-01", "x": 1, "x": 2}\n')
    for suffix in ("csv", "parquet"):
        with pytest.raises(ValueError, match=r"several columns named 'x'; rename them"):
            read(tmp_path / f"t.{suffix}")
    with pytest.raises(ValueError, match="line 1 has 'x' several times"):
        read(tmp_path / "t.jsonl")


def test_names_that_differ_only_in_blanks_give_a_note():
    assert any(
        "only in leading or trailing blanks: 'x', 'x '" in note for note in read(frame_with(["x", "x "])).profile.notes
    )


def test_names_of_two_levels_are_joined():
    frame = frame_with(["x", "y"])
    for tuples in (
        [("actor", ""), ("day", ""), ("x", "sum"), ("x", "max")],
        [("", "actor"), ("", "day"), ("x", "sum"), ("x", "max")],
    ):
        frame.columns = pd.MultiIndex.from_tuples(tuples)
        assert read(frame).features == ("x_sum", "x_max")


FRAME = pd.DataFrame({"actor": ["a", "b", "c"], "day": ["2025-01-01", "2025-01-02", "2025-01-03"], "x": [1, 2, 4]})
INDEXES = {
    "unnamed": (FRAME, ["x"]),
    "text": (FRAME.set_axis(["q", "r", "s"]), ["x"]),
    "days": (FRAME.set_axis(pd.date_range("2025", periods=3)), ["x"]),
    "two unnamed levels": (FRAME.set_index([[1, 2, 5], [3, 4, 5]]), ["x"]),
    "entity": (FRAME.set_index("actor"), ["x"]),
    "entity and day": (FRAME.set_index(["actor", "day"]), ["x"]),
    "a feature": (FRAME.set_index("x"), ["x"]),
    "another name": (FRAME.set_axis(pd.Index([1, 2, 4], name="i")), ["i", "x"]),
    "named columns": (FRAME.rename_axis("c", axis=1), ["x"]),
}


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("storage", ["frame", "parquet", "csv", "xlsx", "feather"])
def test_unnamed_indexes_are_left_out_and_named_ones_are_columns(tmp_path, index, storage):
    frame, features = INDEXES[index]
    source = frame if storage == "frame" else tmp_path / f"t.{storage}"
    if storage == "parquet":
        frame.to_parquet(source)
    elif storage == "csv":
        frame.to_csv(source)
    elif storage == "xlsx":
        frame.to_excel(source)
    elif storage == "feather":
        pa.feather.write_feather(pa.Table.from_pandas(frame), source)
    table = read(source)
    assert sorted(table.features) == features
    assert table.frame["actor"].tolist() == ["a", "b", "c"]
    assert sorted(stream.open(source).fit().feature_names_in_) == features


def test_an_index_and_a_column_with_one_name_must_be_equal():
    assert read(FRAME.set_index("actor", drop=False)).features == ("x",)
    with pytest.raises(ValueError, match="index level and a column named 'actor'"):
        read(FRAME.set_axis(pd.Index(["b", "a", "c"], name="actor")))


def test_indexes_that_were_written_several_times_are_left_out(tmp_path):
    path = tmp_path / "t.csv"
    FRAME.to_csv(path)
    for _ in range(3):
        for source in (path, pd.read_csv(path), pl.read_csv(path), pa.table(pl.read_csv(path).to_arrow())):
            table = read(source)
            assert table.features == ("x",)
            assert table.profile.left_out == {}
        pd.read_csv(path).to_csv(path)


def test_columns_that_pandas_wrote_for_an_index_are_recognised():
    names = ["", "Unnamed: 0", "Unnamed: 0.1", "actor", "", "Unnamed: 5", "__index_level_0__"]
    assert pandas_index_positions(names) == {0, 1, 2, 6}
    assert pandas_index_positions(["actor", "Unnamed: 0"]) == set()


def test_an_empty_name_is_replaced_by_the_position():
    assert text_names(["a", "", None], "the table")[0] == ["a", "column_2", "column_3"]


def test_entity_and_time_must_be_two_columns_of_the_table():
    with pytest.raises(ValueError, match=r"no column 'actor' \(entity\); did you mean ' actor '"):
        read(FRAME.rename(columns={"actor": " actor "}))
    with pytest.raises(ValueError, match="entity and time are both"):
        ueba.read_table(FRAME, entity="day", time="day")
