"""What tells two versions of a file apart."""

from __future__ import annotations

from pathlib import Path

FileVersion = tuple[int, int, int]
"""Inode, time of the last change in nanoseconds, and size in bytes."""


def file_version(path: Path) -> FileVersion | None:
    """Return what differs between two versions of a file, None if it cannot be found."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size
