"""Data of findings, with selections and counts; ranking and writing live in other modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common.format import format_share
from isoxide._common.patterns import select
from isoxide._forest.estimator import IsolationForest
from isoxide.ueba._decision import Decision
from isoxide.ueba._quantiles import STATISTICS
from isoxide.ueba._ranks import Ranked
from isoxide.ueba._rarity import rarity_text
from isoxide.ueba._reasons import N_REASONS, TicketReason, leading_reasons, reason_text
from isoxide.ueba._review import Judged, Review
from isoxide.ueba._rules import FLAGS, SHOWN_FLAGS
from isoxide.ueba._shares import Explained
from isoxide.ueba._size import SizeBands
from isoxide.ueba._size_remarks import SizeRemark, remark_text, size_remarks

__all__ = ["FindingsData"]

#: Percentiles that `cutoff_table` shows by default.
CUTOFFS = (95.0, 96.0, 97.0, 98.0, 99.0, 99.1, 99.2, 99.3, 99.4, 99.5, 99.6, 99.7, 99.8, 99.9, 99.99)

#: Features that `to_frame` names with their shares.
_N_TOP_SHARES = 5


class FindingsData:
    """Anomalies with their ranks, flags and typical values, and methods that select and count features.

    The public class `Findings` describes the attributes and adds ranking and writing. Modules that write reports and
    documents use this base class, so that imports go in one direction only.
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
        comparisons: Mapping[str, Ranked] | None = None,
        explained: Explained | None = None,
        entity_scores: pd.DataFrame | None = None,
        judged: Sequence[Judged] | None = None,
        hidden: FindingsData | None = None,
        review: Review | None = None,
    ) -> None:
        self.frame = frame
        self.entity, self.time = entity, time
        self.features = features
        self.values, self.percentiles, self.order, self.directions = values, percentiles, order, directions
        self.reference, self.flags, self.timeline, self.manifest = reference, flags, timeline, manifest
        self.group_of, self.group_typical = group_of, group_typical
        self.joined = list(joined)
        self.forest = forest
        self.comparisons = dict(comparisons or {})
        self.explained = explained
        self.entity_scores = entity_scores
        self.judged = [Judged()] * len(frame) if judged is None else list(judged)
        self.hidden_findings = hidden
        self.review = Review() if review is None else review

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore pickled findings, of which early versions have no decisions."""
        self.__dict__.update(state)
        self.__dict__.setdefault("judged", [Judged()] * len(self.frame))
        self.__dict__.setdefault("hidden_findings", None)
        self.__dict__.setdefault("review", Review())
        self.__dict__.setdefault("entity_scores", None)

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        entities = self.frame[self.entity].nunique()
        hidden = f", {self.n_hidden} hidden" if self.n_hidden else ""
        return f"Findings({len(self)} rows of {entities} entities, {len(self.features)} features{hidden})"

    @property
    def ranking(self) -> dict[str, Any]:
        """Return the entry of the manifest with the rank options and the rows that values are ranked among."""
        ranking: dict[str, Any] = self.manifest.get("ranking") or {}
        return ranking

    @property
    def size_bands(self) -> SizeBands | None:
        """Return the bands of similar size that values are compared with, or None."""
        document = self.ranking.get("size") or (self.manifest.get("model") or {}).get("size")
        return None if document is None else SizeBands.from_dict(document, self.features)

    @property
    def _unit(self) -> str:
        """Return the noun for a row of the table: "day", or "row" if times have an hour."""
        times = self.frame[self.time]
        return "day" if bool((times == times.dt.normalize()).all()) else "row"

    @property
    def _flag_positions(self) -> set[int]:
        """Return the indices of the features that only mark a row, such as ``is_weekend``; they explain nothing."""
        return {j for j, name in enumerate(self.features) if name in FLAGS} if self.domain_defaults else set()

    def _size_remarks(self, cutoff: float) -> list[SizeRemark | None]:
        """Return the comparison of each finding with rows of similar size, or None where there is none."""
        size = self.size_bands
        ranked = self if self.ranking.get("size") is not None else self.comparisons.get("size")
        if size is None or ranked is None:
            return [None] * len(self)
        return size_remarks(
            size, self.features, values=self.values, percentiles=ranked.percentiles, order=ranked.order,
            reference=self.reference, flags=self._flag_positions, cutoff=cutoff,
        )  # fmt: skip

    @property
    def domain_defaults(self) -> bool:
        """Return the option `domain_defaults` of `isoxide.ueba.detect` with which the findings were made."""
        return bool(self.ranking.get("domain_defaults", True))

    @property
    def contributions(self) -> NDArray[np.float64] | None:
        """Return the contribution of each feature to the binary logarithm of each anomaly score, or None.

        A positive contribution makes the finding more anomalous, and 1 doubles the anomaly score.
        """
        return None if self.explained is None else self.explained.contributions

    @property
    def shares(self) -> NDArray[np.float64] | None:
        """Return the share of each feature in what makes each finding anomalous, from 0 to 1, or None.

        Features that make a finding less anomalous have 0, and the shares of a finding add up to 1.
        """
        return None if self.explained is None else self.explained.shares()

    @property
    def expected_score(self) -> float | None:
        """Return the anomaly score that is expected of a row of which nothing is known, or None."""
        return None if self.explained is None else float(2**self.explained.expected)

    @property
    def families(self) -> list[list[str]]:
        """Return the names of the features of each family: features that move together in the table."""
        families = [] if self.explained is None else self.explained.families
        return [[self.features[j] for j in family] for family in families]

    @property
    def states(self) -> list[str | None]:
        """Return the state of each finding: ``"new"``, ``"again"`` or ``"stronger"``, or None if nothing is known."""
        return [one.state for one in self.judged]

    @property
    def statuses(self) -> list[str]:
        """Return the status of each finding, which is ``"open"`` without a decision that holds."""
        return [one.status for one in self.judged]

    @property
    def decisions(self) -> list[Decision | None]:
        """Return the decision about each finding, or None: the one that holds, or the one that it has outgrown."""
        return [one.decision for one in self.judged]

    @property
    def outgrown(self) -> list[str]:
        """Return in what way each finding is stronger than the decision about it; an empty text if it is not."""
        return [one.outgrown for one in self.judged]

    @property
    def expired(self) -> list[Decision]:
        """Return the applied decisions whose last day has passed."""
        return list(self.review.expired)

    @property
    def unmatched(self) -> list[Decision]:
        """Return the applied decisions that hold, but are about none of the findings."""
        return list(self.review.unmatched)

    @property
    def n_hidden(self) -> int:
        """Return the number of findings that decisions hide."""
        return 0 if self.hidden_findings is None else len(self.hidden_findings)

    def share_table(self, number: int = 0) -> pd.DataFrame:
        """Return the share of each feature or family in what makes a finding anomalous.

        Parameters
        ----------
        number : int, default=0
            Position of the finding; negative ones count from the end.

        Returns
        -------
        DataFrame
            One row per family, or feature of no family, the largest share first. The columns are ``features`` (list of
            names, the largest share first) and ``share`` (from 0 to 1). Features with a share of 0 are left out.

        Raises
        ------
        IndexError
            If there is no such finding.
        ValueError
            If the findings have no shares, because they come from a file of an early version or were made with
            ``explain=False``.
        """
        if self.explained is None:
            raise ValueError("the findings have no shares; call detect with explain=True")
        if not -len(self) <= number < len(self):
            raise IndexError(f"number={number} is out of range: there are {len(self)} findings")
        groups = self.explained.by_family(self.explained.shares()[number])
        return pd.DataFrame(
            {
                "features": pd.Series([[self.features[j] for j in group.features] for group in groups], dtype=object),
                "share": np.array([group.share for group in groups], dtype=np.float64),
            }
        )

    def typical(self, statistic: str = "median") -> NDArray[np.float64]:
        """Return the typical value that each value of the findings is compared with.

        Parameters
        ----------
        statistic : {"median", "p95", "p99"}, default="median"
            Statistic to return: the median, the 95th or the 99th percentile.

        Returns
        -------
        ndarray of shape (n_findings, n_features)
            Statistic of the rows that the values of a finding are ranked among: all rows, or the rows of its group.
            Findings in a group that is too small have no ranks, and NaN here.

        Raises
        ------
        ValueError
            If `statistic` has another value.
        """
        if statistic not in STATISTICS:
            raise ValueError(f"statistic={statistic!r} must be one of {list(STATISTICS)}")
        overall = self.reference[statistic].to_numpy(dtype=np.float64)
        if self.group_of is None or self.group_typical is None:
            return np.broadcast_to(overall, (len(self), len(self.features)))
        values = self.group_typical[:, :, list(STATISTICS).index(statistic)]
        return np.vstack([values, np.full((1, len(self.features)), np.nan)])[self.group_of]

    @property
    def anomaly_threshold(self) -> float:
        """Return the anomaly score that all findings are above, from 0 to 1."""
        threshold = self.manifest.get("anomaly_threshold")
        return -float(self.manifest["offset"]) if threshold is None else float(threshold)

    @property
    def n_reference(self) -> int:
        """Return the number of rows that the scores are compared with."""
        n_rows = self.manifest.get("reference_rows")
        return int(self.manifest["rows"] if n_rows is None else n_rows)

    def rarity_texts(self) -> list[str]:
        """Return how rare the score of each finding is.

        Returns
        -------
        list of str
            Texts such as ``"1 in 7,300"``: one row in 7,300 of the reference scores as high. The text is ``"-"`` if the
            findings come from a file of an early version.
        """
        return self._rarity_texts(slice(None))

    def _rarity_texts(self, rows: slice) -> list[str]:
        n_as_high = self.frame["rows_as_high"].iloc[rows]
        return ["-" if pd.isna(n) else rarity_text(int(n), self.n_reference) for n in n_as_high]

    def comparison_table(self, number: int) -> pd.DataFrame:
        """Return the ranks of a finding among all rows and among those of `comparisons`, side by side.

        Parameters
        ----------
        number : int
            Position of the finding, from 0.

        Returns
        -------
        DataFrame
            One row per feature, the most unusual feature first. The columns are ``value``, and ``percentile``,
            ``median`` and ``p99`` of all rows, followed by ``peers_percentile``, ``peers_median`` and so on for each
            of `comparisons`. Numbers are NaN where the finding has no ranks.
        """
        order = self.order[number]
        columns = {
            "value": self.values[number],
            "percentile": self.percentiles[number],
            "median": self.typical("median")[number],
            "p99": self.typical("p99")[number],
        }
        for name, ranked in self.comparisons.items():
            columns[f"{name}_percentile"] = ranked.percentiles[number]
            typical = ranked.typical(len(self.features))[number]
            columns |= {f"{name}_median": typical[:, 0], f"{name}_p99": typical[:, 2]}
        index = pd.Index([self.features[j] for j in order], name="feature")
        return pd.DataFrame({name: values[order] for name, values in columns.items()}, index=index)

    def group_by(self, by: str = "day") -> dict[Any, pd.DataFrame]:
        """Return the findings of each day, or of each value of a column.

        Parameters
        ----------
        by : str, default="day"
            ``"day"``, or the name of a column of `frame`.

        Returns
        -------
        dict
            Keys are days (text in ISO 8601) or values of the column, in ascending order; values are rows of `frame`.

        Raises
        ------
        ValueError
            If `by` is neither ``"day"`` nor a column of `frame`.
        """
        keys = self.frame[self.time].dt.strftime("%Y-%m-%d") if by == "day" else None
        if keys is None:
            if by not in self.frame.columns:
                raise ValueError(f"by={by!r} must be 'day' or one of the columns {list(self.frame.columns)}")
            keys = self.frame[by]
        return dict(iter(self.frame.groupby(keys.to_numpy(), sort=True)))

    def selected(self, cutoff: float = 99.0, always_show: Iterable[str] = ()) -> NDArray[np.bool_]:
        """Return which values of the findings are unusual.

        Parameters
        ----------
        cutoff : float, default=99.0
            Percentile from 0 to 100 at or above which a value is unusual.
        always_show : list of str, default=()
            Names or patterns of features that count as unusual whenever they are above zero.

        Returns
        -------
        ndarray of bool, shape (n_findings, n_features)
            True for unusual values. A value without a percentile does not reach any cutoff.
        """
        always_shown = set(select(self.features, always_show))
        is_always_shown = np.array([name in always_shown for name in self.features], dtype=bool)
        with np.errstate(invalid="ignore"):
            is_selected: NDArray[np.bool_] = (self.percentiles >= cutoff) | (is_always_shown & (self.values > 0))
        return is_selected

    def _selected_for_report(self, cutoff: float, always_show: Iterable[str] | None) -> NDArray[np.bool_]:
        """Return which values a report lists; `always_show=None` means ``is_weekend`` if `domain_defaults`."""
        if always_show is None:
            always_show = SHOWN_FLAGS if self.domain_defaults else ()
        return self.selected(cutoff, always_show)

    def cutoff_table(self, cutoffs: Iterable[float] = CUTOFFS) -> pd.DataFrame:
        """Count the features of each finding that reach each percentile, and summarise the counts.

        Parameters
        ----------
        cutoffs : list of float, optional
            Percentiles, from 0 to 100. By default these are 15 percentiles from 95 to 99.99.

        Returns
        -------
        DataFrame
            One row per percentile: ``cutoff``; ``mean`` and ``min`` (mean and smallest number of features per finding
            that reach it); and ``none`` (number of findings without such a feature). If there are no findings, these
            are NaN, 0 and 0.
        """
        cutoffs = list(cutoffs)
        counts = [(self.percentiles >= cutoff).sum(axis=1) for cutoff in cutoffs]
        return pd.DataFrame(
            {
                "cutoff": cutoffs,
                "mean": np.array([n.mean() if len(self) else np.nan for n in counts], dtype=np.float64),
                "min": np.array([n.min() if len(self) else 0 for n in counts], dtype=int),
                "none": np.array([(n == 0).sum() for n in counts], dtype=int),
            }
        )

    def feature_counts(self, cutoff: float = 99.0, always_show: Iterable[str] = ()) -> pd.Series:
        """Return the number of findings in which each feature is unusual.

        Parameters
        ----------
        cutoff : float, default=99.0
            Percentile from 0 to 100 at or above which a value is unusual.
        always_show : list of str, default=()
            Names or patterns of features that count as unusual whenever they are above zero.

        Returns
        -------
        Series
            Number of findings by feature name, the most frequent feature first. Features that are never unusual are
            left out.
        """
        selected = self.selected(cutoff, always_show)
        counts = pd.Series(selected.sum(axis=0), index=pd.Index(self.features, name="feature"), name="findings")
        counts = counts[counts > 0]
        # Equally frequent features are in the order in which they first appear.
        first = {name: position for position, name in enumerate(self._in_order(selected))}
        positions = np.array([first[name] for name in counts.index])
        return counts.iloc[np.lexsort((positions, -counts.to_numpy()))]

    def _in_order(self, selected: NDArray[np.bool_]) -> Iterator[str]:
        """Yield each selected feature once, in the order in which findings list them."""
        seen: set[int] = set()
        for row, order in enumerate(self.order):
            for j in order:
                if selected[row, j] and j not in seen:
                    seen.add(int(j))
                    yield self.features[j]

    def to_frame(self, *, hidden: bool = False) -> pd.DataFrame:
        """Return the findings with their features as one wide table.

        Parameters
        ----------
        hidden : bool, default=False
            Whether the findings that decisions hide follow the others.

        Returns
        -------
        DataFrame
            Columns of `frame`, then ``status`` (of the decision about the finding, or ``"open"``), ``state``
            (``"new"``, ``"again"``, ``"stronger"`` or empty), ``hidden_by`` (the decision that hides the finding, or
            empty), ``reasons`` (the flagged features, each with the rule that flags it),
            ``reason_1``, ``reason_2`` and ``reason_3`` (the leading reasons in words, such as ``"n_files 1,887 (typical
            11, percentile 99.98)"``, with the median and the percentile among the rows that values are ranked among),
            ``size_note`` (whether values are unusual for the size of the row; only with ``groups="size"``),
            ``top_shares`` (the features with the largest shares in what makes the finding anomalous, such as ``"logins
            62 %; bytes 20 %"``; left out if there are no shares), then the features.
        """
        wide = self.frame.copy()
        wide["status"], wide["state"] = self.statuses, [state or "" for state in self.states]
        wide["hidden_by"] = [str(one.decision) if one.is_hidden else "" for one in self.judged]
        reasons: list[list[str]] = [[] for _ in range(len(self))]
        for row, feature, rule in zip(*(self.flags[name].tolist() for name in ("row", "feature", "rule")), strict=True):
            reasons[int(row)].append(f"{feature} {rule}")
        wide["reasons"] = ["; ".join(own) for own in reasons]
        leading = [list(map(reason_text, own)) for own in self._leading_reasons()]
        for k in range(N_REASONS):
            wide[f"reason_{k + 1}"] = [texts[k] if k < len(texts) else "" for texts in leading]
        if self.size_bands is not None:
            wide["size_note"] = self._size_notes()
        if self.shares is not None:
            wide["top_shares"] = self._top_shares(self.shares)
        features = pd.DataFrame(self.values, columns=pd.Index(self.features), index=wide.index)
        wide = pd.concat([wide, features], axis=1)
        if hidden and self.hidden_findings is not None and len(self.hidden_findings):
            others = self.hidden_findings.to_frame()
            # Concatenating an empty frame would change the dtypes of columns.
            wide = pd.concat([wide, others]) if len(wide) else others
        return wide

    def _size_notes(self) -> list[str]:
        """Return the comparison of each finding with rows of similar size in words; empty where there is none."""
        size = self.size_bands
        if size is None:
            return [""] * len(self)
        unit, j, name = self._unit, self.features.index(size.feature), self.features.__getitem__
        remarks = self._size_remarks(self.review.cutoff)
        return ["" if remark is None else remark_text(remark, unit, j, name) for remark in remarks]

    def _leading_reasons(self, rows: slice = slice(None)) -> list[list[TicketReason]]:
        """Return the leading reasons of each of the given findings, the most important one first."""
        return leading_reasons(
            self.features,
            values=self.values[rows],
            typical=self.typical("median")[rows],
            percentiles=self.percentiles[rows],
            directions=self.directions[rows],
            order=self.order[rows],
            shares=None if self.explained is None else self.explained.shares(rows),
            families=[] if self.explained is None else self.explained.families,
            flags=self._flag_positions,
        )

    def _top_shares(self, shares: NDArray[np.float64]) -> list[str]:
        """Return the features with the largest shares of each finding as text."""
        order = np.argsort(-shares, axis=1, kind="stable")[:, :_N_TOP_SHARES]
        return [
            "; ".join(f"{self.features[j]} {format_share(own[j])}" for j in positions if own[j] > 0)
            for own, positions in zip(shares, order, strict=True)
        ]
