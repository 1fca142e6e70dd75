"""The seed of everything random in the tests: the same at each run, or what ISOXIDE_TEST_SEED says."""

import os
import secrets

#: A run that fails by chance tells nothing about the change at hand, so new seeds are drawn by `make test-search` only.
DEFAULT = 20261128


def chosen(value: str) -> int:
    """Return the seed that a value of ISOXIDE_TEST_SEED names: a number, a new one for "random", the default for ""."""
    if value == "random":
        return secrets.randbelow(2**32)
    return int(value) if value else DEFAULT


SEED = chosen(os.environ.get("ISOXIDE_TEST_SEED", ""))
