"""Run the command: ``python -m isoxide``."""

import sys

from isoxide._cli import main

if __name__ == "__main__":
    sys.exit(main())
