"""Compare findings of partitioned tables with findings in memory."""

import numpy as np
import pandas as pd
from numpy.testing import assert_array_equal


def assert_same_findings(ours, theirs):
    """Assert that findings are equal, except for what describes the source of the table and the time of the run."""
    pd.testing.assert_frame_equal(ours.frame, theirs.frame, check_exact=True)
    for name in ("values", "percentiles", "order", "directions", "contributions", "shares"):
        assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    for name in ("group_of", "group_typical"):
        our_array, their_array = getattr(ours, name), getattr(theirs, name)
        assert (our_array is None) == (their_array is None)
        if our_array is not None:
            assert_array_equal(our_array, their_array, err_msg=name)
    assert (ours.families, ours.expected_score) == (theirs.families, theirs.expected_score)
    for name in ("reference", "flags", "timeline"):
        pd.testing.assert_frame_equal(getattr(ours, name), getattr(theirs, name), check_exact=True)
    different = {"created", "source", "sha256", "scores_sha256"}
    our_manifest, their_manifest = (
        {name: value for name, value in findings.manifest.items() if name not in different}
        for findings in (ours, theirs)
    )
    assert our_manifest == their_manifest
    assert ours.manifest["scores_sha256"] in (None, theirs.manifest["scores_sha256"])
    assert ours.forest.to_bytes() == theirs.forest.to_bytes()


def actor_days(seed, n=2500, *, duplicates=40):
    """Return actor-days with days as text, float32 and float64 with missing values, an identifier and an empty column.

    Some rows are duplicated, and the rows are shuffled.
    """
    r = np.random.default_rng(seed)
    days = pd.date_range("2025-01-01", periods=100)[r.integers(0, 90, n)]
    frame = pd.DataFrame(
        {
            "actor": r.choice([f"u{i}" for i in range(40)], n),
            "day": days.strftime("%Y-%m-%d").to_numpy(),
            "normal": r.normal(size=n),
            "count": np.where(r.random(n) < 0.7, 0, r.geometric(0.2, n)),
            "missing": np.where(r.random(n) < 0.3, np.nan, r.normal(size=n)),
            "float32": r.normal(size=n).astype(np.float32),
            "missing32": np.where(r.random(n) < 0.3, np.nan, r.normal(size=n)).astype(np.float32),
            "id": np.arange(n) * 3,
            "empty": np.nan,
            "constant": 1.0,
            "group": r.choice(list("xyz"), n),
            # The groups have from one row to hundreds, and some rows belong to none.
            "team": pd.Series((r.pareto(0.4, n) + 1).clip(max=10**6).astype(int).astype(str)).where(r.random(n) < 0.9),
            "zscore_q": r.normal(size=n) * 2,
            "is_weekend": r.integers(0, 2, n),
            "flag": r.random(n) < 0.1,
        }
    )
    copies = frame.iloc[r.integers(0, n, duplicates)]
    return pd.concat([frame, copies]).sample(frac=1, random_state=int(r.integers(2**31)), ignore_index=True)


NAMES = {"entity": "actor", "time": "day"}
