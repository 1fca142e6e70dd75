"""Drift of new rows from the training rows of a model.

The population stability index (PSI) of a feature compares the shares of the rows in bins:

    PSI = sum over the bins of (new - old) * ln(new / old)

The bins are bounded by the deciles of the training rows; missing values are a bin of their own. If more than a tenth of
the values are zero, zero is a bound too, and the deciles are those of the other values, since most counts are zero.
Half a row is added to each bin, so that no share is zero.

Small tables differ by chance. Without drift, the PSI divided by ``1 / n_old + 1 / n_new`` is roughly chi-squared with a
degree of freedom less than there are bins (Yurdakul, "Statistical properties of population stability index", 2018). A
feature counts as drifted only if its PSI is also above the 99.9 % quantile of that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide._common import html
from isoxide._common.format import format_value
from isoxide.ueba._distributions import Distribution
from isoxide.ueba._model_data import FeatureFacts, ModelData
from isoxide.ueba._quantiles import column_numbers

__all__ = ["Drift", "drift_of", "stability"]

#: PSI from which a feature is watched, and from which the model should be trained again.
WATCH, RETRAIN = 0.1, 0.25
#: Probability that a PSI without drift stays below the limit, and confidence of the interval of the share of findings.
PSI_CONFIDENCE, SHARE_CONFIDENCE = 0.999, 0.99
#: A verdict on fewer days is never "retrain", since the days of a week differ.
MIN_DAYS = 7
#: Changes of the share of missing values or zeros, and share of rows of new entities, that are watched.
WATCHED_SHARE, WATCHED_NEW_ENTITIES = 0.1, 0.25
#: Share of findings relative to the expected one from which the model should be trained again.
RETRAIN_FACTOR = 2.0
#: Number of features that the verdict names, and of entities that are listed.
N_WORST, MAX_LISTED = 3, 20
_VERDICTS = ("ok", "watch", "retrain")


@dataclass(frozen=True)
class Drift:
    """Drift of new rows from the training rows of a model; print it to see a summary.

    `Model.drift` returns instances.

    Attributes
    ----------
    verdict : {"ok", "watch", "retrain"}
        Whether the model still fits, should be watched, or should be trained again.
    reasons : list of str
        One sentence for each reason of the verdict; empty if it is "ok".
    worst : list of str
        Names of the up to three features that drifted most.
    features : pandas.DataFrame
        One row per feature, in the order of the model: ``psi`` (population stability index), ``chance`` (the index that
        rows without drift stay below in 99.9 % of the cases), ``nan_share`` and ``zero_share`` (fractions of the new
        rows without a value, and with the value zero), ``model_nan_share`` and ``model_zero_share`` (the same for the
        training rows), ``median`` and ``model_median``, ``is_constant_now`` (whether all new rows have the same value,
        which as many training rows would not have by chance), ``by_calendar`` (whether the value is the same for all
        rows of a day, so that few days cannot be compared), and ``verdict``.
    rows, days : int
        Numbers of new rows and of their days.
    new_entities, vanished_entities : list of str
        Entities that the training rows or the new rows do not have, in ascending order.
    new_entity_rows : int
        Number of new rows of new entities.
    above : int
        Number of new rows above the threshold.
    expected_share : float
        Fraction of the training rows that are above the threshold.
    expected_above : tuple of two int
        Interval that contains the number of new rows above the threshold in at least 99 % of the cases, if rows are
        independent and there is no drift.
    """

    verdict: str
    reasons: list[str]
    worst: list[str]
    features: pd.DataFrame = field(repr=False)
    rows: int
    days: int
    new_entities: list[str] = field(repr=False)
    vanished_entities: list[str] = field(repr=False)
    new_entity_rows: int
    above: int
    expected_share: float
    expected_above: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as a dictionary for JSON; missing numbers are None.

        Returns
        -------
        dict
            Values of the attributes, by name; the features are a dictionary by their names.
        """
        records = self.features.astype(object).where(self.features.notna(), None).to_dict("index")
        return {**self.summary(), "features": records, "vanished_entities": self.vanished_entities}

    def summary(self) -> dict[str, Any]:
        """Return the verdict with the numbers behind it, without the features.

        Returns
        -------
        dict
            Values of the attributes, by name; long lists of entities are cut.
        """
        return {
            "verdict": self.verdict,
            "reasons": self.reasons,
            "worst": self.worst,
            "rows": self.rows,
            "days": self.days,
            "new_entities": self.new_entities[:MAX_LISTED],
            "n_new_entities": len(self.new_entities),
            "n_vanished_entities": len(self.vanished_entities),
            "new_entity_rows": self.new_entity_rows,
            "above": self.above,
            "expected_share": self.expected_share,
            "expected_above": list(self.expected_above),
        }

    def __str__(self) -> str:
        lines = [f"drift: {self.verdict}", *(f"  {reason}" for reason in self.reasons), self._counts()]
        for name, row in self._most_drifted(N_WORST).iterrows():
            lines.append(
                f"  {name}: PSI {row['psi']:.3f}, median {format_value(row['median'])} "
                f"(model: {format_value(row['model_median'])}), zeros {row['zero_share']:.0%} "
                f"({row['model_zero_share']:.0%}), missing {row['nan_share']:.0%} ({row['model_nan_share']:.0%})"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the verdict, its reasons, and the features that drifted most, for notebooks."""
        columns = [
            "feature",
            html.Number("PSI"),
            html.Number("chance"),
            html.Number("median"),
            html.Number("zeros"),
            html.Number("missing"),
        ]
        rows: list[list[str | html.Cell]] = [
            [
                str(name),
                f"{row['psi']:.3f}",
                f"{row['chance']:.3f}",
                html.Cell(format_value(row["median"]), f"before: {format_value(row['model_median'])}"),
                html.Cell(f"{row['zero_share']:.0%}", f"before: {row['model_zero_share']:.0%}"),
                html.Cell(f"{row['nan_share']:.0%}", f"before: {row['model_nan_share']:.0%}"),
                str(row["verdict"]),
            ]
            for name, row in self._most_drifted(html.MAX_ROWS).iterrows()
        ]
        return html.block(
            html.heading("Drift", f"{self.verdict}; {self._counts()}"),
            html.items(self.reasons, "reasons"),
            html.note(
                f"PSI, the population stability index: 0 without drift, from {WATCH:g} on watched, from {RETRAIN:g} on "
                "a reason to train again, unless chance alone reaches it. Before: in the training rows."
            ),
            html.table([*columns, "verdict"], rows),
            html.note(html.shown_of(len(self.features), "features")),
        )

    def _counts(self) -> str:
        """Return the numbers of rows, findings and entities in words."""
        low, high = self.expected_above
        return (
            f"{self.rows:,} rows on {self.days:,} {'day' if self.days == 1 else 'days'}: {self.above:,} above the "
            f"threshold, {low:,} to {high:,} expected; {len(self.new_entities):,} new and "
            f"{len(self.vanished_entities):,} vanished entities"
        )

    def _most_drifted(self, n: int) -> pd.DataFrame:
        """Return the lines of the features with the highest index."""
        return self.features.sort_values("psi", ascending=False, kind="stable").head(n)


def drift_of(
    model: ModelData,
    X: pd.DataFrame,
    days: pd.Series,
    entities: pd.Series,
    anomaly_scores: NDArray[np.float64],
) -> Drift:
    """Return the drift of new rows.

    Parameters
    ----------
    model : ModelData
        The model.
    X : DataFrame of shape (n_rows, n_features)
        Features of the new rows, in the order of the model.
    days, entities : Series
        Day and entity of each new row.
    anomaly_scores : ndarray of shape (n_rows,)
        Anomaly score of each new row.
    """
    reference, n, n_days = model.reference, len(X), int(days.nunique())
    records = []
    for own in model.facts:
        values = np.asarray(column_numbers(X[own.name]), dtype=np.float64)
        records.append(_feature(own, reference.distribution(own.name), values))
    features = pd.DataFrame(records, index=pd.Index([own.name for own in model.facts], name="feature"))
    names = [None if pd.isna(name) else str(name) for name in entities]
    is_new = np.array([reference.history(name)[1] == 0 for name in names], dtype=bool)
    present = {name for name in names if name is not None}
    known = {name for name in reference.entities["entity"].to_pylist() if name is not None}
    n_above = int(np.count_nonzero(anomaly_scores > model.threshold))
    expected_share = model.n_above / reference.n_rows
    expected_above = _interval(n, expected_share)
    level, reasons, worst = _judged(features, n, n_days, int(is_new.sum()), n_above, expected_share, expected_above)
    return Drift(
        verdict=_VERDICTS[level],
        reasons=reasons,
        worst=worst,
        features=features,
        rows=n,
        days=n_days,
        new_entities=sorted(present - known),
        vanished_entities=sorted(known - present),
        new_entity_rows=int(is_new.sum()),
        above=n_above,
        expected_share=expected_share,
        expected_above=expected_above,
    )


def _feature(facts: FeatureFacts, old: Distribution, values: NDArray[np.float64]) -> dict[str, Any]:
    """Return the line of a feature."""
    n, present = len(values), values[~np.isnan(values)]
    psi, chance = stability(old, values)
    nan_share, zero_share = (n - len(present)) / n, np.count_nonzero(present == 0) / n
    is_constant_now = _is_constant_now(old, values, present)
    level = 0
    if psi > chance and not facts.is_constant_within_days:
        level = 2 if psi >= RETRAIN else 1 if psi >= WATCH else 0
    if not facts.is_constant_within_days:
        if is_constant_now:
            level = max(level, 1)
        if max(abs(nan_share - facts.nan_share), abs(zero_share - facts.zero_share)) >= WATCHED_SHARE and psi > chance:
            level = max(level, 1)
    return {
        "psi": psi,
        "chance": chance,
        "nan_share": nan_share,
        "model_nan_share": facts.nan_share,
        "zero_share": zero_share,
        "model_zero_share": facts.zero_share,
        "median": float(np.median(present)) if len(present) else np.nan,
        "model_median": facts.median,
        "is_constant_now": is_constant_now,
        "by_calendar": facts.is_constant_within_days,
        "verdict": _VERDICTS[level],
    }


def _is_constant_now(old: Distribution, values: NDArray[np.float64], present: NDArray[np.float64]) -> bool:
    """Return whether all new rows have the same value, which is unlikely among so many training rows."""
    n = len(values)
    if len(present) not in (0, n) or (len(present) and present.min() != present.max()):
        return False
    old_values, counts, n_missing = old
    n_same = n_missing if not len(present) else counts[old_values == present[0]].sum()
    # The probability that as many training rows, drawn at random, all have this value.
    return bool((n_same / max(old.n + n_missing, 1)) ** n < 1 - PSI_CONFIDENCE)


def stability(old: Distribution, values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the population stability index of new values, and the index that chance alone stays below.

    Parameters
    ----------
    old : Distribution
        Distribution of the training rows.
    values : ndarray of float64
        New values; NaN counts as missing.
    """
    edges = _edges(old)
    missing = np.isnan(values)
    new_counts = np.bincount(np.searchsorted(edges, values[~missing], side="left"), minlength=len(edges) + 1)
    old_values, old_numbers, n_missing = old
    bins = np.searchsorted(edges, old_values.astype(np.float64), side="left")
    old_counts = np.bincount(bins, weights=old_numbers, minlength=len(edges) + 1)
    both = np.array([[*old_counts, n_missing], [*new_counts, missing.sum()]], dtype=np.float64)
    both = both[:, both.sum(axis=0) > 0]
    n_bins, totals = both.shape[1], both.sum(axis=1)
    if n_bins < 2:
        return 0.0, 0.0
    old_shares, new_shares = (both + 0.5) / (totals + 0.5 * n_bins)[:, np.newaxis]
    psi = float(((new_shares - old_shares) * np.log(new_shares / old_shares)).sum())
    from scipy.stats import chi2

    chance = float(chi2.ppf(PSI_CONFIDENCE, n_bins - 1) * (1 / totals).sum())
    return psi, chance


def _edges(old: Distribution) -> NDArray[np.float64]:
    """Return the distinct upper bounds of the bins; the last bin has no upper bound."""
    values, counts, _ = old
    values = values.astype(np.float64)
    is_zero = values == 0
    edges: list[float] = []
    if counts[is_zero].sum() > 0.1 * max(old.n, 1):
        edges, values, counts = [0.0], values[~is_zero], counts[~is_zero]
    if len(values):
        # The smallest value that at least this fraction of the rows do not exceed.
        ends = np.cumsum(counts)
        positions = np.searchsorted(ends, np.arange(1, 10) / 10 * ends[-1])
        edges += values[positions].tolist()
    return np.unique(np.array(edges, dtype=np.float64))


def _interval(n: int, share: float) -> tuple[int, int]:
    """Return the interval of a binomial number with the probability `SHARE_CONFIDENCE`."""
    from scipy.stats import binom

    low, high = binom.interval(SHARE_CONFIDENCE, n, share)
    return max(int(low), 0), max(int(high), 0)


def _judged(
    features: pd.DataFrame,
    n: int,
    n_days: int,
    n_new_rows: int,
    n_above: int,
    expected_share: float,
    expected_above: tuple[int, int],
) -> tuple[int, list[str], list[str]]:
    """Return the verdict as its number, the reasons, and the names of the features that drifted most."""
    levels = features["verdict"].map({name: level for level, name in enumerate(_VERDICTS)})
    ordered = features[levels > 0].sort_values("psi", ascending=False, kind="stable")
    worst = [str(name) for name in ordered.index[:N_WORST]]
    level, reasons = int(levels.max()) if len(levels) else 0, []
    is_short = n_days < MIN_DAYS
    if is_short:
        # The rows of a day resemble each other, so that single days differ more than the same number of other rows.
        level = max(level - 1, 0)
    if worst and level:
        of = f"{len(ordered):,} of {len(features):,} features drifted"
        reasons.append(f"{of}, most of all {', '.join(f'{name} (PSI {features.psi[name]:.2f})' for name in worst)}")
    constant = [str(name) for name in features.index[features["is_constant_now"] & ~features["by_calendar"]]]
    if constant and level:
        reasons.append(
            f"{len(constant):,} {'feature is' if len(constant) == 1 else 'features are'} constant now: "
            f"{', '.join(constant[:N_WORST])}"
        )
    low, high = expected_above
    if not low <= n_above <= high:
        is_far = n_above > RETRAIN_FACTOR * expected_share * n
        level = max(level, 2 if is_far else 1)
        reasons.append(f"{n_above:,} of {n:,} rows are above the threshold, but {low:,} to {high:,} are expected")
    if n_new_rows > WATCHED_NEW_ENTITIES * n:
        level = max(level, 1)
        reasons.append(f"{n_new_rows / n:.0%} of the rows belong to entities that the model does not know")
    if is_short and level:
        level = 1
        reasons.append(f"{n_days} {'day is' if n_days == 1 else 'days are'} too few to tell drift from the calendar")
    return level, reasons, worst
