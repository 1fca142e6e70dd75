"""Argument parser that accepts negative numbers, and lists of values before the table.

argparse takes ``-1e-3`` for an option, and gives an option with several values all arguments up to the next option, the
table included. So this parser first rewrites the arguments, so that each value is tied to its option:

```text
--threshold -1e-3            ->  --threshold=-1e-3
--exclude a b t.csv          ->  --exclude=a --exclude=b t.csv    if there is no other table
t.csv --exclude a b          ->  --exclude=a --exclude=b t.csv
```
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from isoxide._cli._messages import one_line, tell
from isoxide._common.messages import closest_name

__all__ = ["Parser"]

#: Options of early versions, with the options that took their place.
RENAMED_OPTIONS = {"--budget": "--alerts-per-month", "--always": "--always-show"}


class Parser(argparse.ArgumentParser):
    """Parser whose options may be before or after the files, and whose errors take one line.

    Parameters
    ----------
    short_usage : str
        Usage that is shown with an error.
    n_files : int, default=0
        Smallest number of file names that the command needs.
    **options
        Further arguments of `argparse.ArgumentParser`.
    """

    def __init__(self, *, short_usage: str, n_files: int = 0, **options: Any) -> None:
        super().__init__(
            usage=short_usage, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )
        self._short_usage, self._n_files = short_usage, n_files
        #: Names of options that take several values.
        self.lists: set[str] = set()

    def add_list(self, group: Any, name: str, *, may_be_empty: bool = False, **options: Any) -> None:
        """Add an option that takes several values, one after the other or each with the option again.

        Parameters
        ----------
        group : argparse.ArgumentParser or argument group
            Group of options that help shows it in.
        name : str
            Name of the option.
        may_be_empty : bool, default=False
            Whether the option may be given without values, which gives an empty list.
        **options
            Further arguments of `add_argument`.
        """
        self.lists.add(name)
        if may_be_empty:
            options.update(nargs="?", const="")
        group.add_argument(name, action="append", **options)

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the arguments of a command, and refuse unknown ones with a suggestion.

        The parser of each command does this, since the main parser does not know the options of a command.
        """
        arguments = list(sys.argv[1:] if args is None else args)
        if not self._n_files:
            return super().parse_known_args(arguments, namespace)
        options, unknown = super().parse_known_args(self._rewritten(arguments), namespace)
        if unknown and not unknown[0].startswith("-"):
            self.error(f"unexpected argument {unknown[0]!r}")
        if unknown:
            name = unknown[0].partition("=")[0]
            known = [option for option in self._option_string_actions if option.startswith("--")]
            renamed = RENAMED_OPTIONS.get(name)
            close = renamed if renamed in known else closest_name(name, known)
            self.error(f"there is no option {name}" + (f"; did you mean {close}?" if close else ""))
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """Print an error in one line, and exit with 2."""
        if message.endswith("expected one argument"):
            option = message.removeprefix("argument ").partition(":")[0]
            message += f" (write a value that begins with - as {option}=-...)"
        tell(f"{self.prog}: error: {one_line(message)}; usage: {self._short_usage}; see {self.prog} --help")
        raise SystemExit(2)

    def _rewritten(self, arguments: Sequence[str]) -> list[str]:
        """Return the options with their values tied to them, then the names of files."""
        options: list[str] = []
        files: dict[int, str] = {}
        # Arguments after the first value of a list are further values, unless they are needed as names of files.
        further: dict[int, tuple[str, str]] = {}
        current_list = ""
        position = 0
        while position < len(arguments):
            argument = arguments[position]
            position += 1
            if argument == "--":
                files.update(enumerate(arguments[position:], start=position))
                break
            if not self._is_option(argument):
                if current_list:
                    further[position] = current_list, argument
                else:
                    files[position] = argument
                continue
            name, has_value, _ = argument.partition("=")
            action = self._option_string_actions.get(name)
            current_list = ""
            takes_value = action is not None and action.nargs != 0
            has_next = position < len(arguments) and not self._is_option(arguments[position])
            if takes_value and not has_value and has_next:
                options.append(f"{argument}={arguments[position]}")
                position += 1
                current_list = name if name in self.lists else ""
            else:
                options.append(argument)
        for index in sorted(further, reverse=True):
            if len(files) < self._n_files:
                _, files[index] = further.pop(index)
        options += [f"{name}={value}" for name, value in further.values()]
        return [*options, "--", *(files[index] for index in sorted(files))] if files else options

    def _is_option(self, argument: str) -> bool:
        """Return whether an argument is an option: it begins with ``-``, and is neither ``-`` nor a number."""
        if not argument.startswith("-") or argument == "-":
            return False
        try:
            float(argument)
        except ValueError:
            return True
        return False
