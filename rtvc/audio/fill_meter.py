"""How much audio waits in a ring buffer, over time."""

from __future__ import annotations

import numpy as np

_VALUES = 600


class FillMeter:
    """The median of the newest 600 values, and the lowest and highest since the start."""

    def __init__(self) -> None:
        self._ring = np.zeros(_VALUES)
        self._count = 0
        self.lowest = self.highest = 0.0

    def add(self, seconds: float) -> None:
        """Add one value in seconds."""
        if not self._count:
            self.lowest = self.highest = seconds
        self._ring[self._count % _VALUES] = seconds
        self._count += 1
        self.lowest = min(self.lowest, seconds)
        self.highest = max(self.highest, seconds)

    @property
    def median(self) -> float:
        """The median of the newest values, 0 before the first one."""
        known = self._ring[: min(self._count, _VALUES)]
        return float(np.median(known)) if self._count else 0.0
