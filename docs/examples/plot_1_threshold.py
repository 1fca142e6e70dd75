"""
Choose a threshold
==================

The scores of all days (values of the decision function), with the threshold for ten findings a month. ``amounts`` shows
what other numbers cost; its thresholds are anomaly scores.
"""

from isoxide import ueba
from isoxide.datasets import load_enron

mail = load_enron()
table = ueba.read_table(mail, entity="actor", time="day", exclude="n_prior_days")
calibration = ueba.calibrate(table, alerts_per_month=10)
calibration.plot()

# %%
# With 50 findings a month, many of them would not be unusual at all.

amounts = calibration.amounts([5, 10, 25, 50])
amounts[["alerts_per_month", "threshold", "rows", "not_unusual"]].round(3)
