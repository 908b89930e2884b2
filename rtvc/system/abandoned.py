"""Threads that did not respond in time and are no longer waited for."""

from __future__ import annotations

import threading

_abandoned: list[threading.Thread] = []
_lock = threading.Lock()


def abandon_thread(thread: threading.Thread) -> None:
    """Register a thread that will not be waited for; it may never end."""
    with _lock:
        _abandoned.append(thread)


def abandoned_threads() -> list[threading.Thread]:
    """Return the abandoned threads that are still alive.

    A thread inside a library cannot be ended. While the interpreter shuts down it may crash the
    program or keep it from ending, so leave with ``os._exit`` if there are any.
    """
    with _lock:
        _abandoned[:] = [thread for thread in _abandoned if thread.is_alive()]
        return list(_abandoned)
