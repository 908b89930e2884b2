"""``python -m rtvc``."""

import sys

from rtvc.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
