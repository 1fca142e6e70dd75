"""What a report of a defect says of the machine."""

import importlib.metadata
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
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
    assert {"scipy", "joblib", "pandas", "polars", "pyarrow", "numpy uses", "kernel"} <= facts.keys()
    assert facts["threads"] == str(resolve_n_jobs(None))


def test_packages_that_are_not_installed_are_left_out(capsys, monkeypatch):
    monkeypatch.setattr(_show_versions, "_PACKAGES", ("numpy", "no-such-package"))
    facts = printed(capsys)
    assert "numpy" in facts
    assert "no-such-package" not in facts


@pytest.mark.parametrize("kernel", ["portable", "avx2", "no such kernel"])
def test_the_environment_chooses_the_kernel(kernel):
    code = "from isoxide import _core; print(_core.kernel())"
    environment = os.environ | {"ISOXIDE_KERNEL": kernel}
    asked = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    fallback = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"ISOXIDE_KERNEL": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    # A kernel that the processor lacks, or that there is not, is not insisted on.
    assert asked.stdout in (f"{kernel}\n", fallback.stdout)
    assert kernel != "portable" or asked.stdout == "portable\n"


def test_an_older_numpy_does_not_tell_its_features(capsys, monkeypatch):
    def show_config():
        raise AssertionError

    monkeypatch.setattr(_show_versions.np, "show_config", show_config)
    assert printed(capsys)["numpy uses"] == "not known"
