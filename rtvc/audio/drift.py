"""Clock drift between two devices: measure it and compensate it by a resampling ratio."""

from __future__ import annotations

from rtvc.audio.resample import MAX_TRIM

UPDATE_S = 1.0
"""Period over which observations are averaged; this removes the jitter of the polling times."""
BANDWIDTH = 0.05
"""Natural frequency of the loop in rad/s, too slow for its corrections to be audible."""
SLIP_S = 4e-3
"""No clock drifts this far in one update: samples were lost, and the loop starts again."""


class _Clock:
    """A device's sample clock.

    The device counts in whole blocks; the monotonic clock interpolates between them.
    """

    def __init__(self) -> None:
        self._count, self._since = -1.0, 0.0

    def read(self, now: float, count_s: float) -> float:
        if count_s != self._count:
            self._count, self._since = count_s, now
        return self._count + now - self._since


class ClockTrim:
    """Keeps the amount of audio between two clocks constant: a slow, critically damped loop.

    It compares how much audio the input device has delivered with how much the
    output device has played. The devices count both, not the ring buffers, so that
    the engine's blocks and its reaction to late steps do not disturb the loop.

    Attributes
    ----------
    trim
        Surplus output to produce, as a fraction, for `EdgeResampler.trim`.
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
        """The present estimate of the drift in parts per million."""
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
