"""What each command does. Results are put in place when all of them are there."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoxide._cli._progress import steps
from isoxide._cli._size import larger_than_memory

if TYPE_CHECKING:
    from isoxide import IsolationForest
    from isoxide.ueba import FeatureTable, Findings

__all__ = ["calibrate", "detect", "report", "score"]


def detect(options: argparse.Namespace) -> None:
    """``isoxide detect``."""
    from isoxide import ueba
    from isoxide.ueba import TableCheck
    from isoxide.ueba._table import read_frame

    chosen = {
        "threshold": options.threshold,
        "contamination": options.contamination,
        "budget": options.budget,
        "random_state": options.seed,
        "tail": options.tail,
        "groups": options.groups,
        "zscores": options.zscores,
        "n_jobs": options.jobs,
    }
    in_batches = larger_than_memory(options.table, in_batches=options.stream)
    with _results(Path(options.out)) as results, steps(4, "detect") as step:
        users = None if options.users is None else read_frame(options.users)
        if in_batches:
            from isoxide import stream

            step("reading and detecting")
            findings = stream.detect(
                options.table, entity=options.entity, time=options.time, include=options.include,
                exclude=options.exclude, **chosen,
            )  # fmt: skip
            check = str(TableCheck(**findings.manifest["check"]))
            step("read and detected")
        else:
            table = _read(options, step)
            check = str(table.check)
            step("detecting")
            findings = ueba.detect(table, **chosen)
        if users is not None:
            findings = findings.join(users, on=options.users_on or options.entity, columns=options.users_columns)
        step("writing")
        stem = _stem(findings)
        findings.to_csv(results / f"findings-{stem}.csv")
        findings.to_parquet(results / f"findings-{stem}.parquet")
        findings.to_json(results / f"findings-{stem}.json")
        assert findings.forest is not None
        findings.forest.save(results / f"forest-{stem}.safetensors")
        step("writing the pages")
        _write_pages(findings, results, options)
    _tell(options, findings, results.names, check)


def report(options: argparse.Namespace) -> None:
    """``isoxide report``."""
    from isoxide import ueba

    with _results(Path(options.out)) as results, steps(2, "report") as step:
        step("reading")
        findings = ueba.read_findings(options.findings)
        step("writing the pages")
        _write_pages(findings, results, options)
    _tell(options, findings, results.names)


def calibrate(options: argparse.Namespace) -> None:
    """``isoxide calibrate``."""
    from isoxide import ueba

    with steps(3, "calibrate") as step:
        table = _read(options, step)
        step("fitting")
        study = ueba.calibrate(
            table, threshold=options.threshold, contamination=options.contamination, budget=options.budget,
            random_state=options.seed, n_jobs=options.jobs,
        )  # fmt: skip
        if options.plot:
            step("drawing")
            _draw(study, Path(options.plot))
    thresholds, drift = study.thresholds(), study.drift()
    if options.json:
        _print_json(
            {
                "check": table.check.to_dict(),
                "threshold": study.threshold,
                "contamination": study.contamination,
                "thresholds": thresholds.to_dict("records"),
                "months": drift.to_dict("records"),
            }
        )
        return
    print(table.check)
    print("\nRows at or below each threshold:")
    print(thresholds.to_string(index=False, formatters={"share": "{:.3%}".format, "per_month": "{:.1f}".format}))
    print("\nMonths, on the scale of the one forest:")
    print(drift.to_string(index=False, formatters={"share": "{:.3%}".format}, float_format="{:.4f}".format))
    if study.threshold is not None:
        print(f"\nthreshold {study.threshold:.4f}: contamination {study.contamination:.6f}")


def score(options: argparse.Namespace) -> None:
    """``isoxide score``."""
    from isoxide import IsolationForest
    from isoxide._files import replace_file
    from isoxide.ueba._files import write_csv
    from isoxide.ueba._table import read_frame

    forest = IsolationForest.load(options.model)
    if Path(options.table).is_dir() or (options.out is not None and larger_than_memory(options.table)):
        _score_in_batches(forest, options)
        return
    with steps(2, "score") as step:
        step("reading")
        frame = read_frame(options.table, options.sep)
        names = list(getattr(forest, "feature_names_in_", []))
        missing = [name for name in [*names, *options.keep] if name not in frame.columns]
        if missing:
            raise ValueError(f"{options.table} has no column {missing[0]!r}, which the forest or --keep asks for")
        step("scoring")
        forest.set_params(n_jobs=options.jobs)
        scores = forest.decision_function(frame[names] if names else frame.select_dtypes("number"))
    result = frame[options.keep].copy()
    result["score"], result["anomaly"] = scores, scores < 0
    if options.out is None:
        write_csv(result, sys.stdout)
        return
    out = Path(options.out)
    if out.suffix.lower() in (".parquet", ".pq"):
        replace_file(out, lambda file: result.to_parquet(file, index=False))
    else:
        replace_file(out, lambda file: write_csv(result, file))
    print(out)


def _score_in_batches(forest: IsolationForest, options: argparse.Namespace) -> None:
    from isoxide import stream

    if options.out is None or Path(options.out).suffix.lower() == ".csv":
        raise ValueError(f"scores of {options.table} are written as Parquet: give --out a .parquet file or a folder")
    forest.set_params(n_jobs=options.jobs)
    n_rows = stream.score(forest, options.table, options.out, keep=options.keep, resume=options.resume)
    print(f"{options.out}: {n_rows:,} rows")


def _read(options: argparse.Namespace, step: Any) -> FeatureTable:
    from isoxide import ueba

    step("reading")
    return ueba.read_table(
        options.table, entity=options.entity, time=options.time, include=options.include, exclude=options.exclude,
        sep=options.sep,
    )  # fmt: skip


def _stem(findings: Findings) -> str:
    """The days that findings are about: results of other days stay beside them."""
    return f"{findings.manifest['first_day']}-to-{findings.manifest['last_day']}"


def _write_pages(findings: Findings, results: _Results, options: argparse.Namespace) -> None:
    stem = _stem(findings)
    chosen = {"cutoff": options.cutoff, "always": options.always}
    findings.to_markdown(results / f"report-{stem}.md", order=options.order, **chosen)
    findings.to_html(results / f"report-{stem}.html", title=options.title, **chosen)


def _tell(options: argparse.Namespace, findings: Findings, paths: list[Path], check: str | None = None) -> None:
    if options.json:
        lowest = findings.frame[[findings.entity, findings.time, "score"]].head(10)
        first = [[str(who), when.isoformat(), value] for who, when, value in lowest.itertuples(index=False)]
        _print_json(
            {
                "findings": len(findings),
                "lowest": first,
                "files": [str(path) for path in paths],
                "manifest": findings.manifest,
            }
        )
        return
    if check:
        print(check)
    n_entities = findings.frame[findings.entity].nunique()
    print(f"{len(findings):,} findings of {n_entities:,} entities, offset {findings.manifest['offset']:.6f}")
    for path in paths:
        print(f"  {path}")


def _print_json(what: Any) -> None:
    print(json.dumps(what, ensure_ascii=False, default=str))


def _draw(study: Any, path: Path) -> None:
    import matplotlib as mpl

    from isoxide._files import replace_file

    mpl.use("agg")
    figure = study.plot().figure_
    replace_file(path, lambda file: figure.savefig(file, format=path.suffix[1:] or "png", bbox_inches="tight"))


class _Results:
    """A folder for results, and one beside them where they are made."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder, self.temporary = folder, temporary
        self.names: list[Path] = []

    def __truediv__(self, name: str) -> Path:
        self.names.append(self.folder / name)
        return self.temporary / name


@contextmanager
def _results(folder: Path) -> Iterator[_Results]:
    """All results or none: they are moved to their places at the end. Whether the folder takes files shows first."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".isoxide-", dir=folder))
    results = _Results(folder, temporary)
    done = False
    try:
        yield results
        for path in results.names:
            os.replace(temporary / path.name, path)
        done = True
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if made and not done:
            shutil.rmtree(folder, ignore_errors=True)
