"""Keys that act once, also while they are held down."""

from __future__ import annotations

import time
from collections.abc import Callable

HELD_S = 0.15
"""Presses at shorter intervals are those of a key that is held."""
SOON_S = 0.7
"""Presses at shorter intervals may be: a key that is held repeats after 0.2 to 0.7 s."""


class HeldKeys:
    """Lets a press of a key act, and what may be the repetitions of a key that is held not.

    Parameters
    ----------
    clock
        Returns a monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pressed: dict[str, float] = {}

    def press(self, key: str, act: Callable[[], str], again: str) -> str:
        """Call `act` and return its message; too soon after the last press only say `again`.

        Parameters
        ----------
        key
            The key, or its action.
        act
            What a press does.
        again
            A sentence on how to do it.
        """
        since = self._clock() - self._pressed.get(key, float("-inf"))
        try:
            if since >= SOON_S:
                return act()
            return again if since >= HELD_S else ""
        finally:
            # After the action: presses that came during it are handled now.
            self._pressed[key] = self._clock()
