"""Arguments in, one line per error out."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from isoxide._cli import _commands

__all__ = ["main"]

_INTERRUPTED = "interrupted; nothing was written"
_EXAMPLES = """examples:
  isoxide calibrate features.csv --entity actor --time day
  isoxide detect features.csv --entity actor --time day --threshold -0.32 --users users.csv --out out/
  isoxide detect features.parquet --entity actor --time day --budget 25 --tail two --out out/
  isoxide score out/forest.safetensors new.csv --out scores.csv
  isoxide report out/findings.json --cutoff 99.5 --out out/

exit codes: 0 done, 1 the input or its contents did not allow it, 2 the command was not understood
"""

_DETECT_EXAMPLES = """examples:
  isoxide detect features.csv.gz --entity actor --time day --contamination 0.001 --out out/
  isoxide detect features.parquet --entity actor --time day --budget 25 --exclude 'zscore_*' --out out/
  isoxide detect features.csv --entity actor --time day --threshold -0.32 --users users.csv --groups role --out out/
  isoxide detect lake/features/ --entity actor --time day --contamination 0.0001 --out out/
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.
    """
    options = _parser().parse_args(arguments)
    # Warnings are for programmers; what users should know is printed.
    warnings.simplefilter("ignore")
    interrupts = _Interrupts()
    try:
        options.run(options)
    except KeyboardInterrupt:
        return _fail(_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone: nothing to say, nobody to say it to.
        sys.stderr.close()
        return 1
    except MemoryError:
        return _fail("out of memory; try fewer columns (--include, --exclude)")
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None and error.strerror else ""
        return _fail(f"{where}{error.strerror or error}")
    except (ValueError, TypeError, ImportError) as error:
        return _fail(_INTERRUPTED if interrupts.came else str(error))
    return 0


class _Interrupts:
    """Whether Ctrl-C was pressed: pandas makes an error of its own of what that raises in the middle of a file."""

    def __init__(self) -> None:
        self.came = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.came = True
        signal.default_int_handler(number, frame)


def _fail(message: str) -> int:
    print(f"isoxide: error: {' '.join(message.split())}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="isoxide",
        description="Finds odd rows in a table with a row per actor and day, and says why they are odd.",
        epilog=_EXAMPLES,
        formatter_class=formatter,
    )
    parser.add_argument("--version", action="version", version=f"isoxide {version('isoxide')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    detect = commands.add_parser(
        "detect",
        help="from a table to findings and reports",
        description="Finds the anomalies of a table, and writes them as CSV, Parquet and JSON, a report as Markdown "
        "and as a page, and the forest.",
        epilog=_DETECT_EXAMPLES,
        formatter_class=formatter,
    )
    _add_table(detect)
    detect.add_argument(
        "--stream",
        action="store_true",
        help="read Parquet in batches even if it fits in memory; what does not fit is read so anyway",
    )
    _add_amount(detect)
    ranks = detect.add_argument_group("ranks")
    ranks.add_argument(
        "--tail",
        choices=("upper", "lower", "two"),
        default="upper",
        help="which values are unusual: high ones, low ones, or both (default: upper)",
    )
    ranks.add_argument(
        "--groups",
        metavar="COLUMN",
        help="rank among the rows of the same peer group; the entity's column ranks within its own history",
    )
    ranks.add_argument(
        "--zscores",
        metavar="PATTERN",
        default="*zscore*",
        help="features that are z-scores already: flagged from 3 on, listed after the others (default: *zscore*)",
    )
    users = detect.add_argument_group("users")
    users.add_argument("--users", metavar="FILE", help="CSV file with a row per entity: e-mail, name, department")
    users.add_argument(
        "--users-on", metavar="COLUMN", help="its column that holds the entities (default: that of --entity)"
    )
    users.add_argument("--users-columns", metavar="COLUMN", nargs="+", help="the columns to add (default: all)")
    _add_report(detect)
    detect.set_defaults(run=_commands.detect)

    calibrate = commands.add_parser(
        "calibrate",
        help="how many rows each threshold makes anomalies",
        description="Fits a forest, and prints how many rows are at or below each threshold, and how months compare.",
        formatter_class=formatter,
    )
    _add_table(calibrate)
    _add_amount(calibrate)
    calibrate.add_argument("--plot", metavar="FILE", help="write the scores by day as a picture (PNG, SVG or PDF)")
    _add_json(calibrate)
    calibrate.set_defaults(run=_commands.calibrate)

    score = commands.add_parser(
        "score",
        help="score a table with a forest kept by detect",
        description="Scores the rows of a table with a forest that `isoxide detect` wrote.",
        formatter_class=formatter,
    )
    score.add_argument("model", metavar="MODEL", help="the forest: forest-*.safetensors")
    score.add_argument(
        "table",
        metavar="TABLE",
        help="CSV (also .gz) or Parquet file, or folder of Parquet files, with the forest's features",
    )
    score.add_argument("--sep", default=",", help="what stands between the values of a CSV file (default: a comma)")
    score.add_argument(
        "--keep", metavar="COLUMN", nargs="+", default=[], help="columns of the table to write beside the scores"
    )
    score.add_argument(
        "--out", metavar="FILE", help="CSV or Parquet file, or folder, to write (default: CSV to standard output)"
    )
    score.add_argument("--resume", action="store_true", help="go on with a folder of scores that is not complete")
    score.add_argument("--jobs", type=int, metavar="N", help="threads (default: all cores)")
    score.set_defaults(run=_commands.score, json=False)

    report = commands.add_parser(
        "report",
        help="the pages anew from findings",
        description="Writes the reports anew from the findings that `isoxide detect` wrote as JSON.",
        formatter_class=formatter,
    )
    report.add_argument("findings", metavar="FINDINGS", help="findings-*.json")
    _add_report(report)
    report.set_defaults(run=_commands.report)
    return parser


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table",
        metavar="TABLE",
        help="CSV (also .gz) or Parquet file, or folder of Parquet files, with a row per entity and time",
    )
    parser.add_argument("--entity", required=True, metavar="COLUMN", help="the column that says who")
    parser.add_argument("--time", required=True, metavar="COLUMN", help="the column that says when")
    parser.add_argument(
        "--include",
        nargs="+",
        metavar="PATTERN",
        help="names or patterns of the features (default: all numeric columns)",
    )
    parser.add_argument(
        "--exclude", nargs="+", metavar="PATTERN", help="names or patterns of columns that are no features"
    )
    parser.add_argument("--sep", default=",", help="what stands between the values of a CSV file (default: a comma)")
    parser.add_argument("--seed", type=int, default=0, help="random_state of the forest (default: 0)")
    parser.add_argument("--jobs", type=int, metavar="N", help="threads (default: all cores)")


def _add_amount(parser: argparse.ArgumentParser) -> None:
    amount = parser.add_argument_group(
        "how many", "one of these; by default what the forest itself takes for an outlier"
    )
    one = amount.add_mutually_exclusive_group()
    one.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="rows that score at or below X; scores are 0 where a tenth of the rows lies below",
    )
    one.add_argument("--contamination", type=float, metavar="C", help="this share of the rows, in (0, 0.5]")
    one.add_argument("--budget", type=float, metavar="N", help="about N a month")


def _add_report(parser: argparse.ArgumentParser) -> None:
    report = parser.add_argument_group("report")
    report.add_argument(
        "--cutoff",
        type=float,
        default=99.0,
        metavar="P",
        help="features are listed from this percentile on (default: 99)",
    )
    report.add_argument(
        "--always",
        nargs="*",
        default=["is_weekend"],
        metavar="PATTERN",
        help="features that are listed whenever they are above zero (default: is_weekend)",
    )
    report.add_argument(
        "--order", choices=("score", "entity"), default="score", help="of the entities in the Markdown report"
    )
    report.add_argument("--title", help="of the page")
    report.add_argument("--out", required=True, metavar="DIR", help="folder to write to; it is made if it is not there")
    _add_json(parser)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
