"""Test the coordinates of the small charts."""

import re

import pytest

from isoxide.ueba._sparkline import HEIGHT, WIDTH, draw_sparkline


def test_days_are_in_proportion_and_findings_have_dots():
    days = ["2025-01-01", "2025-01-02", "2025-01-05"]
    line = draw_sparkline(days, [0.4, 0.7, 0.5], 0.6, {"2025-01-02"})
    points = [tuple(map(float, point.split())) for point in re.split("[ML]", line.path)[1:]]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.25, abs=0.01)
    # The higher the score, the higher the point.
    assert y1 < line.threshold < y2 < y0
    assert line.dots == [(x1, y1)]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert line.title == "anomaly scores of 3 days from 2025-01-01 to 2025-01-05, the highest 0.70 on 2025-01-02"


@pytest.mark.parametrize("days", [[], ["2025-01-01"]])
def test_less_than_two_days_have_no_course(days):
    assert draw_sparkline(days, [0.5] * len(days), 0.6, set()) is None


@pytest.mark.parametrize("scores", [[0.0, 1.0], [0.5, 0.5], [-3.0, 90.0]])
def test_any_scores_fit_into_the_image(scores):
    line = draw_sparkline(["2025-01-01", "2025-01-02"], scores, 0.6, set())
    heights = [float(point.split()[1]) for point in re.split("[ML]", line.path)[1:]]
    assert all(0 <= height <= HEIGHT for height in [*heights, line.threshold])
