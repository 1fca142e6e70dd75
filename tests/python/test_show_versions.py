"""What a report of a defect says of the machine."""

import importlib.metadata
import platform

import numpy as np
import sklearn

import isoxide
from isoxide import _show_versions
from isoxide._threads import resolve_n_jobs


def printed(capsys):
    assert isoxide.show_versions() is None
    return dict(line.strip().split(": ", 1) for line in capsys.readouterr().out.splitlines())


def test_what_is_printed(capsys):
    facts = printed(capsys)
    assert facts["python"] == platform.python_version()
    assert facts["platform"] == platform.platform()
    assert facts["isoxide"] == importlib.metadata.version("isoxide")
    assert facts["numpy"] == np.__version__
    assert facts["scikit-learn"] == sklearn.__version__
    assert {"scipy", "joblib", "pandas", "polars", "pyarrow", "numpy uses"} <= facts.keys()
    assert facts["threads"] == str(resolve_n_jobs(None))


def test_packages_that_are_not_installed_are_left_out(capsys, monkeypatch):
    monkeypatch.setattr(_show_versions, "_PACKAGES", ("numpy", "no-such-package"))
    facts = printed(capsys)
    assert "numpy" in facts
    assert "no-such-package" not in facts


def test_the_kernel_is_named_where_the_core_has_several(capsys, monkeypatch):
    monkeypatch.setattr(_show_versions._core, "kernel", lambda: "plain", raising=False)
    assert printed(capsys)["kernel"] == "plain"


def test_an_older_numpy_does_not_tell_its_features(capsys, monkeypatch):
    def show_config():
        raise AssertionError

    monkeypatch.setattr(_show_versions.np, "show_config", show_config)
    assert printed(capsys)["numpy uses"] == "not known"
