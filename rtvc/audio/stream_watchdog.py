"""Whether an open stream still lives."""

from __future__ import annotations

import time

from rtvc.audio.streams import DeviceStream


class StreamWatchdog:
    """Watches one stream by its clock.

    Parameters
    ----------
    stream
        What is watched.
    name
        Its device's, for messages.
    """

    def __init__(self, stream: DeviceStream, name: str) -> None:
        self.stream = stream
        self.name = name
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self._frames = 0
        self._since = self._looked = time.monotonic()

    def lost(self, silent_s: float) -> str:
        """Return a sentence if the device is gone or has counted no frames for so long, else ""."""
        now = time.monotonic()
        # A process that was stopped itself has not seen whether the device went on.
        paused = now - self._looked > silent_s / 2
        self._looked = now
        if not self.stream.active:
            return f"{self.name!r} was lost: it was unplugged or its sound server ended"
        frames = self.stream.counters().frames
        if frames != self._frames or paused:
            self._frames, self._since = frames, now
        elif now - self._since > silent_s:
            return f"{self.name!r} was lost: no sound has flowed for {silent_s:g} s"
        return ""
