"""The seed of everything random in the tests, set by ISOXIDE_TEST_SEED."""

import os
import secrets

SEED = int(os.environ.get("ISOXIDE_TEST_SEED") or secrets.randbelow(2**32))
