"""Run scikit-learn's own tests of its isolation forest, and its checks for estimators, on ours.

The tests and checks come from the installed scikit-learn; ours passes those of 1.6 to 1.9.
"""

import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
import sklearn.ensemble
from sklearn.utils._test_common.instance_generator import PER_ESTIMATOR_XFAIL_CHECKS
from sklearn.utils.estimator_checks import parametrize_with_checks

from isoxide import IsolationForest

pytestmark = pytest.mark.parity

ROOT = pathlib.Path(__file__).parents[3]
SOURCE = pathlib.Path(sklearn.ensemble.__file__).parent / "tests" / "test_iforest.py"

#: Tests that replace `sklearn.ensemble._iforest.get_chunk_n_rows` by a mock and count its calls. Our core does not call
#: it, since it needs no memory per row.
MOCKING = {
    f"{name}[{calls}]"
    for name in ("test_iforest_chunks_works1", "test_iforest_chunks_works2")
    for calls in ("0.25-3", "auto-2")
}

CONFTEST = """
import pytest

@pytest.fixture
def global_random_seed():
    return {seed}
"""

#: Warnings are errors, as in scikit-learn's own runs.
INI = """
[pytest]
filterwarnings = error
markers = thread_unsafe: a marker of scikit-learn
"""

#: Checks that scikit-learn expects to fail for its own class, since a weight is the probability that a row is drawn and
#: not the number of times that it occurs.
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
}


def pytest_run(folder, *arguments, **environment):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.slow
def test_the_tests_of_scikit_learn_pass(tmp_path, seed):
    """Our class passes all of scikit-learn's tests, except those that mock scikit-learn's internals."""
    text, n_replaced = re.subn(
        r"^from sklearn\.ensemble import IsolationForest$",
        "from isoxide import IsolationForest",
        SOURCE.read_text(),
        flags=re.MULTILINE,
    )
    assert n_replaced == 1
    assert "sklearn.ensemble import IsolationForest" not in text
    (tmp_path / "test_iforest.py").write_text(text)
    # The tests of scikit-learn are written to pass for all seeds below 100.
    (tmp_path / "conftest.py").write_text(CONFTEST.format(seed=seed % 100))
    (tmp_path / "pytest.ini").write_text(INI)

    collected = pytest_run(tmp_path, "--collect-only", "-q").stdout
    names = {line.split("::")[1] for line in collected.splitlines() if "::" in line}
    assert names >= MOCKING
    assert len(names) > 30
    deselected = [f"--deselect=test_iforest.py::{name}" for name in sorted(MOCKING)]
    run = pytest_run(tmp_path, "--junitxml=results.xml", *deselected)
    assert run.returncode == 0, run.stdout
    cases = list(ET.parse(tmp_path / "results.xml").iter("testcase"))  # a file that pytest wrote just now
    # The XML element of a case has a child if the case failed or was skipped.
    passed = {case.get("name") for case in cases if len(case) == 0}
    assert passed == names - MOCKING, run.stdout
    assert len(passed) == len(cases) == len(names) - 4


def estimator_checks():
    """Return scikit-learn's checks as arguments of ``pytest.mark.parametrize``.

    Checks that are expected to fail are marked as such. If one passes, pytest's configuration makes it a failure.
    """
    mark = parametrize_with_checks([IsolationForest()], expected_failed_checks=lambda _: dict(LISTED))
    # scikit-learn 1.6 returns a generator here, about which pytest would warn.
    cases = [case if hasattr(case, "marks") else pytest.param(*case) for case in mark.args[1]]
    return mark.args[0], cases, mark.kwargs["ids"]


LISTED = PER_ESTIMATOR_XFAIL_CHECKS[sklearn.ensemble.IsolationForest]
NAMES, CASES, ID = estimator_checks()
#: Checks that scikit-learn skips unless SCIPY_ARRAY_API is set before scipy is imported.
ARRAY_API = [case for case in CASES if "array_api" in ID(case.values[1])]


def test_the_list_of_checks_expected_to_fail():
    assert set(LISTED) == EXPECTED_FAILURES
    marked = {ID(case.values[1]).split("(")[0] for case in CASES if case.marks}
    assert marked == EXPECTED_FAILURES
    assert len(CASES) > 50


@pytest.mark.slow
@pytest.mark.parametrize(NAMES, [case for case in CASES if case not in ARRAY_API], ids=ID)
def test_estimator_checks_pass(estimator, check):
    check(estimator)


# Only the process that the next test starts collects this test.
if os.environ.get("SCIPY_ARRAY_API") == "1":

    @pytest.mark.parametrize(NAMES, ARRAY_API, ids=ID)
    def test_array_api_checks(estimator, check):
        check(estimator)


@pytest.mark.slow
@pytest.mark.skipif(not ARRAY_API, reason="scikit-learn before 1.9 has no such check for estimators without array API")
def test_array_api_checks_pass_in_another_process():
    run = pytest_run(ROOT, f"{__file__}::test_array_api_checks", SCIPY_ARRAY_API="1")
    assert run.returncode == 0, run.stdout
    assert re.search(rf"= {len(ARRAY_API)} passed in ", run.stdout), run.stdout
