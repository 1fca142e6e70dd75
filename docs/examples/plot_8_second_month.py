"""
Keep a model and watch drift
============================

A model is trained on two years. The population stability index (PSI) compares later months with these: a feature at
0.25 or more means that the model should be trained again (retrain).
"""

import matplotlib.pyplot as plt

from isoxide import ueba
from isoxide.datasets import load_enron

mail = load_enron()
reading = {"entity": "actor", "time": "day", "exclude": "n_prior_days"}
old = ueba.read_table(mail[mail["day"] < "2001-11-01"], **reading)
new = ueba.read_table(mail[mail["day"] >= "2001-11-01"], **reading)
drift = ueba.Model.fit(old, alerts_per_month=10).drift(new)
print(drift.verdict, drift.worst)

# %%
# The most changed features, with the limits of the verdicts "watch" and "retrain":

psi = drift.features["psi"].sort_values().tail(10)
figure, ax = plt.subplots(figsize=(8, 4))
ax.barh(psi.index, psi)
for limit, style in ((0.1, ":"), (0.25, "--")):
    ax.axvline(limit, color="0.5", linestyle=style)
ax.set(xlabel="Population stability index")
figure.tight_layout()
