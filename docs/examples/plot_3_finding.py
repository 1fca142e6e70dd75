"""
Read one finding
================

A notebook shows the most abnormal days with their reasons: unusual values, and the typical values that they are
compared with.
"""

from isoxide import ueba
from isoxide.datasets import load_enron
from isoxide.displays import FeatureRankDisplay

mail = load_enron()
table = ueba.read_table(mail, entity="actor", time="day", exclude="n_prior_days")
findings = ueba.detect(table, alerts_per_month=10)
findings

# %%
# The percentiles of the first one:

FeatureRankDisplay.from_findings(findings, 0)

# %%
# The same in numbers:

findings.comparison_table(0).head(10).round(2)
