"""Test processes that are forked or spawned after a parallel call: they print nothing and get the same results."""

import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import threading
import time

import joblib
import numpy as np
import pytest

from isoxide import IsolationForest, RankReference, rank_features
from new_process import assert_silent, exit_code, pool_threads, run_in_fork, run_in_new_process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.current_versions(reason="processes, threads, signals and memory do not depend on scikit-learn"),
]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
N_JOBS = 2
FORKS = 30
PARALLEL = joblib.cpu_count() > 1


class Work:
    """Results that one process computed in parallel, so that another process can compare its own."""

    def __init__(self, seed: int) -> None:
        r = np.random.default_rng(seed)
        self.seed = seed
        # Ranks of so many rows are counted in parallel too.
        self.X = np.column_stack([r.normal(size=40_000), r.poisson(0.3, 40_000), r.normal(size=(40_000, 2)).round(1)])
        self.X[::97, 2] = np.nan
        self.forest = self.fit()
        self.scores = self.forest.score_samples(self.X)
        # So many rows are explained in parallel.
        self.contributions = self.forest.shap_values(self.X[:2_000])
        self.ranks = self.rank()
        self.reference = RankReference(self.X, n_jobs=N_JOBS)

    def fit(self) -> IsolationForest:
        return IsolationForest(random_state=self.seed, n_jobs=N_JOBS, contamination=0.01).fit(self.X)

    def rank(self) -> np.ndarray:
        return rank_features(self.X[:300], self.X, nan_policy="omit", n_jobs=N_JOBS).percentiles

    def check(self) -> None:
        np.testing.assert_array_equal(self.forest.score_samples(self.X), self.scores)
        np.testing.assert_array_equal(self.forest.score_samples(self.X[:3]), self.scores[:3])
        np.testing.assert_array_equal(self.forest.shap_values(self.X[:2_000]), self.contributions)
        refitted = self.fit()
        assert refitted.offset_ == self.forest.offset_
        np.testing.assert_array_equal(refitted.score_samples(self.X), self.scores)
        np.testing.assert_array_equal(self.rank(), self.ranks)
        ranks = self.reference.rank_features(self.X[:300], nan_policy="omit", n_jobs=N_JOBS).percentiles
        np.testing.assert_array_equal(ranks, self.ranks)


def check_and_return_pid(work: Work) -> int:
    """Check the results in a worker of a pool, and return its process id, so that the caller sees that it differs."""
    work.check()
    return os.getpid()


def check_with_own_pool(work: Work) -> None:
    """Check in a forked child that the threads of the parent's pool do not exist, and that it works in parallel."""
    if pool_threads() is not None:
        assert pool_threads() == 0
    work.check()
    assert_pool()


def assert_pool() -> None:
    if PARALLEL and pool_threads() is not None:
        assert pool_threads() > 0


def fork_of_a_fork(seed):
    work = Work(seed)
    assert_pool()

    def child():
        check_with_own_pool(work)
        grandchild = run_in_fork(check_with_own_pool, work)
        assert exit_code(grandchild) == 0
        work.check()

    def idle_child():
        # This child makes no pool of its own, so the grandchild inherits the pool of the parent.
        assert exit_code(run_in_fork(check_with_own_pool, work)) == 0

    children = [run_in_fork(child), run_in_fork(idle_child), run_in_fork(check_with_own_pool, work)]
    work.check()
    assert [exit_code(child) for child in children] == [0, 0, 0]
    work.check()


@needs_fork
def test_a_fork_and_a_fork_of_a_fork_work_in_parallel(seed):
    assert_silent(run_in_new_process(fork_of_a_fork, seed))


def fork_during_calls(seed):
    work = Work(seed)
    blob = pickle.dumps(work.forest)
    # A forest that has not scored anything yet, or is scoring for the first time.
    newest = [pickle.loads(blob)]
    stop = threading.Event()
    failures = []

    def score():
        np.testing.assert_array_equal(work.forest.score_samples(work.X), work.scores)

    def first_score():
        newest[0] = forest = pickle.loads(blob)
        np.testing.assert_array_equal(forest.score_samples(work.X[:2_000]), work.scores[:2_000])

    def rank():
        np.testing.assert_array_equal(work.rank(), work.ranks)
        RankReference(work.X, n_jobs=N_JOBS)

    def loop(job):
        try:
            while not stop.is_set():
                job()
        except BaseException as failure:
            failures.append(failure)

    def child():
        forest = newest[0]
        np.testing.assert_array_equal(forest.score_samples(work.X[:5]), work.scores[:5])
        np.testing.assert_array_equal(forest.score_samples(work.X), work.scores)
        work.check()

    threads = [threading.Thread(target=loop, args=(job,)) for job in (score, work.fit, first_score, rank)]
    for thread in threads:
        thread.start()
    pauses = np.random.default_rng(seed).uniform(0, 0.02, FORKS)
    for pause in pauses:
        time.sleep(pause)
        code = exit_code(run_in_fork(child))
        if code:
            failures.append(code)
            break
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    work.check()


@needs_fork
def test_a_child_forked_while_other_threads_work_fits_and_scores(seed):
    assert_silent(run_in_new_process(fork_during_calls, seed))


def fork_while_the_pool_is_made(seed):
    work = Work(seed)
    pauses = np.random.default_rng(seed).uniform(0, 0.001, FORKS)

    def score():
        np.testing.assert_array_equal(work.forest.score_samples(work.X), work.scores)

    def child(pause):
        # This child has no pool yet; it makes one while it is forked again.
        thread = threading.Thread(target=score)
        thread.start()
        time.sleep(pause)
        grandchild = run_in_fork(score)
        thread.join()
        assert exit_code(grandchild) == 0

    for pause in pauses:
        assert exit_code(run_in_fork(child, pause)) == 0


@needs_fork
def test_a_child_forked_while_the_threads_are_made_scores(seed):
    assert_silent(run_in_new_process(fork_while_the_pool_is_made, seed))


def multiprocessing_pool(method, seed):
    work = Work(seed)
    with multiprocessing.get_context(method).Pool(2) as pool:
        processes = pool.map(check_and_return_pid, [work] * 4, chunksize=1)
        # The workers end by themselves; `terminate` would hide a worker that hangs or fails at its end.
        pool.close()
        pool.join()
    assert os.getpid() not in processes
    work.check()


def executor(method, seed):
    work = Work(seed)
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        processes = list(pool.map(check_and_return_pid, [work] * 4))
    assert os.getpid() not in processes
    work.check()


METHODS = [pytest.param("fork", marks=needs_fork), "spawn", pytest.param("forkserver", marks=needs_fork)]


@pytest.mark.parametrize("method", METHODS)
def test_workers_of_a_multiprocessing_pool_give_equal_results(method, seed):
    assert_silent(run_in_new_process(multiprocessing_pool, method, seed))


@pytest.mark.parametrize("method", METHODS[:2])
def test_workers_of_a_process_executor_give_equal_results(method, seed):
    assert_silent(run_in_new_process(executor, method, seed))


def joblib_backend(backend, seed):
    work = Work(seed)
    workers = joblib.Parallel(n_jobs=2, backend=backend)
    assert os.getpid() not in workers(joblib.delayed(check_and_return_pid)(work) for _ in range(4))
    work.check()


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_workers_of_joblib_give_equal_results(backend, seed):
    assert_silent(run_in_new_process(joblib_backend, backend, seed))


class Server:
    """A worker of a prefork server: a forked child that answers requests over a pipe with the master's model."""

    def __init__(self, work: Work) -> None:
        self.pipe, child_end = multiprocessing.Pipe()
        self.process = run_in_fork(self.serve, work, child_end)
        child_end.close()

    @staticmethod
    def serve(work, pipe):
        while (request := pipe.recv()) != "stop":
            if request == "work forever":
                pipe.send("begun")
                while True:
                    work.check()
            method, rows = request
            X = work.X[slice(*rows)]
            if method == "score":
                pipe.send(work.forest.score_samples(X))
            elif method == "rank":
                pipe.send(work.reference.rank_features(X, nan_policy="omit", n_jobs=N_JOBS).percentiles)
            else:
                pipe.send(work.fit().score_samples(X))

    def answer(self, request):
        self.pipe.send(request)
        assert self.pipe.poll(60), f"no answer to {request}"
        return self.pipe.recv()


def prefork_server(seed):
    r = np.random.default_rng(seed)
    work = pickle.loads(pickle.dumps(Work(seed)))
    work.check()

    def serve(server):
        for method in ("score", "rank", "refit"):
            start = int(r.integers(0, 250))
            rows = (
                (start, start + int(r.integers(1, 50))) if method == "rank" else (start, int(r.integers(300, 40_000)))
            )
            expected = work.ranks if method == "rank" else work.scores
            np.testing.assert_array_equal(server.answer((method, rows)), expected[slice(*rows)])

    servers = [Server(work) for _ in range(4)]
    for server in servers:
        serve(server)
    work.check()
    # A worker is killed in the middle of its work and replaced, while the master is scoring.
    assert servers[1].answer("work forever") == "begun"
    stop = threading.Event()

    def master():
        while not stop.is_set():
            work.check()

    busy = threading.Thread(target=master)
    busy.start()
    os.kill(servers[1].process, signal.SIGKILL)
    assert exit_code(servers[1].process) == -signal.SIGKILL
    servers[1] = Server(work)
    for server in servers * 2:
        serve(server)
    stop.set()
    busy.join()
    for server in servers:
        server.pipe.send("stop")
        assert exit_code(server.process) == 0
    work.check()


@needs_fork
def test_a_prefork_server_works_if_a_worker_is_killed_and_replaced(seed):
    assert_silent(run_in_new_process(prefork_server, seed))
