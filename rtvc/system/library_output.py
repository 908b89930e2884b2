"""Keep what libraries print away from standard output."""

from __future__ import annotations

import os
import sys
from io import FileIO


def separate_library_output() -> None:
    """Discard what libraries print on descriptor 1 from now on; what Python prints still appears.

    On macOS PortAudio prints warnings and errors of Core Audio there, at any time: into the
    panel, and between the lines of JSON that another program reads. Elsewhere nothing is changed.
    Call it before other threads print.
    """
    if sys.platform != "darwin":
        return
    try:
        if sys.stdout.fileno() != 1:
            return
        file = sys.stdout.buffer
    except (AttributeError, OSError, ValueError):  # closed, or replaced
        return
    sys.stdout.flush()
    # The same object continues with another descriptor: some keep a reference to sys.stdout.
    FileIO.__init__(getattr(file, "raw", file), os.dup(1), "w", closefd=False)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
