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
        self.reset()

    def reset(self) -> None:
        """Count from now on."""
        self._frames = 0
        self._advanced = self._checked = time.monotonic()

    def lost(self, timeout: float) -> str:
        """Return a sentence if the device is gone or has counted no frames for so long, else ""."""
        now = time.monotonic()
        # A process that was stopped itself has not seen whether the device went on.
        paused = now - self._checked > timeout / 2
        self._checked = now
        if not self.stream.active:
            return f"{self.name!r} was lost: it was unplugged or its sound server ended"
        frames = self.stream.counters().frames
        if frames != self._frames or paused:
            self._frames, self._advanced = frames, now
        elif now - self._advanced > timeout:
            return f"{self.name!r} was lost: no sound has flowed for {timeout:g} s"
        return ""
