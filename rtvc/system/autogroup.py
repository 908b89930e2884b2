"""Priority of this process's session among other sessions, on Linux.

With autogrouping, which desktop kernels enable, niceness counts only among the processes of one
session, such as a terminal. The session as a whole has a niceness of its own.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_FILE = Path("/proc/self/autogroup")
_ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")


def session_niceness() -> int | None:
    """Return the niceness of this session; None where sessions have none."""
    with suppress(OSError, ValueError):
        found = re.fullmatch(r"/autogroup-\d+ nice (-?\d+)\n?", _FILE.read_text())
        if found and int(_ENABLED.read_text()):
            return int(found[1])
    return None


def set_session_niceness(niceness: int) -> None:
    """Set the niceness of this session; without permission (``ulimit -e``) nothing changes."""
    with suppress(OSError):
        _FILE.write_text(str(niceness))
