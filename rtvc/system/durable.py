"""Make files survive a loss of power: what was written is on the disk before it is renamed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def flush_file(path: Path) -> None:
    """Wait until the content of a file is on the disk.

    Raises
    ------
    OSError
        If it cannot be written, which network disks and quotas report only now.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        flush_file(path)
