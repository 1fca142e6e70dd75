"""Nothing is read or written beside what a table holds, whatever kernel reads it."""

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
PARTS = ["fit", "score", "parts", "ranks", "prepared"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is protected by calls that other systems have otherwise")
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kernel", ["avx512", "avx2", "portable"])
def test_at_the_edge_of_memory(kernel, part):
    if kernel not in _core.kernels():
        pytest.skip(f"this processor has no {kernel}")
    done = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, part],
        env=os.environ | {"ISOXIDE_KERNEL": kernel},
        timeout=300,
        check=False,
        capture_output=True,
        text=True,
    )
    said = done.stdout.splitlines()
    assert (done.returncode, said[:1], said[-1:]) == (0, [kernel], ["done"]), f"after {said[-1:]}:\n{done.stderr}"
