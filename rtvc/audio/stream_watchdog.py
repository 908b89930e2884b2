"""Detect that the device of an open stream was lost."""

from __future__ import annotations

import time
from collections import deque
from itertools import pairwise

from rtvc.audio.streams import DeviceStream

RATE_ERROR = 0.02
"""Deviation from the rate at which a stream counts as lost."""
_PARTS, _PART_S = 4, 0.5
"""The deviation must be in all of these parts of two seconds: a stall is in one or two of them."""


class StreamWatchdog:
    """Detects a lost device by the frame count of its stream.

    Parameters
    ----------
    stream
        The stream to watch.
    name
        The device's name, for messages.

    Attributes
    ----------
    interrupted_s
        Seconds for which neither this process nor the stream ran before the last call of
        `lost`, as when the program is stopped or the machine sleeps; 0 if it was not.
    """

    def __init__(self, stream: DeviceStream, name: str) -> None:
        self.stream = stream
        self.name = name
        self.reset()

    def reset(self) -> None:
        """Start the timeout again."""
        self.interrupted_s = 0.0
        self._frames = self.stream.counters().frames
        self._advanced = self._checked = wake_clock()
        self._marks: deque[tuple[float, int]] = deque(maxlen=_PARTS + 1)

    def lost(self, timeout: float) -> str:
        """Return a message if the device was lost, else "".

        It was lost if PortAudio ended the stream, if its frame count has not changed for
        `timeout` seconds, or if its frames have come at a wrong rate for two seconds: Bluetooth
        headphones that change to the quality of a call have half as many.
        """
        now = wake_clock()
        # While this process was suspended, nothing observed the frame count.
        elapsed = now - self._checked
        paused = elapsed > timeout / 2
        self._checked = now
        self.interrupted_s = 0.0
        if not self.stream.active:
            return f"{self.name!r} was lost: it was unplugged or its sound server ended."
        frames = self.stream.counters().frames
        if paused:
            missed = elapsed - (frames - self._frames) / self.stream.spec.rate
            self.interrupted_s = missed if missed > timeout / 2 else 0.0
        if paused:
            self._marks.clear()
        if frames != self._frames or paused:
            self._frames, self._advanced = frames, now
            return self._wrong_rate(now, frames)
        if now - self._advanced > timeout:
            return f"{self.name!r} was lost: its stream has stalled for {timeout:g} s."
        return ""

    def _wrong_rate(self, now: float, frames: int) -> str:
        """Return a message if the rate is wrong; call it when the count has just changed."""
        marks = self._marks
        if self.stream.spec.fixed_rate or (marks and now - marks[-1][0] < _PART_S):
            return ""
        marks.append((now, frames))
        if len(marks) <= _PARTS:
            return ""
        rate = self.stream.spec.rate
        errors = [
            (later[1] - earlier[1]) / (rate * (later[0] - earlier[0])) - 1.0
            for earlier, later in pairwise(marks)
        ]
        measured = (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])
        same_way = all(error > RATE_ERROR / 2 for error in errors) or all(
            error < -RATE_ERROR / 2 for error in errors
        )
        if not same_way or abs(measured / rate - 1.0) <= RATE_ERROR:
            return ""
        return (
            f"{self.name!r} was lost: it runs at about {rate * (1 + errors[-1]):.0f} Hz instead of "
            f"{rate} Hz, as when a call changes the quality of Bluetooth headphones."
        )


def wake_clock() -> float:
    """Return monotonic seconds that include the time for which the machine sleeps."""
    # Linux counts that in CLOCK_BOOTTIME only, macOS in CLOCK_MONOTONIC.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
