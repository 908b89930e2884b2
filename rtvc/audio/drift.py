"""Two devices, two clocks: how much faster one runs, and the trim that hides it."""

from __future__ import annotations

from rtvc.audio.resample import MAX_TRIM

UPDATE_S = 1.0
"""Observations are averaged for so long, which evens out when each was made."""
BANDWIDTH = 0.05
"""Natural frequency of the loop in rad/s: slow enough that no one hears it work."""
SLIP_S = 4e-3
"""No clock drifts this far in one update: sound was lost, and the loop starts over from there."""


class _Clock:
    """A device's clock that shows only whole blocks, read between them by the steady clock."""

    def __init__(self) -> None:
        self._count, self._since = -1.0, 0.0

    def read(self, now: float, count_s: float) -> float:
        if count_s != self._count:
            self._count, self._since = count_s, now
        return self._count + now - self._since


class ClockTrim:
    """Keeps the sound between two clocks constant by a slow, critically damped loop.

    It compares how much the input device has delivered with how much the output
    device has taken, counted by the devices and not at the rings, so the
    engine's blocks and its own decisions about lateness do not disturb it.

    Attributes
    ----------
    trim
        Surplus output to make, as a fraction, for `EdgeResampler.trim`.
    drift_ppm
        How much faster the output's clock runs than the input's.
    """

    def __init__(self) -> None:
        self.trim = 0.0
        self._captured, self._played = _Clock(), _Clock()
        self._rate = 0.0
        self._added = 0.0
        self._anchor: float | None = None
        self._last_mean = 0.0
        self._sum, self._count = 0.0, 0
        self._began: float | None = None

    @property
    def drift_ppm(self) -> float:
        """Parts per million, as settled so far."""
        return self._rate * 1e6

    def observe(self, now: float, captured_s: float, played_s: float) -> bool:
        """Take one observation; call it every few milliseconds.

        Parameters
        ----------
        now
            Seconds on a steady clock.
        captured_s, played_s
            Seconds of sound that the input has delivered and the output taken,
            each by its own nominal rate.

        Returns
        -------
        bool
            Whether `trim` has changed.
        """
        if self._began is None:
            self._began = now
        self._sum += self._captured.read(now, captured_s) - self._played.read(now, played_s)
        self._count += 1
        elapsed = now - self._began
        if elapsed < UPDATE_S:
            return False
        mean = self._sum / self._count
        self._sum, self._count, self._began = 0.0, 0, now
        self._added += self.trim * elapsed
        if self._anchor is None or abs(mean - self._last_mean) > SLIP_S:
            self._anchor = mean + self._added
            self._last_mean = mean
            return False
        self._last_mean = mean
        missing = self._anchor - (mean + self._added)
        self._rate += BANDWIDTH**2 * elapsed * missing
        self._rate = min(max(self._rate, -MAX_TRIM), MAX_TRIM)
        self.trim = min(max(self._rate + 2 * BANDWIDTH * missing, -MAX_TRIM), MAX_TRIM)
        return True
