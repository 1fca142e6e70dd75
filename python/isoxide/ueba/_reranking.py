"""Rank findings again with other options, within groups, or among another table."""

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
from isoxide.ueba._size import SizeBands, asks_for_size, size_of_frame
from isoxide.ueba._table import FeatureTable

__all__ = ["rerank"]

F = TypeVar("F", bound=FindingsData)


def rerank(
    findings: F,
    table: FeatureTable | None,
    reference: FeatureTable | None,
    options: RankOptions,
    n_jobs: int | None,
) -> F:
    """Return the findings with new ranks; `Findings.rank_features` describes the arguments.

    Raises
    ------
    ValueError
        If the findings do not come from `table`, or `reference` lacks one of their features.
    """
    if table is None and reference is None:
        raise ValueError("give the table that the findings come from, or another table as reference")
    positions = None if table is None else _positions(findings, table, options.groups)
    labels = reference_labels = None
    if reference is None:
        assert table is not None and positions is not None  # noqa: PT018 (both follow from the above)
        size = _size_bands(findings, table, options, "the table")
        scope = Scope(options.groups, table.entity, size=size)
        if options.groups is not None and size is None:
            reference_labels = _labels(table, options.groups, "the table").tolist()
            labels = [reference_labels[position] for position in positions]
        if findings.features != list(table.features):
            raise _wrong_table("its features are different")
        rows, ranked_among = table.X.iloc[positions], table
    else:
        rows, ranked_among = _values(findings, reference), reference
        size = _size_bands(findings, reference, options, "reference")
        scope = Scope.other(reference, options.groups, reference.entity, size)
        if options.groups is not None and size is None:
            # As text, equal labels are equal in both tables even if the dtypes of the columns differ.
            reference_labels = _labels(reference, options.groups, "reference").tolist()
            labels = text_labels(_labels_of_findings(findings, table, positions, options.groups), options.groups)
    if size is not None:
        labels, reference_labels = size.labels_of(rows), size.labels_of(ranked_among.X)
    statistics = TableQuantiles(ranked_among.X[findings.features], [])
    if reference is None:
        _check_typical(findings, statistics.typical())
    ranks = rank_rows(rows, labels, ranked_among, reference_labels, statistics, options, scope, n_jobs)
    return _ranked(findings, ranks, statistics, ranking(options, scope, len(ranked_among)), reference)


def _ranked(
    findings: F,
    ranks: Ranked,
    statistics: TableQuantiles,
    ranking_facts: dict[str, Any],
    reference: FeatureTable | None,
) -> F:
    ranked = copy.copy(findings)
    ranked.percentiles, ranked.order, ranked.directions = ranks.percentiles, ranks.order, ranks.directions
    ranked.group_of, ranked.group_typical = ranks.group_of, ranks.group_typical
    ranked.reference = statistics.typical()
    ranked.frame = findings.frame.assign(rank_rows=ranks.rank_rows, rank_among=ranks.rank_among)
    if reference is not None:
        ranking_facts = {**ranking_facts, "source": reference.source, "sha256": reference.checksum}
    ranked.manifest = {**findings.manifest, "ranking": ranking_facts}
    return ranked


def _wrong_table(reason: str) -> ValueError:
    return ValueError(
        f"the findings do not come from this table: {reason}; "
        "to rank their values among the rows of another table, pass it as reference="
    )


def _values(findings: FindingsData, reference: FeatureTable) -> pd.DataFrame:
    missing = [name for name in findings.features if name not in reference.features]
    if missing:
        raise ValueError(f"reference has no feature {missing[0]!r}, which the findings have")
    refuse_infinite([name for name in reference.profile.infinite if name in findings.features])
    return pd.DataFrame(findings.values, columns=pd.Index(findings.features))


def _size_bands(findings: FindingsData, table: FeatureTable, options: RankOptions, argument: str) -> SizeBands | None:
    """Return the bands of similar size of a table, if `groups` asks for them."""
    if not asks_for_size(options.groups, table.frame.columns, argument):
        return None
    return size_of_frame(table.X[findings.features], table.profile, options.min_group)


def _labels(table: FeatureTable, groups: str, argument: str) -> pd.Series:
    if groups not in table.frame.columns:
        raise ValueError(f"groups={groups!r} is not a column of {argument}")
    return table.labels(groups)


def _labels_of_findings(
    findings: FindingsData, table: FeatureTable | None, positions: NDArray[np.intp] | None, groups: str
) -> list[Any]:
    if table is not None and positions is not None:
        return _labels(table, groups, "the table").iloc[positions].tolist()
    if groups in (findings.entity, findings.time, *findings.joined):
        return findings.frame[groups].tolist()
    if groups in findings.features:
        return list(findings.values[:, findings.features.index(groups)])  # noqa: PD011
    raise ValueError(
        f"groups={groups!r} is not a column of the findings; pass the table they come from as well, or join the column"
    )


def _keys(entities: pd.Series, times: pd.Series) -> pd.DataFrame:
    """Return entity and time in dtypes that compare equal even if a file changed the original dtypes."""
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    texts = pd.Series(text_labels(entities.tolist(), str(entities.name)), dtype=object)
    return pd.DataFrame({"entity": texts, "time": times.to_numpy().astype("M8[us]")})


def _positions(findings: FindingsData, table: FeatureTable, groups: str | None) -> NDArray[np.intp]:
    """Return the positions of the findings in their table, found by entity, time and the values of all features."""
    missing = [name for name in findings.features if name not in table.features]
    if missing:
        raise _wrong_table(f"it has no feature {missing[0]!r}")
    n_rows = findings.manifest.get("table_rows", findings.manifest.get("rows"))
    if n_rows is not None and n_rows != len(table):
        raise _wrong_table(f"it has {len(table):,} rows instead of {n_rows:,}")
    finding_times, table_times = findings.frame[findings.time], table.frame[table.time]
    if (finding_times.dt.tz is None) != (table_times.dt.tz is None):
        raise _wrong_table("only one of the two has times with a time zone")
    finding_keys = _keys(findings.frame[findings.entity], finding_times).assign(number=np.arange(len(findings)))
    table_keys = _keys(table.frame[table.entity], table_times).assign(position=np.arange(len(table)))
    pairs = finding_keys.merge(table_keys, on=["entity", "time"])
    numbers, positions = pairs["number"].to_numpy(dtype=np.intp), pairs["position"].to_numpy(dtype=np.intp)
    values = table.X[findings.features].iloc[positions].to_numpy(dtype=np.float64, na_value=np.nan)
    expected = findings.values[numbers]  # noqa: PD011
    is_same = ((values == expected) | (np.isnan(values) & np.isnan(expected))).all(axis=1)
    numbers, positions = numbers[is_same], positions[is_same]
    first = np.full(len(findings), -1, dtype=np.intp)
    first[numbers[::-1]] = positions[::-1]
    unmatched = np.flatnonzero(first < 0)
    if unmatched.size:
        row = findings.frame.iloc[int(unmatched[0])]
        raise _wrong_table(f"none of its rows has the values of {row[findings.entity]!r} at {row[findings.time]}")
    if groups is not None and len(numbers) > len(findings) and groups in table.frame.columns:
        # Rows with equal keys and values are the same finding unless they belong to several groups.
        labels = pd.Series(table.labels(groups).iloc[positions].tolist(), dtype=object)
        n_labels = labels.groupby(numbers).nunique(dropna=False)
        is_ambiguous = n_labels >= 2
        if is_ambiguous.any():
            row = findings.frame.iloc[int(is_ambiguous.index[is_ambiguous][0])]
            raise ValueError(
                f"several rows of {row[findings.entity]!r} at {row[findings.time]} have the same values but different "
                f"{groups!r}: the finding's group is ambiguous"
            )
    return first


def _check_typical(findings: FindingsData, typical: pd.DataFrame) -> None:
    """Refuse a table whose typical values differ from those in the findings."""
    ranking_facts = findings.manifest.get("ranking") or {}
    if "source" in ranking_facts:
        # The findings were last ranked among another table, so their typical values come from there.
        return
    ours, theirs = findings.reference.to_numpy(dtype=np.float64), typical.to_numpy(dtype=np.float64)
    differs = ~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs))).all(axis=1)
    if differs.any():
        name = findings.features[int(np.flatnonzero(differs)[0])]
        raise _wrong_table(f"the typical values of feature {name!r} are different")
