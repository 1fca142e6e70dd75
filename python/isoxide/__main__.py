"""``python -m isoxide``."""

import sys

from isoxide._cli import main

sys.exit(main())
