"""Findings: the anomalies of a table, with everything that is known of them, and the ways to hand them on."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide import IsolationForest
from isoxide._files import replace_file
from isoxide.ueba import _document
from isoxide.ueba._files import write_csv
from isoxide.ueba._ranks import rank_rows
from isoxide.ueba._rules import ZSCORES
from isoxide.ueba._table import FeatureTable

__all__ = ["Findings", "read_findings"]

#: Cut-offs of the notebook.
CUTOFFS = (95.0, 96.0, 97.0, 98.0, 99.0, 99.1, 99.2, 99.3, 99.4, 99.5, 99.6, 99.7, 99.8, 99.9, 99.99)


class Findings:
    """Anomalies, the lowest score first: what `detect` and `read_findings` return.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row per finding: entity, time, ``score``, ``severity`` (percentile of the score among all rows, 100 the most
        abnormal), ``day_rank`` (1 is the lowest score of the day) of ``day_rows``, ``first_seen`` (the entity's first
        day in the table), and joined columns. The index is the number of the row in the table.
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
        Per feature the typical values: ``median``, ``p95`` and ``p99`` of the table.
    flags : pandas.DataFrame
        A line per value that a rule flags: ``row`` (number of the finding), ``feature``, ``value``, ``rule`` and
        ``limit``.
    timeline : pandas.DataFrame
        Per day the rows, the lowest score and the number of findings.
    manifest : dict
        How the findings came about: input, parameters, versions.
    forest : IsolationForest or None
        The forest that found them; None if they were read from a file.

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
        joined: Sequence[str] = (),
        forest: IsolationForest | None = None,
    ) -> None:
        self.frame = frame
        self.entity, self.time = entity, time
        self.features = features
        self.values, self.percentiles, self.order, self.directions = values, percentiles, order, directions
        self.reference, self.flags, self.timeline, self.manifest = reference, flags, timeline, manifest
        self.joined = list(joined)
        self.forest = forest

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        entities = self.frame[self.entity].nunique()
        return f"Findings({len(self)} rows of {entities} entities, {len(self.features)} features)"

    def _repr_html_(self) -> str:
        return self.frame.head(10).to_html()

    def join(
        self, users: pd.DataFrame | str | os.PathLike[str], on: str | None = None, columns: Iterable[str] | None = None
    ) -> Findings:
        """Add what is known of the entities: e-mail, name, department.

        Parameters
        ----------
        users : DataFrame or path of a CSV file
            One row per entity.
        on : str, optional
            Its column that holds the entities; by default one of the same name as in the findings.
        columns : list of str, optional
            The columns to add; by default all others.

        Returns
        -------
        Findings
            New ones. Entities that `users` does not have get missing values.

        Raises
        ------
        ValueError
            If a column is missing or would be there twice, or an entity has several rows in `users`.
        """
        table = users if isinstance(users, pd.DataFrame) else pd.read_csv(users, dtype=str)
        on = self.entity if on is None else on
        columns = [column for column in table.columns if column != on] if columns is None else list(columns)
        for column in (on, *columns):
            if column not in table.columns:
                there = ", ".join(map(repr, table.columns[:8]))
                raise ValueError(f"users has no column {column!r}; there are {there}")
        for column in columns:
            if column in self.frame.columns or column in self.features:
                raise ValueError(f"the findings have a column {column!r} already; rename that of users")
        repeated = table[on][table[on].duplicated()]
        if len(repeated):
            raise ValueError(f"users has several rows of {repeated.iloc[0]!r} in {on!r}; one row per entity is wanted")
        known = table.set_index(on)[columns]
        # Numbers here and text there would not meet.
        keys = self.frame[self.entity]
        if keys.dtype != known.index.dtype:
            keys, known.index = keys.astype(str), known.index.astype(str)
        joined = copy.copy(self)
        joined.frame = self.frame.copy()
        for column in columns:
            joined.frame[column] = keys.map(known[column]).to_numpy()
        joined.joined = [*self.joined, *columns]
        return joined

    def rank_features(
        self,
        table: FeatureTable,
        *,
        kind: str = "rank",
        tail: str = "upper",
        groups: str | None = None,
        zscores: str = ZSCORES,
        nan_policy: str = "omit",
        n_jobs: int | None = None,
    ) -> Findings:
        """The same findings with other ranks: of both sides, among peers, or in each entity's own history.

        Parameters
        ----------
        table : FeatureTable
            The one they were found in.
        kind : {"rank", "weak", "strict", "mean"}, default="rank"
            See `detect`, as for all others.
        tail : {"upper", "lower", "two"}, default="upper"
            Which values are unusual.
        groups : str, optional
            A column of the table.
        zscores : str, default="*zscore*"
            Pattern of features that come after all others.
        nan_policy : {"omit", "propagate", "raise"}, default="omit"
            What missing values of the table do to ranks.
        n_jobs : int, optional
            Number of threads; None means all cores.

        Returns
        -------
        Findings
            New ones.

        Raises
        ------
        ValueError
            If the table is another one, or an argument is out of range.
        """
        if list(table.features) != self.features or not self.frame.index.isin(table.frame.index).all():
            raise ValueError("table is not the one in which these findings were found")
        ranking: dict[str, Any] = {
            "kind": kind, "tail": tail, "groups": groups, "zscores": zscores, "nan_policy": nan_policy,
        }  # fmt: skip
        ranks = rank_rows(table, self.frame.index, **ranking, n_jobs=n_jobs)
        ranked = copy.copy(self)
        ranked.percentiles, ranked.order, ranked.directions = ranks.percentiles, ranks.order, ranks.directions
        ranked.manifest = {**self.manifest, "ranking": ranking}
        return ranked

    def by(self, what: str = "day") -> dict[Any, pd.DataFrame]:
        """The findings of each day, or of each value of a column.

        Parameters
        ----------
        what : str, default="day"
            ``"day"``, or a column of `frame`.

        Returns
        -------
        dict
            From the day (ISO 8601) or the value to the rows of `frame`, in ascending order.
        """
        keys = self.frame[self.time].dt.strftime("%Y-%m-%d") if what == "day" else None
        if keys is None:
            if what not in self.frame.columns:
                raise ValueError(f"{what!r} is neither 'day' nor one of {list(self.frame.columns)}")
            keys = self.frame[what]
        return dict(iter(self.frame.groupby(keys.to_numpy(), sort=True)))

    def selected(self, cutoff: float = 99.0, always: Iterable[str] = ()) -> NDArray[np.bool_]:
        """Which values are out of the ordinary.

        Parameters
        ----------
        cutoff : float, default=99.0
            Those whose percentile reaches it.
        always : list of str, optional
            Names or patterns of features that are whenever they are above zero.

        Returns
        -------
        ndarray of bool, shape (n_findings, n_features)
            True where it is.
        """
        patterns = [always] if isinstance(always, str) else list(always)
        flag = np.array([any(fnmatchcase(name, pattern) for pattern in patterns) for name in self.features], dtype=bool)
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
            ``cutoff``, the ``mean`` and the ``min`` number of features per finding, and the findings with ``none``.
        """
        wanted = list(cutoffs)
        counts = np.array([(self.percentiles >= cutoff).sum(axis=1) for cutoff in wanted]).reshape(
            len(wanted), len(self)
        )
        return pd.DataFrame(
            {
                "cutoff": wanted,
                "mean": counts.mean(axis=1),
                "min": counts.min(axis=1),
                "none": (counts == 0).sum(axis=1),
            }
        )

    def feature_counts(self, cutoff: float = 99.0, always: Iterable[str] = ()) -> pd.Series:
        """In how many findings each feature is out of the ordinary.

        Parameters
        ----------
        cutoff : float, default=99.0
            See `selected`.
        always : list of str, optional
            See `selected`.

        Returns
        -------
        Series
            From names to numbers, the most frequent first; features that never are do not appear.
        """
        chosen = self.selected(cutoff, always)
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
        always: Iterable[str] = ("is_weekend",),
        order: str = "score",
    ) -> Any:
        """The report as Markdown: a section per entity, a table of its days and what is out of the ordinary on each.

        Parameters
        ----------
        path : path, optional
            Where to write it; by default the text is returned.
        cutoff : float, default=99.0
            See `selected`. A finding without such a feature has the line of its most unusual one.
        always : list of str, optional
            See `selected`.
        order : {"score", "entity"}, default="score"
            Entities by their lowest score, or by name as in the notebook.

        Returns
        -------
        str or Path
            The text, or where it was written.
        """
        from isoxide.ueba import _markdown

        text = _markdown.render(self, self.selected(cutoff, always), cutoff=cutoff, order=order)
        return (
            text if path is None else replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        )

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        cutoff: float = 99.0,
        always: Iterable[str] = ("is_weekend",),
        title: str | None = None,
    ) -> Any:
        """The report as one page that needs no network: see `to_markdown`. Needs Jinja2.

        Parameters
        ----------
        path : path, optional
            Where to write it; by default the text is returned.
        cutoff : float, default=99.0
            See `selected`. A finding without such a feature shows its most unusual one.
        always : list of str, optional
            See `selected`.
        title : str, optional
            Of the page; by default the days it is about.

        Returns
        -------
        str or Path
            The text, or where it was written.
        """
        from isoxide.ueba import _page

        text = _page.render(self, self.selected(cutoff, always), cutoff=cutoff, title=title)
        return (
            text if path is None else replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        )


def read_findings(path: str | os.PathLike[str]) -> Findings:
    """Read what `Findings.to_json` wrote.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Findings
        Without the forest.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a file, or of a later version.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd
    >>> from isoxide import ueba
    >>> rng = np.random.default_rng(0)
    >>> frame = pd.DataFrame({"actor": "a", "day": pd.date_range("2025-01-01", periods=300), "x": rng.normal(size=300)})
    >>> findings = ueba.detect(ueba.read_table(frame, entity="actor", time="day"), contamination=0.01)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ueba.read_findings(findings.to_json(f"{folder}/findings.json"))
    Findings(3 rows of 1 entities, 1 features)
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON file: {error}") from None
    return Findings(**_document.load(document, str(path)))
