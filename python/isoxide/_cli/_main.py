"""Arguments in, results out, one line per error."""

from __future__ import annotations

import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress

from isoxide._cli import _messages
from isoxide._cli._parser import READING, make_parser
from isoxide._cli._session import Session
from isoxide._cli._signals import Signals
from isoxide._cli._values import output_format

__all__ = ["run"]

#: Packages that are not needed by the library itself, and how they are installed with it.
_EXTRAS = {"pandas": "ueba", "pyarrow": "ueba", "jinja2": "ueba", "tqdm": "ueba", "matplotlib": "plots"}


def run(arguments: Sequence[str] | None, signals: Signals) -> int:
    """Run the command, and return its exit code.

    Parameters
    ----------
    arguments : list of str or None
        The command's arguments; None means those of this process.
    signals : Signals
        The handlers that are installed.
    """
    session = Session(signals)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if signals.own_process:
        for stream in (sys.stdout, sys.stderr):
            # What a terminal cannot write is shown escaped.
            with suppress(AttributeError):
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Libraries warn programmers; what users should know comes from this package.
        warnings.filterwarnings("always", category=UserWarning, module=r"isoxide\b")
        warnings.showwarning = session.note
        try:
            code = _run(words, session)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BaseException as error:
            code = _code(error, session)
    for note in session.notes:
        _messages.tell(f"isoxide: note: {_messages.one_line(_messages.in_options(note))}")
    return code


def _run(words: list[str], session: Session) -> int:
    parser = make_parser()
    if not words:
        if sys.stderr is not None:
            parser.print_help(sys.stderr)
        return 2
    options = parser.parse_args(words)
    if (misuse := _misuse(options)) is not None:
        _messages.tell(f"isoxide {options.run}: error: {misuse}; see isoxide {options.run} --help")
        return 2
    options.reading = {name: value for name in READING if (value := getattr(options, name, None)) is not None}
    from isoxide._cli import _commands

    getattr(_commands, options.run)(options, session)
    return 0


def _misuse(options: Namespace) -> str | None:
    """Check what concerns several options; None if there is nothing to object to."""
    if getattr(options, "table", []).count("-") > 1:
        return "standard input (-) can be read only once"
    if options.run == "score":
        keep = options.keep = options.keep or []
        for name in keep:
            if keep.count(name) > 1:
                return f"--keep names {name!r} twice"
            if name in ("score", "anomaly"):
                return f"--keep names {name!r}, which is the name of a column of the results"
        if options.resume and (options.out is None or output_format(options.out) != "folder"):
            return "--resume needs the folder of scores: --out"
    if options.run == "detect":
        columns = options.users_columns or []
        if len({*columns}) < len(columns):
            return "--users-columns names a column twice"
        given = [name for name in ("users_on", "users_columns", "users_sep") if getattr(options, name) is not None]
        if given and options.users is None:
            return f"--{given[0].replace('_', '-')} needs --users"
    # Without the option, the findings know whether is_weekend has a meaning.
    if options.run in ("detect", "report") and options.always_show is not None:
        options.always_show = [name for name in options.always_show if name]
    return None


def _code(error: BaseException, session: Session) -> int:
    """Say what ended the command, and return its exit code."""
    signals = session.signals
    # What is raised by a signal becomes an error of another kind on its way through some libraries.
    if signals.number is not None:
        return session.fail(signals.message, signals.code)
    if isinstance(error, KeyboardInterrupt):
        return session.fail(f"interrupted; {signals.outcome}", 130)
    if isinstance(error, SystemExit):
        _close_output()
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        # Whoever read the output has gone: there is nothing to say, and nobody to say it to.
        _close_output()
        return 1
    if isinstance(error, MemoryError):
        return session.fail("out of memory; try fewer columns (include, exclude)")
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return session.fail(f"{error.name} is not installed: pip install 'isoxide[{_EXTRAS[error.name]}]'")
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None and error.strerror else ""
        _close_output()
        # Results are in place before they are printed.
        result = f"; {signals.outcome}" if signals.outcome.startswith("all results") else ""
        return session.fail(f"{where}{error.strerror or error}{result}")
    if isinstance(error, (ValueError, TypeError, ImportError)):
        return session.fail(str(error))
    if sys.flags.dev_mode:
        raise error
    return session.fail(
        f"unexpected {type(error).__name__}: {error}; this is a defect of isoxide, please report it "
        "(python -X dev -m isoxide ... shows where)"
    )


def _close_output() -> None:
    """Let what is left in the buffer go nowhere: the interpreter would try to write it once more, and complain."""
    with suppress(OSError, AttributeError, ValueError):
        sys.stdout.flush()
        return
    with suppress(OSError, AttributeError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
