"""rtvc: a live voice changer for the terminal."""

__version__ = "0.1.0"
