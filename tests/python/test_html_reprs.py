"""Test the HTML by which notebooks show public objects: valid, short, safe for hostile names, and true."""

import datetime
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hostile_names import HOSTILE
from isoxide import IsolationForest, rank_features, stream, ueba
from isoxide._common.format import format_value
from list_engine import arrow, partitioned
from notebook_html import parse
from ueba_tables import actor_days

pytestmark = pytest.mark.thread_unsafe(reason="the objects of the module are made once")

#: Largest number of bytes of a block: a notebook has dozens.
MAX_BYTES = 25_000
#: Options of the tables, whose columns have hostile names too.
NAMES = {"entity": HOSTILE[0], "time": HOSTILE[1]}


def hostile_frame(seed):
    """Return a table of which every name and every text could be taken for markup."""
    frame = actor_days(seed, n_days=60)
    actors = dict(zip(sorted(frame["actor"].unique()), HOSTILE * 3, strict=False))
    frame["actor"] = [f"{actors[name]}{name}" for name in frame["actor"]]
    frame["team"] = [HOSTILE[i % len(HOSTILE)] for i in range(len(frame))]
    features = dict(zip([name for name in frame if name.startswith(("n_", "share"))], HOSTILE[2:], strict=False))
    return frame.rename(columns={"actor": NAMES["entity"], "day": NAMES["time"], **features})


@pytest.fixture(scope="module")
def hostile(seed):
    """Return objects of every public class with HTML of its own, by name, with hostile names everywhere."""
    frame = hostile_frame(seed)
    table = ueba.read_table(frame, **NAMES)
    findings = ueba.detect(table, contamination=0.02)
    few = ueba.detect(table, contamination=0.01)
    decisions = ueba.Decisions(
        [
            findings.decide(own, status="known-good", note=HOSTILE[3], who=HOSTILE[4])
            for own in findings.frame["finding_id"][:12]
        ],
        source=HOSTILE[0],
    )
    forest, X = findings.forest, table.X.set_axis((HOSTILE * len(table))[: len(table)])
    model = ueba.Model.fit(table, contamination=0.02, n_estimators=20, groups="team")
    shifted = frame.assign(**{HOSTILE[2]: frame[HOSTILE[2]] + 100})
    return {
        "Findings": findings,
        "Findings of a new day": model.detect(table),
        "Findings without hidden ones": findings.apply(decisions),
        "Findings without explanation": ueba.detect(table, contamination=0.02, explain=False),
        "no Findings": ueba.detect(table, threshold=-0.9),
        "TableProfile": table.profile,
        "FeatureTable": table,
        "Calibration": ueba.calibrate(table, alerts_per_month=30),
        "Calibration without amount": ueba.calibrate(table),
        "Model": model,
        "Drift": model.drift(ueba.read_table(shifted, **NAMES)),
        "Comparison": few.compare(findings),
        "Comparison with few": findings.compare(few),
        "Decisions": decisions,
        "no Decisions": ueba.Decisions(),
        "Explanation": forest.explain(X),
        "Explanation of one row": forest.explain(X)[3],
        "Explanation, largest": forest.explain(X, top=2, output="path_length"),
        "Explanation of no rows": forest.explain(X)[:0],
        "FeatureRanks": rank_features(X, X, tail="both"),
        "FeatureRanks of no rows": rank_features(X[:0], X),
        "StreamTable": stream.open(pa.Table.from_pandas(frame, preserve_index=False)),
        "PartitionedTable": partitioned(arrow(frame), 3),
    }


OBJECTS = [
    "Findings", "Findings of a new day", "Findings without hidden ones", "Findings without explanation", "no Findings",
    "TableProfile", "FeatureTable", "Calibration", "Calibration without amount", "Model", "Drift", "Comparison",
    "Comparison with few", "Decisions", "no Decisions", "Explanation", "Explanation of one row", "Explanation, largest",
    "Explanation of no rows", "FeatureRanks", "FeatureRanks of no rows", "StreamTable", "PartitionedTable",
]  # fmt: skip


def test_every_object_is_tested(hostile):
    assert list(hostile) == OBJECTS


@pytest.mark.parametrize("name", OBJECTS)
def test_blocks_are_valid_short_and_safe(hostile, name):
    page = hostile[name]._repr_html_()
    parsed = parse(page)
    assert len(page.encode()) < MAX_BYTES
    kind = re.sub(r"^no |[ ,].*", "", name)
    assert parsed.text.startswith(f"{'ListTable' if kind == 'PartitionedTable' else kind}: ")
    assert max(map(len, parsed.rows), default=0) <= 9
    # Names are shown as they are, but on one line.
    if name in ("Findings", "FeatureTable", "Comparison"):
        assert parsed.rows[0][:2] == [NAMES["entity"], NAMES["time"]]


def test_a_model_names_its_groups(hostile):
    rows = dict(parse(hostile["Model"]._repr_html_()).rows)
    assert rows["groups"] == "team"
    model = hostile["Model"]
    assert rows["rows above it"].startswith(f"{model.n_above:,} of the training rows")
    assert rows["threshold"].startswith(f"anomaly score {model.threshold:.4f} ")


@pytest.fixture(scope="module")
def table(seed):
    return ueba.read_table(actor_days(seed, n_days=60), entity="actor", time="day")


def test_findings_show_scores_and_reasons_of_the_first_rows(table):
    findings = ueba.detect(table, contamination=0.02)
    parsed = parse(findings._repr_html_())
    head, *rows = parsed.rows
    assert head == ["actor", "day", "anomaly score", "rarity", "reason 1", "reason 2", "reason 3"]
    assert len(rows) == 10 < len(findings)
    wide = findings.to_frame()
    for row, (_, own), rarity in zip(rows, wide.iterrows(), findings.rarity_texts(), strict=False):
        assert row[:3] == [own["actor"], f"{own['day']:%Y-%m-%d}", f"{own['anomaly_score']:.4f}"]
        assert row[3] == f"{rarity} {own['band']}".strip()
        feature = own["reason_1"].split(" ")[0]
        j = findings.features.index(feature)
        assert row[4].startswith(f"{feature} = {format_value(own[feature])} usually ")
        assert f"usually {format_value(findings.typical()[0, j])}, percentile " in row[4]
    assert f"10 of {len(findings)} findings …" in parsed.text
    assert "Anomaly score from 0 to 1, the higher the more abnormal" in parsed.text
    assert f"above {format_value(findings.anomaly_threshold)}" in parsed.text
    few = ueba.detect(table, top=3)
    assert " of 3 findings" not in parse(few._repr_html_()).text


def test_findings_show_their_states_and_decisions(table):
    findings = ueba.detect(table, contamination=0.02)
    ids = findings.frame["finding_id"].tolist()
    decided = findings.apply(
        ueba.Decisions([findings.decide(ids[0], status="confirmed"), findings.decide(ids[1], status="known-good")])
    )
    parsed = parse(decided._repr_html_())
    assert parsed.rows[0][4] == "state"
    assert parsed.rows[1][4] == "confirmed"
    assert f"{decided.n_hidden} hidden by 1 decision" in parsed.text.split(" Anomaly score")[0]
    compared = parse(findings.compare(decided)._repr_html_())
    assert compared.rows[1][4] == "again"


def test_no_findings_tell_how_close_the_highest_score_is(table):
    findings = ueba.detect(table, threshold=-0.9)
    assert re.match(r"Findings: none; quiet: highest score 0\.\d+ \(actor\d\d\), threshold ", repr_text(findings))


def repr_text(item):
    return parse(item._repr_html_()).text


def test_a_profile_has_the_facts_that_are_printed(seed):
    frame = actor_days(seed).assign(label=lambda own: own["leaver_action"], n_9=np.nan)
    frame.loc[3, "n_1"] = np.nan
    profile = ueba.read_table(frame, entity="actor", time="day").profile
    text = repr_text(profile)
    printed = str(profile).splitlines()
    assert text.startswith(f"TableProfile: {printed[0]} ")
    for warning in profile.warnings:
        assert warning in text
    assert "left out: no values n_9" in text
    assert "missing values 1 feature has missing values, most of all n_1" in text


def test_a_table_shows_its_first_rows(table):
    parsed = parse(table._repr_html_())
    names = list(table.features[:6])
    assert parsed.rows[0] == ["actor", "day", *names]
    first = table.frame.iloc[0]
    values = [format_value(first[name]) for name in names]
    assert parsed.rows[1] == [first["actor"], f"{first['day']:%Y-%m-%d}", *values]
    assert len(parsed.rows) == 6
    assert f"5 of {len(table):,} rows, 6 of {len(table.features)} features …" in parsed.text


def test_a_calibration_shows_its_amounts_and_what_was_chosen(table):
    study = ueba.calibrate(table, alerts_per_month=30)
    parsed, amounts = parse(study._repr_html_()), study.amounts()
    expected = [
        [f"{own.alerts_per_month:g}", f"{own.threshold:.4f}", f"{own.rows:,}", f"{own.share:.2%}"]
        for own in amounts.itertuples()
    ]
    assert parsed.rows[1:] == expected
    n = int((study.scores <= study.threshold).sum())
    assert f"Chosen: {n} rows, whose score is at most {format_value(study.threshold)}" in parsed.text
    assert "Chosen" not in repr_text(ueba.calibrate(table))


def test_drift_shows_the_features_that_drifted_most(seed):
    frame = actor_days(seed, n_days=60)
    table = ueba.read_table(frame, entity="actor", time="day")
    model = ueba.Model.fit(table, n_estimators=20)
    drift = model.drift(ueba.read_table(frame.assign(share_2=frame["share_2"] + 3), entity="actor", time="day"))
    parsed = parse(drift._repr_html_())
    assert parsed.text.startswith(f"Drift: {drift.verdict}; {len(frame):,} rows on 60 days: ")
    assert parsed.rows[1][:2] == ["share_2", f"{drift.features.psi['share_2']:.3f}"]
    assert parsed.rows[1][-1] == drift.features.verdict["share_2"]
    assert all(reason in parsed.text for reason in drift.reasons)


def test_decisions_show_those_that_hold(table):
    findings = ueba.detect(table, contamination=0.02)
    own = findings.frame["finding_id"].iloc[0]
    until = datetime.date.today() + datetime.timedelta(days=9)
    decisions = ueba.Decisions(
        [
            findings.decide(own, status="confirmed", note="first"),
            findings.decide(own, status="known-good", until=until, who="Ana", note="second"),
        ]
    )
    parsed = parse(decisions._repr_html_())
    assert parsed.text.startswith("Decisions: 2 decisions, 1 of them not replaced ")
    [row] = parsed.rows[1:]
    assert row[0].startswith(f"{own} (")
    assert row[1:3] == ["known-good", until.isoformat()]
    assert row[4:] == ["Ana", "second"]


def test_ranks_show_percentiles_that_are_rounded_down():
    reference = pd.DataFrame({"a": np.arange(100_000.0), "b": 1.0})
    ranks = rank_features(pd.DataFrame({"a": [99_998.0, -1.0], "b": [1.0, np.nan]}), reference, tail="both")
    parsed = parse(ranks._repr_html_())
    assert parsed.rows[1:] == [
        ["0", "a = 99,998 99.99, high", f"b = 1 {format_value(ranks.percentiles[0, 1])}, high"],
        ["1", "a = -1 100, low", "b = - no rank"],
    ]
    # Only the shown rows are ordered for it.
    assert ranks._order is None


def test_ranks_of_numbers_of_any_type_are_shown():
    rows = pd.DataFrame({"big": [2**63 - 1], "flag": [True], "nullable": pd.array([None], "Int64")})
    ranks = rank_features(rows, rows, nan_policy="omit")
    assert {cell.split(" =")[0] for cell in parse(ranks._repr_html_()).rows[1][1:]} == {"big", "flag", "nullable"}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_stream_is_shown_without_reading_rows(tmp_path, suffix, monkeypatch):
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]})
    path = tmp_path / f"rows.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    table = stream.open(path)
    monkeypatch.setattr(stream.StreamTable, "_open", lambda *_, **__: pytest.fail("rows were read"))
    monkeypatch.setattr(stream.StreamTable, "_engine", lambda *_, **__: pytest.fail("rows were read"))
    assert dict(parse(table._repr_html_()).rows) == {"source": str(path)}


def test_columns_of_an_arrow_table_are_shown():
    table = stream.open(pa.table({f"x{j}": pa.array([j], pa.int32()) for j in range(12)}))
    parsed = parse(table._repr_html_())
    assert parsed.rows[1:3] == [["column", "type"], ["x0", "int32"]]
    assert parsed.text.startswith("StreamTable: 12 columns, ")
    assert "10 of 12 columns …" in parsed.text


def test_a_large_explanation_and_large_ranks_are_shown_at_once(seed):
    """The first rows are shown, and the others are not computed."""
    X = np.random.default_rng(seed).normal(size=(3000, 30))
    forest = IsolationForest(n_estimators=5, random_state=0).fit(X)
    for item in (forest.explain(X, top=3), rank_features(X, X)):
        parsed = parse(item._repr_html_())
        assert len(parsed.rows) == 11
        assert "10 of 3,000 rows …" in parsed.text
