"""When to try again to open a device that was lost."""

from __future__ import annotations

import time
from collections.abc import Callable

from rtvc.audio.sound_system import DeviceMarks, device_marks, server_is_down

_FIRST_S = 0.05
_LONGEST_S = 1.0
_SERVER_DOWN_S = 5.0
"""Longest pause while the sound server is known not to run: its start ends the pause."""
_LOOK_S = 0.1
"""Time between two looks at the system's devices."""


class ReopenSchedule:
    """Allows the first attempt at once, and the next after a pause that grows with each failure.

    When the system's devices or its sound server change, the pause ends. Looking at them takes
    microseconds; an attempt takes milliseconds, and memory that the system's libraries lose.

    Parameters
    ----------
    clock
        Returns a monotonic time in seconds.
    server_devices
        Returns the devices of the sound server as far as they are known, at once; a value that
        is equal as long as they are the same.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        server_devices: Callable[[], object] = lambda: None,
    ) -> None:
        self._clock, self._server_devices = clock, server_devices
        self._pause = _FIRST_S
        self._next = self._next_look = 0.0
        self._marks: tuple[DeviceMarks, object] = DeviceMarks(), None

    def due(self) -> bool:
        """Return whether to try now."""
        now = self._clock()
        if now >= self._next:
            return True
        if now < self._next_look:
            return False
        self._next_look = now + _LOOK_S
        if self._look() == self._marks:
            return False
        self._pause = _FIRST_S
        return True

    def failed(self) -> None:
        """Plan the next attempt after one that has failed."""
        now = self._clock()
        self._marks = self._look()
        longest = _SERVER_DOWN_S if server_is_down() else _LONGEST_S
        self._next, self._next_look = now + min(self._pause, longest), now + _LOOK_S
        self._pause *= 2

    def _look(self) -> tuple[DeviceMarks, object]:
        return device_marks(), self._server_devices()
