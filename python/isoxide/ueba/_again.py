"""Rank findings again: with other options, among other rows, or in another table."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._frames.keys import text_labels
from isoxide.ueba._calibrate import refuse_infinite
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._quantiles import TableQuantiles
from isoxide.ueba._ranks import Ranked, RankOptions, Scope, rank_rows, ranking
from isoxide.ueba._table import FeatureTable

__all__ = ["rank_again"]

F = TypeVar("F", bound=FindingsData)


def rank_again(
    findings: F,
    table: FeatureTable | None,
    reference: FeatureTable | None,
    options: RankOptions,
    n_jobs: int | None,
) -> F:
    """Return the same findings with other ranks; see `Findings.rank_features`.

    Raises
    ------
    ValueError
        If the findings are not of `table`, or `reference` lacks what is to be ranked.
    """
    if table is None and reference is None:
        raise ValueError("give the table that the findings were found in, or another one as reference")
    positions = None if table is None else _positions(findings, table, options.groups)
    if reference is None:
        assert table is not None and positions is not None  # noqa: PT018 (both follow from the above)
        scope = Scope(options.groups, table.entity)
        labels = theirs = None
        if options.groups is not None:
            theirs = _labels(table, options.groups, "the table").tolist()
            labels = [theirs[position] for position in positions]
        if findings.features != list(table.features):
            raise _other_table("its features are others")
        rows, among = table.X.iloc[positions], table
    else:
        rows, among = _values(findings, reference), reference
        scope = Scope.other(reference, options.groups, reference.entity)
        labels = theirs = None
        if options.groups is not None:
            # Both tables write the same group as the same text, whatever types their columns have.
            theirs = _labels(reference, options.groups, "reference").tolist()
            labels = text_labels(_own_labels(findings, table, positions, options.groups), options.groups)
    statistics = TableQuantiles(among.X[findings.features], [])
    if reference is None:
        _check_typical(findings, statistics.typical())
    ranks = rank_rows(rows, labels, among, theirs, statistics, options, scope, n_jobs)
    return _ranked(findings, ranks, statistics, ranking(options, scope, len(among)), reference)


def _ranked(
    findings: F,
    ranks: Ranked,
    statistics: TableQuantiles,
    told: dict[str, Any],
    reference: FeatureTable | None,
) -> F:
    ranked = copy.copy(findings)
    ranked.percentiles, ranked.order, ranked.directions = ranks.percentiles, ranks.order, ranks.directions
    ranked.group_of, ranked.group_typical = ranks.group_of, ranks.group_typical
    ranked.reference = statistics.typical()
    ranked.frame = findings.frame.assign(rank_rows=ranks.rank_rows, rank_among=ranks.rank_among)
    if reference is not None:
        told = {**told, "source": reference.source, "sha256": reference.checksum}
    ranked.manifest = {**findings.manifest, "ranking": told}
    return ranked


def _other_table(reason: str) -> ValueError:
    return ValueError(
        f"table is not the one in which these findings were found: {reason}; "
        "to rank their values among the rows of another table, pass it as reference="
    )


def _values(findings: FindingsData, reference: FeatureTable) -> pd.DataFrame:
    missing = [name for name in findings.features if name not in reference.features]
    if missing:
        raise ValueError(f"reference has no feature {missing[0]!r}, which the findings have")
    refuse_infinite([name for name in reference.profile.infinite if name in findings.features])
    return pd.DataFrame(findings.values, columns=pd.Index(findings.features))


def _labels(table: FeatureTable, groups: str, argument: str) -> pd.Series:
    if groups not in table.frame.columns:
        raise ValueError(f"groups={groups!r} is no column of {argument}")
    return table.labels(groups)


def _own_labels(
    findings: FindingsData, table: FeatureTable | None, positions: NDArray[np.intp] | None, groups: str
) -> list[Any]:
    if table is not None and positions is not None:
        return _labels(table, groups, "the table").iloc[positions].tolist()
    if groups in (findings.entity, findings.time, *findings.joined):
        return findings.frame[groups].tolist()
    if groups in findings.features:
        return list(findings.values[:, findings.features.index(groups)])  # noqa: PD011
    raise ValueError(
        f"groups={groups!r} is no column of the findings; pass the table they were found in as well, or join the column"
    )


def _keys(entities: pd.Series, times: pd.Series) -> pd.DataFrame:
    """Return entity and time in types that compare alike, whatever a file made of them."""
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    texts = pd.Series(text_labels(entities.tolist(), str(entities.name)), dtype=object)
    return pd.DataFrame({"entity": texts, "time": times.to_numpy().astype("M8[us]")})


def _positions(findings: FindingsData, table: FeatureTable, groups: str | None) -> NDArray[np.intp]:
    """Return the positions of the findings in their table, found by entity, time and the values of all features."""
    missing = [name for name in findings.features if name not in table.features]
    if missing:
        raise _other_table(f"it has no feature {missing[0]!r}")
    n_rows = findings.manifest.get("rows")
    if n_rows is not None and n_rows != len(table):
        raise _other_table(f"it has {len(table):,} rows instead of {n_rows:,}")
    own_times, times = findings.frame[findings.time], table.frame[table.time]
    if (own_times.dt.tz is None) != (times.dt.tz is None):
        raise _other_table("only one of both has times with a time zone")
    own = _keys(findings.frame[findings.entity], own_times).assign(number=np.arange(len(findings)))
    theirs = _keys(table.frame[table.entity], times).assign(position=np.arange(len(table)))
    pairs = own.merge(theirs, on=["entity", "time"])
    numbers, positions = pairs["number"].to_numpy(dtype=np.intp), pairs["position"].to_numpy(dtype=np.intp)
    values = table.X[findings.features].iloc[positions].to_numpy(dtype=np.float64, na_value=np.nan)
    expected = findings.values[numbers]  # noqa: PD011
    is_same = ((values == expected) | (np.isnan(values) & np.isnan(expected))).all(axis=1)
    numbers, positions = numbers[is_same], positions[is_same]
    first = np.full(len(findings), -1, dtype=np.intp)
    first[numbers[::-1]] = positions[::-1]
    lost = np.flatnonzero(first < 0)
    if lost.size:
        row = findings.frame.iloc[int(lost[0])]
        raise _other_table(f"no row of it has the values of {row[findings.entity]!r} at {row[findings.time]}")
    if groups is not None and len(numbers) > len(findings) and groups in table.frame.columns:
        # Rows of equal key and values are the same finding unless they are of several groups.
        labels = pd.Series(table.labels(groups).iloc[positions].tolist(), dtype=object)
        n_labels = labels.groupby(numbers).nunique(dropna=False)
        several = n_labels >= 2
        if several.any():
            row = findings.frame.iloc[int(several.index[several][0])]
            raise ValueError(
                f"several rows of {row[findings.entity]!r} at {row[findings.time]} have the same values but another "
                f"{groups!r}: the finding's group is not certain"
            )
    return first


def _check_typical(findings: FindingsData, typical: pd.DataFrame) -> None:
    """Refuse a table with other typical values than those that are known of the findings' own table."""
    told = findings.manifest.get("ranking") or {}
    if "source" in told:
        # The findings have been ranked among another table since.
        return
    ours, theirs = findings.reference.to_numpy(dtype=np.float64), typical.to_numpy(dtype=np.float64)
    differs = ~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs))).all(axis=1)
    if differs.any():
        name = findings.features[int(np.flatnonzero(differs)[0])]
        raise _other_table(f"feature {name!r} has other typical values there")
