"""Findings: the public class, which adds joining, ranking and writing to the data of findings."""

from __future__ import annotations

import copy
import datetime
import json
import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from isoxide._common.files import replace_file
from isoxide._common.notebook import show_page
from isoxide._common.stores import located
from isoxide._frames.keys import text_labels
from isoxide.ueba import _document
from isoxide.ueba._columns import RESULT_COLUMNS
from isoxide.ueba._comparison import Comparison, compare_findings
from isoxide.ueba._days import parse_day
from isoxide.ueba._decision import DEFAULT_DAYS, SUPPRESSING, Decision
from isoxide.ueba._decisions import Decisions
from isoxide.ueba._events import ecs_events, ocsf_events, to_ndjson
from isoxide.ueba._files import write_csv
from isoxide.ueba._findings_data import FindingsData
from isoxide.ueba._findings_html import findings_html
from isoxide.ueba._page_texts import text_of
from isoxide.ueba._ranks import MIN_GROUP, RankOptions
from isoxide.ueba._reranking import rerank
from isoxide.ueba._review import DEFAULT_CUTOFF
from isoxide.ueba._selection import split, take, whole
from isoxide.ueba._suppression import apply_decisions, decision_about
from isoxide.ueba._table import FeatureTable
from isoxide.ueba._users import matched, read_users, unmatched_warning

if TYPE_CHECKING:
    from isoxide.ueba._drift import Drift

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
    size_bands : tuple or None
        Bands of similar size that values are ranked in with ``groups="size"``, as a tuple with the fields ``feature``
        (the count that tells the size of a row), ``edges`` (the smallest value of each band but the lowest one),
        ``n_counts`` and ``explained``.
    comparisons : dict of str to tuple
        For findings of a `Model`, ranks among other rows than all training rows, as tuples with the fields
        ``percentiles``, ``directions``, ``rank_rows``, ``rank_among`` and others: ``"peers"`` if the model has groups,
        or ``"size"`` if these are bands of similar size, and ``"history"``, the entity's own rows. `comparison_table`
        shows those of a finding.
    entity_scores : pandas.DataFrame or None
        Highest anomaly score of each of the latest days of the entities with findings: ``entity``, ``day`` and
        ``anomaly_score``. It is None for files of early versions.
    states : list of str or None
        State of each finding: ``"new"``, ``"again"`` or ``"stronger"`` in comparison with an earlier run or with a
        decision, or None.
    statuses : list of str
        Status of each finding: that of the decision about it, or ``"open"``.
    decisions : list of Decision or None
        Decision about each finding: the one that holds, or the one that it has outgrown.
    outgrown : list of str
        In what way each finding is stronger than the decision about it; empty if it is not.
    hidden : Findings
        Findings that decisions hide, with the same attributes; `decisions` has the decision that hides each.
    n_hidden : int
        Number of these findings.
    expired, unmatched : list of Decision
        Applied decisions whose last day has passed, and those that hold but are about none of the findings.

    See Also
    --------
    detect : Find the anomalies of a table.
    read_findings : Read findings that `to_json` wrote.
    """

    def _repr_html_(self) -> str:
        """Return a table of the first findings with their reasons, for notebooks."""
        return findings_html(self)

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
        joined = whole(self) if self.n_hidden else copy.copy(self)
        entities = text_labels(joined.frame[self.entity].tolist(), self.entity)
        added = {name: column.set_axis(joined.frame.index) for name, column in matched(loaded, entities).items()}
        joined.frame = joined.frame.assign(**added)
        joined.joined = [*self.joined, *added]
        return split(joined) if self.n_hidden else joined

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
            Column of labels: values are ranked among the rows with the same label. ``"size"`` makes bands of rows of
            similar size, as `detect` does. By default values are ranked among all rows.
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
        if not self.n_hidden:
            return rerank(self, table, reference, options, n_jobs)
        return split(rerank(whole(self), table, reference, options, n_jobs))

    @property
    def hidden(self) -> Findings:
        """Return the findings that decisions hide; their `decisions` are those that hide them."""
        return take(self, []) if self.hidden_findings is None else self.hidden_findings  # type: ignore[return-value]

    def decide(
        self,
        finding: str,
        *,
        status: str,
        until: datetime.date | str | None = None,
        note: str = "",
        who: str = "",
        when: datetime.datetime | None = None,
        cutoff: float | None = None,
    ) -> Decision:
        """Return a decision about a finding; `Decisions.append` adds it to a file.

        Parameters
        ----------
        finding : str
            Identifier of the finding, or at least its first six digits.
        status : {"known-good", "false-positive", "confirmed", "open"}
            Status of the finding. The first two hide it, and later findings of the same entity for the same features.
        until : date or str, optional
            Last day on which the decision holds, such as ``"2026-10-01"``. By default, a decision that hides holds for
            90 days, and any other one does not end.
        note : str, default=""
            Reason of the decision.
        who : str, default=""
            Name of the analyst.
        when : datetime, optional
            Time of the decision; by default, now.
        cutoff : float, optional
            Percentile, from 0 to 100, at or above which a feature is covered by the decision; of a finding without such
            a feature, the most unusual one is. By default 99, or the cut-off that decisions were applied with.

        Returns
        -------
        Decision
            The decision.

        Raises
        ------
        ValueError
            If no finding or several findings have this identifier, the status is unknown, or `until` has passed.
        TypeError
            If an argument has the wrong type.

        Examples
        --------
        >>> from isoxide import ueba
        >>> from isoxide.datasets import load_enron
        >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
        >>> findings = ueba.detect(table, contamination=0.001)
        >>> decision = findings.decide(findings.frame["finding_id"].iloc[0][:6], status="confirmed", who="Ana")
        >>> print(decision)
        confirmed (Ana)
        """
        when = datetime.datetime.now(datetime.timezone.utc) if when is None else when
        last = parse_day(until, "until")
        if last is None and status in SUPPRESSING:
            last = when.date() + datetime.timedelta(days=DEFAULT_DAYS)
        if last is not None and last < when.date():
            raise ValueError(f"until={last.isoformat()} has passed; give a later day")
        return decision_about(
            self, finding, status=status, until=last, note=note, who=who, when=when,
            cutoff=self.review.cutoff if cutoff is None else cutoff,
        )  # fmt: skip

    def apply(
        self,
        decisions: Decisions | str | os.PathLike[str],
        *,
        today: datetime.date | str | None = None,
        cutoff: float = DEFAULT_CUTOFF,
    ) -> Findings:
        """Return the findings without those that decisions hide, and with the status of each.

        A decision ``known-good`` or ``false-positive`` hides findings of its entity until its last day, as long as
        every feature at or above the cut-off (or, without one, the most unusual feature) is one that it covers, and the
        anomaly score is at most 0.05 higher than that of the decided finding. A finding of which only some features are
        covered, or with a higher score, has the state ``"stronger"``. Decisions ``confirmed`` and ``open`` set the
        status of their finding.

        Parameters
        ----------
        decisions : Decisions or path
            Decisions, or a file of decisions.
        today : date or str, optional
            Day on which decisions must hold, such as ``"2026-10-01"``; by default, the current day.
        cutoff : float, default=99.0
            Percentile, from 0 to 100, at or above which a feature counts.

        Returns
        -------
        Findings
            New findings; the original ones are not changed. `hidden` has the hidden findings, and `expired` and
            `unmatched` the decisions that were not used. Decisions that were applied before are dropped.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is invalid, or the cut-off is not a percentile.
        TypeError
            If `today` is not a day.

        Examples
        --------
        >>> from isoxide import ueba
        >>> from isoxide.datasets import load_enron
        >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
        >>> findings = ueba.detect(table, contamination=0.001)
        >>> decision = findings.decide(findings.frame["finding_id"].iloc[0], status="false-positive")
        >>> applied = findings.apply(ueba.Decisions([decision]))
        >>> len(findings), len(applied), applied.hidden.statuses
        (11, 10, ['false-positive'])
        """
        _check_cutoff(cutoff)
        if not isinstance(decisions, Decisions):
            decisions = Decisions.read(decisions)
        day = parse_day(today, "today")
        return apply_decisions(self, decisions, datetime.date.today() if day is None else day, cutoff)

    def compare(
        self, previous: Findings | str | os.PathLike[str], *, cutoff: float = DEFAULT_CUTOFF
    ) -> Comparison[Findings]:
        """Compare the findings with those of an earlier run.

        A finding is ``"new"`` unless the earlier run has the same row, or a finding of the same entity at most 30 days
        away whose reasons include all leading reasons of this one. Then it is ``"again"`` there, or ``"stronger"`` if
        its anomaly score is more than 0.05 higher. Reasons are the features at or above the cut-off, or the most
        unusual one if none is; features that move together (`families`) are one reason, and the first three lead.

        Parameters
        ----------
        previous : Findings or path
            Findings of the earlier run, or the JSON file that they were written to.
        cutoff : float, default=99.0
            Percentile, from 0 to 100, at or above which a feature is a reason.

        Returns
        -------
        Comparison
            The findings with their states, the findings that are gone, and changes of the model and the settings.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is invalid, or the earlier run is of another table: its entity or time has another name, or
            fewer than half of the features are common.

        Examples
        --------
        >>> from isoxide import ueba
        >>> from isoxide.datasets import load_enron
        >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
        >>> few, more = (ueba.detect(table, contamination=share) for share in (0.001, 0.002))
        >>> comparison = more.compare(few)
        >>> comparison.counts()
        {'new': 11, 'again': 11, 'stronger': 0, 'gone': 0}
        >>> comparison.changes
        ['amount.contamination: 0.001 before, 0.002 now', 'threshold: 0.6862 before, 0.6708 now']
        """
        _check_cutoff(cutoff)
        source = None if isinstance(previous, Findings) else os.fspath(previous)
        earlier = previous if isinstance(previous, Findings) else read_findings(previous)
        return compare_findings(self, earlier, cutoff, source)

    def to_csv(self, path: str | os.PathLike[str], *, filesystem: Any = None) -> Any:
        """Write the result of `to_frame`, hidden findings last, as CSV that is safe to open in a spreadsheet.

        Text that a spreadsheet would run as a formula is prefixed with an apostrophe.

        Parameters
        ----------
        path : path or URL
            File to write. An existing file is replaced when the new one is complete.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of the path. By default `path` is a URL (such as ``s3://bucket/findings``) or a local path.

        Returns
        -------
        Path or str
            The path of the file; text for a file of a store.
        """
        return replace_file(path, lambda temporary: write_csv(self.to_frame(hidden=True), temporary), filesystem)

    def to_parquet(self, path: str | os.PathLike[str], *, filesystem: Any = None) -> Any:
        """Write the result of `to_frame`, hidden findings last, as Parquet with the manifest in the file's metadata.

        This needs pyarrow.

        Parameters
        ----------
        path : path or URL
            File to write. An existing file is replaced when the new one is complete.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of the path. By default `path` is a URL (such as ``s3://bucket/findings``) or a local path.

        Returns
        -------
        Path or str
            The path of the file; text for a file of a store.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.to_frame(hidden=True), preserve_index=False)
        metadata = {**(table.schema.metadata or {}), b"isoxide": json.dumps(self.manifest).encode()}
        table = table.replace_schema_metadata(metadata)
        return replace_file(path, lambda temporary: pq.write_table(table, temporary), filesystem)

    def to_json(self, path: str | os.PathLike[str], *, filesystem: Any = None) -> Any:
        """Write everything except the forest as JSON, which `read_findings` reads.

        Parameters
        ----------
        path : path or URL
            File to write. An existing file is replaced when the new one is complete.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of the path. By default `path` is a URL (such as ``s3://bucket/findings``) or a local path.

        Returns
        -------
        Path or str
            The path of the file; text for a file of a store.
        """
        return _return_or_write(_document.dump(self), path, filesystem)

    def to_ocsf(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        entity_type: str | None = None,
        filesystem: Any = None,
    ) -> Any:
        """Return or write the findings as Detection Findings of OCSF 1.8.0, one JSON object per line.

        OCSF is the Open Cybersecurity Schema Framework, which security lakes and SIEM systems read.

        Parameters
        ----------
        path : path or URL, optional
            File of newline-delimited JSON to write, in one step; an existing file is replaced. By default the text is
            returned.
        entity_type : {"user", "host", "ip", "other"}, optional
            Type of the entities, which decides the fields that hold them. By default the name of their column decides,
            such as ``actor`` for users and ``src_ip`` for IP addresses; unknown names are ``"other"``.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of the path. By default `path` is a URL (such as ``s3://bucket/report.html``) or a local path.

        Returns
        -------
        str or Path
            The text, or the path of the file.

        Raises
        ------
        ValueError
            If `entity_type` has another value.
        """
        return _return_or_write(to_ndjson(ocsf_events(self, entity_type)), path, filesystem)

    def to_ecs(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        entity_type: str | None = None,
        filesystem: Any = None,
    ) -> Any:
        """Return or write the findings as alerts of the Elastic Common Schema (ECS) 9.4.0, one JSON object per line.

        Parameters
        ----------
        path : path or URL, optional
            File of newline-delimited JSON to write, in one step; an existing file is replaced. By default the text is
            returned.
        entity_type : {"user", "host", "ip", "other"}, optional
            Type of the entities, which decides the fields that hold them. By default the name of their column decides,
            such as ``actor`` for users and ``src_ip`` for IP addresses; unknown names are ``"other"``.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of the path. By default `path` is a URL (such as ``s3://bucket/report.html``) or a local path.

        Returns
        -------
        str or Path
            The text, or the path of the file.

        Raises
        ------
        ValueError
            If `entity_type` has another value.
        """
        return _return_or_write(to_ndjson(ecs_events(self, entity_type)), path, filesystem)

    def to_markdown(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        cutoff: float = 99.0,
        always_show: Iterable[str] | None = None,
        order: str = "score",
        filesystem: Any = None,
    ) -> Any:
        """Return or write the report as Markdown: a section per entity with a table of its findings.

        Parameters
        ----------
        path : path or URL, optional
            Markdown file to write, in one step; an existing file is replaced. By default the text is returned.
        cutoff : float, default=99.0
            Lowest percentile at which a feature is listed, from 0 to 100. For a finding without such a feature, the
            most unusual one is listed.
        always_show : list of str, optional
            Names or patterns of features that are listed whenever they are above zero. By default this is
            ``is_weekend``, or no feature if the findings were made with ``domain_defaults=False``.
        order : {"score", "entity"}, default="score"
            Order of the entities: by their lowest score, or by name.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of the path. By default `path` is a URL (such as ``s3://bucket/report.html``) or a local path.

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
        return _return_or_write(_markdown.render(self, selected, cutoff=cutoff, order=order), path, filesystem)

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        cutoff: float = 99.0,
        always_show: Iterable[str] | None = None,
        title: str | None = None,
        link: str | None = None,
        drift: Drift | None = None,
        filesystem: Any = None,
    ) -> Any:
        """Return or write the report as one self-contained HTML page with sorting and filtering.

        This needs Jinja2.

        Parameters
        ----------
        path : path or URL, optional
            HTML file to write, in one step; an existing file is replaced. By default the text is returned.
        cutoff : float, default=99.0
            Lowest percentile at which a feature is listed, from 0 to 100. For a finding without such a feature, the
            most unusual one is listed.
        always_show : list of str, optional
            Names or patterns of features that are listed whenever they are above zero. By default this is
            ``is_weekend``, or no feature if the findings were made with ``domain_defaults=False``.
        title : str, optional
            Title of the page. By default it gives the first and the last day of the table.
        link : str, optional
            Template of a link from each finding to another system, such as
            ``"https://siem.example/?u={entity}&d={day}"``. ``{entity}``, ``{day}``, ``{time}`` and ``{id}`` are
            replaced by the percent-encoded values of the finding.
        drift : Drift, optional
            Report on drift that the page shows unless its verdict is "ok". By default it is the one that
            `Model.detect` recorded in the manifest.
        filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
            File system of the path. By default `path` is a URL (such as ``s3://bucket/report.html``) or a local path.

        Returns
        -------
        str or Path
            The text, or the path of the file.

        Raises
        ------
        ImportError
            If Jinja2 is not installed.
        TypeError
            If `link` is not text.
        ValueError
            If `link` is not a web address, or has an unknown placeholder.
        """
        return _return_or_write(self._page(cutoff, always_show, title, link, drift), path, filesystem)

    def show(
        self,
        *,
        cutoff: float = 99.0,
        always_show: Iterable[str] | None = None,
        title: str | None = None,
        link: str | None = None,
        drift: Drift | None = None,
        height: int = 600,
    ) -> None:
        """Show the report in the output of a notebook's cell: the page of `to_html`, in a frame.

        The page needs no network, and stays in the notebook's file and in what nbconvert makes of it. It has its own
        style and scripts, which can neither read nor change anything of the notebook. Outside of a notebook, and for a
        page of more than 5 MB, a message says what to do instead. This needs Jinja2.

        Parameters
        ----------
        cutoff : float, default=99.0
            Lowest percentile at which a feature is listed, from 0 to 100. For a finding without such a feature, the
            most unusual one is listed.
        always_show : list of str, optional
            Names or patterns of features that are listed whenever they are above zero. By default this is
            ``is_weekend``, or no feature if the findings were made with ``domain_defaults=False``.
        title : str, optional
            Title of the page. By default it gives the first and the last day of the table.
        link : str, optional
            Template of a link from each finding to another system, as in `to_html`, such as
            ``"https://siem.example/?u={entity}&d={day}"``.
        drift : Drift, optional
            Report on drift that the page shows unless its verdict is "ok". By default it is the one that
            `Model.detect` recorded in the manifest.
        height : int, default=600
            Height of the frame in pixels, at least 1.

        Raises
        ------
        ImportError
            If Jinja2 is not installed.
        TypeError
            If `link` is not text, or `height` is not an integer.
        ValueError
            If `link` is not a web address or has an unknown placeholder, or `height` is below 1.

        See Also
        --------
        to_html : Return the page, or write it to a file.

        Examples
        --------
        >>> from isoxide import ueba
        >>> from isoxide.datasets import load_enron
        >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
        >>> findings = ueba.detect(table, contamination=0.001)
        >>> findings.show()
        This is no notebook, so no page can be shown. Write it with to_html("report.html"), and open the file.
        """
        page = self._page(cutoff, always_show, title, link, drift)
        n = len(self)
        name = text_of(title) if title else f"Report of {n:,} finding{'s' * (n != 1)}"
        show_page(page, name, height=height, remedy='Write it with to_html("report.html"), and open the file.')

    def _page(
        self,
        cutoff: float,
        always_show: Iterable[str] | None,
        title: str | None,
        link: str | None,
        drift: Drift | None,
    ) -> str:
        from isoxide.ueba import _page

        selected = self._selected_for_report(cutoff, always_show)
        summary = None if drift is None else drift.summary()
        return _page.render(self, selected, cutoff=cutoff, title=title, link=link, drift=summary)


def _check_cutoff(cutoff: float) -> None:
    if not 0 <= cutoff <= 100:
        raise ValueError(f"cutoff={cutoff!r} must be a percentile from 0 to 100")


def _return_or_write(text: str, path: str | os.PathLike[str] | None, filesystem: Any) -> Any:
    """Return a text, or write it to a file and return the path."""
    if path is None:
        return text
    return replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), filesystem)


def read_findings(path: str | os.PathLike[str], *, filesystem: Any = None) -> Findings:
    """Read findings that `Findings.to_json` wrote.

    Parameters
    ----------
    path : path
        JSON file. Untrusted input is safe: every field is checked, and reading never executes code.
    filesystem : pyarrow.fs.FileSystem or fsspec.AbstractFileSystem, optional
        File system of the path. By default `path` is a URL (such as ``s3://bucket/findings.json``) or a local path.

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
    >>> from isoxide.datasets import load_enron
    >>> table = ueba.read_table(load_enron(), entity="actor", time="day")
    >>> findings = ueba.detect(table, contamination=0.001)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ueba.read_findings(findings.to_json(f"{folder}/findings.json"))
    Findings(11 rows of 7 entities, 34 features)
    """
    findings = Findings(**_document.read(located(path, filesystem)))
    # Hidden findings are read together with the others.
    return split(findings) if any(one.is_hidden for one in findings.judged) else findings
