"""How loud the sound of a moment is, from low to high."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.stats import SPECTRUM_HZ

BANDS = 24
FLOOR_DB = -120.0
_WINDOW = 2048
"""Samples that a spectrum is made of: 43 ms, of which the middle counts most."""
_RING = 1 << 18
"""Samples that are kept: 5.5 s, more than can wait at an output."""


class Spectrum:
    """The last seconds of a sound, and the spectrum of any moment in them.

    One thread at a time pushes, any may ask. A moment is asked for long after it
    was pushed and long before it is overwritten, so they need no lock.
    """

    def __init__(self) -> None:
        self._ring = np.zeros(_RING, np.float32)
        self._pushed = 0
        self._window = np.hanning(_WINDOW).astype(np.float32)
        hz_per_bin = ENGINE_RATE / _WINDOW
        edges = np.round(np.geomspace(*SPECTRUM_HZ, BANDS + 1) / hz_per_bin)
        self._edges = edges.astype(np.intp)
        # So that a sine of full scale is 0 dB, however its power spreads over bins.
        self._full = _WINDOW * float(np.sum(self._window**2)) / 4

    def push(self, samples: Float32) -> None:
        """Add (n,) float32, n below a second."""
        self._ring[(self._pushed + np.arange(samples.size)) % _RING] = samples
        self._pushed += samples.size

    def bands(self, waiting: int) -> tuple[float, ...]:
        """Return the level of each band in dBFS, the lowest first, never below `FLOOR_DB`.

        Parameters
        ----------
        waiting
            How many samples before the newest the moment is: those that no one has heard yet.
        """
        end = self._pushed - waiting
        if end < _WINDOW:
            return (FLOOR_DB,) * BANDS
        sound = self._ring[np.arange(end - _WINDOW, end) % _RING] * self._window
        power = np.abs(np.fft.rfft(sound).astype(np.complex128)) ** 2
        sums = np.add.reduceat(power[: self._edges[-1]], self._edges[:-1]) / self._full
        levels = np.maximum(10 * np.log10(sums + 1e-20), FLOOR_DB)
        return tuple(levels.tolist())
