"""Shared set-up: one seed for everything random, new at each run, printed, and set by an environment variable."""

import os
import secrets

import pytest

SEED = int(os.environ.get("ISOXIDE_TEST_SEED") or secrets.randbelow(2**32))


def pytest_report_header() -> str:
    return f"isoxide: random tests use ISOXIDE_TEST_SEED={SEED}"


@pytest.fixture(scope="session")
def seed() -> int:
    return SEED
