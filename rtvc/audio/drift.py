"""Clock drift between two devices: measure it and compensate it by a resampling ratio."""

from __future__ import annotations

from collections import deque

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
"""No clock drifts this far in one update: samples were lost, or a device was late."""
LARGEST_SLIP_S = 15e-3
"""A larger one is always a loss."""
_RECURRING = 3
"""Slips in a window from which on they are part of a clock's course, as of a timer that is
corrected in steps."""


class ClockTrim:
    """Keeps the amount of audio between two clocks constant.

    It compares how much audio the input device has delivered with how much the
    output device has played. The devices count both, not the ring buffers, so that
    the engine's blocks and its reaction to late steps do not disturb the loop.

    A count can be read too late, but never too early. So the most advanced reading of each
    update counts, and it does not matter how late the others were.

    Attributes
    ----------
    trim
        Surplus output to produce, as a fraction, for `EdgeResampler.trim`.
    """

    def __init__(self) -> None:
        self.trim = 0.0
        self._rate = 0.0
        self._added = 0.0
        self._captured = self._played = float("-inf")
        self._began: float | None = None
        self._anchor: float | None = None
        self._points: deque[tuple[float, float, float]] = deque()
        """Time, audio between the clocks, and the slip before it, in seconds."""

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
        self._captured = max(self._captured, captured_s - now)
        self._played = max(self._played, played_s - now)
        elapsed = now - self._began
        if elapsed < UPDATE_S:
            return False
        between = self._captured - self._played
        self._captured = self._played = float("-inf")
        self._began = now
        self._added += self.trim * elapsed
        return self._update(now, between)

    def _update(self, now: float, between: float) -> bool:
        if self._anchor is None:
            self._anchor = between
        slip = 0.0
        if self._points:
            # The last point was `elapsed` ago; what the clocks drift meanwhile is no slip.
            change = between - self._points[-1][1]
            slip = change if abs(change) > SLIP_S else 0.0
        self._points.append((now, between, slip))
        while now - self._points[0][0] > WINDOW_S:
            self._points.popleft()
        recurring = self._recurring()
        if abs(slip) > LARGEST_SLIP_S or not recurring:
            self._anchor += slip
        if now - self._points[0][0] < FIRST_FIT_S:
            return False
        self._rate = min(max(self._fit(recurring), -MAX_TRIM), MAX_TRIM)
        missing = self._anchor - (between + self._added)
        wanted = min(max(self._rate + RECOVERY * missing, -MAX_TRIM), MAX_TRIM)
        self.trim += min(max(wanted - self.trim, -STEEPEST), STEEPEST)
        return True

    def _recurring(self) -> bool:
        slips = [slip for _, _, slip in self._points if 0 < abs(slip) <= LARGEST_SLIP_S]
        return len(slips) >= _RECURRING

    def _fit(self, recurring: bool) -> float:
        """Return the drift as a fraction: the slope of what is between the clocks, negated."""
        times, between, slips = np.array(self._points).T
        keep = np.abs(slips) <= LARGEST_SLIP_S if recurring else np.zeros(len(slips), bool)
        lost = np.cumsum(np.where(keep, 0.0, slips))
        t, y = times - times.mean(), between - lost
        return -float(t @ (y - y.mean()) / (t @ t))
