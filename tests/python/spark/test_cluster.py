"""Test a Spark cluster of several processes, also when a worker is killed in the middle of the work."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pyspark
import pytest
from pyspark import cloudpickle

import isoxide
import isoxide.spark
import isoxide.ueba
from isoxide import IsolationForest
from spark_results import assert_same_findings, assert_same_forest, assert_scored, in_memory
from spark_tables import FEATURES, KEY, actor_days, shuffled, spark_session

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.spark,
    pytest.mark.not_parallel(reason="one Spark session for all"),
    pytest.mark.current_versions(reason="Spark is not installed with the oldest versions"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

# Spark sends the function `slow` to workers, which cannot import this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

SPARK_CLASS = pathlib.Path(pyspark.__file__).parent / "bin" / "spark-class"
TIMEOUT = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_of(session):
    """Return the ids of all processes of an operating-system session: its leader and all that it has started."""
    processes = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The fields follow the name of the program, which is in parentheses and may contain any characters.
            state, _, _, owner = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(owner) == session and state != "Z":
                processes.append(int(folder.name))
    return processes


def kill_all(process):
    """Kill a process and all that it has started, and wait until they have ended."""
    deadline = time.monotonic() + TIMEOUT
    while running := processes_of(process.pid):
        for number in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        process.poll()
        assert time.monotonic() < deadline, f"processes are still running: {running}"
        time.sleep(0.05)
    process.wait(timeout=TIMEOUT)


class Cluster:
    """A Spark master and workers of one core. Each of them leads its own operating-system session."""

    def __init__(self, folder):
        self.folder, self.processes, self.logs = folder, [], []
        self.port = free_port()
        self.url = f"spark://127.0.0.1:{self.port}"

    def start(self, role, *arguments):
        log = self.folder / f"{role}{len(self.processes)}.log"
        home = str(pathlib.Path(isoxide.__file__).parents[1])
        environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m", "PYTHONPATH": home}
        command = [SPARK_CLASS, f"org.apache.spark.deploy.{role.lower()}.{role}", "--host", "127.0.0.1", *arguments]
        with log.open("w") as out:
            process = subprocess.Popen(
                list(map(str, command)), stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment,
                cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        self.logs.append(log)
        return process

    def wait_for(self, log, text, times=1):
        deadline = time.monotonic() + TIMEOUT
        while log.read_text().count(text) < times:
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)

    def start_all(self, n_workers):
        self.start("Master", "--port", self.port, "--webui-port", free_port())
        self.wait_for(self.logs[0], "New state: ALIVE")
        for _ in range(n_workers):
            self.add_worker()
        self.wait_for(self.logs[0], "Registering worker", n_workers)

    def add_worker(self):
        work_folder = self.folder / f"work{len(self.processes)}"
        return self.start(
            "Worker", "--cores", 1, "--memory", "900m", "--webui-port", free_port(), "--work-dir", work_folder, self.url
        )

    def stop(self):
        for process in self.processes:
            kill_all(process)


@contextlib.contextmanager
def cluster_session(folder):
    cluster = Cluster(folder)
    try:
        cluster.start_all(2)
        settings = {"spark.executor.memory": "600m", "spark.executor.cores": "1", "spark.sql.shuffle.partitions": "4"}
        with spark_session(folder / "driver", cluster.url, **settings) as spark:
            deadline = time.monotonic() + TIMEOUT
            while executors(spark) < 2:
                assert time.monotonic() < deadline, "the executors did not start in time"
                time.sleep(0.1)
            yield spark, cluster
    finally:
        cluster.stop()
        assert not any(processes_of(process.pid) for process in cluster.processes)


def executors(spark):
    # Spark counts the driver too.
    return spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with cluster_session(tmp_path_factory.mktemp("cluster")) as both:
        yield both


def test_a_cluster_gives_the_results_of_memory(running, seed):
    spark, _ = running
    expected = actor_days(seed, flag=np.int8)
    df = shuffled(spark, expected, seed, 4)
    table = isoxide.spark.table(df, order_by=KEY)
    forest = table.fit(IsolationForest(contamination=0.02, random_state=0), features=FEATURES)
    expected_forest = in_memory(expected, contamination=0.02)
    assert_same_forest(forest, expected_forest)
    assert_scored(table.score(forest), expected, expected_forest)
    rows = expected.slice(100, 40)
    ranks = table.rank_features(rows, features=FEATURES, nan_policy="omit")
    expected_ranks = isoxide.rank_features(rows, expected, features=FEATURES, nan_policy="omit")
    np.testing.assert_array_equal(ranks.percentiles, expected_ranks.percentiles)


def slow(batches):
    """Yield the batches slowly, so that there is time to kill a worker."""
    for batch in batches:
        time.sleep(0.15)
        yield batch


class Killer(threading.Thread):
    """A thread that kills a worker once the n-th stage has done some of its tasks, and starts a new worker."""

    def __init__(self, spark, cluster, stages):
        super().__init__()
        self.tracker, self.cluster, self.stages = spark.sparkContext.statusTracker(), cluster, stages
        self.seen, self.killed, self.done = set(), None, threading.Event()

    def run(self):
        while not self.done.wait(0.02):
            for number in self.tracker.getActiveStageIds():
                stage = self.tracker.getStageInfo(number)
                if stage is None or stage.numTasks < 8 or not 2 <= stage.numCompletedTasks <= stage.numTasks - 3:
                    continue
                self.seen.add(number)
                if len(self.seen) == self.stages:
                    victim = self.cluster.processes[-1]
                    self.killed = (stage.name, stage.numCompletedTasks, stage.numTasks, len(processes_of(victim.pid)))
                    kill_all(victim)
                    self.cluster.add_worker()
                    return

    @contextlib.contextmanager
    def at_work(self):
        self.start()
        try:
            yield
        finally:
            self.done.set()
            self.join(timeout=TIMEOUT)
        assert self.killed is not None, f"no worker was killed; stages seen: {self.seen}"


# A killed executor loses its sorted keys, its shuffled rows and its cached scores. The second long stage sorts the
# keys, the third one looks up rows by them, and the fifth stage of a detection computes scores.
@pytest.mark.parametrize("stages", [2, 3])
def test_a_fit_survives_the_death_of_a_worker(running, seed, stages):
    spark, cluster = running
    expected = actor_days(seed, flag=np.int8)
    df = shuffled(spark, expected, seed, 9)
    df = df.mapInArrow(slow, df.schema)
    params = IsolationForest(contamination=0.02, random_state=0)
    killer = Killer(spark, cluster, stages)
    with killer.at_work():
        forest = isoxide.spark.table(df, order_by=KEY).fit(params, features=FEATURES)
    print("killed", killer.killed)
    assert_same_forest(forest, in_memory(expected, contamination=0.02))


def test_a_detection_survives_the_death_of_a_worker(running, seed):
    spark, cluster = running
    expected = actor_days(seed, flag=np.int8)
    df = shuffled(spark, expected, seed, 9)
    df = df.mapInArrow(slow, df.schema)
    killer = Killer(spark, cluster, 5)
    with killer.at_work():
        findings = isoxide.spark.table(df).detect(entity="actor", time="day", contamination=0.02)
    print("killed", killer.killed)
    table = isoxide.ueba.read_table(expected.to_pandas(), entity="actor", time="day")
    assert_same_findings(findings, isoxide.ueba.detect(table, contamination=0.02))


def test_rows_keep_their_numbers_when_sorted_keys_are_lost(running, seed):
    from isoxide.spark._engine import SparkEngine

    spark, cluster = running
    expected = actor_days(seed)
    with contextlib.closing(SparkEngine(shuffled(spark, expected, seed, 6), order_by=KEY)) as table:
        assert table.count() == len(expected)
        # Both workers are killed, one after the other, so all cached data is lost.
        for victim in [process for process in cluster.processes[1:] if process.poll() is None]:
            kill_all(victim)
            cluster.add_worker()
        row_numbers = np.sort(np.random.default_rng(seed).choice(len(expected), 300, replace=False))
        rows = table.fetch(row_numbers, [*KEY, "count"])
        assert rows.equals(expected.select([*KEY, "count"]).take(row_numbers))
        reverse = row_numbers[::-1]
        assert table.row_numbers(expected.take(reverse)).tolist() == reverse.tolist()
