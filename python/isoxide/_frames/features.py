"""Choose the feature columns of a table, and give the reason why each other column is not one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa

from isoxide._common.messages import did_you_mean
from isoxide._common.patterns import as_patterns, select
from isoxide._frames.dtypes import describe_dtype, is_number
from isoxide._frames.source import ChooseRoles, Roles

__all__ = ["choose_features", "need_column", "roles_of_features"]


def need_column(names: Iterable[str], name: str, argument: str, source_name: str) -> None:
    """Refuse the name of a column that a table does not have.

    Parameters
    ----------
    names : iterable of str
        Names of the table's columns.
    name : str
        Name to look for.
    argument, source_name : str
        Argument that gave the name, and name of the table, for the message.

    Raises
    ------
    ValueError
        If no column has the name; the message suggests a similar one or lists those that exist.
    """
    names = list(names)
    if name in names:
        return
    if not isinstance(name, str):
        raise ValueError(f"{argument}={name!r} must be the name of a column, as a string")
    listed = ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    hint = did_you_mean(name, names) or f"; there are {listed}"
    raise ValueError(f"{source_name} has no column {name!r} ({argument}){hint}")


def _check_patterns(names: list[str], argument: str, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"{argument} must be names or patterns of columns, got {pattern!r}")
        if not select(names, pattern):
            raise ValueError(f"{argument} has {pattern!r}, which matches no column{did_you_mean(pattern, names)}")


def roles_of_features(
    entity: str,
    time: str,
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
) -> ChooseRoles:
    """Return a function that assigns roles to the columns of a table with one row per entity and time.

    Parameters
    ----------
    entity, time : str
        Names of the columns of keys, which stay text.
    include, exclude : str or list of str, optional
        Names or patterns of the columns that may be features, by default all, and of those that may not. A column
        named in full by `include` must hold numbers. Columns that may not be features are ignored.
    """
    include = None if include is None else as_patterns(include)
    exclude = as_patterns(exclude)

    def roles(names: list[str], source_name: str) -> Roles:
        _check_roles(names, entity, time, source_name)
        _check_patterns(names, "include", include or [])
        _check_patterns(names, "exclude", exclude)
        selected = set(names if include is None else select(names, include)) - set(select(names, exclude))
        keys = {entity, time}
        named = {name for name in include or [] if name in selected} - keys
        return Roles(frozenset(keys), frozenset(named), frozenset(set(names) - selected - keys))

    return roles


def _check_roles(names: list[str], entity: str, time: str, source_name: str) -> None:
    if len(names) == 1 and entity not in names and (sep := next((s for s in ";\t|," if s in names[0]), None)):
        raise ValueError(
            f"{source_name} has a single column, {names[0][:80]!r}: its values seem to be separated by {sep!r}; "
            f"give sep={sep!r}"
        )
    need_column(names, entity, "entity", source_name)
    need_column(names, time, "time", source_name)
    if entity == time:
        raise ValueError(f"entity and time are both {entity!r}; they must be different columns")


def choose_features(
    schema: pa.Schema,
    entity: str,
    time: str,
    *,
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
    is_empty: Callable[[str], bool],
    reasons: Mapping[str, str],
) -> tuple[list[str], dict[str, str]]:
    """Return the names of the features, and for each other column the reason why it is not one.

    Parameters
    ----------
    schema : pyarrow.Schema
        Names and types of all columns.
    entity, time : str
        Names of the columns of keys, which are never features.
    include, exclude : str or list of str, optional
        Names or patterns of the columns that may be features, by default all, and of those that may not.
    is_empty : callable
        Function of the name of a column of numbers; returns whether the column has no values at all.
    reasons : mapping of str to str
        Reasons why columns of text hold no numbers, by name, if their cells were inspected.

    Raises
    ------
    ValueError
        If a pattern matches no column, a column named in full does not hold numbers, or no column can be a feature.
    """
    names = schema.names
    patterns = None if include is None else as_patterns(include)
    _check_patterns(names, "include", patterns or [])
    _check_patterns(names, "exclude", as_patterns(exclude))
    selected = set(names if patterns is None else select(names, patterns)) - set(select(names, exclude))
    features, left_out = [], {}
    for name in names:
        if name in (entity, time):
            continue
        dtype = schema.field(name).type
        if name not in selected:
            left_out[name] = "not chosen"
        elif reasons.get(name) == "no values" or (pa.types.is_null(dtype) and name not in reasons):
            left_out[name] = "no values"
        elif not is_number(dtype):
            reason = reasons.get(name, describe_dtype(dtype))
            if patterns is not None and name in patterns:
                raise ValueError(f"include has {name!r}, which is not a column of numbers: {reason}")
            left_out[name] = reason
        elif is_empty(name):
            left_out[name] = "no values"
        else:
            features.append(name)
    if not features:
        listed = "; ".join(f"{name!r}: {reason}" for name, reason in list(left_out.items())[:8]) or "none"
        more = f"; and {len(left_out) - 8} more" if len(left_out) > 8 else ""
        raise ValueError(f"no column except {entity!r} and {time!r} can be a feature; columns left out: {listed}{more}")
    return features, left_out
