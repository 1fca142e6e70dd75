"""Dask frames give what the same rows give in memory, bit for bit, whatever the partitions, workers and schedulers."""

import contextlib
import doctest
import os
import signal
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
        # Dask uses what pandas 4 will drop.
        "ignore:The inplace keyword in DataFrame",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def _text_as_it_is():
    with dask.config.set({"dataframe.convert-string": False}):
        yield


@pytest.fixture(scope="module")
def cluster():
    """Two processes of one thread, on the loopback device."""
    # A worker that dies twice within this time would be given up.
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
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


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


def parted(frame, sizes):
    ends = np.cumsum(sizes)
    assert ends[-1] == len(frame)
    pieces = [frame.iloc[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    # A function without a module, so that workers need not import this one.
    return dd.from_map(lambda piece: piece, pieces, meta=frame.iloc[:0])


def some_sizes(r, n, n_partitions):
    """Sizes of partitions: even, random with empty ones, or nearly all in one."""
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
    # Rows that are there twice.
    frame.iloc[500:600] = frame.iloc[:100].to_numpy()
    return frame.assign(
        n=r.integers(0, 5, N), flag=r.random(N) < 0.1, small=r.normal(size=N).astype(np.float32),
        group=r.choice(["x", "y", "z"], N),
    )  # fmt: skip


FEATURES = ["f", "a", "b", "c", "d", "e", "n", "flag", "small"]


@pytest.mark.parametrize(
    ("where", "n_partitions"),
    [*(("synchronous", n) for n in N_PARTITIONS), ("threads", 7), ("cluster", 1), ("cluster", 64)],
)
def test_as_in_memory(frame, where, n_partitions, request, seed):
    with scheduler(where, request):
        as_in_memory(frame, n_partitions, seed)


def as_in_memory(frame, n_partitions, seed):
    ddf = parted(frame, some_sizes(np.random.default_rng(seed), N, n_partitions))
    theirs = SklearnForest(random_state=3, contamination=0.03).fit(frame[FEATURES])
    table = isoxide.dask.table(ddf)
    forest = table.fit(IsolationForest(random_state=3, contamination=0.03), features=FEATURES)
    assert_same_forest(forest, theirs)
    assert forest.to_bytes() == IsolationForest(random_state=3, contamination=0.03).fit(frame[FEATURES]).to_bytes()

    scored = table.score(forest)
    assert scored.npartitions == n_partitions
    found = scored.compute()
    assert_array_equal(found["score"], theirs.decision_function(frame[FEATURES]))
    assert_array_equal(found["anomaly"], theirs.predict(frame[FEATURES]) == -1)
    pd.testing.assert_frame_equal(found.drop(columns=["score", "anomaly"]), frame)
    assert_array_equal(scored["anomaly"].compute(), found["anomaly"])

    assert table.offset(forest, 0.2) == forest.recalibrate(frame[FEATURES], contamination=0.2).offset_

    rows = scored[scored["anomaly"]]
    for options in ({}, {"tail": "both", "groups": "group", "nan_policy": "omit", "kind": "mean", "rank_last": "[ab]"}):
        features = {"features": FEATURES}
        ranks = table.rank_features(rows, **features, **options)
        expected = isoxide.rank_features(frame[found["anomaly"]], frame, **features, **options)
        assert_same_ranks(ranks, expected)


def assert_same_ranks(ranks, expected):
    assert ranks.features == expected.features
    for name in ("percentiles", "values", "order", "directions"):
        assert_array_equal(getattr(ranks, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("make", TABLE_MAKERS, ids=lambda make: make.__name__)
def test_random_tables(make, synchronous, seed):
    r = np.random.default_rng([seed, TABLE_MAKERS.index(make)])
    for _ in range(3):
        n = int(r.choice([1, 2, 40, 300]))
        frame = mixed_frame(r, make(r, n, 4))
        n = len(frame)
        ddf = parted(frame, some_sizes(r, n, int(r.choice(N_PARTITIONS))))
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
def test_parameters(frame, params, synchronous):
    forest = IsolationForest(random_state=1, **params)
    fitted = isoxide.dask.table(parted(frame, [300, 0, 700])).fit(forest, features=FEATURES)
    assert not hasattr(forest, "offset_")
    assert fitted.to_bytes() == IsolationForest(random_state=1, **params).fit(frame[FEATURES]).to_bytes()


def test_by_default_all_columns_of_numbers_are_features(frame, synchronous):
    forest = isoxide.dask.table(parted(frame, [300, 700])).fit()
    assert forest.feature_names_in_.tolist() == [*"abcdef", "n", "flag", "small"]
    assert forest.to_bytes() == IsolationForest(random_state=0).fit(frame.drop(columns="group")).to_bytes()


def test_scores_are_lazy_and_read_only_the_requested_columns(frame, tmp_path, synchronous):
    for start in (0, 500):
        frame.iloc[start : start + 500].to_parquet(tmp_path / f"{start:04}.parquet", index=False)
    forest = IsolationForest(random_state=0).fit(frame[["a", "b"]])
    ddf = dd.read_parquet(tmp_path)
    scored = isoxide.dask.table(ddf).score(forest, score="how", anomaly="is")
    assert scored.columns.tolist() == [*frame.columns, "how", "is"]
    assert scored.dtypes[["how", "is"]].tolist() == [np.float64, np.bool_]
    assert_array_equal(scored["how"].compute(), forest.decision_function(frame[["a", "b"]]))
    plan = scored[["how"]].expr.simplify().walk()
    assert {tuple(part.columns) for part in plan if "Parquet" in type(part).__name__} == {("a", "b")}
    scored.to_parquet(tmp_path / "scored")
    assert_array_equal(dd.read_parquet(tmp_path / "scored")["how"].compute(), scored["how"].compute())
    found = scored[scored["is"]][["c", "how"]].compute()
    assert_array_equal(found["c"], frame["c"][forest.predict(frame[["a", "b"]]) == -1])


def test_empty_frames_and_partitions(frame, synchronous):
    forest = IsolationForest(random_state=0).fit(frame[["a"]])
    nothing = parted(frame.iloc[:0], [0, 0])
    scored = isoxide.dask.table(nothing).score(forest).compute()
    assert scored.dtypes[["score", "anomaly"]].tolist() == [np.float64, np.bool_]
    assert len(scored) == 0
    with pytest.raises(ValueError, match="the dask frame has no rows"):
        isoxide.dask.table(nothing).fit(features=["a"])
    with pytest.raises(ValueError, match="the dask frame has no rows"):
        isoxide.dask.table(nothing).offset(forest, 0.1)


def test_bad_input(frame, synchronous):
    table = isoxide.dask.table(parted(frame, [N]))
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
        isoxide.dask.table(parted(frame[["a"]], [N])).score(forest)
    with pytest.raises(ValueError, match="the dask frame already has a column 'n'"):
        table.score(forest, score="n")
    with pytest.raises(ValueError, match="already has a column 'anomaly'"):
        isoxide.dask.table(parted(frame.assign(anomaly=1), [N])).score(forest)
    with pytest.raises(ValueError, match="score and anomaly are both 'x'"):
        table.score(forest, score="x", anomaly="x")
    for call in (table.score, lambda forest: table.offset(forest, 0.1)):
        with pytest.raises(NotFittedError):
            call(IsolationForest())


def assert_same_findings(ours, expected):
    pd.testing.assert_frame_equal(ours.frame, expected.frame)
    pd.testing.assert_frame_equal(ours.timeline, expected.timeline)
    pd.testing.assert_frame_equal(ours.reference, expected.reference)
    assert ours.features == expected.features
    for name in ("values", "percentiles", "order", "directions", "flags"):
        assert_array_equal(getattr(ours, name), getattr(expected, name), err_msg=name)
    # When, where from and with what; the checksum of all scores is one of a single part.
    own = ("created", "source", "sha256", "versions", "scores_sha256")
    mine, theirs = ({k: v for k, v in found.manifest.items() if k not in own} for found in (ours, expected))
    assert mine == theirs
    assert ours.manifest["scores_sha256"] in (None, expected.manifest["scores_sha256"])
    assert ours.forest.offset_ == expected.forest.offset_


@pytest.fixture(scope="module")
def days(seed):
    """With rows that are there twice, others that share actor and day, and missing values."""
    frame = actor_days(seed)
    frame.loc[frame.index[::17], "share_0"] = np.nan
    frame = pd.concat([frame, frame.iloc[5:25], frame.iloc[40:50].assign(n_0=3)], ignore_index=True)
    return frame.sample(frac=1, random_state=seed % 2**32, ignore_index=True).assign(nothing=np.nan, team="t")


@pytest.mark.parametrize(
    ("where", "n_partitions", "options"),
    [
        ("synchronous", 1, {"contamination": 0.02}),
        ("synchronous", 7, {"threshold": -0.1, "groups": "team", "tail": "both"}),
        ("synchronous", 64, {"alerts_per_month": 10, "nan_policy": "propagate"}),
        ("threads", 7, {"contamination": 0.05, "kind": "weak", "groups": "actor"}),
        ("cluster", 7, {"contamination": 0.02, "groups": "team"}),
    ],
)
def test_findings(days, where, n_partitions, options, request, seed):
    expected = ueba.detect(ueba.read_table(days, entity="actor", time="day"), **options)
    ddf = parted(days, some_sizes(np.random.default_rng(seed), len(days), n_partitions))
    with scheduler(where, request):
        assert_same_findings(isoxide.dask.table(ddf).detect(entity="actor", time="day", **options), expected)


def test_findings_of_chosen_features_by_a_fitted_forest(days, synchronous):
    ddf = parted(days.assign(day=days["day"].dt.strftime("%Y-%m-%d")), [100, 0, len(days) - 100])
    chosen = {"entity": "actor", "time": "day", "include": ["n_*", "share_*"], "exclude": "n_1"}
    table = ueba.read_table(ddf.compute(), **chosen)
    forest = IsolationForest(random_state=5, contamination=0.03).fit(table.X)
    assert_same_findings(isoxide.dask.table(ddf).detect(**chosen, forest=forest), ueba.detect(table, forest=forest))
    quiet = isoxide.dask.table(ddf).detect(**chosen, forest=forest, threshold=-0.9)
    assert len(quiet) == 0
    assert_same_findings(quiet, ueba.detect(table, forest=forest, threshold=-0.9))
    grouped = isoxide.dask.table(ddf).detect(**chosen, forest=forest, groups="actor", min_group=30)
    assert_same_findings(grouped, ueba.detect(table, forest=forest, groups="actor", min_group=30))
    with pytest.raises(ValueError, match="the dask frame has no column 'host'"):
        isoxide.dask.table(ddf).detect(entity="host", time="day")


def other(frame, number):
    return frame.astype({"b": "float32"}) if number == 1 else frame


def test_scores_of_partitions_of_other_types(frame, synchronous):
    ddf = dd.from_map(other, [frame] * 2, range(2), meta=frame.iloc[:0])
    forest = IsolationForest(random_state=0).fit(frame[["a", "b"]])
    with pytest.raises(ValueError, match=r"partition 1 .*has float32 in column 'b', which should be double"):
        isoxide.dask.table(ddf).score(forest).compute()
    with pytest.raises(ValueError, match="a partition of the dask frame has float32 in column 'b'"):
        isoxide.dask.table(ddf).score(forest)["score"].compute()


def travelling(path):
    class Travels(CountRows):
        """Notes in a file where it comes out of a pickle."""

        columns = ("a",)

        def __init__(self):
            self.ballast = os.urandom(2**20)

        def __setstate__(self, state):
            self.__dict__ |= state
            with open(path, "a") as file:
                file.write(f"{os.getpid()}\n")

    return Travels()


def test_an_aggregator_goes_to_each_worker_once(frame, cluster, tmp_path):
    aggregator = travelling(tmp_path / "seen")
    with cluster.as_current():
        assert DaskEngine(parted(frame, [10] * 100)).aggregate(aggregator) == N
    seen = (tmp_path / "seen").read_text().split()
    # A worker may give it to the other one from memory, so that it makes it once more.
    assert len(seen) <= 4, seen


def test_a_frame_in_the_memory_of_workers(frame, cluster):
    with cluster.as_current():
        ddf = parted(frame[FEATURES], [400, 0, 600]).persist()
        forest = isoxide.dask.table(ddf).fit(IsolationForest(random_state=0, contamination=0.1))
        scored = isoxide.dask.table(ddf).score(forest).persist()
        ranks = isoxide.dask.table(scored).rank_features(scored[scored["anomaly"]], features=FEATURES)
    expected = IsolationForest(random_state=0, contamination=0.1).fit(frame[FEATURES])
    assert forest.to_bytes() == expected.to_bytes()
    rows = frame[FEATURES][expected.predict(frame[FEATURES]) == -1]
    assert_same_ranks(ranks, isoxide.rank_features(rows, frame[FEATURES]))


def deadly(once):
    """What kills the worker that reads a certain partition first."""

    def read(frame, number):
        if number == 5:
            with contextlib.suppress(FileExistsError):
                once.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        return frame

    return read


@pytest.mark.parametrize("method", ["fit", "score"])
def test_a_worker_dies(frame, cluster, method, tmp_path):
    frame = frame[["a", "b", "n"]]
    forest = IsolationForest(random_state=0).fit(frame)
    pieces = [frame.iloc[start : start + 50] for start in range(0, N, 50)]
    ddf = dd.from_map(deadly(tmp_path / "dead"), pieces, range(20), meta=frame.iloc[:0])
    with cluster.as_current():
        match method:
            case "fit":
                assert isoxide.dask.table(ddf).fit().to_bytes() == forest.to_bytes()
            case "score":
                found = isoxide.dask.table(ddf).score(forest)["score"].compute()
                assert_array_equal(found, forest.decision_function(frame))
        assert (tmp_path / "dead").exists()
        cluster.wait_for_workers(2, timeout=30)


@pytest.mark.parametrize("name", isoxide.dask.__all__)
def test_examples(name):
    runner = doctest.DocTestRunner()
    with dask.config.set(scheduler="synchronous"):
        for test in doctest.DocTestFinder().find(getattr(isoxide.dask, name), name, module=False, globs={}):
            runner.run(test)
    assert runner.tries > 0
    assert runner.failures == 0
