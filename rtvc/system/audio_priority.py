"""Real-time scheduling for the threads that move sound."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rtvc.system.thread_priority import threads

_PRIORITY = 15
"""Above everything that computes, below the sound server itself."""


def make_thread_realtime() -> None:
    """Schedule the calling thread in real time, where the system allows.

    For a thread that does little, often and in time; one that computes would keep
    a processor from everything else.
    """
    if hasattr(os, "sched_setscheduler"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY - 5))


@contextmanager
def realtime_threads() -> Iterator[None]:
    """Schedule the threads that a library starts meanwhile in real time, where the system allows.

    On Linux PortAudio's callback and the sound server's client library run on
    ordinary threads, which a busy machine holds up for tens of milliseconds.
    macOS gives its audio threads a deadline by itself. Python's own threads stay
    as they are: one that computes could keep a processor to itself.
    """
    before = set(threads())
    yield
    ours = {thread.native_id for thread in threading.enumerate()}
    for thread in set(threads()) - before - ours:
        # Without the right to (ulimit -r) they stay as they are; a thread may have ended.
        with suppress(OSError):
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(_PRIORITY))
