"""Detect that the device of an open stream was lost."""

from __future__ import annotations

import time

from rtvc.audio.streams import DeviceStream


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

    def lost(self, timeout: float) -> str:
        """Return a message if the device was lost, else "".

        It was lost if PortAudio ended the stream, or if its frame count has not changed
        for `timeout` seconds.
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
        if frames != self._frames or paused:
            self._frames, self._advanced = frames, now
        elif now - self._advanced > timeout:
            return f"{self.name!r} was lost: its stream has stalled for {timeout:g} s."
        return ""


def wake_clock() -> float:
    """Return monotonic seconds that include the time for which the machine sleeps."""
    # Linux counts that in CLOCK_BOOTTIME only, macOS in CLOCK_MONOTONIC.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
