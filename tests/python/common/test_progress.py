"""Test that long calls tell their steps to a bar or to a function, and nobody else."""

import sys
import warnings

import pytest

from isoxide._common import progress
from isoxide._common.imports import import_optional
from isoxide._common.progress import steps

needs_tqdm = pytest.mark.current_versions(reason="tqdm is not installed with the oldest versions")


def run(wanted, total=2):
    with steps(wanted, total, "work") as step:
        step("first")
        step("second")


def test_without_progress_nothing_is_written(capsys):
    run(False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("total", [2, None])
def test_a_function_is_told_each_step_and_the_end(total, capsys):
    told = []
    run(lambda *arguments: told.append(arguments), total)
    assert told == [("first", 0, total), ("second", 1, total), ("done", 2, 2)]
    assert capsys.readouterr() == ("", "")


@needs_tqdm
@pytest.mark.parametrize("total", [2, None])
def test_a_bar_is_shown_on_standard_error_and_removed(total, capsys):
    run(True, total)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.index("work: first") < err.index("work: second")
    assert err.rsplit("\r", 1)[1].strip() == ""


def test_work_that_fails_is_not_told_to_be_done():
    told = []

    def fail():
        with steps(lambda *arguments: told.append(arguments), 2, "work") as step:
            step("first")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert told == [("first", 0, 2)]


def test_an_error_of_the_function_ends_the_work():
    def stop(name, done, total):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stop)


@pytest.mark.parametrize("value", [None, "yes", 1, 0])
def test_anything_else_is_refused(value):
    with pytest.raises(TypeError, match=f"progress must be True, False or a function, not {value!r}"):
        run(value)


@needs_tqdm
def test_a_notebook_without_widgets_gets_a_bar_without_a_warning(monkeypatch, capsys):
    """There tqdm warns when it is imported."""

    def warn_and_import(*arguments):
        warnings.warn("IProgress not found", UserWarning, stacklevel=1)
        return import_optional(*arguments)

    monkeypatch.setattr(progress, "import_optional", warn_and_import)
    run(True)
    assert "work: second" in capsys.readouterr().err


def test_without_tqdm_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"progress=True needs tqdm: pip install 'isoxide\[ueba\]'"):
        run(True)
    run(False)
