"""Set the seed of everything random in the tests: the same in every run, unless ISOXIDE_TEST_SEED gives another."""

import os
import secrets

#: A run that fails by chance tells nothing about the change at hand, so new seeds are drawn by `make test-search` only.
DEFAULT = 20261128


def parse_seed(value: str) -> int:
    """Return the seed for a value of ISOXIDE_TEST_SEED: a number, a new one for "random", or the default for ""."""
    if value == "random":
        return secrets.randbelow(2**32)
    return int(value) if value else DEFAULT


SEED = parse_seed(os.environ.get("ISOXIDE_TEST_SEED", ""))
