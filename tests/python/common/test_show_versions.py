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
from isoxide import _core
from isoxide._common import show_versions as versions_module
from isoxide._common.threads import resolve_n_jobs

pytestmark = pytest.mark.not_parallel(reason="it runs processes of its own")


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
    assert facts["kernel"] == _core.kernel()
    assert facts["kernels"].split() == _core.kernels()
    assert facts["threads"] == str(resolve_n_jobs(None))


def test_packages_that_are_not_installed_are_left_out(capsys, monkeypatch):
    monkeypatch.setattr(versions_module, "_PACKAGES", ("numpy", "no-such-package"))
    facts = printed(capsys)
    assert "numpy" in facts
    assert "no-such-package" not in facts


#: All kernels there are, whatever the processor.
KERNELS = ["avx512", "avx2", "neon", "portable"]


def import_with(kernel):
    environment = os.environ | {"ISOXIDE_KERNEL": kernel}
    code = "from isoxide import _core; print(_core.kernel())"
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_environment_chooses_the_kernel(kernel):
    asked = import_with(kernel)
    if kernel in _core.kernels():
        assert (asked.returncode, asked.stdout) == (0, f"{kernel}\n"), asked.stderr
    else:
        assert asked.returncode == 1
        assert f"ImportError: ISOXIDE_KERNEL={kernel}: this processor cannot run that kernel" in asked.stderr


def test_without_a_name_the_fastest_kernel_is_chosen():
    assert {*_core.kernels()} <= {*KERNELS}
    assert _core.kernels()[-1] == "portable"
    asked = import_with("")
    assert (asked.returncode, asked.stdout) == (0, f"{_core.kernels()[0]}\n"), asked.stderr


@pytest.mark.parametrize("kernel", ["avx", "AVX2", " portable", "no such kernel", "\udcff"])
def test_a_name_that_is_no_kernel_is_refused_when_the_package_is_imported(kernel):
    asked = import_with(kernel)
    assert asked.returncode == 1
    last = asked.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ISOXIDE_KERNEL=")
    assert "there is no such kernel; set it to one of " + ", ".join(_core.kernels()) in last
    assert "panic" not in asked.stderr


def test_an_older_numpy_does_not_tell_its_features(capsys, monkeypatch):
    def show_config():
        raise AssertionError

    monkeypatch.setattr(versions_module.np, "show_config", show_config)
    assert printed(capsys)["numpy uses"] == "not known"
