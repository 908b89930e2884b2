"""Priority of the process and of its threads: niceness on Linux, quality of service on macOS."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from rtvc.system import mac_power
from rtvc.system.autogroup import session_niceness, set_session_niceness

_PROGRAM, _ENGINE = 6, 12
"""Niceness below other programs, and of the engine thread below the process's other threads."""
_FIRST = -20
"""Lowest niceness."""

_THREADS = Path("/proc/self/task")

_before_raising: list[int] = []
"""Niceness of the process before each `ProcessPriority` in force."""


class ProcessPriority:
    """Raises the priority of all threads of this process until `restore`.

    Raising only the engine thread is not enough: it needs the GIL, and the system may suspend
    another thread that holds it for tens of milliseconds. The priority of the session, such as a
    terminal, is raised too: see `rtvc.system.autogroup`. Linux only. Without
    permission (``ulimit -e``) nothing changes.
    """

    def __init__(self) -> None:
        self._before = {thread: _niceness(thread) for thread in threads()}
        self._usual = _niceness(os.getpid()) if self._before else 0
        for thread, niceness in self._before.items():
            _set(thread, niceness - _PROGRAM)
        _before_raising.append(self._usual)
        session = session_niceness() if self._before else None
        # A lower one has been set by another run in this session.
        self._session = session if session is not None and session >= 0 else None
        if self._session is not None:
            set_session_niceness(self._session - _PROGRAM)

    def restore(self) -> None:
        """Restore the previous priority, for threads started since too."""
        _before_raising.remove(self._usual)
        for thread in threads():
            _set(thread, self._before.get(thread, self._usual))
        if self._session is not None:
            set_session_niceness(self._session)


def reset_thread_priority() -> None:
    """Give the calling thread and its helper threads the usual priority of the process.

    Call it first in a new thread, which inherits the niceness of the thread that started it: that
    may be the engine thread. This also sets the thread's name, which its own new threads inherit;
    by it the functions below find the helper threads, which libraries start. MLX computes on one.
    """
    if sys.platform.startswith("linux"):
        own = threading.get_native_id()
        if _name(own) != _family(own):
            with suppress(OSError):
                _name_file(own).write_text(_family(own))
        _set_family(_niceness(os.getpid()))
    mac_power.treat_as_usual()


def raise_thread_priority() -> None:
    """Raise the calling thread and its helper threads above the process's other threads.

    On macOS only the calling thread, whose helper is the GPU's driver.
    """
    mac_power.prefer_this_thread()
    if sys.platform.startswith("linux"):
        _set_family(_niceness(os.getpid()) - _ENGINE)


def yield_thread_priority() -> None:
    """Give the calling thread and its helper threads the priority of other programs.

    `raise_thread_priority` reverts it: nothing changes where the priority could not be raised.
    """
    if sys.platform.startswith("linux") and _before_raising:
        _set_family(_before_raising[0])
    mac_power.treat_as_usual()


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


def _set_family(niceness: int) -> None:
    """Set the niceness of the calling thread and of its helper threads."""
    own = threading.get_native_id()
    for thread in threads():
        if thread == own or _name(thread) == _family(own):
            _set(thread, niceness)


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
