"""
Choose how many features a report lists
=======================================

The number of features of each finding that reach a percentile. A report lists those at or above its
cut-off, 99 by default.
"""

from isoxide import ueba
from isoxide.datasets import load_enron
from isoxide.displays import CutoffDisplay

mail = load_enron()
table = ueba.read_table(mail, entity="actor", time="day", exclude="n_prior_days")
findings = ueba.detect(table, alerts_per_month=10)
CutoffDisplay.from_findings(findings)
