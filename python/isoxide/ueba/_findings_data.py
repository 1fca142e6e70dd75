"""Data of findings, with the selections and counts that follow from them; ranking and writing live elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.patterns import select
from isoxide._forest.estimator import IsolationForest
from isoxide.ueba._quantiles import STATISTICS

__all__ = ["FindingsData"]

#: Cut-offs of the notebook.
CUTOFFS = (95.0, 96.0, 97.0, 98.0, 99.0, 99.1, 99.2, 99.3, 99.4, 99.5, 99.6, 99.7, 99.8, 99.9, 99.99)


class FindingsData:
    """Anomalies with their ranks, flags and typical values, and the selections and counts that follow from them.

    `Findings` documents the attributes. Writers of reports and documents take this class, so that none of them imports
    another.
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
