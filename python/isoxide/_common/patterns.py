"""Choose columns by name or pattern, and check lists of names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

__all__ = ["as_patterns", "check_distinct", "check_known", "name_list", "names_without", "select"]


def as_patterns(patterns: str | Iterable[str] | None) -> list[str]:
    """Return a single pattern, several patterns or None as a list."""
    if patterns is None:
        return []
    return [patterns] if isinstance(patterns, str) else list(patterns)


def select(names: Sequence[str], patterns: str | Iterable[str] | None) -> list[str]:
    """Return the names that patterns select, in the order of the names.

    A pattern that equals a name selects this name alone, even if it contains brackets or wildcards. Any other pattern
    selects the names that `fnmatch.fnmatchcase` matches.

    Parameters
    ----------
    names : sequence of str
        Names to choose from.
    patterns : str or iterable of str, optional
        Names or patterns such as ``"n_*"``; None selects nothing.

    Returns
    -------
    list of str
        Distinct selected names.

    Examples
    --------
    >>> from isoxide._common.patterns import select
    >>> select(["bytes [MB]", "bytes M", "logins"], ["bytes [MB]"])
    ['bytes [MB]']
    >>> select(["n_a", "n_b", "logins"], "n_*")
    ['n_a', 'n_b']
    """
    known, selected = set(names), set()
    for pattern in as_patterns(patterns):
        if pattern in known:
            selected.add(pattern)
        else:
            selected.update(name for name in known if fnmatchcase(str(name), pattern))
    return [name for name in dict.fromkeys(names) if name in selected]


def name_list(names: Iterable[str], argument: str) -> list[str]:
    """Return names as a list; refuse a string, which would become a list of letters."""
    if isinstance(names, str):
        raise ValueError(f"{argument} must be a list of names, got the string {names!r}")
    return list(names)


def check_distinct(names: list[str], subject: str) -> None:
    """Refuse names that occur more than once; `subject` is the subject of the message."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{subject} must differ, but these occur more than once: {repeated}")


def check_known(names: list[str], known: list[str], message: str) -> None:
    """Refuse names that are not in `known`; the error is `message` followed by the unknown names."""
    unknown = names_without(names, known)
    if unknown:
        raise ValueError(f"{message}: {unknown}")


def names_without(names: list[str], others: list[str]) -> list[str]:
    """Return the names that are not in `others`, in order."""
    known = set(others)
    return [name for name in names if name not in known]
