"""Compare an installed isoxide with the scikit-learn and scipy beside it; needs neither pytest nor a checkout.

`make wheel-test` runs this with each Python and the oldest and newest versions of what the package needs. With pandas,
pyarrow and jinja2 it also detects in the table that ships with the package and writes a report.
"""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import sklearn
import sklearn.ensemble

warnings.simplefilter("error")
N_IMPORTS = 7


def check_forest() -> None:
    from isoxide import IsolationForest

    rng = np.random.default_rng(0)
    works: list[tuple[int, int, dict[str, Any]]] = [
        (1_000, 5, {}),
        (300, 40, {"n_estimators": 30, "max_features": 7}),
        (2_000, 3, {"contamination": 0.05, "max_samples": 0.5, "bootstrap": True}),
    ]
    for n_rows, n_columns, options in works:
        X = np.hstack([rng.normal(size=(n_rows, n_columns)), rng.poisson(2, (n_rows, 2))])
        ours = IsolationForest(random_state=7, **options).fit(X)
        theirs = sklearn.ensemble.IsolationForest(random_state=7, **options).fit(X)
        for method in ("score_samples", "decision_function", "predict"):
            np.testing.assert_array_equal(getattr(ours, method)(X), getattr(theirs, method)(X))
        for copy in (pickle.loads(pickle.dumps(ours)), IsolationForest.from_sklearn(theirs)):
            np.testing.assert_array_equal(copy.score_samples(X), theirs.score_samples(X))
        with tempfile.TemporaryDirectory() as folder:
            ours.save(Path(folder) / "forest.safetensors")
            loaded = IsolationForest.load(Path(folder) / "forest.safetensors")
        np.testing.assert_array_equal(loaded.score_samples(X), theirs.score_samples(X))
        explained = ours.explain(X[:20])
        np.testing.assert_allclose(
            explained.values.sum(axis=1) + explained.base_values, np.log2(-ours.score_samples(X[:20]))
        )


def check_ranks() -> None:
    from isoxide import percentileofscore, rank_features

    rng = np.random.default_rng(1)
    reference = rng.poisson(4, (500, 3)).astype(float)
    ranks = rank_features(reference[:40], reference)
    for j, column in enumerate(reference.T):
        expected = [scipy.stats.percentileofscore(column, value) for value in column[:40]]
        np.testing.assert_array_equal(ranks.percentiles[:, j], expected)
        np.testing.assert_array_equal(percentileofscore(column, column[:40]), expected)


def check_findings() -> None:
    from isoxide import ueba
    from isoxide.datasets import load_enron

    table = ueba.read_table(load_enron(as_path=True), entity="actor", time="day")
    findings = ueba.detect(table, anomaly_threshold=0.63)
    assert len(findings) > 50, len(findings)
    with tempfile.TemporaryDirectory() as folder:
        page = findings.to_html(Path(folder) / "report.html").read_text(encoding="utf-8")
        command = [sys.executable, "-m", "isoxide", "detect", str(load_enron(as_path=True))]
        subprocess.run([*command, "--threshold", "0.63", "--out", folder], check=True, capture_output=True)
        assert list(Path(folder).glob("findings-*.parquet"))
    assert findings.frame["actor"].iloc[0] in page


def import_milliseconds() -> float:
    """Return the processor time of importing the forest in a new process, less that of importing `sklearn.base`."""
    medians = {}
    # The interpreter measures itself, without its start, in processor time: other programs may run beside it.
    for imported in ("from isoxide import IsolationForest", "import sklearn.base"):
        program = f"import time; start = time.process_time(); {imported}; print(time.process_time() - start)"
        runs = [
            float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)
            for _ in range(N_IMPORTS)
        ]
        medians[imported] = sorted(runs)[N_IMPORTS // 2]
    return 1e3 * (medians["from isoxide import IsolationForest"] - medians["import sklearn.base"])


def main() -> int:
    started = time.perf_counter()
    import isoxide

    check_forest()
    check_ranks()
    versions = {"numpy": np.__version__, "scikit-learn": sklearn.__version__, "scipy": scipy.__version__}
    if all(importlib.util.find_spec(name) for name in ("pandas", "pyarrow", "jinja2")):
        import pandas as pd
        import pyarrow as pa

        check_findings()
        versions |= {"pandas": pd.__version__, "pyarrow": pa.__version__}
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    print(
        f"ok: isoxide {isoxide.__version__} on Python {sys.version.split()[0]}, {names}; importing the forest takes "
        f"{import_milliseconds():.0f} ms of processor time more than importing sklearn.base; "
        f"{time.perf_counter() - started:.1f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
