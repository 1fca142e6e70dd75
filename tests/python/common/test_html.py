"""Test that blocks of HTML escape every text, are short, and say how much they leave out."""

import pytest

from hostile_names import HOSTILE
from isoxide._common import html
from notebook_html import parse


def everything(text):
    """Return a block with a text in every position that takes one."""
    cells = [text, html.Cell(text, text, 0.5), html.Cell(text)]
    return html.block(
        html.heading(text, text),
        html.note(text),
        html.facts([(text, text)]),
        html.table([text, html.Number(text), text], [cells, cells[:1]]),
        html.items([text]),
        html.note(html.names_text([text])),
    )


@pytest.mark.parametrize(
    "text", [*HOSTILE, "</style><script>", "&lt;b&gt;", "<" * 700, "\ud800 half", "a\x00\x1b[31mb"]
)
def test_every_text_stays_text(text):
    parsed = parse(everything(text))
    line = " ".join(html.printable(text).split())
    shown = line if len(line) <= html.MAX_LENGTH else f"{line[: html.MAX_LENGTH - 1]}…"
    assert parsed.rows[1][0] == shown
    assert parsed.rows[2] == [shown, f"{shown} {shown}", shown]
    assert parsed.rows[3] == [shown]
    assert parsed.titles == ([] if shown == line else [line[: html.MAX_TITLE_LENGTH]] * len(parsed.titles))
    assert max(map(len, parsed.titles), default=0) <= html.MAX_TITLE_LENGTH


def test_blank_texts_are_named_and_empty_ones_are_not():
    parsed = parse(html.block(html.table(["a", "b"], [[" \n ", ""]])))
    assert parsed.rows[1] == ["(blank)", ""]


@pytest.mark.parametrize(("n", "shown"), [(0, ""), (10, ""), (11, "10 of 11 days …"), (12_345, "10 of 12,345 days …")])
def test_blocks_say_how_much_they_leave_out(n, shown):
    assert html.shown_of(n, "days") == html.shown_of(range(n), "days") == shown
    parsed = parse(html.block(html.items([f"day {i}" for i in range(n)], "days")))
    assert parsed.text.count("day ") == min(n, 10)
    assert parsed.text.endswith(shown)


def test_of_many_names_the_first_ones_are_shown():
    names = [f"x{j}" for j in range(46)]
    assert html.names_text(names[:10]) == ", ".join(names[:10])
    assert html.names_text(names, 2) == "x0, x1 … of 46"
    assert html.names_text(["y" * 99]) == f"{'y' * 59}…"


def test_parts_without_content_are_left_out():
    assert html.note("") == html.facts([("name", "")]) == html.items([]) == ""


@pytest.mark.parametrize(
    ("share", "width"), [(0.5, "50%"), (0.123456, "12.35%"), (-1.0, "0%"), (7.0, "100%"), (1e-9, "1e-07%")]
)
def test_bars_are_as_long_as_their_share(share, width):
    page = html.block(html.table(["row", html.Number("x")], [["a", html.Cell("1", "", share)]]))
    parse(page)
    assert f'<td class="number bar word" style="--bar:{width}">1</td>' in page


def test_cells_without_a_share_have_no_bar():
    for share in (None, float("nan")):
        page = html.block(html.table(["row", "x"], [["a", html.Cell("1", "", share)]]))
        parse(page)
        assert "--bar:" not in page.split("</style>")[1]
