"""Test `show_versions`, whose output belongs in bug reports, and the selection of the kernel."""

import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess
import sys

import numpy as np
import pytest
import sklearn

import isoxide
from isoxide import _core
from isoxide._common import show_versions as versions_module
from isoxide._common.threads import resolve_n_jobs

pytestmark = pytest.mark.not_parallel(reason="it starts processes")

#: All kernels, the fastest first.
KERNELS = ["avx512", "avx2", "neon", "portable"]
#: Flags in /proc/cpuinfo of the instructions that a kernel needs.
FLAGS = {"avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}, "avx2": {"avx2"}, "portable": set()}


def processor_kernels():
    """Return the kernels that this processor can run, according to the system instead of the core."""
    if platform.machine() in ("aarch64", "arm64"):
        return ["neon", "portable"]
    if platform.machine() not in ("x86_64", "AMD64"):
        return ["portable"]
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("this system does not list the flags of its x86 processor")
    flags = set(re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)[1].split())
    return [kernel for kernel, needed in FLAGS.items() if needed <= flags]


def printed(capsys):
    """Return the printed lines as a dictionary."""
    assert isoxide.show_versions() is None
    return dict(line.strip().split(": ", 1) for line in capsys.readouterr().out.splitlines())


def test_versions_kernel_and_threads_are_printed(capsys):
    facts = printed(capsys)
    assert facts["python"] == platform.python_version()
    assert facts["platform"] == platform.platform()
    assert facts["isoxide"] == importlib.metadata.version("isoxide")
    assert facts["numpy"] == np.__version__
    assert facts["scikit-learn"] == sklearn.__version__
    assert {"scipy", "joblib", "pandas", "polars", "pyarrow", "numpy uses"} <= facts.keys()
    assert facts["kernels"].split() == processor_kernels()
    assert facts["kernel"] == (os.environ.get("ISOXIDE_KERNEL") or processor_kernels()[0])
    assert facts["threads"] == str(resolve_n_jobs(None))


def test_packages_that_are_not_installed_are_left_out(capsys, monkeypatch):
    monkeypatch.setattr(versions_module, "_PACKAGES", ("numpy", "no-such-package"))
    facts = printed(capsys)
    assert "numpy" in facts
    assert "no-such-package" not in facts


def import_with(kernel, code="from isoxide import _core; print(_core.kernel())"):
    environment = os.environ | {"ISOXIDE_KERNEL": kernel}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_the_core_lists_the_kernels_of_the_processor():
    assert _core.kernels() == processor_kernels()


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_environment_selects_the_kernel(kernel):
    result = import_with(kernel)
    if kernel in processor_kernels():
        assert (result.returncode, result.stdout) == (0, f"{kernel}\n"), result.stderr
        report = import_with(kernel, "import isoxide; isoxide.show_versions()")
        assert f"      kernel: {kernel}\n" in report.stdout
    else:
        assert result.returncode == 1
        assert f"ImportError: ISOXIDE_KERNEL={kernel}: this processor cannot run that kernel" in result.stderr


def test_an_empty_variable_selects_the_fastest_kernel():
    result = import_with("")
    assert (result.returncode, result.stdout) == (0, f"{processor_kernels()[0]}\n"), result.stderr


@pytest.mark.parametrize("kernel", ["avx", "AVX2", " portable", "no such kernel", "\udcff"])
def test_an_unknown_kernel_makes_the_import_fail(kernel):
    result = import_with(kernel)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ISOXIDE_KERNEL=")
    assert "there is no such kernel; set it to one of " + ", ".join(_core.kernels()) in last
    assert "panic" not in result.stderr


def test_an_older_numpy_does_not_report_its_features(capsys, monkeypatch):
    def show_config():
        raise AssertionError

    monkeypatch.setattr(versions_module.np, "show_config", show_config)
    assert printed(capsys)["numpy uses"] == "unknown"
