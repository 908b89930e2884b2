"""Estimates the delay between two speech signals from the envelopes of their bands.

A converted voice has another waveform than its input, but the same syllables: the level of each
band rises and falls at the same times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rtvc._types import Float32, Float64
from rtvc.audio.endpoint import ENGINE_RATE
from rtvc.audio.loopback import vertex

ENVELOPE_HZ = 200
MIN_SCORE = 0.3
"""Correlation from which an estimate is reliable. Unrelated signals reach 0.1."""
MIN_RATIO = 3.0
"""Ratio of the highest peak to all others from which it is unambiguous."""
_HOP = ENGINE_RATE // ENVELOPE_HZ
_SIZE = 2 * _HOP
_EDGES_HZ = (100, 300, 600, 1200, 2400, 4800, 9600)
_FLOOR = 1e-10
"""Power below which a band counts as silent: about -80 dBFS in one band."""
_SMOOTHING = np.array([0.25, 0.5, 0.25])
_PIECE = 100
"""Frames that are computed at once: the rest of the program shares caches and memory with them."""
_PEAK = 12
"""Half the width of a peak, in samples of the envelope."""


@dataclass(frozen=True, slots=True)
class DelayEstimate:
    """An estimated delay.

    Attributes
    ----------
    seconds
        Delay of the second signal in seconds, negative if it is early.
    score
        Mean correlation of the bands at this delay, at most 1.
    ratio
        The correlation over the highest one at any other delay.
    """

    seconds: float
    score: float
    ratio: float

    @property
    def reliable(self) -> bool:
        """Whether the signals have enough in common for the delay to be true."""
        return self.score >= MIN_SCORE and self.ratio >= MIN_RATIO


def estimate_delay(first: Float32, second: Float32, *, reach_s: float = 1.0) -> DelayEstimate:
    """Estimate by how much the second signal is later than the first.

    Ten seconds of speech give a delay to 2 ms.

    Parameters
    ----------
    first, second
        (samples,) float32 at `ENGINE_RATE`, of equal length.
    reach_s
        The largest delay to look for in seconds, in both directions.
    """
    reach = round(reach_s * ENVELOPE_HZ)
    one, other = _onsets(first), _onsets(second)
    size = 1 << (len(one) + reach - 1).bit_length()
    product = np.conj(np.fft.rfft(one, size, axis=0)) * np.fft.rfft(other, size, axis=0)
    power = np.sqrt(np.sum(one**2, axis=0) * np.sum(other**2, axis=0))
    # A band that is silent in one of them has no correlation.
    product = np.sum(product / np.maximum(power, 1e-6), axis=1) / one.shape[1]
    correlation = np.fft.irfft(product, size)
    correlation = np.concatenate([correlation[-reach:], correlation[: reach + 1]])
    at = int(np.argmax(correlation))
    elsewhere = np.delete(correlation, slice(max(0, at - _PEAK), at + _PEAK + 1))
    score = float(correlation[at])
    return DelayEstimate(
        (at + vertex(correlation, at) - reach) / ENVELOPE_HZ,
        score,
        score / max(float(elsewhere.max(initial=0.0)), 1e-9),
    )


def _onsets(samples: Float32) -> Float64:
    """Return the change of the log level of each band, (frames, bands), zero mean."""
    window = np.hanning(_SIZE + 1)[:-1]
    taper, energy = window.astype(np.float32), _SIZE * float(np.sum(window**2))
    frames = sliding_window_view(samples, _SIZE)[::_HOP]
    edges = np.round(np.array(_EDGES_HZ) * _SIZE / ENGINE_RATE).astype(int)
    levels = np.empty((len(frames), len(edges) - 1))
    for at in range(0, len(frames), _PIECE):
        piece = frames[at : at + _PIECE] * taper
        power = np.abs(np.fft.rfft(piece)[:, : edges[-1]]) ** 2 / energy
        bands = np.add.reduceat(power, edges[:-1], axis=1)
        levels[at : at + _PIECE] = np.log10(bands + _FLOOR)
    onsets = np.diff(levels, axis=0)
    smooth = sum(
        part * onsets[k : len(onsets) - len(_SMOOTHING) + 1 + k]
        for k, part in enumerate(_SMOOTHING)
    )
    return np.asarray(smooth - np.mean(smooth, axis=0))
