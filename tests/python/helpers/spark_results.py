"""Compare results on Spark with results in memory."""

import numpy as np
import pandas as pd

from isoxide import IsolationForest
from spark_tables import FEATURES, KEY, assert_same_table


def in_memory(table, features=FEATURES, **params):
    return IsolationForest(random_state=0, **params).fit(table.select(features))


def assert_same_forest(ours, theirs):
    """Assert that trees, offset, feature names and parameters are equal: everything that a file holds."""
    assert ours.to_bytes(complete=True) == theirs.to_bytes(complete=True)


def assert_scored(scored, expected, forest):
    assert scored.columns == [*expected.column_names, "score", "anomaly"]
    result = scored.orderBy(KEY).toArrow()
    assert_same_table(result.select(expected.column_names), expected)
    X = expected.select(forest.feature_names_in_.tolist())
    np.testing.assert_array_equal(result["score"].to_numpy(), forest.decision_function(X))
    np.testing.assert_array_equal(np.where(result["anomaly"].to_numpy(), -1, 1), forest.predict(X))


def assert_same_findings(ours, theirs):
    pd.testing.assert_frame_equal(ours.frame.reset_index(drop=True), theirs.frame.reset_index(drop=True))
    assert ours.features == theirs.features
    np.testing.assert_array_equal(ours.frame.index, theirs.frame.index)
    for name in ("values", "percentiles", "order", "directions", "flags"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    if theirs.group_of is not None:
        np.testing.assert_array_equal(ours.group_of, theirs.group_of)
        np.testing.assert_array_equal(ours.group_typical, theirs.group_typical)
    pd.testing.assert_frame_equal(ours.timeline, theirs.timeline, check_dtype=False)
    pd.testing.assert_frame_equal(ours.reference, theirs.reference)
    pd.testing.assert_frame_equal(ours.entity_scores, theirs.entity_scores, check_dtype=False)
    # Spark does not collect all scores in the order of the rows, so it has no checksum of them.
    assert ours.manifest["scores_sha256"] is None
    for name in ("offset", "anomalies", "profile", "ranking"):
        assert ours.manifest[name] == theirs.manifest[name], name
