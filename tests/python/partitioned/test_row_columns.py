"""Test the columns that forests add to the rows of partitioned tables: contributions as in memory, for any batches."""

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from isoxide import IsolationForest, stream
from isoxide._partitioned.row_columns import AllColumns, ExplanationColumns, ScoreColumns
from list_engine import arrow
from partition_tables import frame_of, in_memory

pytestmark = pytest.mark.current_versions(reason="scikit-learn 1.6 grows other forests on some tables")


@pytest.fixture(scope="module")
def frame(seed):
    return frame_of(np.random.default_rng(seed), 700)


@pytest.fixture(scope="module")
def forest(frame):
    return IsolationForest(n_estimators=20, random_state=0).fit(in_memory(frame).drop(columns="group"))


def assert_explained(explained, explanation, prefix="top_"):
    """Assert that the added columns have the bits of an explanation in memory."""
    shares = explanation.share()
    for k in range(explanation.values.shape[1]):
        names = [explanation.feature_names[j] for j in explanation.indices[:, k]]
        assert list(explained[f"{prefix}{k + 1}_feature"]) == names
        assert_array_equal(np.array(explained[f"{prefix}{k + 1}_contribution"]), explanation.values[:, k])
        assert_array_equal(np.array(explained[f"{prefix}{k + 1}_share"]), shares[:, k])
        # The copy in memory may be rounded to float32, if scikit-learn has converted the frame.
        values = np.array(explained[f"{prefix}{k + 1}_value"], dtype=float)
        assert_allclose(values, explanation.data[:, k], rtol=2**-23)


@pytest.mark.parametrize("batch_rows", [1000, 64, 1])
@pytest.mark.parametrize("output", ["log2", "path_length"])
def test_explanations_of_batches_are_those_of_memory(frame, forest, batch_rows, output):
    rows = frame[:60] if batch_rows == 1 else frame
    expected = forest.explain(in_memory(rows).drop(columns="group"), top=4, output=output)
    explained = stream.open(arrow(rows), batch_rows=batch_rows).explain(forest, top=4, output=output).read_all()
    assert explained.column_names[: frame.shape[1]] == frame.columns.tolist()
    assert explained.num_columns == frame.shape[1] + 16
    assert_explained(explained.select(explained.column_names[frame.shape[1] :]).to_pydict(), expected)


def test_no_more_contributions_than_features():
    table = stream.open(pa.table({"x": np.arange(30.0), "y": np.arange(30.0) % 7}))
    explained = table.explain(table.fit(), top=100, prefix="why ").read_all()
    assert explained.column_names[-4:] == ["why 2_feature", "why 2_value", "why 2_contribution", "why 2_share"]
    shares = explained["why 1_share"].to_numpy() + explained["why 2_share"].to_numpy()
    assert set(shares.round(9)) <= {0.0, 1.0}


def test_columns_of_no_rows_have_their_types():
    columns = AllColumns([ScoreColumns(), ExplanationColumns(1, "log2", "top_")])
    batch = pa.record_batch({"x": pa.array([], pa.float64())})
    forest = IsolationForest(n_estimators=2, random_state=0).fit([[1.0], [2.0]])
    for arrays in (columns.of(batch, ["x"], forest), columns.empty()):
        assert [array.type for array in arrays] == [field.type for field in columns.fields]
        assert {len(array) for array in arrays} == {0}
    assert columns.names == [
        "score", "anomaly", "top_1_feature", "top_1_value", "top_1_contribution", "top_1_share"
    ]  # fmt: skip


def test_bad_input(frame, forest):
    table = stream.open(arrow(frame))
    with pytest.raises(NotFittedError):
        table.explain(IsolationForest())
    for top, error, message in (
        (0, ValueError, "top must be at least 1, got 0"),
        (1.5, TypeError, "top must be an integer"),
        (None, TypeError, "top must be an integer, got None"),
    ):
        with pytest.raises(error, match=message):
            table.explain(forest, top=top)
    with pytest.raises(ValueError, match="output must be one of 'log2', 'path_length', got 'score'"):
        table.explain(forest, output="score")
    with pytest.raises(ValueError, match="'normal'"):
        stream.open(arrow(frame.drop(columns="normal"))).explain(forest)
    taken = stream.open(arrow(frame.assign(top_1_share=1.0)))
    with pytest.raises(ValueError, match="already has a column 'top_1_share'; choose other names with prefix="):
        taken.explain(forest)
    assert "why_1_share" in taken.explain(forest, prefix="why_").schema.names
