"""Decisions hide what is known, and nothing else."""

import datetime

import numpy as np
import pandas as pd
import pytest

from enron_runs import findings, mail, number_of
from isoxide import ueba
from isoxide.ueba._suppression import MAX_INCREASE, covered_features

TODAY = datetime.date(2026, 7, 10)
WHEN = datetime.datetime(2026, 7, 3, tzinfo=datetime.timezone.utc)
#: The finding that the tests decide about: its person has others, too.
ENTITY, DAY = "emp105", "2002-02-06"


@pytest.fixture(scope="module")
def found():
    return findings()


@pytest.fixture(scope="module")
def decided(found):
    return decide(found)


def decide(found, **arguments):
    finding = found.frame["finding_id"].iloc[number_of(found, ENTITY, DAY)]
    return found.decide(finding, **{"status": "known-good", "when": WHEN, **arguments})


def reapplied(found, *decisions, today=TODAY, **arguments):
    return found.apply(ueba.Decisions(decisions), today=today, **arguments)


def keys(found):
    return list(zip(found.frame["actor"], found.frame["day"].dt.strftime("%Y-%m-%d"), strict=True))


def test_a_decision_records_the_finding(found, decided):
    number = number_of(found, ENTITY, DAY)
    reached = {name for name, p in zip(found.features, found.percentiles[number], strict=True) if p >= 99}
    assert set(decided.features) == reached
    assert decided.features[0] == found.features[found.order[number, 0]]
    assert (decided.entity, decided.time, decided.until) == (ENTITY, DAY, datetime.date(2026, 10, 1))
    assert decided.score == found.frame["anomaly_score"].iloc[number]
    assert set(decide(found, cutoff=99.9).features) < reached
    assert decide(found, cutoff=100.0, until="2026-07-03").until == datetime.date(2026, 7, 3)
    assert decide(found, status="confirmed").until is None


def test_a_finding_is_named_by_the_start_of_its_identifier(found):
    first, second = found.frame["finding_id"].iloc[:2]
    assert found.decide(first[:6], status="open").id == first
    with pytest.raises(ValueError, match="give at least 6 digits"):
        found.decide(first[:5], status="open")
    with pytest.raises(ValueError, match=f"no finding has the identifier '{first[:11]}x'; did you mean '{first}'"):
        found.decide(first[:11] + "x", status="open")
    with pytest.raises(TypeError, match="finding must be the identifier"):
        found.decide(3, status="open")
    with pytest.raises(ValueError, match="until=2026-07-02 has passed"):
        decide(found, until="2026-07-02")
    with pytest.raises(ValueError, match="status is 'good'"):
        decide(found, status="good")
    twins = found.join(pd.DataFrame({"actor": found.frame["actor"].unique()}))
    twins.frame = twins.frame.assign(finding_id=[f"{first[:8]}{n:04x}" for n in range(len(twins))])
    with pytest.raises(ValueError, match="is the start of several identifiers"):
        twins.decide(first[:8], status="open")
    assert second != first


def test_a_known_finding_is_hidden_at_the_next_run(found, decided):
    applied = reapplied(findings(), decided)
    assert (len(applied), applied.n_hidden) == (len(found) - 1, 1)
    assert keys(applied.hidden) == [(ENTITY, DAY)]
    assert applied.hidden.statuses == ["known-good"]
    assert applied.hidden.decisions == [decided]
    assert (applied.unmatched, applied.expired) == ([], [])
    assert len(applied.hidden.hidden) == 0
    # Nothing vanishes: the rows are in every file, and marked.
    wide = applied.to_frame(hidden=True)
    assert wide["hidden_by"].tolist() == [""] * len(applied) + ["known-good until 2026-10-01"]
    assert wide["status"].tolist() == ["open"] * len(applied) + ["known-good"]
    assert sorted(wide["finding_id"]) == sorted(found.frame["finding_id"])
    assert len(applied.to_frame()) == len(applied)
    assert "## 1 hidden by 1 decision\n" in applied.to_markdown()
    assert "<summary>1 hidden by 1 decision</summary>" in applied.to_html()


def test_hidden_rows_are_marked_in_files(decided, tmp_path):
    applied = reapplied(findings(), decided)
    for name, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        frame = read(getattr(applied, f"to_{name}")(tmp_path / name))
        assert frame["hidden_by"].fillna("").tolist()[-1] == "known-good until 2026-10-01"
        assert len(frame) == len(applied) + 1
    loaded = ueba.read_findings(applied.to_json(tmp_path / "findings.json"))
    assert (loaded.judged, loaded.hidden.judged) == (applied.judged, applied.hidden.judged)
    assert loaded.review == applied.review
    pd.testing.assert_frame_equal(loaded.to_frame(hidden=True), applied.to_frame(hidden=True))
    assert (loaded.to_markdown(), loaded.to_html()) == (applied.to_markdown(), applied.to_html())


def test_a_finding_is_back_when_another_feature_rises(found, decided):
    number = number_of(found, ENTITY, DAY)
    name = next(name for name in ("gap_min", "n_cc", "first_hour", "unique_senders") if name not in decided.features)
    frame = mail().copy()
    row = (frame["actor"] == ENTITY) & (frame["day"] == DAY)
    assert row.sum() == 1
    frame[name] = frame[name].astype(float)
    frame.loc[row, name] = 10 * frame[name].max()
    changed = findings(frame)
    assert changed.percentiles[number_of(changed, ENTITY, DAY), found.features.index(name)] >= 99
    assert found.percentiles[number, found.features.index(name)] < 99
    applied = reapplied(changed, decided)
    assert applied.n_hidden == 0
    number = number_of(applied, ENTITY, DAY)
    assert (applied.states[number], applied.statuses[number]) == ("stronger", "open")
    assert f"{name} is unusual too" in applied.outgrown[number]
    assert applied.decisions[number] == decided
    assert applied.unmatched == []
    # At any cut-off that the feature reaches, the finding is there.
    assert (ENTITY, DAY) in keys(reapplied(changed, decided, cutoff=100.0))


def test_a_finding_is_back_when_its_score_rises(found, decided):
    lower = ueba.Decision(**{**vars(decided), "score": decided.score - MAX_INCREASE - 1e-9})
    applied = reapplied(found, lower)
    number = number_of(applied, ENTITY, DAY)
    assert applied.states[number] == "stronger"
    assert applied.outgrown[number].startswith("the score is 0.")
    still = ueba.Decision(**{**vars(decided), "score": decided.score - MAX_INCREASE + 1e-9})
    assert reapplied(found, still).n_hidden == 1
    # Without a score, any score is covered, and without features, any feature.
    assert reapplied(found, ueba.Decision(**{**vars(lower), "score": None})).n_hidden == 1
    everything = ueba.Decision(entity=ENTITY, status="known-good", when=WHEN)
    assert reapplied(found, everything).n_hidden == (found.frame["actor"] == ENTITY).sum() > 1


def test_a_finding_is_back_after_the_last_day(found, decided):
    assert reapplied(found, decided, today="2026-10-01").n_hidden == 1
    applied = reapplied(found, decided, today="2026-10-02")
    assert (applied.n_hidden, applied.expired, applied.unmatched) == (0, [decided], [])
    assert applied.states == [None] * len(found)
    assert reapplied(found, ueba.Decision(**{**vars(decided), "until": None}), today="2099-01-01").n_hidden == 1


def test_a_decision_about_another_person_hides_nothing(found, decided):
    other = ueba.Decision(**{**vars(decided), "entity": "emp001", "id": None})
    applied = reapplied(found, other)
    assert (applied.n_hidden, applied.unmatched) == (0, [other])
    # An identifier with the name of another person is a mistake.
    wrong = ueba.Decision(**{**vars(decided), "entity": "emp001"})
    applied = reapplied(found, wrong)
    assert (applied.n_hidden, applied.unmatched) == (0, [wrong])
    pd.testing.assert_frame_equal(applied.to_frame(), found.to_frame())


def test_a_decision_holds_for_other_days_of_the_same_person(found, decided):
    # Every feature of another finding of the person is covered.
    frame = found.frame
    others = [n for n in np.flatnonzero(frame["actor"] == ENTITY) if n != number_of(found, ENTITY, DAY)]
    reasons = [found.features[j] for j in covered_features(found, 99.0)[others[0]]]
    wider = ueba.Decision(**{**vars(decided), "features": reasons})
    applied = reapplied(found, wider)
    assert frame["finding_id"].iloc[others[0]] in applied.hidden.frame["finding_id"].tolist()
    # Without a common reason, a decision has nothing to do with a finding.
    elsewhere = ueba.Decision(entity=ENTITY, features=("is_weekend",), status="known-good", when=WHEN)
    untouched = [n for n in others if "is_weekend" not in [found.features[j] for j in covered_features(found, 99.0)[n]]]
    applied = reapplied(found, elsewhere)
    for n in untouched:
        key = (ENTITY, f"{frame['day'].iloc[n]:%Y-%m-%d}")
        assert applied.states[keys(applied).index(key)] is None


def test_reports_of_hidden_findings_only(found):
    everything = [ueba.Decision(entity=name, status="known-good", when=WHEN) for name in found.frame["actor"].unique()]
    applied = reapplied(found, *everything)
    assert (len(applied), applied.n_hidden) == (0, len(found))
    assert repr(applied) == f"Findings(0 rows of 0 entities, 33 features, {len(found)} hidden)"
    told = f"nothing new: {len(found)} hidden by {len(everything)} decisions, highest score 0.75 (emp105), threshold"
    assert told in applied.to_html()
    page = applied.to_markdown().replace("\\", "")
    assert f"All findings are known. {told}" in page
    assert "No row is an anomaly" not in page
    assert "No day has a score above the threshold" not in applied.to_html()


def test_labels_hide_nothing(found, decided):
    confirmed = ueba.Decision(**{**vars(decided), "status": "confirmed", "until": None})
    applied = reapplied(found, confirmed)
    number = number_of(applied, ENTITY, DAY)
    assert (applied.n_hidden, applied.statuses[number], applied.states[number]) == (0, "confirmed", None)
    assert applied.statuses.count("open") == len(found) - 1
    # A later line lifts an earlier one.
    later = ueba.Decision(**{**vars(decided), "status": "open", "when": WHEN + datetime.timedelta(1)})
    assert reapplied(found, decided, later).n_hidden == 0
    assert reapplied(found, later, decided).n_hidden == 1


def test_decisions_may_be_applied_again(found, decided):
    applied = reapplied(found, decided)
    assert reapplied(applied, decided).judged == applied.judged
    again = reapplied(applied)
    pd.testing.assert_frame_equal(again.to_frame(), found.to_frame())
    pd.testing.assert_frame_equal(again.timeline, found.timeline)
    # A hidden finding can be decided anew.
    assert decide(found).id == applied.decide(decided.id, status="open", when=WHEN).id
    assert applied.timeline["findings"].sum() == len(applied)


def test_hidden_findings_are_joined_and_ranked_with_the_others(found, decided):
    applied = reapplied(found, decided)
    users = pd.DataFrame({"actor": found.frame["actor"].unique()}).assign(team="x")
    joined = applied.join(users)
    assert joined.hidden.frame["team"].tolist() == ["x"]
    assert (len(joined), joined.n_hidden) == (len(applied), 1)
    table = ueba.read_table(mail(), entity="actor", time="day", exclude=["n_prior_days"])
    ranked = applied.rank_features(reference=table, tail="both")
    alone = found.rank_features(reference=table, tail="both")
    np.testing.assert_array_equal(ranked.hidden.percentiles[0], alone.percentiles[number_of(found, ENTITY, DAY)])
    pd.testing.assert_frame_equal(reapplied(ranked).to_frame(), alone.to_frame())


@pytest.mark.parametrize("method", ["to_markdown", "to_html", "show"])
@pytest.mark.parametrize(
    ("cutoff", "error"), [(float("nan"), ValueError), (100.5, ValueError), (-1, ValueError), ("99", TypeError)]
)
def test_reports_refuse_what_is_no_percentile(method, cutoff, error, found):
    with pytest.raises(error, match=r"cutoff.* a percentile from 0 to 100"):
        getattr(found, method)(cutoff=cutoff)


def test_wrong_arguments_are_refused(found, tmp_path):
    with pytest.raises(ValueError, match="cutoff=101 must be a percentile"):
        found.apply(ueba.Decisions(), cutoff=101)
    with pytest.raises(TypeError, match="today must be a day"):
        found.apply(ueba.Decisions(), today=20260701)
    with pytest.raises(FileNotFoundError):
        found.apply(tmp_path / "none.csv")


def test_a_file_may_be_applied(found, decided, tmp_path):
    path = ueba.Decisions.append(tmp_path / "decisions.csv", decided)
    applied = found.apply(path, today=TODAY)
    assert applied.n_hidden == 1
    assert (applied.review.source, applied.review.n_decisions, applied.review.today) == (str(path), 1, TODAY)
