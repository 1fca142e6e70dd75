"""Test that every step of `isoxide.ueba` gives the numbers of a notebook with scikit-learn, scipy and pandas."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy import stats
from sklearn.ensemble import IsolationForest as SklearnForest

from isoxide import ueba
from isoxide.ueba._rules import apply_rules
from ueba_tables import actor_days

pytestmark = pytest.mark.not_parallel(reason="it runs notebooks in processes of their own")

CUTOFFS = [95.0, 96.0, 97.0, 98.0, 99.0, 99.1, 99.2, 99.3, 99.4, 99.5, 99.6, 99.7, 99.8, 99.9, 99.99]
OUTSIDE = ("actor", "day", "anomaly_score")


@pytest.fixture(scope="module")
def notebook(seed):
    """Compute what the notebook computes, and return its variables."""
    features = actor_days(seed).drop_duplicates()
    inputs = features.drop(columns=["actor", "day"])
    first = SklearnForest(random_state=0, contamination=0.1).fit(inputs)
    scores = first.decision_function(inputs)
    threshold = np.sort(scores)[len(scores) // 80]
    contamination = np.sum(scores <= threshold) / len(scores)
    forest = SklearnForest(random_state=0, contamination=contamination).fit(inputs)
    result = []
    for day in sorted(features["day"].unique(), reverse=True):
        of_day = features[features["day"] == day].copy()
        of_day["anomaly_score"] = forest.decision_function(of_day[inputs.columns])
        of_day["anomaly"] = forest.predict(of_day[inputs.columns])
        result.append(of_day[of_day["anomaly"] == -1].drop(columns="anomaly"))
    results = pd.concat(result).sort_values(by=["anomaly_score", "day"], ascending=[True, False])
    ranked = []
    for _, row in results.iterrows():
        ranks = [(c, stats.percentileofscore(features[c], row[c]), row[c]) for c in results.columns if c not in OUTSIDE]
        ranks = sorted(ranks, key=lambda rank: rank[1], reverse=True)
        ranked.append(sorted(ranks, key=lambda rank: "zscore" in rank[0]))
    return {
        "features": features, "scores": scores, "threshold": threshold, "contamination": contamination,
        "forest": forest, "results": results, "ranked": ranked,
    }  # fmt: skip


@pytest.fixture(scope="module")
def study(notebook):
    table = ueba.read_table(notebook["features"], entity="actor", time="day")
    return ueba.calibrate(table, threshold=notebook["threshold"])


@pytest.fixture(scope="module")
def findings(study):
    return ueba.detect(study.table, forest=study.forest, contamination=study.contamination)


@pytest.mark.slow
def test_scores_and_contamination_equal_the_notebooks(notebook, study):
    assert_array_equal(study.scores, notebook["scores"])
    assert study.contamination == notebook["contamination"]


def test_findings_equal_the_notebooks(notebook, findings):
    results = notebook["results"]
    assert_array_equal(findings.frame["score"], results["anomaly_score"])
    assert findings.frame["actor"].tolist() == results["actor"].tolist()
    assert findings.frame["day"].tolist() == results["day"].tolist()
    assert_array_equal(findings.frame.index, results.index)
    assert findings.manifest["offset"] == notebook["forest"].offset_


def test_ranks_and_their_order_equal_the_notebooks(notebook, findings):
    for number, expected in enumerate(notebook["ranked"]):
        order = findings.order[number]
        assert [findings.features[j] for j in order] == [name for name, _, _ in expected]
        assert_array_equal(findings.percentiles[number, order], [rank for _, rank, _ in expected])
        assert_array_equal(np.take(findings.values, number, axis=0)[order], [value for _, _, value in expected])


def test_the_cutoff_table_equals_the_notebooks(notebook, findings):
    counts = np.array(
        [[sum(rank >= cutoff for _, rank, _ in ranks) for ranks in notebook["ranked"]] for cutoff in CUTOFFS]
    )
    table = findings.cutoff_table()
    assert table["cutoff"].tolist() == CUTOFFS
    assert_array_equal(table["mean"], counts.sum(axis=1) / len(findings))
    assert_array_equal(table["min"], counts.min(axis=1))


def test_feature_counts_equal_the_notebooks(notebook, findings):
    counts = {}
    for ranks in notebook["ranked"]:
        for name, rank, value in ranks:
            if rank >= 99.0 or (name == "is_weekend" and value > 0):
                counts[name] = counts.get(name, 0) + 1
    expected = sorted(counts.items(), key=lambda item: item[1], reverse=True)
    assert list(findings.feature_counts(cutoff=99.0, always_show=["is_weekend"]).items()) == expected


def test_findings_per_day_equal_the_notebooks(notebook, findings):
    expected = notebook["results"].groupby("day").size()
    by_day = findings.group_by("day")
    assert {pd.Timestamp(day): len(rows) for day, rows in by_day.items()} == expected.to_dict()
    assert list(by_day) == sorted(by_day)


def test_flags_equal_the_notebooks_for_its_percentiles(notebook):
    # The notebook computes percentiles among the anomalies, so the rules get these as quantiles.
    results = notebook["results"]
    values = results.drop(columns=list(OUTSIDE))
    limits = values.describe(percentiles=[0.95, 0.99]).transpose()[["95%", "99%"]]
    expected = []
    for number, (_, row) in enumerate(results.iterrows()):
        for name in values.columns:
            if "zscore" in name:
                if row[name] >= 3.0:
                    expected.append((number, name, row[name], "zscore>=3", 3.0))
            elif name in ("leaver_action", "is_weekend") and row[name] > 0:
                expected.append((number, name, row[name], "flag", 0.0))
            elif row[name] >= limits.loc[name, "99%"] and row[name] > 0:
                expected.append((number, name, row[name], ">=p99", limits.loc[name, "99%"]))
            elif row[name] >= limits.loc[name, "95%"] and row[name] > 0:
                expected.append((number, name, row[name], ">=p95", limits.loc[name, "95%"]))
    flags = apply_rules(
        [ueba.ZScore(3), ueba.Flag(["leaver_action", "is_weekend"]), ueba.Percentile((95, 99))],
        list(values.columns), values.to_numpy(dtype=float), lambda name, q: values[name].quantile(q),
    )  # fmt: skip
    assert list(flags.itertuples(index=False, name=None)) == expected


def test_all_months_are_scored_by_one_forest(notebook, study):
    # The notebook fits a forest per month, each with its own offset.
    months = notebook["features"]["day"].dt.to_period("M").astype(str).to_numpy()
    periods = study.by_period()
    for row in periods.itertuples():
        scores = notebook["scores"][months == row.period]
        assert (row.rows, row.lowest, row.median) == (len(scores), scores.min(), np.median(scores))
        assert row.anomalies == np.sum(scores <= notebook["threshold"])
