"""Fixture that all tests of Spark on this machine share, so that they start one JVM."""

import pytest


@pytest.fixture(scope="session")
def _spark_folder(tmp_path_factory):
    yield tmp_path_factory.mktemp("spark")
    from spark_tables import stop_spark

    stop_spark()


@pytest.fixture(scope="module")
def spark(_spark_folder):
    """Return the session of two cores; it is started again if a module has stopped it."""
    # These modules need PySpark, which other runs of the tests lack.
    from spark_tables import shared_session, sort_in_ranges

    with pytest.MonkeyPatch.context() as patch:
        sort_in_ranges(patch)
        yield shared_session(_spark_folder)
