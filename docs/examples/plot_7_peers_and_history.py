"""
Compare a person with peers and with the own history
====================================================

The same day has other ranks among all rows, among the rows of the same role, and among the person's own days.
"""

import matplotlib.pyplot as plt

from isoxide import rank_features
from isoxide.datasets import load_enron

mail = load_enron()
features = ["n_msgs", "n_to", "unique_rcpt", "n_after_hours", "active_hours", "n_received"]
rows = mail[(mail["actor"] == "emp105") & (mail["day"] == "2002-02-06")]
references = {"all rows": None, "the same role": "role", "the own days": "actor"}
ranks = {
    label: rank_features(rows, mail, features=features, groups=groups).percentiles[0]
    for label, groups in references.items()
}

figure, ax = plt.subplots(figsize=(8, 4))
for label, marker in zip(ranks, "os^", strict=True):
    ax.plot(ranks[label], features, marker, label=label, markersize=8, alpha=0.8)
ax.set(xlabel="Percentile", title="emp105 on 2002-02-06")
ax.grid(visible=True, alpha=0.3)
ax.legend()
figure.tight_layout()
