"""Clock drift between two devices: measure it and compensate it by a resampling ratio."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from rtvc.audio.resample import MAX_TRIM

UPDATE_S = 1.0
"""Period of the measurements."""
WINDOW_S = 180.0
"""Time over which the drift is fitted."""
FIRST_FIT_S = 3.0
"""Time until the first fit."""
RECOVERY = 0.1
"""Share of a deviation that is corrected per second, too slow to be audible."""
STEEPEST = 75e-6
"""Largest change of the ratio per update: a faster one would be audible in a pure tone."""
SLIP_S = 4e-3
"""No clock drifts this far in one update: samples were lost, or a device was late. What is
uncertain because of the times of the looks comes on top."""
LARGEST_SLIP_S = 15e-3
"""A larger one is always a loss."""
_RECURRING = 3
"""Slips in a window from which on they are part of a clock's course, as of a timer that is
corrected in steps."""
_NEVER = float("inf")
_ROUGH_S = 0.5e-3
"""Error of a measurement that is not uncertain."""


class _Clock:
    """What the looks at one device's count tell about its clock."""

    def __init__(self) -> None:
        self._before: float | None = None
        self._highest, self._lowest, self._block = -_NEVER, _NEVER, _NEVER

    def look(self, now: float, count_s: float) -> None:
        """Add the count of the device at a time, both in seconds."""
        ahead = count_s - now
        self._highest, self._lowest = max(self._highest, ahead), min(self._lowest, ahead)
        if self._before is not None and count_s > self._before:
            self._block = min(self._block, count_s - self._before)
        self._before = count_s

    def take(self) -> tuple[float, float]:
        """Return how far the clock is ahead, and how uncertain that is, since the last call.

        A count advances by blocks and can be read too late, but never too early. So the most
        advanced reading counts, and it does not matter how late the others were. Looks at
        irregular times are up to a block late, and the most advanced one is exact. Looks at
        equal distances may all be late; then the clock is between the most advanced reading and
        what a block later than the least advanced one would show.
        """
        uncertain = max(self._block - (self._highest - self._lowest), 0.0)
        uncertain = uncertain if self._block < UPDATE_S else 0.0
        ahead = self._highest + uncertain / 2
        self._highest, self._lowest, self._block = -_NEVER, _NEVER, _NEVER
        return ahead, uncertain


class _Point(NamedTuple):
    """A measurement: time, audio between the clocks, the slip before it, and its uncertainty."""

    time: float
    between: float
    slip: float
    uncertain: float


class ClockTrim:
    """Keeps the amount of audio between two clocks constant.

    It compares how much audio the input device has delivered with how much the
    output device has played. The devices count both, not the ring buffers, so that
    the engine's blocks and its reaction to late steps do not disturb the loop.

    Attributes
    ----------
    trim
        Surplus output to produce, as a fraction, for `EdgeResampler.trim`.
    """

    def __init__(self) -> None:
        self.trim = 0.0
        self._rate = 0.0
        self._added = 0.0
        self._captured, self._played = _Clock(), _Clock()
        self._began: float | None = None
        self._anchor: float | None = None
        self._points: deque[_Point] = deque()

    @property
    def drift_ppm(self) -> float:
        """How much faster the output's clock runs than the input's, in parts per million."""
        return self._rate * 1e6

    def observe(self, now: float, captured_s: float, played_s: float) -> bool:
        """Add one observation; call it every few milliseconds.

        Parameters
        ----------
        now
            Seconds on a monotonic clock.
        captured_s, played_s
            Seconds of audio that the input has delivered and the output has played,
            each at its own nominal sample rate.

        Returns
        -------
        bool
            Whether `trim` has changed.
        """
        if self._began is None:
            self._began = now
        self._captured.look(now, captured_s)
        self._played.look(now, played_s)
        elapsed = now - self._began
        if elapsed < UPDATE_S:
            return False
        (captured, its), (played, other) = self._captured.take(), self._played.take()
        self._began = now
        self._added += self.trim * elapsed
        return self._update(now, captured - played, its + other)

    def _update(self, now: float, between: float, uncertain: float) -> bool:
        if self._anchor is None:
            self._anchor = between
        slip = self._slip(between, uncertain)
        self._points.append(_Point(now, between, slip, uncertain))
        while now - self._points[0].time > WINDOW_S:
            self._points.popleft()
        recurring = self._recurring()
        if abs(slip) > LARGEST_SLIP_S or not recurring:
            self._anchor += slip
        if now - self._points[0].time < FIRST_FIT_S:
            return False
        self._rate = min(max(self._fit(recurring), -MAX_TRIM), MAX_TRIM)
        missing = self._anchor - (between + self._added)
        # What may only be uncertain is not corrected.
        missing -= min(max(missing, -uncertain / 2), uncertain / 2)
        wanted = min(max(self._rate + RECOVERY * missing, -MAX_TRIM), MAX_TRIM)
        self.trim += min(max(wanted - self.trim, -STEEPEST), STEEPEST)
        return True

    def _slip(self, between: float, uncertain: float) -> float:
        """Return by how much the clocks jumped since the last point, 0 if that may be drift."""
        if not self._points:
            return 0.0
        last = self._points[-1]
        limit = min(SLIP_S + max(uncertain, last.uncertain), LARGEST_SLIP_S)
        change = between - last.between
        return change if abs(change) > limit else 0.0

    def _recurring(self) -> bool:
        slips = [point.slip for point in self._points if 0 < abs(point.slip) <= LARGEST_SLIP_S]
        return len(slips) >= _RECURRING

    def _fit(self, recurring: bool) -> float:
        """Return the drift as a fraction: the slope of what is between the clocks, negated."""
        times, between, slips, uncertain = np.array(self._points).T
        keep = np.abs(slips) <= LARGEST_SLIP_S if recurring else np.zeros(len(slips), bool)
        y = between - np.cumsum(np.where(keep, 0.0, slips))
        weights = 1.0 / (_ROUGH_S**2 + uncertain**2)
        weights /= weights.sum()
        t = times - weights @ times
        return -float((weights * t) @ (y - weights @ y) / ((weights * t) @ t))
