"""Check the values of command-line options before any work is done."""

from __future__ import annotations

import argparse
import codecs
import datetime
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

from isoxide._cli._messages import tell
from isoxide._common.stores import without_secrets

__all__ = [
    "anomaly_score",
    "column_separator",
    "day",
    "encoding",
    "features",
    "formats",
    "hash_start",
    "jobs",
    "link",
    "local_path",
    "number",
    "output_format",
    "path_or_url",
    "picture_path",
    "scores_path",
    "seed",
    "single_character",
]

MAX_SEED = 2**32 - 1
#: Smallest number of digits that name a hash.
MIN_HASH_DIGITS = 8
#: Formats that `isoxide score` writes, by the end of the file name; any other name is a folder.
SCORES = {".csv": "csv", ".csv.gz": "csv.gz", ".parquet": "parquet", ".parq": "parquet", ".pq": "parquet"}
#: Formats of findings and reports that --format names.
FORMATS = ("csv", "parquet", "json", "md", "html", "ocsf", "ecs")
PICTURES = (".png", ".svg", ".pdf")


def number(
    *,
    above: float = -math.inf,
    below: float = math.inf,
    low: float = -math.inf,
    high: float = math.inf,
    description: str,
) -> Callable[[str], float]:
    """Return a function that checks a finite number within bounds.

    Parameters
    ----------
    above, below : float, optional
        Bounds that the number must lie between.
    low, high : float, optional
        Smallest and largest number that is accepted.
    description : str
        Description of the accepted numbers for the message.
    """

    def check(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and above < value < below and low <= value <= high):
            raise argparse.ArgumentTypeError(f"{text!r} is not {description}")
        return value

    return check


def anomaly_score(text: str) -> float:
    """Check an anomaly score, or convert a negative score of ``decision_function`` and tell what it means."""
    description = (
        "an anomaly score between 0 and 1, such as 0.6; `isoxide calibrate` prints how many rows are above each"
    )
    value = number(above=-0.5, below=1, description=description)(text)
    if value > 0:
        return value
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not {description}")
    # The threshold of scikit-learn's default offset. Scores at it are anomalies too, hence the number below.
    score = math.nextafter(0.5 - value, 0)
    tell(
        f"--threshold {text}: a negative number is a score of decision_function, and means the anomaly score {score:g}"
    )
    return score


def seed(text: str) -> int:
    """Check the seed of a forest, which is an unsigned 32-bit integer."""
    value = _integer(text)
    if value is None or not 0 <= value <= MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 0 to {MAX_SEED}")
    return value


def jobs(text: str) -> int:
    """Check a number of threads; as in scikit-learn, -1 means all cores, -2 all but one, and so on."""
    value = _integer(text)
    if value is None or value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of threads: give 1 or more, or -1 for all cores")
    return value


def day(text: str) -> str:
    """Check a day in ISO 8601."""
    try:
        # From Python 3.11 on, other forms are days, too.
        if datetime.date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2025-04-26")


def rows(text: str) -> int:
    """Check a number of rows, which is at least 1."""
    value = _integer(text)
    if value is None or value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows: give an integer of at least 1")
    return value


def features(text: str) -> int:
    """Check a number of features, which is at least 1."""
    value = _integer(text)
    if value is None or value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of features: give an integer of at least 1")
    return value


def hash_start(text: str) -> str:
    """Check the first digits of a SHA-256."""
    if not re.fullmatch(rf"[0-9a-fA-F]{{{MIN_HASH_DIGITS},64}}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a hash: give its first {MIN_HASH_DIGITS} to 64 digits")
    return text


def _integer(text: str) -> int | None:
    """Parse an integer; return None if the text is not one."""
    try:
        return int(text)
    except ValueError:
        return None


def formats(text: str) -> list[str]:
    """Check a list of formats, separated by commas."""
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"{name!r} is not a format: choose from {', '.join(FORMATS)}")
    return names


def column_separator(text: str) -> str:
    r"""Check the field delimiter of a CSV file; a tab can be written as ``\t`` or ``tab``."""
    return "\t" if text in (r"\t", "tab") else single_character(text)


def single_character(text: str) -> str:
    """Check that a value is a single character."""
    if len(text) != 1 or text in '\r\n"':
        raise argparse.ArgumentTypeError(f"{text!r} is not a single character, such as ','")
    return text


def encoding(text: str) -> str:
    """Check the name of a text encoding."""
    try:
        codecs.lookup(text)
    except (LookupError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a text encoding: try utf-8, utf-16 or cp1252") from None
    return text


def path_or_url(text: str) -> str:
    """Check a path or a URL; a leading ``~`` of a path is replaced by the home folder, as in `local_path`."""
    return text if "://" in text else local_path(text)


def local_path(text: str) -> str:
    """Replace a leading ``~`` by the home folder, unless a file with exactly this name exists."""
    if not text:
        raise argparse.ArgumentTypeError("the name of the file is empty")
    if "://" in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} is a URL, but this must be a path of this machine: copy the file or folder to it, or from it"
        )
    if ":/" in text:
        # Other paths need no import.
        from isoxide._common.stores import refuse_lost_slash

        try:
            refuse_lost_slash(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return text if os.path.lexists(text) else os.path.expanduser(text)


def link(text: str) -> str:
    """Check the template of a link to another system."""
    # Only this option needs the parser of addresses.
    from isoxide._common.links import LinkTemplate

    try:
        LinkTemplate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("link=")) from None
    return text


def scores_path(text: str) -> str:
    """Check the name of the file or folder that scores are written to."""
    path = path_or_url(text)
    name = without_secrets(path)
    is_folder = not Path(name).suffix or name.endswith(("/", os.sep)) or Path(name).is_dir()
    if output_format(path) == "folder" and not is_folder:
        raise argparse.ArgumentTypeError(
            f"scores cannot be written as {Path(name).suffix}: end the name with {', '.join(SCORES)}, "
            "or with / for a folder of Parquet files"
        )
    return path


def output_format(path: str) -> str:
    """Return ``"csv"``, ``"csv.gz"``, ``"parquet"`` or ``"folder"``."""
    path = without_secrets(path)
    if path.endswith(("/", os.sep)) or Path(path).is_dir():
        return "folder"
    name = Path(path).name.lower()
    return next((format_ for end, format_ in SCORES.items() if name.endswith(end)), "folder")


def picture_path(text: str) -> str:
    """Check the name of a picture file."""
    path = local_path(text)
    if Path(path).suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r} does not end with {', '.join(PICTURES)}")
    return path
