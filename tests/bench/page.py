"""Write the page docs/benchmarks.md in Markdown from the records of the kinds of machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from . import grid_page
from .charts import label_of
from .record import Record, failures, is_limited, kind, kind_slug
from .text import duration, machine_in_words, table, times
from .works import LABELS

#: The limits of the comparison, which do not depend on the numbers.
_UNFAIR = (Path(__file__).parent / "unfair.md").read_text()
_FORESTS = ("sklearn", "isotree", "coniferest", "pyod")
_EXPLAINERS = ("shap", "woodelf", "coniferest")
_COMPILED = ("sklearn", "tl2cgen", "treelite", "onnxruntime")
_RANKERS = ("scipy", "scipy_array", "numpy", "polars", "pandas")
_PROGRAMS = ("start", "desk")
#: Heads of the first two columns of most tables.
_HEAD = ["row, work", "processor, kernel"]


def _lines(records: list[Record], chosen: Callable[[Record], bool]) -> Iterator[tuple[Record, Record]]:
    """Yield chosen works, each with its record: the same work on all kinds of machines, then the next work."""
    works = [(label_of(w), r, w) for r in records for w in r["works"] if w["kind"] != "memory" and chosen(w)]
    order = {label: None for label, _, work in sorted(works, key=lambda item: item[2]["row"])}
    for label in order:
        yield from ((record, work) for other, record, work in works if other == label)


def _cell(contender: Record | None) -> str:
    if contender is None:
        return ""
    if contender["error"]:
        return "failed"
    ratio = contender["ratio"]
    return f"{times(ratio['wall'])[:-2]} / {times(ratio['cpu'])[:-2]}" if ratio else ""


def _ratios(lines: Iterator[tuple[Record, Record]], libraries: tuple[str, ...]) -> str:
    rows = []
    for record, work in lines:
        rivals = {c["library"]: c for c in work["contenders"] if not c["variant"]}
        ours = work["contenders"][0]
        wall = "failed" if ours["error"] else duration(ours["medians"]["wall"])
        rows.append([label_of(work), kind(record), wall, *(_cell(rivals.get(library)) for library in libraries)])
    return table([*_HEAD, "isoxide", *(LABELS[library] for library in libraries)], rows, left=2)


def _ourselves(records: list[Record]) -> str:
    """Return the table that compares isoxide with itself on other threads, kernels or layouts."""
    rows = []
    for record, work in _lines(records, lambda work: work["kind"] not in _PROGRAMS):
        ours = work["contenders"][0]
        for other in work["contenders"][1:]:
            if other["library"] == "isoxide" and other["ratio"] and "wall" in other["ratio"]:
                kernels = [str(c["facts"].get("kernel") or "not told") for c in (ours, other)]
                both = [duration(c["medians"]["wall"]) for c in (ours, other)]
                name = ours["variant"] or "as in the table above"
                rows.append([label_of(work), kind(record), f"{name}: {both[0]}", f"{other['variant']}: {both[1]}",
                             _cell(other), " / ".join(dict.fromkeys(kernels))])  # fmt: skip
    return table([*_HEAD, "this", "other", "other / this: wall / CPU", "kernels"], rows, left=4)


def _programs(records: list[Record]) -> str:
    rows = []
    for record, work in _lines(records, lambda work: work["kind"] in _PROGRAMS):
        for c in work["contenders"]:
            if c["medians"]:
                cells = [duration(c["medians"][k]) for k in ("wall", "cpu")]
                rows.append([label_of(work), kind(record), LABELS[c["library"]], *cells, c["note"]])
    return table([*_HEAD, "library", "wall", "CPU", ""], rows, left=3) if rows else "No record has these rows yet."


def _memory(records: list[Record]) -> str:
    rows = []
    for record in records:
        for work in record["works"]:
            for c in work["contenders"] if work["kind"] == "memory" else ():
                value = "failed" if c["error"] else f"{c['memory'] / 2**20:,.1f} MiB"
                ratio = times(c["ratio"]["memory"]) if c["ratio"] else ""
                rows.append([work["title"], kind(record), LABELS[c["library"]], c["threads"], value, ratio])
    return table(["work", *_HEAD[1:], "library", "threads", "additional memory", "times isoxide's"], rows, left=3)


def _everything(records: list[Record]) -> str:
    rows = []
    timed = [*_lines(records, lambda work: True), *((r, work) for r in records for work in r["growth"])]
    for record, work in timed:
        for c in work["contenders"]:
            if not c["medians"]:
                continue
            cells = [duration(c["medians"][k]) for k in ("wall", "cpu")]
            spread = [wall * c["scale"] for wall, _ in c["timings"]]
            scaled = f", x {c['scale']:,g}" if c["scale"] != 1 else ""
            variant = f", {c['variant']}" if c["variant"] else ""
            calls = f"{len(c['timings'])} x {c['repeats']:,}{scaled}"
            between = f"{duration(min(spread))} - {duration(max(spread))}"
            rows.append([label_of(work), kind(record), LABELS[c["library"]] + variant, *cells, between, calls])
    return table([*_HEAD, "contender", "wall", "CPU", "wall from - to", "timings x calls"], rows, left=3)


def _agreement(record: Record) -> str:
    outcomes = [c for work in record["works"] for c in work["contenders"]]
    same = [c["equal"] for c in outcomes if c["library"] in ("sklearn", "scipy", "scipy_array")]
    correlations: dict[str, list[float]] = {}
    differences: dict[str, list[float]] = {}
    for c in outcomes:
        name = LABELS[c["library"]]
        if c["agreement"] is not None:
            correlations.setdefault(name, []).append(c["agreement"])
        if c.get("difference") is not None:
            differences.setdefault(name, []).append(c["difference"])
    ranges = [f"{min(values):.2f} to {max(values):.2f} for {name}" for name, values in correlations.items()]
    lines = [
        f"On {kind(record)}, results were equal {same.count(True)} times and different {same.count(False)} times. "
        f"Spearman's correlation with isoxide's scores was {', '.join(ranges) or 'not computed'}."
    ]
    if differences:
        largest = ", ".join(f"{max(values):.1g} for {name}" for name, values in differences.items())
        lines.append(f"The largest difference from scikit-learn's scores was {largest}.")
    return "- " + "\n  ".join(lines)


def _versions(records: list[Record]) -> str:
    """Return one line per set of versions, with the kinds of machines that it is from."""
    kinds: dict[str, list[str]] = {}
    for record in records:
        versions = ", ".join(f"{k} {v or 'NOT INSTALLED'}" for k, v in record["versions"].items())
        kinds.setdefault(versions, []).append(kind(record))
    return "\n".join(f"- Versions on {' and '.join(names)}: {versions}." for versions, names in kinds.items())


def _conditions(records: list[Record]) -> str:
    """Return the table of the kinds of machines, and remarks on single runs."""
    rows, remarks = [], []
    for record in records:
        facts, settings = record["machine"], record["settings"]
        loads = f"{facts['load_before']} / {facts.get('load_after', 'unknown')}"
        link = f"[{record['started'][:10]}](../tests/bench/records/{kind_slug(record)}.json)"
        minutes = f"{record.get('seconds', 0) / 60:.0f}"
        python = f"{facts['system']}, Python {facts['python']}"
        rows.append([kind(record), machine_in_words(facts), python, record["commit"], link, loads, minutes])
        if is_limited(record):
            remarks.append(
                f"- On {kind(record)}, the environment variable `ISOXIDE_KERNEL` kept isoxide from using AVX-512, and "
                "`NPY_DISABLE_CPU_FEATURES` kept NumPy from it. The other libraries chose their instructions "
                "themselves. A processor without AVX-512 has other caches and clocks, so its own record counts more."
            )
        for update in record.get("updates", []):
            rows_again = ", ".join(map(str, update["rows"]))
            load = f"{update['machine']['load_before']} / {update['machine'].get('load_after', 'unknown')}"
            remarks.append(
                f"- On {kind(record)}, rows {rows_again} were measured again on {update['started'][:10]}, at commit "
                f"{update['commit']}, with a load of {load} before / after."
            )
        if settings.get("left_out"):
            points = "; ".join(settings["left_out"])
            remarks.append(f"- On {kind(record)}, memory was too small for some points of growth: {points}.")
    head = ["processor, kernel", "machine", "system", "commit", "record", "load before / after", "minutes"]
    return "\n".join([table(head, rows, left=5), "", *remarks, _versions(records)])


def _charts(records: list[Record], name: str, alt: str) -> str:
    return "\n\n".join(f"![{alt}, {kind(record)}](benchmark-{name}-{kind_slug(record)}.svg)" for record in records)


def page(records: list[Record], grids: list[list[Record]]) -> str:
    wrong = [f"- {line}" for record in records for line in failures(record)]
    forests = _lines(records, lambda work: work["kind"] in ("score", "fit", "day"))
    explained = _lines(records, lambda work: work["kind"] == "explain")
    ranks = _lines(records, lambda work: work["kind"] in ("rank", "reference"))
    names = [c["library"] for r in records for w in r["works"] for c in w["contenders"]]
    compiled = _lines(records, lambda work: any(c["library"] in _COMPILED[1:] for c in work["contenders"]))
    return f"""# Benchmarks

`make bench-docs` writes this page from the records of `make bench`, one for each kind of machine, which have every
timing. A kind of machine is a processor and the kernel that isoxide uses on it.

{_conditions(records)}

Half of the columns are normal and half are counts with 70 % zeros; 1 % of the rows are multiplied by 3. Forests have
100 trees of 256 rows unless the row says otherwise. Every contender runs in a process of its own. They are timed in
turn, A B C A B C, on copies of the same table.

A ratio is taken within one round, and the tables show the median over the rounds. Cells are **wall / CPU**: the rival's
time divided by isoxide's, by the clock and in processor time of all threads. Both sides use the same number of threads,
which is one unless the row says otherwise.

{_charts(records, "ratios", "Wall time of rivals over isoxide's")}

## Forests

{_ratios(forests, _FORESTS)}

## Programs that score scikit-learn's forests

TL2cgen compiles a forest to machine code, and treelite and ONNX Runtime interpret it. Fitting and converting are not
timed; the conversion of the table to float32 is. treelite and ONNX Runtime are timed on at most 100,000 rows and scaled
up. Their scores differ from scikit-learn's (see [agreement of results](#agreement-of-results)).

{_ratios(compiled, _COMPILED) if "tl2cgen" in names else "No record has these rows yet."}

## Explanations

The work is `shap_values` of float32 rows. shap's `TreeExplainer` and woodelf run on one thread, and making the
explainer is not timed. woodelf computes in float32, so its values differ by up to 1e-5 of the largest one. coniferest's
signature is not a Shapley value: it is the mean change of the path length at the splits by a feature.

{_ratios(explained, _EXPLAINERS) if "shap" in names else "No record has these rows yet."}

## Ranks

isoxide and NumPy rank the same array, in the order that the row names; scipy, polars and pandas get contiguous columns.
If a row names no order, the array is row-major, and NumPy too gets contiguous columns. scipy is timed on 4 columns
and 20 of the rows, and pandas on 4 columns; both are scaled up. The rival of `RankReference` sorts all columns.

{_ratios(ranks, _RANKERS)}

## Where a rival is faster

{grid_page.section(grids)}

## Kernels, layouts and threads of isoxide

{_ourselves(records)}

## Start and the analyst's desk

A start is a new Python process, without the time of installing. The desk reads half a year of actor-days from a Parquet
file, detects, and writes all reports.

{_programs(records)}

## Memory

The table shows the peak of the resident memory during the call, minus the memory that the process held before it. The
data itself is not included.

{_memory(records)}

## Scaling

{_charts(records, "growth", "Nanoseconds per row against rows, columns, trees and threads")}

The chart shows the wall time of `score_samples` per row, on one thread except in the panel for threads. The dashed line
is one pass over the same table by `ndarray.sum` in the same run, on one thread. It shows the cost of memory alone, if
the table is larger than the caches.

## Agreement of results

Results were compared bit for bit with scikit-learn's and scipy's before they were timed. Other forests draw other
trees, so the order of their scores was compared. TL2cgen, treelite and ONNX Runtime score scikit-learn's trees, but
compute scores with other arithmetic (ONNX Runtime in float32), so their last digits differ.

{chr(10).join(map(_agreement, records))}

{_UNFAIR}
## Failures

{chr(10).join(wrong) or "Nothing failed."}

## All medians

{_everything(records)}
"""
