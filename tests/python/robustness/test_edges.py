"""Test that no kernel reads or writes outside the arrays that it is given."""

import os
import pathlib
import subprocess
import sys

import pytest

from isoxide import _core

pytestmark = [
    pytest.mark.slow,
    pytest.mark.not_parallel(reason="it starts processes"),
    pytest.mark.current_versions(reason="processes, threads, signals and memory do not depend on scikit-learn"),
]

SCRIPT = pathlib.Path(__file__).parents[1] / "helpers" / "page_edges.py"
CHECKS = ["fit", "score", "from_parts", "ranks", "sorted_ranks"]


@pytest.mark.skipif(sys.platform != "linux", reason="the script protects memory with a system call of Linux")
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kernel", ["avx512", "avx2", "portable"])
def test_no_call_reads_beyond_the_ends_of_an_array(kernel, check):
    if kernel not in _core.kernels():
        pytest.skip(f"this processor has no {kernel}")
    done = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, check],
        env=os.environ | {"ISOXIDE_KERNEL": kernel},
        timeout=300,
        check=False,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[:1], lines[-1:]) == (0, [kernel], ["done"]), f"after {lines[-1:]}:\n{done.stderr}"
