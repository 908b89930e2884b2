"""Automatic level: holds the loudness of speech at a target."""

from __future__ import annotations

import math

import numpy as np

from rtvc._types import Float64
from rtvc.engine.dsp.biquad import Cascade, Section

K_WEIGHTING: tuple[Section, Section] = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585),
    (1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621),
)
"""The filters of ITU-R BS.1770 at 48 kHz."""
OFF = -40.0
"""Target that switches it off, in LUFS."""
_FLOOR = -50.0
"""Loudness in LUFS below which a frame is a pause."""
_BELOW = 20.0
"""A frame that is this far below the mean, in LU, is a pause."""
_LOST = 500
"""Frames of such pauses in a row, 5 s, after which the loudness is measured from the start."""
_FRAMES, _FIRST = 300, 30
"""Frames of 10 ms over which the loudness is averaged, and that are needed at first."""
_UP_DB, _DOWN_DB, _BACK_DB = 0.06, 0.12, 0.3
"""Largest change of the gain per frame: up 6 dB/s, down 12 dB/s, and 30 dB/s when switched off."""


def loudness(power: float) -> float:
    """Return the loudness of a mean power after K-weighting, in LUFS."""
    return -0.691 + 10 * math.log10(power + 1e-12)


class AutoLevel:
    """Moves the gain slowly so that the mean loudness of the last 3 s of speech is the target.

    Pauses change neither mean nor gain. It adds no delay.

    Parameters
    ----------
    rate
        Samples per second, 48000.
    """

    def __init__(self, rate: int) -> None:
        self._frame = rate // 100
        self._filter = Cascade()
        self._power, self._count, self._lost = 0.0, 0, 0
        self._gain_db = 0.0
        self._active = False

    def process(self, audio: Float64, target: float, largest_db: float) -> Float64:
        """Return the next block, whole 10 ms frames; `audio` itself while it is off.

        Parameters
        ----------
        audio
            (samples,).
        target
            Loudness in LUFS, `OFF` = off.
        largest_db
            Largest gain, and largest reduction, in dB.
        """
        on = target > OFF
        if not self._active:
            if not on:
                return audio
            self._filter = Cascade(*K_WEIGHTING)
            self._power, self._count, self._lost, self._active = 0.0, 0, 0, True
        weighted = self._filter.process(audio).reshape(-1, self._frame)
        gains = [self._gain_db]
        for power in np.mean(weighted * weighted, axis=1).tolist():
            gains.append(self._next(power, target, largest_db) if on else self._return())
            self._gain_db = gains[-1]
        self._active = on or self._gain_db != 0.0
        edges = np.arange(len(gains)) * self._frame
        line = np.interp(np.arange(1, len(audio) + 1), edges, 10 ** (np.array(gains) / 20))
        leveled: Float64 = audio * line
        return leveled

    def _next(self, power: float, target: float, largest_db: float) -> float:
        """Measure a frame and return its gain in dB."""
        now = loudness(power)
        if now < _FLOOR:
            return self._gain_db
        if self._count and now < loudness(self._power) - _BELOW:
            self._lost += 1
            if self._lost == _LOST:
                self._count = 0
            return self._gain_db
        self._lost = 0
        self._count = min(self._count + 1, _FRAMES)
        self._power += (power - self._power) / self._count
        if self._count < _FIRST:
            return self._gain_db
        wanted = min(max(target - loudness(self._power), -largest_db), largest_db)
        return self._gain_db + min(max(wanted - self._gain_db, -_DOWN_DB), _UP_DB)

    def _return(self) -> float:
        return self._gain_db - min(max(self._gain_db, -_BACK_DB), _BACK_DB)
