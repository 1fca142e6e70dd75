"""Options that several commands share, and their defaults."""

from __future__ import annotations

import argparse
from typing import Any

from isoxide._cli import _values
from isoxide._cli._arguments import Parser

__all__ = [
    "DEFAULT_DECISIONS",
    "DEFAULT_MODEL",
    "DEFAULT_OUT",
    "ENTITY_NAMES",
    "MODEL_OPTIONS",
    "READING",
    "TIME_NAMES",
    "add_amount",
    "add_json",
    "add_log",
    "add_model",
    "add_ranks",
    "add_reading",
    "add_report_options",
    "add_review",
    "add_rows_of_forest",
    "add_table",
    "add_train_on_this",
]

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
READING = ("sep", "decimal", "thousands", "missing", "encoding", "upcast", "time_format", "timezone")


def add_table(parser: Parser, *, seed: bool = True) -> None:
    """Add the table, its columns for entity and time, its features, the seed and the number of threads."""
    parser.add_argument("table", metavar="TABLE", nargs="+", type=_values.path_or_url, help=argparse.SUPPRESS)
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


def add_reading(parser: Parser, *, times: bool = True) -> None:
    """Add the options for reading text files and folders, and for times."""
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
    reading.add_argument(
        "--upcast",
        action="store_const",
        const=True,
        help="read a column that files store with different types, such as int32 and int64, as the narrowest type that "
        "holds all values exactly (default: refuse such files)",
    )
    if times:
        reading.add_argument(
            "--time-format", metavar="FORMAT", help="format of the times, such as %%d.%%m.%%Y (default: ISO 8601)"
        )
        reading.add_argument("--timezone", metavar="ZONE", help="time zone that decides which day a time belongs to")


def add_amount(parser: Parser, *, top: bool = False) -> None:
    """Add the options that say how many rows are anomalies, of which one may be given."""
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


def add_train_on_this(parser: Parser) -> None:
    """Add the option that allows training on a small table."""
    parser.add_argument(
        "--train-on-this",
        action="store_const",
        const=True,
        help="train on the table even if it has fewer rows than a tree draws (256), or a single day",
    )


def add_ranks(parser: Parser) -> None:
    """Add the options of ranks and of the bands of rarity."""
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
        "column, within the entity's own history; 'size' makes bands of rows of similar size (default: among all rows)",
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


def add_model(parser: Parser, *, required: bool) -> None:
    """Add the folder of a model, and the first day to score."""
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


def add_review(parser: Parser) -> None:
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


def add_report_options(parser: Parser) -> None:
    """Add the options of reports and of the files that are written."""
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
    add_json(parser)


def add_rows_of_forest(parser: Parser) -> None:
    """Add the forest, the table and the output of commands that write a line for each row."""
    parser.add_argument("model", metavar="MODEL", type=_values.path_or_url, help=argparse.SUPPRESS)
    parser.add_argument("table", metavar="TABLE", nargs="+", type=_values.path_or_url, help=argparse.SUPPRESS)
    add_reading(parser, times=False)
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


def add_log(parser: Parser, *, beside: str = "the folder --out") -> None:
    """Add the option with the log of runs."""
    parser.add_argument(
        "--log",
        metavar="FILE",
        type=_values.local_path,
        help=f"log that the run adds a line to (default: runs.jsonl beside {beside})",
    )


def add_json(parser: Parser) -> None:
    """Add the option that prints a JSON object instead of text."""
    parser.add_argument("--json", action="store_true", help="print a summary of the results as JSON")


def _listed(names: tuple[str, ...]) -> str:
    """Return names as an enumeration for help texts."""
    return f"{', '.join(names[:-1])} or {names[-1]}"
