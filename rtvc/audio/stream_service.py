"""The thread that services open streams every few milliseconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rtvc.audio.duplex import Duplex
from rtvc.system.audio_priority import make_thread_realtime

TICK_S = 0.0025
"""Period of the service thread: half the time for which the callback may lack an action."""
STALL_TIMEOUT_S = 0.4
"""A device whose frame count stands still this long is lost, even if PortAudio calls it active."""
STARVED_S = 1.5
"""Seconds without a run of the service thread, while its watcher runs, that count as a failure."""
_UNWATCHED_S = 0.2
"""Seconds between two calls of the watcher that show a pause of the whole program."""
_JOIN_S = 0.5


class StreamService:
    """Services the streams, and finds out that a device is lost.

    Parameters
    ----------
    check
        Called with the streams; returns a message if they must not be used any more, else "".

    Attributes
    ----------
    lost
        Why the streams are not used any more, "" while they are. The thread has ended then.
    """

    def __init__(self, check: Callable[[Duplex], str]) -> None:
        self._check = check
        self._thread: threading.Thread | None = None
        self._stop_requested = threading.Event()
        self._ticks = self._seen = 0
        self._looked = self._ran = 0.0
        self.lost = ""

    def start(self, duplex: Duplex, tick: Callable[[], None]) -> None:
        """Service these streams, and call `tick` every `TICK_S` seconds."""
        self.lost = ""
        self._stop_requested = threading.Event()
        self._thread = threading.Thread(
            target=self._run,
            args=(duplex, tick, self._stop_requested),
            name="rtvc audio",
            daemon=True,
        )
        self._thread.start()

    def problem(self, now: float) -> str:
        """Return `lost`, or that the thread does not run; call it at least ten times a second.

        A thread in real time can wait for its processor, and any thread for a library, for good.
        The streams are then not supplied, and nothing else would notice it.

        Parameters
        ----------
        now
            Seconds on a monotonic clock.
        """
        if self._ticks != self._seen or now - self._looked > _UNWATCHED_S:
            self._seen, self._ran = self._ticks, now
        self._looked = now
        if self.lost or now - self._ran <= STARVED_S:
            return self.lost
        return f"The thread that serves the devices has not run for {STARVED_S:g} s."

    def stop(self) -> None:
        """End the thread; safe to repeat."""
        self._stop_requested.set()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)
        self._thread = None

    def _run(
        self, duplex: Duplex, tick: Callable[[], None], stop_requested: threading.Event
    ) -> None:
        """Run in real time: a late call would cause an underrun."""
        make_thread_realtime()
        lost = ""
        try:
            while not stop_requested.is_set():
                time.sleep(TICK_S)
                self._ticks += 1
                duplex.service()
                if lost := duplex.lost(STALL_TIMEOUT_S) or self._check(duplex):
                    break
                tick()
        except Exception as error:
            # As with a lost device: the engine reconnects, which starts this thread again.
            lost = f"The audio service failed ({type(error).__name__}: {error})."
        if not stop_requested.is_set():  # else it may be about streams before those of now
            self.lost = lost
