"""Effects of the settings on WORLD parameters: pitch, formants, breathiness, whisper."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rtvc._types import Float32, Float64
from rtvc.engine.dsp.melody import (
    FIX,
    WHISPER,
    MeanPitch,
    MelodySettings,
    limited_shift,
    target_f0,
)
from rtvc.engine.dsp.tune import Tuner
from rtvc.engine.world.analysis import HOP, RATE, WorldFrames
from rtvc.settings import Settings

_RAMP_FRAMES = 3
"""Frames over which a setting moves to its new value (15 ms)."""

_MEAN_FRAMES = 800
"""Voiced frames over which the mean pitch adapts (4 s)."""

_BREATH_HZ, _BREATH = (0.0, 400.0, 2000.0), (0.05, 0.3, 1.0)
"""Share of the periodic power that full breathiness replaces by noise, by frequency.

In between, the amplitude of the noise is proportional to the setting, as below 0.
"""

_LOW_DELAY_S, _LONGEST_LOW_DELAY_S = 0.0044, 0.0035
"""Delay of the low frequencies at half the pitch, and its limit.

A lower voice has longer glottal pulses, whose energy is in the low frequencies, while its formants
still start at once. With minimum phase alone, a lowered voice buzzes.
"""

_WHISPER_HZ, _WHISPER_DB = (0.0, 250.0, 1200.0, 3000.0), (-24.0, -18.0, -3.0, 0.0)
"""Gain of a whisper by frequency: it lacks the strong low harmonics of voiced speech."""

_FORMANTS_END_HZ, _UNMOVED_HZ = 3500.0, 8000.0
"""A shift downwards moves all below the first frequency and nothing above the second.

The formants lie below. Moved as a whole, the spectrum of a lowered voice would end early: at
6 kHz instead of 8 kHz for speech sampled at 16 kHz and a shift of 5 semitones.
"""

_FORMANT, _BREATHINESS = range(2)


class Effects:
    """Applies the settings to frames; changed values are approached linearly.

    Parameters
    ----------
    bins
        Frequency bins per frame.
    settings
        Settings at the start of the stream.

    Attributes
    ----------
    mean_pitch
        Mean pitch of the input.
    """

    def __init__(self, bins: int, settings: Settings) -> None:
        hz = np.arange(bins) * (RATE / 2 / (bins - 1))
        self._breath = np.interp(hz, _BREATH_HZ, _BREATH).astype(np.float32)
        tilt = np.interp(hz, _WHISPER_HZ, _WHISPER_DB) * (np.log(10.0) / 10.0)
        self._whisper = tilt.astype(np.float32)
        self.mean_pitch = MeanPitch(_MEAN_FRAMES)
        self._melody = MelodySettings(settings, _RAMP_FRAMES)
        self._tuner = Tuner(HOP / RATE)
        self._values = _targets(settings)
        self._reached: Settings | None = None
        """The settings whose values the last frames have, if they are known."""

    def apply(self, frames: WorldFrames, settings: Settings) -> WorldFrames:
        """Return the modified frames; `frames` may be changed in place."""
        values = self._glide(len(frames.hz), settings)
        melody = self._melody.glide(len(frames.hz), settings)
        spectra = frames.spectra
        if values[:, _FORMANT].any():
            spectra = _stretch(spectra, values[:, _FORMANT])
        # Unvoiced frames have no periodic share to reduce.
        voiced = frames.hz > 0
        breath = (values[:, _BREATHINESS] * voiced).astype(np.float32)[:, None]
        whisper = (melody[:, WHISPER] * voiced).astype(np.float32)[:, None]
        if (breath < 0).any():
            spectra[1] -= 1
            spectra[1] *= (1 + np.minimum(breath, 0)) ** 2
            spectra[1] += 1
        if (breath > 0).any():
            spectra[1] *= 1 - np.maximum(breath, 0) ** 2 * self._breath
        if whisper.any():
            spectra[1] *= 1 - whisper
            spectra[0] += whisper * self._whisper
        _restrain(spectra[0], frames.peak)
        mean = self.mean_pitch.update(frames.hz)
        output_f0 = target_f0(frames.hz, mean, melody, self._tuner)
        low_delay = _low_delay(limited_shift(mean, melody), melody[:, FIX])
        return WorldFrames(output_f0, spectra, frames.peak, low_delay)

    def _glide(self, frames: int, settings: Settings) -> Float64:
        """Return formant shift and breathiness per frame, (frames, 2), moving to `settings`."""
        start, target = self._values, self._values
        if settings is not self._reached:
            target = _targets(settings)
        if np.array_equal(start, target):
            self._reached = settings
            return np.repeat(start[None], frames, axis=0)
        self._reached = None
        progress = np.minimum(np.arange(1, frames + 1) / _RAMP_FRAMES, 1.0)[:, None]
        values = np.where(progress < 1, start + (target - start) * progress, target)
        self._values = values[-1].copy()
        return values


def _targets(settings: Settings) -> Float64:
    return np.array([settings.formant, settings.breathiness])


def _low_delay(shift: Float64, fix: Float64) -> Float64:
    """Return the delay of the low frequencies in seconds, (frames,); 0 unless the pitch is lower.

    It grows with the pitch period. A fixed pitch has none.

    Parameters
    ----------
    shift
        Pitch shift in semitones, (frames,).
    fix
        Share of a fixed pitch, 0 to 1, (frames,).
    """
    longer = 2.0 ** (-np.minimum(shift, 0.0) / 12) - 1
    delay: Float64 = np.minimum(_LOW_DELAY_S * longer, _LONGEST_LOW_DELAY_S)
    return delay * (1 - fix)


def _restrain(log_power: Float32, peak: Float64) -> None:
    """Limit the power of each frame to the power of a square wave with the peak of the input.

    Speech stays 10 dB below this limit. A pure tone can exceed it, because WORLD sharpens its
    spectral peak and a formant shift can widen the peak.
    """
    power = np.exp(log_power).mean(axis=1, dtype=np.float64)
    excess = np.log((power + 1e-16) / (peak * peak + 1e-16))
    log_power -= np.maximum(excess, 0.0).astype(np.float32)[:, None]


def _stretch(spectra: Float32, semitones: Float64) -> Float32:
    """Stretch (2, frames, bins) along frequency by `semitones` (frames,)."""
    out = np.empty_like(spectra)
    # Usually all frames have the same shift; during a ramp there are a few groups.
    for value in np.unique(semitones).tolist():
        same = np.flatnonzero(semitones == value)
        group = spectra[:, same[0] : same[-1] + 1]
        below, share = _places(spectra.shape[-1], value)
        low, high = np.take(group, below, axis=2), np.take(group, below + 1, axis=2)
        high -= low
        high *= share
        np.add(low, high, out=out[:, same[0] : same[-1] + 1])
    return out


@lru_cache(maxsize=8)
def _places(bins: int, semitones: float) -> tuple[NDArray[np.intp], Float32]:
    """Return between which bins of the spectrum each bin of the shifted one lies.

    Returns
    -------
    below : ndarray
        (bins,), the lower bin.
    share : ndarray
        (bins,) float32, the share of the upper one.
    """
    place = np.minimum(_source_bins(bins, semitones), bins - 1.001)
    below = place.astype(np.intp)
    return below, (place - below).astype(np.float32)


def _source_bins(bins: int, semitones: float) -> Float64:
    """Return where each bin of the shifted spectrum comes from, (bins,), in bins."""
    target = np.arange(bins, dtype=np.float64)
    ratio = float(2.0 ** (-semitones / 12))
    if ratio <= 1:
        return target * ratio
    per_hz = (bins - 1) / (RATE / 2)
    knots = np.array([0.0, _FORMANTS_END_HZ, _UNMOVED_HZ, RATE / 2]) * per_hz
    source: Float64 = np.interp(target, knots, knots * [1.0, ratio, 1.0, 1.0])
    return source
