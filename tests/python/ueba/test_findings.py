"""Test the columns, joins, ranks and selections of findings, and the formats that they are written in."""

import copy
import decimal
import json

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal
from scipy import stats

from isoxide import ueba
from isoxide.ueba._columns import RESULT_COLUMNS
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
    renamed = frame.assign(actor=frame["actor"].map(names)).rename(columns={"n_0": "=n|0", "share_1": "<b>share</b>"})
    return ueba.detect(ueba.read_table(renamed, entity="actor", time="day"), contamination=0.05)


def test_frame_has_every_anomaly_with_its_rank_among_all_rows_and_in_its_day(frame, findings):
    """This test computes every column from the scores of all rows, one finding at a time."""
    scores = findings.forest.decision_function(frame[findings.features])
    expected = sorted(np.flatnonzero(scores < 0), key=lambda row: (scores[row], -frame["day"][row].value))
    assert findings.frame.index.tolist() == expected
    assert len(expected) == pytest.approx(0.02 * len(frame), abs=1)
    for row, finding in zip(expected, findings.frame.itertuples(index=False), strict=True):
        actor, day = frame.loc[row, ["actor", "day"]]
        is_same_day = (frame["day"] == day).to_numpy()
        assert (finding.actor, finding.day) == (actor, day)
        assert finding.score == scores[row]
        assert finding.severity == stats.percentileofscore(-scores, -scores[row])
        assert finding.day_rank == 1 + np.sum(scores[is_same_day] < scores[row])
        assert finding.day_rows == np.sum(is_same_day)
        assert finding.first_seen == frame.loc[frame["actor"] == actor, "day"].min()
        assert (finding.rank_rows, finding.rank_among) == (len(frame), f"all {len(frame):,} rows")
    assert findings.frame["severity"].iloc[0] == 100


def test_timeline_has_every_day(frame, findings):
    scores = findings.forest.decision_function(frame[findings.features])
    assert findings.timeline["day"].tolist() == sorted(frame["day"].unique())
    for day in findings.timeline.itertuples():
        day_scores = scores[(frame["day"] == day.day).to_numpy()]
        expected = len(day_scores), day_scores.min(), np.sum(day_scores < 0)
        assert (day.rows, day.lowest, day.findings) == expected


def test_join_adds_the_columns_of_users(frame, findings):
    users = users_of(frame)
    joined = findings.join(users)
    assert joined.joined == ["email", "department"]
    assert joined.frame["email"].tolist() == [f"{actor}@example.org" for actor in findings.frame["actor"]]
    assert "email" not in findings.frame
    with pytest.warns(UserWarning, match="1 of .* entities of the findings are not in users"):
        current = findings.join(users[users["actor"] != findings.frame["actor"].iloc[0]], columns=["email"])
    assert current.frame["email"].isna().sum() == (findings.frame["actor"] == findings.frame["actor"].iloc[0]).sum()


def test_join_matches_numbers_with_their_text(frame, tmp_path):
    numbered = frame.assign(actor=frame["actor"].str[5:].astype(int))
    findings = ueba.detect(ueba.read_table(numbered, entity="actor", time="day"), contamination=0.02)
    users = pd.DataFrame({"id": [str(i) for i in range(25)], "email": [f"{i}@x" for i in range(25)]})
    users.to_csv(tmp_path / "users.csv", index=False)
    joined = findings.join(tmp_path / "users.csv", on="id")
    assert joined.frame["email"].tolist() == [f"{i}@x" for i in findings.frame["actor"]]


@pytest.mark.parametrize(
    ("change", "arguments", "expected_message"),
    [
        (
            lambda u: pd.concat([u, u.iloc[[4]]]),
            {},
            r"users has several rows of 'actor04' in 'actor', such as rows 4 and 25, counted from 0",
        ),
        (lambda u: u, {"on": "id"}, "users has no column 'id'; its columns are 'actor', 'email'"),
        (lambda u: u, {"columns": ["mail"]}, "users has no column 'mail'"),
        (lambda u: u.rename(columns={"email": "score"}), {}, "already have a column 'score'"),
        (lambda u: u.rename(columns={"email": "n_0"}), {}, "already have a column 'n_0'"),
        (lambda u: u.rename(columns={"email": "reasons"}), {}, "already have a column 'reasons'"),
        (lambda u: u.rename(columns={"email": "rank_among"}), {}, "already have a column 'rank_among'"),
    ],
)
def test_users_that_cannot_be_joined_are_refused(frame, findings, change, arguments, expected_message):
    with pytest.raises(ValueError, match=expected_message):
        findings.join(change(users_of(frame)), **arguments)


@pytest.mark.parametrize("arguments", [{"tail": "both"}, {"tail": "lower", "kind": "weak"}, {"groups": "actor"}])
def test_findings_that_are_ranked_again_equal_those_detected_with_the_options(frame, findings, arguments):
    table = ueba.read_table(frame, entity="actor", time="day")
    expected = ueba.detect(table, contamination=0.02, **arguments)
    ranked = findings.rank_features(table, **arguments)
    assert_array_equal(ranked.percentiles, expected.percentiles)
    assert_array_equal(ranked.order, expected.order)
    assert_array_equal(ranked.directions, expected.directions)
    assert ranked.manifest["ranking"] == expected.manifest["ranking"] != findings.manifest["ranking"]
    other = ueba.read_table(frame, entity="actor", time="day", exclude="zscore_*")
    with pytest.raises(ValueError, match="the findings do not come from this table"):
        findings.rank_features(other)


def test_csv_has_no_formulas(hostile, tmp_path):
    hostile.to_csv(tmp_path / "findings.csv")
    read = pd.read_csv(tmp_path / "findings.csv", dtype=str, keep_default_na=False)
    assert len(read) == len(hostile)
    for name in ("actor", "reasons"):
        assert not read[name].str.lstrip(" ").str.startswith(("=", "+", "-", "@", "\t", "\r")).any()
    assert "'=n|0" in read.columns
    # Numbers are not escaped, not even negative ones.
    assert_array_equal(read["score"].astype(float), hostile.frame["score"])


def test_parquet_has_the_wide_table_and_the_manifest(findings, tmp_path):
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
    text = findings.to_markdown(cutoff=99.99, always_show=())
    for row, rarity in zip(findings.frame.itertuples(), findings.rarity_texts(), strict=True):
        assert f"| {row.day:%Y-%m-%d} | {row.anomaly_score:.4f} | {rarity} | {row.band} |" in text


def test_markdown_orders_entities(findings):
    by_score, by_name = findings.to_markdown(), findings.to_markdown(order="entity")
    heads = [[line[3:] for line in text.splitlines() if line.startswith("## ")] for text in (by_score, by_name)]
    assert heads[0] == list(dict.fromkeys(findings.frame["actor"]))
    assert heads[1] == sorted(heads[0])
    with pytest.raises(ValueError, match="order='name' must be 'score' or 'entity'"):
        findings.to_markdown(order="name")


def test_an_existing_file_stays_if_writing_fails(findings, tmp_path, monkeypatch):
    path = tmp_path / "report.md"
    path.write_text("earlier")
    monkeypatch.setattr("isoxide._common.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        findings.to_markdown(path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


# Joining users: keys are compared as text, whatever their source and dtype


def detect(frame, **options):
    return ueba.detect(ueba.read_table(frame, entity="actor", time="day"), **{"contamination": 0.02, **options})


@pytest.fixture(scope="module")
def digits(frame):
    """Return findings whose entities are text of digits."""
    result = detect(frame)
    result.frame["actor"] = result.frame["actor"].str[5:].map(lambda text: str(int(text) + 1000)).astype(object)
    return result


NUMBERS = range(1000, 1025)
USER_TABLES = {
    "a file": lambda folder: write(folder / "u.csv", "actor,email\n" + "".join(f"{i},{i}@x\n" for i in NUMBERS)),
    "a file with a missing key": lambda folder: write(
        folder / "u.csv", "actor,email\n,nobody\n" + "".join(f"{i},{i}@x\n" for i in NUMBERS)
    ),
    "semicolons": lambda folder: write(folder / "u.csv", "email;actor\n" + "".join(f"{i}@x;{i}\n" for i in NUMBERS)),
    "a byte order mark": lambda folder: write(
        folder / "u.csv", "\ufeffactor,email\n" + "".join(f"{i},{i}@x\n" for i in NUMBERS)
    ),
    "quoted": lambda folder: write(
        folder / "u.csv", '"actor"\t"email"\n' + "".join(f'"{i}"\t"{i}@x"\n' for i in NUMBERS)
    ),
    "integers": lambda folder: pd.DataFrame({"actor": NUMBERS, "email": [f"{i}@x" for i in NUMBERS]}),
    "floats with a missing one": lambda folder: pd.DataFrame(
        {"actor": [*map(float, NUMBERS), np.nan], "email": [*(f"{i}@x" for i in NUMBERS), "nobody"]}
    ),
    "nullable integers": lambda folder: pd.DataFrame(
        {"actor": pd.array([*NUMBERS, None], dtype="Int64"), "email": [*(f"{i}@x" for i in NUMBERS), "nobody"]}
    ),
    "arrow": lambda folder: pa.table({"actor": [*NUMBERS, None], "email": [*(f"{i}@x" for i in NUMBERS), "nobody"]}),
    "polars": lambda folder: polars.DataFrame(
        {"actor": [*NUMBERS, None], "email": [*(f"{i}@x" for i in NUMBERS), "nobody"]}
    ),
    "decimals": lambda folder: pa.table(
        {"actor": pa.array(list(map(decimal.Decimal, NUMBERS)), pa.decimal128(20, 2)),
         "email": [f"{i}@x" for i in NUMBERS]}
    ),
    "parquet": lambda folder: parquet(
        folder, pa.table({"actor": [*NUMBERS, None], "email": [*(f"{i}@x" for i in NUMBERS), ""]})
    ),
    "categories": lambda folder: pd.DataFrame(
        {"actor": pd.Categorical([str(i) for i in NUMBERS]), "email": [f"{i}@x" for i in NUMBERS]}
    ),
}  # fmt: skip


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def parquet(folder, table):
    pq.write_table(table, folder / "u.parquet")
    return str(folder / "u.parquet")


@pytest.mark.parametrize("source_name", USER_TABLES)
def test_users_are_joined_from_every_source(digits, tmp_path, source_name):
    joined = digits.join(USER_TABLES[source_name](tmp_path), on="actor", columns=["email"])
    assert joined.frame["email"].tolist() == [f"{i}@x" for i in digits.frame["actor"]]
    joined.to_csv(tmp_path / "f.csv"), joined.to_parquet(tmp_path / "f.parquet"), joined.to_html()


def test_keys_match_only_in_the_same_spelling(frame, tmp_path):
    result = detect(frame)
    names = ["0001", "1", "null", "NA", "nan", "None", "9007199254740993", "1e3", "1.0", "TRUE"]
    result.frame["actor"] = (names * 9)[: len(result)]
    write(tmp_path / "u.csv", "actor,level\n" + "".join(f"{name},is {name}\n" for name in names))
    joined = result.join(tmp_path / "u.csv")
    assert joined.frame["level"].tolist() == [f"is {name}" for name in result.frame["actor"]]
    with pytest.warns(UserWarning, match="'0001'"):
        other = result.join(pd.DataFrame({"actor": [1, 9007199254740993], "level": ["one", "large"]}))
    levels = {"1": "one", "9007199254740993": "large"}
    assert [levels.get(name) for name in result.frame["actor"]] == [
        None if pd.isna(level) else level for level in other.frame["level"]
    ]


def test_missing_keys_match_nothing(frame):
    result = detect(frame)
    result.frame["actor"] = result.frame["actor"].astype(object)
    result.frame.iloc[0, result.frame.columns.get_loc("actor")] = None
    users = pd.DataFrame({"actor": [None, "", *sorted(frame["actor"].unique())], "email": "x"})
    joined = result.join(users)
    assert joined.frame["email"].isna().tolist() == [True] + [False] * (len(result) - 1)
    assert joined.to_markdown()


def test_join_warns_about_entities_without_a_user(frame, findings):
    users = users_of(frame)
    actors = list(dict.fromkeys(findings.frame["actor"]))
    respelled = users.assign(actor=[f"{name.upper()} " if name == actors[0] else name for name in users["actor"]])
    with pytest.warns(UserWarning, match=".+") as caught:
        findings.join(respelled[respelled["actor"] != actors[1]])
    assert str(caught[0].message) == (
        f"2 of {len(actors)} entities of the findings are not in users: '{actors[0]}', '{actors[1]}'; "
        "1 of them differ from one in users only in case or blanks"
    )
    with pytest.warns(UserWarning, match=".+") as caught:
        findings.join(pd.DataFrame({"actor": ["nobody"], "email": ["x"]}))
    assert f"{len(actors)} of {len(actors)} entities" in str(caught[0].message)
    assert str(caught[0].message).endswith(", ...")


def test_users_that_cannot_be_read_are_refused(findings, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        findings.join(tmp_path / "u.csv")
    (tmp_path / "u.csv").write_bytes(b"actor,email\n\xff\xfe,\n")
    with pytest.raises(ValueError, match=r"u\.csv is not UTF-8 text"):
        findings.join(tmp_path / "u.csv")
    write(tmp_path / "u.csv", "actor,email\na,b,c\n")
    with pytest.raises(ValueError, match=r"u\.csv: line 2 has 3 values, but the header has 2 names"):
        findings.join(tmp_path / "u.csv")
    write(tmp_path / "u.csv", "actor,actor\na,b\n")
    with pytest.raises(ValueError, match=r"u\.csv has several columns named 'actor'"):
        findings.join(tmp_path / "u.csv")
    with pytest.raises(TypeError, match="users must be a path or a pandas, polars or pyarrow frame"):
        findings.join({"actor": "email"})
    with pytest.raises(ValueError, match="users has no column 'actor'; its columns are 'actor;email'"):
        findings.join(write(tmp_path / "u.csv", "actor;email\na;b\n"), sep=",")


# Names: an exact name wins over a pattern, and the column names of results are reserved


def test_an_exact_name_wins_over_a_pattern(frame):
    named = frame.rename(columns={"n_0": "bytes [MB]", "n_1": "bytes M", "zscore_0": "z*", "zscore_1": "zz"})
    result = detect(named, zscores="z*", rules=[ueba.Flag(["bytes [MB]"]), ueba.ZScore(-9, columns="z*")])
    assert set(result.flags["feature"]) == {"bytes [MB]", "z*"}
    selected = result.selected(200, always_show=["bytes [MB]"])
    column = result.features.index("bytes [MB]")
    assert selected[:, column].sum() == (result.values[:, column] > 0).sum() == selected.sum()  # noqa: PD011
    # A pattern that is no name matches other columns.
    assert result.selected(200, always_show=["bytes [M]"])[:, result.features.index("bytes M")].any()
    last = result.features.index("z*")
    assert (result.order[:, -1] == last).all()


@pytest.mark.parametrize("name", RESULT_COLUMNS)
def test_columns_with_a_reserved_name_are_refused_before_a_fit(frame, name, monkeypatch):
    monkeypatch.setattr("isoxide.IsolationForest.fit", None)
    for column, role, remedy in (("n_0", "a feature", "exclude"), ("actor", "entity", "rename it")):
        table = frame.rename(columns={column: name})
        with pytest.raises(ValueError, match=rf"column '{name}' \({role}\) has the name .*{remedy}"):
            ueba.detect(ueba.read_table(table, entity=name if column == "actor" else "actor", time="day"))
    with pytest.raises(ValueError, match=rf"column '{name}' \(time\)"):
        ueba.detect(ueba.read_table(frame.rename(columns={"day": name}), entity="actor", time=name))


def test_wide_tables_have_each_column_once(findings, frame):
    columns = findings.join(users_of(frame)).to_frame().columns
    assert columns.is_unique
    # Only findings that are compared with rows of similar size have a note about it.
    assert {*RESULT_COLUMNS, *findings.features} - {"size_note"} <= set(columns)


# Ranks are among the rows that `rank_among` names


@pytest.fixture(scope="module")
def periods(seed):
    """Return an earlier and a later table, and the findings of the later one."""
    frame = actor_days(seed, n_days=80).assign(dept=lambda f: "dept" + f["actor"].str[-1])
    late = frame["day"] >= frame["day"].min() + pd.Timedelta("50D")
    old, new = (
        ueba.read_table(part.reset_index(drop=True), entity="actor", time="day") for part in (frame[~late], frame[late])
    )
    return old, new, ueba.detect(new, contamination=0.03)


def test_ranking_refuses_a_table_that_the_findings_do_not_come_from(periods):
    old, new, result = periods
    for other, reason in (
        (old, "rows instead of"),
        (ueba.read_table(new.frame.iloc[:-1], entity="actor", time="day"), "rows instead of"),
        (with_all_other_rows_changed(new, result), "are different|none of its rows has the values"),
        (with_one_finding_changed(new, result), "none of its rows has the values"),
        (ueba.read_table(new.frame, entity="actor", time="day", exclude="n_0"), "it has no feature 'n_0'"),
    ):
        with pytest.raises(
            ValueError, match=f"the findings do not come from this table.*({reason}).*pass it as reference="
        ):
            result.rank_features(other)
    with pytest.raises(ValueError, match="give the table that the findings come from"):
        result.rank_features()


def with_one_finding_changed(table, result):
    frame = table.frame.copy()
    frame.loc[result.frame.index[0], "share_0"] += 10**6
    return ueba.read_table(frame, entity="actor", time="day")


def with_all_other_rows_changed(table, result):
    frame = table.frame.copy()
    frame["share_0"] += ~frame.index.isin(result.frame.index)
    return ueba.read_table(frame, entity="actor", time="day")


def test_findings_are_matched_with_the_rows_of_their_table_in_any_order(periods, tmp_path, seed):
    _, new, result = periods
    shuffled = new.frame.sample(frac=1, random_state=seed % 2**31).reset_index(drop=True)
    table = ueba.read_table(shuffled, entity="actor", time="day")
    expected = ueba.detect(new, contamination=0.03, groups="dept", tail="both")
    for findings in (result, ueba.read_findings(result.to_json(tmp_path / "f.json"))):
        ranked = findings.rank_features(table, groups="dept", tail="both")
        for name in ("percentiles", "order", "group_of"):
            assert_array_equal(getattr(ranked, name), getattr(expected, name))
        assert ranked.frame["rank_among"].tolist() == expected.frame["rank_among"].tolist()
        assert ranked.to_markdown().split("## ")[1:] == expected.to_markdown().split("## ")[1:]


@pytest.mark.slow
@pytest.mark.parametrize("groups", [None, "actor", "dept"])
def test_ranks_among_another_table(periods, tmp_path, groups):
    """Each rank, median and p99 equals that of scipy and pandas on exactly the rows that `rank_among` names."""
    old, new, result = periods
    source = tmp_path / "earlier.csv"
    old.frame.to_csv(source, index=False)
    reference = ueba.read_table(source, entity="actor", time="day")
    table = new if groups == "dept" else None
    ranked = result.rank_features(table, reference=reference, groups=groups)
    values = result.values  # noqa: PD011
    for number, row in enumerate(ranked.frame.itertuples()):
        rows = reference.frame
        if groups is not None:
            rows = rows[rows[groups] == (row.actor if groups == "actor" else f"dept{row.actor[-1]}")]
        expected = {
            None: f"the {len(rows):,} rows of earlier.csv",
            "actor": f"the {len(rows):,} rows of earlier.csv of this actor",
            "dept": f"the {len(rows):,} rows of earlier.csv with dept 'dept{row.actor[-1]}'",
        }[groups]
        assert (row.rank_rows, row.rank_among) == (len(rows), expected)
        for j, name in enumerate(ranked.features):
            assert ranked.percentiles[number, j] == stats.percentileofscore(rows[name], values[number, j])
            for statistic, q in (("median", 0.5), ("p95", 0.95), ("p99", 0.99)):
                assert ranked.typical(statistic)[number, j] == rows[name].quantile(q)
    ranking = ranked.manifest["ranking"]
    assert (ranking["rows"], ranking["source"], ranking["sha256"]) == (len(reference), str(source), reference.checksum)
    assert "earlier.csv" in ranking["among"]
    assert "earlier.csv" in ranked.to_html()
    assert "earlier.csv" in ranked.to_markdown().replace("\\", "")
    assert ranked.to_frame()["rank_among"].str.contains("earlier.csv").all()
    reread = ueba.read_findings(ranked.to_json(tmp_path / "f.json"))
    assert reread.to_html() == ranked.to_html()
    # The findings are still matched with their table, though their typical values are now those of another one.
    assert_array_equal(ranked.rank_features(new).percentiles, result.percentiles)


def test_ranking_refuses_groups_and_references_with_missing_columns(periods):
    old, _, result = periods
    with pytest.raises(ValueError, match=r"groups='dept' is not a column of the findings; pass the table .* or join"):
        result.rank_features(reference=old, groups="dept")
    joined = result.join(old.frame[["actor", "dept"]].drop_duplicates())
    assert joined.rank_features(reference=old, groups="dept").frame["rank_among"].str.contains("with dept").all()
    without = ueba.read_table(old.frame.drop(columns="n_0"), entity="actor", time="day")
    with pytest.raises(ValueError, match="reference has no feature 'n_0'"):
        result.rank_features(reference=without)
    infinite = ueba.read_table(old.frame.assign(n_0=np.inf), entity="actor", time="day")
    with pytest.raises(ValueError, match="feature 'n_0' has infinite values"):
        result.rank_features(reference=infinite)


def test_typical_values_are_those_of_the_group(frame):
    named = frame.assign(dept=np.where(frame["actor"] < "actor12", "R&D", "<i>"))
    result = detect(named, groups="dept")
    for number, actor in enumerate(result.frame["actor"]):
        rows = named[(named["actor"] < "actor12") == (actor < "actor12")]
        label = "'R&D'" if actor < "actor12" else "'<i>'"
        assert result.frame["rank_among"].iloc[number] == f"the {len(rows)} rows with dept {label}"
        for j in result.order[number, :3]:
            name = result.features[j]
            assert result.typical("median")[number, j] == rows[name].quantile(0.5)
            assert result.typical("p99")[number, j] == rows[name].quantile(0.99)
    with pytest.raises(ValueError, match="statistic='mean' must be one of"):
        result.typical("mean")


@pytest.fixture(scope="module")
def newcomers(frame):
    """Return a table with three more rows of the lowest scores: an actor has two, another one, a department three."""
    old = frame.assign(dept="many")
    new = frame.iloc[[0, 1, 2]].assign(actor=["new", "new", "lone"], dept="few")
    for j, name in enumerate(("n_0", "n_3", "share_1")):
        new[name] = frame[name].max() * 2 + np.arange(3) + j
    new["zscore_2"] = 9.0
    return pd.concat([old, new.assign(day=[frame["day"].min(), frame["day"].max(), frame["day"].max()])])


@pytest.mark.parametrize(
    ("groups", "notes", "n_rows"),
    [
        ("actor", {"new": "no ranks: 2 days of history", "lone": "no ranks: 1 day of history"}, {"new": 2, "lone": 1}),
        (
            "dept",
            dict.fromkeys(["new", "lone"], "no ranks: 3 rows in the group with dept 'few'"),
            {"new": 3, "lone": 3},
        ),
    ],
)
def test_small_groups_give_no_ranks(newcomers, tmp_path, groups, notes, n_rows):
    result = detect(newcomers, groups=groups)
    small = result.frame["actor"].isin(["new", "lone"]).to_numpy()
    assert small.sum() == 3
    for actor, among, n in result.frame.loc[small, ["actor", "rank_among", "rank_rows"]].itertuples(index=False):
        assert (among, n) == (notes[actor], n_rows[actor])
    assert np.isnan(result.percentiles[small]).all()
    assert np.isnan(result.typical("p99")[small]).all()
    assert not np.isnan(result.percentiles[~small]).any()
    assert (result.directions[small] == 0).all()
    # The features of these rows are in the order of their ranks among all rows, and those that rules flag are shown.
    assert_array_equal(result.order[small], detect(newcomers).order[small])
    text, page = result.to_markdown().replace("\\", ""), result.to_html()
    csv = result.to_csv(tmp_path / "f.csv").read_text()
    document = result.to_json(tmp_path / "f.json").read_text()
    for actor, note in notes.items():
        assert note in text
        assert note.replace("'", "&#39;") in page
        assert note in csv
        assert note in document
        section = text.split(f"## {actor}")[1].split("## ")[0]
        for name in ("n_0", "n_3", "share_1", "zscore_2"):
            assert f"| {name} |" in section
        assert "nan" not in section
    assert not result.selected(0)[small].any()
    assert result.cutoff_table([0])["none"].tolist() == [3]
    assert result.feature_counts(0).max() == (~small).sum()
    # A group has ranks if it has `min_group` rows.
    with_ranks = detect(newcomers, groups=groups, min_group=min(n_rows.values()))
    assert not np.isnan(with_ranks.percentiles[small]).all()


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [(0, ValueError, "at least 1 row"), (2.0, TypeError, "must be an integer"), (True, TypeError, "an integer")],
)
def test_min_group_is_a_number_of_rows(frame, findings, value, error, message):
    with pytest.raises(error, match=f"min_group.*{message}"):
        detect(frame, groups="actor", min_group=value)
    with pytest.raises(error, match=f"min_group.*{message}"):
        findings.rank_features(ueba.read_table(frame, entity="actor", time="day"), min_group=value)


def test_rows_without_a_group_have_no_ranks(frame):
    result = detect(frame.assign(dept=np.where(frame["actor"] < "actor12", "a", None)), groups="dept")
    has_no_group = (result.frame["actor"] >= "actor12").to_numpy()
    assert set(result.frame["rank_among"][has_no_group]) == {"no ranks: no value in dept"}
    assert np.isnan(result.percentiles[has_no_group]).all()


# Limits and ties


def test_a_percentile_at_the_cutoff_is_selected(findings):
    result = copy.copy(findings)
    result.percentiles = np.full(findings.percentiles.shape, 98.0)
    result.percentiles[0, 0] = 99.0
    result.percentiles[1, 1] = np.nextafter(99.0, 0)
    assert np.argwhere(result.selected(99.0)).tolist() == [[0, 0]]
    table = result.cutoff_table([98.0, 99.0])
    assert table["mean"].tolist() == [len(result.features), 1 / len(result)]
    assert table["none"].tolist() == [0, len(result) - 1]


def test_of_equal_scores_the_latest_comes_first(frame):
    lowest = detect(frame).frame.index[0]
    copies = pd.concat([frame.loc[[lowest]]] * 4).assign(
        actor=["b", "a", "c", "d"], day=pd.to_datetime(["2025-03-03", "2025-03-05", "2025-03-01", "2025-03-04"])
    )
    result = detect(pd.concat([frame, copies], ignore_index=True), contamination=0.03)
    equal = result.frame[result.frame["actor"].isin(list("abcd"))]
    assert set(equal["score"]) == {equal["score"].iloc[0]}
    assert equal["actor"].tolist() == ["a", "d", "b", "c"]


# No findings


@pytest.mark.parametrize("arguments", [{"threshold": -0.9}, {"threshold": -0.9, "groups": "actor"}], ids=str)
def test_all_methods_work_without_findings(frame, tmp_path, arguments):
    table = ueba.read_table(frame.assign(why="text"), entity="actor", time="day")
    empty = ueba.detect(table, **arguments)
    assert len(empty) == 0
    assert repr(empty) == "Findings(0 rows of 0 entities, 14 features)"
    for name in ("values", "percentiles", "order", "directions"):
        assert getattr(empty, name).shape == (0, 14)
    assert empty.timeline["findings"].sum() == 0
    assert (empty.timeline["lowest"] >= 0).all()
    assert empty.manifest["anomalies"] == 0
    findings = ueba.detect(table, contamination=0.02)
    assert empty.to_frame().columns.tolist() == findings.to_frame().columns.tolist()
    assert empty.frame.dtypes.drop("rank_among").equals(findings.frame.dtypes.drop("rank_among"))
    pd.testing.assert_frame_equal(empty.reference, findings.reference)
    assert len(pd.read_csv(empty.to_csv(tmp_path / "f.csv"))) == 0
    assert pq.read_table(empty.to_parquet(tmp_path / "f.parquet")).num_rows == 0
    reread = ueba.read_findings(empty.to_json(tmp_path / "f.json"))
    text, page = empty.to_markdown(), empty.to_html()
    assert (reread.to_markdown(), reread.to_html()) == (text, page)
    assert "No row is an anomaly" in text
    assert "No findings" in page
    assert f"quiet: highest score {empty.manifest['highest']['anomaly_score']:.2f}" in page
    for report in (text, page):
        assert "why" in report
        assert "text" in report
    for result in (empty, reread):
        joined = result.join(users_of(frame))
        assert joined.to_frame().columns.tolist()[14:16] == ["email", "department"]
        ranked = result.rank_features(table, groups="actor")
        assert len(ranked.to_frame()) == 0
        assert len(result.rank_features(reference=table).frame) == 0
        assert result.group_by("day") == result.group_by("actor") == {}
        assert result.selected().shape == (0, 14)
        assert len(result.feature_counts()) == 0
        cutoffs = result.cutoff_table([95, 99])
        assert cutoffs["mean"].isna().all()
        assert cutoffs[["min", "none"]].to_numpy().tolist() == [[0, 0], [0, 0]]
        assert "none; quiet: highest score" in result._repr_html_()


@pytest.mark.parametrize("cutoff", [99.5, 100.0])
def test_reports_show_percentiles_from_99_and_weekends_by_default(findings, cutoff):
    for report in (findings.to_markdown, findings.to_html):
        assert report() == report(cutoff=99.0, always_show=("is_weekend",)) != report(cutoff=cutoff)
        assert report() != report(always_show=())
    assert_array_equal(findings.selected(), findings.selected(99.0, ()))
    assert findings.feature_counts().equals(findings.feature_counts(99.0, ()))


def test_the_cutoff_table_counts_features_per_finding(findings):
    table = findings.cutoff_table()
    assert table["cutoff"].tolist() == [95, 96, 97, 98, 99, *np.round(np.arange(99.1, 99.95, 0.1), 1), 99.99]
    for row in table.itertuples():
        counts = [sum(percentile >= row.cutoff for percentile in ranks) for ranks in findings.percentiles]
        assert row.mean == pytest.approx(sum(counts) / len(findings), rel=1e-12)
        assert (row.min, row.none) == (min(counts), counts.count(0))
