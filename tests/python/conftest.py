"""Shared set-up: one seed for everything random, new at each run, printed, and set by an environment variable."""

import pytest

from seeds import SEED


def pytest_report_header() -> str:
    return f"isoxide: random tests use ISOXIDE_TEST_SEED={SEED}"


@pytest.fixture(scope="session")
def seed() -> int:
    return SEED
