"""Scheduling of threads that feed the audio: in real time on Linux, preferred on macOS."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rtvc.system.mac_power import prefer_this_thread
from rtvc.system.thread_priority import renamed_thread, thread_name, threads

_CALLBACK, _CLIENT, _SERVICE = 15, 16, 17
"""SCHED_FIFO priorities: above computing threads, below the sound server.

A callback thread polls without a pause while it has no frames, so the thread that receives them
from the sound server must be able to take its processor, and so must the one that watches it."""
_LIMIT_S = 0.5
"""Longest computation in real time without a pause."""


def make_thread_realtime() -> None:
    """Schedule the calling thread in real time, if the system permits it.

    Use it only for threads that run briefly and often. A computing thread would block a core
    for all others. macOS prefers the thread, as `raise_thread_priority` does.
    """
    prefer_this_thread()
    if hasattr(os, "sched_setscheduler"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_SERVICE))


@contextmanager
def realtime_threads() -> Iterator[None]:
    """Schedule the threads that a library starts in the context in real time, if permitted.

    On Linux, PortAudio's callback and the client library of the sound server run on ordinary
    threads, which a busy machine delays by tens of milliseconds. macOS schedules its audio
    threads with deadlines.

    Only threads that the calling thread has started count, by the name that they inherit, and
    those that a library has given a name of its own. Python threads and the helpers of a BLAS,
    which another thread may start meanwhile, are not changed: computing ones would block a core.
    Where there is only one processor, callback threads are not changed either.
    """
    before = set(threads())
    # What could end the polling of a callback waits for the interpreter lock, and thereby for
    # threads that the callback would keep from the only processor.
    polling_allowed = len(os.sched_getaffinity(0)) > 1 if sys.platform == "linux" else True
    mark = f"rtvc:{threading.get_native_id()}"
    with renamed_thread(mark):
        yield
        ours = {thread.native_id for thread in threading.enumerate() if thread.native_id}
        inherited = {thread_name(thread) for thread in ours} - {mark}
        for thread in set(threads()) - before - ours:
            name = thread_name(thread)
            if name not in inherited and not name.startswith("rtvc "):
                if name == mark and not polling_allowed:
                    continue
                priority = _CALLBACK if name == mark else _CLIENT
                # It fails without permission (ulimit -r), and for a thread that has ended.
                with suppress(OSError):
                    os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))


def limit_realtime_threads() -> None:
    """Schedule threads as usual once one has computed in real time for half a second.

    Without a pause, it would take the processor from every other program. Those of the lowest
    priority come first: usually a callback that polls, and the threads that supply it must be able
    to interrupt it when its stream is started again, which gets real time again. Call it in the
    main thread, which must not wait for long in C code. Linux only.
    """
    if not sys.platform.startswith("linux"):
        return
    signal.signal(signal.SIGXCPU, lambda *_: _end_real_time())
    _limit_real_time()


def _limit_real_time() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    soft = round(1e6 * _LIMIT_S)
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_RTTIME, (soft, hard))


def _end_real_time() -> None:
    priorities: dict[int, int] = {}
    for thread in threads():
        # It fails for a thread that has ended.
        with suppress(OSError):
            if os.sched_getscheduler(thread) == os.SCHED_FIFO:
                priorities[thread] = os.sched_getparam(thread).sched_priority
    for thread, priority in priorities.items():
        if priority == min(priorities.values()):
            with suppress(OSError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
    # Last, as the kernel has raised it by a second: a thread that still computes in real time would
    # exceed it again at once, and the next signal would interrupt this and end the next priority.
    _limit_real_time()
