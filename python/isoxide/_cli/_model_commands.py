"""Commands that train and use a kept model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoxide._cli._commands import (
    EXIT_DRIFT,
    exit_code,
    load,
    rank_choices,
    read_in_memory,
    results_in,
    show,
    write_findings,
)
from isoxide._cli._messages import print_json, print_lines, tell
from isoxide._cli._progress import steps
from isoxide._cli._runs import Known, Run
from isoxide._cli._session import Session
from isoxide._cli._size import larger_than_memory
from isoxide._cli._tables import Tables

if TYPE_CHECKING:
    from isoxide import ueba

__all__ = ["detect_with_model", "drift", "train"]


def train(options: argparse.Namespace, session: Session) -> None:
    """Run ``isoxide train``: read a table, train a model on it, and write the folder of the model."""
    load("isoxide.ueba", "pyarrow.parquet", *(["isoxide.stream"] if options.stream else []))
    from isoxide import ueba
    from isoxide.ueba._calibrate import DAYS_PER_MONTH
    from isoxide.ueba._model_files import write_model

    chosen = {
        "threshold": options.threshold,
        "contamination": options.contamination,
        "alerts_per_month": options.alerts_per_month,
        "n_estimators": options.trees,
        "random_state": options.seed,
        "min_history": options.min_history,
        **rank_choices(options),
    }
    session.signals.begin_work()
    run = Run(options, options.out, session)
    with steps(3, "train") as step:
        tables = Tables(options.table, options.reading)
        in_batches = larger_than_memory(tables, in_batches=options.stream)
        entity, time = tables.choose_keys(options.entity, options.time)
        if in_batches:
            from isoxide import stream

            step("reading and training")
            opened = stream.open(tables.source, n_jobs=options.jobs, **tables.file_reading)
            model = opened.fit_model(
                entity=entity, time=time, include=options.include, exclude=options.exclude, **tables.time_reading,
                **chosen,
            )  # fmt: skip
            step("read and trained")
        else:
            table = read_in_memory(options, tables, entity, time, step)
            step("training")
            model = ueba.Model.fit(table, n_jobs=options.jobs, **chosen)
        session.signals.check()
        step("writing")
        with session.signals.deferred():
            run.facts = {
                "input": {"name": model.training["source"], "sha256": model.training["sha256"]},
                "model": {"id": model.id},
                "counts": {"rows": model.training["rows"], "above": model.n_above},
                "exit_code": 0,
            }
            # The model and its line are both written, or neither is.
            folder = write_model(model._data, Path(options.out), run.put_in_place)
            session.signals.outcome = f"the model is in {folder}"
    profile = ueba.TableProfile(**model.training["profile"])
    n_above = model.n_above
    per_month = n_above / model.training["period_days"] * DAYS_PER_MONTH
    if options.json:
        tell(profile)
        print_json(
            {
                "id": model.id,
                "folder": str(folder),
                "threshold": model.threshold,
                "above": n_above,
                "per_month": per_month,
                "training": model.training,
            }
        )
        return
    print_lines(profile)
    print_lines(
        f"model {model.id}: {n_above:,} of {model.training['rows']:,} training rows are above the threshold "
        f"{model.threshold:.4f}, {per_month:.1f} per month"
    )
    print_lines(f"  {folder}")


def detect_with_model(options: argparse.Namespace, session: Session) -> int:
    """Run ``isoxide detect --model``: find the anomalies of new rows, and write them with the reports."""
    load("isoxide.ueba", "pyarrow.parquet", "jinja2")
    from isoxide import ueba
    from isoxide.ueba._users import load_users

    known = Known(options)
    model = ueba.Model.load(options.model)
    with results_in(options.out, session, options) as results, steps(4, "detect") as step:
        users = None if options.users is None else load_users(options.users, options.users_sep)
        table = _new_rows(options, model, step)
        step("detecting")
        findings = model.detect(table, since=options.since, n_jobs=options.jobs)
        findings = write_findings(options, session, known.review(findings, session), results, users, step)
        results.describe({**known.facts(findings), "exit_code": exit_code(options, findings)})
    show(options, findings, results.paths)
    return exit_code(options, findings)


def drift(options: argparse.Namespace, session: Session) -> int:
    """Run ``isoxide drift``: compare new rows with the training rows of a model."""
    load("isoxide.ueba", "pyarrow.parquet")
    from isoxide import ueba
    from isoxide.ueba._new_day import profile_of_new_rows

    model = ueba.Model.load(options.model)
    session.signals.begin_work()
    run = Run(options, options.model, session)
    with steps(2, "drift") as step:
        table = _new_rows(options, model, step)
        step("comparing")
        result = model.drift(table, since=options.since)
    code = EXIT_DRIFT if options.fail_on and result.verdict == "retrain" else 0
    run.facts = {
        "input": {"name": table.source, "sha256": table.checksum},
        "model": {"id": model.id},
        "counts": {"rows": result.rows, "above": result.above},
        "verdict": result.verdict,
        "exit_code": code,
    }
    run.add([])
    profile = profile_of_new_rows(model._data, table)
    if options.json:
        tell(profile)
        print_json({"model": model.id, **result.to_dict()})
    else:
        print_lines(profile)
        print_lines(result)
    return code


def _new_rows(options: argparse.Namespace, model: ueba.Model, step: Any) -> ueba.FeatureTable:
    """Read new rows; entity and time are the columns of the model unless other ones are given."""
    tables = Tables(options.table, options.reading)
    options.include = options.exclude = None
    entity, time = options.entity or model.entity, options.time or model.time
    return read_in_memory(options, tables, entity, time, step)
