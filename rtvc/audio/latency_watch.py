"""Watches whether the latency of a session is what it states, from the sound itself."""

from __future__ import annotations

import statistics
import threading
from collections import deque
from collections.abc import Callable

from rtvc.audio.delay_monitor import DelayMonitor
from rtvc.system.thread_priority import lower_thread_priority

TOLERANCE_S = 0.020
"""Deviation from the stated latency that is a fault."""
_AGREEING = 3
"""Consecutive estimates that must agree on a fault."""
_SPREAD_S = 0.010
_PERIOD_S = 1.0
_MAX_RESYNCS = 3


class LatencyWatch:
    """Compares the delay between input and output with the stated latency.

    It needs about ten seconds of speech for an estimate, and says nothing where the input and
    the output have too little in common for a reliable one.

    Parameters
    ----------
    monitor
        Keeps input and output.
    stated
        Returns the stated latency without the devices in seconds, 0 if it is not known.
    resync
        Called after a fault with a sentence about it; corrects the latency.

    Attributes
    ----------
    faults
        Times that the latency was not the stated one.
    """

    def __init__(
        self,
        monitor: DelayMonitor,
        stated: Callable[[], float],
        resync: Callable[[str], object],
    ) -> None:
        self._monitor = monitor
        self._stated_latency = stated
        self._resync = resync
        self._stated = 0.0
        self._deviations: deque[float] = deque(maxlen=_AGREEING)
        self._resyncs = 0
        self._message = ""
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self.faults = 0

    @property
    def estimate(self) -> float | None:
        """The latency without the devices as estimated last, in seconds; None if unknown."""
        known = list(self._deviations)
        return self._stated + statistics.median(known) if known else None

    def start(self) -> None:
        """Check once a second, on a thread, until `stop`."""
        self._thread = threading.Thread(target=self._run, name="rtvc latency", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def take_message(self) -> str:
        """Return what was wrong and what was done, once; "" if nothing."""
        message, self._message = self._message, ""
        return message

    def check(self) -> None:
        """Estimate the latency if enough sound has been collected, and act on a fault."""
        stated = self._stated_latency()
        if stated != self._stated:
            self._stated = stated
            self._deviations.clear()
        window = self._monitor.take_window(stated) if stated else None
        if window is None:
            return
        estimate = window.estimate()
        if not estimate.reliable:
            return
        self._deviations.append(estimate.seconds)
        deviations = self._deviations
        if (
            len(deviations) == _AGREEING
            and min(map(abs, deviations)) > TOLERANCE_S
            and max(deviations) - min(deviations) < _SPREAD_S
        ):
            self._correct(stated, statistics.median(deviations))

    def _correct(self, stated: float, deviation: float) -> None:
        self.faults += 1
        self._deviations.clear()
        was = (
            f"The latency was {1000 * (stated + deviation):.0f} ms instead of "
            f"{1000 * stated:.0f} ms, without the devices."
        )
        if self._resyncs == _MAX_RESYNCS:
            self._message = f"{was} Restart rtvc."
            return
        self._resyncs += 1
        self._message = f"{was} rtvc synchronises again."
        self._resync(was)
        self._monitor.restart()

    def _run(self) -> None:
        lower_thread_priority()  # an estimate takes tens of milliseconds, and nothing waits for it
        while not self._ending.wait(_PERIOD_S):
            self.check()
