"""Integrated loudness of a recording in LUFS, as in ITU-R BS.1770-5 and EBU R 128."""

from __future__ import annotations

import math

import numpy as np

from rtvc._types import Float32, Float64

RATE = 48_000
_SHELF = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (-1.69065929318241, 0.73248077421585),
)
_HIGH_PASS = (1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621)
"""The two filters of the K-weighting at 48 kHz (BS.1770-5, tables 1 and 2): b, and a without 1."""
_BLOCK, _HOP = RATE * 4 // 10, RATE // 10
_ABSOLUTE_LUFS, _RELATIVE_LU = -70.0, -10.0
_OFFSET = -0.691


def integrated_loudness(samples: Float32) -> float:
    """Return the integrated loudness of mono samples in LUFS, -inf for silence.

    Parameters
    ----------
    samples
        (samples,) at 48 kHz, of at least 0.4 s: shorter ones count as silence.
    """
    weighted = _k_weighted(samples)
    starts = range(0, len(weighted) - _BLOCK + 1, _HOP)
    power = np.array([np.mean(weighted[at : at + _BLOCK] ** 2) for at in starts])
    power = power[power > _power(_ABSOLUTE_LUFS)]
    if power.size:
        power = power[power > np.mean(power) * 10 ** (_RELATIVE_LU / 10)]
    return _OFFSET + 10 * math.log10(np.mean(power)) if power.size else -math.inf


def _power(lufs: float) -> float:
    return float(10.0 ** ((lufs - _OFFSET) / 10))


def _k_weighted(samples: Float32) -> Float64:
    # The responses decay within the padding, so that the product of the spectra is the filter.
    size = len(samples) + RATE
    delay = np.exp(-2j * np.pi * np.fft.rfftfreq(size))
    spectrum = np.fft.rfft(np.asarray(samples, np.float64), size)
    for b, a in (_SHELF, _HIGH_PASS):
        spectrum *= np.polyval(b[::-1], delay) / np.polyval((*a[::-1], 1.0), delay)
    return np.asarray(np.fft.irfft(spectrum, size)[: len(samples)], np.float64)
