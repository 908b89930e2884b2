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
    """

    def __init__(self, stream: DeviceStream, name: str) -> None:
        self.stream = stream
        self.name = name
        self.reset()

    def reset(self) -> None:
        """Start the timeout again."""
        self._frames = 0
        self._advanced = self._checked = time.monotonic()

    def lost(self, timeout: float) -> str:
        """Return a message if the device was lost, else "".

        It was lost if PortAudio ended the stream, or if its frame count has not changed
        for `timeout` seconds.
        """
        now = time.monotonic()
        # While this process was suspended, nothing observed the frame count.
        paused = now - self._checked > timeout / 2
        self._checked = now
        if not self.stream.active:
            return f"{self.name!r} was lost: it was unplugged or its sound server ended."
        frames = self.stream.counters().frames
        if frames != self._frames or paused:
            self._frames, self._advanced = frames, now
        elif now - self._advanced > timeout:
            return f"{self.name!r} was lost: its stream has stalled for {timeout:g} s."
        return ""
