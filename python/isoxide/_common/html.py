"""Build the HTML by which notebooks show objects: short tables in which all text from data is escaped.

A notebook may be light or dark, and may drop the style. So colours are those of the surrounding text, or translucent,
and every number is also written. The functions take plain texts and return `Html`, which only `block` joins, so that no
text gets into a page without being escaped.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, NewType

__all__ = [
    "MAX_ROWS", "Cell", "Html", "Number", "block", "facts", "heading", "items", "names_text", "note", "printable",
    "shown_of", "table",
]  # fmt: skip

#: HTML in which all text from data is escaped.
Html = NewType("Html", str)

#: Largest number of rows of a table, of items of a list, and of names in a sentence.
MAX_ROWS = 10
#: Largest number of characters of a text that is shown, and of the full text that appears when the pointer is over it.
MAX_LENGTH, MAX_TITLE_LENGTH = 60, 500
#: Largest number of characters of a sentence, and of a text that stays on one line, such as a time.
MAX_SENTENCE_LENGTH, MAX_WORD_LENGTH = 500, 20
#: Control characters, and surrogates, which UTF-8 cannot hold.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
#: The classes after the first one keep MathJax from taking dollar signs for formulas.
_CLASSES = "isoxide tex2jax_ignore mathjax_ignore"
#: Colours have to suit every background: they derive from the text's colour, or are translucent. Doubled classes win
#: over the rules of notebooks for all tables.
_STYLE = """
.isoxide{line-height:1.4;max-width:100%;overflow-x:auto}
.isoxide.isoxide p{margin:.2em 0 .4em;max-width:60em}
.isoxide.isoxide .note,.isoxide.isoxide small{color:color-mix(in srgb,currentColor 75%,transparent);font-size:.92em}
.isoxide.isoxide table{width:auto;table-layout:auto;margin:.2em 0 .4em;border:0;border-collapse:collapse;font-size:1em;
color:inherit;font-variant-numeric:tabular-nums}
.isoxide.isoxide th,.isoxide.isoxide td{padding:.25em .7em;border:0;border-top:1px solid rgba(128,128,128,.3);
color:inherit;text-align:left;vertical-align:top;max-width:26em;overflow-wrap:break-word;unicode-bidi:isolate}
.isoxide.isoxide th{font-weight:600}
.isoxide.isoxide thead th{border-top:0;vertical-align:bottom}
.isoxide.isoxide .number{text-align:right}
.isoxide.isoxide .word{white-space:nowrap}
.isoxide.isoxide .bar{background:linear-gradient(rgba(214,84,46,.8),rgba(214,84,46,.8)) no-repeat left bottom;
background-size:var(--bar) 3px}
.isoxide.isoxide ul{margin:.2em 0 .4em;padding-left:1.5em;max-width:60em}
""".replace("\n", "")


class Number(str):
    """Text of a number, or heading of a column of numbers, which is aligned to the right."""


class Cell(NamedTuple):
    """Cell of a table with more than a text."""

    text: str
    #: Second line, which says more about the text.
    detail: str = ""
    #: Length of the bar under the cell, from 0 to 1; None draws no bar.
    bar: float | None = None


def printable(text: str) -> str:
    r"""Return a text without control characters and halves of characters, which pages cannot show.

    Examples
    --------
    >>> from isoxide._common.html import printable
    >>> printable("a\x00b")
    'a\ufffdb'
    """
    return _UNPRINTABLE.sub("\ufffd", text)


def block(*parts: Html) -> Html:
    """Return the parts as one block with its own style, which changes nothing else in the notebook."""
    return Html(f'<div class="{_CLASSES}"><style>{_STYLE}</style>{"".join(parts)}</div>')


def heading(name: str, summary: str) -> Html:
    """Return the first line of a block: what the object is, and how much of it there is."""
    return Html(f"<p><strong>{_sentence(name)}</strong>: {_sentence(summary)}</p>")


def note(text: str) -> Html:
    """Return a sentence in a softer colour, or nothing if the text is empty."""
    return Html(f'<p class="note">{_sentence(text)}</p>' if text else "")


def items(texts: Iterable[str], noun: str = "items") -> Html:
    """Return a list of sentences; of many only the first ones are shown."""
    texts = list(texts)
    shown = "".join(f"<li>{_sentence(text)}</li>" for text in texts[:MAX_ROWS])
    return Html(f"<ul>{shown}</ul>{note(shown_of(texts, noun))}" if texts else "")


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Return a table of names and their texts; pairs with an empty text are left out."""
    rows = "".join(
        f'<tr><th scope="row">{_short(name)}</th><td>{_sentence(text)}</td></tr>' for name, text in pairs if text
    )
    return Html(f"<table><tbody>{rows}</tbody></table>" if rows else "")


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Cell]]) -> Html:
    """Return a table; the first cell of each row names the row.

    Parameters
    ----------
    columns : sequence of str
        Headings. A `Number` aligns its column to the right.
    rows : iterable of sequence of str or Cell
        Cells of each row, as plain texts. A row may have fewer cells than there are columns.
    """
    head = "".join(f'<th scope="col"{_class(column)}>{_short(column)}</th>' for column in columns)
    body = []
    for row in rows:
        cells = [f'<th scope="row"{_class(columns[0], *_word(row[0]))}>{_cell(row[0])}</th>'] if row else []
        cells += [_data_cell(cell, column) for cell, column in zip(row[1:], columns[1:], strict=False)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return Html(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>")


def shown_of(sequence: Sequence[object] | int, noun: str) -> str:
    """Return how many of a longer sequence, given itself or its length, are shown; nothing if all are.

    Examples
    --------
    >>> from isoxide._common.html import shown_of
    >>> shown_of(1234, "rows"), shown_of(3, "rows")
    ('10 of 1,234 rows …', '')
    """
    n = sequence if isinstance(sequence, int) else len(sequence)
    return f"{MAX_ROWS} of {n:,} {noun} …" if n > MAX_ROWS else ""


def names_text(names: Sequence[str], n_shown: int = MAX_ROWS) -> str:
    """Return names as a text; of many only the first ones, with the number of all.

    Examples
    --------
    >>> from isoxide._common.html import names_text
    >>> names_text(["a", "b"])
    'a, b'
    >>> names_text([f"x{j}" for j in range(46)])
    'x0, x1, x2, x3, x4, x5, x6, x7, x8, x9 … of 46'
    """
    shown = ", ".join(map(shortened, names[:n_shown]))
    return f"{shown} … of {len(names):,}" if len(names) > n_shown else shown


def _data_cell(cell: str | Cell, column: str) -> str:
    bar = cell.bar if isinstance(cell, Cell) else None
    if bar is None or math.isnan(bar):
        return f"<td{_class(column, *_word(cell))}>{_cell(cell)}</td>"
    width = f"{100 * min(max(bar, 0.0), 1.0):.4g}%"
    return f'<td{_class(column, "bar", *_word(cell))} style="--bar:{width}">{_cell(cell)}</td>'


def _word(cell: str | Cell) -> list[str]:
    """Return the class of a cell whose text is too short to be broken."""
    text, detail = (cell.text, cell.detail) if isinstance(cell, Cell) else (cell, "")
    return ["word"] if len(detail) <= len(text) <= MAX_WORD_LENGTH else []


def _cell(cell: str | Cell) -> str:
    if not isinstance(cell, Cell):
        return _short(cell)
    return f"{_short(cell.text)}<br><small>{_short(cell.detail)}</small>" if cell.detail else _short(cell.text)


def _class(column: str, *others: str) -> str:
    names = [*(["number"] if isinstance(column, Number) else []), *others]
    return f' class="{" ".join(names)}"' if names else ""


def _short(text: str) -> str:
    """Return a text on one line as HTML; of a long one the beginning, and more of it when the pointer is over it."""
    line = _line(text)
    if len(line) <= MAX_LENGTH:
        return html.escape(line)
    return f'<span title="{html.escape(line[:MAX_TITLE_LENGTH])}">{html.escape(shortened(line))}</span>'


def _sentence(text: str) -> str:
    """Return a sentence as HTML; names in it can neither turn the direction of others nor be endless."""
    line = _line(text)
    return f"<bdi>{html.escape(line if len(line) <= MAX_SENTENCE_LENGTH else f'{line[:MAX_SENTENCE_LENGTH]}…')}</bdi>"


def shortened(text: str) -> str:
    """Return a text, of which only the beginning is kept if it is long."""
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"


def _line(text: str) -> str:
    """Return a text on one line; one of blanks only is named."""
    return " ".join(printable(text).split()) or ("(blank)" if text else "")
