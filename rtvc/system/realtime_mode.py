"""Settings of process and interpreter for threads with deadlines."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rtvc.system.mac_power import live_activity
from rtvc.system.thread_priority import ProcessPriority

SWITCH_INTERVAL_S = 0.00005
"""Switch interval of the interpreter; Python's default is 5 ms.

A step reacquires the GIL about fifty times, and waits for one interval each time if another thread
is computing."""


@contextmanager
def realtime_mode() -> Iterator[None]:
    """Raise the priority of the process, shorten the switch interval, disable the collector.

    On macOS the process does not nap meanwhile. The previous state is restored at the end of the
    context. A full garbage collection would stop all threads for 100 ms. Objects alive at the
    start are not collected in the context.
    """
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
