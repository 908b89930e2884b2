"""Pitch correction: moves the target f0 to the notes of a scale."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float64

_C0 = math.log2(440.0) - 4.75
"""C0 in octaves above 1 Hz, at A4 = 440 Hz."""
_SWITCH = 0.15 / 12
"""Octaves beyond the middle between two notes at which the other note is taken (15 cents)."""
_LEAP = 1.0 / 12
"""Difference from the smoothed pitch, in octaves, that begins another note at once."""
_SMOOTHING_S = 0.030
"""Largest time constant of the pitch that decides the note, in seconds."""


class Tuner:
    """Corrects the target f0; one value per voiced frame, carried from block to block.

    The correction is the distance from the target f0 to the nearest note, smoothed by a one-pole
    filter with the time constant `tune_speed`. So it follows slow deviations, and keeps what is
    faster: vibrato, and glides between notes. The first frame of a voiced sound gets its full
    correction.

    Parameters
    ----------
    frame_s
        Seconds per frame.
    """

    def __init__(self, frame_s: float) -> None:
        self._frame_s = frame_s
        self._voiced = False
        self._smoothed = self._correction = self._note = 0.0

    @property
    def active(self) -> bool:
        """Whether the newest frame was corrected."""
        return self._voiced

    def copy(self) -> Tuner:
        """Return an independent copy."""
        other = Tuner(self._frame_s)
        other._voiced = self._voiced
        other._smoothed, other._correction = self._smoothed, self._correction
        other._note = self._note
        return other

    def update(
        self,
        octaves: Float64,
        voiced: NDArray[np.bool_],
        tune: Float64,
        speed: Float64,
        scale: Float64,
    ) -> Float64:
        """Add frames and return their f0 with the correction.

        Parameters
        ----------
        octaves
            (n,) target f0 in octaves above 1 Hz.
        voiced
            (n,) bool.
        tune
            (n,) share of the correction, 0 to 1.
        speed
            (n,) time constant in seconds.
        scale
            (n,) notes of the scale as the sum of 2 to the power of each, C = 0.

        Returns
        -------
        ndarray
            (n,) in octaves above 1 Hz; `octaves` itself if `tune` is 0 in all frames.
        """
        if not tune.any():
            self._voiced = False
            return octaves
        tuned = octaves.copy()
        frames = zip(
            *(values.tolist() for values in (octaves, voiced, tune, speed, scale)), strict=True
        )
        for k, (octave, sounding, amount, seconds, mask) in enumerate(frames):
            if not sounding or amount == 0.0:
                self._voiced = False
                continue
            tuned[k] = octave + amount * self._next(octave, seconds, int(mask))
        return tuned

    def _next(self, octave: float, seconds: float, mask: int) -> float:
        """Return the correction of the next voiced frame in octaves."""
        if not self._voiced or abs(octave - self._smoothed) > _LEAP:
            self._smoothed = octave
        else:
            self._smoothed += self._share(min(seconds, _SMOOTHING_S)) * (octave - self._smoothed)
        near = _nearest(self._smoothed, mask)
        # Hysteresis: a pitch that wavers between two notes keeps the present one.
        stays = self._voiced and _contains(self._note, mask)
        if not stays or abs(self._smoothed - near) < abs(self._smoothed - self._note) - 2 * _SWITCH:
            self._note = near
        wanted = self._note - octave
        if self._voiced:
            self._correction += self._share(seconds) * (wanted - self._correction)
        else:
            self._correction = wanted
        self._voiced = True
        return self._correction

    def _share(self, seconds: float) -> float:
        """Return how far a frame moves a smoothed value, for a time constant."""
        return 1.0 - math.exp(-self._frame_s / seconds) if seconds > 0 else 1.0


def scale_mask(notes: tuple[int, ...]) -> float:
    """Return notes, as semitones above C, as the number that `Tuner.update` takes."""
    return float(sum(1 << note for note in notes))


def _nearest(octave: float, mask: int) -> float:
    """Return the nearest note of a scale in octaves above 1 Hz."""
    semitone = round((octave - _C0) * 12)
    exact = (octave - _C0) * 12
    notes = [at for at in range(semitone - 12, semitone + 13) if mask >> (at % 12) & 1]
    return _C0 + min(notes, key=lambda note: abs(note - exact)) / 12


def _contains(note: float, mask: int) -> bool:
    return bool(mask >> (round((note - _C0) * 12) % 12) & 1)
