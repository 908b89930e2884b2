"""A paste whose end never comes, after which no key would act any more, not even mute."""

from __future__ import annotations

import time
from collections.abc import Callable

START, END = "\x1b[200~", "\x1b[201~"
_LONGEST_PAUSE_S = 2.0
"""Pause in a paste after which its end is lost."""


class OpenPaste:
    """Ends a paste that is open and has paused for long.

    Parameters
    ----------
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tail = ""
        self._open = False
        self._arrived = float("-inf")

    def complete(self, text: str) -> str:
        """Return what has arrived, "" for nothing, with the missing end of a paste."""
        now = self._clock()
        if not text:
            if not self._open or now - self._arrived < _LONGEST_PAUSE_S:
                return ""
            self._open, self._tail = False, ""
            return END
        self._arrived = now
        seen = self._tail + text
        start, end = seen.rfind(START), seen.rfind(END)
        if start != end:  # else there is neither
            self._open = start > end
        self._tail = seen[1 - len(END) :]
        return text
