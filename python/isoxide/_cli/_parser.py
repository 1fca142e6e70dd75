"""Define the commands and their options."""

from __future__ import annotations

import argparse
from typing import Any

from isoxide._cli import _values
from isoxide._cli._arguments import Parser
from isoxide._cli._examples import (
    CALIBRATE_EXAMPLES,
    COMPARE_EXAMPLES,
    DECIDE_EXAMPLES,
    DETECT_EXAMPLES,
    DRIFT_EXAMPLES,
    EXAMPLES,
    EXPLAIN_EXAMPLES,
    LOG_EXAMPLES,
    REPORT_EXAMPLES,
    SCORE_EXAMPLES,
    TABLE,
    TRAIN_EXAMPLES,
)
from isoxide._cli._options import (
    DEFAULT_DECISIONS,
    DEFAULT_MODEL,
    add_amount,
    add_json,
    add_log,
    add_model,
    add_ranks,
    add_reading,
    add_report_options,
    add_review,
    add_rows_of_forest,
    add_table,
    add_train_on_this,
)

__all__ = ["make_parser"]


def make_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="isoxide",
        short_usage="isoxide COMMAND ...",
        description="Find and explain the most abnormal rows of a table with one row per entity (a user, say) and day.",
        epilog=EXAMPLES,
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
        from isoxide._common.version import package_version

        print(f"isoxide {package_version()}")
        raise SystemExit(0)


def _add_detect(commands: Any) -> None:
    parser = commands.add_parser(
        "detect",
        short_usage="isoxide detect TABLE [TABLE ...] [options]",
        n_files=1,
        help="find the anomalies of a table and write reports",
        description="Find the anomalies of a table. Write them as CSV, Parquet and JSON, a report as Markdown and\n"
        f"HTML, and the forest.\n\n{TABLE}, with one row per entity and time",
        epilog=DETECT_EXAMPLES,
    )
    add_table(parser)
    add_reading(parser)
    parser.add_argument(
        "--stream",
        action="store_const",
        const=True,
        help="read the table in batches even if it fits in memory (a larger table is always read in batches)",
    )
    add_model(parser, required=False)
    parser.add_list(
        parser,
        "--fail-on",
        metavar="STATE",
        choices=("new", "drift"),
        help="exit with 3 if there are findings (new), with 4 if the model should be trained again (drift, with "
        "--model)",
    )
    add_amount(parser, top=True)
    add_train_on_this(parser)
    add_ranks(parser)
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
    add_report_options(parser)
    add_review(parser)
    add_log(parser)
    parser.set_defaults(run="detect")


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        short_usage="isoxide train TABLE [TABLE ...] [options]",
        n_files=1,
        help="train a model on a table, and keep it for new days",
        description="Train a model: a forest, and the exact distributions of the table, which new days are compared\n"
        f"with.\n\n{TABLE}, with one row per entity and time",
        epilog=TRAIN_EXAMPLES,
    )
    add_table(parser)
    add_reading(parser)
    parser.add_argument(
        "--stream",
        action="store_const",
        const=True,
        help="read the table in batches even if it fits in memory (a larger table is always read in batches)",
    )
    add_amount(parser)
    add_train_on_this(parser)
    parser.add_argument("--trees", type=_values.rows, default=500, metavar="N", help="number of trees (default: 500)")
    add_ranks(parser)
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
    add_log(parser)
    add_json(parser)
    parser.set_defaults(run="train")


def _add_drift(commands: Any) -> None:
    parser = commands.add_parser(
        "drift",
        short_usage="isoxide drift TABLE [TABLE ...] --model FOLDER [options]",
        n_files=1,
        help="tell whether a model still fits new rows",
        description="Compare new rows with the rows that a model was trained on, and tell whether it still fits:\n"
        f"ok, watch or retrain.\n\n{TABLE}, with one row per entity and time",
        epilog=DRIFT_EXAMPLES,
    )
    add_table(parser, seed=False)
    add_reading(parser)
    add_model(parser, required=True)
    parser.add_list(
        parser,
        "--fail-on",
        metavar="STATE",
        choices=("drift",),
        help="exit with 4 if the model should be trained again (drift)",
    )
    add_log(parser, beside="the folder of the model")
    add_json(parser)
    parser.set_defaults(run="drift")


def _add_calibrate(commands: Any) -> None:
    parser = commands.add_parser(
        "calibrate",
        short_usage="isoxide calibrate TABLE [TABLE ...] [options]",
        n_files=1,
        help="count the anomalies at each threshold",
        description="Fit a forest, and print how many rows score at or below each threshold and how many\n"
        f"anomalies each month has.\n\n{TABLE}, with one row per entity and time",
        epilog=CALIBRATE_EXAMPLES,
    )
    add_table(parser)
    add_reading(parser)
    add_amount(parser)
    parser.add_argument(
        "--plot",
        metavar="FILE",
        type=_values.picture_path,
        help="draw the scores by day into this file (.png, .svg or .pdf)",
    )
    add_json(parser)
    parser.set_defaults(run="calibrate")


def _add_score(commands: Any) -> None:
    parser = commands.add_parser(
        "score",
        short_usage="isoxide score MODEL TABLE [TABLE ...] [options]",
        n_files=2,
        help="score a table with a forest that detect wrote",
        description="Score the rows of a table with a forest that `isoxide detect` wrote.\n\n"
        f"MODEL: the file of the forest, forest-*.safetensors\n{TABLE}, with the features of the forest",
        epilog=SCORE_EXAMPLES,
    )
    add_rows_of_forest(parser)
    parser.set_defaults(run="score", json=False)


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
        f"MODEL: the file of the forest, forest-*.safetensors\n{TABLE}, with the features of the forest",
        epilog=EXPLAIN_EXAMPLES,
    )
    parser.add_argument("--top", metavar="N", type=_values.features, default=5, help="number of features (default: 5)")
    add_rows_of_forest(parser)
    parser.set_defaults(run="explain", json=False)


def _add_report(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        short_usage="isoxide report FINDINGS [options]",
        n_files=1,
        help="write the reports again from findings",
        description="Write the reports again, with other options, from findings that `isoxide detect` wrote.\n\n"
        "FINDINGS: the file of the findings, findings-*.json",
        epilog=REPORT_EXAMPLES,
    )
    parser.add_argument("findings", metavar="FINDINGS", type=_values.local_path, help=argparse.SUPPRESS)
    add_report_options(parser)
    add_log(parser)
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
        epilog=DECIDE_EXAMPLES,
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
    add_log(parser, beside="the folder of the run")
    add_json(parser)
    parser.set_defaults(run="decide")


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        short_usage="isoxide compare RUN_A RUN_B [options]",
        n_files=2,
        help="tell which findings of a run are new, again there, stronger or gone",
        description="Compare the findings of RUN_B with those of the earlier RUN_A.\n\n"
        "RUN_A, RUN_B: the folders of runs, or their findings-*.json",
        epilog=COMPARE_EXAMPLES,
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
    add_json(parser)
    parser.set_defaults(run="compare")


def _add_log_command(commands: Any) -> None:
    parser = commands.add_parser(
        "log",
        short_usage="isoxide log [FILE] [--verify] [options]",
        help="print the log of runs, or verify it",
        description="Print a line for each run, or verify that no line and no result was changed.\n\n"
        "FILE: the log (default: runs.jsonl)",
        epilog=LOG_EXAMPLES,
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
    add_json(parser)
    parser.set_defaults(run="log")
