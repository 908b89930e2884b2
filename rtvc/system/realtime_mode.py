"""Settings of process and interpreter for threads with deadlines."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rtvc.system.mac_power import live_activity
from rtvc.system.thread_priority import ProcessPriority

SWITCH_INTERVAL_S = 0.00005
"""Switch interval of the interpreter; Python's default is 5 ms.

A step reacquires the GIL about fifty times, and waits for one interval each time if another thread
is computing."""


_lock = threading.Lock()
_contexts = 0
"""Contexts in force."""
_restoring = ExitStack()
"""Restores the process when it is closed."""


@contextmanager
def realtime_mode() -> Iterator[None]:
    """Raise the priority of the process, shorten the switch interval, disable the collector.

    On macOS the process does not nap meanwhile. The previous state is restored at the end of the
    context; of contexts that overlap, as those of two sessions, at the end of the last one. A full
    garbage collection would stop all threads for 100 ms. Objects alive at the start are not
    collected in the context.
    """
    global _contexts  # noqa: PLW0603
    with _lock:
        if not _contexts:
            _restoring.enter_context(_changed_process())
        _contexts += 1
    try:
        yield
    finally:
        with _lock:
            _contexts -= 1
            if not _contexts:
                _restoring.close()


@contextmanager
def _changed_process() -> Iterator[None]:
    interval, collecting = sys.getswitchinterval(), gc.isenabled()
    priority = ProcessPriority()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with live_activity():
            yield
    finally:
        priority.restore()
        sys.setswitchinterval(interval)
        gc.unfreeze()
        if collecting:
            gc.enable()
