"""Names of the columns that findings add, which no column of a table or of users may have."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["NEW_COLUMNS", "RESULT_COLUMNS", "REVIEW_COLUMNS", "TICKET_COLUMNS", "refuse_result_names"]

#: Columns that findings of JSON versions 1 to 3 do not have.
NEW_COLUMNS = ("finding_id", "anomaly_score", "rarity", "rows_as_high", "band", "top_shares")
#: Columns of `Findings.to_frame` that findings of JSON versions 1 to 4 do not have.
REVIEW_COLUMNS = ("status", "state", "hidden_by")
#: Columns of `Findings.to_frame` for tickets. Files of findings do not have them, so their names are free there.
TICKET_COLUMNS = ("reason_1", "reason_2", "reason_3", "size_note")
#: Columns of `Findings.frame` and of `Findings.to_frame` besides entity, time, joined columns and features.
RESULT_COLUMNS = (
    "score",
    "severity",
    "day_rank",
    "day_rows",
    "first_seen",
    "rank_rows",
    "rank_among",
    "reasons",
    *NEW_COLUMNS,
    *REVIEW_COLUMNS,
    *TICKET_COLUMNS,
)


def refuse_result_names(entity: str, time: str, features: Iterable[str]) -> None:
    """Refuse a table if a column has the name of a column that findings add.

    Raises
    ------
    ValueError
        If entity, time or a feature has such a name. The message names the column and the remedy.
    """
    for role, name in (("entity", entity), ("time", time), *(("a feature", name) for name in features)):
        if name in RESULT_COLUMNS:
            remedy = "rename it, or leave it out with exclude" if role == "a feature" else "rename it"
            raise ValueError(f"column {name!r} ({role}) has the name of a column that findings add; {remedy}")
