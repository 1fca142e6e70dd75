"""Tables and findings of the e-mail table that ships with the package."""

import functools

from isoxide import ueba
from isoxide.datasets import load_enron

#: First day after the training rows.
SPLIT = "2001-11-01"
READING = {"entity": "actor", "time": "day", "exclude": ["n_prior_days"]}


@functools.cache
def mail():
    return load_enron()


@functools.cache
def model():
    frame = mail()
    return ueba.Model.fit(ueba.read_table(frame[frame["day"] < SPLIT], **READING), alerts_per_month=10, n_estimators=60)


def findings(frame=None, since=SPLIT):
    """Return the findings of the days since a day, of the table or of a changed copy of it."""
    return model().detect(ueba.read_table(mail() if frame is None else frame, **READING), since=since)


def number_of(found, entity, day):
    """Return the position of the finding of an entity on a day."""
    frame = found.frame
    [number] = [
        n for n, key in enumerate(zip(frame["actor"], frame["day"].dt.strftime("%Y-%m-%d"), strict=True))
        if key == (entity, day)
    ]  # fmt: skip
    return number
