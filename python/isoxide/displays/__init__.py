"""Plots of scores and findings in the style of scikit-learn's display classes.

Each class holds the data that it draws. Create a display with ``from_estimator`` or ``from_findings``, which also draw
it, or create it from arrays and call ``plot``. Matplotlib is imported only when something is drawn, and its style gives
the colours, such as those of ``plt.style.use("dark_background")``.
"""

from isoxide.displays._contributions import ContributionDisplay, ImportanceDisplay
from isoxide.displays._percentiles import CutoffDisplay, FeatureRankDisplay
from isoxide.displays._scores import ScoreTimelineDisplay, ThresholdDisplay

__all__ = [
    "ContributionDisplay",
    "CutoffDisplay",
    "FeatureRankDisplay",
    "ImportanceDisplay",
    "ScoreTimelineDisplay",
    "ThresholdDisplay",
]

for _public in (
    ContributionDisplay,
    CutoffDisplay,
    FeatureRankDisplay,
    ImportanceDisplay,
    ScoreTimelineDisplay,
    ThresholdDisplay,
):
    _public.__module__ = __name__
