"""Define the commands and their options."""

from __future__ import annotations

import argparse
from typing import Any

from isoxide._cli import _values
from isoxide._cli._arguments import Parser

__all__ = ["DEFAULT_MODEL", "DEFAULT_OUT", "ENTITY_NAMES", "MODEL_OPTIONS", "TIME_NAMES", "make_parser"]

#: Folders for results and for a model without --out.
DEFAULT_OUT, DEFAULT_MODEL = "isoxide-results", "isoxide-model"
#: File of decisions without --decisions.
DEFAULT_DECISIONS = "decisions.csv"
#: Options that a model has from its training, with their defaults; `detect` refuses them together with --model.
MODEL_OPTIONS: dict[str, Any] = {
    "threshold": None,
    "contamination": None,
    "alerts_per_month": None,
    "top": None,
    "include": None,
    "exclude": None,
    "seed": 0,
    "tail": "upper",
    "groups": None,
    "min_group": 20,
    "zscores": None,
    "domain_defaults": True,
    "bands": None,
    "train_on_this": False,
    "stream": False,
}
#: Names of columns that are recognised as the entity and the time if only one column has such a name.
ENTITY_NAMES = ("actor", "user", "username", "user_name", "user_id", "account", "account_name", "entity", "host")
TIME_NAMES = ("day", "date", "time", "timestamp", "datetime")
#: Options for reading tables, by the names of the arguments of `isoxide.ueba.read_table`.
READING = ("sep", "decimal", "thousands", "missing", "encoding", "time_format", "timezone")

_EXAMPLES = """a table to try it with:
  TABLE=$(python -c "from isoxide.datasets import load_enron; print(load_enron(as_path=True))")
  isoxide detect $TABLE --threshold 0.63 --zscores 'z_*' --open

examples:
  isoxide calibrate features.csv
  isoxide detect features.csv --alerts-per-month 25 --users users.csv --out out/
  isoxide train features.csv --alerts-per-month 25 --out model/
  isoxide detect new.csv --model model/ --out runs/
  isoxide drift new.csv --model model/
  isoxide score out/forest-*.safetensors features.csv --keep actor day --out scores.csv
  isoxide report out/findings-*.json --cutoff 99.5 --out out/

exit codes: 0 success, 1 the input is missing or invalid, 2 the command line is invalid,
  3 findings (--fail-on new), 4 the model should be trained again (--fail-on drift),
  130, 143, 129 ended by Ctrl-C, SIGTERM, SIGHUP
"""
_DETECT_EXAMPLES = f"""files in the folder --out (default: {DEFAULT_OUT}), named after the first and the last day:
  findings-*.csv .parquet .json, forest-*.safetensors, report-*.md .html

examples:
  isoxide detect features.csv.gz --entity actor --time day --contamination 0.01
  isoxide detect features.parquet --alerts-per-month 25 --exclude 'zscore_*' --tail both --out out/
  isoxide detect features.csv --threshold 0.6 --users users.csv --groups actor --out out/
  isoxide detect lake/features/ --contamination 0.01 --out out/
  isoxide detect features.csv --model model/ --since 2025-02-20 --fail-on new --out runs/
  isoxide detect features.csv --alerts-per-month 25 --decisions decisions.csv --previous out/ --out today/
  isoxide detect features.csv --model model/ --format ocsf,csv --out runs/
  cat features.csv | isoxide detect - --contamination 0.01 --json
"""
_TRAIN_EXAMPLES = f"""files in the folder --out (default: {DEFAULT_MODEL}): model.json, forest.safetensors,
  reference.parquet, entities.parquet

examples:
  isoxide train features.csv --entity actor --time day --alerts-per-month 25 --out model/
  isoxide train features.parquet --threshold 0.6 --groups actor --trees 1000 --out model/
"""
_DRIFT_EXAMPLES = """examples:
  isoxide drift features.csv --model model/ --since 2025-02-01
  isoxide drift new.csv --model model/ --fail-on drift --json
"""
_CALIBRATE_EXAMPLES = """a table to try it with:
  TABLE=$(python -c "from isoxide.datasets import load_enron; print(load_enron(as_path=True))")
  isoxide calibrate $TABLE --threshold 0.63

examples:
  isoxide calibrate features.csv --entity actor --time day
  isoxide calibrate features.csv --alerts-per-month 25 --plot scores.png
"""
_SCORE_EXAMPLES = """examples:
  isoxide score out/forest-*.safetensors features.csv --keep actor day --out scores.csv
  isoxide score out/forest-*.safetensors lake/features/ --keep actor day --out scores/
"""
_EXPLAIN_EXAMPLES = """examples:
  isoxide explain out/forest-*.safetensors features.csv --top 3 --keep actor day --out explained.csv
  isoxide explain out/forest-*.safetensors lake/features/ --keep actor day --out explained/
"""
_REPORT_EXAMPLES = """examples:
  isoxide report out/findings-*.json --cutoff 99.5 --order entity --out out/
"""
_DECIDE_EXAMPLES = """examples:
  isoxide decide out/ 4b1a7f43f88e --status known-good --note 'mailing list'
  isoxide decide out/findings-*.json 4b1a7f43f88e --status confirmed --who Ana --decisions decisions.csv
"""
_COMPARE_EXAMPLES = """examples:
  isoxide compare out/ today/
  isoxide compare out/findings-*.json today/ --json
"""
_LOG_EXAMPLES = """examples:
  isoxide log
  isoxide log runs.jsonl --verify

exit codes: 0 nothing was changed, 1 something was (--verify)
"""
_TABLE = (
    "TABLE: a file (.csv, .tsv, .txt, also .gz, .zst, .bz2, .xz; .parquet, .feather, .arrow, .jsonl, .xlsx),\n"
    "a folder of such files, several of these, or - for standard input"
)


def make_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="isoxide",
        short_usage="isoxide COMMAND ...",
        description="Find and explain the most abnormal rows of a table with one row per entity (a user, say) and day.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", prog="isoxide", parser_class=Parser
    )
    _add_detect(commands)
    _add_train(commands)
    _add_drift(commands)
    _add_calibrate(commands)
    _add_score(commands)
    _add_explain(commands)
    _add_report(commands)
    _add_decide(commands)
    _add_compare(commands)
    _add_log_command(commands)
    return parser


class _Version(argparse.Action):
    """Option that looks up the version only when it is used, since that takes longer than parsing."""

    def __init__(self, option_strings: Any, dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, default=argparse.SUPPRESS, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"isoxide {version('isoxide')}")
        raise SystemExit(0)


def _add_detect(commands: Any) -> None:
    parser = commands.add_parser(
        "detect",
        short_usage="isoxide detect TABLE [TABLE ...] [options]",
        n_files=1,
        help="find the anomalies of a table and write reports",
        description="Find the anomalies of a table. Write them as CSV, Parquet and JSON, a report as Markdown and\n"
        f"HTML, and the forest.\n\n{_TABLE}, with one row per entity and time",
        epilog=_DETECT_EXAMPLES,
    )
    _add_table(parser)
    _add_reading(parser)
    parser.add_argument(
        "--stream",
        action="store_const",
        const=True,
        help="read the table in batches even if it fits in memory (a larger table is always read in batches)",
    )
    _add_model(parser, required=False)
    parser.add_list(
        parser,
        "--fail-on",
        metavar="STATE",
        choices=("new", "drift"),
        help="exit with 3 if there are findings (new), with 4 if the model should be trained again (drift, with "
        "--model)",
    )
    _add_amount(parser, top=True)
    _add_train_on_this(parser)
    _add_ranks(parser)
    users = parser.add_argument_group("users")
    users.add_argument(
        "--users",
        metavar="FILE",
        type=_values.local_path,
        help="CSV or Parquet file that describes the entities, one row each, with columns such as e-mail and "
        "department",
    )
    users.add_argument(
        "--users-on", metavar="COLUMN", help="column of that file with the entities (default: same name as in TABLE)"
    )
    parser.add_list(users, "--users-columns", metavar="COLUMN ...", help="columns of that file to add (default: all)")
    users.add_argument(
        "--users-sep",
        metavar="CHARACTER",
        type=_values.column_separator,
        help="field delimiter of that file (default: guessed from its first line)",
    )
    _add_report_options(parser)
    _add_review(parser)
    _add_log(parser)
    parser.set_defaults(run="detect")


def _add_review(parser: Parser) -> None:
    """Add the options of decisions, of an earlier run, and of the results that a run replaces."""
    review = parser.add_argument_group("decisions and earlier runs")
    review.add_argument(
        "--decisions",
        metavar="FILE",
        type=_values.local_path,
        help="file of decisions, from `isoxide decide` or the page: hides what is known, and sets the status",
    )
    review.add_argument(
        "--previous",
        metavar="RUN",
        type=_values.local_path,
        help="folder of an earlier run, or its findings-*.json: tells which findings are new, again there or stronger",
    )
    review.add_argument(
        "--force",
        action="store_true",
        help="replace the results of a run with other options or another input in the folder --out",
    )


def _add_log(parser: Parser, *, beside: str = "the folder --out") -> None:
    parser.add_argument(
        "--log",
        metavar="FILE",
        type=_values.local_path,
        help=f"log that the run adds a line to (default: runs.jsonl beside {beside})",
    )


def _add_ranks(parser: Parser) -> None:
    ranks = parser.add_argument_group("ranks")
    ranks.add_argument(
        "--tail",
        choices=("upper", "lower", "both"),
        help="side on which values are unusual: high values, low values, or both (default: upper)",
    )
    ranks.add_argument(
        "--groups",
        metavar="COLUMN",
        help="rank values among the rows with the same label in this column, such as a peer group; with the entity's "
        "column, within the entity's own history (default: among all rows)",
    )
    ranks.add_argument(
        "--min-group",
        metavar="N",
        type=_values.rows,
        help="smallest number of rows to rank values among; findings of smaller groups have no ranks (default: 20)",
    )
    ranks.add_argument(
        "--zscores",
        metavar="PATTERN",
        help="name or pattern of features that already are z-scores: flagged at 3 or more, listed last "
        "(default: *zscore*)",
    )
    ranks.add_argument(
        "--no-domain-defaults",
        dest="domain_defaults",
        action="store_const",
        const=False,
        help="treat no feature specially because of its name: no z-scores by name, no flags for leaver_action and "
        "is_weekend, no is_weekend in the reports",
    )
    parser.add_list(
        ranks,
        "--bands",
        metavar="N",
        type=_values.number(low=1, description="a number of at least 1"),
        help="limits of the bands minor, major and critical: one row of the reference in N scores as high "
        "(default: 100 1000 10000)",
    )


def _add_train_on_this(parser: Parser) -> None:
    parser.add_argument(
        "--train-on-this",
        action="store_const",
        const=True,
        help="train on the table even if it has fewer rows than a tree draws (256), or a single day",
    )


def _add_model(parser: Parser, *, required: bool) -> None:
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        metavar="FOLDER",
        type=_values.local_path,
        required=required,
        help="model that `isoxide train` wrote: scores, ranks and typical values are relative to its training rows",
    )
    model.add_argument(
        "--since",
        metavar="DAY",
        type=_values.day,
        help="first day to score, such as 2025-04-26; earlier rows of TABLE are left out (default: all rows)",
    )


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        short_usage="isoxide train TABLE [TABLE ...] [options]",
        n_files=1,
        help="train a model on a table, and keep it for new days",
        description="Train a model: a forest, and the exact distributions of the table, which new days are compared\n"
        f"with.\n\n{_TABLE}, with one row per entity and time",
        epilog=_TRAIN_EXAMPLES,
    )
    _add_table(parser)
    _add_reading(parser)
    parser.add_argument(
        "--stream",
        action="store_const",
        const=True,
        help="read the table in batches even if it fits in memory (a larger table is always read in batches)",
    )
    _add_amount(parser)
    _add_train_on_this(parser)
    parser.add_argument("--trees", type=_values.rows, default=500, metavar="N", help="number of trees (default: 500)")
    _add_ranks(parser)
    parser.add_argument(
        "--min-history",
        metavar="N",
        type=_values.rows,
        default=20,
        help="smallest number of days of an entity to rank its values in its own history (default: 20)",
    )
    parser.add_argument(
        "--out",
        default=DEFAULT_MODEL,
        metavar="FOLDER",
        type=_values.local_path,
        help=f"folder for the model, which is created if it does not exist (default: {DEFAULT_MODEL})",
    )
    _add_log(parser)
    _add_json(parser)
    parser.set_defaults(run="train")


def _add_drift(commands: Any) -> None:
    parser = commands.add_parser(
        "drift",
        short_usage="isoxide drift TABLE [TABLE ...] --model FOLDER [options]",
        n_files=1,
        help="tell whether a model still fits new rows",
        description="Compare new rows with the rows that a model was trained on, and tell whether it still fits:\n"
        f"ok, watch or retrain.\n\n{_TABLE}, with one row per entity and time",
        epilog=_DRIFT_EXAMPLES,
    )
    _add_table(parser, seed=False)
    _add_reading(parser)
    _add_model(parser, required=True)
    parser.add_list(
        parser,
        "--fail-on",
        metavar="STATE",
        choices=("drift",),
        help="exit with 4 if the model should be trained again (drift)",
    )
    _add_log(parser, beside="the folder of the model")
    _add_json(parser)
    parser.set_defaults(run="drift")


def _add_calibrate(commands: Any) -> None:
    parser = commands.add_parser(
        "calibrate",
        short_usage="isoxide calibrate TABLE [TABLE ...] [options]",
        n_files=1,
        help="count the anomalies at each threshold",
        description="Fit a forest, and print how many rows score at or below each threshold and how many\n"
        f"anomalies each month has.\n\n{_TABLE}, with one row per entity and time",
        epilog=_CALIBRATE_EXAMPLES,
    )
    _add_table(parser)
    _add_reading(parser)
    _add_amount(parser)
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=_values.picture_path,
        help="draw the scores by day into this file (.png, .svg or .pdf)",
    )
    _add_json(parser)
    parser.set_defaults(run="calibrate")


def _add_score(commands: Any) -> None:
    parser = commands.add_parser(
        "score",
        short_usage="isoxide score MODEL TABLE [TABLE ...] [options]",
        n_files=2,
        help="score a table with a forest that detect wrote",
        description="Score the rows of a table with a forest that `isoxide detect` wrote.\n\n"
        f"MODEL: the file of the forest, forest-*.safetensors\n{_TABLE}, with the features of the forest",
        epilog=_SCORE_EXAMPLES,
    )
    _add_rows_of_forest(parser)
    parser.set_defaults(run="score", json=False)


def _add_rows_of_forest(parser: Parser) -> None:
    """Add the forest, the table and the output of commands that write a line for each row."""
    parser.add_argument("model", metavar="MODEL", type=_values.local_path, help=argparse.SUPPRESS)
    parser.add_argument("table", metavar="TABLE", nargs="+", type=_values.local_path, help=argparse.SUPPRESS)
    _add_reading(parser, times=False)
    parser.add_list(parser, "--keep", metavar="COLUMN ...", help="columns of the table to write next to the scores")
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=_values.scores_path,
        help="file to write (.csv, .csv.gz, .parquet), or folder for Parquet files (default: CSV in UTF-8 to standard "
        "output)",
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run that wrote to a folder")
    parser.add_argument("--jobs", type=_values.jobs, metavar="N", help="number of threads (default: all cores)")


def _add_explain(commands: Any) -> None:
    parser = commands.add_parser(
        "explain",
        short_usage="isoxide explain MODEL TABLE [TABLE ...] [options]",
        n_files=2,
        help="score a table, and name the features that make each row most abnormal",
        description="Score the rows of a table with a forest that `isoxide detect` wrote, and name the features that\n"
        "make each row most abnormal, with their contributions to the binary logarithm of its anomaly score and\n"
        "their shares (columns top_1_feature, top_1_value, top_1_contribution, top_1_share, top_2_feature, ...).\n"
        "A share tells what moved the score of the row, not what caused the anomaly.\n\n"
        f"MODEL: the file of the forest, forest-*.safetensors\n{_TABLE}, with the features of the forest",
        epilog=_EXPLAIN_EXAMPLES,
    )
    parser.add_argument("--top", metavar="N", type=_values.features, default=5, help="number of features (default: 5)")
    _add_rows_of_forest(parser)
    parser.set_defaults(run="explain", json=False)


def _add_report(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        short_usage="isoxide report FINDINGS [options]",
        n_files=1,
        help="write the reports again from findings",
        description="Write the reports again, with other options, from findings that `isoxide detect` wrote.\n\n"
        "FINDINGS: the file of the findings, findings-*.json",
        epilog=_REPORT_EXAMPLES,
    )
    parser.add_argument("findings", metavar="FINDINGS", type=_values.local_path, help=argparse.SUPPRESS)
    _add_report_options(parser)
    _add_log(parser)
    parser.set_defaults(run="report")


def _add_decide(commands: Any) -> None:
    parser = commands.add_parser(
        "decide",
        short_usage="isoxide decide RUN ID --status STATUS [options]",
        n_files=2,
        help="write down what was decided about a finding",
        description="Add a line about a finding to a file of decisions, which `isoxide detect --decisions` reads.\n\n"
        "RUN: the folder of a run, or its findings-*.json\n"
        "ID: the identifier of a finding, or at least its first 6 digits",
        epilog=_DECIDE_EXAMPLES,
    )
    parser.add_argument("findings", metavar="RUN", type=_values.local_path, help=argparse.SUPPRESS)
    parser.add_argument("id", metavar="ID", help=argparse.SUPPRESS)
    parser.add_argument(
        "--status",
        required=True,
        choices=("known-good", "false-positive", "confirmed", "open"),
        help="known-good and false-positive hide this finding, and later ones of the same entity for the same "
        "features; confirmed and open label it",
    )
    parser.add_argument(
        "--until",
        metavar="DAY",
        type=_values.day,
        help="last day on which the decision holds, such as 2026-10-01 (default: 90 days on for known-good and "
        "false-positive, otherwise no end)",
    )
    parser.add_argument("--note", metavar="TEXT", default="", help="reason of the decision")
    parser.add_argument("--who", metavar="NAME", help="name of the analyst (default: the user of this system)")
    parser.add_argument(
        "--decisions",
        metavar="FILE",
        type=_values.local_path,
        default=DEFAULT_DECISIONS,
        help=f"file of decisions, which is created if it does not exist (default: {DEFAULT_DECISIONS})",
    )
    parser.add_argument(
        "--cutoff",
        type=_values.number(low=0, high=100, description="a percentile from 0 to 100"),
        metavar="P",
        help="lowest percentile of the features that the decision is about (default: that of the run, or 99)",
    )
    _add_log(parser, beside="the folder of the run")
    _add_json(parser)
    parser.set_defaults(run="decide")


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        short_usage="isoxide compare RUN_A RUN_B [options]",
        n_files=2,
        help="tell which findings of a run are new, again there, stronger or gone",
        description="Compare the findings of RUN_B with those of the earlier RUN_A.\n\n"
        "RUN_A, RUN_B: the folders of runs, or their findings-*.json",
        epilog=_COMPARE_EXAMPLES,
    )
    parser.add_argument("previous", metavar="RUN_A", type=_values.local_path, help=argparse.SUPPRESS)
    parser.add_argument("findings", metavar="RUN_B", type=_values.local_path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--cutoff",
        type=_values.number(low=0, high=100, description="a percentile from 0 to 100"),
        default=99.0,
        metavar="P",
        help="lowest percentile at which a feature is a reason (default: 99)",
    )
    _add_json(parser)
    parser.set_defaults(run="compare")


def _add_log_command(commands: Any) -> None:
    parser = commands.add_parser(
        "log",
        short_usage="isoxide log [FILE] [--verify] [options]",
        help="print the log of runs, or verify it",
        description="Print a line for each run, or verify that no line and no result was changed.\n\n"
        "FILE: the log (default: runs.jsonl)",
        epilog=_LOG_EXAMPLES,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", default="runs.jsonl", type=_values.local_path,
                        help=argparse.SUPPRESS)  # fmt: skip
    parser.add_argument(
        "--verify",
        action="store_true",
        help="find changed, moved and missing lines, and results that were changed after their run",
    )
    parser.add_argument(
        "--expect",
        metavar="HASH",
        type=_values.hash_start,
        help="hash that a line must have, as an earlier --verify printed it: finds lines missing at the end",
    )
    _add_json(parser)
    parser.set_defaults(run="log")


def _add_table(parser: Parser, *, seed: bool = True) -> None:
    parser.add_argument("table", metavar="TABLE", nargs="+", type=_values.local_path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--entity",
        metavar="COLUMN",
        help=f"column with the entity (default: the only column called {_listed(ENTITY_NAMES)})",
    )
    parser.add_argument(
        "--time",
        metavar="COLUMN",
        help=f"column with the time (default: the only column called {_listed(TIME_NAMES)})",
    )
    parser.add_list(
        parser,
        "--include",
        metavar="PATTERN ...",
        help="names or patterns of the features (default: all numeric columns)",
    )
    parser.add_list(
        parser, "--exclude", metavar="PATTERN ...", help="names or patterns of columns that are not features"
    )
    if seed:
        parser.add_argument("--seed", type=_values.seed, metavar="N", help="seed of the forest (default: 0)")
    parser.add_argument("--jobs", type=_values.jobs, metavar="N", help="number of threads (default: all cores)")


def _add_reading(parser: Parser, *, times: bool = True) -> None:
    reading = parser.add_argument_group("reading the table")
    reading.add_argument(
        "--sep",
        metavar="CHARACTER",
        type=_values.column_separator,
        help="field delimiter of a CSV file; tab for a tab (default: guessed from the first line)",
    )
    reading.add_argument(
        "--decimal", metavar="CHARACTER", type=_values.single_character, help="decimal separator (default: .)"
    )
    reading.add_argument(
        "--thousands", metavar="CHARACTER", type=_values.single_character, help="thousands separator (default: none)"
    )
    parser.add_list(
        reading,
        "--missing",
        metavar="TEXT ...",
        help="texts that mean a missing number, in addition to NA, NaN, null and similar ones",
    )
    reading.add_argument(
        "--encoding", metavar="NAME", type=_values.encoding, help="text encoding of a CSV file (default: UTF-8)"
    )
    if times:
        reading.add_argument(
            "--time-format", metavar="FORMAT", help="format of the times, such as %%d.%%m.%%Y (default: ISO 8601)"
        )
        reading.add_argument("--timezone", metavar="ZONE", help="time zone that decides which day a time belongs to")


def _add_amount(parser: Parser, *, top: bool = False) -> None:
    amount = parser.add_argument_group(
        "number of anomalies",
        "give at most one of these; by default, anomalies are the rows whose anomaly score is above 0.5",
    )
    exclusive = amount.add_mutually_exclusive_group()
    exclusive.add_argument(
        "--threshold",
        type=_values.anomaly_score,
        metavar="X",
        help="rows whose anomaly score is above X, between 0 and 1; an average row has 0.5, whatever the options",
    )
    exclusive.add_argument(
        "--contamination",
        type=_values.number(above=0, high=0.5, description="a fraction above 0 and at most 0.5"),
        metavar="C",
        help="fraction C of the rows, above 0 and at most 0.5",
    )
    exclusive.add_argument(
        "--alerts-per-month",
        type=_values.number(above=0, description="a number above 0"),
        metavar="N",
        help="about N rows per month on average",
    )
    if top:
        exclusive.add_argument(
            "--top", type=_values.rows, metavar="N", help="the N rows with the highest anomaly scores"
        )


def _add_report_options(parser: Parser) -> None:
    report = parser.add_argument_group("report")
    report.add_argument(
        "--cutoff",
        type=_values.number(low=0, high=100, description="a percentile from 0 to 100"),
        default=99.0,
        metavar="P",
        help="lowest percentile at which features are listed (default: 99)",
    )
    parser.add_list(
        report,
        "--always-show",
        may_be_empty=True,
        metavar="PATTERN ...",
        help="names or patterns of features that are listed whenever they are above zero (default: is_weekend)",
    )
    report.add_argument(
        "--order",
        choices=("score", "entity"),
        default="score",
        help="order of the entities in the Markdown report (default: score)",
    )
    report.add_argument("--title", help="title of the HTML page (default: first and last day)")
    report.add_argument(
        "--link",
        metavar="TEMPLATE",
        type=_values.link,
        help="link from each finding of the HTML page to another system, such as "
        "'https://siem.example/?u={entity}&d={day}'; also {time} and {id}",
    )
    report.add_argument(
        "--out",
        default=DEFAULT_OUT,
        metavar="FOLDER",
        type=_values.local_path,
        help=f"folder for the results, which is created if it does not exist (default: {DEFAULT_OUT})",
    )
    report.add_argument("--open", action="store_true", help="open the HTML page in the browser")
    parser.add_list(
        report,
        "--format",
        metavar="FORMAT",
        type=_values.formats,
        help=f"files to write, several with commas between them: {', '.join(_values.FORMATS)}; ocsf and ecs are events "
        "for a SIEM system, one JSON object per line (default: csv,parquet,json,md,html, or md,html for report); "
        "detect always writes json and the forest",
    )
    report.add_argument(
        "--entity-type",
        choices=("user", "host", "ip", "other"),
        help="type of the entities in ocsf and ecs events (default: by the name of their column, such as src_ip)",
    )
    _add_json(parser)


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print a summary of the results as JSON")


def _listed(names: tuple[str, ...]) -> str:
    """Return names as an enumeration for help texts."""
    return f"{', '.join(names[:-1])} or {names[-1]}"
