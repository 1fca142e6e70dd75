"""All files of findings byte for byte, as the first and plainest writers wrote them."""

from pathlib import Path

import pytest

from isoxide import ueba

pytestmark = pytest.mark.current_versions(reason="pandas writes part of the CSV")

#: Findings with hostile and long names, joined columns, groups without ranks, times in a zone and unusual numbers.
FOLDER = Path(__file__).parents[1] / "fixtures" / "writers"


@pytest.fixture(scope="module")
def findings():
    return ueba.read_findings(FOLDER / "findings.json")


def test_json_is_as_it_was(findings, tmp_path):
    assert findings.to_json(tmp_path / "findings.json").read_bytes() == (FOLDER / "findings.json").read_bytes()


def test_csv_is_as_it_was(findings, tmp_path):
    assert findings.to_csv(tmp_path / "findings.csv").read_bytes() == (FOLDER / "findings.csv").read_bytes()


def test_markdown_is_as_it_was(findings, tmp_path):
    written = findings.to_markdown(tmp_path / "report.md", order="entity").read_bytes()
    # The sentences at the head may be worded anew.
    expected = (FOLDER / "report.md").read_bytes()
    assert written[written.index(b"\n## ") :] == expected[expected.index(b"\n## ") :]
    assert b"## Columns that are not features" in expected


def test_cards_of_the_page_are_as_they_were(findings):
    page = findings.to_html(always_show=["n_*"])
    data = page.index('<script type="application/json"')
    written = page[page.index('<div id="cards">') : page.index("<footer>")] + page[data : page.index("</script>", data)]
    assert written == (FOLDER / "cards.html").read_text(encoding="utf-8")
