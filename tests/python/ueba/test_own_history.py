"""Ranks in the own history equal scipy's, see no later row, and survive a growing table."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import percentileofscore

from isoxide import ueba
from isoxide.datasets import load_enron
from isoxide.ueba._own_history import PREFIX
from ueba_tables import actor_days

NAMES = {"entity": "actor", "time": "day"}


def expected_ranks(frame, name, min_days, days):
    """Return the ranks by definition, with scipy and one loop over the rows."""
    ranks = np.full(len(frame), np.nan)
    for i in range(len(frame)):
        row = frame.iloc[i]
        if pd.isna(row["actor"]) or pd.isna(row[name]):
            continue
        is_before = ((frame["actor"] == row["actor"]) & (frame["day"] < row["day"])).to_numpy()
        known = frame[name][is_before].dropna().to_numpy()
        if days[is_before].nunique() >= min_days and len(known):
            ranks[i] = percentileofscore(known, row[name])
    return ranks


def drawn(r, n, *, times=False):
    """Return rows in any order, with ties in values and times, missing values and rows without an actor."""
    frame = pd.DataFrame({"actor": r.choice(["a", "b", "c", "d", "e"], n, p=[0.5, 0.2, 0.2, 0.08, 0.02])})
    frame["day"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(r.integers(0, 30, n), unit="D")
    if times:
        frame["day"] += pd.to_timedelta(r.integers(0, 4, n) * 7, unit="h")
    frame.loc[r.random(n) < 0.05, "actor"] = None
    frame["count"] = r.integers(0, 4, n)
    frame["normal"] = r.normal(size=n).astype(np.float32)
    frame["gaps"] = np.where(r.random(n) < 0.5, np.nan, np.round(r.normal(size=n), 1))
    frame["zero"] = r.choice([0.0, -0.0, 1.0], n)
    frame["flag"] = r.random(n) < 0.3
    frame["huge"] = 2**53 + r.integers(0, 3, n)
    # Rows are distinct, so that none is dropped as a repetition.
    frame["row"] = r.permutation(n)
    return frame


@pytest.mark.parametrize("times", [False, True])
@pytest.mark.parametrize("min_days", [1, 3, 10])
def test_ranks_are_those_of_scipy(seed, times, min_days):
    r = np.random.default_rng(seed + min_days)
    for n in (1, 2, 7, 90):
        table = ueba.read_table(drawn(r, n, times=times), **NAMES)
        ranked = ueba.own_history(table, min_days=min_days)
        assert ranked.features == (*table.features, *(PREFIX + name for name in table.features))
        for name in table.features:
            expected = expected_ranks(table.frame, name, min_days, table.days)
            assert_array_equal(ranked.frame[PREFIX + name], expected, err_msg=name)


@pytest.mark.parametrize("zone", ["Europe/Oslo", "America/New_York"])
def test_days_are_local_and_times_are_moments(seed, zone):
    r = np.random.default_rng(seed)
    # Clocks are set back on the last Sunday of October and the first of November.
    moments = pd.Timestamp("2025-10-20", tz="UTC") + pd.to_timedelta(r.integers(0, 18 * 48, 160) * 30, unit="min")
    frame = drawn(r, 160).assign(day=pd.Series(moments).dt.tz_convert(zone))
    table = ueba.read_table(frame, **NAMES)
    for min_days in (1, 5):
        ranked = ueba.own_history(table, min_days=min_days, features=["gaps", "count"])
        for name in ("gaps", "count"):
            expected = expected_ranks(table.frame, name, min_days, table.days)
            assert_array_equal(ranked.frame[PREFIX + name], expected)


def test_a_future_value_changes_nothing_before_it(seed):
    r = np.random.default_rng(seed)
    frame = drawn(r, 200)
    table = ueba.own_history(ueba.read_table(frame, **NAMES), min_days=2)
    for _ in range(5):
        planted, i = frame.copy(), int(r.integers(0, len(frame)))
        for name in ("count", "normal", "gaps"):
            planted.loc[i, name] = 1e6
        after = ueba.own_history(ueba.read_table(planted, **NAMES), min_days=2)
        new = [name for name in table.features if name.startswith(PREFIX)]
        is_other = (frame["day"] <= frame["day"].iloc[i]) | (frame["actor"] != frame["actor"].iloc[i])
        is_other[i] = False
        pd.testing.assert_frame_equal(after.frame.loc[is_other, new], table.frame.loc[is_other, new], check_exact=True)


def test_rows_keep_their_ranks_when_the_table_grows(seed):
    frame = actor_days(seed)
    whole = ueba.own_history(ueba.read_table(frame, **NAMES))
    start = ueba.own_history(ueba.read_table(frame[frame["day"] < "2025-02-10"], **NAMES))
    n = len(start)
    pd.testing.assert_frame_equal(whole.frame.iloc[:n], start.frame, check_exact=True)
    assert start.frame[f"{PREFIX}n_0"].notna().any()


def test_the_table_is_usable_for_detection_and_models(seed, tmp_path):
    frame = actor_days(seed)
    before = ueba.own_history(ueba.read_table(frame[frame["day"] < "2025-02-20"], **NAMES), features="n_*")
    assert before.profile.n_features == len(before.features) == before.X.shape[1]
    assert 0 < before.profile.nan_share[f"{PREFIX}n_0"] == before.frame[f"{PREFIX}n_0"].isna().mean()
    findings = ueba.detect(before, contamination=0.02)
    assert f"{PREFIX}n_0" in findings.features
    model = ueba.Model.load(ueba.Model.fit(before, contamination=0.02, n_estimators=20).save(tmp_path / "model"))
    growing = ueba.own_history(ueba.read_table(frame, **NAMES), features="n_*")
    today = model.detect(growing, since="2025-02-27")
    assert set(today.features) == set(before.features)
    assert model.drift(before).verdict == "ok"


def test_the_table_itself_is_not_changed(seed):
    table = ueba.read_table(actor_days(seed), **NAMES)
    columns, text = list(table.frame.columns), str(table.profile)
    ueba.own_history(table, n_jobs=1)
    assert (list(table.frame.columns), str(table.profile)) == (columns, text)


def test_bad_arguments_are_refused():
    table = ueba.read_table(actor_days(0), **NAMES)
    for min_days in (1.0, "3", True, None):
        with pytest.raises(TypeError, match="min_days must be an integer"):
            ueba.own_history(table, min_days=min_days)
    with pytest.raises(ValueError, match="min_days=0 must be at least 1"):
        ueba.own_history(table, min_days=0)
    with pytest.raises(ValueError, match=r"features has 'x\*', which matches no feature of the table"):
        ueba.own_history(table, features=["n_*", "x*"])
    with pytest.raises(ValueError, match="the table already has a column 'own_rank_n_0'; rename it"):
        ueba.own_history(ueba.own_history(table))


def test_ranks_of_the_table_that_ships_are_those_of_scipy():
    table = ueba.read_table(load_enron(), **NAMES)
    ranked = ueba.own_history(table, features=["n_msgs", "gap_median"])
    sample = table.frame[table.frame["actor"].isin(["emp105", "emp004", "emp150"])]
    assert len(sample) > 100
    for name in ("n_msgs", "gap_median"):
        expected = expected_ranks(sample, name, 10, table.days[sample.index])
        assert_array_equal(ranked.frame.loc[sample.index, PREFIX + name], expected)
        assert not np.isnan(expected).all()


def test_a_frame_is_refused():
    with pytest.raises(TypeError, match=r"table must be a FeatureTable, not DataFrame; read it with ueba\.read_table"):
        ueba.own_history(pd.DataFrame({"actor": ["a"], "day": ["2025-01-01"], "n": [1]}))
