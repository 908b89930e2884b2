"""Other processes of this machine."""

from __future__ import annotations

import contextlib
import os


def is_running(process: int) -> bool:
    """Return whether a process with this id exists, also one of another user."""
    try:
        with contextlib.suppress(PermissionError, OverflowError):
            os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
