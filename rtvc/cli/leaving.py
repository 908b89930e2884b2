"""The end of the program, which threads that hang inside a library do not delay."""

from __future__ import annotations

import os
import sys

from rtvc.system.abandoned import abandoned_threads

_REST_LIMIT_S = 0.2
"""Time for the threads that load and compute voices to end what they do."""


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
    _leave(code)


def leave_if_busy(code: int) -> None:
    """End the process at once with an exit code if a thread still loads or computes a voice.

    Nobody needs the result any more, and Python's own end would wait for it, for seconds. Only
    where nothing follows in this process.
    """
    pool = sys.modules.get("rtvc.engine.thread_pool")
    if pool is not None and not pool.all_rest(_REST_LIMIT_S):
        _leave(code)


def _leave(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)
