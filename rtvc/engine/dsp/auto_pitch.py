"""Automatic transposition: moves the median of your pitch to that of the voice."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from rtvc.settings import Settings

WINDOW_S = 20.0
"""Voiced time over which the median is taken, in seconds."""
FIRST_S = 2.0
"""Voiced time that is needed at first."""
_HYSTERESIS = 0.7
"""Semitones by which the median must move until the transposition follows it."""
_SPEED = 4.0
"""Semitones per second by which the transposition moves."""
_LARGEST = 24.0


class AutoPitch:
    """Measures the input f0, one value per block, and chooses the transposition.

    While ``auto_pitch`` is on and has a target, the transposition replaces ``pitch`` as soon as
    there has been enough voiced sound.
    """

    def __init__(self) -> None:
        self._voiced: deque[tuple[float, int]] = deque()
        """f0 in octaves above 1 Hz, and duration in ms, of the newest voiced blocks."""
        self._voiced_ms = 0
        self._median = 0.0
        """The median that the transposition follows, in octaves above 1 Hz, if it is known."""
        self._shift = 0.0
        self._known = False
        self._used: dict[float, tuple[Settings, Settings]] = {}
        """The settings of the last call by transposition: those of the user, and those to use."""

    @property
    def semitones(self) -> float | None:
        """The transposition, None while there is none; it may be in use or not."""
        return self._shift if self._known else None

    def use(self, settings: Settings) -> Settings:
        """Return the settings with the transposition in place of their pitch."""
        if not self._known or not in_force(settings):
            return settings
        last = self._used.get(self._shift)
        if last is None or last[0] is not settings:
            last = settings, settings.replace(pitch=self._shift)
            self._used = {self._shift: last}
        return last[1]

    def update(self, input_f0_hz: float, seconds: float, settings: Settings) -> None:
        """Add a block.

        Parameters
        ----------
        input_f0_hz
            f0 at the end of the block in Hz, 0 = unvoiced.
        seconds
            Duration of the block.
        settings
            The settings of the user.
        """
        if settings.auto_pitch != "on" or not in_force(settings):
            return
        if input_f0_hz > 0:
            block = math.log2(input_f0_hz), round(1000 * seconds)
            self._voiced.append(block)
            self._voiced_ms += block[1]
            while self._voiced_ms > 1000 * WINDOW_S:
                self._voiced_ms -= self._voiced.popleft()[1]
            if self._voiced_ms >= 1000 * FIRST_S:
                self._follow(float(np.median([octave for octave, _ in self._voiced])), settings)
        if self._known:
            goal, step = shift_to(settings.auto_pitch_target, self._median), _SPEED * seconds
            self._shift += min(max(goal - self._shift, -step), step)

    def _follow(self, median: float, settings: Settings) -> None:
        """Follow a median in octaves above 1 Hz, unless it is near the last one."""
        if not self._known:
            # It begins at the pitch that was heard until now.
            self._shift, self._known = settings.pitch, True
            self._median = median
        elif abs(median - self._median) > _HYSTERESIS / 12:
            self._median = median


def in_force(settings: Settings) -> bool:
    """Return whether the settings ask for an automatic transposition."""
    return settings.auto_pitch != "off" and settings.auto_pitch_target > 0


def shift_to(target_hz: float, octave: float) -> float:
    """Return the transposition in semitones to a target, from octaves above 1 Hz."""
    shift = 12 * (math.log2(target_hz) - octave)
    return round(min(max(shift, -_LARGEST), _LARGEST), 1)
