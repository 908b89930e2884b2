"""Scheduling of threads that feed the audio: in real time on Linux, preferred on macOS."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rtvc.system.mac_power import prefer_this_thread
from rtvc.system.thread_priority import renamed_thread, thread_name, threads

_PRIORITY = 15
"""SCHED_FIFO priority: above computing threads, below the sound server."""


def make_thread_realtime() -> None:
    """Schedule the calling thread in real time, if the system permits it.

    Use it only for threads that run briefly and often. A computing thread would block a core
    for all others. macOS prefers the thread, as `raise_thread_priority` does.
    """
    prefer_this_thread()
    if hasattr(os, "sched_setscheduler"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY - 5))


@contextmanager
def realtime_threads() -> Iterator[None]:
    """Schedule the threads that a library starts in the context in real time, if permitted.

    On Linux, PortAudio's callback and the client library of the sound server run on ordinary
    threads, which a busy machine delays by tens of milliseconds. macOS schedules its audio
    threads with deadlines.

    Only threads that the calling thread has started count, by the name that they inherit, and
    those that a library has given a name of its own. Python threads and the helpers of a BLAS,
    which another thread may start meanwhile, are not changed: computing ones would block a core.
    """
    before = set(threads())
    mark = f"rtvc:{threading.get_native_id()}"
    with renamed_thread(mark):
        yield
        ours = {thread.native_id for thread in threading.enumerate() if thread.native_id}
        inherited = {thread_name(thread) for thread in ours} - {mark}
        for thread in set(threads()) - before - ours:
            name = thread_name(thread)
            if name not in inherited and not name.startswith("rtvc "):
                # It fails without permission (ulimit -r), and for a thread that has ended.
                with suppress(OSError):
                    os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(_PRIORITY))
