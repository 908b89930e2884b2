"""From the input f0 to the target f0: pitch shift, its limit, range, tuning and fixed pitch."""

from __future__ import annotations

import math

import numpy as np

from rtvc._types import Float64
from rtvc.engine.dsp.tune import Tuner, scale_mask
from rtvc.scales import scale_notes
from rtvc.settings import SETTINGS, Settings

MELODY_SETTINGS = 9
SHIFT, LOWEST, RANGE, FIX, FIXED, WHISPER, TUNE, SPEED, SCALE = range(MELODY_SETTINGS)

GLIDE_FRAMES = 2
"""Frames of 10 ms over which a setting moves to its new value (20 ms)."""

MEAN_FRAMES = 400
"""Voiced frames of 10 ms over which the mean pitch adapts (4 s)."""

LOWEST_HZ, HIGHEST_HZ = 25.0, 2000.0
"""Range of the target f0."""


class MelodySettings:
    """The settings that determine the target f0, per frame.

    A changed value is approached linearly; the scale changes at once.

    Parameters
    ----------
    settings
        Settings at the start of the stream.
    glide_frames
        Frames over which a setting moves to its new value.
    """

    def __init__(self, settings: Settings, glide_frames: int = GLIDE_FRAMES) -> None:
        self._glide_frames = glide_frames
        self._last = np.zeros(MELODY_SETTINGS)
        self._last = self._targets(settings)
        self._reached: Settings | None = None
        """The settings whose values the last frames have, if they are known."""

    def hold(self, frames: int) -> Float64:
        """Return the unchanged values for the next frames, (frames, 9)."""
        return np.repeat(self._last[None], frames, axis=0)

    def glide(self, frames: int, settings: Settings) -> Float64:
        """Return the values for the next frames while they move to `settings`, (frames, 9)."""
        if settings is self._reached:
            return self.hold(frames)
        target = self._targets(settings)
        if np.array_equal(target, self._last):
            self._reached = settings
            return self.hold(frames)
        self._reached = None
        start = self._last
        start[SCALE] = target[SCALE]
        if start[FIX] == 0:
            # The fixed pitch was off, so its old value must not affect the glide.
            start[FIXED] = target[FIXED]
        if start[LOWEST] == 0:
            start[LOWEST] = target[LOWEST]
        progress = np.minimum(np.arange(1, frames + 1) / self._glide_frames, 1.0)[:, None]
        values: Float64 = np.where(progress < 1, start + (target - start) * progress, target)
        self._last = values[-1].copy()
        return values

    def _targets(self, settings: Settings) -> Float64:
        fixed = settings.pitch_fixed
        return np.array(
            [
                settings.pitch + settings.pitch_fine / 100,
                np.log2(settings.pitch_lowest) if settings.pitch_lowest > 0 else 0.0,
                settings.pitch_range,
                float(fixed > 0),
                np.log2(fixed) if fixed > 0 else self._last[FIXED],
                float(settings.whisper),
                settings.tune,
                settings.tune_speed / 1000,
                scale_mask(scale_notes(settings.scale, settings.key)),
            ]
        )


class MeanPitch:
    """Running mean of the pitch in octaves above 1 Hz.

    It is the mean of all voiced frames up to `frames` of them, then an exponential mean over
    about `frames`.

    Parameters
    ----------
    frames
        Voiced frames over which it adapts.
    """

    def __init__(self, frames: int = MEAN_FRAMES) -> None:
        self._frames = frames
        self._octave, self._count = 0.0, 0

    @property
    def octave(self) -> float | None:
        """The mean, None before the first voiced frame."""
        return self._octave if self._count else None

    def copy(self) -> MeanPitch:
        """Return an independent copy."""
        other = MeanPitch(self._frames)
        other._octave, other._count = self._octave, self._count
        return other

    def follow(self, other: MeanPitch) -> None:
        """Continue with the mean of another one, whose frames may have another length."""
        self._octave = other._octave
        self._count = round(other._count * self._frames / other._frames)

    def update(self, hz: Float64) -> Float64:
        """Add frames and return the mean at each of them.

        Parameters
        ----------
        hz
            (n,) f0 in Hz, 0 = unvoiced.

        Returns
        -------
        ndarray
            (n,) in octaves above 1 Hz, 0 where unvoiced.
        """
        mean = np.zeros(len(hz))
        voiced = np.flatnonzero(hz)
        followed = []
        for octave in np.log2(hz[voiced]).tolist():
            self._count = min(self._count + 1, self._frames)
            self._octave += (octave - self._octave) / self._count
            followed.append(self._octave)
        mean[voiced] = followed
        return mean


def limited_shift(mean: Float64, values: Float64) -> Float64:
    """Return the pitch shift in semitones, (n,), that keeps the mean pitch above the limit.

    A shift upwards is not changed, nor is one that is 0. Without a limit, and in unvoiced frames
    (`mean` is 0), it is the shift of the settings.

    Parameters
    ----------
    mean
        Mean pitch of the input, as `MeanPitch.update` gives it, (n,).
    values
        Settings at each frame, as `MelodySettings` gives them, (n, 9).
    """
    shift, lowest = values[:, SHIFT], values[:, LOWEST]
    limited: Float64 = np.where((lowest > 0) & (mean > 0), _limited(shift, lowest, mean), shift)
    return limited


def _limited(
    shift: Float64 | float, lowest: Float64 | float, mean: Float64 | float
) -> Float64 | float:
    """Return what is left of a shift in semitones; lowest and mean pitch in octaves."""
    limited: Float64 | float = np.maximum(shift, np.minimum(12.0 * (lowest - mean), 0.0))
    return limited


def limited_pitch(settings: Settings, mean: MeanPitch) -> Settings:
    """Return the settings with what `limited_shift` leaves of their pitch shift."""
    shift, octave = settings.pitch + settings.pitch_fine / 100, mean.octave
    if settings.pitch_lowest <= 0 or shift >= 0 or octave is None:
        return settings
    limited = float(_limited(shift, math.log2(settings.pitch_lowest), octave))
    if limited == shift:
        return settings
    return settings.replace(pitch=max(limited, SETTINGS["pitch"].low), pitch_fine=0.0)


def target_f0(hz: Float64, mean: Float64, values: Float64, tuner: Tuner) -> Float64:
    """Return the target f0.

    Parameters
    ----------
    hz
        Input f0 in Hz, (n,), 0 = unvoiced.
    mean
        Middle of the melody at each frame, as `MeanPitch.update` gives it, (n,).
    values
        Settings at each frame, as `MelodySettings` gives them, (n, 9).
    tuner
        Corrects the pitch; it is advanced by these frames.

    Returns
    -------
    ndarray
        (n,) in Hz, 25 to 2000; 0 where unvoiced or whispered.
    """
    octave = np.log2(np.where(hz > 0, hz, 1.0))
    followed = mean + values[:, RANGE] * (octave - mean)
    followed += limited_shift(mean, values) / 12
    followed = tuner.update(followed, hz > 0, *values[:, TUNE:].T)
    output_f0 = followed + values[:, FIX] * (values[:, FIXED] - followed)
    audible = (hz > 0) & (values[:, WHISPER] < 1)
    return np.where(audible, np.clip(2.0**output_f0, LOWEST_HZ, HIGHEST_HZ), 0.0)
