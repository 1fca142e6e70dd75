"""Fixtures of the tests of the page: one browser for each module, and a report that is open in it."""

import pytest

from isoxide import ueba
from ueba_tables import actor_days, users_of


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    # Only the tests of the page need selenium.
    import page_browser

    browser = page_browser.start(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def page_findings(seed):
    """Return findings with users, ranked on both sides."""
    frame = actor_days(seed)
    table = ueba.read_table(frame, entity="actor", time="day")
    return ueba.detect(table, contamination=0.03, tail="both").join(users_of(frame))


@pytest.fixture
def opened(browser, page_findings, tmp_path):
    """Open the report, and check afterwards that the browser's console has no messages."""
    path = page_findings.to_html(tmp_path / "report.html")
    browser.get("about:blank")
    browser.get(path.as_uri())
    yield browser
    assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []
