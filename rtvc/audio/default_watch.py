"""Notice that the system's default devices have changed, where a stream does not follow them."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from rtvc.audio.devices import Direction
from rtvc.audio.sound_system import DeviceMarks, device_marks

LOOK_S = 1.0
"""Time between two looks."""


class DefaultWatch:
    """Looks at the system's default devices, in a thread of its own.

    The answer of macOS may take as long as a device needs to connect. Under a sound server, which
    moves the streams itself, there is nothing to look at, and no thread.

    Parameters
    ----------
    followed
        The directions in which the default device is used.
    """

    def __init__(self, followed: Iterable[Direction]) -> None:
        self._followed = tuple(followed)
        self._message = ""
        self._stop_requested = threading.Event()

    def start(self, first: DeviceMarks) -> None:
        """Start to look for other defaults than those of `first`, from when they were listed."""
        self.stop()
        self._stop_requested = threading.Event()
        if any(_number(first, direction) is not None for direction in self._followed):
            threading.Thread(
                target=self._run,
                args=(first, self._stop_requested),
                name="rtvc defaults",
                daemon=True,
            ).start()

    def stop(self) -> None:
        """Stop looking; safe to repeat. What has changed until then is forgotten."""
        self._stop_requested.set()
        self._message = ""

    def changed(self) -> str:
        """Return a message if a followed default is another one than at the start, else ""."""
        return self._message

    def _run(self, first: DeviceMarks, stop_requested: threading.Event) -> None:
        while not stop_requested.wait(LOOK_S):
            now = device_marks()
            for direction in self._followed:
                number = _number(now, direction)
                # There is none for a moment while the system changes to another one.
                if number in (None, 0, _number(first, direction)) or stop_requested.is_set():
                    continue
                self._message = f"The system has another default {direction} now."
                return


def _number(marks: DeviceMarks, direction: Direction) -> int | None:
    return marks.default_input if direction == "input" else marks.default_output
