"""Scheduling priority (niceness) of the process and of its threads, on Linux."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

_PROGRAM, _ENGINE = 6, 12
"""Niceness below other programs, and of the engine thread below the process's other threads."""
_FIRST = -20
"""Lowest niceness."""

_THREADS = Path("/proc/self/task")


class ProcessPriority:
    """Raises the priority of all threads of this process until `restore`.

    Raising only the engine thread is not enough: it needs the GIL, and the system may suspend
    another thread that holds it for tens of milliseconds. Linux only; macOS gives audio threads
    priority by other means. Without permission (``ulimit -e``) nothing changes.
    """

    def __init__(self) -> None:
        self._before = {thread: _niceness(thread) for thread in threads()}
        self._usual = _niceness(os.getpid()) if self._before else 0
        for thread, niceness in self._before.items():
            _set(thread, niceness - _PROGRAM)

    def restore(self) -> None:
        """Restore the previous priority, for threads started since too."""
        for thread in threads():
            _set(thread, self._before.get(thread, self._usual))


def reset_thread_priority() -> None:
    """Give the calling thread the usual priority of the process; call it first in the thread.

    A new thread inherits the niceness of the thread that started it, which may be the engine
    thread. This also sets the thread's name, which its own new threads inherit; by it
    `raise_thread_priority` finds them.
    """
    if sys.platform.startswith("linux"):
        thread = threading.get_native_id()
        _set(thread, _niceness(os.getpid()))
        with suppress(OSError):
            _name_file(thread).write_text(_family(thread))


def raise_thread_priority() -> None:
    """Raise the calling thread and its helper threads above the process's other threads.

    Helper threads are the threads that libraries started from it since `reset_thread_priority`;
    MLX computes on one.
    """
    if sys.platform.startswith("linux"):
        own = threading.get_native_id()
        niceness = _niceness(os.getpid()) - _ENGINE
        for thread in threads():
            if thread == own or _name(thread) == _family(own):
                _set(thread, niceness)


def lower_thread_priority() -> None:
    """Give the calling thread the priority of other programs."""
    if sys.platform.startswith("linux"):
        _set(threading.get_native_id(), _niceness(threading.get_native_id()) + _PROGRAM)


def threads() -> list[int]:
    """Return the native ids of all threads of this process; empty except on Linux."""
    if not sys.platform.startswith("linux"):
        return []
    with suppress(OSError):
        return [int(entry.name) for entry in _THREADS.iterdir()]
    return []


def _family(thread: int) -> str:
    """Return the name that the threads started by `thread` inherit."""
    return f"rtvc {thread}"


def _name(thread: int) -> str:
    with suppress(OSError):
        return _name_file(thread).read_text().rstrip("\n")
    return ""


def _name_file(thread: int) -> Path:
    return _THREADS / str(thread) / "comm"


def _niceness(thread: int) -> int:
    with suppress(OSError):
        return os.getpriority(os.PRIO_PROCESS, thread)
    return 0


def _set(thread: int, niceness: int) -> None:
    # A thread may have ended.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness, _FIRST))
