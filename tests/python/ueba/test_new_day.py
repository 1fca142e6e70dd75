"""Findings of a new day: each number is the one that scipy and pandas compute from the training rows."""

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import percentileofscore

from isoxide import IsolationForest, ueba
from isoxide.ueba._identifiers import document_id
from ueba_tables import actor_days

NAMES = {"entity": "actor", "time": "day"}
SPLIT = pd.Timestamp("2025-02-22")


@pytest.fixture(scope="module")
def frame(seed):
    """Return actor-days with peers; some actors are seldom there, and some appear only after the split."""
    frame = actor_days(seed)
    rng = np.random.default_rng(seed)
    frame["team"] = "team" + (frame["actor"].str[-2:].astype(int) % 3).astype(str)
    frame.loc[frame["actor"] == "actor07", "team"] = "alone"
    frame.loc[rng.random(len(frame)) < 0.1, "share_2"] = np.nan
    frame["share_0"] = frame["share_0"].astype(np.float32)
    is_seldom = frame["actor"].isin(["actor03", "actor07"]) & (rng.random(len(frame)) < 0.6)
    is_new = (frame["actor"] == "actor09") & (frame["day"] < SPLIT)
    frame = frame[~is_seldom & ~is_new]
    # Some of the seldom and the new ones stand out, so that they are findings.
    last = frame["day"] >= SPLIT
    odd = last & frame["actor"].isin(["actor03", "actor07", "actor09", "actor11"])
    for column in ("n_0", "n_1", "n_2", "n_3", "share_1", "zscore_1"):
        frame.loc[odd, column] = int(frame[column].max() * 2) + rng.integers(0, 9, odd.sum())
    frame.loc[odd & (frame["day"] == frame["day"].max()), "team"] = "new team"
    return frame.reset_index(drop=True)


@pytest.fixture(scope="module")
def old(frame):
    return frame[frame["day"] < SPLIT]


@pytest.fixture(scope="module", params=["upper", "both"])
def model(request, old):
    table = ueba.read_table(old, **NAMES)
    return ueba.Model.fit(table, contamination=0.05, groups="team", n_estimators=60, min_history=12, tail=request.param)


@pytest.fixture(scope="module")
def later(frame):
    return frame[frame["day"] >= SPLIT].reset_index(drop=True)


@pytest.fixture(scope="module")
def new(later):
    return ueba.read_table(later, **NAMES)


@pytest.fixture(scope="module")
def findings(model, new):
    return model.detect(new)


def percentile(reference, value, tail):
    reference = reference.dropna().to_numpy()
    if not len(reference) or np.isnan(value):
        return np.nan
    upper = percentileofscore(reference, value)
    return upper if tail == "upper" else max(upper, percentileofscore(-reference, -value))


def test_scores_are_those_of_the_forest(model, findings, old, new):
    """The threshold is the quantile of the training scores, and findings score above it."""
    forest = IsolationForest(n_estimators=60, random_state=0, contamination=0.05).fit(old[model.features])
    assert model.threshold == -forest.offset_
    scores = -forest.score_samples(new.X)
    expected = np.sort(scores[scores > model.threshold])[::-1]
    assert len(expected) > 5
    assert_array_equal(findings.frame["anomaly_score"], expected)
    assert_array_equal(findings.frame["score"], -expected - forest.offset_)
    training = -forest.score_samples(old[model.features])
    assert_array_equal(findings.frame["severity"], [percentileofscore(training, score) for score in expected])
    as_high = np.array([(training >= score).sum() for score in expected])
    assert_array_equal(findings.frame["rows_as_high"], as_high)
    assert_array_equal(findings.frame["rarity"], len(old) / np.maximum(as_high, 1))
    assert findings.n_reference == len(old)


@pytest.mark.current_versions(reason="quantiles of pandas 2.2 have other last bits")
def test_ranks_and_typical_values_among_all(model, findings, old):
    tail = model._data.settings.ranks.tail
    for j, name in enumerate(model.features):
        expected = [percentile(old[name], value, tail) for value in findings.values[:, j]]  # noqa: PD011
        assert_array_equal(findings.percentiles[:, j], expected)
        for statistic, q in (("median", 0.5), ("p95", 0.95), ("p99", 0.99)):
            assert findings.reference.loc[name, statistic] == old[name].quantile(q)
            assert (findings.typical(statistic)[:, j] == old[name].quantile(q)).all()


@pytest.mark.current_versions(reason="quantiles of pandas 2.2 have other last bits")
@pytest.mark.parametrize("name", ["peers", "history"])
def test_ranks_and_typical_values_side_by_side(model, findings, later, old, name):
    tail = model._data.settings.ranks.tail
    ranked = findings.comparisons[name]
    typical = ranked.typical(len(model.features))
    column = {"peers": "team", "history": "actor"}[name]
    n_ranked = 0
    for number, row in enumerate(findings.frame.index):
        rows = old[old[column] == later.loc[row, column]]
        n_days = rows["day"].nunique()
        is_ranked = len(rows) >= 20 if name == "peers" else n_days >= 12
        n_ranked += is_ranked
        if not is_ranked:
            reason = "of the model with team" if name == "peers" else f"no ranks: {n_days} day"
            assert reason in ranked.rank_among[number]
            assert ranked.rank_among[number].startswith("no ranks: ")
            assert np.isnan(ranked.percentiles[number]).all()
            assert np.isnan(typical[number]).all()
            continue
        assert ranked.rank_rows[number] == len(rows)
        for j, feature in enumerate(model.features):
            value = findings.values[number, j]  # noqa: PD011
            assert_array_equal(ranked.percentiles[number, j], percentile(rows[feature], value, tail))
            assert_array_equal(typical[number, j], rows[feature].quantile([0.5, 0.95, 0.99]))
    assert 0 < n_ranked < len(findings)


def test_comparison_table_has_the_three_ranks(findings):
    table = findings.comparison_table(0)
    order = [findings.features[j] for j in findings.order[0]]
    assert table.index.tolist() == order
    assert [name for name in table.columns if name.endswith("percentile")] == [
        "percentile", "peers_percentile", "history_percentile",
    ]  # fmt: skip
    j = findings.features.index("n_0")
    assert table.loc["n_0", "percentile"] == findings.percentiles[0, j]
    assert_array_equal(table["history_percentile"], findings.comparisons["history"].percentiles[0][findings.order[0]])


def test_first_seen_is_the_first_day_of_the_training_rows(findings, frame, old):
    known = old.groupby("actor")["day"].min()
    for row in findings.frame.itertuples():
        own = frame.loc[frame["actor"] == row.actor, "day"]
        assert row.first_seen == known.get(row.actor, own.min())
    assert "actor09" in set(findings.frame["actor"])
    assert "no ranks: 0 days of history" in findings.comparisons["history"].rank_among


@pytest.mark.current_versions(reason="quantiles of pandas 2.2 have other last bits")
def test_rules_use_the_percentiles_of_the_training_rows(findings, old):
    flags = findings.flags[findings.flags["rule"] == ">=p99"]
    assert len(flags)
    for flag in flags.itertuples():
        assert flag.limit == old[flag.feature].quantile(0.99)


def test_a_row_has_the_same_finding_in_every_table(model, findings, frame):
    """The day alone and the whole growing table give the same numbers."""
    whole = model.detect(ueba.read_table(frame, **NAMES), since=SPLIT.date())
    assert whole.frame["finding_id"].tolist() == findings.frame["finding_id"].tolist()
    pd.testing.assert_frame_equal(whole.frame.reset_index(drop=True), findings.frame.reset_index(drop=True))
    assert_array_equal(whole.percentiles, findings.percentiles)
    assert (whole.manifest["rows"], whole.manifest["table_rows"]) == (findings.manifest["rows"], len(frame))
    assert whole.manifest["since"] == "2025-02-22"
    assert whole.manifest["first_day"] == findings.manifest["first_day"] == "2025-02-22"
    last = model.detect(ueba.read_table(frame, **NAMES), since="2025-02-28")
    wanted = findings.frame[findings.frame["day"] == "2025-02-28"]
    assert last.frame["finding_id"].tolist() == wanted["finding_id"].tolist()
    assert_array_equal(last.frame["anomaly_score"], wanted["anomaly_score"])


def test_ranks_again_in_the_table(model, findings, new, frame):
    """Findings of a part of a table are found in the whole table."""
    whole = ueba.read_table(frame, **NAMES)
    again = model.detect(whole, since="2025-02-22").rank_features(whole, groups="team")
    assert again.frame["rank_among"].str.contains("team").all()
    assert len(findings.rank_features(new)) == len(findings)


def test_a_column_without_values_on_the_new_day_is_missing(model, frame, tmp_path):
    day = frame[frame["day"] == "2025-02-28"].assign(share_2=np.nan)
    expected = model.detect(ueba.read_table(day, **NAMES))
    day.to_csv(tmp_path / "day.csv", index=False)
    result = model.detect(ueba.read_table(tmp_path / "day.csv", **NAMES))
    assert "share_2" in result.features
    assert np.isnan(result.values[:, result.features.index("share_2")]).all()  # noqa: PD011
    assert result.frame["finding_id"].tolist() == expected.frame["finding_id"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="n_3"), "no column 'n_3', which is a feature of the model"),
        (lambda f: f.assign(n_3="many"), "'n_3' of the model is not a feature of the table: text"),
        (lambda f: f.assign(n_3=np.inf), "feature 'n_3' has infinite values"),
        (lambda f: f.drop(columns="team"), "no column 'team', which has the groups of the model"),
    ],
)
def test_tables_that_do_not_fit_are_refused(model, frame, change, message):
    table = ueba.read_table(change(frame[frame["day"] >= SPLIT]), **NAMES)
    with pytest.raises(ValueError, match=message):
        model.detect(table)


def test_other_keys_are_refused(model, frame):
    table = ueba.read_table(frame.rename(columns={"actor": "user"}), entity="user", time="day")
    with pytest.raises(ValueError, match="the entity of the model is the column 'actor', but that of the table is"):
        model.detect(table)


@pytest.mark.parametrize(
    ("since", "error", "message"),
    [
        ("2025-13-01", ValueError, "'since' is '2025-13-01', but must be a day in ISO 8601"),
        ("20250222", ValueError, "'since' is '20250222', but must be a day in ISO 8601"),
        ("2026-01-01", ValueError, "the table has no row since=2026-01-01; its last day is 2025-02-28"),
        (20250101, TypeError, "since must be a day such as"),
    ],
)
def test_bad_days_are_refused(model, new, since, error, message):
    with pytest.raises(error, match=message):
        model.detect(new, since=since)


def test_a_quiet_day_is_a_result(old, new, tmp_path):
    """Without findings, every method works and every file is written."""
    model = ueba.Model.fit(ueba.read_table(old, **NAMES), threshold=0.99, n_estimators=20, groups="team")
    quiet = model.detect(new)
    assert len(quiet) == 0
    scores = -model.forest.score_samples(new.X)
    highest = quiet.manifest["highest"]
    # The latest one of rows with equal scores counts, and then the first name.
    row = new.frame[scores == scores.max()].sort_values(["day", "actor"], ascending=[False, True]).iloc[0]
    assert highest == {
        "anomaly_score": scores.max(), "entity": row["actor"], "time": row["day"].isoformat(),
    }  # fmt: skip
    for result in (quiet, ueba.read_findings(quiet.to_json(tmp_path / "quiet.json"))):
        assert repr(result) == f"Findings(0 rows of 0 entities, {len(model.features)} features)"
        assert len(result.frame) == len(result.to_frame()) == len(result.cutoff_table().dropna()) == 0
        assert result.group_by() == {}
        assert result.group_by("actor") == {}
        assert result.rarity_texts() == []
        assert len(result.feature_counts()) == 0
        assert result.typical().shape == result.selected().shape == (0, len(model.features))
        assert {name: ranked.percentiles.shape for name, ranked in result.comparisons.items()} == {
            "peers": (0, len(model.features)), "history": (0, len(model.features)),
        }  # fmt: skip
        assert result._repr_html_()
        users = pd.DataFrame({"actor": ["actor01"], "email": ["one@example.org"]})
        assert result.join(users).joined == ["email"]
        for write, name in ((result.to_csv, "a.csv"), (result.to_parquet, "a.parquet"), (result.to_json, "a.json"),
                            (result.to_markdown, "a.md"), (result.to_html, "a.html")):  # fmt: skip
            assert write(tmp_path / name).stat().st_size > 0
        assert "findings" in result.to_markdown()
    assert len(quiet.rank_features(new)) == 0


def test_findings_of_a_model_can_be_stored(findings, tmp_path):
    again = ueba.read_findings(findings.to_json(tmp_path / "findings.json"))
    assert list(again.comparisons) == ["peers", "history"]
    for name, ranked in findings.comparisons.items():
        for own, expected in zip(again.comparisons[name], ranked, strict=True):
            assert_array_equal(own, expected)
    for name in ("finding_id", "anomaly_score", "rarity", "rows_as_high", "band"):
        assert again.frame[name].tolist() == findings.frame[name].tolist()
    assert again.timeline["highest"].tolist() == findings.timeline["highest"].tolist()
    assert again.manifest == findings.manifest
    pd.testing.assert_frame_equal(again.comparison_table(1), findings.comparison_table(1))


def test_the_profile_tells_which_features_the_model_uses(model, later):
    findings = model.detect(ueba.read_table(later.assign(extra=1.0, is_fraud=later["is_weekend"]), **NAMES))
    profile = findings.manifest["profile"]
    assert profile["features"] == findings.features
    assert profile["n_features"] == len(findings.features)
    assert profile["left_out"] == {"team": "text"} | dict.fromkeys(["extra", "is_fraud"], "not a feature of the model")
    assert "extra" not in profile["constant"]
    assert profile["label_like"] == profile["equal"] == []


def test_warnings_about_training_do_not_concern_a_new_day(model, later):
    """A single row has constant and equal features and one day; a feature without values is missing, not left out."""
    table = ueba.read_table(later.head(1).assign(share_2=np.nan, n_1=later["n_0"]), **NAMES)
    assert "features are constant" in str(table.profile)
    assert table.profile.left_out["share_2"] == "no values"
    findings = model.detect(table)
    assert findings.manifest["notes"] == []
    profile = ueba.TableProfile(**findings.manifest["profile"])
    assert sorted(profile.features) == sorted(model.features)
    assert profile.nan_share["share_2"] == 1.0
    assert "share_2" not in profile.left_out
    day = later["day"].iloc[0].date()
    assert str(profile).splitlines()[0] == f"1 row of 1 entity on 1 day ({day}), {len(model.features)} features"
    assert "note:" not in str(profile)


@pytest.mark.parametrize("has_zone", [True, False])
def test_times_with_a_zone_in_only_one_of_the_tables_are_told(old, later, tmp_path, has_zone):
    """The identifiers of findings depend on it."""

    def read(frame, *, zoned):
        return ueba.read_table(frame.assign(day=frame["day"].dt.tz_localize("UTC")) if zoned else frame, **NAMES)

    trained = ueba.Model.fit(read(old, zoned=has_zone), contamination=0.05, n_estimators=20)
    model = ueba.Model.load(trained.save(tmp_path / "model"))
    assert model.training["has_zone"] is has_zone
    same = model.detect(read(later, zoned=has_zone))
    assert not any("time zone" in note for note in same.manifest["notes"])
    expected = "trained on times with a time zone, but" if has_zone else "trained on times without a time zone, but"
    with pytest.warns(UserWarning, match=expected):
        findings = model.detect(read(later, zoned=not has_zone))
    assert expected in findings.manifest["notes"][0]
    assert not set(findings.frame["finding_id"]) & set(same.frame["finding_id"])
    # A model of an early version does not say it.
    path = tmp_path / "model" / "model.json"
    document = json.loads(path.read_text())
    del document["training"]["has_zone"]
    document["id"] = document_id(
        {k: v for k, v in document.items() if k not in ("format", "version", "id", "provenance")}
    )
    path.write_text(json.dumps(document))
    early = ueba.Model.load(tmp_path / "model")
    assert early.training["has_zone"] is None
    assert early.id == document["id"]
    assert early.detect(read(later, zoned=not has_zone)).manifest["notes"] == []


def test_findings_do_not_depend_on_progress(model, new, capsys):
    told, expected = [], model.detect(new)
    actual = model.detect(new, progress=lambda *step: told.append(step))
    assert capsys.readouterr() == ("", "")
    names = ["measuring drift", "scoring the rows", "ranking the findings", "explaining the findings"]
    assert told == [*((name, done, 4) for done, name in enumerate(names)), ("done", 4, 4)]
    pd.testing.assert_frame_equal(actual.to_frame(), expected.to_frame())
    assert {**actual.manifest, "created": None} == {**expected.manifest, "created": None}
    with pytest.raises(TypeError, match="progress must be True, False or a function"):
        model.detect(new, progress=1)
