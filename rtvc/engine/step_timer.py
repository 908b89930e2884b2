"""Distribution of durations over the newest blocks."""

from __future__ import annotations

import numpy as np

from rtvc.stats import Times

_BLOCKS = 600


class StepTimer:
    """Percentiles of a duration over the newest 600 blocks, and the maximum since the start."""

    def __init__(self) -> None:
        self._ring = np.zeros(_BLOCKS)
        self._count = 0
        self._max = 0.0

    def add(self, seconds: float) -> None:
        """Add one duration in seconds."""
        self._ring[self._count % _BLOCKS] = seconds
        self._count += 1
        self._max = max(self._max, seconds)

    def read(self) -> Times:
        """Return the distribution; all 0 before the first duration."""
        if not self._count:
            return Times()
        known = self._ring[: min(self._count, _BLOCKS)]
        p50, p95, p99 = np.percentile(known, (50, 95, 99)).tolist()
        return Times(p50, p95, p99, self._max)
