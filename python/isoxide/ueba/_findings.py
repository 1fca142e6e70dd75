"""Findings: the public class, which adds joining, ranking and writing to the data of findings."""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from isoxide._common.files import replace_file
from isoxide._frames.keys import text_labels
from isoxide.ueba import _document
from isoxide.ueba._columns import RESULT_COLUMNS
from isoxide.ueba._files import write_csv
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._ranks import MIN_GROUP, RankOptions
from isoxide.ueba._reranking import rerank
from isoxide.ueba._table import FeatureTable
from isoxide.ueba._users import matched, read_users, unmatched_warning

__all__ = ["Findings", "read_findings"]


class Findings(FindingsData):
    """Anomalies of a table, the lowest score first, with ranks, flags and typical values of their features.

    `detect` and `read_findings` return instances.

    Attributes
    ----------
    frame : pandas.DataFrame
        One row per finding, with the row number in the table as index. The columns are the entity and the time;
        ``score`` (the decision function); ``severity`` (from 0 to 100, which marks the most abnormal row of the table);
        ``day_rank`` (rank of the score among the ``day_rows`` rows of the same day, 1 for the lowest score);
        ``first_seen`` (the entity's first day in the table); ``rank_rows`` (number of rows that the values are ranked
        among); ``rank_among`` (description of these rows, or the reason why there are no ranks); ``finding_id``
        (identifier, the same in every file and run); ``anomaly_score`` (from 0 to 1, higher for more abnormal rows, and
        independent of the number of findings); ``rarity`` (number of rows of the reference for each one that scores as
        high); ``rows_as_high`` (number of these rows; if it is 0, `rarity` is a lower limit); ``band`` (``"minor"``,
        ``"major"``, ``"critical"`` or empty); and joined columns.
    entity, time : str
        Names of the columns with the entity and the time.
    features : list of str
        Names of the features.
    values, percentiles : ndarray of shape (n_findings, n_features)
        Value of each feature, and its percentile, from 0 to 100 or NaN.
    order : ndarray of shape (n_findings, n_features)
        Indices of the features of each finding, the most unusual feature first.
    directions : ndarray of shape (n_findings, n_features)
        1 for a value that is high compared with the reference, -1 for a low value, 0 for neither.
    reference : pandas.DataFrame
        Typical values of each feature: ``median``, ``p95`` and ``p99`` of all rows of the reference.
    flags : pandas.DataFrame
        One row per value that a rule flags: ``row`` (index of the finding), ``feature``, ``value``, ``rule`` and
        ``limit``.
    timeline : pandas.DataFrame
        One row per day: ``day``, ``rows`` and ``findings`` (their numbers), ``lowest`` (the lowest score), and
        ``highest`` (the highest anomaly score).
    manifest : dict
        Record of how the findings were made: input, parameters, versions.
    forest : IsolationForest or None
        Forest that scored the rows; None if the findings were read from a file.
    joined : list of str
        Names of the columns that `join` added.
    group_of : ndarray of shape (n_findings,) or None
        With groups, the index of each finding's group in `group_typical`, or -1 if it has no ranks.
    group_typical : ndarray of shape (n_groups, n_features, 3) or None
        With groups, the typical values of each group; `typical` returns those of each finding.
    contributions, shares : ndarray of shape (n_findings, n_features) or None
        Contribution of each feature to the binary logarithm of the anomaly score, where a positive value makes the
        finding more anomalous, and its share in what does, from 0 to 1. They tell what moved the score, and not what
        caused the anomaly. They are None for files of early versions and with ``explain=False``.
    expected_score : float or None
        Anomaly score that is expected of a row of which nothing is known.
    families : list of list of str
        Features that move together in the table, whose shares `share_table` adds up.
    comparisons : dict of str to tuple
        For findings of a `Model`, ranks among other rows than all training rows, as tuples with the fields
        ``percentiles``, ``directions``, ``rank_rows``, ``rank_among`` and others: ``"peers"`` if the model has groups,
        and ``"history"``, the entity's own rows. `comparison_table` shows those of a finding.

    See Also
    --------
    detect : Find the anomalies of a table.
    read_findings : Read findings that `to_json` wrote.
    """

    def _repr_html_(self) -> str:
        return self.frame.head(10).to_html()

    def join(
        self, users: Any, on: str | None = None, columns: Iterable[str] | None = None, *, sep: str | None = None
    ) -> Findings:
        """Return the findings with columns that describe the entities, such as e-mail, name or department.

        Parameters
        ----------
        users : path or frame
            Table with one row per entity: a CSV file (every cell is text, and empty cells are missing), a Parquet
            file, or a pandas, polars or pyarrow frame.
        on : str, optional
            Column of `users` that holds the entities. By default it has the same name as in the findings. Entities are
            compared as exact text: ``"0001"`` is not ``"1"``. An integer is compared by its digits.
        columns : list of str, optional
            Columns of `users` to add. By default all columns except `on` are added.
        sep : str, optional
            Field delimiter of a CSV file. By default it is guessed from the header.

        Returns
        -------
        Findings
            New findings; the original ones are not changed. Entities that `users` lacks get missing values.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If a column is missing, the findings already have a column with the same name, or an entity has several rows
            in `users`.

        Warns
        -----
        UserWarning
            If `users` lacks entities of the findings; the warning names them.
        """
        on = self.entity if on is None else on
        loaded = read_users(users, on, columns, sep)
        for column in loaded.columns:
            if column in RESULT_COLUMNS or column in self.frame.columns or column in self.features:
                raise ValueError(f"the findings already have a column {column!r}; rename the column of users")
        entities = text_labels(self.frame[self.entity].tolist(), self.entity)
        if (message := unmatched_warning(loaded, entities)) is not None:
            warnings.warn(message, stacklevel=2)
        joined = copy.copy(self)
        added = {name: column.set_axis(self.frame.index) for name, column in matched(loaded, entities).items()}
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
        zscores: str | None = None,
        nan_policy: str = "omit",
        n_jobs: int | None = None,
    ) -> Findings:
        """Return the findings with new ranks: on both sides, within groups, or in another table.

        Parameters
        ----------
        table : FeatureTable, optional
            Table that the findings come from. They are matched with its rows by entity, time and values, never by row
            labels.
        reference : FeatureTable, optional
            Another table to rank the values of the findings in. With `groups`, the label of a finding comes from
            `table` if that is given too, otherwise from the column of `frame` with this name.
        kind : {"rank", "weak", "strict", "mean"}, default="rank"
            Treatment of equal values; `isoxide.percentileofscore` describes each.
        tail : {"upper", "lower", "both"}, default="upper"
            Side on which values are unusual: high values, low values, or both.
        groups : str, optional
            Column of labels: values are ranked among the rows with the same label. By default they are ranked among
            all rows.
        min_group : int, default=20
            Smallest number of rows that values are ranked among. Findings of smaller groups have no ranks.
        zscores : str, optional
            Name or pattern of features that come after all others. By default ``"*zscore*"``, or no feature if the
            findings were made with ``domain_defaults=False``.
        nan_policy : {"omit", "propagate", "raise"}, default="omit"
            Treatment of missing values in the table: leave them out, make all ranks of the feature NaN, or raise an
            error.
        n_jobs : int, optional
            Number of threads. None means all cores.

        Returns
        -------
        Findings
            New findings; the original ones are not changed. Typical values also come from the rows that values are
            ranked among.

        Raises
        ------
        ValueError
            If the findings do not come from `table`, a feature is missing in `reference`, or an argument is out of
            range.
        """
        options = RankOptions(kind, tail, groups, zscores, nan_policy, min_group, self.domain_defaults).check()
        return rerank(self, table, reference, options, n_jobs)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write the result of `to_frame` as CSV that is safe to open in a spreadsheet.

        Text that a spreadsheet would run as a formula is prefixed with an apostrophe.

        Parameters
        ----------
        path : path
            File to write. An existing file is replaced when the new one is complete.

        Returns
        -------
        Path
            The path of the file.
        """
        return replace_file(path, lambda temporary: write_csv(self.to_frame(), temporary))

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write the result of `to_frame` as Parquet, with the manifest in the file's metadata.

        This needs pyarrow.

        Parameters
        ----------
        path : path
            File to write. An existing file is replaced when the new one is complete.

        Returns
        -------
        Path
            The path of the file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.to_frame(), preserve_index=False)
        metadata = {**(table.schema.metadata or {}), b"isoxide": json.dumps(self.manifest).encode()}
        return replace_file(path, lambda temporary: pq.write_table(table.replace_schema_metadata(metadata), temporary))

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Write everything except the forest as JSON, which `read_findings` reads.

        Parameters
        ----------
        path : path
            File to write. An existing file is replaced when the new one is complete.

        Returns
        -------
        Path
            The path of the file.
        """
        text = _document.dump(self)
        return replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def to_markdown(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        cutoff: float = 99.0,
        always_show: Iterable[str] | None = None,
        order: str = "score",
    ) -> Any:
        """Return or write the report as Markdown: a section per entity with a table of its findings.

        Parameters
        ----------
        path : path, optional
            Markdown file to write, in one step; an existing file is replaced. By default the text is returned.
        cutoff : float, default=99.0
            Lowest percentile at which a feature is listed, from 0 to 100. For a finding without such a feature, the
            most unusual one is listed.
        always_show : list of str, optional
            Names or patterns of features that are listed whenever they are above zero. By default this is
            ``is_weekend``, or no feature if the findings were made with ``domain_defaults=False``.
        order : {"score", "entity"}, default="score"
            Order of the entities: by their lowest score, or by name.

        Returns
        -------
        str or Path
            The text, or the path of the file.

        Raises
        ------
        ValueError
            If `order` is neither "score" nor "entity".
        """
        from isoxide.ueba import _markdown

        selected = self._selected_for_report(cutoff, always_show)
        return _return_or_write(_markdown.render(self, selected, cutoff=cutoff, order=order), path)

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        cutoff: float = 99.0,
        always_show: Iterable[str] | None = None,
        title: str | None = None,
    ) -> Any:
        """Return or write the report as one self-contained HTML page with sorting and filtering.

        This needs Jinja2.

        Parameters
        ----------
        path : path, optional
            HTML file to write, in one step; an existing file is replaced. By default the text is returned.
        cutoff : float, default=99.0
            Lowest percentile at which a feature is listed, from 0 to 100. For a finding without such a feature, the
            most unusual one is listed.
        always_show : list of str, optional
            Names or patterns of features that are listed whenever they are above zero. By default this is
            ``is_weekend``, or no feature if the findings were made with ``domain_defaults=False``.
        title : str, optional
            Title of the page. By default it gives the first and the last day of the table.

        Returns
        -------
        str or Path
            The text, or the path of the file.

        Raises
        ------
        ImportError
            If Jinja2 is not installed.
        """
        from isoxide.ueba import _page

        selected = self._selected_for_report(cutoff, always_show)
        return _return_or_write(_page.render(self, selected, cutoff=cutoff, title=title), path)


def _return_or_write(text: str, path: str | os.PathLike[str] | None) -> str | Path:
    """Return a text, or write it to a file and return the path."""
    if path is None:
        return text
    return replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_findings(path: str | os.PathLike[str]) -> Findings:
    """Read findings that `Findings.to_json` wrote.

    Parameters
    ----------
    path : path
        JSON file. Untrusted input is safe: every field is checked, and reading never executes code.

    Returns
    -------
    Findings
        The findings, without the forest.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file does not hold findings, is damaged, or was written by a later version.

    Examples
    --------
    >>> import tempfile
    >>> from isoxide import ueba
    >>> from isoxide.datasets import load_enron_user_day
    >>> table = ueba.read_table(load_enron_user_day(), entity="actor", time="day")
    >>> findings = ueba.detect(table, contamination=0.001)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ueba.read_findings(findings.to_json(f"{folder}/findings.json"))
    Findings(11 rows of 7 entities, 34 features)
    """
    return Findings(**_document.read(Path(path)))
