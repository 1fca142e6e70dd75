"""Which columns of a table are features, and why the others are not."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa

from isoxide._common.patterns import as_patterns, select
from isoxide._frames.source import ChooseRoles, Roles

__all__ = ["choose_features", "is_number", "need_column", "roles_of_features", "told_type"]


def is_number(dtype: pa.DataType) -> bool:
    """Return whether values of a type are numbers that a forest takes; decimals of databases and booleans are."""
    types = pa.types
    return bool(
        types.is_integer(dtype) or types.is_floating(dtype) or types.is_boolean(dtype) or types.is_decimal(dtype)
    )


def told_type(dtype: pa.DataType) -> str:
    """Return what a type is called for a reader."""
    types = pa.types
    if types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype):
        return "text"
    if types.is_dictionary(dtype):
        return "categories of numbers" if is_number(dtype.value_type) else "categories"
    if types.is_timestamp(dtype) or types.is_date(dtype) or types.is_time(dtype):
        return "times"
    if types.is_duration(dtype) or types.is_interval(dtype):
        return "durations; convert them to a number of seconds to use them"
    if types.is_nested(dtype):
        return f"values within values ({dtype})"
    if types.is_null(dtype):
        return "no values"
    return str(dtype)


def need_column(names: Iterable[str], name: str, argument: str, where: str) -> None:
    """Refuse the name of a column that is not there.

    Raises
    ------
    ValueError
        If there is none; it says which ones there are.
    """
    names = list(names)
    if name in names:
        return
    if not isinstance(name, str):
        raise ValueError(f"{argument}={name!r} must be the name of a column, as text")
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6) or [
        other for other in names if other.strip().lower() == name.strip().lower()
    ]
    listed = ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    hint = f"did you mean {close[0]!r}?" if close else f"there are {listed}"
    raise ValueError(f"{where} has no column {name!r} ({argument}); {hint}")


def _check_patterns(names: list[str], argument: str, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"{argument} must be names or patterns of columns, got {pattern!r}")
        if not select(names, pattern):
            close = difflib.get_close_matches(pattern, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{argument} has {pattern!r}, which is no column's name{hint}")


def roles_of_features(
    entity: str,
    time: str,
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
) -> ChooseRoles:
    """Return the roles of the columns of a table with a row per entity and time, given their names.

    Columns named by `include` must be numbers; those that are no candidates are left alone.
    """
    include = None if include is None else as_patterns(include)
    exclude = as_patterns(exclude)

    def roles(names: list[str], where: str) -> Roles:
        _check_roles(names, entity, time, where)
        _check_patterns(names, "include", include or [])
        _check_patterns(names, "exclude", exclude)
        chosen = set(names if include is None else select(names, include)) - set(select(names, exclude))
        keys = {entity, time}
        named = {name for name in include or [] if name in chosen} - keys
        return Roles(frozenset(keys), frozenset(named), frozenset(set(names) - chosen - keys))

    return roles


def _check_roles(names: list[str], entity: str, time: str, where: str) -> None:
    if len(names) == 1 and entity not in names and (sep := next((s for s in ";\t|," if s in names[0]), None)):
        raise ValueError(
            f"{where} has a single column, {names[0][:80]!r}: its values seem to be separated by {sep!r}; "
            f"say sep={sep!r}"
        )
    need_column(names, entity, "entity", where)
    need_column(names, time, "time", where)
    if entity == time:
        raise ValueError(f"entity and time are both {entity!r}; they must be two columns")


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
    """Return the names of the features, and why each other column is none.

    Parameters
    ----------
    schema : pyarrow.Schema
        Names and types of all columns.
    entity, time : str
        Columns that are no features.
    include, exclude : str or list of str, optional
        See `isoxide.ueba.read_table`.
    is_empty : callable
        Says of a column of numbers whether it has no values at all.
    reasons : mapping of str to str
        What is known of columns that are no numbers.

    Raises
    ------
    ValueError
        If a pattern fits nothing, a named column is no number, or no features are left.
    """
    names = schema.names
    patterns = None if include is None else as_patterns(include)
    _check_patterns(names, "include", patterns or [])
    _check_patterns(names, "exclude", as_patterns(exclude))
    wanted = set(names if patterns is None else select(names, patterns)) - set(select(names, exclude))
    features, left_out = [], {}
    for name in names:
        if name in (entity, time):
            continue
        dtype = schema.field(name).type
        if name not in wanted:
            left_out[name] = "not chosen"
        elif reasons.get(name) == "no values" or (pa.types.is_null(dtype) and name not in reasons):
            left_out[name] = "no values"
        elif not is_number(dtype):
            why = reasons.get(name, told_type(dtype))
            if patterns is not None and name in patterns:
                raise ValueError(f"include has {name!r}, which holds no numbers: {why}")
            left_out[name] = why
        elif is_empty(name):
            left_out[name] = "no values"
        else:
            features.append(name)
    if not features:
        told = "; ".join(f"{name!r}: {why}" for name, why in list(left_out.items())[:8]) or "there are none"
        more = f"; and {len(left_out) - 8} more" if len(left_out) > 8 else ""
        raise ValueError(f"no features are left besides {entity!r} and {time!r}; columns left out: {told}{more}")
    return features, left_out
