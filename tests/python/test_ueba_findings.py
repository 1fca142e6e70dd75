"""Findings: what they tell, and the ways they are handed on."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from isoxide import ueba
from ueba_tables import actor_days, users_of

HOSTILE = ['=cmd()|"x"', "+1", "-1", "@sum", "\tx", "\rx", " =1", 'a"b,c', "<script>", "a|b\nc", "\u202eevil"]


@pytest.fixture(scope="module")
def frame(seed):
    return actor_days(seed)


@pytest.fixture(scope="module")
def findings(frame):
    return ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.02)


@pytest.fixture
def hostile(frame):
    names = dict(zip(sorted(frame["actor"].unique()), HOSTILE * 9, strict=False))
    strange = frame.assign(actor=frame["actor"].map(names)).rename(columns={"n_0": "=n|0", "share_1": "<b>share</b>"})
    return ueba.detect(ueba.read_table(strange, entity="actor", time="day"), contamination=0.05)


def test_frame(frame, findings):
    scores = findings.frame["score"].to_numpy()
    assert (np.diff(scores) >= 0).all()
    assert (scores < 0).all()
    assert findings.frame["severity"].between(97, 100).all()
    assert findings.frame["severity"].iloc[0] == findings.frame["severity"].max()
    assert findings.frame["day_rank"].min() == 1
    days = frame.groupby("day").size()
    assert findings.frame["day_rows"].tolist() == days[findings.frame["day"]].tolist()
    first = frame.groupby("actor")["day"].min()
    assert findings.frame["first_seen"].tolist() == first[findings.frame["actor"]].tolist()
    assert findings.timeline["findings"].sum() == len(findings)


def test_join(frame, findings):
    users = users_of(frame)
    joined = findings.join(users)
    assert joined.joined == ["email", "department"]
    assert joined.frame["email"].tolist() == [f"{actor}@example.org" for actor in findings.frame["actor"]]
    assert "email" not in findings.frame
    with pytest.warns(UserWarning, match="1 of .* entities of the findings are not in users"):
        some = findings.join(users[users["actor"] != findings.frame["actor"].iloc[0]], columns=["email"])
    assert some.frame["email"].isna().sum() == (findings.frame["actor"] == findings.frame["actor"].iloc[0]).sum()


def test_join_with_numbers_here_and_text_there(frame, tmp_path):
    numbered = frame.assign(actor=frame["actor"].str[5:].astype(int))
    findings = ueba.detect(ueba.read_table(numbered, entity="actor", time="day"), contamination=0.02)
    users = pd.DataFrame({"id": [str(i) for i in range(25)], "email": [f"{i}@x" for i in range(25)]})
    users.to_csv(tmp_path / "users.csv", index=False)
    joined = findings.join(tmp_path / "users.csv", on="id")
    assert joined.frame["email"].tolist() == [f"{i}@x" for i in findings.frame["actor"]]


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        (
            lambda u: pd.concat([u, u.iloc[[4]]]),
            {},
            r"users has several rows of 'actor04' in 'actor', such as rows 4 and 25 \(the first is 0\)",
        ),
        (lambda u: u, {"on": "id"}, "users has no column 'id'; there are 'actor', 'email'"),
        (lambda u: u, {"columns": ["mail"]}, "users has no column 'mail'"),
        (lambda u: u.rename(columns={"email": "score"}), {}, "have a column 'score' already"),
        (lambda u: u.rename(columns={"email": "n_0"}), {}, "have a column 'n_0' already"),
        (lambda u: u.rename(columns={"email": "reasons"}), {}, "have a column 'reasons' already"),
        (lambda u: u.rename(columns={"email": "rank_among"}), {}, "have a column 'rank_among' already"),
    ],
)
def test_join_refusals(frame, findings, change, arguments, words):
    with pytest.raises(ValueError, match=words):
        findings.join(change(users_of(frame)), **arguments)


@pytest.mark.parametrize("arguments", [{"tail": "two"}, {"tail": "lower", "kind": "weak"}, {"groups": "actor"}])
def test_other_ranks_of_the_same_findings(frame, findings, arguments):
    table = ueba.read_table(frame, entity="actor", time="day")
    expected = ueba.detect(table, contamination=0.02, **arguments)
    again = findings.rank_features(table, **arguments)
    assert_array_equal(again.percentiles, expected.percentiles)
    assert_array_equal(again.order, expected.order)
    assert_array_equal(again.directions, expected.directions)
    assert again.manifest["ranking"] == expected.manifest["ranking"] != findings.manifest["ranking"]
    other = ueba.read_table(frame, entity="actor", time="day", exclude="zscore_*")
    with pytest.raises(ValueError, match="table is not the one"):
        findings.rank_features(other)


def test_csv_has_no_formulas(hostile, tmp_path):
    hostile.to_csv(tmp_path / "findings.csv")
    read = pd.read_csv(tmp_path / "findings.csv", dtype=str, keep_default_na=False)
    assert len(read) == len(hostile)
    for name in ("actor", "reasons"):
        assert not read[name].str.lstrip(" ").str.startswith(("=", "+", "-", "@", "\t", "\r")).any()
    assert "'=n|0" in read.columns
    # Numbers stay numbers, negative ones too.
    assert_array_equal(read["score"].astype(float), hostile.frame["score"])


def test_parquet(findings, tmp_path):
    table = pq.read_table(findings.to_parquet(tmp_path / "findings.parquet"))
    assert json.loads(table.schema.metadata[b"isoxide"]) == findings.manifest
    pd.testing.assert_frame_equal(table.to_pandas(), findings.to_frame().reset_index(drop=True), check_dtype=False)


def test_reasons_are_in_the_wide_table(findings):
    wide = findings.to_frame()
    for row, reasons in enumerate(wide["reasons"]):
        flags = findings.flags[findings.flags["row"] == row]
        assert reasons == "; ".join(f"{flag.feature} {flag.rule}" for flag in flags.itertuples())
    assert_array_equal(wide[findings.features], findings.values)


def test_every_finding_is_in_the_report(findings):
    text = findings.to_markdown(cutoff=99.99, always=())
    for row in findings.frame.itertuples():
        assert f"| {row.day:%Y-%m-%d} | {row.score:.6f} |" in text


def test_markdown_orders_entities(findings):
    by_score, by_name = findings.to_markdown(), findings.to_markdown(order="entity")
    heads = [[line[3:] for line in text.splitlines() if line.startswith("## ")] for text in (by_score, by_name)]
    assert heads[0] == list(dict.fromkeys(findings.frame["actor"]))
    assert heads[1] == sorted(heads[0])
    with pytest.raises(ValueError, match="order='name' must be 'score' or 'entity'"):
        findings.to_markdown(order="name")


def test_nothing_is_half_written(findings, tmp_path, monkeypatch):
    path = tmp_path / "report.md"
    path.write_text("earlier")
    monkeypatch.setattr("isoxide._files.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        findings.to_markdown(path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]
