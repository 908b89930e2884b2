"""Formant shift: a vocoder works on stretched time, and its sound is played faster or slower.

RVC's reference rounds the stretch to whole frames and the speed to whole samples
per frame, window by window, which shortens or lengthens time by up to a tenth. Here
nothing is rounded, and the grid of stretched frames is that of absolute time: two
windows that overlap stretch a moment in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import mlx.core as mx
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rtvc._types import Float32
from rtvc.engine.models.ops.interpolate import interpolate_linear

_ZERO_CROSSINGS = 16
_PHASES = 512
"""Places between two samples that have their own kernel: noise below -65 dB at 10 kHz."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some frames, stretched.

    Attributes
    ----------
    semitones
        How far the formants move up.
    first
        Absolute index of the first frame.
    frames
        How many there are.
    """

    semitones: float
    first: int
    frames: int

    @property
    def ratio(self) -> float:
        """Factor by which the formants move and by which time is stretched."""
        return formant_ratio(self.semitones)

    @property
    def stretched(self) -> int:
        """Stretched frames: enough wherever on their grid the first one begins."""
        return self.frames if self.semitones == 0 else math.ceil(self.frames * self.ratio) + 1

    def stretch(self, x: mx.array, rate: int = 1) -> mx.array:
        """Stretch (1, frames * rate, C) to (1, stretched * rate, C) by linear interpolation."""
        if self.semitones == 0:
            return x
        return interpolate_linear(x, self.stretched * rate, self.ratio, self._offset * rate)

    def play(self, sound: Float32, hop: int) -> Float32:
        """Play (stretched * hop,) at the speed that gives (frames * hop,)."""
        if self.semitones == 0:
            return sound
        place = (np.arange(self.frames * hop) + 0.5) * self.ratio - 0.5 + self._offset * hop
        return resample_at(sound, place, self.ratio)

    @property
    def _offset(self) -> float:
        """Where the first frame begins within its stretched frame, 0 to 1."""
        return self.first * self.ratio % 1.0


def formant_ratio(semitones: float) -> float:
    """Return the factor by which formants move and time is stretched."""
    return float(2.0 ** (semitones / 12.0))


def resample_at(sound: Float32, places: NDArray[np.floating], ratio: float) -> Float32:
    """Read a sound at any places, of which 0 is the first sample, without aliases.

    Parameters
    ----------
    sound
        (samples,); beyond its ends is silence.
    places
        (n,) growing by `ratio` from one to the next.
    ratio
        Samples read in the time of one that is made.

    Returns
    -------
    ndarray
        (n,) float32.
    """
    kernels = _kernels(ratio)
    reach = kernels.shape[1] // 2
    ticks = np.rint(places * _PHASES).astype(np.intp)
    whole, phase = ticks // _PHASES, ticks % _PHASES
    # Kernel element m hears sample whole - reach + 1 + m.
    padded = np.pad(sound, (reach, reach + max(int(whole[-1]) + 2 - len(sound), 0)))
    heard = sliding_window_view(padded, 2 * reach)[whole + 1]
    made: Float32 = np.einsum("ij,ij->i", heard, kernels[phase])
    return made


@lru_cache(maxsize=4)
def _kernels(ratio: float) -> Float32:
    """Windowed sincs for every place between two samples, (phases, taps)."""
    cutoff = min(1.0, 1.0 / ratio)
    reach = math.ceil(_ZERO_CROSSINGS / cutoff)
    distance = np.arange(-reach + 1, reach + 1) - np.arange(_PHASES)[:, None] / _PHASES
    window = np.cos(distance / reach * (np.pi / 2)) ** 2
    kernels = np.sinc(distance * cutoff) * window
    normal: Float32 = (kernels / kernels.sum(axis=1, keepdims=True)).astype(np.float32)
    return normal
