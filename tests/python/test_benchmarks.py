"""Numbers of README.md and docs/benchmarks.md come from the records of benchmark runs, and the grid search resumes."""

import copy
import itertools
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = [
    pytest.mark.not_parallel(reason="it reads sources and imports the benchmark"),
    pytest.mark.current_versions(reason="it reads sources only"),
]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bench():
    """Return the package of the benchmark, which is not installed."""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        from bench import grid, grid_page, grid_space, record, render
    finally:
        sys.path.pop(0)

    return SimpleNamespace(grid=grid, page=grid_page, space=grid_space, record=record, render=render)


@pytest.mark.parametrize("name", ["benchmarks.md", "README.md"])
def test_the_records_give_the_numbers_of_the_documents(bench, name):
    """Nobody edits the numbers by hand: `make bench-docs` writes them, and would write the same again."""
    path, text = next((path, text) for path, text in bench.render.texts().items() if path.name == name)
    assert path.read_text() == text, f"{path.name} does not show the records; run `make bench-docs`"


def test_the_page_shows_a_chart_of_each_kind_and_no_other(bench):
    charts = set(re.findall(r"\((benchmark-[^)]+\.svg)\)", (ROOT / "docs" / "benchmarks.md").read_text()))
    assert len(charts) == 2 * len(bench.record.complete())
    assert charts == {path.name for path in (ROOT / "docs").glob("benchmark-*.svg")}


def test_a_record_is_named_after_its_kind_of_machine(bench):
    """So a new run on the same kind replaces it."""
    for path in bench.record.RECORDS.glob("*.json"):
        assert bench.record.path_of(bench.record.read(path)) == path


def test_rows_measured_again_replace_those_of_a_record(bench, tmp_path):
    old = bench.record.complete()[0]
    entry = {"row": 9, "title": "fit, measured again"}
    new = old | {"works": [entry], "growth": [], "commit": "abc", "started": "2030-01-01T00:00:00+00:00"}
    updated = bench.record.updated(old, new, [9])
    others = [work for work in old["works"] if work["row"] != 9]
    assert [work for work in updated["works"] if work["row"] != 9] == others
    assert [work for work in updated["works"] if work["row"] == 9] == [entry]
    assert (updated["commit"], updated["growth"]) == (old["commit"], old["growth"])
    assert [(update["rows"], update["commit"]) for update in updated["updates"]] == [([9], "abc")]
    # The newest measurement of a row is the one that counts.
    again = bench.record.updated(updated, new | {"commit": "def"}, [9, 11])
    assert [(update["rows"], update["commit"]) for update in again["updates"]] == [([9, 11], "def")]
    bench.record.write(old | {"versions": old["versions"] | {"numpy": "1.0"}}, tmp_path / "other.json")
    with pytest.raises(SystemExit, match="other versions"):
        bench.record.to_update(tmp_path / "other.json", old)
    with pytest.raises(SystemExit, match="no record of a complete run"):
        bench.record.to_update(tmp_path / "missing.json", old)


def test_every_line_with_a_time_names_a_kind_of_machine(bench):
    kinds = [bench.record.kind(record) for record in bench.record.complete()]
    lines = [line for line in (ROOT / "docs" / "benchmarks.md").read_text().splitlines()
             if re.match(r"\|.*\d (s|ms|us) \|", line)]  # fmt: skip
    assert len(lines) > 50
    for line in lines:
        assert any(kind in line for kind in kinds), line


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_readme_has_a_column_for_each_kind_of_machine(bench):
    """Two kinds stand side by side, never one in place of the other."""
    one = bench.record.complete()[0]
    other = copy.deepcopy(one)
    other["machine"]["cpu"] = "Another CPU"
    other["works"] = [work for work in other["works"] if work["row"] != 9]
    assert bench.record.kind(other) != bench.record.kind(one)
    head, _, *rows = [line for line in bench.render.readme_table([one, other]).splitlines() if line.startswith("|")]
    assert cells(head) == ["work", bench.record.kind(one), bench.record.kind(other)]
    assert len(rows) == 4
    for row in rows:
        title, *times = cells(row)
        for time in times:
            if title.startswith("fit") and time is times[1]:
                assert time == ""
            else:
                assert re.fullmatch(r"[\d,.]+ x \([\d,.]+ (s|ms|us), not [\d,.]+ (s|ms|us)\)", time), row


# The grid search


def test_a_search_draws_the_same_configurations_again(bench):
    first, again = (list(itertools.islice(bench.space.configurations(3), 40)) for _ in range(2))
    assert first == again
    assert first != list(itertools.islice(bench.space.configurations(4), 40))


def test_configurations_stay_in_the_space(bench):
    space = bench.space
    works = [work for _, work in itertools.islice(space.configurations(0), 500)]
    assert {work.kind for work in works} == {"fit", "score", "rank", "reference"}
    assert {work.data.kind for work in works} == {"plain", "missing", "sparse"}
    assert {work.layout for work in works} >= {f"{o} {d}" for o in "CF" for d in ("float64", "float32", "int64")}
    for work in works:
        assert 1 <= work.data.n <= space.ROWS
        assert 1 <= work.data.d <= space.COLUMNS
        assert 1 <= work.trees <= space.TREES
        assert work.data.n * work.data.d <= space.CELLS
        assert work.take is None or 1 <= work.take <= work.data.n
        assert work.max_samples == "auto" or 2 <= work.max_samples <= work.data.n
        assert work.data.kind != "missing" or "int64" not in work.layout


def head(isoxide="a", **others):
    machine = {"cpu": "Some CPU", "family": "6", "model": "1", "cores": 2, "simd": [], "memory_gib": 1.0}
    kernel = {"kernel": "avx2", "fastest_kernel": "avx2"}
    return (
        kernel | {"machine": machine, "isoxide": isoxide, "seed": 0, "versions": {}, "started": "2026-11-29"} | others
    )


def entry(point, stage, **ratios):
    return {"point": point, "stage": stage, "title": f"work {point}", "kind": "fit", "seconds": 0.001,
            "ratios": ratios, "errors": {}}  # fmt: skip


@pytest.fixture
def records(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.record, "RECORDS", tmp_path)
    return tmp_path


def test_a_search_goes_on_where_it_was_stopped(bench, records):
    results = bench.grid.Results(head())
    results.add(entry(5, "search", sklearn=3.0))
    results.add(entry(7, "search", sklearn=0.5))
    assert results.path == records / "grid-some-avx2.jsonl"
    with results.path.open("a") as file:
        file.write('{"point": 9, "sta')  # the run was stopped while it wrote this line
    continued = bench.grid.Results(head())
    assert continued.points("search") == {5, 7}
    continued.add(entry(9, "search", sklearn=2.0))
    assert bench.grid.Results(head()).points("search") == {5, 7, 9}


@pytest.mark.parametrize("other", [{"isoxide": "b"}, {"seed": 1}, {"versions": {"numpy": "1"}}])
def test_results_of_another_build_are_not_continued(bench, records, other):
    bench.grid.Results(head()).add(entry(5, "search", sklearn=3.0))
    assert bench.grid.Results(head(**other)).points("search") == set()


def test_the_page_lists_what_was_slower_twice(bench):
    entries = [
        entry(1, "search", sklearn=0.9), entry(1, "again", sklearn=0.95),
        entry(2, "search", sklearn=0.9), entry(2, "again", sklearn=1.05),
        entry(3, "search", isotree=0.7, sklearn=5), entry(3, "again", isotree=0.75, sklearn=5),
        entry(4, "search", isotree=0.85),
        entry(5, "search", numpy=0.2),
    ]  # fmt: skip
    text = bench.page.section([[head(), *entries]])
    assert re.findall(r"^\| (work \d) \|", text, re.MULTILINE) == ["work 3", "work 1"]
    assert "in 2 of 5 configurations" in text
    assert "no time to measure 1 more" in text


def test_the_worst_are_measured_again_first(bench, records):
    results = bench.grid.Results(head())
    points = [point for point, _ in itertools.islice(bench.space.configurations(0), 4)]
    for point, ratio in zip(points, (0.5, 3.0, 0.1, 0.9), strict=True):
        results.add(entry(point, "search", sklearn=ratio))
    results.add(entry(points[2], "again", sklearn=0.1))
    again = list(bench.grid.pending(results))
    assert [point for point, _ in again] == [points[0], points[3]]
    assert again == [item for item in itertools.islice(bench.space.configurations(0), 4) if item in again]


def test_other_numbers_are_refused(bench, records):
    """The comparison above fails if a record has another timing than the documents show."""
    before = bench.render.texts
    shutil.copytree(ROOT / "tests" / "bench" / "records", records, dirs_exist_ok=True)
    path = next(records.glob("*.json"))
    documents = before()
    record = bench.record.read(path)
    record["works"][0]["contenders"][0]["medians"]["wall"] *= 1.5
    bench.record.write(record, path)
    for path, text in before().items():
        assert text != documents[path], path.name
