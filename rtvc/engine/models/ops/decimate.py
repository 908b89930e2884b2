"""Decimation: lower the sample rate by an integer factor, with an anti-aliasing filter.

The windowed sinc of ``torchaudio.functional.resample`` with a Kaiser window
(Smith, "Digital Audio Resampling", https://ccrma.stanford.edu/~jos/resample/).
"""

from __future__ import annotations

import math

import mlx.core as mx
import numpy as np

from rtvc._types import Float64

_TILE = 64  # outputs that one row of the matrix product computes from one input segment


class Decimator:
    """Decimates (1, L, C) to (1, L / factor, C); L is a multiple of the factor.

    Convolution primitives are slow for filters of more than a hundred taps on single
    channels. The filter is a matrix instead, applied to overlapping segments of the input.

    Parameters
    ----------
    factor
        Ratio of input to output sample rate.
    zero_crossings
        Zero crossings of the sinc on each side.
    rolloff
        Cutoff as a fraction of the lower Nyquist frequency.
    beta
        Shape parameter of the Kaiser window.
    """

    def __init__(self, factor: int, *, zero_crossings: int, rolloff: float, beta: float) -> None:
        self._factor = factor
        self._margin = math.ceil(zero_crossings * factor / rolloff)
        kernel = _kernel(factor, self._margin, zero_crossings, rolloff, beta)
        matrix = np.zeros((_TILE * factor - factor + kernel.size, _TILE), np.float32)
        for n in range(_TILE):
            matrix[n * factor : n * factor + kernel.size, n] = kernel
        self._matrix = mx.array(matrix)

    def __call__(self, x: mx.array) -> mx.array:
        """Decimate (1, L, C); the signal is zero-padded at both ends."""
        _, length, channels = x.shape
        outputs = length // self._factor
        tiles = -(-outputs // _TILE)
        segment, step = self._matrix.shape[0], _TILE * self._factor
        total = (tiles - 1) * step + segment
        before = mx.zeros((1, self._margin, channels))
        after = mx.zeros((1, total - self._margin - length, channels))
        rows = mx.contiguous(mx.concatenate([before, x, after], axis=1)[0].T)
        tiled = mx.as_strided(rows, (channels, tiles, segment), (total, step, 1))
        y = (tiled @ self._matrix).reshape(channels, -1)[:, :outputs]
        return y.T[None]


def _kernel(factor: int, margin: int, zero_crossings: int, rolloff: float, beta: float) -> Float64:
    time = np.arange(-margin, margin + factor) / factor * rolloff
    time = np.clip(time, -zero_crossings, zero_crossings)
    window = np.i0(beta * np.sqrt(1 - (time / zero_crossings) ** 2)) / np.i0(beta)
    kernel: Float64 = np.sinc(time) * window * (rolloff / factor)
    return kernel
