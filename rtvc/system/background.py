"""Threads that build something while another thread has deadlines: they pause while it works.

Both need the interpreter lock. A thread that waits for it fifty times in a step waits for
whatever the other one does meanwhile, and for its turn on a processor.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_LONGEST_S = 0.2
"""Longest pause: a thread that pauses may hold a lock that the other one needs."""

_idle = threading.Event()
_idle.set()
_lock = threading.Lock()
_urgent: set[object] = set()
"""A mark for each context of `urgent` that a thread is in."""


@contextmanager
def urgent() -> Iterator[None]:
    """Let background threads pause in the context, which lasts some milliseconds."""
    mark = object()
    with _lock:
        _urgent.add(mark)
        _idle.clear()
    try:
        yield
    finally:
        with _lock:
            _urgent.remove(mark)
            if not _urgent:
                _idle.set()


def pause_when_urgent() -> None:
    """Make the calling thread pause, at its next call of a function, while something is urgent."""
    sys.setprofile(_pause)


def pauses() -> bool:
    """Return whether the calling thread pauses while something is urgent."""
    return sys.getprofile() is _pause


def pause_no_more() -> None:
    """Undo `pause_when_urgent`."""
    sys.setprofile(None)


def _pause(frame: FrameType, event: str, argument: Any) -> None:
    if not _idle.is_set():
        _idle.wait(_LONGEST_S)
