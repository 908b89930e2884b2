"""Hold the latency of a duplex device: notice audio that piles up in it and throw it away.

A stream that was interrupted (the program was stopped, the device suspended, the stream moved
to another device, or only one callback came too late) continues where it stopped, and what the
microphone has recorded meanwhile waits in the device's or the sound server's buffer for good:
input and output advance in step. The ring buffers do not show it, but the times that
PortAudio passes to each callback do. Restarting the stream empties the buffers.
"""

from __future__ import annotations

import statistics
import time
from collections import deque

from rtvc.audio.portaudio_thread import PORTAUDIO, PendingCall
from rtvc.audio.streams import DeviceStream
from rtvc.system.audio_priority import realtime_threads

_READINGS = 3
"""Successive measurements, 0.1 s apart, that must agree."""
_SETTLING = 5
"""Measurements after the start whose median is the latency to hold."""
TOLERANCE_S = 0.004
"""Deviation that is not corrected, in seconds."""
CLOSE_S = 0.003
"""Deviation that is accepted after a restart, in seconds."""
EXCESS_S = 0.012
"""Excess that is removed even if that is audible; less waits until the output is quiet."""
WRONG_START_S = 0.015
"""Excess over the stated latency for which a stream is restarted after its start."""
_PAUSE_S = 0.3
"""Time until a restart that did not help is repeated; it doubles each time."""
_TRIES = 5
"""Successive restarts after which the latency that they leave is accepted."""
_BUDGET, _BUDGET_S = 20, 60.0
"""Most restarts within a time: a device may report its latency wrongly."""
RESTART_LIMIT_S = 2.0
_HOLD_TRIES, _HOLD_S = 3, 0.4
"""Most starts, and the longest time, until a stream has the latency that it had before."""
_PROBE_LIMIT_S = 0.2
"""Longest wait for a measurement of the latency."""


class BacklogWatch:
    """Decides from measured latencies when to restart a stream.

    The latency to hold is the one after the start. If restarts do not bring it back, as after
    a move to a slower device, the present latency becomes the one to hold.

    Parameters
    ----------
    stated_s
        The latency that the device states, in seconds; 0 if that is not comparable.

    Attributes
    ----------
    excess
        How far the latency exceeds the one to hold, in seconds.
    """

    def __init__(self, stated_s: float = 0.0) -> None:
        self.excess = 0.0
        self._stated = stated_s
        self._nominal: float | None = None
        self._first: float | None = None
        self._readings: deque[float] = deque(maxlen=_SETTLING)
        self._tries = 0
        self._restarted = float("-inf")
        self._restarts: deque[float] = deque(maxlen=_BUDGET)

    @property
    def nominal(self) -> float | None:
        """The latency to hold, in seconds; None before it is known."""
        return self._nominal

    @property
    def first(self) -> float | None:
        """The latency after the start, in seconds; None before it is known."""
        return self._first

    def hold(self, latency_s: float) -> None:
        """Hold this latency, as after a restart, not the one that is measured first."""
        self._first = latency_s
        self.moved()

    def moved(self) -> None:
        """Hold the latency after the start again, to which a move to another device was added."""
        if self._first is None:
            return
        self._nominal = self._first
        self._readings.clear()
        self.excess = 0.0
        self._tries = 1

    def observe(self, latency_s: float) -> None:
        """Add a measurement."""
        self._readings.append(latency_s)
        recent = list(self._readings)[-_READINGS:]
        if self._nominal is None and len(self._readings) == _SETTLING:
            self._settle()
        if self._nominal is None or len(recent) < _READINGS:
            return
        lowest, highest = min(recent), max(recent)
        if self._first is not None and abs(lowest - self._first) <= TOLERANCE_S:
            self._nominal = self._first  # a higher one had been accepted meanwhile
        self.excess = lowest - self._nominal
        if abs(self.excess) <= (CLOSE_S if self._tries else TOLERANCE_S):
            if len(self._readings) == _SETTLING:
                self._tries = 0
        elif highest < self._nominal and not self._tries:
            self._nominal = self._first = highest  # the one after the start was disturbed

    def due(self, now: float, *, quiet: bool) -> bool:
        """Return whether to restart the stream now.

        Parameters
        ----------
        now
            Seconds on a monotonic clock.
        quiet
            Whether the output is quiet, so that a restart is not audible.
        """
        # A restart can also leave too short a latency: a device with too small a reserve.
        deviation = abs(self.excess) if self._tries else self.excess
        accepted = CLOSE_S if self._tries else TOLERANCE_S if quiet else EXCESS_S
        if deviation <= accepted:
            return False
        if len(self._restarts) == _BUDGET and now - self._restarts[0] < _BUDGET_S:
            return False
        if now - self._restarted <= _PAUSE_S * 2**self._tries:
            return False
        self._restarts.append(now)
        return True

    def restarted(self, now: float) -> None:
        """Measure again after a restart."""
        self._restarted = now
        self._readings.clear()
        self.excess = 0.0
        self._tries += 1
        if self._tries >= _TRIES:
            self._tries, self._nominal = 0, None

    def _settle(self) -> None:
        measured = statistics.median(self._readings)
        wrong = self._stated and measured > self._stated + WRONG_START_S
        self._nominal = self._stated if wrong else measured
        self._stated = 0.0
        if self._first is None:
            self._first = self._nominal


class BacklogKeeper:
    """Holds the latency of an open duplex stream; the service thread calls `service`.

    Attributes
    ----------
    restarts
        How often the stream was restarted.
    """

    def __init__(self, stream: DeviceStream, name: str, stated_s: float) -> None:
        self._stream, self._name = stream, name
        self._watch = BacklogWatch(stated_s)
        self._restart: PendingCall[None] | None = None
        self.restarts = 0
        self._event = ""

    @property
    def held_s(self) -> float | None:
        """The latency to hold, that after the start, in seconds; None before it is known."""
        return self._watch.first

    @property
    def excess_s(self) -> float:
        """How far the latency exceeds the one to hold now, in seconds."""
        return max(0.0, self._watch.excess)

    def hold(self, latency_s: float) -> None:
        """Hold this latency, not the one that is measured first."""
        self._watch.hold(latency_s)

    def moved(self) -> None:
        """Restore the latency at once: the sound server has moved the stream."""
        self._watch.moved()

    def take_event(self) -> str:
        """Return the reason for a restart since the last call, one sentence, else ""."""
        event, self._event = self._event, ""
        return event

    @property
    def restarting(self) -> bool:
        """Whether the stream is being restarted, so that it need not be active."""
        return self._restart is not None and self._restart.began is not None

    def service(self, now: float, *, quiet: bool, interrupted_s: float) -> str:
        """Restart the stream if necessary; return a message if that failed, else "".

        Parameters
        ----------
        now
            Seconds on a monotonic clock.
        quiet
            Whether the output is quiet.
        interrupted_s
            Seconds for which the program has not run just now, else 0.
        """
        if self._restart is not None:
            return self._finish(now)
        if interrupted_s:
            self._begin(f"The program was paused for {interrupted_s:.1f} s.")
        elif (measured := self._stream.take_measured_latency()) is not None:
            self._watch.observe(measured)
            if self._watch.due(now, quiet=quiet):
                ms = round(1000 * self._watch.excess)
                self._begin(f"The latency of {self._name!r} has changed by {ms:+} ms.")
        return ""

    def abandon(self) -> None:
        """Give up a restart that has not begun: the stream is to be closed."""
        if self._restart is not None:
            self._restart.abandon()

    def _begin(self, reason: str) -> None:
        self._event = f"{reason} The stream starts again to restore the latency."
        self.restarts += 1
        self._restart = PORTAUDIO.begin(self._restart_stream, RESTART_LIMIT_S)

    def _finish(self, now: float) -> str:
        assert self._restart
        if not self._restart.wait(0.0):
            # Until it begins, as while another device takes long to open, the stream runs.
            began = self._restart.began
            late = began is not None and now - began > RESTART_LIMIT_S
            return f"{self._name!r} was lost: it does not restart." if late else ""
        restart, self._restart = self._restart, None
        try:
            restart.result()
        except Exception as error:
            return f"{self._name!r} was lost: it does not restart ({error})."
        self._watch.restarted(now)
        return ""

    def _restart_stream(self) -> None:
        with realtime_threads():  # a start makes a new callback thread
            self._stream.restart()
            if (nominal := self._watch.nominal) is not None:
                hold_latency(self._stream, nominal)


def hold_latency(stream: DeviceStream, wanted_s: float) -> None:
    """Restart a duplex stream that has just started until it has this latency.

    Each start leaves another one, by up to the device's period. It is given up after some
    restarts, and where the device passes no times.

    Parameters
    ----------
    stream
        The stream.
    wanted_s
        The latency as `DeviceStream.take_measured_latency` gives it.
    """
    deadline = time.monotonic() + _HOLD_S
    for tries in range(_HOLD_TRIES):
        if _has_latency(stream, wanted_s) is not False or time.monotonic() > deadline:
            return
        if tries < _HOLD_TRIES - 1:
            stream.restart()


def _has_latency(stream: DeviceStream, wanted_s: float) -> bool | None:
    """Return whether two measurements are close to a latency; None if there are none."""
    # The second one tells whether the first, just after the start, holds.
    for _ in range(2):
        deadline = time.monotonic() + _PROBE_LIMIT_S
        stream.take_measured_latency()
        while (measured := stream.take_measured_latency()) is None:
            if time.monotonic() > deadline:
                return None
            stream.service()
            time.sleep(0.002)
        if abs(measured - wanted_s) > CLOSE_S:
            return False
    return True
