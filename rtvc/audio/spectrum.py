"""The spectrum of the output at any moment of the last seconds."""

from __future__ import annotations

import numpy as np

from rtvc._types import Float32
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.stats import SPECTRUM_HZ

BANDS = 48
FLOOR_DB = -120.0
_WINDOW = 4096
"""Samples per spectrum: a Hann window of 85 ms."""
_RING = 1 << 18
"""Samples in the ring buffer: 5.5 s, more than can wait at an output."""


class Spectrum:
    """Keeps the last seconds of a signal and computes the spectrum of any moment in them.

    One thread at a time calls `push`, any thread `bands`. The samples of a spectrum were
    pushed long before and are overwritten long after, so no lock is needed.
    """

    def __init__(self) -> None:
        self._ring = np.zeros(_RING, np.float32)
        self._pushed = 0
        self._window = np.hanning(_WINDOW).astype(np.float32)
        hz_per_bin = ENGINE_RATE / _WINDOW
        edges = np.round(np.geomspace(*SPECTRUM_HZ, BANDS + 1) / hz_per_bin)
        self._edges = edges.astype(np.intp)
        # A sine of full scale is 0 dB, however its power spreads over bins.
        self._full = _WINDOW * float(np.sum(self._window**2)) / 4

    def push(self, samples: Float32) -> None:
        """Add (n,) float32 at `ENGINE_RATE`, less than a second."""
        self._ring[(self._pushed + np.arange(samples.size)) % _RING] = samples
        self._pushed += samples.size

    def bands(self, waiting: int) -> tuple[float, ...]:
        """Return the level of each band in dBFS, the lowest band first, at least `FLOOR_DB`.

        Parameters
        ----------
        waiting
            Number of samples that were pushed but not yet played; the spectrum is that
            of the last samples before them.
        """
        end = self._pushed - waiting
        if end < _WINDOW:
            return (FLOOR_DB,) * BANDS
        frame = self._ring[np.arange(end - _WINDOW, end) % _RING] * self._window
        power = np.abs(np.fft.rfft(frame).astype(np.complex128)) ** 2
        sums = np.add.reduceat(power[: self._edges[-1]], self._edges[:-1]) / self._full
        levels = np.maximum(10 * np.log10(sums + 1e-20), FLOOR_DB)
        return tuple(levels.tolist())
