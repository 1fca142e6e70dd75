"""Test `read_table`: features, profile and refusals."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from isoxide import ueba
from ueba_tables import actor_days

NAMES = {"entity": "actor", "time": "day"}


@pytest.fixture
def frame(seed):
    return actor_days(seed, n_actors=6, n_days=20)


@pytest.mark.parametrize("source_type", ["csv", "csv.gz", "parquet", "pandas", "polars"])
def test_every_source_gives_the_same_table(frame, tmp_path, source_type):
    path = tmp_path / f"table.{source_type}"
    if source_type.startswith("csv"):
        frame.to_csv(path, index=False)
    elif source_type == "parquet":
        frame.to_parquet(path)
    source = {"pandas": frame, "polars": pl.from_pandas(frame)}.get(source_type, path)
    table = ueba.read_table(source, **NAMES)
    assert table.features == tuple(frame.columns[2:])
    assert len(table) == len(frame)
    pd.testing.assert_frame_equal(table.X, frame[list(table.features)], check_dtype=False)
    assert table.days.tolist() == frame["day"].tolist()
    assert (table.checksum is None) == (source_type in ("pandas", "polars"))


def test_duplicates_are_dropped_and_shared_keys_are_counted(frame):
    same_key = frame.iloc[[3]].assign(n_0=999)
    doubled = pd.concat([frame, frame.iloc[[5, 7, 7]], same_key], ignore_index=True)
    table = ueba.read_table(doubled, **NAMES)
    pd.testing.assert_frame_equal(table.frame, doubled.drop_duplicates())
    assert (table.profile.n_duplicates, table.profile.n_duplicate_keys) == (3, 2)
    assert "2 rows share entity and time" in str(table.profile)


def test_the_profile_describes_gaps_and_unusual_columns(frame):
    frame = frame[frame["day"] != frame["day"].unique()[4]].copy()
    frame["row_id"] = np.arange(len(frame))[::-1]
    frame["same"] = 7
    frame["empty"] = np.nan
    frame["role"] = "x"
    frame.loc[frame.index[:3], "share_0"] = np.nan
    frame.loc[frame.index[5], "share_1"] = np.inf
    profile = ueba.read_table(frame, **NAMES).profile
    assert (profile.n_missing_days, profile.gaps) == (1, [["2025-01-24", "2025-01-24"]])
    assert profile.id_like == ["row_id"]
    assert profile.constant == [c for c in ("leaver_action", "same") if len(frame[c].unique()) == 1]
    assert profile.infinite == ["share_1"]
    assert profile.nan_share == {"share_0": 3 / len(frame)}
    assert profile.left_out["empty"] == "no values"
    assert profile.left_out["role"] == "text"
    for text in ("1 day has no rows", "row_id", "same", "infinite", "no values"):
        assert text in str(profile)


def test_include_and_exclude_select_features(frame):
    table = ueba.read_table(frame, **NAMES, include=["n_*", "zscore_0"], exclude="n_3")
    assert table.features == ("n_0", "n_1", "n_2", "n_4", "n_5", "zscore_0")
    assert ueba.read_table(frame, **NAMES, exclude="zscore_*").features == tuple(
        c for c in frame.columns[2:] if not c.startswith("zscore_")
    )


@pytest.mark.parametrize(
    ("values", "day"),
    [
        (["2025-04-26", "2025-04-27"], "2025-04-26"),
        (["2025-04-26T13:00:00", "2025-04-26T23:59:59"], "2025-04-26"),
        ([20250426, 20250427], "2025-04-26"),
        (["2025-04-26T23:00:00+02:00", "2025-04-27T01:00:00Z"], "2025-04-26"),
    ],
)
def test_the_first_day_and_the_time_zones_are_those_of_the_times(values, day):
    table = ueba.read_table(pd.DataFrame({"actor": ["a", "b"], "day": values, "x": [1, 2]}), **NAMES)
    assert table.profile.first_day == day
    assert table.profile.time_zones == (["+02:00", "UTC"] if str(values[0]).endswith("+02:00") else [])


@pytest.mark.parametrize(
    ("change", "error", "expected_message"),
    [
        (
            lambda f: f.rename(columns={"actor": "Actor"}),
            ValueError,
            r"no column 'actor' \(entity\); did you mean 'Actor'",
        ),
        (lambda f: f.drop(columns="day"), ValueError, r"no column 'day' \(time\); there are 'actor', 'n_0'"),
        (
            lambda f: f.assign(day="soon"),
            ValueError,
            r"column 'day' has 'soon' in row 0 .* not a day in ISO 8601",
        ),
        (lambda f: f.assign(day=20259999), ValueError, r"column 'day' has 20259999 in row 0"),
        (lambda f: f.assign(day=None), ValueError, r"column 'day' has no value in row 0"),
        (lambda f: f.iloc[:0], ValueError, "has no rows"),
        (lambda f: f[["actor", "day"]], ValueError, "can be a feature"),
        (lambda f: pd.concat([f, f[["n_0"]]], axis=1), ValueError, "several columns named 'n_0'"),
        (lambda f: f.to_numpy(), TypeError, "source must be a path, a list of paths"),
    ],
)
def test_invalid_tables_are_refused(frame, change, error, expected_message):
    with pytest.raises(error, match=expected_message):
        ueba.read_table(change(frame), **NAMES)


def test_invalid_files_and_arguments_are_refused(frame, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.csv"):
        ueba.read_table(tmp_path / "nowhere.csv", **NAMES)
    semicolons = tmp_path / "semicolons.csv"
    frame.to_csv(semicolons, index=False, sep=";")
    with pytest.raises(ValueError, match="separated by ';'"):
        ueba.read_table(semicolons, **NAMES, sep=",")
    for sep in (None, ";"):
        assert len(ueba.read_table(semicolons, **NAMES, sep=sep)) == len(frame)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match=r"empty\.csv is empty"):
        ueba.read_table(tmp_path / "empty.csv", **NAMES)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(ValueError, match=r"binary\.csv"):
        ueba.read_table(tmp_path / "binary.csv", **NAMES)
    frame.to_parquet(tmp_path / "cut.parquet")
    data = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut\.parquet cannot be read"):
        ueba.read_table(tmp_path / "cut.parquet", **NAMES)
    with pytest.raises(ValueError, match="include has 'n_9', which matches no column"):
        ueba.read_table(frame, **NAMES, include=["n_9"])
    with pytest.raises(ValueError, match="entity and time are both"):
        ueba.read_table(frame, entity="day", time="day")
