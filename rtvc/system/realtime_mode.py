"""What else keeps the interpreter from a thread that has deadlines, put off."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rtvc.system.thread_priority import ProcessPriority

SWITCH_INTERVAL_S = 0.00005
"""How long a thread may keep the interpreter from the engine; Python's default is 5 ms.

A step takes the lock back some fifty times, each time after so long if another thread computes."""


@contextmanager
def realtime_mode() -> Iterator[None]:
    """Go before other programs, hand the interpreter over quickly, and collect no garbage.

    All while the context is open. A full collection stops every thread for 100 ms; what is
    alive at the start stays alive.
    """
    interval, collecting = sys.getswitchinterval(), gc.isenabled()
    precedence = ProcessPriority()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        precedence.restore()
        sys.setswitchinterval(interval)
        gc.unfreeze()
        if collecting:
            gc.enable()
