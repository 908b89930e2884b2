"""``python -m rtvc``."""

import sys

from rtvc.cli.guard import main

if __name__ == "__main__":
    sys.exit(main())
