"""Compare the levels of a recording and of its converted result, window by window."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32, Float64

_WINDOW = 4800
"""Samples of a window, 100 ms."""
_LOUD_SHARE = 95
_SOUND_BELOW_DB = 30.0
"""Distance from the loud parts of the input within which a window has sound, not noise."""
_SILENCE_DB = -85.0
"""Level up to which an input is silent whatever its loud parts are."""
_LOST_DB = 40.0
"""Loss of level from which the sound of a window is gone."""


class LevelComparison:
    """RMS levels of two signals at one sample rate, aligned and pushed in any pieces."""

    def __init__(self) -> None:
        self._input, self._output = _Levels(), _Levels()

    def push_input(self, samples: Float32) -> None:
        """Add (n,) samples of the input."""
        self._input.push(samples)

    def push_output(self, samples: Float32) -> None:
        """Add (n,) samples of the output."""
        self._output.push(samples)

    def lost_share(self, gain_db: float) -> float:
        """Return the share of the input's windows with sound that have none in the output.

        Parameters
        ----------
        gain_db
            Gain between the two that is intended.
        """
        before, after = self._input.read(), self._output.read()
        windows = min(len(before), len(after))
        if not windows:
            return 0.0
        before, after = before[:windows], after[:windows]
        floor = max(_SILENCE_DB, float(np.percentile(before, _LOUD_SHARE)) - _SOUND_BELOW_DB)
        sounding = before > floor
        if not sounding.any():
            return 0.0
        lost = after[sounding] < before[sounding] + min(gain_db, 0.0) - _LOST_DB
        return float(lost.mean())


class _Levels:
    """Levels of a signal in dBFS, one per window."""

    def __init__(self) -> None:
        self._pending: Float32 = np.empty(0, np.float32)
        self._power: list[float] = []

    def push(self, samples: Float32) -> None:
        joined = np.concatenate([self._pending, samples])
        whole = len(joined) // _WINDOW * _WINDOW
        windows = joined[:whole].reshape(-1, _WINDOW)
        self._power += np.var(windows, axis=1, dtype=np.float64).tolist()  # no constant offset
        self._pending = joined[whole:]

    def read(self) -> Float64:
        power = [*self._power]
        if 2 * len(self._pending) >= _WINDOW:  # a few samples have no level of their own
            power.append(float(np.var(self._pending, dtype=np.float64)))
        return 10 * np.log10(np.array(power) + 1e-20)
