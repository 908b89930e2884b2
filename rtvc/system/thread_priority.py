"""Priority of the process and of its threads: niceness on Linux, quality of service on macOS."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
        if thread_name(own) != _family(own):
            _rename(own, _family(own))
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


def thread_name(thread: int) -> str:
    """Return the name of a thread, which the threads that it starts inherit; "" if unknown."""
    with suppress(OSError):
        return _name_file(thread).read_text().rstrip("\n")
    return ""


@contextmanager
def renamed_thread(name: str) -> Iterator[None]:
    """Give the calling thread another name in the context; Linux only, at most 15 bytes."""
    own = threading.get_native_id()
    before = thread_name(own)
    _rename(own, name)
    try:
        yield
    finally:
        _rename(own, before)


def _rename(thread: int, name: str) -> None:
    with suppress(OSError):
        _name_file(thread).write_text(name)


def _family(thread: int) -> str:
    """Return the name that the threads started by `thread` inherit."""
    return f"rtvc {thread}"


def _set_family(niceness: int) -> None:
    """Set the niceness of the calling thread and of its helper threads."""
    own = threading.get_native_id()
    for thread in threads():
        if thread == own or thread_name(thread) == _family(own):
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
