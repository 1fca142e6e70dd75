"""Test that every JSON file is either read and can be written in every format, or refused with a message."""

import copy
import json
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from isoxide import ueba
from isoxide.ueba import _document
from isoxide.ueba._findings import Findings
from ueba_tables import actor_days, users_of

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
#: ISOXIDE_TEST_EXAMPLES=5000 tries more.
MAX_EXAMPLES = int(os.environ.get("ISOXIDE_TEST_EXAMPLES", "200"))
HOSTILE = [
    "NaT", "nan", "", " ", "\x1b[31m", "a\nb", "<img src=x onerror=alert(1)>", "\ud800", "2025-13-01",
    "2025-02-30", "0000-00-00",
    "9999-12-31", "0001-01-01", "2025-01-01T00:00:00+99:99", "score", "x" * 10_000, "[[[[", "e1", "../../etc",
    float("inf"), float("-inf"), float("nan"), 1e308, -1e308, 5e-324, 10**400, -(10**400), 2**63, -1, 0, 1, 0.5, 1.5,
    None, True, False, [], {}, [[]], [None], {"a": 1}, "ab", ["a", "a"], [1, 2, 3], {"notes": "x"}, [10**400], -0.0,
]  # fmt: skip
JSON = st.sampled_from(HOSTILE) | st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def findings(seed):
    frame = actor_days(seed, n_actors=6, n_days=50)
    frame["role"] = "text"
    table = ueba.read_table(frame, entity="actor", time="day")
    result = ueba.detect(table, contamination=0.02, groups="actor", min_group=44).join(users_of(frame))
    result.manifest["profile"]["notes"] = ["three cells of 'n_0' are no numbers"]
    return result


@pytest.fixture(scope="module")
def document(findings):
    return json.loads(_document.dump(findings))


def nodes(value, path=()):
    """Yield the path of every value in a document."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from nodes(value[key], (*path, key))


def replaced(document, path, value):
    """Return a copy with another value at a path; the value `...` removes the entry."""
    *parents, last = path
    changed = copy.deepcopy(document)
    parent = changed
    for key in parents:
        parent = parent[key]
    if value is ...:
        del parent[last]
    else:
        parent[last] = value
    return changed


def read_or_refused(document, folder):
    """Return the message of the refusal, or None if the document is read and written in every format."""
    path = folder / "any.json"
    path.write_text(json.dumps(document))
    try:
        result = ueba.read_findings(path)
    except ValueError as error:
        message = str(error)
        assert message.startswith(str(path))
        assert "\n" not in message
        assert "\x1b" not in message
        assert len(message) < 500
        return message
    text, page = result.to_markdown(), result.to_html()
    assert "\x1b" not in text
    assert "<img" not in re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    assert re.fullmatch(r"# Findings: [0-9\\-]{12} to [0-9\\-]{12}", text.splitlines()[0])
    result.to_csv(folder / "any.csv")
    assert len(ueba.read_findings(result.to_json(folder / "copy.json"))) == len(result)
    result.cutoff_table(), result.feature_counts(), result.group_by("day"), repr(result), result._repr_html_()
    return None


@pytest.mark.slow
@settings(
    max_examples=MAX_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_change_is_refused_or_harmless(document, tmp_path, data):
    # First a shape is drawn, then a path, since most paths lead to numbers.
    paths_by_shape = {}
    for path in nodes(document):
        if path:
            paths_by_shape.setdefault(tuple("*" if isinstance(key, int) else key for key in path), []).append(path)
    path = data.draw(st.sampled_from(data.draw(st.sampled_from(sorted(paths_by_shape.values(), key=str)))))
    read_or_refused(replaced(document, path, data.draw(JSON | st.just(...))), tmp_path)


def shape(path):
    return ".".join("0" if isinstance(key, int) else key for key in path)


def test_fields_with_a_wrong_type_are_refused(document, tmp_path):
    # Each of these fields refuses every value of a wrong type.
    path_of_shape = {}
    for path in nodes(document):
        if path and (len(path) < 2 or path[:2] not in [("manifest", "profile"), ("manifest", "forest")]):
            path_of_shape.setdefault(shape(path), path)
    must_be_refused = {
        "manifest.first_day", "manifest.last_day", "manifest.days", "manifest.offset", "features", "joined", "entity",
        "findings.0.score", "findings.0.values", "findings.0.order", "findings.0.time", "findings.0.first_seen",
        "findings.0.day_rank", "findings.0.flags", "timeline", "timeline.0.day", "timeline.0.lowest", "reference",
    }  # fmt: skip
    assert must_be_refused <= set(path_of_shape)
    for name in must_be_refused:
        for value in ("NaT", float("inf"), 10**400, None, "\ud800", "<img>\n", {"a": "b"}):
            if name == "entity" and value in ("NaT", "<img>\n"):
                continue  # valid names of a column
            message = read_or_refused(replaced(document, path_of_shape[name], value), tmp_path)
            assert message is not None, (name, value)


@pytest.mark.parametrize(
    ("path", "value", "expected_message"),
    [
        (("joined",), "email", "'joined' is 'email', but must be a list"),
        (("features",), [], "'features' is empty"),
        (("timeline",), [], "'timeline' is empty"),
        (("manifest", "first_day"), "<img src=x>", "'first_day' is '<img src=x>', but must be a day in ISO 8601"),
        (("manifest", "last_day"), "2025-02-30", "'last_day' is '2025-02-30', but must be a day"),
        (("manifest", "rows"), True, "'rows' is True, but must be an integer of at least 1"),
        (("manifest", "offset"), 10**400, "'offset' contains a number that is too large"),
        (("manifest", "notes"), "x", "'notes' is 'x', but must be a list"),
        (("manifest", "profile", "notes"), [1], "'notes' is 1, but must be text"),
        (("manifest", "profile", "left_out"), {"a": 1}, "'left_out' is 1, but must be text"),
        (("entity",), "score", "several columns have the name 'score'"),
        (("time",), "n_0", "several columns have the name 'n_0'"),
        (("findings", 0, "percentiles", 0), 101, "'percentiles' is 101, but must be from 0 to 100"),
        (("findings", 0, "order", 0), 0.0, "'order' is 0.0, but must be an integer"),
        (("findings", 0, "order"), [], "'order' must be a list of 14 numbers"),
        (("findings", 0, "directions", 0), 2, "'directions' is 2, but must be an integer from -1 to 1"),
        (("findings", 0, "rank_among"), 5, "'rank_among' is 5, but must be text"),
        (("findings", 0, "group"), 99, "'group' is 99, but must be an integer from -1"),
        (("findings", 0, "joined", "email"), [1], "'joined' is a list, but must be a number"),
        (("time_zone",), "Europe/Nowhere", "which is not a known time zone"),
        (("version",), 5, "has format version 5; this release reads versions 1 to 4"),
        (("findings", 0, "id"), "0" * 12, "'id' is '000000000000', but must be"),
        (("findings", 0, "band"), "huge", "'band' is 'huge', but must be empty, minor, major, critical"),
        (("findings", 0, "anomaly_score"), None, "'anomaly_score' is None, but must be a number"),
        (("comparisons",), [], "'comparisons' must be an object"),
        (("comparisons",), {"peers": []}, "it lacks 'peers'"),
        (("timeline", 0, "highest"), "high", "'highest' is 'high', but must be a number"),
    ],
)
def test_invalid_fields_are_refused_by_name(document, tmp_path, path, value, expected_message):
    message = read_or_refused(replaced(document, path, value), tmp_path)
    assert message is not None
    assert re.search(expected_message, message), message


def test_order_names_each_feature_once(document, tmp_path):
    n = len(document["features"])
    message = read_or_refused(replaced(document, ("findings", 0, "order"), [0] * n), tmp_path)
    assert "'order' must name each feature once" in message


def refusal_of_file(path):
    with pytest.raises(ValueError, match=r".+") as caught:
        ueba.read_findings(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'["]",', b'{"\\"]":[', b'[ "\\\\", '])
def test_deep_json_is_refused_before_it_is_parsed(tmp_path, opening):
    path = tmp_path / "deep.json"
    path.write_bytes(opening * 200_000)
    assert "nested more than 100 deep" in refusal_of_file(path)


def test_numbers_of_a_million_digits_are_not_computed(tmp_path):
    path = tmp_path / "long.json"
    path.write_text(f'{{"format": "isoxide-findings", "version": {"9" * 10**6}}}')
    assert "a number has 1,000,000 digits" in refusal_of_file(path)


@pytest.mark.parametrize("options", [{"threshold": np.float32(-0.01)}, {"alerts_per_month": np.int64(9)}], ids=str)
def test_numpy_numbers_are_written(seed, tmp_path, options):
    table = ueba.read_table(actor_days(seed), entity="actor", time="day")
    result = ueba.detect(table, **options)
    name, value = next(iter(options.items()))
    assert ueba.read_findings(result.to_json(tmp_path / "f.json")).manifest[name] == value


def test_brackets_in_names_do_not_count_as_nesting(findings, tmp_path):
    changed = copy.copy(findings)
    changed.frame = findings.frame.assign(email='[[{"' * 1000 + "\\")
    assert (
        ueba.read_findings(changed.to_json(tmp_path / "f.json")).frame["email"].tolist()
        == changed.frame["email"].tolist()
    )


@pytest.mark.parametrize(
    "text", ["", "{", '"', '"\\', "NaN", "[1e999]", "\xff", '{"format": "isoxide-findings"}', "[]"]
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_bytes(text.encode("latin-1"))
    refusal_of_file(path)


def test_pipes_devices_folders_and_large_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        assert "is not a regular file" in refusal_of_file(path)
    with pytest.raises(IsADirectoryError):
        ueba.read_findings(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ueba.read_findings(tmp_path / "nothing.json")
    with open(tmp_path / "large.json", "wb") as file:
        file.truncate(2**33)
    assert "bytes, but files of findings have at most" in refusal_of_file(tmp_path / "large.json")


def test_the_numbers_of_entries_are_limited(document, tmp_path, monkeypatch):
    for name, expected_message in (("_MAX_FINDINGS", "'findings' has"), ("_MAX_DAYS", "'timeline' has")):
        with monkeypatch.context() as patch:
            patch.setattr(_document, name, 2)
            assert expected_message in read_or_refused(document, tmp_path)
    monkeypatch.setattr("isoxide.ueba._fields._MAX_ENTRIES", 20)
    assert "'manifest' has more than 20 entries" in read_or_refused(document, tmp_path)


def test_findings_from_a_file_equal_the_written_ones(findings, tmp_path):
    loaded = ueba.read_findings(findings.to_json(tmp_path / "f.json"))
    pd.testing.assert_frame_equal(loaded.frame, findings.frame, check_dtype=False, check_index_type=False)
    for name in ("values", "percentiles", "order", "directions", "group_of", "group_typical"):
        assert_array_equal(getattr(loaded, name), getattr(findings, name))
    for name in ("reference", "flags", "timeline"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(findings, name), check_dtype=False)
    assert (loaded.to_markdown(), loaded.to_html()) == (findings.to_markdown(), findings.to_html())


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "+05:30"])
def test_times_keep_their_zone(seed, tmp_path, zone):
    # The table contains the day on which the clock changes.
    frame = actor_days(seed)
    frame["day"] = (frame["day"] + pd.Timedelta("40D")).dt.tz_localize(zone)
    result = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.1)
    loaded = ueba.read_findings(result.to_json(tmp_path / "f.json"))
    pd.testing.assert_frame_equal(loaded.frame, result.frame, check_dtype=False, check_index_type=False)
    # Days must have no time zone; pandas would consider equal instants in any zone as equal.
    for days in (loaded.frame["first_seen"], loaded.timeline["day"]):
        assert days.dt.tz is None
        assert (days == days.dt.normalize()).all()
    assert loaded.timeline["day"].tolist() == result.timeline["day"].tolist()
    assert (loaded.to_markdown(), loaded.to_html()) == (result.to_markdown(), result.to_html())


def first_version(document):
    """Return the document as version 1 wrote it."""
    old = copy.deepcopy(document)
    old["version"] = 1
    del old["time_zone"], old["groups"]
    for row in old["findings"]:
        del row["rank_rows"], row["rank_among"], row["group"]
    old["manifest"]["ranking"] = {"kind": "rank", "tail": "upper", "groups": None}
    return old


def test_documents_of_version_1_are_read(document, findings, tmp_path):
    path = tmp_path / "old.json"
    old = first_version(document)
    path.write_text(json.dumps(old))
    read = ueba.read_findings(path)
    assert set(read.frame["rank_among"]) == {f"all {findings.manifest['rows']} rows"}
    assert_array_equal(read.typical("p99")[0], findings.reference["p99"])
    # Version 1 stored typical values of all rows even if there were groups, so none are shown for a group.
    old["manifest"]["ranking"]["groups"] = "department"
    path.write_text(json.dumps(old))
    read = ueba.read_findings(path)
    assert set(read.frame["rank_among"]) == {"the rows with the same department"}
    assert np.isnan(read.typical("median")).all()
    assert read_or_refused(old, tmp_path) is None


@pytest.mark.parametrize("version", [1, 2, 3])
def test_files_of_earlier_versions_are_read(version, tmp_path):
    # Earlier commits wrote these files, and they are never rewritten (fixtures/README.md).
    path = FIXTURES / f"isoxide-findings-{version}.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored["version"] == version
    assert ({"budget", "check"} <= stored["manifest"].keys()) is (version < 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = ueba.read_findings(path)
    manifest = read.manifest
    if version < 3:
        assert manifest["alerts_per_month"] == stored["manifest"]["budget"] == 6
        assert (manifest["ranking"]["tail"], stored["manifest"]["ranking"]["tail"]) == ("both", "two")
    assert manifest["ranking"]["groups"] == "dept"
    assert not {"budget", "check"} & manifest.keys()
    assert read.domain_defaults
    assert_array_equal(read.frame["anomaly_score"], -(read.frame["score"] + manifest["offset"]))
    assert read.rarity_texts() == ["-"] * 18
    assert set(read.frame["band"]) == {""}
    assert (read.anomaly_threshold, read.n_reference) == (-manifest["offset"], 867)
    assert len(read) == len(stored["findings"]) == 18
    assert read.frame["host"].tolist() == [row["entity"] for row in stored["findings"]]
    assert read.frame["owner"].tolist() == [row["joined"]["owner"] for row in stored["findings"]]
    assert [f"{day:%Y-%m-%d}" for day in read.frame["day"]] == [row["time"][:10] for row in stored["findings"]]
    first_seen = [f"{day:%Y-%m-%dT%H:%M:%S}" for day in read.frame["first_seen"]]
    assert first_seen == [row["first_seen"] for row in stored["findings"]]
    assert (str(read.frame["day"].dt.tz) == "Europe/Oslo") is (version > 1)
    assert_array_equal(read.values, np.array([row["values"] for row in stored["findings"]], dtype=float))
    assert len(read.flags) == sum(len(row["flags"]) for row in stored["findings"]) > 0
    if version > 1:
        # One department has fewer than 400 rows.
        small = read.frame["rank_among"].str.startswith("no ranks:").to_numpy()
        assert small.sum() == sum(row["group"] is None for row in stored["findings"]) > 0
        assert np.isnan(read.typical()[small]).all()
        assert not np.isnan(read.typical()[~small]).any()
    # Written again, they have the present version and the same content.
    loaded = ueba.read_findings(read.to_json(tmp_path / "copy.json"))
    assert json.loads((tmp_path / "copy.json").read_text(encoding="utf-8"))["version"] == _document.VERSION
    assert (loaded.to_markdown(), loaded.to_html()) == (read.to_markdown(), read.to_html())
    pd.testing.assert_frame_equal(loaded.to_frame(), read.to_frame())
    assert "2025-01-20 to 2025-04-19" in read.to_html()


def test_a_valid_document_gives_no_warning(document, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_or_refused(document, tmp_path) is None


def test_findings_can_be_made_from_a_loaded_document(document):
    assert isinstance(Findings(**_document.load(document, "it")), ueba.Findings)
