"""Parse the HTML by which notebooks show objects, and check that it is valid, needs nothing else and runs nothing."""

import re
from html.parser import HTMLParser
from typing import NamedTuple

TAGS = {"div", "style", "p", "strong", "bdi", "small", "br", "span", "table", "thead", "tbody", "tr", "th", "td"}
TAGS |= {"ul", "li"}
VOID = {"br"}
ATTRIBUTES = {"class", "style", "title", "scope"}
#: Parents that the standard allows; other elements may be anywhere within the block.
PARENTS = {
    "thead": {"table"}, "tbody": {"table"}, "tr": {"thead", "tbody"}, "th": {"tr"}, "td": {"tr"}, "li": {"ul"},
    "p": {"div"}, "table": {"div"}, "ul": {"div"}, "style": {"div"},
}  # fmt: skip


class Parsed(NamedTuple):
    """Content of a block."""

    #: Text that is shown, without style, with one blank for every run of blanks and tags.
    text: str
    #: Texts of the cells of each row of all tables, heads included.
    rows: list[list[str]]
    #: Full texts that appear under the pointer.
    titles: list[str]


class _Checker(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.texts, self.rows, self.titles, self.styles = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        assert not self.open or tag != "div", "the block is one element"
        parents = PARENTS.get(tag)
        assert parents is None or (self.open and self.open[-1] in parents), (tag, self.open)
        assert self.open or tag == "div", tag
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), names
        assert set(names) <= ATTRIBUTES, names
        values = dict(attrs)
        assert "style" not in values or re.fullmatch(r"--bar:[\d.e-]+%", values["style"]), values
        if "title" in values:
            self.titles.append(values["title"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)
        else:
            self._add(" ")

    def handle_startendtag(self, tag, attrs):
        raise AssertionError(f"<{tag}/> is no HTML")

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag
        if tag not in ("bdi", "span", "strong"):
            self.texts.append(" ")

    def handle_data(self, data):
        assert self.open, f"text beside the block: {data!r}"
        if self.open[-1] == "style":
            self.styles.append(data)
            return
        assert self.open[-1] not in ("table", "thead", "tbody", "tr", "ul"), data
        self._add(data)

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment

    def _add(self, text):
        self.texts.append(text)
        if self.rows and any(tag in ("th", "td") for tag in self.open):
            self.rows[-1][-1] += text


def parse(page):
    """Return the content of a block; refuse one that is not well formed or that could load or run anything."""
    checker = _Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert page.startswith('<div class="isoxide tex2jax_ignore mathjax_ignore"><style>')
    [style] = checker.styles
    assert not re.search(r"url|import|@|expression|\\|<|//", style)
    # The style changes nothing outside of the block.
    rules = [rule for rule in style.split("}") if rule]
    assert all(selector.strip().startswith(".isoxide") for rule in rules for selector in rule.split("{")[0].split(","))
    page.encode()
    assert not re.search(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]", page)
    rows = [[" ".join(cell.split()) for cell in row] for row in checker.rows]
    return Parsed(" ".join("".join(checker.texts).split()), rows, checker.titles)
