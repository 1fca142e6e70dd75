"""Commands about decisions and earlier runs, which read findings and no table."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from isoxide._cli._commands import load
from isoxide._cli._messages import print_json, print_lines, tell
from isoxide._cli._run_log import read_log, verify_log
from isoxide._cli._runs import Run, findings_file, user_name
from isoxide._cli._session import Session
from isoxide._common.files import read_file

__all__ = ["compare", "decide", "log"]

#: Largest numbers of findings and of missing files that are printed.
MAX_PRINTED, MAX_MISSING = 20, 5


def decide(options: argparse.Namespace, session: Session) -> None:
    """Run ``isoxide decide``: add a decision about a finding to a file of decisions."""
    load("isoxide.ueba")
    from isoxide import ueba
    from isoxide.ueba._decision_file import append_decision

    if options.log is not None and Path(options.log).resolve() == Path(options.decisions).resolve():
        raise ValueError("--log and --decisions name the same file; choose another file with --log")
    path = findings_file(options.findings)
    findings = ueba.read_findings(path)
    decision = findings.decide(
        options.id, status=options.status, until=options.until, note=options.note, cutoff=options.cutoff,
        who=user_name() if options.who is None else options.who,
    )  # fmt: skip
    run = Run(options, path.parent, session)
    session.signals.begin_work()
    with session.signals.deferred():
        file = Path(options.decisions)
        run.facts = {
            "input": {"name": str(path), "sha256": hashlib.sha256(read_file(path)).hexdigest()},
            "finding": decision.id,
            "status": decision.status,
            "exit_code": 0,
        }
        # The decision and its line are both written, or neither is.
        append_decision(file, decision, lambda: run.add([(file, True)]))
        session.signals.outcome = f"the decision is in {file}"
    if options.json:
        row = decision.to_row()
        print_json({**row, "features": list(decision.features), "score": decision.score, "file": str(file)})
        return
    print_lines(f"{decision.named()}: {decision}")
    print_lines(f"  {file}")


def compare(options: argparse.Namespace, session: Session) -> None:
    """Run ``isoxide compare``: compare the findings of two runs."""
    load("isoxide.ueba")
    from isoxide import ueba

    previous, findings = (ueba.read_findings(findings_file(run)) for run in (options.previous, options.findings))
    comparison = findings.compare(previous, cutoff=options.cutoff)
    if options.json:
        print_json(comparison.to_dict())
        return
    print_lines(comparison)
    rows: list[dict[str, Any]] = comparison.to_dict()["findings"]
    listed = [row for row in rows if row["state"] != "again"]
    _print_findings([(row["state"], row) for row in listed])
    _print_findings([("gone", row) for row in comparison.to_dict()["gone"]])


def _print_findings(rows: list[tuple[str, dict[str, Any]]]) -> None:
    """Print findings with their states; of many, the first ones."""
    for state, row in rows[:MAX_PRINTED]:
        entity = "-" if row["entity"] is None else row["entity"]
        reason = f"  {row['reason']}" if "reason" in row else ""
        print_lines(f"  {state:<8}  {row['id']}  {row['anomaly_score']:.4f}  {row['time']}  {entity}{reason}")
    if len(rows) > MAX_PRINTED:
        print_lines(f"  and {len(rows) - MAX_PRINTED:,} more")


def log(options: argparse.Namespace, session: Session) -> int:
    """Run ``isoxide log``: print the runs of a log, or verify it."""
    path = Path(options.file)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give the runs.jsonl beside the folder of a run")
    if not options.verify and options.expect is None:
        _print_log(path, as_json=options.json)
        return 0
    verified = verify_log(path, options.expect)
    if options.json:
        print_json(
            {
                "lines": verified.n_lines,
                "last": verified.last,
                "problems": verified.problems,
                "files": verified.n_files,
                "missing": verified.missing,
            }
        )
    else:
        for problem in verified.problems:
            print_lines(f"{path}: {problem}")
        verdict = _counted(len(verified.problems), "problem") if verified.problems else "nothing was changed"
        counts = f"{_counted(verified.n_lines, 'line')} and {_counted(verified.n_files, 'file')}"
        print_lines(f"{path}: {counts}: {verdict}")
        if verified.missing:
            n_more = len(verified.missing) - MAX_MISSING
            more = f" and {n_more:,} more" if n_more > 0 else ""
            named = ", ".join(verified.missing[:MAX_MISSING])
            verb = "does" if len(verified.missing) == 1 else "do"
            print_lines(f"  {_counted(len(verified.missing), 'file')} {verb} not exist any more: {named}{more}")
        if verified.last is not None:
            print_lines(f"  hash of the last line: {verified.last}")
    return 1 if verified.problems else 0


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _print_log(path: Path, *, as_json: bool) -> None:
    """Print a line for each run."""
    documents = []
    for number, line in enumerate(read_log(path), 1):
        if not line:
            continue
        try:
            document = json.loads(line)
            texts = (document["time"], f"{document['command']:<7}", (document.get("counts") or {}).items())
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            tell(f"isoxide: note: line {number} of {path} is damaged; see isoxide log --verify")
            continue
        documents.append(document)
        if not as_json:
            counts = ", ".join(f"{name} {n}" for name, n in texts[2])
            decided = f"{document['finding']} {document.get('status')}" if "finding" in document else ""
            print_lines("  ".join(filter(None, [str(texts[0]), texts[1], counts, decided])))
    if as_json:
        print_json(documents)
