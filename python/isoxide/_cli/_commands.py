"""Run the commands without a model: read, compute, and move all results to their folder when they are complete."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoxide._cli._messages import print_json, print_lines, tell
from isoxide._cli._output import print_findings, write_scores
from isoxide._cli._progress import steps
from isoxide._cli._runs import Known, Run
from isoxide._cli._session import Session
from isoxide._cli._size import larger_than_memory
from isoxide._cli._tables import Tables
from isoxide._cli._values import output_format
from isoxide._common.files import FileSet, named_if_full, read_file

if TYPE_CHECKING:
    import pandas as pd

    from isoxide.ueba import Calibration, FeatureTable, Findings

__all__ = [
    "EXIT_DRIFT",
    "calibrate",
    "detect",
    "exit_code",
    "explain",
    "load",
    "rank_choices",
    "read_in_memory",
    "report",
    "results_in",
    "score",
    "show",
    "write_findings",
]

#: Exit codes that --fail-on asks for.
EXIT_NEW, EXIT_DRIFT = 3, 4
#: Formats that --format names, in the order in which their files are written: findings, then reports and events.
FORMATS_OF_FINDINGS, FORMATS_OF_REPORTS = ("csv", "parquet", "json"), ("md", "html", "ocsf", "ecs")
#: Largest number of unused columns that `score` lists.
MAX_LISTED_COLUMNS = 8


def detect(options: argparse.Namespace, session: Session) -> int:
    """Run ``isoxide detect``: read a table, find its anomalies, and write them with the reports."""
    load("isoxide.ueba", "pyarrow.parquet", "jinja2", *(["isoxide.stream"] if options.stream else []))
    from isoxide import ueba
    from isoxide.ueba._users import load_users

    detection = {
        "anomaly_threshold": options.threshold,
        "contamination": options.contamination,
        "alerts_per_month": options.alerts_per_month,
        "top": options.top,
        "random_state": options.seed,
        **rank_choices(options),
    }
    known = Known(options)
    with results_in(options.out, session, options) as results, steps(4, "detect") as step:
        tables = Tables(options.table, options.reading)
        in_batches = larger_than_memory(tables, in_batches=options.stream)
        users = None if options.users is None else load_users(options.users, options.users_sep)
        entity, time = tables.choose_keys(options.entity, options.time)
        if in_batches:
            from isoxide import stream

            step("reading and detecting")
            opened = stream.open(tables.source, n_jobs=options.jobs, **tables.file_reading)
            findings = opened.detect(
                entity=entity, time=time, include=options.include, exclude=options.exclude, **tables.time_reading,
                **detection,
            )  # fmt: skip
            step("read and detected")
        else:
            table = read_in_memory(options, tables, entity, time, step)
            step("detecting")
            findings = ueba.detect(table, n_jobs=options.jobs, **detection)
        findings = write_findings(options, session, known.review(findings, session), results, users, step)
        results.describe({**known.facts(findings), "exit_code": exit_code(options, findings)})
    show(options, findings, results.paths)
    return exit_code(options, findings)


def rank_choices(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of ranks and bands as arguments of `isoxide.ueba.detect`."""
    return {
        "tail": options.tail,
        "groups": options.groups,
        "min_group": options.min_group,
        "zscores": options.zscores,
        "domain_defaults": options.domain_defaults,
        "train_on_this": options.train_on_this,
        **({} if options.bands is None else {"bands": tuple(options.bands)}),
    }


def exit_code(options: argparse.Namespace, findings: Findings) -> int:
    """Return the exit code that --fail-on asks for; findings come before drift.

    In comparison with a previous run, findings that are there again are not new.
    """
    wanted = options.fail_on or []
    if "new" in wanted and any(state != "again" for state in findings.states):
        return EXIT_NEW
    verdict = (findings.manifest.get("drift") or {}).get("verdict")
    return EXIT_DRIFT if "drift" in wanted and verdict == "retrain" else 0


def write_findings(
    options: argparse.Namespace, session: Session, findings: Findings, results: Results, users: Any, step: Any
) -> Findings:
    """Join users to findings, and write the findings, the forest and the reports; return the joined findings."""
    session.signals.check()
    if users is not None:
        findings = findings.join(users, on=options.users_on or findings.entity, columns=options.users_columns)
    step("writing")
    stem = _stem(findings, "the table")
    _write_files(findings, results, stem, options, FORMATS_OF_FINDINGS)
    assert findings.forest is not None
    with named_if_full(results.folder):
        findings.forest.save(results / f"forest-{stem}.safetensors")
    step("writing the reports")
    _write_files(findings, results, stem, options, FORMATS_OF_REPORTS)
    return findings


def report(options: argparse.Namespace, session: Session) -> None:
    """Run ``isoxide report``: read findings, and write the reports again."""
    load("isoxide.ueba", "jinja2")
    from isoxide import ueba

    path = Path(options.findings)
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a regular file; give the JSON file of findings that `isoxide detect` wrote")
    try:
        findings = ueba.read_findings(path)
        stem = _stem(findings, str(path))
        with results_in(options.out, session, options) as results, steps(1, "report") as step:
            step("writing the reports")
            _write_files(findings, results, stem, options, (*FORMATS_OF_FINDINGS, *FORMATS_OF_REPORTS))
            results.describe(
                {
                    "input": {"name": str(path), "sha256": hashlib.sha256(read_file(path)).hexdigest()},
                    "counts": {"findings": len(findings), "hidden": findings.n_hidden},
                    "exit_code": 0,
                }
            )
        show(options, findings, results.paths)
    except (ArithmeticError, AttributeError, LookupError, TypeError, RecursionError) as error:
        # Reading checks every field, so any error here comes from the content of the file.
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def calibrate(options: argparse.Namespace, session: Session) -> None:
    """Run ``isoxide calibrate``: fit a forest, and print the number of anomalies by threshold and by month."""
    load("isoxide.ueba", *(["matplotlib.pyplot"] if options.plot else []))
    from isoxide import ueba

    session.signals.begin_work()
    with steps(3, "calibrate") as step:
        tables = Tables(options.table, options.reading)
        entity, time = tables.choose_keys(options.entity, options.time)
        table = read_in_memory(options, tables, entity, time, step)
        step("fitting")
        study = ueba.calibrate(
            table,
            contamination=options.contamination,
            alerts_per_month=options.alerts_per_month,
            random_state=options.seed,
            n_jobs=options.jobs,
        )
        threshold = options.threshold if options.threshold is not None else study.anomaly_threshold
        is_default = threshold is None
        # Without an amount, `detect` finds the rows that are above average.
        threshold = 0.5 if threshold is None else threshold
        if options.plot:
            step("drawing")
            session.signals.check()
            _draw(study, threshold, Path(options.plot))
    thresholds, months = study.anomaly_thresholds(), scores_by_month(study, threshold)
    if options.threshold is not None:
        thresholds = study.anomaly_thresholds([*thresholds["threshold"], threshold])
    amounts = study.amounts()
    n_anomalies = int(months["anomalies"].sum())
    contamination = n_anomalies / len(table)
    if options.json:
        tell(table.profile)
        print_json(
            {
                "profile": table.profile.to_dict(),
                "entity": entity,
                "time": time,
                "is_default": is_default,
                "threshold": threshold,
                "contamination": contamination,
                "anomalies": n_anomalies,
                "thresholds": thresholds.to_dict("records"),
                "amounts": amounts.to_dict("records"),
                "months": months.to_dict("records"),
            }
        )
        return
    print_lines(table.profile)
    print_lines("\nNumbers of alerts per month (--alerts-per-month) and their thresholds (--threshold):")
    print_lines(_amount_lines(amounts))
    print_lines("\nRows whose anomaly score is above each threshold (an average row has 0.5):")
    formats = {"threshold": "{:.4f}".format, "share": "{:.3%}".format, "per_month": "{:.1f}".format}
    print_lines(thresholds.to_string(index=False, formatters=formats))
    print_lines("\nAnomaly scores by month, from the same forest:")
    print_lines(months.to_string(index=False, formatters={"share": "{:.3%}".format}, float_format="{:.4f}".format))
    if is_default:
        print_lines(
            f"\nAs in `isoxide detect`, anomalies are by default the {n_anomalies:,} rows whose anomaly score is above "
            "0.5;\nchoose another number with --threshold, --contamination or --alerts-per-month."
        )
    print_lines(f"\nthreshold {threshold:.4f}: contamination {contamination:.6f}")
    if options.plot:
        print_lines(options.plot)


def _amount_lines(amounts: pd.DataFrame) -> str:
    """Return the table of amounts as text, with the notes below it."""
    formats = {
        "alerts_per_month": "{:g}".format,
        "threshold": "{:.4f}".format,
        "share": "{:.3%}".format,
        "per_month": "{:.1f}".format,
    }
    text = amounts.drop(columns=["not_unusual", "note"]).to_string(index=False, formatters=formats)
    notes = zip(amounts["alerts_per_month"], amounts["note"], strict=True)
    return "\n".join([text, *(f"{number:g} alerts per month: {note}" for number, note in notes if note)])


def explain(options: argparse.Namespace, session: Session) -> None:
    """Run ``isoxide explain``: score a table with a stored forest, and explain the score of each row."""
    score(options, session)


def score(options: argparse.Namespace, session: Session) -> None:
    """Run ``isoxide score``: score a table with a stored forest."""
    load("isoxide.ueba", "isoxide.stream")
    from isoxide import stream
    from isoxide._common.stores import located, without_secrets
    from isoxide._forest.estimator import IsolationForest
    from isoxide._partitioned.row_columns import AllColumns, ExplanationColumns, ScoreColumns
    from isoxide.stream._write import ROWS_PER_FILE

    forest = IsolationForest.load(options.model)
    forest.set_params(n_jobs=options.jobs)
    format_ = None if options.out is None else output_format(options.out)
    session.signals.begin_work()
    tables = Tables(options.table, options.reading)
    added: Any = ScoreColumns()
    if options.run == "explain":
        added = AllColumns([added, ExplanationColumns(min(options.top, forest.n_features_in_), "log2", "top_")])
    writer = stream.open(tables.source, **tables.file_reading)._writer(forest, options.keep, added)
    shown = None if options.out is None else without_secrets(options.out)
    if format_ in ("parquet", "folder"):
        if format_ == "folder":
            session.signals.outcome = f"the files in {shown} are complete; continue with --resume"
        n_rows = writer.write(located(options.out), rows_per_file=ROWS_PER_FILE, resume=options.resume)
    else:
        with steps(1, options.run) as step:
            step("reading and scoring" if options.run == "score" else "reading and explaining")
            result = writer.frame()
        n_rows = len(result)
        session.signals.check()
        if format_ is None:
            session.signals.outcome = "the printed scores are not complete"
        write_scores(result, options.out, format_)
    unused = [name for name in writer.source.schema.names if name not in writer.features and name not in options.keep]
    done = "scored" if options.run == "score" else "explained"
    summary = f"{n_rows:,} rows {done} by {len(writer.features)} features"
    if unused:
        n_more = len(unused) - MAX_LISTED_COLUMNS
        more = f" and {n_more} more" if n_more > 0 else ""
        summary += f"; columns not used: {', '.join(unused[:MAX_LISTED_COLUMNS])}{more}"
    for note in writer.source.notes:
        tell(f"isoxide: note: {note}")
    if format_ is None:
        tell(f"isoxide: {summary}")
    else:
        print_lines(f"{shown}: {summary}")


def load(*modules: str) -> None:
    """Import the modules that a command needs, while a signal can still end the process immediately."""
    for module in modules:
        import_module(module)


def read_in_memory(options: argparse.Namespace, tables: Tables, entity: str, time: str, step: Any) -> FeatureTable:
    """Read the tables of a command into memory."""
    from isoxide import ueba

    step("reading")
    return ueba.read_table(
        tables.source, entity=entity, time=time, include=options.include, exclude=options.exclude, **tables.reading
    )


class Results(FileSet):
    """Files of a run, which are moved to their folder together with the line of the run in the log."""

    run: Run | None = None

    def describe(self, facts: dict[str, Any]) -> None:
        """Set the facts of the run for its line in the log."""
        if self.run is not None:
            self.run.facts = facts

    def finish(self) -> None:
        """Move all files to the folder, and add the line of the run."""
        if self.run is None:
            self.put_in_place()
        else:
            self.run.put_in_place(self)


@contextmanager
def results_in(out: str, session: Session, logged: argparse.Namespace | None = None) -> Iterator[Results]:
    """Yield a set of files that is moved to the folder at the end; fail early if the folder is not writable.

    Parameters
    ----------
    out : str
        Folder.
    session : Session
        Session of the command.
    logged : argparse.Namespace, optional
        Options of a command whose run the log has a line for.
    """
    signals, results = session.signals, Results(out)
    signals.begin_work()
    try:
        with signals.deferred():
            results.open()
            if logged is not None:
                results.run = Run(logged, out, session)
        yield results
        with signals.deferred():
            try:
                results.finish()
            except OSError as error:
                if error.filename is None or error.strerror is None:
                    raise
                raise OSError(error.errno, f"{error.strerror}; nothing in {out} was changed", error.filename) from error
            signals.outcome = f"all results are in {out}"
    finally:
        with signals.deferred():
            results.close()


def _stem(findings: Findings, source: str) -> str:
    """Return the part of file names with the first and last day, which keeps results of other days."""
    days = []
    for name in ("first_day", "last_day"):
        try:
            days.append(datetime.date.fromisoformat(findings.manifest[name]).isoformat())
        except (TypeError, ValueError):
            raise ValueError(f"{source} is damaged: {name} is {findings.manifest[name]!r}, but must be a day") from None
    return "-to-".join(days)


def _write_files(
    findings: Findings, results: Results, stem: str, options: argparse.Namespace, formats: Iterable[str]
) -> None:
    """Write the findings in those of the formats that --format names."""
    selection = {"cutoff": options.cutoff, "always_show": options.always_show}
    writers: dict[str, Callable[[], Any]] = {
        "csv": lambda: findings.to_csv(results / f"findings-{stem}.csv"),
        "parquet": lambda: findings.to_parquet(results / f"findings-{stem}.parquet"),
        "json": lambda: findings.to_json(results / f"findings-{stem}.json"),
        "md": lambda: findings.to_markdown(results / f"report-{stem}.md", order=options.order, **selection),
        "html": lambda: findings.to_html(
            results / f"report-{stem}.html", title=options.title, link=options.link, **selection
        ),
        "ocsf": lambda: findings.to_ocsf(results / f"findings-{stem}.ocsf.ndjson", entity_type=options.entity_type),
        "ecs": lambda: findings.to_ecs(results / f"findings-{stem}.ecs.ndjson", entity_type=options.entity_type),
    }
    # Files are written to a private folder first, whose name would say nothing.
    with named_if_full(results.folder):
        for name in formats:
            if name in options.format:
                writers[name]()


def show(options: argparse.Namespace, findings: Findings, paths: list[Path]) -> None:
    """Print the findings, and open the page in the browser if --open was given."""
    print_findings(findings, paths, as_json=options.json)
    if options.open:
        import webbrowser

        page = next(path for path in paths if path.suffix == ".html")
        if sys.stdout is not None:
            sys.stdout.flush()
        try:
            opened = webbrowser.open(page.resolve().as_uri())
        except (OSError, webbrowser.Error):
            opened = False
        if not opened:
            tell(f"isoxide: no browser could be opened; open {page} yourself")


def scores_by_month(study: Calibration, threshold: float) -> pd.DataFrame:
    """Return the rows, the anomaly scores and the number of anomalies of each month."""
    import pandas as pd

    scores = pd.DataFrame({"score": study.anomaly_scores, "anomaly": study.anomaly_scores > threshold})
    groups = scores.groupby(study.table.days.dt.to_period("M").astype(str).rename("period").to_numpy())
    months = pd.DataFrame(
        {
            "rows": groups.size(),
            "highest": groups["score"].max(),
            "p99": groups["score"].quantile(0.99),
            "median": groups["score"].median(),
            "anomalies": groups["anomaly"].sum(),
        }
    )
    months["share"] = months["anomalies"] / months["rows"]
    return months.rename_axis("period").reset_index()


def _draw(study: Calibration, threshold: float, path: Path) -> None:
    """Draw the anomaly scores by day into a file."""
    import matplotlib as mpl

    from isoxide._common.files import replace_file
    from isoxide.displays import ThresholdDisplay

    mpl.use("agg")
    display = ThresholdDisplay(scores=study.anomaly_scores, by=study.table.days, threshold=threshold, above=True)
    figure = display.plot().figure_
    replace_file(path, lambda file: figure.savefig(file, format=path.suffix[1:].lower(), bbox_inches="tight"))
