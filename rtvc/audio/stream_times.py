"""Holds the latency of two streams: compares the times of their frames with those at first.

Each opening of two streams leaves another latency: their callbacks have another phase, and the
sound server other buffers. Moving or suspending a stream changes it too. The ring buffers do not
show that, but the times that PortAudio gives for the frames do.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import dataclass

_KEPT = 9
"""Timed frames whose median is used: those of a second."""
_USUAL = 5
"""Readings whose median is the usual one."""
AGREEING_S = 0.004
"""Greatest difference between the latencies of two successive seconds that are the same."""
_MOST_SECONDS = 10
"""Seconds after the first start until the latency is held even if it still changes."""
LONGER_S = 0.020
"""Greatest excess that a shorter output queue makes up for, half of it the callbacks' phase."""
SHORTER_S = 0.030
"""Greatest shortfall that a longer output queue makes up for."""
_LESS_S = 0.010
"""How much less it must be again, once it was more: the callbacks' phase drifts by as much."""
_CALENDAR_S = 60.0
"""Distance from the time of the calendar within which a time is one of it."""


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A frame of a stream, and when the device records or plays it.

    Attributes
    ----------
    index
        Its number since the stream was opened.
    seconds
        The time on PortAudio's clock, which is the calendar's or a monotonic one.
    """

    index: int
    seconds: float


class FrameTimes:
    """The times of all frames of a stream, by those of the newest timed ones.

    One thread calls `add`, any thread the rest.

    Parameters
    ----------
    rate
        Frames per second.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._zeros: tuple[float, ...] = ()
        """When frame 0 was due, according to each of the newest timed frames."""
        self._timed = 0

    @property
    def seconds(self) -> int:
        """Number of seconds for which frames were timed."""
        return self._timed // _KEPT

    def add(self, frame: TimedFrame) -> None:
        """Add a timed frame, soon after its time."""
        seconds = frame.seconds
        # Sound servers under ALSA give the time of the calendar, which can be set.
        now = time.time()
        if abs(seconds - now) < _CALENDAR_S:
            seconds += time.monotonic() - now
        self._zeros = (*self._zeros[1 - _KEPT :], seconds - frame.index / self._rate)
        self._timed += 1

    def of(self, index: int) -> float | None:
        """Return the time of a frame in seconds, None if no frame was timed."""
        zeros = self._zeros
        return statistics.median(zeros) + index / self._rate if zeros else None


class LatencyOfTwo:
    """Tells how much longer the latency of two streams is than the one to hold.

    That is the one after the first start: the first second with the latency of the second before,
    since a device may need some time until its buffers have their usual length.

    Parameters
    ----------
    recorded, played
        The times of the frames of both streams.
    held_s
        What `held_s` of the streams before them was, if their latency is to be held.

    Attributes
    ----------
    held_s
        Time from a frame that has been read until the next one that is played, at the latency
        to hold, in seconds; None before it is known.
    """

    def __init__(
        self, recorded: FrameTimes, played: FrameTimes, held_s: float | None = None
    ) -> None:
        self.held_s = held_s
        self._recorded, self._played = recorded, played
        self._readings: deque[float] = deque(maxlen=_USUAL)
        self._beyond = False
        """Whether the excess is more than the output queue can make up for."""
        self._second: list[float] = []
        """Readings of the present second, until there is a latency to hold."""
        self._seconds = 0
        self._before: float | None = None

    def excess(self, read: int, played: int) -> float:
        """Return the excess in seconds, negative if the latency is shorter; 0 if it is not known.

        Where it is more than the output queue can make up for, as after a move to a slower
        device, only its changes count.

        Parameters
        ----------
        read
            Number of input frames that were read.
        played
            Number of output frames that the device has taken.
        """
        recorded_at, played_at = self._recorded.of(read), self._played.of(played)
        if recorded_at is None or played_at is None:
            return 0.0
        reading = played_at - recorded_at
        self._readings.append(reading)
        usual = statistics.median(self._readings)
        if self.held_s is None:
            self._settle(reading)
            return 0.0
        less = _LESS_S if self._beyond else 0.0
        self._beyond = not less - SHORTER_S <= usual - self.held_s <= LONGER_S - less
        return reading - (usual if self._beyond else self.held_s)

    def _settle(self, reading: float) -> None:
        self._second.append(reading)
        seconds = min(self._recorded.seconds, self._played.seconds)
        if seconds == self._seconds:
            return
        median, before = statistics.median(self._second), self._before
        same = before is not None and abs(median - before) <= AGREEING_S
        if same or seconds >= _MOST_SECONDS:
            self.held_s = median
        self._second, self._seconds, self._before = [], seconds, median
