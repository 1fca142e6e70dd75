"""Set the seed of everything random in the tests: the same in every run, unless ISOXIDE_TEST_SEED gives another."""

import os
import secrets

#: Only `make test-search` draws new seeds: a failure by chance would have nothing to do with the change under test.
DEFAULT = 20261128


def parse_seed(value: str) -> int:
    """Return the seed for a value of ISOXIDE_TEST_SEED: a number, a new one for "random", or the default for ""."""
    if value == "random":
        return secrets.randbelow(2**32)
    return int(value) if value else DEFAULT


SEED = parse_seed(os.environ.get("ISOXIDE_TEST_SEED", ""))
