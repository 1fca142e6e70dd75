"""Isolation forests of all libraries behind one interface, each at its best setting for the work."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .compiled import COMPILED, MAX_ROWS
from .data import FIT_ROWS, head, read
from .works import Work


@dataclass
class Job:
    """What a child does when asked."""

    #: The timed call.
    call: Callable[[], Any]
    #: Do the same work once, and return what is compared with the other contenders.
    check: Callable[[], dict[str, np.ndarray]]
    #: The size of the work divided by that of the call.
    scale: float = 1.0
    #: Remark on the last call, for the record.
    note: str = ""


class Forest(Protocol):
    def fit(self, x: Any) -> None: ...
    def score(self, x: Any) -> np.ndarray: ...


def _array(x: Any) -> Any:
    """Return an array for libraries that do not read frames; the conversion is part of the timing."""
    return x.to_numpy() if hasattr(x, "to_numpy") else x


def _parameters(work: Work, threads: int) -> dict[str, Any]:
    """Return the parameters of scikit-learn's class and of isoxide's."""
    return {
        "n_estimators": work.trees,
        "max_samples": work.max_samples,
        "contamination": work.contamination,
        "n_jobs": threads,
        "random_state": 0,
    }


def _rows_per_tree(work: Work) -> int | None:
    """Return the number of rows that each tree draws; None for all rows of the table."""
    if work.max_samples == "auto":
        return 256
    return work.max_samples if isinstance(work.max_samples, int) else None


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

    def explain(self, x: Any) -> np.ndarray:
        values: np.ndarray = self.model.shap_values(x)
        return values


class _UnderJoblib:
    """Threads of joblib for fit and scores: scikit-learn scores with one thread unless a context says otherwise."""

    threads: int
    model: Any

    def context(self) -> Any:
        import joblib

        if self.threads == 1:
            return contextlib.nullcontext()
        return joblib.parallel_config(backend="threading", n_jobs=self.threads)


class Sklearn(_UnderJoblib):
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
    """Its plain forest. A missing value takes the larger branch, not both: nearer to the others, and faster."""

    def __init__(self, work: Work, threads: int) -> None:
        import isotree

        rows = _rows_per_tree(work)
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

        rows = _rows_per_tree(work)
        self._new: Callable[[int], Any] = lambda n: IsolationForest(
            n_trees=work.trees, n_subsamples=min(rows or n, n), random_seed=0, n_jobs=threads
        )

    def fit(self, x: Any) -> None:
        self.model = self._new(x.shape[0]).fit(_array(x))

    def score(self, x: Any) -> np.ndarray:
        scores: np.ndarray = self.model.score_samples(_array(x))
        return scores

    def explain(self, x: Any) -> np.ndarray:
        values: np.ndarray = self.model.feature_signature(x)
        return values


class Pyod(_UnderJoblib):
    """Around scikit-learn's; it knows no contamination="auto" and scores the training data in every fit."""

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


class Shap(Sklearn):
    """shap's explainer of scikit-learn's forest, which is made in the fit. It works on one thread."""

    def fit(self, x: Any) -> None:
        import shap

        super().fit(x)
        self.explainer = shap.TreeExplainer(self.model, feature_perturbation="tree_path_dependent")

    def explain(self, x: Any) -> np.ndarray:
        values: np.ndarray = self.explainer.shap_values(x)
        return values


class Woodelf(Sklearn):
    """woodelf's explainer of scikit-learn's forest. It takes frames only, and computes in float32."""

    def fit(self, x: Any) -> None:
        from woodelf import WoodelfExplainer

        super().fit(x)
        self.explainer = WoodelfExplainer(self.model)

    def explain(self, x: Any) -> np.ndarray:
        import pandas as pd

        frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(x.shape[1])])
        values: np.ndarray = self.explainer.shap_values(frame, verbose=False)
        return values


class NumpySum:
    """No forest: one pass over the table, to see what memory alone costs."""

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
    "shap": Shap,
    "woodelf": Woodelf,
    "numpy_sum": NumpySum,
}


def forest_job(work: Work, library: str, threads: int, layout: str, folder: Path) -> Job:
    """Read the table, fit the forest unless the fit is timed, and return the job."""
    warnings.filterwarnings("ignore")
    x = read(work.data, folder, layout)
    if library in COMPILED:
        return _compiled_job(work, library, threads, x, folder)
    forest: Any = _FORESTS[library](work, threads)
    # Under joblib's threads the last bits of scikit-learn's scores vary from run to run, so it is checked without.
    alone: Any = _FORESTS[library](work, 1) if isinstance(forest, _UnderJoblib) else forest
    if work.kind == "fit":
        some = head(x, 1000)

        def check_fit() -> dict[str, np.ndarray]:
            alone.fit(x)
            offset = getattr(alone.model, "offset_", 0.0)
            return {"scores": np.asarray(alone.score(some)), "offset": np.asarray(offset)}

        return Job(lambda: forest.fit(x), check_fit)
    forest.fit(head(x, FIT_ROWS))
    if isinstance(forest, _UnderJoblib):
        alone.model = forest.model
    if work.take:
        x = head(x, work.take).copy()
    if work.kind == "explain":
        # shap does not round to float32, so values near a threshold would go the other way.
        rows = np.ascontiguousarray(x, dtype=np.float32)
        return Job(lambda: forest.explain(rows), lambda: {"values": forest.explain(rows)})
    if work.kind == "day":
        return Job(lambda: forest.day(x), lambda: dict(zip(("decision", "prediction"), alone.day(x), strict=True)))
    if work.kind == "memory":
        forest.score(head(x, 2000))
    return Job(lambda: forest.score(x), lambda: {"scores": alone.score(x)})


def _compiled_job(work: Work, library: str, threads: int, x: Any, folder: Path) -> Job:
    """Return the job of scoring by a converted forest; the slow ones score a part of the rows."""
    forest = COMPILED[library](work, threads, folder)
    forest.fit(head(x, FIT_ROWS))
    n = work.take or work.data.n
    scored = n if library == "tl2cgen" else min(n, MAX_ROWS)
    x = head(x, scored).copy()
    return Job(lambda: forest.score(x), lambda: {"scores": forest.score(x)}, n / scored)
