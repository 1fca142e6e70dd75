"""An argument parser that people need not outwit.

argparse takes ``-1e-3`` for an option, and gives an option that takes several values every word up to the next option,
the table included. So the words of a command are sorted here first, and argparse gets each value tied to its option:

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


class Parser(argparse.ArgumentParser):
    """A parser whose options may stand before and after the files, and whose errors take one line.

    Parameters
    ----------
    short_usage : str
        The usage that is shown with an error.
    n_files : int
        How many file names the command needs at least.
    **more
        Passed on to `argparse.ArgumentParser`.
    """

    def __init__(self, *, short_usage: str, n_files: int = 0, **more: Any) -> None:
        super().__init__(
            usage=short_usage, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **more
        )
        self._short_usage, self._n_files = short_usage, n_files
        #: Options that take several values.
        self.lists: set[str] = set()

    def add_list(self, group: Any, name: str, *, may_be_empty: bool = False, **more: Any) -> None:
        """Add an option that takes several values: one after the other, or the option again for each.

        Parameters
        ----------
        group : argparse.ArgumentParser or argument group
            Where help shows it.
        name : str
            The option.
        may_be_empty : bool
            Whether the option without any value is accepted; it gives an empty list.
        **more
            Passed on to `add_argument`.
        """
        self.lists.add(name)
        if may_be_empty:
            more.update(nargs="?", const="")
        group.add_argument(name, action="append", **more)

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse the words of a command; what is not known is refused here, by the parser that knows the options."""
        words = list(sys.argv[1:] if args is None else args)
        if not self._n_files:
            return super().parse_known_args(words, namespace)
        found, unknown = super().parse_known_args(self._sorted(words), namespace)
        if unknown and not unknown[0].startswith("-"):
            self.error(f"unexpected argument {unknown[0]!r}")
        if unknown:
            known = [name for name in self._option_string_actions if name.startswith("--")]
            close = closest_name(unknown[0].partition("=")[0], known)
            self.error(f"there is no option {unknown[0]}" + (f"; did you mean {close}?" if close else ""))
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong, and exit with 2."""
        if message.endswith("expected one argument"):
            option = message.removeprefix("argument ").partition(":")[0]
            message += f" (a value that begins with - is given as {option}=-...)"
        tell(f"{self.prog}: error: {one_line(message)}; usage: {self._short_usage}; see {self.prog} --help")
        raise SystemExit(2)

    def _sorted(self, words: Sequence[str]) -> list[str]:
        """Return options with their values tied to them, then the names of files."""
        options: list[str] = []
        files: dict[int, str] = {}
        #: Words after the first value of a list: further values, unless they are needed as names of files.
        further: dict[int, tuple[str, str]] = {}
        current = ""
        place = 0
        while place < len(words):
            word = words[place]
            place += 1
            if word == "--":
                files.update(enumerate(words[place:], start=place))
                break
            if not self._is_option(word):
                if current:
                    further[place] = current, word
                else:
                    files[place] = word
                continue
            name, has_value, _ = word.partition("=")
            action = self._option_string_actions.get(name)
            current = ""
            takes_value = action is not None and action.nargs != 0
            if takes_value and not has_value and place < len(words) and not self._is_option(words[place]):
                options.append(f"{word}={words[place]}")
                place += 1
                current = name if name in self.lists else ""
            else:
                options.append(word)
        for at in sorted(further, reverse=True):
            name, word = further[at]
            if len(files) < self._n_files:
                files[at] = word
                del further[at]
        options += [f"{name}={word}" for name, word in further.values()]
        return [*options, "--", *(files[at] for at in sorted(files))] if files else options

    def _is_option(self, word: str) -> bool:
        """Whether a word is an option rather than a value: not ``-``, and no number."""
        if not word.startswith("-") or word == "-":
            return False
        try:
            float(word)
        except ValueError:
            return True
        return False
