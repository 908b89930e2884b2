"""The folder of a file that is to be written."""

from __future__ import annotations

from pathlib import Path

from rtvc.errors import UsageError


def require_folder_of(path: Path) -> None:
    """Check that the folder of a file exists.

    Raises
    ------
    UsageError
        If it does not.
    """
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for {path.name}; create it first.")
