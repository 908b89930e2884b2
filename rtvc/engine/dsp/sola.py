"""SOLA (synchronous overlap-add): joins overlapping renders that differ in phase."""

from __future__ import annotations

import functools

import numpy as np

from rtvc._types import Float32


@functools.lru_cache(maxsize=256)
def fade_in(samples: int) -> Float32:
    """Return the rising half of a sin^2 crossfade, (samples,); the falling half is 1 minus it.

    The array is read-only: calls share it. Concealment, which is prepared with each block, takes
    one of 211 lengths.
    """
    phase = (np.arange(samples) + 0.5) / max(samples, 1)
    rise: Float32 = (np.sin(0.5 * np.pi * phase) ** 2).astype(np.float32)
    rise.flags.writeable = False
    return rise


def best_offset(render: Float32, tail: Float32, search: int, preferred: int) -> int:
    """Return the offset at which `render` best matches `tail`.

    Parameters
    ----------
    render
        (samples,) at least ``len(tail) + search`` long.
    tail
        Render of the same time by the previous step.
    search
        Largest offset in samples.
    preferred
        Offset that is kept if its score is within 0.1 % of the best. A periodic signal matches
        at every period, and jumping between periods would shift time back and forth.

    Returns
    -------
    int
        0 to `search`.

    Notes
    -----
    Maximises ``<x[k:k+W], p> / sqrt(|x[k:k+W]|^2 + 1e-8)`` over k, as RVC's realtime program.
    """
    width = len(tail)
    span = render[: width + search].astype(np.float64)
    # No offset up to `search` reaches beyond the span, so nothing wraps around.
    size = 1 << (len(span) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(span, size) * np.conj(np.fft.rfft(tail, size)), size)
    sums = np.concatenate([[0.0], np.cumsum(span * span)])
    energy = sums[width : width + search + 1] - sums[: search + 1]
    score = product[: search + 1] / np.sqrt(np.maximum(energy, 0.0) + 1e-8)
    best = int(np.argmax(score))
    return preferred if score[preferred] >= 0.999 * score[best] else best


class Sola:
    """Aligns and crossfades blocks whose renders overlap by crossfade + search samples.

    Parameters
    ----------
    block, crossfade, search
        Samples; each render is ``block + crossfade + search`` long.
    """

    def __init__(self, block: int, crossfade: int, search: int) -> None:
        self._block, self._search = block, search
        self._tail: Float32 = np.zeros(crossfade, np.float32)
        self._rise = fade_in(crossfade)
        self._offset = 0

    def join(self, render: Float32) -> Float32:
        """Return the next block: the render, aligned with the previous tail and crossfaded."""
        width = len(self._tail)
        self._offset = best_offset(render, self._tail, self._search, self._offset)
        aligned = render[self._offset :]
        block = aligned[: self._block].copy()
        block[:width] = block[:width] * self._rise + self._tail * (1.0 - self._rise)
        self._tail = aligned[self._block : self._block + width].copy()
        return block

    def clear(self) -> None:
        """Clear the tail, so that the next block fades in from silence."""
        self._tail = np.zeros_like(self._tail)
