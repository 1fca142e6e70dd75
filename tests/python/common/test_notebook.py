"""Test that pages are shown in notebooks, in a frame of their own, and that others are told what to do."""

import html
import re
import subprocess
import sys

import pytest

from isoxide._common import notebook
from notebook_html import parse

pytestmark = [
    pytest.mark.thread_unsafe(reason="a process has one shell"),
    pytest.mark.current_versions(reason="the oldest versions have no notebook"),
]

PAGE = '<!doctype html><title>"A" & B</title><script>x = "</iframe>"</script><p>ø</p>'


@pytest.fixture
def shell():
    """Make this process one whose cells show HTML, as the kernel of a notebook does."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    yield InteractiveShell.instance(config=config)
    InteractiveShell.clear_instance()


def shown(page=PAGE, **options):
    """Return the outputs of a cell that shows a page."""
    from IPython.utils.capture import capture_output

    with capture_output() as captured:
        notebook.show_page(page, "Report of 2 findings", **{"height": 600, "remedy": "Open the file."} | options)
    return captured


def test_a_notebook_gets_the_page_in_a_frame_that_may_read_nothing_of_it(shell):
    [output] = shown(height=321).outputs
    assert output.data["text/plain"] == "Report of 2 findings"
    frame, rest = re.fullmatch(r"(<iframe [^>]*></iframe>)(.*)", output.data["text/html"]).groups()
    attributes = dict(re.findall(r'([a-z]+)="([^"]*)"', frame))
    assert html.unescape(attributes["srcdoc"]) == PAGE
    assert "allow-scripts" in attributes["sandbox"].split()
    assert not {"allow-same-origin", "allow-top-navigation", "allow-forms"} & set(attributes["sandbox"].split())
    assert "height:321px" in attributes["style"]
    assert attributes["title"] == "Report of 2 findings"
    assert " src=" not in frame
    # A notebook that is not trusted shows this only.
    assert parse(rest).text == "Report of 2 findings. Open the file."


def test_a_page_that_is_too_large_is_not_put_into_the_notebook(shell, monkeypatch):
    monkeypatch.setattr(notebook, "MAX_PAGE_BYTES", len(PAGE.encode()))
    assert len(shown().outputs) == 1
    captured = shown(PAGE + "ø" * 30)
    assert captured.outputs == []
    assert captured.stdout == (
        "The page has 138 B, which is too much for a notebook (more than 78 B). Open the file.\n"
    )


def test_a_terminal_shows_no_page(capsys):
    notebook.show_page(PAGE, "title", height=600, remedy="Open the file.")
    assert capsys.readouterr().out == "This is no notebook, so no page can be shown. Open the file.\n"


def test_the_terminal_of_ipython_shows_no_page(capsys, monkeypatch):
    class TerminalInteractiveShell:
        pass

    class Own(TerminalInteractiveShell):
        pass

    module = type(sys)("IPython")
    module.get_ipython = Own
    monkeypatch.setitem(sys.modules, "IPython", module)
    notebook.show_page(PAGE, "title", height=600, remedy="Open the file.")
    assert capsys.readouterr().out.startswith("This is no notebook")


@pytest.mark.parametrize(
    ("height", "error", "message"),
    [
        (0, ValueError, "height=0 must be at least 1 pixel"),
        (-5, ValueError, "height=-5 must be at least 1 pixel"),
        ("600px", TypeError, "height must be an integer, the number of pixels, not '600px'"),
        (True, TypeError, "height must be an integer"),
        (1.5, TypeError, "height must be an integer"),
    ],
)
def test_other_heights_are_refused(height, error, message):
    with pytest.raises(error, match=message):
        notebook.show_page(PAGE, "title", height=height, remedy="")


@pytest.mark.slow
def test_ipython_is_not_imported():
    code = (
        "import sys, isoxide.ueba; from isoxide._common.notebook import show_page;"
        "show_page('<p>', 't', height=1, remedy=''); sys.exit('IPython' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
