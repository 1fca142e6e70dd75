"""Test the rows with the lowest scores, which are kept while the offset is not known, and the severity of anomalies."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from isoxide import percentileofscore
from isoxide._frames.times import Times
from isoxide._partitioned.aggregators import SCORE, Partition, decode, encode, with_row_numbers
from isoxide._partitioned.anomalies import FindAnomalies, LowestRows, ScoreEntities
from isoxide._partitioned.detect import _severity


def kept_of(scores, first_row, n_max, bound, batch_rows):
    kept = LowestRows(n_max, bound)
    for start in range(0, len(scores), batch_rows):
        batch = scores[start : start + batch_rows]
        rows = kept.rows_of(batch)
        if rows.size:
            record = pa.record_batch({"x": batch[rows] * 2, SCORE: batch[rows]})
            kept.add(with_row_numbers(record, rows + start + first_row))
        assert kept.n <= 2 * n_max
    return kept


@pytest.mark.parametrize("n_distinct", [3, 40, 10**6])
def test_all_rows_below_the_bound_are_kept_in_any_order_of_partitions(seed, n_distinct):
    r = np.random.default_rng(seed)
    schema = pa.schema([("x", pa.float64())])
    n_complete = 0
    for _ in range(60):
        n, n_max, batch_rows = int(r.integers(1, 300)), int(r.integers(0, 60)), int(r.integers(1, 40))
        scores = -r.integers(1, n_distinct, n) / n_distinct
        limit = r.choice([np.inf, np.quantile(scores, 0.2)])
        edges = np.sort(r.integers(0, n + 1, int(r.integers(0, 6))))
        pieces = [
            decode(encode(kept_of(scores[a:b], a, n_max, limit, batch_rows)))
            for a, b in zip([0, *edges], [*edges, n], strict=True)
        ]
        assert max(piece.n for piece in pieces) <= n_max
        r.shuffle(pieces)
        merged = pieces[0]
        for other in pieces[1:]:
            merged.merge(other)
            assert merged.n <= n_max
        offset = float(r.choice(scores))
        rows = FindAnomalies(offset, ["x"], schema, 10**6).of(merged)
        if rows is None:
            # There was no room for them, or the limit was below the offset.
            assert np.count_nonzero(scores <= offset) > min(n_max, n - 1) or offset > limit
            continue
        n_complete += 1
        expected = np.flatnonzero(scores < offset)
        assert sorted(rows["__isoxide_row"].to_pylist()) == expected.tolist()
        assert sorted(rows["x"].to_pylist()) == sorted((scores[expected] * 2).tolist())
    assert n_complete > 5


def test_a_known_number_of_anomalies_always_has_room(seed):
    r = np.random.default_rng(seed)
    for _ in range(100):
        n = int(r.integers(2, 200))
        scores = -r.integers(1, int(r.choice([4, 10**6])), n) / 10**6
        contamination = float(r.uniform(0.001, 0.5))
        kept = kept_of(scores, 0, int(n * contamination) + 2, np.inf, 7)
        kept.shrink()
        offset = float(np.percentile(scores, 100 * contamination))
        rows = FindAnomalies(offset, ["x"], pa.schema([("x", pa.float64())]), 10**6).of(kept)
        assert rows.num_rows == np.count_nonzero(scores < offset)


def test_entities_have_the_lowest_score_of_each_of_their_latest_days(seed, monkeypatch):
    monkeypatch.setattr("isoxide._partitioned.anomalies.MAX_ENTITY_DAYS", 5)
    monkeypatch.setattr("isoxide._partitioned.anomalies._MAX_PENDING", 40)
    r = np.random.default_rng(seed)
    wanted = pa.array(["b", "d", "a"])
    for _ in range(20):
        n = int(r.integers(1, 300))
        frame = pd.DataFrame({"entity": r.choice(list("abcd"), n), "score": -r.integers(1, 9, n) / 9})
        frame["time"] = pd.Timestamp("1969-12-20") + pd.to_timedelta(r.integers(0, 25 * 24, n), unit="h")
        aggregator = ScoreEntities("entity", Times("time"), wanted)
        table = pa.Table.from_pandas(frame.rename(columns={"score": SCORE}), preserve_index=False)
        states = [
            decode(encode(aggregator.accumulate(Partition(0, None), piece.to_batches(max_chunksize=17))))
            for piece in (table.slice(0, n // 3), table.slice(n // 3), table.slice(n), table.slice(n))
        ]
        r.shuffle(states)
        merged = decode(encode(aggregator.merge(states[:2])))
        positions, days, scores = aggregator.finish(aggregator.merge([merged, *states[2:]]))
        day = frame["time"].dt.normalize()
        for position, entity in enumerate(wanted.to_pylist()):
            own = frame["entity"] == entity
            expected = -frame["score"][own].groupby(day[own]).min().tail(5)
            assert days[positions == position].astype("datetime64[D]").tolist() == [d.date() for d in expected.index]
            assert scores[positions == position].tolist() == expected.tolist()


def test_the_severity_follows_from_the_anomalies_and_the_number_of_rows(seed):
    r = np.random.default_rng(seed)
    for _ in range(40):
        n = int(r.integers(1, 5000))
        decisions = r.integers(-int(r.integers(1, 50)), 200, n) / 8
        anomalies = decisions[decisions < 0]
        severity, as_high = _severity(anomalies, n)
        np.testing.assert_array_equal(severity, percentileofscore(-decisions, -anomalies))
        np.testing.assert_array_equal(as_high, [np.count_nonzero(decisions <= own) for own in anomalies])
