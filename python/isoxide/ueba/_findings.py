"""Findings: the anomalies of a table, with everything that is known of them, and the ways to hand them on."""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.files import replace_file
from isoxide._common.patterns import select
from isoxide._forest.estimator import IsolationForest
from isoxide._frames.keys import text_labels
from isoxide.ueba import _document
from isoxide.ueba._columns import RESULT_COLUMNS
from isoxide.ueba._files import write_csv
from isoxide.ueba._quantiles import STATISTICS
from isoxide.ueba._ranks import MIN_GROUP, RankOptions
from isoxide.ueba._rules import ZSCORES
from isoxide.ueba._table import FeatureTable
from isoxide.ueba._users import matched, read_users, unmatched_warning

__all__ = ["Findings"]

#: Cut-offs of the notebook.
CUTOFFS = (95.0, 96.0, 97.0, 98.0, 99.0, 99.1, 99.2, 99.3, 99.4, 99.5, 99.6, 99.7, 99.8, 99.9, 99.99)


class Findings:
    """Anomalies, the lowest score first: what `detect` and `read_findings` return.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row per finding: entity, time, ``score``, ``severity`` (percentile of the score among all rows, 100 the most
        abnormal), ``day_rank`` (1 is the lowest score of the day) of ``day_rows``, ``first_seen`` (the entity's first
        day in the table), ``rank_rows`` (number of rows that its ranks are among), ``rank_among`` (which rows these
        are, or why there are no ranks), and joined columns. The index is the number of the row in the table.
    entity, time : str
        Names of the columns that say who and when.
    features : list of str
        Names of the features.
    values, percentiles : ndarray of shape (n_findings, n_features)
        Of each feature the value, and its rank from 0 to 100 or NaN.
    order : ndarray of shape (n_findings, n_features)
        Per finding the features, the most unusual first.
    directions : ndarray of shape (n_findings, n_features)
        1 where the value is high among the reference, -1 where it is low.
    reference : pandas.DataFrame
        Per feature the typical values: ``median``, ``p95`` and ``p99`` of all rows that values are ranked among.
    flags : pandas.DataFrame
        A line per value that a rule flags: ``row`` (number of the finding), ``feature``, ``value``, ``rule`` and
        ``limit``.
    timeline : pandas.DataFrame
        Per day the rows, the lowest score and the number of findings.
    manifest : dict
        How the findings came about: input, parameters, versions.
    forest : IsolationForest or None
        The forest that found them; None if they were read from a file.
    joined : list of str
        Names of the columns that `join` added.
    group_of, group_typical : ndarray or None
        With groups, per finding the number of its group or -1, and the typical values of each group, of shape
        (n_groups, n_features, 3); `typical` gives those of each finding.

    See Also
    --------
    detect : Makes them from a table.
    read_findings : Reads what `to_json` wrote.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        *,
        entity: str,
        time: str,
        features: list[str],
        values: NDArray[np.float64],
        percentiles: NDArray[np.float64],
        order: NDArray[np.intp],
        directions: NDArray[np.int8],
        reference: pd.DataFrame,
        flags: pd.DataFrame,
        timeline: pd.DataFrame,
        manifest: dict[str, Any],
        group_of: NDArray[np.intp] | None = None,
        group_typical: NDArray[np.float64] | None = None,
        joined: Sequence[str] = (),
        forest: IsolationForest | None = None,
    ) -> None:
        self.frame = frame
        self.entity, self.time = entity, time
        self.features = features
        self.values, self.percentiles, self.order, self.directions = values, percentiles, order, directions
        self.reference, self.flags, self.timeline, self.manifest = reference, flags, timeline, manifest
        self.group_of, self.group_typical = group_of, group_typical
        self.joined = list(joined)
        self.forest = forest

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        entities = self.frame[self.entity].nunique()
        return f"Findings({len(self)} rows of {entities} entities, {len(self.features)} features)"

    def _repr_html_(self) -> str:
        return self.frame.head(10).to_html()

    def typical(self, statistic: str = "median") -> NDArray[np.float64]:
        """The typical values that each value of the findings is to be compared with.

        Parameters
        ----------
        statistic : {"median", "p95", "p99"}, default="median"
            Which one.

        Returns
        -------
        ndarray of shape (n_findings, n_features)
            Of the same rows that the ranks of a finding are among: all rows, or those of its group. NaN for findings
            without ranks, whose group is too small.
        """
        if statistic not in STATISTICS:
            raise ValueError(f"statistic={statistic!r} must be one of {list(STATISTICS)}")
        whole = self.reference[statistic].to_numpy(dtype=np.float64)
        if self.group_of is None or self.group_typical is None:
            return np.broadcast_to(whole, (len(self), len(self.features)))
        values = self.group_typical[:, :, list(STATISTICS).index(statistic)]
        return np.vstack([values, np.full((1, len(self.features)), np.nan)])[self.group_of]

    def join(
        self, users: Any, on: str | None = None, columns: Iterable[str] | None = None, *, sep: str | None = None
    ) -> Findings:
        """Add what is known of the entities: e-mail, name, department.

        Parameters
        ----------
        users : path or frame
            One row per entity: a CSV file (every cell is text, empty ones are missing), a Parquet file, or a frame of
            pandas, polars or pyarrow.
        on : str, optional
            Its column that holds the entities; by default one of the same name as in the findings. Entities are
            compared as exact text: ``"0001"`` is not ``"1"``. An integer is its digits.
        columns : list of str, optional
            The columns to add; by default all others.
        sep : str, optional
            Field delimiter of a CSV file; by default it is guessed from the header.

        Returns
        -------
        Findings
            New ones. Entities that `users` does not have get missing values.

        Raises
        ------
        ValueError
            If a column is missing or would be there twice, or an entity has several rows in `users`.

        Warns
        -----
        UserWarning
            If `users` does not have some entities of the findings; it names them.
        """
        on = self.entity if on is None else on
        found = read_users(users, on, columns, sep)
        for column in found.columns:
            if column in RESULT_COLUMNS or column in self.frame.columns or column in self.features:
                raise ValueError(f"the findings have a column {column!r} already; rename that of users")
        entities = text_labels(self.frame[self.entity].tolist(), self.entity)
        if (message := unmatched_warning(found, entities)) is not None:
            warnings.warn(message, stacklevel=2)
        joined = copy.copy(self)
        added = {name: column.set_axis(self.frame.index) for name, column in matched(found, entities).items()}
        joined.frame = self.frame.assign(**added)
        joined.joined = [*self.joined, *added]
        return joined

    def rank_features(
        self,
        table: FeatureTable | None = None,
        *,
        reference: FeatureTable | None = None,
        kind: str = "rank",
        tail: str = "upper",
        groups: str | None = None,
        min_group: int = MIN_GROUP,
        zscores: str = ZSCORES,
        nan_policy: str = "omit",
        n_jobs: int | None = None,
    ) -> Findings:
        """The same findings with other ranks: of both sides, among peers, in each entity's history, in another table.

        Parameters
        ----------
        table : FeatureTable, optional
            The table they were found in. Its rows are identified by entity, time and values, never by row labels.
        reference : FeatureTable, optional
            Another table: the findings' own values are ranked among its rows. With `groups` the label of a finding
            comes from `table` if that is given too, else from the column of `frame` of this name.
        kind : {"rank", "weak", "strict", "mean"}, default="rank"
            How equal values share a rank; `isoxide.percentileofscore` describes each.
        tail : {"upper", "lower", "both"}, default="upper"
            Which values are unusual: high ones, low ones, or both.
        groups : str, optional
            A column: values are ranked among the rows with the same value there.
        min_group : int, default=20
            Rows that a group must have; findings of smaller ones have no ranks.
        zscores : str, default="*zscore*"
            Name or pattern of features that come after all others.
        nan_policy : {"omit", "propagate", "raise"}, default="omit"
            Whether ranks leave missing values of the table out, become NaN, or are refused.
        n_jobs : int, optional
            Number of threads; None means all cores.

        Returns
        -------
        Findings
            New ones; their typical values, too, are those of the rows that values are ranked among.

        Raises
        ------
        ValueError
            If `table` is not the one they were found in, a feature is missing in `reference`, or an argument is out of
            range.
        """
        from isoxide.ueba._again import rank_again

        options = RankOptions(kind, tail, groups, zscores, nan_policy, min_group).check()
        return rank_again(self, table, reference, options, n_jobs)

    def group_by(self, by: str = "day") -> dict[Any, pd.DataFrame]:
        """Return the findings of each day, or of each value of a column.

        Parameters
        ----------
        by : str, default="day"
            ``"day"``, or a column of `frame`.

        Returns
        -------
        dict
            From the day (ISO 8601) or the value to the rows of `frame`, in ascending order.
        """
        keys = self.frame[self.time].dt.strftime("%Y-%m-%d") if by == "day" else None
        if keys is None:
            if by not in self.frame.columns:
                raise ValueError(f"{by!r} is neither 'day' nor one of {list(self.frame.columns)}")
            keys = self.frame[by]
        return dict(iter(self.frame.groupby(keys.to_numpy(), sort=True)))

    def selected(self, cutoff: float = 99.0, always_show: Iterable[str] = ()) -> NDArray[np.bool_]:
        """Which values are out of the ordinary.

        Parameters
        ----------
        cutoff : float, default=99.0
            Those whose percentile is at or above it.
        always_show : list of str, optional
            Names or patterns of features that are whenever they are above zero.

        Returns
        -------
        ndarray of bool, shape (n_findings, n_features)
            True where it is. Values without a percentile never reach the cutoff.
        """
        always_chosen = set(select(self.features, always_show))
        flag = np.array([name in always_chosen for name in self.features], dtype=bool)
        with np.errstate(invalid="ignore"):
            chosen: NDArray[np.bool_] = (self.percentiles >= cutoff) | (flag & (self.values > 0))
        return chosen

    def cutoff_table(self, cutoffs: Iterable[float] = CUTOFFS) -> pd.DataFrame:
        """How many features of a finding reach each percentile.

        Parameters
        ----------
        cutoffs : list of float, optional
            From 0 to 100; by default those of the notebook.

        Returns
        -------
        DataFrame
            ``cutoff``, the ``mean`` and the ``min`` number of features per finding, and the findings with ``none``;
            without findings NaN, 0 and 0.
        """
        wanted = list(cutoffs)
        counts = [(self.percentiles >= cutoff).sum(axis=1) for cutoff in wanted]
        return pd.DataFrame(
            {
                "cutoff": wanted,
                "mean": np.array([own.mean() if len(self) else np.nan for own in counts], dtype=np.float64),
                "min": np.array([own.min() if len(self) else 0 for own in counts], dtype=int),
                "none": np.array([(own == 0).sum() for own in counts], dtype=int),
            }
        )

    def feature_counts(self, cutoff: float = 99.0, always_show: Iterable[str] = ()) -> pd.Series:
        """In how many findings each feature is out of the ordinary.

        Parameters
        ----------
        cutoff : float, default=99.0
            See `selected`.
        always_show : list of str, optional
            See `selected`.

        Returns
        -------
        Series
            From names to numbers, the most frequent first; features that never are do not appear.
        """
        chosen = self.selected(cutoff, always_show)
        counts = pd.Series(chosen.sum(axis=0), index=pd.Index(self.features, name="feature"), name="findings")
        counts = counts[counts > 0]
        # Of equal ones the first to appear, as the notebook counts.
        first = {name: place for place, name in enumerate(self._in_order(chosen))}
        places = [first[name] for name in counts.index]
        return counts.iloc[np.lexsort((np.array(places), -counts.to_numpy()))]

    def _in_order(self, chosen: NDArray[np.bool_]) -> Iterator[str]:
        seen: set[int] = set()
        for row, order in enumerate(self.order):
            for j in order:
                if chosen[row, j] and j not in seen:
                    seen.add(int(j))
                    yield self.features[j]

    def to_frame(self) -> pd.DataFrame:
        """Everything in one wide table.

        Returns
        -------
        DataFrame
            `frame`, then ``reasons`` (features and the rules that flag them), then the features.
        """
        wide = self.frame.copy()
        texts = self.flags["feature"] + " " + self.flags["rule"] if len(self.flags) else pd.Series(dtype=str)
        reasons = texts.groupby(self.flags["row"]).agg("; ".join) if len(self.flags) else texts
        wide["reasons"] = [reasons.get(row, "") for row in range(len(self))]
        features = pd.DataFrame(self.values, columns=pd.Index(self.features), index=wide.index)
        return pd.concat([wide, features], axis=1)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_frame` as CSV, with cells that a spreadsheet would take for formulas made text by an apostrophe.

        Parameters
        ----------
        path : path
            Where to write it; what is there is replaced when the new file is whole.

        Returns
        -------
        Path
            Where it was written.
        """
        return replace_file(path, lambda temporary: write_csv(self.to_frame(), temporary))

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_frame` as Parquet, with the manifest in the file's metadata. Needs pyarrow.

        Parameters
        ----------
        path : path
            Where to write it; what is there is replaced when the new file is whole.

        Returns
        -------
        Path
            Where it was written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.to_frame(), preserve_index=False)
        metadata = {**(table.schema.metadata or {}), b"isoxide": json.dumps(self.manifest).encode()}
        return replace_file(path, lambda temporary: pq.write_table(table.replace_schema_metadata(metadata), temporary))

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Write everything, as `read_findings` reads it.

        Parameters
        ----------
        path : path
            Where to write it; what is there is replaced when the new file is whole.

        Returns
        -------
        Path
            Where it was written.
        """
        text = json.dumps(_document.dump(self), ensure_ascii=False, allow_nan=False)
        return replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def to_markdown(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        cutoff: float = 99.0,
        always_show: Iterable[str] = ("is_weekend",),
        order: str = "score",
    ) -> Any:
        """The report as Markdown: a section per entity, a table of its days and what is out of the ordinary on each.

        Parameters
        ----------
        path : path, optional
            Where to write it; by default the text is returned.
        cutoff : float, default=99.0
            See `selected`. A finding without such a feature has the line of its most unusual one.
        always_show : list of str, optional
            See `selected`.
        order : {"score", "entity"}, default="score"
            Entities by their lowest score, or by name as in the notebook.

        Returns
        -------
        str or Path
            The text, or where it was written.
        """
        from isoxide.ueba import _markdown

        text = _markdown.render(self, self.selected(cutoff, always_show), cutoff=cutoff, order=order)
        return (
            text if path is None else replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        )

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        cutoff: float = 99.0,
        always_show: Iterable[str] = ("is_weekend",),
        title: str | None = None,
    ) -> Any:
        """The report as one page that needs no network: see `to_markdown`. Needs Jinja2.

        Parameters
        ----------
        path : path, optional
            Where to write it; by default the text is returned.
        cutoff : float, default=99.0
            See `selected`. A finding without such a feature shows its most unusual one.
        always_show : list of str, optional
            See `selected`.
        title : str, optional
            Of the page; by default the days it is about.

        Returns
        -------
        str or Path
            The text, or where it was written.
        """
        from isoxide.ueba import _page

        text = _page.render(self, self.selected(cutoff, always_show), cutoff=cutoff, title=title)
        return (
            text if path is None else replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        )
