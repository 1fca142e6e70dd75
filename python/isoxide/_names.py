"""Choose columns by name or pattern, with the same meaning everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

__all__ = ["as_patterns", "select"]


def as_patterns(patterns: str | Iterable[str] | None) -> list[str]:
    """Return one pattern, several or none as a list."""
    if patterns is None:
        return []
    return [patterns] if isinstance(patterns, str) else list(patterns)


def select(names: Sequence[str], patterns: str | Iterable[str] | None) -> list[str]:
    """Return the names that patterns select, in the order of the names.

    A pattern that equals a name selects this name alone, whatever brackets and wildcards are in it. Any other pattern
    selects what `fnmatch.fnmatchcase` matches.

    Parameters
    ----------
    names : sequence of str
        The names to choose from.
    patterns : str or iterable of str, optional
        Names or patterns such as ``"n_*"``; None selects nothing.

    Returns
    -------
    list of str
        Each selected name once.

    Examples
    --------
    >>> from isoxide._names import select
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
