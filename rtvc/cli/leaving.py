"""The end of the program, which threads that hang inside a library do not delay."""

from __future__ import annotations

import os
import sys

from rtvc.system.abandoned import abandoned_threads


def leave_if_hung(code: int) -> None:
    """End the process at once with an exit code if a thread hangs inside a library.

    Such a thread cannot be ended. Python's own end and the libraries' exit handlers would wait
    for it, or crash when it continues in what they have released. The terminal must be
    restored and all files must be closed before.
    """
    # Without live audio the module is not loaded.
    portaudio = sys.modules.get("rtvc.audio.portaudio")
    if (portaudio is None or portaudio.finish_portaudio()) and not abandoned_threads():
        return
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)
