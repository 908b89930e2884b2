"""Who goes first when processors are scarce, as far as the system lets a program ask for it."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

_PROGRAM, _ENGINE = 6, 12
"""Steps of niceness before other programs, and before the program's other threads."""
_FIRST = -20

_THREADS = Path("/proc/self/task")


class ProcessPriority:
    """Puts all of this program before others that compute, until it is given back.

    The engine needs the interpreter's lock, and whoever holds it may be put aside by the
    system for tens of milliseconds: so it is not enough that the engine itself goes first.
    Linux only: on macOS audio programs go first by other means. Without the right to
    (``ulimit -e``) everything stays as it is.
    """

    def __init__(self) -> None:
        self._before = {thread: _niceness(thread) for thread in threads()}
        self._usual = _niceness(os.getpid()) if self._before else 0
        for thread, niceness in self._before.items():
            _set(thread, niceness - _PROGRAM)

    def restore(self) -> None:
        """Go back to where the program was; threads that have begun since go there too."""
        for thread in threads():
            _set(thread, self._before.get(thread, self._usual))


def reset_thread_priority() -> None:
    """Let the calling thread, just begun, be like the program's others.

    A thread has the niceness of the one that started it, which may be the engine's; and its
    name, by which `raise_thread_priority` knows whom it has started.
    """
    if sys.platform.startswith("linux"):
        thread = threading.get_native_id()
        _set(thread, _niceness(os.getpid()))
        with suppress(OSError):
            _name_file(thread).write_text(_family(thread))


def raise_thread_priority() -> None:
    """Let the calling thread go before the program's others, with those that work for it.

    Those are the threads that libraries have started on it since `reset_thread_priority`: MLX
    computes on one.
    """
    if sys.platform.startswith("linux"):
        own = threading.get_native_id()
        niceness = _niceness(os.getpid()) - _ENGINE
        for thread in threads():
            if thread == own or _name(thread) == _family(own):
                _set(thread, niceness)


def lower_thread_priority() -> None:
    """Put the calling thread where it would be without the program's precedence."""
    if sys.platform.startswith("linux"):
        _set(threading.get_native_id(), _niceness(threading.get_native_id()) + _PROGRAM)


def threads() -> list[int]:
    """Return the native ids of this program's threads, those of libraries too; Linux only."""
    if not sys.platform.startswith("linux"):
        return []
    with suppress(OSError):
        return [int(entry.name) for entry in _THREADS.iterdir()]
    return []


def _family(thread: int) -> str:
    """Return the name that a thread gives to those that it starts."""
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
