"""Test that a signal ends any long call soon, and that the interrupted call changes nothing."""

import contextlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from isoxide import IsolationForest, RankReference, percentileofscore, rank_features
from new_process import run_in_new_process

pytestmark = [
    pytest.mark.slow,
    # The tests set the alarm that pytest-timeout uses by default.
    pytest.mark.timeout(method="thread"),
    pytest.mark.current_versions(reason="processes, threads, signals and memory do not depend on scikit-learn"),
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals"),
]


class AlarmError(Exception):
    """Raised by the handler of the alarm."""


@contextlib.contextmanager
def alarm(seconds):
    """Raise `AlarmError` after so many seconds, and give the time of the alarm; Python may run the handler later."""

    def ring(_signal, _frame):
        raise AlarmError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield time.perf_counter() + seconds
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_it_ends_soon(call, *, within, after=0.2):
    with alarm(after) as rings:
        with pytest.raises(AlarmError):
            call()
        late = time.perf_counter() - rings
    assert late < within, f"ended {late:.2f} s after the signal"


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(0).normal(size=(1_000_000, 8))


@pytest.fixture(scope="module")
def large_forest(table):
    return IsolationForest(n_estimators=20_000, random_state=0).fit(table[:5000])


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    ("params", "within"),
    [
        ({"n_estimators": 1_000_000}, 1),
        ({"n_estimators": 1000, "random_state": np.random.RandomState(0), "bootstrap": True}, 1),
        ({"n_estimators": 200, "max_samples": 1.0}, 2.5),
        ({"n_estimators": 2, "max_samples": 1.0, "max_features": 1}, 2.5),
    ],
    ids=["many trees", "RandomState instance", "huge trees", "two huge trees"],
)
def test_a_fit_ends_soon(table, n_jobs, params, within):
    table = np.tile(table, (4, 1)) if params.get("max_samples") == 1.0 else table
    if params["n_estimators"] == 1000:
        params = {**params, "max_samples": 100_000}
    forest = IsolationForest(n_jobs=n_jobs, **{"random_state": 0, **params})
    check_it_ends_soon(lambda: forest.fit(table), within=within)
    assert not hasattr(forest, "n_features_in_")


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_scoring_ends_soon(table, large_forest, n_jobs):
    large_forest.n_jobs = n_jobs
    first_rows = table[:100]
    expected = large_forest.score_samples(first_rows)
    for rows in (table, np.asfortranarray(table)):
        check_it_ends_soon(lambda rows=rows: large_forest.score_samples(rows), within=1)
    np.testing.assert_array_equal(large_forest.score_samples(first_rows), expected)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_explaining_ends_soon(table, n_jobs):
    forest = IsolationForest(n_estimators=1000, n_jobs=n_jobs, random_state=0).fit(table[:5000])
    expected = forest.shap_values(table[:10])
    check_it_ends_soon(lambda: forest.shap_values(table), within=1)
    check_it_ends_soon(lambda: forest._fitted.native.shap_magnitude_sums(table, n_jobs), within=1)
    np.testing.assert_array_equal(forest.shap_values(table[:10]), expected)


def test_the_preparation_of_huge_trees_ends_soon(table):
    forest = IsolationForest(n_estimators=60, max_samples=300_000, random_state=0).fit(table)
    check_it_ends_soon(lambda: forest.score_samples(table[:1000]), within=1, after=0.02)
    np.testing.assert_array_equal(forest.score_samples(table[:3]), forest.score_samples(table[:300])[:3])


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("order", ["C", "F"])
def test_ranking_ends_soon(table, n_jobs, order):
    table = np.asarray(np.tile(table, (1, 4)), order=order)
    check_it_ends_soon(lambda: rank_features(table, table, n_jobs=n_jobs), within=1)


def test_ranking_one_column_ends_soon():
    column = np.random.default_rng(1).normal(size=20_000_000)
    check_it_ends_soon(lambda: percentileofscore(column, column[:2_000_000]), within=1)


def test_sorting_a_reference_ends_soon(table):
    reference = np.tile(table, (2, 4))
    check_it_ends_soon(lambda: RankReference(reference, n_jobs=1), within=1)


def test_an_interrupted_fit_leaves_the_estimator_as_it_was(table):
    small = table[:2000, :3]
    forest = IsolationForest(random_state=1, contamination=0.1).fit(small)
    before = dict(vars(forest))
    scores = forest.score_samples(small)
    forest.set_params(n_estimators=1_000_000)
    check_it_ends_soon(lambda: forest.fit(table), within=1)
    assert dict(vars(forest)) | {"n_estimators": 100} == before
    np.testing.assert_array_equal(forest.score_samples(small), scores)


#: Tables that cannot be fitted, and the beginning of the message.
FAILURES = {
    "text": (lambda X: [["a", "b", "c"]], "could not convert string to float: 'a'"),
    "a row": (lambda X: X[0], "Expected 2D array, got 1D array instead"),
    "no rows": (lambda X: X[:0], r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required"),
    "other columns, and so few rows that max_samples is below one": (
        lambda X: X[:3, :2],
        "Sample weights must contain at least one non-zero number",
    ),
}


@pytest.mark.parametrize(("bad", "message"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("fitted", [False, True])
def test_a_failed_fit_leaves_the_estimator_as_it_was(table, bad, message, fitted):
    X = table[:500, :3]
    forest = IsolationForest(random_state=1, max_samples=0.2)
    if fitted:
        forest.fit(X)
    before = dict(vars(forest))
    with pytest.raises(ValueError, match=f"^{message}"):
        forest.fit(bad(X))
    assert vars(forest) == before
    if fitted:
        IsolationForest(random_state=1, max_samples=0.2).fit(X)
        np.testing.assert_array_equal(forest.score_samples(X), forest.fit(X).score_samples(X))


def test_a_handler_that_does_not_raise_changes_nothing(table):
    handled = []
    before = signal.signal(signal.SIGALRM, lambda *_: handled.append(time.perf_counter()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        forest = IsolationForest(n_estimators=40_000, random_state=0).fit(table)
        ended = time.perf_counter()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # The handler ran while the forest grew, and not only afterwards.
    assert len(handled) > 2
    assert handled[0] < ended - 0.05
    undisturbed = IsolationForest(n_estimators=40_000, random_state=0).fit(table)
    np.testing.assert_array_equal(forest.score_samples(table[:500]), undisturbed.score_samples(table[:500]))


def start_and_sleep(worker):
    worker.start()
    time.sleep(10)


def test_other_threads_are_not_interrupted(table):
    # Python handles signals on the main thread only, so a call on another thread continues.
    scores = []
    forest = IsolationForest(n_estimators=500, random_state=0).fit(table)
    expected = forest.score_samples(table)
    worker = threading.Thread(target=lambda: scores.append(forest.score_samples(table)))
    with alarm(0.05), pytest.raises(AlarmError):
        start_and_sleep(worker)
    worker.join()
    np.testing.assert_array_equal(scores[0], expected)


def the_very_first_call_imports_nothing():
    """A signal could interrupt an import in the first call, and rust-numpy would panic."""
    import builtins

    from isoxide import _core

    def interrupted(*_):
        raise KeyboardInterrupt

    original, builtins.__import__ = builtins.__import__, interrupted
    try:
        seeds = _core.tree_seeds(0, 0, 3)
        rows = _core.sample_rows(
            seeds, n_samples=9, n_features=1, max_samples=9, max_features=1, bootstrap=False, n_workers=1
        )
    finally:
        builtins.__import__ = original
    print(len(seeds), len(rows))


def test_the_very_first_call_imports_nothing():
    ended = run_in_new_process(the_very_first_call_imports_nothing)
    assert (ended.code, ended.out) == (0, "3 3\n"), ended.err


CTRL_C = """
import numpy as np
from isoxide import IsolationForest
X = np.random.default_rng(0).normal(size=(100_000, 8))
print("ready", flush=True)
IsolationForest(n_estimators=10**7, random_state=0).fit(X)
"""


def test_control_c_ends_a_script():
    script = subprocess.Popen([sys.executable, "-c", CTRL_C], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with script:
        assert script.stdout.readline() == "ready\n"
        time.sleep(0.5)
        script.send_signal(signal.SIGINT)
        # The fit would take minutes. The tests above measure how soon a call ends.
        _, errors = script.communicate(timeout=30)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "panic" not in errors
    assert script.returncode in (-signal.SIGINT, 130)
