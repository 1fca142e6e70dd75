"""Rows are compared with rows of similar size: the choice of the size and its bands, ranks, models and refusals."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import percentileofscore

from isoxide import ueba
from isoxide.ueba._size import OctaveCounts, SizeBands, bands_of, size_of_frame
from ueba_tables import sized_days

NAMES = {"entity": "actor", "time": "day"}
COUNTS = ["n_reads", "n_files", "n_writes", "n_hosts", "n_tickets"]


def read(frame, **options):
    return ueba.read_table(frame, **NAMES, **options)


def lowest_sizes(sizes, min_rows=100):
    """Return the smallest size of each band but the lowest one, by counting with pandas."""
    octaves = sizes.dropna().map(lambda size: 0 if size < 1 else math.floor(math.log2(size)) + 1)
    rows, edges, n = octaves.value_counts(), [], 0
    for octave in range(64, -1, -1):
        n += rows.get(octave, 0)
        if n >= min_rows:
            edges.append(2 ** (octave - 1))
            n = 0
    return edges[:-1][::-1]


def bands_by_pandas(sizes, edges):
    """Return the number of the band of each row, NaN for a missing size."""
    return pd.cut(sizes, [-np.inf, *edges, np.inf], right=False, labels=False)


def assert_ranks_within_bands(ranked, rows, bands, reference, reference_bands, tail):
    """Compare percentiles and typical values of findings with those of scipy and pandas in the group of each row."""
    groups = dict(iter(reference.groupby(reference_bands)))
    typical = ranked.typical(len(rows.columns))
    for number, (_, row) in enumerate(rows.iterrows()):
        band = bands.iloc[number]
        if np.isnan(band):
            assert np.isnan(ranked.percentiles[number]).all()
            continue
        group = groups[band]
        assert ranked.rank_rows[number] == len(group)
        for j, name in enumerate(rows.columns):
            values = group[name].dropna().to_numpy()
            expected = percentileofscore(values, row[name])
            if tail == "both":
                expected = max(expected, percentileofscore(-values, -row[name]))
            if np.isnan(row[name]):
                expected = np.nan
            assert_array_equal(ranked.percentiles[number, j], expected)
            quantiles = [group[name].quantile(q) for q in (0.5, 0.95, 0.99)]
            assert_array_equal(typical[number, j], quantiles)


class Main:
    """Main ranks of findings, with the names that the ranks of a comparison have."""

    def __init__(self, findings):
        self.percentiles, self.rank_rows = findings.percentiles, findings.frame["rank_rows"].to_numpy()
        self.typical = lambda n: np.stack([findings.typical(q) for q in ("median", "p95", "p99")], axis=2)


def test_the_size_is_the_count_that_explains_the_others_best(seed):
    frame = sized_days(seed)
    bands = ueba.detect(read(frame), contamination=0.02, groups="size").size_bands
    correlations = frame[COUNTS].corr(method="spearman").clip(lower=0) ** 2
    means = (correlations.sum() - 1) / (len(COUNTS) - 1)
    assert bands.feature == means.idxmax() == "n_files"
    assert bands.explained == pytest.approx(means.max(), abs=1e-8)
    assert bands.n_counts == len(COUNTS)
    assert list(bands.edges) == lowest_sizes(frame["n_files"])


@pytest.mark.parametrize("tail", ["upper", "both"])
def test_ranks_and_typical_values_are_those_of_the_band(seed, tail):
    frame = sized_days(seed, missing=0.05)
    table = read(frame)
    findings = ueba.detect(table, contamination=0.03, groups="size", tail=tail)
    edges = lowest_sizes(frame["n_files"])
    assert list(findings.size_bands.edges) == edges
    bands = bands_by_pandas(frame["n_files"], edges)
    rows = findings.frame.index
    assert_ranks_within_bands(Main(findings), table.X.loc[rows], bands.loc[rows], table.X, bands, tail)
    expected = [
        "no ranks: no value in n_files"
        if np.isnan(bands[row])
        else f"the {(bands == bands[row]).sum():,} rows of similar size (n_files "
        f"{findings.size_bands.names[int(bands[row])]})"
        for row in rows
    ]
    assert findings.frame["rank_among"].tolist() == expected
    assert findings.ranking["among"] == "the rows of similar size (bands of n_files)"


def test_bands_have_min_group_rows_if_that_is_more(seed):
    frame = sized_days(seed)
    findings = ueba.detect(read(frame), contamination=0.02, groups="size", min_group=400)
    assert list(findings.size_bands.edges) == lowest_sizes(frame["n_files"], 400)
    assert findings.frame["rank_rows"].min() >= 400


def test_names_of_bands():
    bands = SizeBands("n", (1, 2, 4, 1024), 1, None)
    assert bands.names == ["0", "1", "2 to 3", "4 to 1,023", "1,024 or more"]
    values = [0, 1, 2, 3, 4, 1023, 1024, 2.0**70, np.nan]
    assert bands.labels(values) == [
        "0", "1", "2 to 3", "2 to 3", "4 to 1,023", "4 to 1,023", "1,024 or more", "1,024 or more", None,
    ]  # fmt: skip
    assert SizeBands("n", (8,), 1, None).names == ["at most 7", "8 or more"]


def test_counts_may_be_too_large_for_any_band_of_their_own(seed):
    """Bytes have dozens of octaves; all from 2 ** 62 on are one."""
    rng = np.random.default_rng(seed)
    size = np.floor(2.0 ** rng.uniform(0, 75, 1000))
    frame = pd.DataFrame({"bytes": size, "noise": rng.normal(size=1000)})
    counts = OctaveCounts(2)
    for start in range(0, 1000, 300):
        counts.add([frame[name].to_numpy()[start : start + 300] for name in frame])
    bands = bands_of(list(frame), counts, [frame[name].to_numpy() for name in frame], profile(), 20)
    assert (bands.feature, bands.n_counts, bands.explained) == ("bytes", 1, None)
    assert bands.edges[-1] <= 2**62
    assert "the only count" in bands.note()
    per_band = pd.Series(bands.labels(size)).value_counts()
    assert per_band.min() >= 100


def test_a_model_and_findings_of_huge_counts_are_read_again(seed, tmp_path):
    """An edge of 2 ** 63 would be no integer of 64 bits, which files of models and findings refuse."""
    frame = sized_days(seed, n=600)[["actor", "day", "n_files"]]
    frame["n_files"] = 2.0 ** np.random.default_rng(seed).integers(57, 75, 600)
    table = read(frame)
    model = ueba.Model.fit(table, contamination=0.05, groups="size", n_estimators=5)
    assert max(model._data.size.edges) == 2**62
    again = ueba.Model.load(model.save(tmp_path / "model"))
    assert again._data.size == model._data.size
    for findings in (ueba.detect(table, contamination=0.05, groups="size"), again.detect(table)):
        stored = ueba.read_findings(findings.to_json(tmp_path / "findings.json"))
        assert stored.size_bands == findings.size_bands
        assert stored.to_frame()["size_note"].tolist() == findings.to_frame()["size_note"].tolist()


def profile(**names):
    frame = pd.DataFrame({"actor": "a", "day": pd.date_range("2025-01-01", periods=3), "x": [1, 5, 2]})
    own = read(frame).profile
    for name, value in names.items():
        object.__setattr__(own, name, value)
    return own


@pytest.mark.parametrize("kind", ["growing", "id_like", "label_like"])
def test_features_that_grow_or_name_rows_tell_no_size(seed, kind):
    frame = sized_days(seed)[COUNTS]
    assert size_of_frame(frame, profile(), 20).feature == "n_files"
    assert size_of_frame(frame, profile(**{kind: ["n_files"]}), 20).feature != "n_files"


def test_a_count_that_falls_with_the_others_tells_no_size(seed):
    frame = sized_days(seed)[COUNTS]
    frame = frame.assign(minutes_between=5000 - frame["n_files"])[["minutes_between", *COUNTS]]
    assert size_of_frame(frame, profile(), 20).feature == "n_files"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns=COUNTS), "needs a count, and the table has none"),
        (lambda f: f.assign(**{name: f[name] + 0.5 for name in COUNTS}), "needs a count, and the table has none"),
        (lambda f: f.assign(**{name: f[name] - 5 for name in COUNTS}), "needs a count, and the table has none"),
        (lambda f: f.assign(**{name: f[name].clip(upper=1) for name in COUNTS}), "needs a count, and the table has"),
        (lambda f: f.assign(**dict.fromkeys(COUNTS, 7)), "1,800 values of 'n_reads', .* make only 1; leave groups out"),
        (lambda f: f.assign(**{name: 8 + f[name] % 8 for name in COUNTS}), "at least two bands of 100 rows"),
        (lambda f: f.head(150), "needs at least two bands of 100 rows, but the 150 values of 'n_files'"),
        (lambda f: f.assign(size=f["n_files"]), "groups='size' is ambiguous: .* has a column 'size'; rename"),
        (lambda f: f.assign(size="large"), "groups='size' is ambiguous: .* has a column 'size'; rename"),
    ],
)  # fmt: skip
def test_refusals(seed, change, message):
    table = read(change(sized_days(seed)))
    with pytest.raises(ValueError, match=message):
        ueba.detect(table, contamination=0.02, groups="size", train_on_this=True)
    with pytest.raises(ValueError, match=message):
        ueba.Model.fit(table, contamination=0.02, groups="size", n_estimators=5, train_on_this=True)


def test_a_column_called_size_is_still_a_feature(seed):
    """The name matters only where it is ambiguous."""
    frame = sized_days(seed).rename(columns={"n_files": "size"})
    findings = ueba.detect(read(frame), contamination=0.02)
    assert "size" in findings.features
    assert findings.size_bands is None
    by_files = ueba.detect(read(frame.rename(columns={"size": "files"})), contamination=0.02, groups="size")
    assert by_files.size_bands.feature == "files"


def test_a_new_day_is_compared_with_the_bands_of_the_model(seed, tmp_path):
    frame = sized_days(seed, missing=0.05)
    is_old = frame["day"] < "2025-02-20"
    old, new = frame[is_old], frame[~is_old].reset_index(drop=True)
    # A size that no training row has belongs to the highest band.
    new.loc[0, ["n_files", "n_reads", "n_writes", "n_tickets"]] = 10**6
    trained = ueba.Model.fit(read(old), contamination=0.05, groups="size", n_estimators=30)
    model = ueba.Model.load(trained.save(tmp_path / "model"))
    assert model.id == trained.id
    table = read(new)
    findings = model.detect(table)
    edges = lowest_sizes(old["n_files"])
    assert list(findings.size_bands.edges) == edges
    assert findings.manifest["model"]["size"]["feature"] == "n_files"
    assert list(findings.comparisons) == ["size", "history"]
    rows = table.X.loc[findings.frame.index, model.features]
    assert_ranks_within_bands(
        findings.comparisons["size"], rows, bands_by_pandas(rows["n_files"], edges),
        old[model.features], bands_by_pandas(old["n_files"], edges), "upper",
    )  # fmt: skip
    among = findings.comparisons["size"].rank_among
    top = findings.frame.index.get_loc(0)
    assert among[top].endswith(f"rows of the model of similar size (n_files {edges[-1]:,} or more)")
    # A file of findings has the bands, too.
    again = ueba.read_findings(findings.to_json(tmp_path / "findings.json"))
    assert again.size_bands == findings.size_bands
    assert again.to_frame()["size_note"].tolist() == findings.to_frame()["size_note"].tolist()


def test_a_model_whose_groups_were_a_column_called_size_is_read_as_before(seed, tmp_path):
    """Only bands that are stored in the model are bands."""
    frame = sized_days(seed).assign(team=lambda f: np.where(f.index % 2, "small", "large"))
    model = ueba.Model.fit(read(frame), contamination=0.05, groups="team", n_estimators=5)
    document = (model.save(tmp_path) / "model.json").read_text()
    assert '"size"' not in document
    assert list(model.detect(read(frame)).comparisons) == ["peers", "history"]


def test_findings_are_ranked_again_among_rows_of_similar_size(seed, tmp_path):
    frame = sized_days(seed)
    table = read(frame)
    findings = ueba.detect(table, contamination=0.02)
    expected = ueba.detect(table, contamination=0.02, groups="size")
    again = findings.rank_features(table, groups="size")
    assert_array_equal(again.percentiles, expected.percentiles)
    assert again.frame["rank_among"].tolist() == expected.frame["rank_among"].tolist()
    assert again.size_bands == expected.size_bands
    assert findings.size_bands is None
    assert again.rank_features(table).size_bands is None
    # Another table has bands of its own.
    other = read(sized_days(seed + 1))
    among_others = findings.rank_features(reference=other, groups="size")
    assert list(among_others.size_bands.edges) == lowest_sizes(other.frame["n_files"])
    assert all("rows of the reference table of similar size" in own for own in among_others.frame["rank_among"])
    with pytest.raises(ValueError, match=r"is ambiguous: .* but reference has a column 'size'"):
        findings.rank_features(reference=read(frame.assign(size=1)), groups="size")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature": "nowhere"}, "none of the features"),
        ({"feature": 7}, "must be text"),
        ({"edges": []}, "must be a list of powers of 2"),
        ({"edges": [3]}, "powers of 2 in ascending order"),
        ({"edges": [4, 2]}, "powers of 2 in ascending order"),
        ({"edges": [0, 2]}, "powers of 2 in ascending order"),
        ({"edges": [True]}, "powers of 2 in ascending order"),
        ({"n_counts": 0}, "must be an integer of at least 1"),
        ({"explained": 2.0}, "must be from 0 to 1"),
        ({"other": 1}, "must have the entries feature, edges, n_counts, explained"),
    ],
)
def test_bands_of_a_damaged_document_are_refused(change, message):
    document = SizeBands("n", (1, 8), 3, 0.5).to_dict()
    assert SizeBands.from_dict(document, ["n"]) == SizeBands("n", (1, 8), 3, 0.5)
    with pytest.raises(ValueError, match=message):
        SizeBands.from_dict({**document, **change}, ["n"])
