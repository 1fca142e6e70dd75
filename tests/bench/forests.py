"""Wrap the isolation forests of all libraries in one interface, each with its best settings for the work."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .data import FIT_ROWS, head, read
from .works import Work


@dataclass
class Job:
    """The calls that a child makes on request."""

    #: The timed call.
    call: Callable[[], Any]
    #: Does the work once, and returns the results that are compared with those of the other contenders.
    check: Callable[[], dict[str, np.ndarray]]
    #: Size of the whole work divided by that of the timed call.
    scale: float = 1.0


class Forest(Protocol):
    def fit(self, x: Any) -> None: ...
    def score(self, x: Any) -> np.ndarray: ...


def _array(x: Any) -> Any:
    """Convert a frame for libraries that do not read frames; this is part of the timing."""
    return x.to_numpy() if hasattr(x, "to_numpy") else x


def _parameters(work: Work, threads: int) -> dict[str, Any]:
    """Return the parameters of scikit-learn's and isoxide's class."""
    return {
        "n_estimators": work.trees,
        "max_samples": work.max_samples,
        "contamination": work.contamination,
        "n_jobs": threads,
        "random_state": 0,
    }


class Isoxide:
    def __init__(self, work: Work, threads: int) -> None:
        from isoxide import IsolationForest

        self._new: Callable[[], Any] = lambda: IsolationForest(**_parameters(work, threads))

    def fit(self, x: Any) -> None:
        self.model = self._new().fit(x)

    def score(self, x: Any) -> np.ndarray:
        scores: np.ndarray = self.model.score_samples(x)
        return scores

    def day(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        return self.model.decision_function(x), self.model.predict(x)


class _WithJoblib:
    """Use threads of joblib for scoring too; scikit-learn scores with one thread by default."""

    threads: int
    model: Any

    def context(self) -> Any:
        import joblib

        if self.threads == 1:
            return contextlib.nullcontext()
        return joblib.parallel_config(backend="threading", n_jobs=self.threads)


class Sklearn(_WithJoblib):
    def __init__(self, work: Work, threads: int) -> None:
        from sklearn.ensemble import IsolationForest

        self.threads = threads
        self._new: Callable[[], Any] = lambda: IsolationForest(**_parameters(work, threads))

    def fit(self, x: Any) -> None:
        with self.context():
            self.model = self._new().fit(x)

    def score(self, x: Any) -> np.ndarray:
        with self.context():
            scores: np.ndarray = self.model.score_samples(x)
        return scores

    def day(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        with self.context():
            return self.model.decision_function(x), self.model.predict(x)


class Isotree:
    """isotree with single-variable splits; a missing value takes the larger branch, which is faster than both."""

    def __init__(self, work: Work, threads: int) -> None:
        import isotree

        rows = 256 if work.max_samples == "auto" else None
        missing = "impute" if work.data.kind == "missing" else "fail"
        self._new: Callable[[int], Any] = lambda n: isotree.IsolationForest(
            ntrees=work.trees,
            sample_size=min(rows or n, n),
            ndim=1,
            missing_action=missing,
            standardize_data=False,
            nthreads=threads,
            random_seed=0,
        )

    def fit(self, x: Any) -> None:
        self.model = self._new(x.shape[0]).fit(_array(x))

    def score(self, x: Any) -> np.ndarray:
        scores: np.ndarray = self.model.predict(_array(x))
        return scores


class Coniferest:
    def __init__(self, work: Work, threads: int) -> None:
        from coniferest.isoforest import IsolationForest

        rows = 256 if work.max_samples == "auto" else None
        self._new: Callable[[int], Any] = lambda n: IsolationForest(
            n_trees=work.trees, n_subsamples=min(rows or n, n), random_seed=0, n_jobs=threads
        )

    def fit(self, x: Any) -> None:
        self.model = self._new(x.shape[0]).fit(_array(x))

    def score(self, x: Any) -> np.ndarray:
        scores: np.ndarray = self.model.score_samples(_array(x))
        return scores


class Pyod(_WithJoblib):
    """PyOD wraps scikit-learn's forest, lacks contamination="auto", and scores the training data in every fit."""

    def __init__(self, work: Work, threads: int) -> None:
        from pyod.models.iforest import IForest

        self.threads = threads
        self._new: Callable[[], Any] = lambda: IForest(
            **_parameters(work, threads)
            | {"contamination": 0.1 if work.contamination == "auto" else work.contamination}
        )

    def fit(self, x: Any) -> None:
        with self.context():
            self.model = self._new().fit(x)

    def score(self, x: Any) -> np.ndarray:
        with self.context():
            scores: np.ndarray = self.model.decision_function(x)
        return scores


class NumpySum:
    """No forest, but one pass over the table, whose time is a lower limit."""

    def __init__(self, work: Work, threads: int) -> None:
        pass

    def fit(self, x: Any) -> None:
        pass

    def score(self, x: Any) -> np.ndarray:
        return np.asarray(x.sum())


_FORESTS: dict[str, Callable[[Work, int], Forest]] = {
    "isoxide": Isoxide,
    "sklearn": Sklearn,
    "isotree": Isotree,
    "coniferest": Coniferest,
    "pyod": Pyod,
    "numpy_sum": NumpySum,
}


def forest_job(work: Work, library: str, threads: int, layout: str, folder: Path) -> Job:
    """Read the table, and fit the forest unless the fit is timed."""
    warnings.filterwarnings("ignore")
    x = read(work.data, folder, layout)
    forest: Any = _FORESTS[library](work, threads)
    # With joblib's threads, the last bits of scikit-learn's scores vary, so its results are checked on one thread.
    serial: Any = _FORESTS[library](work, 1) if isinstance(forest, _WithJoblib) else forest
    if work.kind == "fit":
        first_rows = head(x, 1000)

        def check_fit() -> dict[str, np.ndarray]:
            serial.fit(x)
            offset = getattr(serial.model, "offset_", 0.0)
            return {"scores": np.asarray(serial.score(first_rows)), "offset": np.asarray(offset)}

        return Job(lambda: forest.fit(x), check_fit)
    forest.fit(head(x, FIT_ROWS))
    if isinstance(forest, _WithJoblib):
        serial.model = forest.model
    if work.take:
        x = head(x, work.take).copy()
    if work.kind == "day":
        return Job(lambda: forest.day(x), lambda: dict(zip(("decision", "prediction"), serial.day(x), strict=True)))
    if work.kind == "memory":
        forest.score(head(x, 2000))
    return Job(lambda: forest.score(x), lambda: {"scores": serial.score(x)})
