"""Make frames of many column types for tests of partitioned tables."""

import numpy as np
import pandas as pd


def frame_of(r, n):
    """Return a frame with columns of many types, with ties, missing values, duplicate rows and a column of labels."""
    frame = pd.DataFrame(
        {
            "normal": r.normal(size=n),
            "count": np.where(r.random(n) < 0.7, 0, r.geometric(0.2, n)),
            "small": r.integers(0, 9, n).astype(np.int16),
            "flag": r.random(n) < 0.2,
            "float32": r.normal(size=n).astype(np.float32),
            "missing": np.where(r.random(n) < 0.4, np.nan, r.normal(size=n)),
            "empty": np.full(n, np.nan),
            "whole": pd.array(np.where(r.random(n) < 0.3, None, r.integers(0, 50, n)), dtype="Int64"),
            "large": r.integers(0, 2**40, n),
            "unsigned": r.integers(0, 2**40, n).astype(np.uint64),
            "constant": np.full(n, 3.0),
            "group": r.choice(list("xyz"), n),
        }
    )
    return frame.iloc[r.integers(0, n, n)].reset_index(drop=True)


def in_memory(frame):
    """Return the frame as pandas reads it from a file, where integers with missing values are floats."""
    return frame.assign(whole=frame["whole"].astype("float64"))
