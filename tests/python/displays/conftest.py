"""Fixtures of the tests of displays: a study with names that matplotlib could take for formulas, and its findings."""

import matplotlib as mpl
import pytest

from isoxide import ueba
from ueba_tables import actor_days

mpl.use("agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(scope="package")
def study(seed):
    renamed = actor_days(seed).rename(columns={"n_0": "$n_0^$", "share_1": "a$b"})
    return ueba.calibrate(ueba.read_table(renamed, entity="actor", time="day"), contamination=0.02)


@pytest.fixture(scope="package")
def findings(study):
    return ueba.detect(study.table, forest=study.forest, contamination=0.02)
