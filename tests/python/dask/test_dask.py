"""Test that Dask frames give the results of the same rows in memory, for any partitions, workers and schedulers."""

import contextlib
import doctest
import os
import pathlib
import re
import signal
import sys
import time

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import psutil
import pytest
from dask.distributed import Client, LocalCluster
from numpy.testing import assert_array_equal
from sklearn.ensemble import IsolationForest as SklearnForest
from sklearn.exceptions import NotFittedError

import isoxide
import isoxide.dask
from isoxide import IsolationForest, ueba
from isoxide._partitioned.aggregators import CountRows
from isoxide.dask._engine import DaskEngine
from parity import TABLE_MAKERS, assert_same_forest, mixed_frame
from ueba_tables import actor_days

N = 1000
N_PARTITIONS = [1, 2, 7, 64]


pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.dask,
    pytest.mark.not_parallel(reason="Dask has threads and processes of its own"),
    pytest.mark.current_versions(reason="Dask is not installed with the oldest versions"),
    pytest.mark.filterwarnings(
        # Dask uses an argument that pandas 4 will remove.
        "ignore:The inplace keyword in DataFrame",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def _without_conversion_of_strings():
    with dask.config.set({"dataframe.convert-string": False}):
        yield


@pytest.fixture(scope="module")
def cluster():
    """Run two workers of one thread each on this machine."""
    # Dask would give up a worker that dies twice within this time.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client
        workers = worker_processes()
        assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert not worker_processes()


def worker_processes():
    """Return the processes that Dask has started; others may end while they are looked at."""
    workers = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                workers.append(child)
    return workers


@contextlib.contextmanager
def scheduler(name, request):
    with contextlib.ExitStack() as stack:
        if name == "cluster":
            stack.enter_context(request.getfixturevalue("cluster").as_current())
        else:
            stack.enter_context(dask.config.set(scheduler=name))
        yield


@pytest.fixture
def synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


def partitioned(frame, sizes):
    ends = np.cumsum(sizes)
    assert ends[-1] == len(frame)
    partitions = [frame.iloc[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    # A lambda is pickled by value, so workers need not import this module.
    return dd.from_map(lambda partition: partition, partitions, meta=frame.iloc[:0])


def random_sizes(r, n, n_partitions):
    """Return sizes of partitions: equal, random with empty ones, or nearly all rows in one."""
    match r.integers(3):
        case 0:
            cuts = np.linspace(0, n, n_partitions + 1)[1:-1].astype(int)
        case 1:
            cuts = np.sort(r.integers(0, n + 1, n_partitions - 1))
        case _:
            cuts = np.sort(r.choice([0, 1, n], n_partitions - 1))
    return np.diff([0, *cuts, n]).tolist()


@pytest.fixture(scope="module")
def frame(seed):
    r = np.random.default_rng(seed)
    values = np.round(r.normal(size=(N, 6)), 1)
    values[r.random((N, 6)) < 0.05] = np.nan
    values[:, 4] = np.nan
    frame = pd.DataFrame(values, columns=list("abcdef"))
    # A hundred rows are repeated.
    frame.iloc[500:600] = frame.iloc[:100].to_numpy()
    return frame.assign(
        n=r.integers(0, 5, N), flag=r.random(N) < 0.1, small=r.normal(size=N).astype(np.float32),
        group=r.choice(["x", "y", "z"], N),
    )  # fmt: skip


FEATURES = ["f", "a", "b", "c", "d", "e", "n", "flag", "small"]


@pytest.mark.parametrize(
    ("scheduler_name", "n_partitions"),
    [*(("synchronous", n) for n in N_PARTITIONS), ("threads", 7), ("cluster", 1), ("cluster", 64)],
)
def test_results_equal_those_in_memory(frame, scheduler_name, n_partitions, request, seed):
    with scheduler(scheduler_name, request):
        assert_results_equal_those_in_memory(frame, n_partitions, seed)


def assert_results_equal_those_in_memory(frame, n_partitions, seed):
    ddf = partitioned(frame, random_sizes(np.random.default_rng(seed), N, n_partitions))
    expected_forest = SklearnForest(random_state=3, contamination=0.03).fit(frame[FEATURES])
    table = isoxide.dask.table(ddf)
    forest = table.fit(IsolationForest(random_state=3, contamination=0.03), features=FEATURES)
    assert_same_forest(forest, expected_forest)
    assert forest.to_bytes() == IsolationForest(random_state=3, contamination=0.03).fit(frame[FEATURES]).to_bytes()

    scored = table.score(forest)
    assert scored.npartitions == n_partitions
    computed = scored.compute()
    assert_array_equal(computed["score"], expected_forest.decision_function(frame[FEATURES]))
    assert_array_equal(computed["anomaly"], expected_forest.predict(frame[FEATURES]) == -1)
    pd.testing.assert_frame_equal(computed.drop(columns=["score", "anomaly"]), frame)
    assert_array_equal(scored["anomaly"].compute(), computed["anomaly"])

    assert table.offset(forest, 0.2) == forest.recalibrate(frame[FEATURES], contamination=0.2).offset_

    rows = scored[scored["anomaly"]]
    for options in ({}, {"tail": "both", "groups": "group", "nan_policy": "omit", "kind": "mean", "rank_last": "[ab]"}):
        features = {"features": FEATURES}
        ranks = table.rank_features(rows, **features, **options)
        expected = isoxide.rank_features(frame[computed["anomaly"]], frame, **features, **options)
        assert_same_ranks(ranks, expected)


def assert_same_ranks(ranks, expected):
    assert ranks.features == expected.features
    for name in ("percentiles", "values", "order", "directions"):
        assert_array_equal(getattr(ranks, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("make", TABLE_MAKERS, ids=lambda make: make.__name__)
def test_results_of_random_tables_equal_those_in_memory(make, synchronous, seed):
    r = np.random.default_rng([seed, TABLE_MAKERS.index(make)])
    for _ in range(3):
        n = int(r.choice([1, 2, 40, 300]))
        frame = mixed_frame(r, make(r, n, 4))
        n = len(frame)
        ddf = partitioned(frame, random_sizes(r, n, int(r.choice(N_PARTITIONS))))
        params = {"random_state": int(r.integers(2**32)), "n_estimators": 10}
        table = isoxide.dask.table(ddf)
        forest = table.fit(IsolationForest(**params))
        expected = IsolationForest(**params).fit(frame)
        assert forest.to_bytes() == expected.to_bytes()
        assert_array_equal(table.score(forest)["score"].compute(), expected.decision_function(frame))
        rows = frame.iloc[np.sort(r.integers(0, n, 5))]
        assert_same_ranks(table.rank_features(rows), isoxide.rank_features(rows, frame))


@pytest.mark.parametrize(
    "params",
    [{"max_samples": 1.0}, {"max_samples": 0.1, "bootstrap": True}, {"max_features": 2, "n_estimators": 7}],
    ids=str,
)
def test_forests_of_any_parameters_equal_those_in_memory(frame, params, synchronous):
    forest = IsolationForest(random_state=1, **params)
    fitted = isoxide.dask.table(partitioned(frame, [300, 0, 700])).fit(forest, features=FEATURES)
    assert not hasattr(forest, "offset_")
    assert fitted.to_bytes() == IsolationForest(random_state=1, **params).fit(frame[FEATURES]).to_bytes()


def test_all_numeric_columns_are_features_by_default(frame, synchronous):
    forest = isoxide.dask.table(partitioned(frame, [300, 700])).fit()
    assert forest.feature_names_in_.tolist() == [*"abcdef", "n", "flag", "small"]
    assert forest.to_bytes() == IsolationForest(random_state=0).fit(frame.drop(columns="group")).to_bytes()


def test_scores_are_lazy_and_read_only_the_requested_columns(frame, tmp_path, synchronous):
    for start in (0, 500):
        frame.iloc[start : start + 500].to_parquet(tmp_path / f"{start:04}.parquet", index=False)
    forest = IsolationForest(random_state=0).fit(frame[["a", "b"]])
    ddf = dd.read_parquet(tmp_path)
    scored = isoxide.dask.table(ddf).score(forest, score="s", anomaly="is_anomaly")
    assert scored.columns.tolist() == [*frame.columns, "s", "is_anomaly"]
    assert scored.dtypes[["s", "is_anomaly"]].tolist() == [np.float64, np.bool_]
    assert_array_equal(scored["s"].compute(), forest.decision_function(frame[["a", "b"]]))
    plan = scored[["s"]].expr.simplify().walk()
    assert {tuple(step.columns) for step in plan if "Parquet" in type(step).__name__} == {("a", "b")}
    scored.to_parquet(tmp_path / "scored")
    assert_array_equal(dd.read_parquet(tmp_path / "scored")["s"].compute(), scored["s"].compute())
    anomalies = scored[scored["is_anomaly"]][["c", "s"]].compute()
    assert_array_equal(anomalies["c"], frame["c"][forest.predict(frame[["a", "b"]]) == -1])


def test_explanations_and_importances_equal_those_of_memory(frame, synchronous):
    forest = IsolationForest(n_estimators=20, random_state=0).fit(frame[["a", "b"]])
    table = isoxide.dask.table(partitioned(frame, [300, 0, N - 300]))
    lazy = table.explain(forest, top=2)
    explained, expected = lazy.compute(), forest.explain(frame[["a", "b"]], top=2)
    assert explained.dtypes.equals(lazy.dtypes)
    names = np.array(["a", "b"])[expected.indices]
    for k in (1, 2):
        assert explained[f"top_{k}_feature"].tolist() == names[:, k - 1].tolist()
        assert_array_equal(explained[f"top_{k}_contribution"], np.asarray(expected)[:, k - 1])
        assert_array_equal(explained[f"top_{k}_share"], expected.share()[:, k - 1])
    assert_array_equal(table.importance(forest), forest.importance(frame[["a", "b"]]))
    empty = isoxide.dask.table(partitioned(frame.iloc[:0], [0, 0])).explain(forest, top=1).compute()
    assert empty.dtypes.equals(lazy.dtypes[empty.columns])


def test_an_empty_frame_is_scored_but_not_fitted(frame, synchronous):
    forest = IsolationForest(random_state=0).fit(frame[["a"]])
    empty = partitioned(frame.iloc[:0], [0, 0])
    scored = isoxide.dask.table(empty).score(forest).compute()
    assert scored.dtypes[["score", "anomaly"]].tolist() == [np.float64, np.bool_]
    assert len(scored) == 0
    with pytest.raises(ValueError, match="the dask frame has no rows"):
        isoxide.dask.table(empty).fit(features=["a"])
    with pytest.raises(ValueError, match="the dask frame has no rows"):
        isoxide.dask.table(empty).offset(forest, 0.1)


def test_wrong_arguments_are_refused(frame, synchronous):
    table = isoxide.dask.table(partitioned(frame, [N]))
    forest = table.fit(features=["a", "b"])
    with pytest.raises(TypeError, match=r"ddf must be a dask.dataframe.DataFrame, not pandas\.DataFrame"):
        isoxide.dask.table(frame)
    with pytest.raises(ValueError, match="the dask frame has no column 'A'"):
        table.fit(features=["A"])
    with pytest.raises(ValueError, match="column 'group' of the dask frame holds text, not numbers"):
        table.fit(features=["a", "group"])
    with pytest.raises(ValueError, match="features must be a list of names, got the string 'abc'"):
        table.fit(features="abc")
    with pytest.raises(ValueError, match="the dask frame has no column 'b'"):
        isoxide.dask.table(partitioned(frame[["a"]], [N])).score(forest)
    with pytest.raises(ValueError, match="the dask frame already has a column 'n'"):
        table.score(forest, score="n")
    with pytest.raises(ValueError, match="already has a column 'anomaly'"):
        isoxide.dask.table(partitioned(frame.assign(anomaly=1), [N])).score(forest)
    with pytest.raises(ValueError, match="score and anomaly are both 'x'"):
        table.score(forest, score="x", anomaly="x")
    for call in (table.score, lambda forest: table.offset(forest, 0.1)):
        with pytest.raises(NotFittedError):
            call(IsolationForest())


def assert_same_findings(actual, expected):
    pd.testing.assert_frame_equal(actual.frame, expected.frame)
    pd.testing.assert_frame_equal(actual.timeline, expected.timeline)
    pd.testing.assert_frame_equal(actual.reference, expected.reference)
    pd.testing.assert_frame_equal(actual.entity_scores, expected.entity_scores)
    assert actual.features == expected.features
    for name in ("values", "percentiles", "order", "directions", "flags"):
        assert_array_equal(getattr(actual, name), getattr(expected, name), err_msg=name)
    # These differ between runs. A checksum of all scores exists only for a table in one partition.
    varying = ("created", "source", "sha256", "versions", "scores_sha256")
    manifest, expected_manifest = (
        {k: v for k, v in findings.manifest.items() if k not in varying} for findings in (actual, expected)
    )
    assert manifest == expected_manifest
    assert actual.manifest["scores_sha256"] in (None, expected.manifest["scores_sha256"])
    assert actual.forest.offset_ == expected.forest.offset_


@pytest.fixture(scope="module")
def days(seed):
    """Return a table with repeated rows, other rows that share actor and day, and missing values."""
    frame = actor_days(seed)
    frame.loc[frame.index[::17], "share_0"] = np.nan
    frame = pd.concat([frame, frame.iloc[5:25], frame.iloc[40:50].assign(n_0=3)], ignore_index=True)
    return frame.sample(frac=1, random_state=seed % 2**32, ignore_index=True).assign(empty=np.nan, team="t")


@pytest.mark.parametrize(
    ("scheduler_name", "n_partitions", "options"),
    [
        ("synchronous", 1, {"contamination": 0.02}),
        ("synchronous", 7, {"threshold": -0.1, "groups": "team", "tail": "both"}),
        ("synchronous", 64, {"alerts_per_month": 10, "nan_policy": "propagate"}),
        ("threads", 7, {"contamination": 0.05, "kind": "weak", "groups": "actor"}),
        ("cluster", 7, {"contamination": 0.02, "groups": "team"}),
    ],
)
def test_findings_equal_those_in_memory(days, scheduler_name, n_partitions, options, request, seed):
    expected = ueba.detect(ueba.read_table(days, entity="actor", time="day"), **options)
    ddf = partitioned(days, random_sizes(np.random.default_rng(seed), len(days), n_partitions))
    with scheduler(scheduler_name, request):
        assert_same_findings(isoxide.dask.table(ddf).detect(entity="actor", time="day", **options), expected)


def test_findings_of_a_fitted_forest_equal_those_in_memory(days, synchronous):
    ddf = partitioned(days.assign(day=days["day"].dt.strftime("%Y-%m-%d")), [100, 0, len(days) - 100])
    columns = {"entity": "actor", "time": "day", "include": ["n_*", "share_*"], "exclude": "n_1"}
    table = ueba.read_table(ddf.compute(), **columns)
    forest = IsolationForest(random_state=5, contamination=0.03).fit(table.X)
    assert_same_findings(isoxide.dask.table(ddf).detect(**columns, forest=forest), ueba.detect(table, forest=forest))
    no_findings = isoxide.dask.table(ddf).detect(**columns, forest=forest, threshold=-0.9)
    assert len(no_findings) == 0
    assert_same_findings(no_findings, ueba.detect(table, forest=forest, threshold=-0.9))
    grouped = isoxide.dask.table(ddf).detect(**columns, forest=forest, groups="actor", min_group=30)
    assert_same_findings(grouped, ueba.detect(table, forest=forest, groups="actor", min_group=30))
    with pytest.raises(ValueError, match="the dask frame has no column 'host'"):
        isoxide.dask.table(ddf).detect(entity="host", time="day")


def change_type_in_partition_1(frame, number):
    return frame.astype({"b": "float32"}) if number == 1 else frame


def test_a_partition_with_a_different_type_is_not_scored(frame, synchronous):
    ddf = dd.from_map(change_type_in_partition_1, [frame] * 2, range(2), meta=frame.iloc[:0])
    forest = IsolationForest(random_state=0).fit(frame[["a", "b"]])
    with pytest.raises(ValueError, match=r"partition 1 .*has float32 in column 'b', which should be double"):
        isoxide.dask.table(ddf).score(forest).compute()
    with pytest.raises(ValueError, match="a partition of the dask frame has float32 in column 'b'"):
        isoxide.dask.table(ddf).score(forest)["score"].compute()


def log_unpickling(path):
    class LogUnpickling(CountRows):
        """Write to a file whenever it is unpickled."""

        columns = ("a",)

        def __init__(self):
            self.data = os.urandom(2**20)

        def __setstate__(self, state):
            self.__dict__ |= state
            with open(path, "a") as file:
                file.write(f"{os.getpid()}\n")

    return LogUnpickling()


@pytest.mark.timeout(120)
def test_workers_without_a_module_are_named(frame, cluster):
    def hide():
        # The workers imported it already, so they look it up again.
        sys.modules["isoxide"], hidden = None, sys.modules.get("isoxide")
        return hidden is not None

    def show(is_imported):
        del sys.modules["isoxide"]
        if is_imported:
            for name in [name for name in sys.modules if name.startswith("isoxide.")]:
                del sys.modules[name]

    hidden = cluster.run(hide)
    try:
        with (
            cluster.as_current(),
            pytest.raises(ImportError, match=r"the worker tcp://\S+ cannot import isoxide: in"),
        ):
            isoxide.dask.table(partitioned(frame, [N])).fit()
    finally:
        cluster.run(show, any(hidden.values()))


def test_an_aggregator_is_sent_once_to_each_worker(frame, cluster, tmp_path):
    aggregator = log_unpickling(tmp_path / "log")
    with cluster.as_current():
        assert DaskEngine(partitioned(frame, [10] * 100)).aggregate(aggregator) == N
    processes = (tmp_path / "log").read_text().split()
    # A worker may send it to the other one, which unpickles it once more.
    assert len(processes) <= 4, processes


def test_results_of_a_persisted_frame_equal_those_in_memory(frame, cluster):
    with cluster.as_current():
        ddf = partitioned(frame[FEATURES], [400, 0, 600]).persist()
        forest = isoxide.dask.table(ddf).fit(IsolationForest(random_state=0, contamination=0.1))
        scored = isoxide.dask.table(ddf).score(forest).persist()
        ranks = isoxide.dask.table(scored).rank_features(scored[scored["anomaly"]], features=FEATURES)
    expected = IsolationForest(random_state=0, contamination=0.1).fit(frame[FEATURES])
    assert forest.to_bytes() == expected.to_bytes()
    rows = frame[FEATURES][expected.predict(frame[FEATURES]) == -1]
    assert_same_ranks(ranks, isoxide.rank_features(rows, frame[FEATURES]))


def kill_worker_once(marker):
    """Return a function that kills the first worker that reads partition 5, and creates the file `marker`."""

    def read(frame, number):
        if number == 5:
            with contextlib.suppress(FileExistsError):
                marker.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        return frame

    return read


@pytest.mark.parametrize("method", ["fit", "score"])
def test_results_survive_the_death_of_a_worker(frame, cluster, method, tmp_path):
    frame = frame[["a", "b", "n"]]
    forest = IsolationForest(random_state=0).fit(frame)
    partitions = [frame.iloc[start : start + 50] for start in range(0, N, 50)]
    ddf = dd.from_map(kill_worker_once(tmp_path / "dead"), partitions, range(20), meta=frame.iloc[:0])
    with cluster.as_current():
        match method:
            case "fit":
                assert isoxide.dask.table(ddf).fit().to_bytes() == forest.to_bytes()
            case "score":
                scores = isoxide.dask.table(ddf).score(forest)["score"].compute()
                assert_array_equal(scores, forest.decision_function(frame))
        assert (tmp_path / "dead").exists()
        cluster.wait_for_workers(2, timeout=30)


@pytest.mark.parametrize("name", isoxide.dask.__all__)
def test_examples_run(name):
    runner = doctest.DocTestRunner()
    with dask.config.set(scheduler="synchronous"):
        for test in doctest.DocTestFinder().find(getattr(isoxide.dask, name), name, module=False, globs={}):
            runner.run(test)
    assert runner.tries > 0
    assert runner.failures == 0


def test_the_programs_of_the_page_about_dask_run(tmp_path, monkeypatch, capsys):
    """Each line that prints is followed by what it prints."""
    page = (pathlib.Path(__file__).parents[3] / "docs" / "dask.md").read_text(encoding="utf-8")
    programs = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    monkeypatch.chdir(tmp_path)
    exec(compile(programs, "dask.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", programs, re.MULTILINE)
    assert len(list((tmp_path / "scores").glob("*.parquet"))) == 6
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")
