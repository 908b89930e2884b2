"""Text in the columns of a terminal: wide characters take two, combining ones none."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size


def columns_of(text: str) -> int:
    """Return the number of columns that a text takes."""
    return cell_len(text)


def padded(text: str, columns: int) -> str:
    """Return a text with spaces up to a number of columns; a longer one stays whole."""
    return text + " " * (columns - cell_len(text))


def cropped(text: str, columns: int) -> str:
    """Return as much of a text as fits into a number of columns."""
    return text if cell_len(text) <= columns else set_cell_size(text, columns)
