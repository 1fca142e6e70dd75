"""Run a command: parse arguments, call the command, and turn every error into one line and an exit code."""

from __future__ import annotations

import os
import re
import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress

from isoxide._cli import _messages
from isoxide._cli._options import MODEL_OPTIONS, READING
from isoxide._cli._parser import make_parser
from isoxide._cli._session import Session
from isoxide._cli._signals import Signals
from isoxide._cli._values import output_format

__all__ = ["run"]

#: Names of the columns of `explain`.
_EXPLAINED = r"top_[0-9]+_(feature|value|contribution|share)"
#: Number of limits of --bands.
N_BANDS = 3
#: Optional packages, with the extra of isoxide that installs them.
_EXTRAS = {"pandas": "ueba", "pyarrow": "ueba", "jinja2": "ueba", "tqdm": "ueba", "matplotlib": "plots"}


def run(arguments: Sequence[str] | None, signals: Signals) -> int:
    """Run the command, and return its exit code.

    Parameters
    ----------
    arguments : list of str or None
        Arguments of the command. None means the arguments of this process.
    signals : Signals
        Installed signal handlers.
    """
    session = Session(signals)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if signals.own_process:
        for stream in (sys.stdout, sys.stderr):
            # Escape characters that the terminal cannot write.
            with suppress(AttributeError):
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Warnings of libraries address programmers; only warnings of this package address users.
        warnings.filterwarnings("always", category=UserWarning, module=r"isoxide\b")
        warnings.showwarning = session.note
        try:
            code = _run(arguments, session)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BaseException as error:
            code = _code(error, session)
    for note in session.notes:
        _messages.tell(f"isoxide: note: {_messages.one_line(_messages.in_options(note))}")
    return code


def _run(arguments: list[str], session: Session) -> int:
    """Parse the arguments, and call the command."""
    parser = make_parser()
    if not arguments:
        if sys.stderr is not None:
            parser.print_help(sys.stderr)
        return 2
    options = parser.parse_args(arguments)
    options.arguments = arguments
    if (misuse := _misuse(options)) is not None:
        _messages.tell(f"isoxide {options.run}: error: {misuse}; see isoxide {options.run} --help")
        return 2
    options.reading = {name: value for name in READING if (value := getattr(options, name, None)) is not None}
    from isoxide._cli import _commands, _model_commands, _review_commands

    commands = {
        "detect": _commands.detect if getattr(options, "model", None) is None else _model_commands.detect_with_model,
        "train": _model_commands.train,
        "drift": _model_commands.drift,
        "calibrate": _commands.calibrate,
        "score": _commands.score,
        "explain": _commands.explain,
        "report": _commands.report,
        "decide": _review_commands.decide,
        "compare": _review_commands.compare,
        "log": _review_commands.log,
    }
    return commands[options.run](options, session) or 0


def _misuse(options: Namespace) -> str | None:
    """Return an error if options contradict each other, or None."""
    if getattr(options, "table", []).count("-") > 1:
        return "standard input (-) can be read only once; give it once"
    if options.run in ("score", "explain"):
        keep = options.keep = options.keep or []
        for name in keep:
            if keep.count(name) > 1:
                return f"--keep names {name!r} twice"
            if name in ("score", "anomaly") or (options.run == "explain" and re.fullmatch(_EXPLAINED, name)):
                return f"--keep names {name!r}, which is a column of the results; rename it in the table"
        if options.resume and (options.out is None or output_format(options.out) != "folder"):
            return "--resume needs --out with the folder of the scores"
    if options.run == "detect":
        columns = options.users_columns or []
        if len({*columns}) < len(columns):
            return "--users-columns names a column twice"
        given = [name for name in ("users_on", "users_columns", "users_sep") if getattr(options, name) is not None]
        if given and options.users is None:
            return f"--{given[0].replace('_', '-')} needs --users"
        if options.model is not None:
            for name in MODEL_OPTIONS:
                if getattr(options, name) is not None:
                    return f"--{_option(name)} cannot be given with --model, which has it from its training"
        else:
            for name in ("since", *(["fail_on"] if "drift" in (options.fail_on or []) else [])):
                if getattr(options, name) is not None:
                    return f"--{_option(name)}{' drift' if name == 'fail_on' else ''} needs --model"
    if options.run in ("detect", "report"):
        options.format = _formats(options)
        if options.open and "html" not in options.format:
            return "--open needs --format html"
    if options.run in ("detect", "train") and options.bands is not None and len(options.bands) != N_BANDS:
        return f"--bands needs {N_BANDS} numbers, not {len(options.bands)}"
    for name, default in MODEL_OPTIONS.items():
        if getattr(options, name, default) is None:
            setattr(options, name, default)
    # Without --always-show, the findings record whether reports list is_weekend.
    if options.run in ("detect", "report") and options.always_show is not None:
        options.always_show = [name for name in options.always_show if name]
    return None


def _formats(options: Namespace) -> set[str]:
    """Return the formats to write: those that --format names, or the usual ones of the command."""
    usual = [["csv", "parquet", "md", "html"]] if options.run == "detect" else [["md", "html"]]
    # Other commands read a run from its JSON.
    kept = {"json"} if options.run == "detect" else set()
    return {name for names in options.format or usual for name in names} | kept


def _option(name: str) -> str:
    """Return the name of an option without the leading dashes."""
    return {"domain_defaults": "no-domain-defaults"}.get(name, name.replace("_", "-"))


def _code(error: BaseException, session: Session) -> int:
    """Print the error that ended the command, and return the exit code."""
    signals = session.signals
    # Some libraries convert the exception of a signal to another class.
    if signals.number is not None:
        return session.fail(signals.message, signals.code)
    if isinstance(error, KeyboardInterrupt):
        return session.fail(f"interrupted; {signals.outcome}", 130)
    if isinstance(error, SystemExit):
        _close_output()
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        # The program that reads the output has ended, so nobody would see a message.
        _close_output()
        return 1
    if isinstance(error, MemoryError):
        return session.fail("out of memory; use fewer columns (include, exclude)")
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return session.fail(f"{error.name} is not installed: pip install 'isoxide[{_EXTRAS[error.name]}]'")
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename is not None and error.strerror else ""
        _close_output()
        # Results are moved to the output folder before they are printed, so printing can fail after that.
        result = f"; {signals.outcome}" if signals.outcome.startswith("all results") else ""
        return session.fail(f"{file}{error.strerror or error}{result}")
    if isinstance(error, (ValueError, TypeError, ImportError)):
        return session.fail(str(error))
    if sys.flags.dev_mode:
        raise error
    return session.fail(
        f"unexpected {type(error).__name__}: {error}; this is a bug in isoxide, please report it "
        "(python -X dev -m isoxide ... shows the traceback)"
    )


def _close_output() -> None:
    """Flush standard output, or discard its buffer if that fails, so that the interpreter does not try again."""
    with suppress(OSError, AttributeError, ValueError):
        sys.stdout.flush()
        return
    with suppress(OSError, AttributeError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
