"""
Follow the scores over time
===========================

The lowest score of each day, with a dot for each finding. A score below 0 is beyond the threshold.
"""

from isoxide import ueba
from isoxide.datasets import load_enron
from isoxide.displays import ScoreTimelineDisplay

mail = load_enron()
table = ueba.read_table(mail, entity="actor", time="day", exclude="n_prior_days")
findings = ueba.detect(table, alerts_per_month=10)
ScoreTimelineDisplay.from_findings(findings)
